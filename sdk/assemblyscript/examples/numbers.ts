// An origin: it answers by itself, piece by piece.
//
//     http: {routes: [{match: {path: /numbers}, wasm: numbers}]}
import { Done, flush, onRequest } from "@edge-server/guest";

export * from "@edge-server/guest/middleware";

const most = 100000;

onRequest((req, res) => {
  if (req.path != "/numbers") return res.send(404, "application/json", '{"error":"not found"}');
  const n = asked(req.query);
  if (n < 0) return res.send(400, "application/json", '{"error":"n is a number from 0 to 100000"}');

  res.headers.set("content-type", "application/json");
  let piece = "[";
  for (let i = 1; i <= n; i++) {
    piece += i < n ? i.toString() + "," : i.toString();
    if (i % 1000 == 0) {
      res.body.write(piece);
      flush();
      piece = "";
    }
  }
  res.body.write(piece + "]");
  return Done;
});

/** What n is in a query, 10 without it, -1 if it is none of the numbers. */
function asked(query: string): i32 {
  const pairs = query.split("&");
  for (let i = 0; i < pairs.length; i++) {
    if (!pairs[i].startsWith("n=")) continue;
    const digits = pairs[i].substring(2);
    if (digits.length == 0 || digits.length > 6) return -1;
    let n = 0;
    for (let k = 0; k < digits.length; k++) {
      const d = digits.charCodeAt(k) - 0x30;
      if (d < 0 || d > 9) return -1;
      n = n * 10 + d;
    }
    return n <= most ? n : -1;
  }
  return 10;
}
