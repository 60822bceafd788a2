import * as raw from "./raw";
import { buf, bytes, length, limit, list, more, put, room, text } from "./memory";
import { Request } from "./http";

const names: string[] = [
  "ok", "unavailable", "timeout", "invalid", "too-large", "unsupported", "internal", "denied", "not-found", "condition", "exists", "closed",
  "limit", "phase",
];

/** The name of an error's number: "denied" for -7. */
export function errorName(code: i32): string { return -code > 0 && -code < names.length ? names[-code] : code >= 0 ? "ok" : "unknown"; }

/** What a call came to: a value, or an error with its name and what the host has to say about it. */
export class Result<T> {
  constructor(private found: T, readonly code: i32, readonly message: string) {}

  get ok(): bool { return this.code >= 0; }
  get error(): string { return errorName(this.code); }

  /** The value. Of a call that failed it must not be asked: that ends the plugin's call with the error's text. */
  get value(): T {
    assert(this.ok, this.error + ": " + this.message);
    return this.found;
  }
}

function good<T>(value: T): Result<T> { return new Result<T>(value, 0, ""); }

function bad<T>(nothing: T, code: i32): Result<T> { return new Result<T>(nothing, code, lastError()); }

function done(code: i32): Result<i32> { return code < 0 ? bad<i32>(0, code) : good<i32>(code); }

/** What the last call that failed would say in words. */
export function lastError(): string {
  let n = raw.last_error(buf(), limit());
  if (n > <i32>limit()) n = raw.last_error(more(n), n);
  return n < 0 ? "" : text(n);
}

// The plugin itself.

/** The configuration: a text of edge.yaml as it stands there, anything else as JSON. */
export function config(): string {
  let n = raw.get_config(buf(), limit());
  if (n > limit()) n = raw.get_config(more(n), n);
  return text(n);
}

export type ConfigHandler = (config: string) => string | null;
// @ts-ignore: decorator
@lazy export let configHandler: ConfigHandler | null = null;

/** Registers a check of the configuration; a text refuses it and says why. Needs "@edge-server/guest/config". */
export function onConfig(handler: ConfigHandler): void { configHandler = handler; }

export const BufferRequest: u32 = 1;
export const BufferResponse: u32 = 2;
export const Trailers: u32 = 4;

/** Turns features on: at the top level for all requests, in a handler for that one. The result is what is on. */
export function enable(features: u32): u32 { return raw.enable_features(features); }

export enum Level { Debug = -1, Info = 0, Warn = 1, Error = 2 }

/** Lines for the server's log. */
export namespace log {
  export function write(level: Level, message: string): void {
    room(message.length);
    const p = put(message);
    raw.log(level, p, length);
  }
  export function enabled(level: Level): bool { return raw.log_enabled(level) != 0; }
  export function debug(message: string): void { write(Level.Debug, message); }
  export function info(message: string): void { write(Level.Info, message); }
  export function warn(message: string): void { write(Level.Warn, message); }
  export function error(message: string): void { write(Level.Error, message); }
}

/** Unix time in milliseconds. */
export function now(): i64 { return raw.now_ms(); }

/** Milliseconds that this call has left; -1 without a bound. */
export function deadline(): i64 { return raw.deadline_ms(); }

/** Whether this plugin may import "namespace" or "namespace.function". */
export function has(name: string): bool {
  room(name.length);
  const p = put(name);
  return raw.has(p, length) == 1;
}

/** Sends what was written of the answer so far. */
export function flush(): Result<i32> { return done(raw.flush()); }

/** Variables of the request, which later plugins, PHP and the access log see. */
export namespace vars {
  export function get(name: string): Result<string> {
    room(name.length);
    const p = put(name);
    let n = raw.var_get(p, length, buf(), limit());
    if (n > <i32>limit()) n = raw.var_get(p, length, more(n), n);
    return n < 0 ? bad<string>("", n) : good<string>(text(n));
  }
  export function set(name: string, value: string): Result<i32> {
    room(name.length + value.length);
    const p = put(name), n = length, v = put(value);
    return done(raw.var_set(p, n, v, length));
  }
}

// Stores.

export const IfAbsent: u32 = 1;
export const IfPresent: u32 = 2;
export const IfVersion: u32 = 4;
export const KeepTTL: u32 = 8;

/** A value with what the store knows about it. */
export class Entry {
  constructor(readonly bytes: Uint8Array, readonly ttl: i64, readonly version: i64) {}
  get text(): string { return String.UTF8.decodeUnsafe(this.bytes.dataStart, this.bytes.length); }
}

const meta: usize = memory.data(16, 8);

/** One result of a batch: `code` as in Result; the value of get as text, the sum of incr as number. */
export class Item {
  constructor(readonly code: i32, readonly text: string, readonly number: i64) {}
  get ok(): bool { return this.code == 0; }
  get error(): string { return errorName(this.code); }
}

/** Operations that go to a store in one call. */
export class Batch {
  ops: u8[] = [];
  count: i32 = 0;

  get(key: string): Batch { return this.add(1, key, "", 0, 0, 0, 0); }
  set(key: string, value: string, ttl: i64 = 0, flags: u32 = 0, version: i64 = 0): Batch { return this.add(2, key, value, ttl, flags, version, 0); }
  delete(key: string): Batch { return this.add(3, key, "", 0, 0, 0, 0); }
  incr(key: string, delta: i64 = 1, ttl: i64 = 0): Batch { return this.add(4, key, "", ttl, 0, 0, delta); }
  expire(key: string, ttl: i64): Batch { return this.add(5, key, "", ttl, 0, 0, 0); }

  private add(op: u32, key: string, value: string, ttl: i64, flags: u32, version: i64, delta: i64): Batch {
    const k = String.UTF8.byteLength(key), v = op == 4 ? 8 : String.UTF8.byteLength(value), at = this.ops.length;
    this.ops.length = at + 32 + k + v;
    const p = this.ops.dataStart + at;
    store<u32>(p, op);
    store<u32>(p + 4, k);
    store<u32>(p + 8, v);
    store<u32>(p + 12, flags);
    store<i64>(p + 16, ttl);
    store<i64>(p + 24, version);
    String.UTF8.encodeUnsafe(changetype<usize>(key), key.length, p + 32);
    if (op == 4) store<i64>(p + 32 + k, delta);
    else String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, p + 32 + k);
    this.count++;
    return this;
  }
}

/** A store of edge.yaml's kv section. */
export class Store {
  constructor(private h: i32) {}

  get(key: string): Result<string> {
    const n = this.fetch(key, 0);
    return n < 0 ? bad<string>("", n) : good<string>(text(n));
  }
  getBytes(key: string): Result<Uint8Array> {
    const n = this.fetch(key, 0);
    return n < 0 ? bad<Uint8Array>(new Uint8Array(0), n) : good<Uint8Array>(bytes(n));
  }
  getEntry(key: string): Result<Entry> {
    const n = this.fetch(key, meta);
    return n < 0 ? bad<Entry>(new Entry(new Uint8Array(0), -1, 0), n) : good<Entry>(new Entry(bytes(n), load<i64>(meta), load<i64>(meta, 8)));
  }
  /** ttl in milliseconds, 0 for ever; flags are IfAbsent, IfPresent, IfVersion, KeepTTL. */
  set(key: string, value: string, ttl: i64 = 0, flags: u32 = 0, version: i64 = 0): Result<i32> {
    room(key.length + value.length);
    const k = put(key), n = length, v = put(value);
    return done(raw.kv_set(this.h, k, n, v, length, ttl, flags, version));
  }
  setBytes(key: string, value: Uint8Array, ttl: i64 = 0, flags: u32 = 0, version: i64 = 0): Result<i32> {
    room(key.length);
    const k = put(key);
    return done(raw.kv_set(this.h, k, length, value.dataStart, value.length, ttl, flags, version));
  }
  /** version 0 is any. */
  delete(key: string, version: i64 = 0): Result<i32> {
    room(key.length);
    const k = put(key);
    return done(raw.kv_delete(this.h, k, length, version));
  }
  /** Whether there is such a key. */
  expire(key: string, ttl: i64): Result<bool> {
    room(key.length);
    const k = put(key), code = raw.kv_expire(this.h, k, length, ttl);
    return code < 0 ? bad<bool>(false, code) : good<bool>(code == 1);
  }
  incr(key: string, delta: i64 = 1, ttl: i64 = 0): Result<i64> {
    room(key.length);
    const k = put(key), code = raw.kv_incr(this.h, k, length, delta, ttl, meta);
    return code < 0 ? bad<i64>(0, code) : good<i64>(load<i64>(meta));
  }
  /** All keys with a prefix, asked for in pages of at most page keys. */
  keys(prefix: string = "", page: u32 = 100): Result<string[]> {
    const found = new Array<string>();
    let cursor = new Uint8Array(0);
    do {
      room(prefix.length);
      const p = put(prefix);
      let n = raw.kv_scan(this.h, p, length, cursor.dataStart, cursor.length, page, buf(), limit());
      if (n > <i32>limit()) n = raw.kv_scan(this.h, p, length, cursor.dataStart, cursor.length, page, more(n), n);
      if (n < 0) return bad<string[]>(found, n);
      const size = load<u32>(buf());
      cursor = new Uint8Array(size);
      memory.copy(cursor.dataStart, buf() + 4, size);
      for (let at = buf() + 4 + size, end = buf() + n; at < end;) {
        const len = load<u32>(at);
        found.push(String.UTF8.decodeUnsafe(at + 4, len));
        at += 4 + len;
      }
    } while (cursor.length > 0);
    return good<string[]>(found);
  }
  /** The answer has at most 1 MiB. */
  batch(b: Batch): Result<Item[]> {
    const items = new Array<Item>(), room: u32 = 1 << 20, out = more(room);
    const n = raw.kv_batch(this.h, b.ops.dataStart, b.ops.length, out, room);
    if (n < 0) return bad<Item[]>(items, n);
    if (n > <i32>room) return new Result<Item[]>(items, -4, "the answer of the batch is too large");
    for (let i: u32 = 0, count = load<u32>(out); i < count; i++) {
      const r = out + 8 + 40 * i, p = load<u32>(r + 24), len = load<u32>(r + 28);
      let status = load<i32>(r);
      if (status > 0) status = status == 1 ? -8 : status == 2 ? -9 : -10;
      items.push(new Item(status, String.UTF8.decodeUnsafe(p, len), len == 8 ? load<i64>(p) : 0));
    }
    return good<Item[]>(items);
  }

  private fetch(key: string, meta: usize): i32 {
    room(key.length);
    const k = put(key);
    const n = raw.kv_get(this.h, k, length, buf(), limit(), meta);
    return n <= <i32>limit() ? n : raw.kv_get(this.h, k, length, more(n), n, meta);
  }
}

/** Opens a store; allow.kv of the plugin must name it. */
export function openStore(name: string): Result<Store> {
  room(name.length);
  const p = put(name), h = raw.kv_open(p, length);
  return h < 0 ? bad<Store>(new Store(0), h) : good<Store>(new Store(h));
}

// Network.

/** A TCP connection. timeout in milliseconds; 0 is 5 seconds. */
export class Socket {
  constructor(private h: i32) {}
  /** At least one byte; none at the end. */
  read(max: u32 = 65536, timeout: u32 = 0): Result<Uint8Array> {
    const n = raw.tcp_read(this.h, more(max), max, timeout);
    return n < 0 ? bad<Uint8Array>(new Uint8Array(0), n) : good<Uint8Array>(bytes(n));
  }
  write(data: string, timeout: u32 = 0): Result<i32> {
    room(data.length);
    const p = put(data);
    return done(raw.tcp_write(this.h, p, length, timeout));
  }
  writeBytes(data: Uint8Array, timeout: u32 = 0): Result<i32> { return done(raw.tcp_write(this.h, data.dataStart, data.length, timeout)); }
  close(): void { raw.tcp_close(this.h); }
}

/** Connects to "host:port"; allow.net must name it. */
export function connect(address: string, tls: bool = false, timeout: u32 = 0): Result<Socket> {
  room(address.length);
  const p = put(address), h = raw.tcp_dial(p, length, tls ? 1 : 0, timeout);
  return h < 0 ? bad<Socket>(new Socket(0), h) : good<Socket>(new Socket(h));
}

/** The answer of another server, or of PHP. */
export class Answer {
  constructor(private h: i32, private php: bool) {}
  get status(): i32 { return this.php ? raw.php_status(this.h) : raw.http_status(this.h); }

  header(name: string): string | null {
    const all = this.headerValues(name);
    return all.length == 0 ? null : all[0];
  }
  headerValues(name: string): string[] {
    room(name.length);
    const p = put(name);
    let found = this.values(p, length, buf(), limit());
    if (found > 0 && <u32>found > limit()) found = this.values(p, length, more(<u32>found), <u32>found);
    return found <= 0 ? [] : list(found);
  }
  headerNames(): string[] {
    let found = this.namesTo(buf(), limit());
    if (found > 0 && <u32>found > limit()) found = this.namesTo(more(<u32>found), <u32>found);
    return found <= 0 ? [] : list(found);
  }
  /** The next bytes of the body; none at its end. */
  read(max: u32 = 65536): Result<Uint8Array> {
    const got = this.php ? raw.php_read(this.h, more(max), max) : raw.http_read(this.h, more(max), max);
    return got < 0 ? bad<Uint8Array>(new Uint8Array(0), <i32>got) : good<Uint8Array>(bytes(<u32>got));
  }
  /** The rest of the body; closes the answer. */
  readAll(): Result<Uint8Array> {
    let all = new Uint8Array(0);
    for (;;) {
      const piece = this.read();
      if (!piece.ok) return piece;
      if (piece.value.length == 0) break;
      const longer = new Uint8Array(all.length + piece.value.length);
      longer.set(all);
      longer.set(piece.value, all.length);
      all = longer;
    }
    this.close();
    return good<Uint8Array>(all);
  }
  text(): Result<string> {
    const all = this.readAll();
    return all.ok ? good<string>(String.UTF8.decodeUnsafe(all.value.dataStart, all.value.length)) : new Result<string>("", all.code, all.message);
  }
  close(): void {
    if (this.php) raw.php_close(this.h);
    else raw.http_close(this.h);
  }

  private values(name: usize, len: u32, to: usize, max: u32): i64 {
    return this.php ? raw.php_header(this.h, name, len, to, max) : raw.http_header(this.h, name, len, to, max);
  }
  private namesTo(to: usize, max: u32): i64 { return this.php ? raw.php_header_names(this.h, to, max) : raw.http_header_names(this.h, to, max); }
}

/** A request to another server (allow.net) or to PHP (allow.php). */
export class Outgoing {
  private lines: string = "";
  private body: string = "";
  private timeoutMs: u32 = 0;
  private broken: bool = false; // by a line break, which would make two headers of one
  constructor(readonly method: string, readonly url: string) {}
  header(name: string, value: string): Outgoing {
    if (name.indexOf("\n") >= 0 || value.indexOf("\n") >= 0) this.broken = true;
    this.lines += name + ": " + value + "\n";
    return this;
  }
  text(body: string): Outgoing {
    this.body = body;
    return this;
  }
  timeout(ms: u32): Outgoing {
    this.timeoutMs = ms;
    return this;
  }
  fetch(): Result<Answer> {
    if (this.isBroken()) return new Result<Answer>(new Answer(0, false), -3, "a line break in method, URL or header");
    const head = this.head();
    room(head.length + this.body.length);
    const p = put(head), n = length, b = put(this.body), h = raw.http_do(p, n, b, length, this.timeoutMs);
    return h < 0 ? bad<Answer>(new Answer(0, false), h) : good<Answer>(new Answer(h, false));
  }
  /** Sends it to a PHP pool; the URL is a path. */
  php(pool: string): Result<Answer> {
    if (this.isBroken()) return new Result<Answer>(new Answer(0, true), -3, "a line break in method, URL or header");
    const head = this.head();
    room(pool.length + head.length + this.body.length);
    const q = put(pool), m = length, p = put(head), n = length, b = put(this.body), h = raw.php_call(q, m, p, n, b, length, this.timeoutMs);
    return h < 0 ? bad<Answer>(new Answer(0, true), h) : good<Answer>(new Answer(h, true));
  }
  private isBroken(): bool { return this.broken || this.method.indexOf("\n") >= 0 || this.url.indexOf("\n") >= 0; }
  private head(): string {
    return this.method + " " + this.url + "\n" + this.lines;
  }
}

/** `outgoing("GET", "https://…").fetch()`, or `.php("pool")`. */
export function outgoing(method: string, url: string): Outgoing { return new Outgoing(method, url); }

// Routers.

/** What a router can decide. The last of to, pool, redirect and status counts. */
export class Router {
  to(route: string): Result<i32> { room(route.length); const p = put(route); return done(raw.route_to(p, length)); }
  pool(name: string): Result<i32> { room(name.length); const p = put(name); return done(raw.route_pool(p, length)); }
  rewrite(uri: string): Result<i32> { room(uri.length); const p = put(uri); return done(raw.route_rewrite(p, length)); }
  redirect(status: u32, url: string): Result<i32> { room(url.length); const p = put(url); return done(raw.route_redirect(status, p, length)); }
  status(code: u32): Result<i32> { return done(raw.route_status(code)); }
  /** Keeps the decision for requests that are equal in parts: "path,query,header:accept". */
  cache(parts: string, ttl: u32): Result<i32> { room(parts.length); const p = put(parts); return done(raw.route_cache(p, length, ttl)); }
}

export const router: Router = new Router();
export type RouteHandler = (req: Request, router: Router) => bool;
// @ts-ignore: decorator
@lazy export let routeHandler: RouteHandler | null = null;

/** Registers a router; true: it decided. Needs "@edge-server/guest/router". */
export function onRoute(handler: RouteHandler): void { routeHandler = handler; }

// Metrics: the same name is the same metric in all instances.

export class Metric {
  constructor(private id: i32) {}
  add(n: i64 = 1): Result<i32> { return this.id < 0 ? done(this.id) : done(raw.metrics_add(this.id, n)); }
  set(n: i64): Result<i32> { return this.id < 0 ? done(this.id) : done(raw.metrics_set(this.id, n)); }
  observe(n: i64): Result<i32> { return this.id < 0 ? done(this.id) : done(raw.metrics_observe(this.id, n)); }
}
function metric(kind: u32, name: string): Metric {
  room(name.length);
  const p = put(name);
  return new Metric(raw.metrics_define(kind, p, length));
}
export function counter(name: string): Metric { return metric(0, name); }
export function gauge(name: string): Metric { return metric(1, name); }
export function histogram(name: string): Metric { return metric(2, name); }

// The clock and the queue.

export type TickHandler = (now: i64) => void;
// @ts-ignore: decorator
@lazy export let tickHandler: TickHandler | null = null;

/** Registers what runs every so often. Needs "@edge-server/guest/cron", and every(ms) at the top level. */
export function onTick(handler: TickHandler): void { tickHandler = handler; }
export function every(ms: u32): Result<i32> { return done(raw.every(ms)); }

/** The plugin's queue, which its instances share. */
export namespace queue {
  export function push(item: string): Result<i32> {
    room(item.length);
    const p = put(item);
    return done(raw.queue_push(p, length));
  }
  export function pop(): Result<string> {
    let n = raw.queue_pop(buf(), limit());
    if (n > <i32>limit()) n = raw.queue_pop(more(n), n);
    return n < 0 ? bad<string>("", n) : good<string>(text(n));
  }
}

// WebSockets.

/** A connection. Its messages may come to any instance of the plugin, so what belongs to it goes into a store. */
export class Connection {
  constructor(readonly id: i64) {}
  send(message: string): Result<i32> { room(message.length); const p = put(message); return done(raw.ws_send(this.id, 1, p, length)); }
  sendBytes(message: Uint8Array): Result<i32> { return done(raw.ws_send(this.id, 2, message.dataStart, message.length)); }
  subscribe(topic: string): Result<i32> { room(topic.length); const p = put(topic); return done(raw.ws_subscribe(this.id, p, length)); }
  unsubscribe(topic: string): Result<i32> { room(topic.length); const p = put(topic); return done(raw.ws_unsubscribe(this.id, p, length)); }
  close(code: u32 = 1000, reason: string = ""): Result<i32> { room(reason.length); const p = put(reason); return done(raw.ws_disconnect(this.id, code, p, length)); }

  /** Whose the connection is; "" is nobody's. */
  user(): Result<string> {
    let n = raw.ws_user(this.id, buf(), limit());
    if (n > <i32>limit()) n = raw.ws_user(this.id, more(n), n);
    return n < 0 ? bad<string>("", n) : good<string>(text(n));
  }
  setUser(name: string): Result<i32> { room(name.length); const p = put(name); return done(raw.ws_set_user(this.id, p, length)); }

  /** An attribute: a claim of its token that edge.yaml names, or what set said. */
  get(name: string): Result<string> {
    room(name.length);
    const p = put(name);
    let n = raw.ws_get(this.id, p, length, buf(), limit());
    if (n > <i32>limit()) n = raw.ws_get(this.id, p, length, more(n), n);
    return n < 0 ? bad<string>("", n) : good<string>(text(n));
  }
  /** An empty value takes the attribute away. */
  set(name: string, value: string): Result<i32> {
    room(name.length + value.length);
    const n = put(name), nameLen = length, v = put(value);
    return done(raw.ws_set(this.id, n, nameLen, v, length));
  }
}

/** Sends a text to all that subscribed to a topic of allow.publish. */
export function publish(topic: string, message: string): Result<i32> {
  room(topic.length + message.length);
  const t = put(topic), n = length, m = put(message);
  return done(raw.ws_publish(t, n, 1, m, length));
}

export type OpenHandler = (conn: Connection, req: Request) => i32;
export type MessageHandler = (conn: Connection, data: Uint8Array, isText: bool) => i32;
export type CloseHandler = (conn: Connection, code: u32) => void;
// @ts-ignore: decorator
@lazy export let openHandler: OpenHandler | null = null;
// @ts-ignore: decorator
@lazy export let messageHandler: MessageHandler | null = null;
// @ts-ignore: decorator
@lazy export let closeHandler: CloseHandler | null = null;

/** 0 accepts a connection, a status from 400 to 599 refuses it. Needs "@edge-server/guest/websocket". */
export function onOpen(handler: OpenHandler): void { openHandler = handler; }
/** 0, or a code from 1000 to 4999 that closes the connection. */
export function onMessage(handler: MessageHandler): void { messageHandler = handler; }
export function onClose(handler: CloseHandler): void { closeHandler = handler; }
