// Does in AssemblyScript what header.c does: it reads one header and writes one, in both phases.
import { Next, onRequest, onResponse } from "@edge-server/guest";

export * from "@edge-server/guest/middleware";

let calls: u32 = 0;

onRequest((req, res) => {
  const id = req.headers.get("x-request-id");
  req.headers.set("x-seen", id ? id : "");
  return Next;
});

onResponse((req, res) => {
  calls++;
});
