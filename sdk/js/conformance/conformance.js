// The guest of sdk/conformance in JavaScript; the README there says what it does.
import {
	connect, deadline, enable, every, fetch, flush, has, kv, lastError, logEnabled, metrics, now, php, publish, queue, rawConfig, router, vars,
} from "edge";

const origin = rawConfig === "role=origin";
const scripts = origin ? { request: "x-origin", response: "x-origin-response" } : { request: "x-request", response: "x-response" };

let count = 0;
let started = "";
// Script is one that runs.
class Script {
	constructor(at) {
		Object.assign(this, at);
		this.results = [];
		this.result = undefined;
	}

	output() {
		const all = this.results.join(";");
		this.results = [];
		return all;
	}

	text(value) { this.results.push(encode(value)); }
	truth(value) { this.results.push(value ? "1" : "0"); }
	list(items) { this.results.push(items.map(encode).join(",")); }

	run(text) {
		if (!text) return;
		for (const operation of text.split(";")) {
			const words = operation.split(",");
			const bytes = (i) => decode(words[i] ?? "");
			const string = (i) => new TextDecoder().decode(bytes(i));
			if (this.ends(words[0], string, words)) return;
			const known = operations[words[0]];
			if (!known) {
				this.text("?" + words[0]);
				continue;
			}
			try {
				known.call(this, string, { bytes, words });
			} catch (e) {
				// What fetch does not take as an argument is a TypeError, as it is elsewhere.
				if (e.name !== "EdgeError" && !(words[0] === "http" && e instanceof TypeError)) throw e;
				this.results.push("!" + (e.code ?? "invalid"));
			}
		}
	}

	// ends runs the operations that end a script.
	ends(name, arg) {
		switch (name) {
		case "next":
			this.req.ctx = Number(arg(1) || 0);
			return true;
		case "done":
			this.result = this.res;
			return true;
		case "reply":
			this.result = new Response(this.output(), { status: Number(arg(1)), headers: { "content-type": arg(2) } });
			return true;
		case "refuse":
			this.result = Number(arg(1));
			return true;
		}
		return false;
	}

	headers(kind) {
		switch (kind) {
		case "request": return this.req.headers;
		case "request-trailer": return this.req.trailers;
		case "response-trailer": return this.res.trailers;
		}
		return this.res.headers;
	}
	answerHeader({ headers }) { this.list([...headers.keys()].filter((name) => name.startsWith("x-s")).concat(headers.getAll("x-several"))); }
	body(kind) { return kind === "request" ? this.req : this.res; }
}

const levels = { debug: console.debug, info: console.info, warn: console.warn, error: console.error };

const operations = {
	"method"() { this.text(this.req.method); },
	"set-method"(arg) { this.req.method = arg(1); },
	"uri"() { this.text(this.req.uri); },
	"set-uri"(arg) { this.req.uri = arg(1); },
	"proto"() { this.text(this.req.protocol); },
	"peer"() { this.text(this.req.remoteAddress); },
	"status"() { this.text(String(this.res.status)); },
	"set-status"(arg) { this.res.status = Number(arg(1)); },
	"ctx"() { this.text(String(this.req.ctx ?? 0)); },
	"failed"() { this.truth(this.failed); },

	"names"(arg) { this.list([...this.headers(arg(1)).keys()]); },
	"get"(arg) { this.text(this.headers(arg(1)).getAll(arg(2))[0] ?? ""); },
	"has"(arg) { this.truth(this.headers(arg(1)).has(arg(2))); },
	"values"(arg) { this.list(this.headers(arg(1)).getAll(arg(2))); },
	"set"(arg, { bytes }) { this.headers(arg(1)).set(arg(2), latin1(bytes(3))); },
	"add"(arg, { bytes }) { this.headers(arg(1)).append(arg(2), latin1(bytes(3))); },
	"del"(arg) { this.headers(arg(1)).delete(arg(2)); },
	"put"(arg) { this.headers(arg(1)).set(arg(2), this.output()); },

	"read"(arg) { this.text(this.body(arg(1)).read(Number(arg(2))) ?? ""); },
	"read-all"(arg) {
		// Not text() of a request: that keeps the body for the rest of the chain, too.
		const parts = [];
		for (let piece; (piece = this.body(arg(1)).read()) !== null;) parts.push(encode(piece));
		this.results.push(parts.join(""));
	},
	"sum"(arg) {
		const body = this.body(arg(1));
		let total = 0, length = 0;
		for (let piece; (piece = body.read(4096)) !== null;) {
			total = (total + sum(piece)) >>> 0;
			length += piece.length;
		}
		this.text(`${length}-${total}`);
	},
	"write"(arg, { bytes }) { this.body(arg(1)).write(bytes(2)); },
	"fill"(arg, { bytes }) {
		const body = this.body(arg(1)), piece = bytes(2);
		for (let i = Number(arg(3)); i > 0; i--) body.write(piece);
	},

	"config"() { this.text(rawConfig); },
	"enable"(arg) { this.list(enable(...arg(1).split("+").filter((name) => name !== ""))); },
	"log"(arg) { levels[arg(1)](arg(2)); },
	"say"(arg) { levels[arg(1)](this.output()); },
	"log-enabled"(arg) { this.truth(logEnabled(arg(1))); },
	"count"() { this.text(String(++count)); },
	"started"() { this.results.push(started); },
	"panic"(arg) { throw new Error(arg(1)); },

	"var"(arg) {
		const value = vars.get(arg(1));
		if (value === undefined) this.results.push("!not-found");
		else this.text(value);
	},
	"set-var"(arg) { vars.set(arg(1), arg(2)); },
	"has-import"(arg) { this.truth(has(arg(1))); },
	"now"() { this.text(String(now())); },
	"deadline"() { this.text(String(deadline() ?? -1)); },
	"flush"() { flush(); },
	"last-error"() { this.text(lastError()); },

	"kv-get"(arg) {
		const value = kv(arg(1)).getBytes(arg(2));
		if (value === undefined) this.results.push("!not-found");
		else this.text(value);
	},
	"kv-entry"(arg) {
		const entry = kv(arg(1)).getEntry(arg(2));
		if (entry === undefined) this.results.push("!not-found");
		else this.list([entry.bytes, String(entry.ttl ?? -1), String(entry.version)]);
	},
	"kv-set"(arg, { bytes }) {
		const flags = arg(5).split("+");
		const done = kv(arg(1)).set(arg(2), bytes(3), {
			ttl: Number(arg(4) || 0), ifAbsent: flags.includes("nx"), ifPresent: flags.includes("xx"), keepTTL: flags.includes("keep-ttl"),
			ifVersion: flags.includes("version") ? Number(arg(6) || 0) : undefined,
		});
		if (!done) this.results.push(flags.includes("nx") ? "!exists" : "!condition");
	},
	"kv-delete"(arg) {
		const version = Number(arg(3) || 0);
		if (!kv(arg(1)).delete(arg(2), version === 0 ? {} : { ifVersion: version })) this.results.push("!condition");
	},
	"kv-expire"(arg) { this.truth(kv(arg(1)).expire(arg(2), Number(arg(3) || 0))); },
	"kv-incr"(arg) { this.text(String(kv(arg(1)).incr(arg(2), Number(arg(3) || 0), { ttl: Number(arg(4) || 0) }))); },
	"kv-batch"(arg, { words }) {
		const list = words.slice(2).map((word, i) => arg(i + 2).split(" "));
		const results = kv(arg(1)).batch(list.map(([op, key, value]) => [op, key, op === "incr" ? Number(value) : value]));
		this.list(results.map((result, i) => {
			if (result instanceof Error) return "!" + result.code;
			if (result === undefined) return "!not-found";
			return typeof result === "boolean" ? "ok" : String(result);
		}));
	},
	"kv-scan"(arg) { this.list([...kv(arg(1)).keys(arg(2), Number(arg(3) || 0))].sort()); },

	"http"(arg, { words }) {
		const headers = words.slice(4).map((word, i) => arg(i + 4).split(": ", 2));
		const answer = fetch(arg(2), { method: arg(1), body: arg(3), headers });
		this.list([String(answer.status), answer.headers.get("x-answer") ?? "", answer.bytes()]);
	},
	"tcp"(arg) {
		const socket = connect(arg(1));
		const parts = [];
		socket.write(arg(2));
		for (let piece; (piece = socket.read()) !== null;) parts.push(encode(piece));
		socket.close();
		this.results.push(parts.join(""));
	},
	"php"(arg) {
		const answer = php(arg(1), arg(3), { method: arg(2), body: arg(4) });
		this.list([String(answer.status), answer.bytes()]);
	},
	"http-header"(arg) { this.answerHeader(fetch(arg(1))); },
	"php-header"(arg) { this.answerHeader(php(arg(1), arg(2))); },
	"counter"(arg) { metrics.counter(arg(1)).add(Number(arg(2))); },
	"gauge"(arg) { metrics.gauge(arg(1)).set(Number(arg(2))); },
	"gauge-add"(arg) { metrics.gauge(arg(1)).add(Number(arg(2))); },
	"histogram"(arg) { metrics.histogram(arg(1)).observe(Number(arg(2))); },
	"every"(arg) { every(Number(arg(1))); },
	"push"(arg) { queue.push(arg(1)); },
	"pop"() {
		const item = queue.pop();
		if (item === undefined) this.results.push("!not-found");
		else this.text(item);
	},
	"publish"(arg) { publish(arg(1), arg(2)); },

	"route-to"(arg) { router.to(arg(1)), this.result = true; },
	"route-pool"(arg) { router.pool(arg(1)), this.result = true; },
	"route-redirect"(arg) { router.redirect(Number(arg(1)), arg(2)), this.result = true; },
	"route-status"(arg) { router.status(Number(arg(1))), this.result = true; },
	"route-rewrite"(arg) { router.rewrite(arg(1)); },
	"route-cache"(arg) { router.cache(arg(1), Number(arg(2))); },

	"ws-send"(arg) { this.conn.send(arg(1)); },
	"ws-subscribe"(arg) { this.conn.subscribe(arg(1)); },
	"ws-unsubscribe"(arg) { this.conn.unsubscribe(arg(1)); },
	"ws-close"(arg) { this.closing = [Number(arg(1)), arg(2)]; },
	"ws-user"() { this.text(this.conn.user); },
	"ws-set-user"(arg) { this.conn.user = arg(1); },
	"ws-get"(arg) {
		const value = this.conn.get(arg(1));
		if (value === undefined) this.results.push("!not-found");
		else this.text(value);
	},
	"ws-set"(arg) { this.conn.set(arg(1), arg(2)); },
};

if (rawConfig.startsWith("start=")) {
	const s = new Script({});
	s.run(rawConfig.slice("start=".length));
	started = s.output();
}

export default {
	configure() {
		if (rawConfig.startsWith("refuse=")) throw new Error(rawConfig.slice("refuse=".length));
	},

	request(req, res) {
		const s = new Script({ req, res });
		s.run(req.headers.get(scripts.request));
		return s.result;
	},

	response(req, res, failed) {
		new Script({ req, res, failed }).run(req.headers.get(scripts.response));
	},

	route(req) {
		const s = new Script({ req });
		s.run(req.headers.get("x-route"));
		return s.result;
	},

	tick() {
		for (let item; (item = queue.pop()) !== undefined;) new Script({}).run(item);
	},

	websocket: {
		open(conn, req) {
			const s = new Script({ req, conn });
			s.run(req.headers.get("x-open"));
			return s.result;
		},
		message(conn, data) {
			if (typeof data !== "string") {
				conn.send(data);
				return;
			}
			const s = new Script({ conn });
			s.run(data);
			const output = s.output();
			if (output !== "") conn.send(output);
			if (s.closing) conn.close(...s.closing);
		},
		close(conn, code) { console.info(`closed ${code}`); },
	},
};

// Texts of scripts are bytes, percent-encoded. Strings with characters up to U+00FF stand for bytes, as those of headers do.

function encode(value) {
	const bytes = typeof value === "string" ? (/^[\0-\xff]*$/.test(value) ? Uint8Array.from(value, (c) => c.charCodeAt(0)) : new TextEncoder().encode(value)) : value;
	let out = "";
	for (const c of bytes) {
		out += c < 0x21 || c > 0x7e || c === 0x25 || c === 0x2c || c === 0x3b ? "%" + c.toString(16).toUpperCase().padStart(2, "0") : String.fromCharCode(c);
	}
	return out;
}

function decode(text) {
	const bytes = [];
	for (let i = 0; i < text.length; i++) {
		if (text[i] === "%" && i + 2 < text.length) {
			bytes.push(parseInt(text.slice(i + 1, i + 3), 16));
			i += 2;
		} else {
			bytes.push(text.charCodeAt(i));
		}
	}
	return Uint8Array.from(bytes);
}

function sum(bytes) {
	let total = 0;
	for (let i = 0, n = bytes.length; i < n; i++) total += bytes[i];
	return total;
}

const latin1 = (bytes) => String.fromCharCode(...bytes);
