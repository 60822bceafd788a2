// `export * from "@edge-server/guest/config"` lets a plugin refuse its configuration.

import * as raw from "./raw";
import { length, put, room } from "./memory";
import { config, configHandler } from "./services";

export function edge_config(len: u32): i32 {
  const handler = configHandler;
  if (handler === null) return 0;
  const reason = handler(config());
  if (reason === null) return 0;
  room(reason.length);
  const p = put(reason);
  raw.set_error(p, length);
  return -3;
}
