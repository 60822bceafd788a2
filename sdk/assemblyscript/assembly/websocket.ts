// `export * from "@edge-server/guest/websocket"` makes a plugin a handler of WebSockets.

import { request } from "./http";
import { Connection, closeHandler, messageHandler, openHandler } from "./services";
import { inboxOf, mailbox } from "./mailbox";

export function edge_mailbox(want: u32): u64 { return mailbox(want); }

export function ws_open(conn: i64): i32 {
  const handler = openHandler;
  return handler === null ? 0 : handler(new Connection(conn), request);
}

export function ws_message(conn: i64, kind: u32, len: u32): i32 {
  const handler = messageHandler;
  return handler === null ? 0 : handler(new Connection(conn), inboxOf(0, len), kind == 1);
}

export function ws_close(conn: i64, code: u32): void {
  const handler = closeHandler;
  if (handler !== null) handler(new Connection(conn), code);
}
