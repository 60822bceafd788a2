// hello says where an answer comes from.
import { Next, onRequest } from "@edge-server/guest";

export * from "@edge-server/guest/middleware";

onRequest((req, res) => {
  res.headers.set("x-hello", "from AssemblyScript");
  return Next;
});
