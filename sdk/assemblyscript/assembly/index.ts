// What a plugin imports: import { onRequest, Request, Response, Next } from "@edge-server/guest".

export * from "./http";
export * from "./services";
export * from "./driver";
