// Sends a share of the requests to a new version. See README.md.
import { config, rawConfig, vars } from "edge";

const known = ["name", "path", "host", "weight", "to", "pool", "by", "header", "variable"];
let canaries = [];

function read(c, at) {
	const text = (key, byDefault) => {
		const value = c[key] ?? byDefault;
		if (value !== undefined && typeof value !== "string") throw new Error(`${at}.${key}: must be a text; put it into quotes`);
		return value;
	};
	if (typeof c !== "object" || c === null || Array.isArray(c)) throw new Error(`${at}: must be a map of keys`);
	for (const key of Object.keys(c)) {
		if (!known.includes(key)) throw new Error(`${at}.${key}: there is no such key; there are ${known.join(", ")}`);
	}
	const canary = {
		name: text("name", "canary"), path: text("path", "/"), host: text("host")?.toLowerCase(), weight: c.weight, to: text("to"), pool: text("pool"),
		by: text("by", "request"), header: text("header", "x-canary").toLowerCase(), variable: text("variable", "canary"),
	};
	if (!/^[\w.-]{1,64}$/.test(canary.name)) throw new Error(`${at}.name: ${JSON.stringify(canary.name)} is not 1 to 64 of a-z A-Z 0-9 _ . -`);
	if (!canary.path.startsWith("/")) throw new Error(`${at}.path: ${JSON.stringify(canary.path)} does not begin with /`);
	if (clean(canary.path) !== canary.path) throw new Error(`${at}.path: ${JSON.stringify(canary.path)} matches nothing: it is compared with decoded and resolved paths; write ${JSON.stringify(clean(canary.path))}`);
	if (typeof canary.weight !== "number" || !(canary.weight >= 0 && canary.weight <= 100)) throw new Error(`${at}.weight: must be a number from 0 to 100, percent of the requests`);
	if ((canary.to === undefined) === (canary.pool === undefined)) throw new Error(`${at}: needs either to (a route) or pool (a PHP pool)`);
	if (canary.to === "" || canary.pool === "") throw new Error(`${at}.${canary.to === "" ? "to" : "pool"}: is empty; write the name of a ${canary.to === "" ? "route" : "PHP pool"}`);
	if (!["request", "address"].includes(canary.by)) throw new Error(`${at}.by: ${JSON.stringify(canary.by)} is none of: request, address`);
	if (canary.header !== "" && !/^[\w!#$%&'*+.^`|~-]{1,64}$/.test(canary.header)) throw new Error(`${at}.header: ${JSON.stringify(canary.header)} is no name of a header`);
	if (canary.variable !== "" && (!/^[\w.-]{1,64}$/.test(canary.variable) || canary.variable.startsWith("edge."))) throw new Error(`${at}.variable: ${JSON.stringify(canary.variable)} is no name of a variable`);
	return canary;
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

function matches(c, path, host) {
	if (c.host !== undefined && c.host !== host) return false;
	const prefix = c.path.endsWith("/") ? c.path : c.path + "/";
	return path === c.path || path.startsWith(prefix);
}

const hostname = (req) => (req.headers.get("host") ?? "").toLowerCase().replace(/:\d*$/, "");

/** Whether this request is of the share. */
function chosen(c, req) {
	const wish = c.header && req.headers.get(c.header)?.toLowerCase();
	if (wish === "always") return true;
	if (wish === "never") return false;
	const point = c.by === "address" ? hash(c.name + " " + address(req.remoteAddress)) : Math.random();
	return point * 100 < c.weight;
}

const address = (peer) => peer.replace(/:\d+$/, "");

/** A number from 0 to 1, the same on all servers: FNV-1a, mixed once more so that similar texts lie apart. */
function hash(text) {
	let h = 0x811c9dc5;
	for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
	h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
	h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
	return ((h ^ (h >>> 16)) >>> 0) / 0x100000000;
}

export default {
	configure() {
		if (typeof config !== "object" || config === null) throw new Error(`config: must be a map with canaries: […], not ${JSON.stringify(rawConfig.slice(0, 40))}`);
		for (const key of Object.keys(config)) {
			if (key !== "canaries") throw new Error(`config.${key}: there is no such key; there is canaries`);
		}
		const list = config.canaries;
		if (!Array.isArray(list) || list.length === 0 || list.length > 50) throw new Error("config.canaries: must be a list of 1 to 50 canaries");
		canaries = list.map((c, i) => read(c, `config.canaries[${i}]`));
	},

	route(req) {
		const path = clean(req.path), host = hostname(req);
		const c = canaries.find((c) => matches(c, path, host));
		if (c === undefined) return;
		const yes = chosen(c, req);
		if (c.variable) vars.set(c.variable, yes ? c.name : "stable");
		if (yes) return c.to !== undefined ? { to: c.to } : { pool: c.pool };
	},
};
