// A host for tests of plugins under Node: http_handler whole, and of Edge's own namespaces variables, metrics, the queue and a
// store for each name. What it does not have (network, PHP, WebSockets) answers "unsupported".
//
//   const plugin = await load("hello.wasm", {config: "…"});
//   const answer = plugin.request({method: "GET", uri: "/", headers: {}, body: ""}, () => ({status: 200, headers: {}, body: "…"}));
//
// The function behind a request is the rest of the chain: it gets the request as the plugin passed it on.
import { randomFillSync } from "node:crypto";
import { readFile } from "node:fs/promises";

const encoder = new TextEncoder(), decoder = new TextDecoder();
const NOT_FOUND = -8, UNSUPPORTED = -5;

export async function load(file, options = {}) {
  const module = await WebAssembly.compile(typeof file === "string" ? await readFile(file) : file);
  const plugin = new Plugin(options);
  plugin.instance = await WebAssembly.instantiate(module, plugin.imports(module));
  const { _start, _initialize, edge_config } = plugin.instance.exports;
  _start?.();
  _initialize?.();
  const code = edge_config?.(encoder.encode(plugin.config).length) ?? 0;
  if (code !== 0) throw new Error(plugin.said || `the configuration is refused (${code})`);
  return plugin;
}

class Plugin {
  constructor({ config = "", stores = {} }) {
    this.config = config;
    this.log = []; // [level, text]
    this.vars = new Map();
    this.stores = stores; // of each name an object or Map of texts
    this.metrics = {};
    this.queue = [];
    this.decisions = [];
    this.features = 0;
    this.opened = [];
  }

  /** Takes a request through the plugin and, if it passes it on, through next. */
  request(request = {}, next = () => ({})) {
    this.begin(request);
    const result = BigInt.asUintN(64, this.instance.exports.handle_request());
    const passes = (result & 0xffffffffn) !== 0n;
    if (passes) {
      const behind = next(this.seen());
      this.status = behind.status ?? 200;
      for (const [name, value] of Object.entries(behind.headers ?? {})) this.headers[1].set(name.toLowerCase(), [].concat(value));
      this.bodies[1] = encoder.encode(behind.body ?? "");
      this.at[1] = 0;
      this.written[1] = false;
      this.instance.exports.handle_response(Number(result >> 32n), behind.failed ? 1 : 0);
    }
    return { next: passes, status: this.status, headers: flat(this.headers[1]), body: decoder.decode(this.bodies[1]), request: this.seen() };
  }

  /** Asks a router; the result is what it called, or null when it passes. */
  route(request = {}) {
    this.begin(request);
    return this.instance.exports.route() === 1 ? this.decisions : null;
  }

  tick(now = Date.now()) { this.instance.exports.tick(BigInt(now)); }

  begin({ method = "GET", uri = "/", headers = {}, body = "", protocol = "HTTP/1.1", remoteAddress = "192.0.2.1:1234" }) {
    Object.assign(this, { method, uri, protocol, remoteAddress, status: 200, decisions: [] });
    this.headers = [new Map(), new Map(), new Map(), new Map()];
    for (const [name, value] of Object.entries(headers)) this.headers[0].set(name.toLowerCase(), [].concat(value));
    this.bodies = [typeof body === "string" ? encoder.encode(body) : body, new Uint8Array(0)];
    this.at = [0, 0];
    this.written = [false, false];
    this.vars.clear();
  }

  seen() { return { method: this.method, uri: this.uri, headers: flat(this.headers[0]), body: decoder.decode(this.bodies[0]), vars: Object.fromEntries(this.vars) }; }

  // Memory.
  bytes(ptr, len) { return new Uint8Array(this.instance.exports.memory.buffer, ptr >>> 0, len >>> 0); }
  text(ptr, len) { return decoder.decode(this.bytes(ptr, len)); }
  give(value, buf, limit) {
    const data = typeof value === "string" ? encoder.encode(value) : value;
    if (data.length <= limit >>> 0) this.bytes(buf, data.length).set(data);
    return data.length;
  }
  list(items, buf, limit) {
    const len = this.give(items.map((item) => item + "\0").join(""), buf, limit);
    return (BigInt(items.length) << 32n) | BigInt(len);
  }

  imports(module) {
    const all = { http_handler: this.http(), edge_core_v1: this.core(), edge_kv_v1: this.kv(), edge_metrics_v1: this.meters(), edge_sched_v1: this.sched(),
      edge_route_v1: this.router(), wasi_snapshot_preview1: { random_get: (buf, len) => (randomFillSync(this.bytes(buf, len)), 0) } };
    const found = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      (found[from] ??= {})[name] = all[from]?.[name] ?? (() => UNSUPPORTED);
    }
    return found;
  }

  http() {
    return {
      enable_features: (features) => (this.features |= features & 7),
      get_config: (buf, limit) => this.give(this.config, buf, limit),
      log: (level, ptr, len) => { this.log.push([level, this.text(ptr, len)]); },
      log_enabled: (level) => (level >= 0 ? 1 : 0),
      get_method: (buf, limit) => this.give(this.method, buf, limit),
      set_method: (ptr, len) => { this.method = this.text(ptr, len); },
      get_uri: (buf, limit) => this.give(this.uri, buf, limit),
      set_uri: (ptr, len) => { this.uri = this.text(ptr, len) || "/"; },
      get_protocol_version: (buf, limit) => this.give(this.protocol, buf, limit),
      get_source_addr: (buf, limit) => this.give(this.remoteAddress, buf, limit),
      get_header_names: (kind, buf, limit) => this.list([...this.headers[kind].keys()].sort(), buf, limit),
      get_header_values: (kind, ptr, len, buf, limit) => this.list(this.headers[kind].get(this.text(ptr, len).toLowerCase()) ?? [], buf, limit),
      set_header_value: (kind, ptr, len, value, n) => { this.headers[kind].set(this.text(ptr, len).toLowerCase(), [this.text(value, n)]); },
      add_header_value: (kind, ptr, len, value, n) => {
        const name = this.text(ptr, len).toLowerCase();
        this.headers[kind].set(name, [...(this.headers[kind].get(name) ?? []), this.text(value, n)]);
      },
      remove_header: (kind, ptr, len) => { this.headers[kind].delete(this.text(ptr, len).toLowerCase()); },
      read_body: (kind, buf, limit) => {
        const piece = this.bodies[kind].subarray(this.at[kind], this.at[kind] + (limit >>> 0));
        this.bytes(buf, piece.length).set(piece);
        this.at[kind] += piece.length;
        return (this.at[kind] === this.bodies[kind].length ? 1n << 32n : 0n) | BigInt(piece.length);
      },
      write_body: (kind, ptr, len) => {
        const before = this.written[kind] ? this.bodies[kind] : new Uint8Array(0);
        this.bodies[kind] = Uint8Array.from([...before, ...this.bytes(ptr, len)]);
        this.written[kind] = true;
      },
      get_status_code: () => this.status,
      set_status_code: (code) => { this.status = code; },
    };
  }

  core() {
    return {
      has: () => 0,
      now_ms: () => BigInt(Date.now()),
      deadline_ms: () => -1n,
      var_get: (ptr, len, buf, limit) => (this.vars.has(this.text(ptr, len)) ? this.give(this.vars.get(this.text(ptr, len)), buf, limit) : NOT_FOUND),
      var_set: (ptr, len, value, n) => (this.vars.set(this.text(ptr, len), this.text(value, n)), 0),
      last_error: (buf, limit) => this.give("the host for tests says no", buf, limit),
      set_error: (ptr, len) => ((this.said = this.text(ptr, len)), 0),
      flush: () => 0,
    };
  }

  kv() {
    const value = (h, ptr, len) => this.opened[h][this.text(ptr, len)];
    return {
      open: (ptr, len) => {
        const store = this.stores[this.text(ptr, len)];
        return store === undefined ? -7 : this.opened.push(store) - 1;
      },
      get: (h, ptr, len, buf, limit) => (value(h, ptr, len) === undefined ? NOT_FOUND : this.give(value(h, ptr, len), buf, limit)),
      set: (h, ptr, len, data, n) => ((this.opened[h][this.text(ptr, len)] = this.text(data, n)), 0),
      delete: (h, ptr, len) => (delete this.opened[h][this.text(ptr, len)], 0),
      incr: (h, ptr, len, delta, ttl, out) => {
        const sum = BigInt(value(h, ptr, len) ?? 0) + delta;
        this.opened[h][this.text(ptr, len)] = String(sum);
        new DataView(this.instance.exports.memory.buffer).setBigInt64(out >>> 0, sum, true);
        return 0;
      },
    };
  }

  meters() {
    const names = [];
    return {
      define: (kind, ptr, len) => {
        const name = this.text(ptr, len);
        this.metrics[name] ??= 0;
        return names.includes(name) ? names.indexOf(name) : names.push(name) - 1;
      },
      add: (id, n) => ((this.metrics[names[id]] += Number(n)), 0),
      set: (id, n) => ((this.metrics[names[id]] = Number(n)), 0),
      observe: (id, n) => ((this.metrics[names[id]] = Number(n)), 0),
    };
  }

  sched() {
    return {
      every: (ms) => ((this.everyMs = ms), 0),
      queue_push: (ptr, len) => (this.queue.push(this.text(ptr, len)), 0),
      queue_pop: (buf, limit) => (this.queue.length === 0 ? NOT_FOUND : this.give(this.queue.shift(), buf, limit)),
    };
  }

  router() {
    const note = (what, text = (...args) => this.text(...args)) => (...args) => (this.decisions.push(`${what} ${text(...args)}`), 0);
    return {
      to: note("to"), pool: note("pool"), rewrite: note("rewrite"),
      redirect: note("redirect", (status, ptr, len) => `${status} ${this.text(ptr, len)}`),
      status: note("status", (code) => String(code)),
      cache: () => 0,
    };
  }
}

const flat = (headers) => Object.fromEntries([...headers].map(([name, values]) => [name, values.join(", ")]));
