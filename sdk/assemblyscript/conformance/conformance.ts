// The guest of sdk/conformance in AssemblyScript; the README there says what it does.

import {
  Action, Answer, Batch, Body, BufferRequest, BufferResponse, Connection, Done, Headers, IfAbsent, IfPresent, IfVersion, KeepTTL, Level, Next,
  Request, Response, Result, Router, Store, Trailers, config, connect, counter, deadline, enable, every, flush, gauge, has, histogram, lastError,
  log, nextWith, now, onClose, onConfig, onMessage, onOpen, onRequest, onResponse, onRoute, onTick, openStore, outgoing, publish, queue, request,
  response, router, vars,
} from "@edge-server/guest";

export * from "@edge-server/guest/config";
export * from "@edge-server/guest/middleware";
export * from "@edge-server/guest/router";
export * from "@edge-server/guest/cron";
export * from "@edge-server/guest/websocket";

const origin = config() == "role=origin";
let count = 0;
let started = "";

onConfig((text) => text.startsWith("refuse=") ? text.substring("refuse=".length) : null);

onRequest((req, res) => {
  const s = new Script();
  s.run(header(req, origin ? "x-origin" : "x-request"));
  return s.action;
});

onResponse((req, res) => { new Script().run(header(req, origin ? "x-origin-response" : "x-response")); });

onRoute((req, r) => {
  const s = new Script();
  s.run(header(req, "x-route"));
  return s.decided;
});

onTick((at) => {
  for (let item = queue.pop(); item.ok; item = queue.pop()) new Script().run(item.value);
});

onOpen((conn, req) => {
  const s = new Script();
  s.conn = conn;
  s.run(header(req, "x-open"));
  return s.refused;
});

onMessage((conn, data, isText) => {
  if (!isText) {
    conn.sendBytes(data);
    return 0;
  }
  const s = new Script();
  s.conn = conn;
  s.run(String.UTF8.decodeUnsafe(data.dataStart, data.length));
  const output = s.output();
  if (output != "") conn.send(output);
  if (s.closeCode != 0) conn.close(s.closeCode, s.closeReason);
  return 0;
});

onClose((conn, code) => { log.info("closed " + code.toString()); });

function header(req: Request, name: string): string {
  const value = req.headers.get(name);
  return value === null ? "" : value;
}

/** One that runs. */
class Script {
  action: Action = Next;
  decided: bool = false;
  refused: i32 = 0;
  closeCode: u32 = 0;
  closeReason: string = "";
  conn: Connection = new Connection(0);
  results: string[] = [];
  words: string[] = [];

  output(): string {
    const all = this.results.join(";");
    this.results = [];
    return all;
  }

  run(script: string): void {
    if (script == "") return;
    const operations = script.split(";");
    for (let i = 0; i < operations.length; i++) {
      this.words = operations[i].split(",");
      const name = this.words[0];
      if (this.ends(name)) return;
      if (!this.message(name) && !this.fields(name) && !this.bodies(name) && !this.server(name) && !this.stores(name) && !this.others(name)) {
        this.text("?" + name);
      }
    }
  }

  ends(name: string): bool {
    if (name == "next") this.action = nextWith(this.natural(1));
    else if (name == "done") this.action = Done;
    else if (name == "reply") this.action = response.send(this.natural(1), this.arg(2), this.output());
    else if (name == "refuse") this.refused = <i32>this.natural(1);
    else return false;
    return true;
  }

  // Arguments, decoded.
  bytes(i: i32): Uint8Array { return decode(i < this.words.length ? this.words[i] : ""); }
  arg(i: i32): string {
    const b = this.bytes(i);
    return String.UTF8.decodeUnsafe(b.dataStart, b.length);
  }
  number(i: i32): i64 {
    const text = this.arg(i);
    return text == "" ? 0 : I64.parseInt(text);
  }
  natural(i: i32): u32 { return <u32>this.number(i); }

  // Results.
  raw(result: string): void { this.results.push(result); }
  text(result: string): void { this.raw(encodeText(result)); }
  data(result: Uint8Array): void { this.raw(encode(result)); }
  truth(result: bool): void { this.raw(result ? "1" : "0"); }
  list(items: string[]): void { this.raw(items.map<string>((item: string) => encodeText(item)).join(",")); }
  void(r: Result<i32>): bool {
    if (!r.ok) this.raw("!" + r.error);
    return r.ok;
  }

  message(name: string): bool {
    if (name == "method") this.text(request.method);
    else if (name == "set-method") request.method = this.arg(1);
    else if (name == "uri") this.text(request.uri);
    else if (name == "set-uri") request.uri = this.arg(1);
    else if (name == "proto") this.text(request.protocol);
    else if (name == "peer") this.text(request.remoteAddress);
    else if (name == "status") this.raw(response.status.toString());
    else if (name == "set-status") response.status = this.natural(1);
    else if (name == "ctx") this.raw(response.ctx.toString());
    else if (name == "failed") this.truth(response.failed);
    else return false;
    return true;
  }

  headers(): Headers {
    const kind = this.arg(1);
    if (kind == "request") return request.headers;
    if (kind == "request-trailer") return request.trailers;
    return kind == "response-trailer" ? response.trailers : response.headers;
  }

  fields(name: string): bool {
    if (name == "names") this.list(this.headers().names());
    else if (name == "get") {
      const value = this.headers().get(this.arg(2));
      this.text(value === null ? "" : value);
    }
    else if (name == "has") this.truth(this.headers().has(this.arg(2)));
    else if (name == "values") this.list(this.headers().getAll(this.arg(2)));
    else if (name == "set") this.headers().set(this.arg(2), this.arg(3));
    else if (name == "add") this.headers().append(this.arg(2), this.arg(3));
    else if (name == "del") this.headers().delete(this.arg(2));
    else if (name == "put") this.headers().set(this.arg(2), this.output());
    else return false;
    return true;
  }

  body(): Body { return this.arg(1) == "request" ? request.body : response.body; }

  bodies(name: string): bool {
    if (name == "read") {
      const piece = this.body().read(this.natural(2));
      this.raw(piece === null ? "" : encode(piece));
    }
    else if (name == "read-all") this.data(this.body().readAll());
    else if (name == "sum") this.sum(this.body());
    else if (name == "write") this.body().writeBytes(this.bytes(2));
    else if (name == "fill") {
      const body = this.body(), piece = this.bytes(2);
      for (let n = this.natural(3); n > 0; n--) body.writeBytes(piece);
    }
    else return false;
    return true;
  }

  sum(body: Body): void {
    let total: u32 = 0, length: u64 = 0;
    for (let piece = body.read(4096); piece !== null; piece = body.read(4096)) {
      for (let i = 0; i < piece.length; i++) total += piece[i];
      length += piece.length;
    }
    this.raw(length.toString() + "-" + total.toString());
  }

  server(name: string): bool {
    if (name == "config") this.text(config());
    else if (name == "enable") this.enable();
    else if (name == "log") log.write(level(this.arg(1)), this.arg(2));
    else if (name == "say") log.write(level(this.arg(1)), this.output());
    else if (name == "log-enabled") this.truth(log.enabled(level(this.arg(1))));
    else if (name == "count") this.raw((++count).toString());
    else if (name == "started") this.raw(started);
    else if (name == "panic") throw new Error(this.arg(1));
    else if (name == "var") this.found(vars.get(this.arg(1)));
    else if (name == "set-var") this.void(vars.set(this.arg(1), this.arg(2)));
    else if (name == "has-import") this.truth(has(this.arg(1)));
    else if (name == "now") this.raw(now().toString());
    else if (name == "deadline") this.raw(deadline().toString());
    else if (name == "flush") this.void(flush());
    else if (name == "last-error") this.text(lastError());
    else return false;
    return true;
  }

  found(r: Result<string>): void {
    if (r.ok) this.text(r.value);
    else this.raw("!" + r.error);
  }

  enable(): void {
    const names = this.arg(1).split("+");
    const on = enable((names.includes("request") ? BufferRequest : 0) | (names.includes("response") ? BufferResponse : 0) |
      (names.includes("trailers") ? Trailers : 0));
    const list = new Array<string>();
    if (on & BufferRequest) list.push("request");
    if (on & BufferResponse) list.push("response");
    if (on & Trailers) list.push("trailers");
    this.list(list);
  }

  stores(name: string): bool {
    if (!name.startsWith("kv-")) return false;
    const opened = openStore(this.arg(1));
    if (!opened.ok) {
      this.raw("!" + opened.error);
      return true;
    }
    const s = opened.value;
    if (name == "kv-get") {
      const r = s.getBytes(this.arg(2));
      if (r.ok) this.data(r.value);
      else this.raw("!" + r.error);
    } else if (name == "kv-entry") {
      const r = s.getEntry(this.arg(2));
      if (r.ok) this.raw(encode(r.value.bytes) + "," + r.value.ttl.toString() + "," + r.value.version.toString());
      else this.raw("!" + r.error);
    } else if (name == "kv-set") this.set(s);
    else if (name == "kv-delete") this.void(s.delete(this.arg(2), this.number(3)));
    else if (name == "kv-expire") {
      const r = s.expire(this.arg(2), this.number(3));
      this.raw(r.ok ? (r.value ? "1" : "0") : "!" + r.error);
    } else if (name == "kv-incr") {
      const r = s.incr(this.arg(2), this.number(3), this.number(4));
      this.raw(r.ok ? r.value.toString() : "!" + r.error);
    } else if (name == "kv-batch") this.batch(s);
    else if (name == "kv-scan") {
      const r = s.keys(this.arg(2), this.natural(3));
      if (r.ok) this.list(r.value.sort());
      else this.raw("!" + r.error);
    } else return false;
    return true;
  }

  set(s: Store): void {
    const names = this.arg(5).split("+");
    const flags: u32 = (names.includes("nx") ? IfAbsent : 0) | (names.includes("xx") ? IfPresent : 0) |
      (names.includes("version") ? IfVersion : 0) | (names.includes("keep-ttl") ? KeepTTL : 0);
    this.void(s.setBytes(this.arg(2), this.bytes(3), this.number(4), flags, this.number(6)));
  }

  batch(s: Store): void {
    const b = new Batch(), kinds = new Array<string>();
    for (let i = 2; i < this.words.length; i++) {
      const parts = this.arg(i).split(" ");
      kinds.push(parts[0]);
      if (parts[0] == "get") b.get(parts[1]);
      else if (parts[0] == "set") b.set(parts[1], parts[2]);
      else if (parts[0] == "delete") b.delete(parts[1]);
      else b.incr(parts[1], I64.parseInt(parts[2]));
    }
    const r = s.batch(b);
    if (!r.ok) {
      this.raw("!" + r.error);
      return;
    }
    const out = new Array<string>();
    for (let i = 0; i < kinds.length; i++) {
      const item = r.value[i];
      if (!item.ok) out.push("!" + item.error);
      else if (kinds[i] == "get") out.push(encodeText(item.text));
      else out.push(kinds[i] == "incr" ? item.number.toString() : "ok");
    }
    this.raw(out.join(","));
  }

  others(name: string): bool {
    if (name == "http") this.http();
    else if (name == "php") {
      const r = outgoing(this.arg(2), this.arg(3)).text(this.arg(4)).php(this.arg(1));
      if (r.ok) this.answer(r.value, false);
      else this.raw("!" + r.error);
    }
    else if (name == "http-header") this.header(outgoing("GET", this.arg(1)).fetch());
    else if (name == "php-header") this.header(outgoing("GET", this.arg(2)).php(this.arg(1)));
    else if (name == "tcp") this.tcp();
    else if (name == "counter") this.void(counter(this.arg(1)).add(this.number(2)));
    else if (name == "gauge") this.void(gauge(this.arg(1)).set(this.number(2)));
    else if (name == "gauge-add") this.void(gauge(this.arg(1)).add(this.number(2)));
    else if (name == "histogram") this.void(histogram(this.arg(1)).observe(this.number(2)));
    else if (name == "every") this.void(every(this.natural(1)));
    else if (name == "push") this.void(queue.push(this.arg(1)));
    else if (name == "pop") this.found(queue.pop());
    else if (name == "publish") this.void(publish(this.arg(1), this.arg(2)));
    else if (name == "route-to") this.decide(router.to(this.arg(1)));
    else if (name == "route-pool") this.decide(router.pool(this.arg(1)));
    else if (name == "route-redirect") this.decide(router.redirect(this.natural(1), this.arg(2)));
    else if (name == "route-status") this.decide(router.status(this.natural(1)));
    else if (name == "route-rewrite") this.void(router.rewrite(this.arg(1)));
    else if (name == "route-cache") this.void(router.cache(this.arg(1), this.natural(2)));
    else if (name == "ws-send") this.void(this.conn.send(this.arg(1)));
    else if (name == "ws-subscribe") this.void(this.conn.subscribe(this.arg(1)));
    else if (name == "ws-unsubscribe") this.void(this.conn.unsubscribe(this.arg(1)));
    else if (name == "ws-user") this.found(this.conn.user());
    else if (name == "ws-set-user") this.void(this.conn.setUser(this.arg(1)));
    else if (name == "ws-get") this.found(this.conn.get(this.arg(1)));
    else if (name == "ws-set") this.void(this.conn.set(this.arg(1), this.arg(2)));
    else if (name == "ws-close") {
      this.closeCode = this.natural(1);
      this.closeReason = this.arg(2);
    }
    else return false;
    return true;
  }

  decide(r: Result<i32>): void {
    if (this.void(r)) this.decided = true;
  }

  http(): void {
    const o = outgoing(this.arg(1), this.arg(2)).text(this.arg(3));
    for (let i = 4; i < this.words.length; i++) {
      const line = this.arg(i), colon = line.indexOf(": ");
      if (colon > 0) o.header(line.substring(0, colon), line.substring(colon + 2));
    }
    const r = o.fetch();
    if (r.ok) this.answer(r.value, true);
    else this.raw("!" + r.error);
  }

  answer(a: Answer, withHeader: bool): void {
    const status = a.status.toString();
    let middle = "";
    if (withHeader) {
      const value = a.header("x-answer");
      middle = "," + (value === null ? "" : encodeText(value));
    }
    const body = a.readAll();
    this.raw(body.ok ? status + middle + "," + encode(body.value) : "!" + body.error);
  }

  header(r: Result<Answer>): void {
    if (!r.ok) return this.raw("!" + r.error);
    const all = r.value.headerNames().filter((name: string) => name.startsWith("x-s")).concat(r.value.headerValues("x-several"));
    r.value.close();
    this.list(all);
  }

  tcp(): void {
    const c = connect(this.arg(1));
    if (!c.ok) {
      this.raw("!" + c.error);
      return;
    }
    let all = "", error = "";
    const sent = c.value.write(this.arg(2));
    if (!sent.ok) error = sent.error;
    while (error == "") {
      const piece = c.value.read();
      if (!piece.ok) error = piece.error;
      else if (piece.value.length == 0) break;
      else all += encode(piece.value);
    }
    c.value.close();
    this.raw(error == "" ? all : "!" + error);
  }
}

if (config().startsWith("start=")) {
  const s = new Script();
  s.run(config().substring("start=".length));
  started = s.output();
}

function level(name: string): Level {
  if (name == "debug") return Level.Debug;
  if (name == "warn") return Level.Warn;
  return name == "error" ? Level.Error : Level.Info;
}

function encodeText(text: string): string { return encode(Uint8Array.wrap(String.UTF8.encode(text))); }

function encode(bytes: Uint8Array): string {
  const out = new Uint8Array(bytes.length * 3), digits = "0123456789ABCDEF";
  let n = 0;
  for (let i = 0; i < bytes.length; i++) {
    const c = bytes[i];
    if (c < 0x21 || c > 0x7e || c == 0x25 || c == 0x2c || c == 0x3b) {
      out[n++] = 0x25;
      out[n++] = <u8>digits.charCodeAt(c >> 4);
      out[n++] = <u8>digits.charCodeAt(c & 15);
    } else {
      out[n++] = c;
    }
  }
  return String.UTF8.decodeUnsafe(out.dataStart, n);
}

function decode(text: string): Uint8Array {
  const bytes = Uint8Array.wrap(String.UTF8.encode(text)), out = new Uint8Array(bytes.length);
  let n = 0;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] == 0x25 && i + 2 < bytes.length) {
      out[n++] = <u8>(digit(bytes[i + 1]) << 4 | digit(bytes[i + 2]));
      i += 2;
    } else {
      out[n++] = bytes[i];
    }
  }
  return out.subarray(0, n);
}

function digit(c: u8): u8 { return c <= 0x39 ? c - 0x30 : (c | 0x20) - 0x57; }
