// Counts requests by path in the store "counters", which all servers of a fleet can share.
//
//     kv: {counters: {}}
//     plugins: {modules: {counter: {allow: {kv: [counters]}}}}
import { Next, log, onRequest, openStore } from "@edge-server/guest";

export * from "@edge-server/guest/middleware";

onRequest((req, res) => {
  const path = req.path, store = openStore("counters");
  if (!store.ok) {
    log.warn("count " + path + ": " + store.message); // no reason to fail the request
    return Next;
  }
  const hits = store.value.incr("hits:" + path);
  if (hits.ok) res.headers.set("x-hits", hits.value.toString());
  else log.warn("count " + path + ": " + hits.message);
  return Next;
});
