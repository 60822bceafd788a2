// `export * from "@edge-server/guest/middleware"` makes a plugin a middleware, or an origin.

import { open } from "./desk";
import { Next, request, requestHandler, response, responseHandler } from "./http";

export function handle_request(): u64 {
  const handler = requestHandler;
  return handler === null ? Next : handler(request, response);
}

export function handle_response(ctx: u32, isError: u32): void {
  response.ctx = ctx;
  response.failed = isError != 0;
  const handler = responseHandler;
  if (handler !== null) handler(request, response);
}

export function edge_desk(): usize { return open(); }

export function edge_no_response(): u32 { return responseHandler === null ? 1 : 0; }
