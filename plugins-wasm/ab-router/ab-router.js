// Splits clients among the variants of a test and keeps each of them on its own. See README.md.
import { config, rawConfig, vars } from "edge";

const known = ["name", "path", "host", "by", "cookie", "max_age", "variants"], knownOfVariants = ["name", "weight", "to", "pool"];
const isToken = (text) => /^[\w!#$%&'*+.^`|~-]{1,64}$/.test(text), isName = (text) => /^[\w.-]{1,57}$/.test(text);
let tests = [];

function keysOf(value, known, at) {
	if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${at}: must be a map of keys`);
	for (const key of Object.keys(value)) {
		if (!known.includes(key)) throw new Error(`${at}.${key}: there is no such key; there are ${known.join(", ")}`);
	}
	return (key, byDefault) => {
		const found = value[key] ?? byDefault;
		if (found !== undefined && typeof found !== "string") throw new Error(`${at}.${key}: must be a text; put it into quotes`);
		return found;
	};
}

function readTest(t, at) {
	const text = keysOf(t, known, at), name = text("name", "");
	if (!isName(name)) throw new Error(`${at}.name: ${JSON.stringify(name)} is not 1 to 57 of a-z A-Z 0-9 _ . -`);
	const test = { name, path: text("path", "/"), host: text("host")?.toLowerCase(), by: text("by", "cookie"), cookie: text("cookie", "ab-" + name), maxAge: t.max_age ?? 30 * 86400 };
	if (!test.path.startsWith("/")) throw new Error(`${at}.path: ${JSON.stringify(test.path)} does not begin with /`);
	if (clean(test.path) !== test.path) throw new Error(`${at}.path: ${JSON.stringify(test.path)} matches nothing: it is compared with decoded and resolved paths; write ${JSON.stringify(clean(test.path))}`);
	const [kind, of] = test.by.split(":", 2);
	if (!(of === undefined ? ["cookie", "address"].includes(kind) : ["header", "variable"].includes(kind) && isToken(of))) {
		throw new Error(`${at}.by: ${JSON.stringify(test.by)} is none of: cookie, address, header:NAME, variable:NAME`);
	}
	if (!isToken(test.cookie)) throw new Error(`${at}.cookie: ${JSON.stringify(test.cookie)} is no name of a cookie`);
	if (!Number.isInteger(test.maxAge) || test.maxAge < 0 || test.maxAge > 400 * 86400) throw new Error(`${at}.max_age: must be a number of seconds from 0 (until the browser closes) to 34560000`);
	if (!Array.isArray(t.variants) || t.variants.length < 2 || t.variants.length > 20) throw new Error(`${at}.variants: must be a list of 2 to 20 variants`);
	test.variants = t.variants.map((v, i) => readVariant(v, `${at}.variants[${i}]`));
	test.sum = test.variants.reduce((sum, v) => sum + v.weight, 0);
	if (test.sum === 0) throw new Error(`${at}.variants: one of them needs a weight above 0`);
	if (new Set(test.variants.map((v) => v.name)).size < test.variants.length) throw new Error(`${at}.variants: two of them have one name`);
	return test;
}

function readVariant(v, at) {
	const text = keysOf(v, knownOfVariants, at), variant = { name: text("name", ""), weight: v.weight ?? 1, to: text("to"), pool: text("pool") };
	if (!isName(variant.name)) throw new Error(`${at}.name: ${JSON.stringify(variant.name)} is not 1 to 57 of a-z A-Z 0-9 _ . -`);
	if (typeof variant.weight !== "number" || !(variant.weight >= 0 && variant.weight <= 1e6)) throw new Error(`${at}.weight: must be a number from 0 to 1000000`);
	if (variant.to !== undefined && variant.pool !== undefined) throw new Error(`${at}: has both to and pool`);
	for (const key of ["to", "pool"]) {
		if (variant[key] === "") throw new Error(`${at}.${key}: is empty; leave the key out for a variant that the routes decide`);
	}
	return variant;
}

/** The path as routes compare it: decoded, without dot segments and double slashes. Otherwise another spelling would pass by a rule. */
function clean(path) {
	let text;
	try {
		text = decodeURIComponent(path);
	} catch { // no UTF-8: what is ASCII still counts
		text = path.replace(/%([0-7][\da-f])/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
	}
	if (!text.includes("//") && !text.includes("/.")) return text;
	const segments = [];
	for (const segment of text.split("/")) {
		if (segment === "..") segments.pop();
		else if (segment !== "" && segment !== ".") segments.push(segment);
	}
	return "/" + segments.join("/") + (segments.length > 0 && /\/\.{0,2}$/.test(text) ? "/" : "");
}

function matches(t, path, host) {
	if (t.host !== undefined && t.host !== host) return false;
	return path === t.path || path.startsWith(t.path.endsWith("/") ? t.path : t.path + "/");
}

const hostname = (req) => (req.headers.get("host") ?? "").toLowerCase().replace(/:\d*$/, "");

/** The value of a cookie. */
function cookie(req, name) {
	for (const part of (req.headers.get("cookie") ?? "").split(/[;,]/)) { // several Cookie lines are joined by a comma
		const at = part.indexOf("=");
		if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
	}
}

/** The variant at a point from 0 to 1. */
function at(t, point) {
	let rest = point * t.sum;
	for (const v of t.variants) {
		rest -= v.weight;
		if (rest < 0) return v;
	}
	return t.variants.find((v) => v.weight > 0);
}

/** A number from 0 to 1, the same on all servers: FNV-1a, mixed once more so that similar texts lie apart. */
function hash(text) {
	let h = 0x811c9dc5;
	for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
	h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
	h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
	return ((h ^ (h >>> 16)) >>> 0) / 0x100000000;
}

/** What a client is told apart by; undefined: nothing. */
function identity(t, req) {
	const colon = t.by.indexOf(":"), of = t.by.slice(colon + 1);
	if (t.by === "address") return req.remoteAddress.replace(/:\d+$/, "");
	if (t.by.startsWith("header:")) return req.headers.get(of) ?? undefined;
	if (t.by.startsWith("variable:")) return vars.get(of);
}

/** The client's variant. A cookie that names none of them, or one that was given up (weight 0), counts for nothing. */
function choose(t, req, res) {
	const id = identity(t, req);
	if (id !== undefined) return at(t, hash(t.name + " " + id));
	const had = cookie(req, t.cookie), kept = t.variants.find((v) => v.name === had && v.weight > 0);
	if (kept) return kept;
	const drawn = at(t, Math.random());
	res.headers.append("set-cookie", `${t.cookie}=${drawn.name}; Path=/; ${t.maxAge > 0 ? `Max-Age=${t.maxAge}; ` : ""}HttpOnly; SameSite=Lax`);
	return drawn;
}

export default {
	configure() {
		if (typeof config !== "object" || config === null) throw new Error(`config: must be a map with tests: […], not ${JSON.stringify(rawConfig.slice(0, 40))}`);
		keysOf(config, ["tests"], "config");
		if (!Array.isArray(config.tests) || config.tests.length === 0 || config.tests.length > 20) throw new Error("config.tests: must be a list of 1 to 20 tests");
		tests = config.tests.map((t, i) => readTest(t, `config.tests[${i}]`));
		const twice = tests.find((t, i) => tests.findIndex((other) => other.name === t.name) < i);
		if (twice) throw new Error(`config.tests: two of them have the name ${JSON.stringify(twice.name)}, and would share cookie and variable`);
	},

	route(req, res) {
		const path = clean(req.path), host = hostname(req);
		const t = tests.find((t) => matches(t, path, host));
		if (t === undefined) return;
		const variant = choose(t, req, res);
		vars.set("ab." + t.name, variant.name);
		if (variant.to !== undefined) return { to: variant.to };
		if (variant.pool !== undefined) return { pool: variant.pool };
	},
};
