// The module "edge" and the other kinds of plugins, in JavaScript on top of the host's functions, which services.c hands over as
// `host`. What this function returns is read by services.c: `exports` of the module, and `calls`, which the host's
// calls go to.
(function (host) {
	"use strict";
	const text = new TextDecoder(), codes = [
		"ok", "unavailable", "timeout", "invalid", "too-large", "unsupported", "internal", "denied", "not-found", "condition", "exists",
		"closed", "limit", "phase",
	];

	// EdgeError is what a function of the host ended with; code is one of the names above.
	class EdgeError extends Error {
		constructor(number, message) {
			super(message);
			this.code = codes[-number] ?? "internal";
		}
		get name() { return "EdgeError"; }
	}

	function check(result) {
		if (result < 0) throw new EdgeError(result, host.lastError() || codes[-result] || "error");
		return result;
	}

	// value checks what buffers come as: bytes, or the number of an error.
	const value = (result) => typeof result === "number" ? check(result) : result;
	const milliseconds = (ms) => ms === undefined || ms === null ? 0 : ms;

	// Variables of the request.
	const vars = {
		get(name) {
			const found = host.varGet(name);
			if (found === -8) return undefined;
			return text.decode(value(found));
		},
		set(name, content) { check(host.varSet(name, content)); },
	};

	// Stores.
	const NX = 1, XX = 2, IF_VERSION = 4, KEEP_TTL = 8;
	const flagsOf = (options) => (options.ifAbsent ? NX : 0) | (options.ifPresent ? XX : 0) |
		(options.ifVersion !== undefined ? IF_VERSION : 0) | (options.keepTTL ? KEEP_TTL : 0);
	const ops = { get: 1, set: 2, delete: 3, incr: 4, expire: 5 };
	const encoder = new TextEncoder();
	const bytesOf = (v) => typeof v === "string" ? encoder.encode(v) : v instanceof ArrayBuffer ? new Uint8Array(v)
		: ArrayBuffer.isView(v) ? new Uint8Array(v.buffer, v.byteOffset, v.byteLength) : encoder.encode(String(v));

	class Store {
		#handle;
		constructor(name) { this.#handle = check(host.kvOpen(name)); }

		getBytes(key) {
			const found = host.kvGet(this.#handle, key, false);
			return found === -8 ? undefined : value(found);
		}
		get(key) {
			const found = this.getBytes(key);
			return found === undefined ? undefined : text.decode(found);
		}
		getJSON(key) {
			const found = this.get(key);
			return found === undefined ? undefined : JSON.parse(found);
		}
		getEntry(key) {
			const found = host.kvGet(this.#handle, key, true);
			if (found === -8) return undefined;
			const [bytes, ttl, version] = value(found);
			return { bytes, get value() { return text.decode(bytes); }, ttl: ttl < 0 ? undefined : ttl, version };
		}
		set(key, content, options = {}) {
			const result = host.kvSet(this.#handle, key, content, milliseconds(options.ttl), flagsOf(options), BigInt(options.ifVersion ?? 0));
			if (result === -9 || result === -10) return false;
			check(result);
			return true;
		}
		setJSON(key, content, options) { return this.set(key, JSON.stringify(content), options); }
		delete(key, options = {}) {
			const result = host.kvDelete(this.#handle, key, BigInt(options.ifVersion ?? 0));
			if (result === -9) return false;
			check(result);
			return true;
		}
		expire(key, ttl) { return check(host.kvExpire(this.#handle, key, milliseconds(ttl))) === 1; }
		incr(key, delta = 1, options = {}) {
			const [error, sum] = host.kvIncr(this.#handle, key, BigInt(delta), milliseconds(options.ttl));
			check(error);
			return sum;
		}
		*keys(prefix = "", page = 100) {
			let cursor = new Uint8Array(0);
			do {
				const [next, ...found] = unpack(value(host.kvScan(this.#handle, prefix, cursor, page)));
				for (const key of found) yield text.decode(key);
				cursor = next ?? new Uint8Array(0);
			} while (cursor.length > 0);
		}
		// batch takes [["get", key], ["set", key, value, options], ["delete", key], ["incr", key, delta], ["expire", key, ttl]] and gives a
		// result, or an EdgeError, for each.
		batch(list) {
			const parts = [];
			let size = 0;
			for (const [op, key, argument, options = {}] of list) {
				if (ops[op] === undefined) throw new TypeError(`batch: ${op} is no operation`);
				const k = bytesOf(key);
				let v = new Uint8Array(0), ttl = options.ttl ?? 0;
				if (op === "set") v = bytesOf(argument);
				if (op === "expire") ttl = argument ?? 0;
				if (op === "incr") {
					v = new Uint8Array(8);
					new DataView(v.buffer).setBigInt64(0, BigInt(argument ?? 1), true);
				}
				const record = new Uint8Array(32 + k.length + v.length), view = new DataView(record.buffer);
				view.setUint32(0, ops[op], true);
				view.setUint32(4, k.length, true);
				view.setUint32(8, v.length, true);
				view.setUint32(12, op === "set" ? flagsOf(options) : 0, true);
				view.setBigInt64(16, BigInt(ttl), true);
				view.setBigInt64(24, BigInt(options.ifVersion ?? 0), true);
				record.set(k, 32);
				record.set(v, 32 + k.length);
				parts.push(record);
				size += record.length;
			}
			const all = new Uint8Array(size);
			let at = 0;
			for (const part of parts) {
				all.set(part, at);
				at += part.length;
			}
			// The pointers of the result are addresses in this memory; `base` is where the result was written.
			const onlyGets = list.every(([op]) => op === "get");
			const [bytes, base] = value(host.kvBatch(this.#handle, all, onlyGets ? 1 << 16 : 1 << 20, onlyGets)), view = new DataView(bytes.buffer);
			return list.map(([op], i) => {
				const record = 8 + 40 * i, status = view.getInt32(record, true);
				const from = view.getUint32(record + 24, true) - base, found = bytes.slice(from, from + view.getUint32(record + 28, true));
				if (status < 0) {
					const why = view.getUint32(record + 32, true) - base;
					return new EdgeError(status, text.decode(bytes.slice(why, why + view.getUint32(record + 36, true))) || codes[-status]);
				}
				if (op === "get") return status === 1 ? undefined : text.decode(found);
				if (op === "incr") return Number(new DataView(found.buffer).getBigInt64(0, true));
				return status === 0;
			});
		}
	}

	// unpack takes a page apart: a cursor, then keys.
	function unpack(page) {
		const view = new DataView(page.buffer), items = [];
		for (let at = 0; at + 4 <= page.length;) {
			const length = view.getUint32(at, true);
			items.push(page.slice(at + 4, at + 4 + length));
			at += 4 + length;
		}
		return items;
	}

	// Connections.
	class Socket {
		#handle;
		#timeout;
		constructor(handle, timeout) {
			this.#handle = handle;
			this.#timeout = timeout;
		}
		// read gives at least one byte, or null at the end.
		read(max = 65536, options = {}) {
			const found = value(host.tcpRead(this.#handle, max, milliseconds(options.timeout ?? this.#timeout)));
			return found.length === 0 ? null : found;
		}
		write(content, options = {}) { return check(host.tcpWrite(this.#handle, content, milliseconds(options.timeout ?? this.#timeout))); }
		close() { check(host.tcpClose(this.#handle)); }
	}
	const connect = (address, options = {}) =>
		new Socket(check(host.tcpDial(address, options.tls ? 1 : 0, milliseconds(options.timeout))), options.timeout);

	// fetch and php: a request head is "METHOD target\nname: value\n…".
	function head(method, target, headers) {
		if (/[\s]/.test(method) || /[\s]/.test(target)) throw new TypeError(`a method and an address have no spaces: ${method} ${target}`);
		return host.head(`${method} ${target}\n`, headers);
	}
	const methodOf = (init) => init.method ?? (init.body === undefined || init.body === null ? "GET" : "POST");
	function fetch(url, init = {}) {
		return value(host.httpDo(head(methodOf(init), String(url), init.headers), init.body ?? "", milliseconds(init.timeout)));
	}
	function php(pool, target, init = {}) {
		return value(host.phpCall(pool, head(methodOf(init), target, init.headers), init.body ?? "", milliseconds(init.timeout)));
	}

	// Metrics: the same name is the same metric in all instances.
	const define = (kind, name) => check(host.metricsDefine(kind, name));
	const metrics = {
		counter(name) {
			const id = define(0, name);
			return { add(n = 1) { check(host.metricsAdd(id, BigInt(n))); } };
		},
		gauge(name) {
			const id = define(1, name);
			return { add(n = 1) { check(host.metricsAdd(id, BigInt(n))); }, set(n) { check(host.metricsSet(id, BigInt(n))); } };
		},
		histogram(name) {
			const id = define(2, name);
			return { observe(n) { check(host.metricsObserve(id, BigInt(n))); } };
		},
	};

	// The plugin's queue and clock.
	const queue = {
		push(content) { check(host.queuePush(content)); },
		popBytes() {
			const item = host.queuePop();
			return item === -8 ? undefined : value(item);
		},
		pop() {
			const item = queue.popBytes();
			return item === undefined ? undefined : text.decode(item);
		},
	};

	// WebSockets. A connection is a number: its messages may come to any instance of the plugin.
	const kindOf = (content) => typeof content === "string" ? 1 : 2;
	class Connection {
		#id;
		constructor(id) { this.#id = id; }
		get id() { return String(this.#id); }
		send(content) { check(host.wsSend(this.#id, kindOf(content), content)); }
		subscribe(topic) { check(host.wsSubscribe(this.#id, topic)); }
		unsubscribe(topic) { check(host.wsUnsubscribe(this.#id, topic)); }
		close(code = 1000, reason = "") { check(host.wsClose(this.#id, code, reason)); }
		// user is whose the connection is, "" if nobody's; attributes are claims of its token that edge.yaml names, and what set said.
		get user() { return text.decode(value(host.wsUser(this.#id))); }
		set user(name) { check(host.wsSetUser(this.#id, name)); }
		get(name) {
			const found = host.wsGet(this.#id, name);
			return found === -8 ? undefined : text.decode(value(found));
		}
		set(name, content) { check(host.wsSet(this.#id, name, content ?? "")); }
	}
	const publish = (topic, content) => void check(host.wsPublish(topic, kindOf(content), content));

	// What route() can decide, call by call, for those who want to hear of errors; it returns true then.
	const router = {
		to(route) { check(host.routeTo(route)); },
		pool(name) { check(host.routePool(name)); },
		rewrite(uri) { check(host.routeRewrite(uri)); },
		redirect(status, url) { check(host.routeRedirect(status, url)); },
		status(code) { check(host.routeStatus(code)); },
		cache(parts, ms) { check(host.routeCache([].concat(parts).join(","), ms)); },
	};

	const calls = {
		// route turns what the script returned into calls of edge_route_v1; true: it decided.
		decide(d) {
			if (d === undefined || d === null) return false;
			if (typeof d === "boolean") return d; // router was called
			if (typeof d !== "object") throw new TypeError("route() returned " + typeof d + ": return nothing to pass, or {to, pool, rewrite, redirect, status, cache}");
			for (const key of Object.keys(d)) {
				if (!["to", "pool", "rewrite", "redirect", "status", "cache", "cacheFor"].includes(key)) throw new TypeError(`route() returned an object with ${key}; there are to, pool, rewrite, redirect, status, cache and cacheFor`);
			}
			if (d.rewrite !== undefined) router.rewrite(d.rewrite);
			if (d.to !== undefined) router.to(d.to);
			if (d.pool !== undefined) router.pool(d.pool);
			if (d.redirect !== undefined) router.redirect(d.status ?? 302, d.redirect);
			else if (d.status !== undefined) router.status(d.status);
			if (d.cache !== undefined) router.cache(d.cache, d.cacheFor ?? 60000);
			return ["to", "pool", "redirect", "status"].some((key) => d[key] !== undefined);
		},
		connection: (id) => new Connection(id),

		// The operations of a KV driver give [status, value, ttl, version, error].
		kvFeatures(driver) {
			let bits = 0;
			for (const name of driver.features ?? []) {
				const bit = { ttl: 1, cas: 2, shared: 64, evict: 128 }[name];
				if (bit === undefined) throw new TypeError(`kv.features: ${name} is unknown; there are ttl, cas, shared and evict`);
				bits |= bit;
			}
			return bits | (driver.incr ? 4 : 0) | 8 | (driver.scan ? 16 : 0) | (driver.expire ? 1 : 0);
		},
		kvOpen(driver, config) {
			try {
				driver.open?.(config === "" ? undefined : JSON.parse(config));
				return 0;
			} catch (e) {
				host.setError(String(e?.message ?? e));
				return errorNumber(e, -3);
			}
		},
		kvGet: (driver, key) => result(() => {
			const found = driver.get(text.decode(key));
			if (found === undefined || found === null) return [1];
			return isEntry(found) ? [0, found.value, found.ttl ?? -1, found.version ?? 0] : [0, found];
		}),
		kvSet: (driver, key, content, ttl, flags, version) => result(() => {
			const options = { ttl: ttl > 0 ? ttl : undefined, ifAbsent: !!(flags & NX), ifPresent: !!(flags & XX), keepTTL: !!(flags & KEEP_TTL),
				ifVersion: flags & IF_VERSION ? version : undefined };
			const done = driver.set(text.decode(key), content, options);
			return done === false ? [flags & NX ? 3 : 2] : [0, undefined, -1, typeof done === "number" ? done : 0];
		}),
		kvDelete: (driver, key, version) => result(() => {
			const done = driver.delete(text.decode(key), { ifVersion: version === 0 ? undefined : version });
			return [done === undefined || done === true ? 0 : version === 0 ? 1 : 2];
		}),
		kvIncr: (driver, key, delta, ttl) => result(() => {
			const bytes = new Uint8Array(8), sum = driver.incr(text.decode(key), delta, { ttl: ttl > 0 ? ttl : undefined });
			new DataView(bytes.buffer).setBigInt64(0, BigInt(sum), true);
			return [0, bytes];
		}),
		kvExpire: (driver, key, ttl) => result(() => [driver.expire(text.decode(key), ttl > 0 ? ttl : undefined) === false ? 1 : 0]),
		kvScan: (driver, prefix, cursor, max) => result(() => {
			const page = driver.scan(text.decode(prefix), cursor.length === 0 ? undefined : text.decode(cursor), max);
			const items = [page.cursor ?? "", ...page.keys].map(bytesOf);
			const bytes = new Uint8Array(items.reduce((n, item) => n + 4 + item.length, 0)), view = new DataView(bytes.buffer);
			let at = 0;
			for (const item of items) {
				view.setUint32(at, item.length, true);
				bytes.set(item, at + 4);
				at += 4 + item.length;
			}
			return [0, bytes];
		}),
		kvClear: (driver) => result(() => {
			if (!driver.clear) return [-5];
			driver.clear();
			return [0];
		}),
	};

	const isEntry = (found) => typeof found === "object" && !(found instanceof ArrayBuffer) && !ArrayBuffer.isView(found);
	const errorNumber = (e, otherwise) => {
		const number = codes.indexOf(e?.code);
		return number > 0 ? -number : otherwise;
	};
	function result(operation) {
		try {
			const r = operation();
			if (typeof r?.[1]?.then === "function") throw new TypeError("the functions of a KV driver are not async");
			return r;
		} catch (e) {
			console.error(e);
			return [errorNumber(e, -6), undefined, -1, 0, String(e?.message ?? e)];
		}
	}

	const config = (() => {
		const raw = host.config();
		if (raw === "") return undefined;
		try {
			return JSON.parse(raw);
		} catch {
			return raw;
		}
	})();

	return {
		calls,
		exports: {
			EdgeError, Store, config, rawConfig: host.config(), name: host.name(), vars, connect, fetch, php, metrics, queue, publish, router,
			kv: (name) => new Store(name),
			connection: (id) => new Connection(BigInt(id)),
			every(ms) { check(host.every(ms)); },
			enable: (...names) => host.enable(names),
			logEnabled: (level) => host.logEnabled(level),
			has: (name) => host.has(name),
			now: () => host.now(),
			operationTime: () => host.operationTime(),
			deadline() {
				const left = host.deadline();
				return left < 0 ? undefined : left;
			},
			flush() { check(host.flush()); },
			lastError: () => host.lastError(),
		},
	};
})
