// `export * from "@edge-server/guest/cron"` gives a plugin a clock.

import { tickHandler } from "./services";

export function tick(now: i64): void {
  const handler = tickHandler;
  if (handler !== null) handler(now);
}
