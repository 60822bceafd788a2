// `export * from "@edge-server/guest/router"` makes a plugin a router.

import { request } from "./http";
import { router, routeHandler } from "./services";

export function route(): i32 {
  const handler = routeHandler;
  return handler !== null && handler(request, router) ? 1 : 0;
}
