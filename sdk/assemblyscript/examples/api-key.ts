// Lets requests in that bring a key. The configuration is a text:
//
//     plugins: {modules: {api-key: {config: "s3cret alice\n0ther bob\n"}}}
import { Next, config, onConfig, onRequest } from "@edge-server/guest";

export * from "@edge-server/guest/config";
export * from "@edge-server/guest/middleware";

const keys: string[] = [], names: string[] = [];
const lines = config().split("\n");
for (let i = 0; i < lines.length; i++) {
  const space = lines[i].indexOf(" ");
  if (space <= 0 || space + 1 == lines[i].length) continue;
  keys.push(lines[i].substring(0, space));
  names.push(lines[i].substring(space + 1));
}

onConfig((text) => keys.length == 0 ? 'no keys: write a line "KEY NAME" for each' : null);

onRequest((req, res) => {
  const header = req.headers.get("x-api-key"), given = header === null ? "" : header;
  req.headers.delete("x-client"); // what a client says of itself counts for nothing
  let client = -1;
  for (let i = 0; i < keys.length; i++) { // all of them, so that the time tells nothing of which one matches
    if (equal(keys[i], given)) client = i;
  }
  if (client < 0) {
    res.headers.set("www-authenticate", "ApiKey");
    return res.send(401, "text/plain", "an API key is needed\n");
  }
  req.headers.delete("x-api-key");
  req.headers.set("x-client", names[client]);
  return Next;
});

/** Takes as long for a key that is wrong in its first character as for one that is wrong in its last. */
function equal(a: string, b: string): bool {
  if (a.length != b.length) return false;
  let different = 0;
  for (let i = 0; i < a.length; i++) different |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return different == 0;
}
