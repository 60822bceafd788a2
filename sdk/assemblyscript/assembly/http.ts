import * as raw from "./raw";
import { Known, leave, look, value as laid } from "./desk";
import { buf, bytes, length, limit, list, more, put, room, text } from "./memory";

/** What a handler returns: Next, nextWith(ctx) or Done. */
export type Action = u64;

/** Passes the request on to the rest of the chain. */
export const Next: Action = 1;

/** Ends the chain: the plugin has answered. */
export const Done: Action = 0;

/** Passes the request on; Response.ctx of the same request is ctx. */
export function nextWith(ctx: u32): Action { return (<u64>ctx) << 32 | 1; }

/** The header of a message, or its trailer. Names are in lower case, and their case does not matter in calls. */
export class Headers {
  constructor(private kind: u32) {}

  /** The first value, or null. */
  get(name: string): string | null {
    if (this.kind == 0) {
      const known = look(name);
      if (known == Known.Yes) return laid();
      if (known == Known.Absent) return null;
    }
    const found = this.fetch(name);
    if (found == 0) return null;
    let end = 0;
    while (load<u8>(buf() + end) != 0) end++;
    return text(end);
  }

  has(name: string): bool { return this.fetch(name) != 0; }

  /** All values. */
  getAll(name: string): string[] { return list(this.fetch(name)); }

  names(): string[] {
    let found = raw.get_header_names(this.kind, buf(), limit());
    if (<u32>found > limit()) found = raw.get_header_names(this.kind, more(<u32>found), <u32>found);
    return list(found);
  }

  /** Replaces all values. */
  set(name: string, value: string): void {
    if (leave(1, this.kind, name, value)) return;
    room(name.length + value.length);
    const n = put(name), nameLen = length, v = put(value);
    raw.set_header_value(this.kind, n, nameLen, v, length);
  }

  append(name: string, value: string): void {
    if (leave(2, this.kind, name, value)) return;
    room(name.length + value.length);
    const n = put(name), nameLen = length, v = put(value);
    raw.add_header_value(this.kind, n, nameLen, v, length);
  }

  delete(name: string): void {
    if (leave(3, this.kind, name, "")) return;
    room(name.length);
    const n = put(name);
    raw.remove_header(this.kind, n, length);
  }

  private fetch(name: string): u64 {
    room(name.length);
    const n = put(name);
    const found = raw.get_header_values(this.kind, n, length, buf(), limit());
    if (<u32>found <= limit()) return found;
    return raw.get_header_values(this.kind, n, length, more(<u32>found), <u32>found);
  }
}

/** The body of a message. */
export class Body {
  constructor(private kind: u32) {}

  /** The next bytes, at most max and fewer only at the end; null at the end. */
  read(max: u32): Uint8Array | null {
    const result = raw.read_body(this.kind, more(max), max), n = <u32>result;
    return n == 0 ? null : bytes(n);
  }

  /** What is left. */
  readAll(): Uint8Array {
    let all = new Uint8Array(0), size: u32 = 4096, ended = false;
    while (!ended) {
      const result = raw.read_body(this.kind, more(size), size), n = <u32>result;
      const longer = new Uint8Array(all.length + n);
      memory.copy(longer.dataStart, all.dataStart, all.length);
      memory.copy(longer.dataStart + all.length, buf(), n);
      all = longer;
      ended = result >> 32 != 0;
      if (size < 1 << 20) size *= 2;
    }
    return all;
  }

  /** What is left, as text. */
  text(): string {
    const all = this.readAll();
    return String.UTF8.decodeUnsafe(all.dataStart, all.length);
  }

  /** Replaces the body with the first call and appends with the next ones. */
  write(data: string): void {
    room(data.length);
    const p = put(data);
    raw.write_body(this.kind, p, length);
  }

  writeBytes(data: Uint8Array): void { raw.write_body(this.kind, data.dataStart, data.length); }
}

/** The request. There is one for each instance: a handler must not keep it. */
export class Request {
  readonly headers: Headers = new Headers(0);
  readonly trailers: Headers = new Headers(2);
  readonly body: Body = new Body(0);

  get method(): string {
    let n = raw.get_method(buf(), limit());
    if (n > limit()) n = raw.get_method(more(n), n);
    return text(n);
  }
  set method(value: string) {
    room(value.length);
    const p = put(value);
    raw.set_method(p, length);
  }

  /** Path and query, percent-encoded as on the wire. */
  get uri(): string {
    let n = raw.get_uri(buf(), limit());
    if (n > limit()) n = raw.get_uri(more(n), n);
    return text(n);
  }
  set uri(value: string) {
    room(value.length);
    const p = put(value);
    raw.set_uri(p, length);
  }

  /** The URI up to the question mark. */
  get path(): string {
    const uri = this.uri, at = uri.indexOf("?");
    return at < 0 ? uri : uri.substring(0, at);
  }

  /** What follows the question mark. */
  get query(): string {
    const uri = this.uri, at = uri.indexOf("?");
    return at < 0 ? "" : uri.substring(at + 1);
  }

  /** "HTTP/1.1", "HTTP/2.0" or "HTTP/3.0". */
  get protocol(): string {
    let n = raw.get_protocol_version(buf(), limit());
    if (n > limit()) n = raw.get_protocol_version(more(n), n);
    return text(n);
  }

  /** The client's "203.0.113.9:51234". */
  get remoteAddress(): string {
    let n = raw.get_source_addr(buf(), limit());
    if (n > limit()) n = raw.get_source_addr(more(n), n);
    return text(n);
  }
}

/** The response, before or after the rest of the chain. */
export class Response {
  readonly headers: Headers = new Headers(1);
  readonly trailers: Headers = new Headers(3);
  readonly body: Body = new Body(1);

  /** In a response handler: what nextWith gave. */
  ctx: u32 = 0;

  /** In a response handler: there is no answer. A handler panicked, or the answer was larger than limits.body. */
  failed: bool = false;

  get status(): u32 { return raw.get_status_code(); }
  set status(code: u32) { raw.set_status_code(code); }

  /** Answers: `return res.send(404, "text/plain", "not here")`. */
  send(status: u32, type: string, body: string): Action {
    this.status = status;
    this.headers.set("content-type", type);
    this.sized(String.UTF8.byteLength(body));
    this.body.write(body);
    return Done;
  }

  /** Answers with bytes. */
  sendBytes(status: u32, type: string, body: Uint8Array): Action {
    this.status = status;
    this.headers.set("content-type", type);
    this.sized(body.length);
    this.body.writeBytes(body);
    return Done;
  }

  private sized(n: u32): void {
    const digits = n.toString();
    this.headers.set("content-length", digits);
  }
}

export const request: Request = new Request();
export const response: Response = new Response();

export type RequestHandler = (req: Request, res: Response) => Action;
export type ResponseHandler = (req: Request, res: Response) => void;

// @ts-ignore: decorator
@lazy export let requestHandler: RequestHandler | null = null;
// @ts-ignore: decorator
@lazy export let responseHandler: ResponseHandler | null = null;

/** Registers what runs before the rest of the chain. Call it at the top level. */
export function onRequest(handler: RequestHandler): void { requestHandler = handler; }

/** Registers what runs after it. */
export function onResponse(handler: ResponseHandler): void { responseHandler = handler; }
