// chat-room is a chat without a back end: rooms, who is there, and what was said before. README.md tells what goes over the wire.
/// <reference path="../../sdk/js/edge.d.ts" />
import { config, kv, publish, rawConfig } from "edge";

let settings, store;

/** Of a day: presence of a server that was killed is forgotten after it. A message says that its sender is still there. */
const presence = 24 * 3600_000;

const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const known = ["store", "history", "keep", "people", "message"];

function number(name, otherwise, least, most) {
	const value = config?.[name] ?? otherwise;
	if (!Number.isInteger(value) || value < least || value > most) throw new Error(`config.${name}: must be a number from ${least} to ${most}, not ${JSON.stringify(value)}`);
	return value;
}

function duration(name, otherwise) {
	const value = config?.[name] ?? otherwise, parts = /^(\d{1,6})([smhd])$/.exec(value);
	if (!parts || parts[1] === "0") throw new Error(`config.${name}: must be a number of s, m, h or d, such as 24h, not ${JSON.stringify(value)}`);
	return parts[1] * units[parts[2]];
}

function open(name) {
	if (typeof name !== "string" || name === "") throw new Error(`config.store: must be the name of a store of the kv section, not ${JSON.stringify(name)}`);
	try {
		return kv(name);
	} catch (why) {
		throw new Error(`config.store: ${why.message}; write allow: {kv: [${name}]}`);
	}
}

/** The parameters of a query. */
function parameters(query) {
	const found = {};
	for (const pair of query.split("&")) {
		const [name, value = ""] = pair.split("=", 2);
		try {
			found[name] = decodeURIComponent(value.replaceAll("+", " "));
		} catch {} // what is no UTF-8 counts for nothing
	}
	return found;
}

/** A name as people write it, or undefined: characters that are seen, and spaces between them. */
function personName(text) {
	const name = (text ?? "").normalize("NFC").trim().replace(/\s+/g, " ");
	return name.length > 0 && name.length <= 30 && !/[\p{C}\p{Zl}\p{Zp}]/u.test(name) ? name : undefined;
}

const topic = (room) => "room." + room;
const connKey = (conn) => "c:" + conn.id;
const presenceKey = (room, conn) => `p:${room}:${conn.id}`;
const lineKey = (room, n) => `l:${room}:${String(n).padStart(16, "0")}`;

/** Who is in a room: each name once. */
function people(room) {
	const keys = [...store.keys(`p:${room}:`)], names = new Set();
	for (let i = 0; i < keys.length; i += 100) {
		for (const name of store.batch(keys.slice(i, i + 100).map((key) => ["get", key]))) if (typeof name === "string") names.add(name);
	}
	return [...names].sort();
}

/** How many connections a room has. */
function size(room) {
	let n = 0;
	for (const _ of store.keys(`p:${room}:`)) n++;
	return n;
}

/** What was said in a room, the oldest first. The counter of the room is the number of the latest line. */
function history(room) {
	const latest = store.incr("n:" + room, 0, { ttl: settings.keep + presence }), asked = [];
	for (let n = Math.max(1, latest - settings.history + 1); n <= latest; n++) asked.push(["get", lineKey(room, n)]);
	if (asked.length === 0) return [];
	const lines = [];
	for (let i = 0; i < asked.length; i += 100) lines.push(...store.batch(asked.slice(i, i + 100)));
	return lines.filter((line) => typeof line === "string").map((line) => JSON.parse(line));
}

/** Numbers a line, keeps it, and lets the one go that is too old now. */
function keep(room, line) {
	line.id = store.incr("n:" + room, 1);
	store.expire("n:" + room, settings.keep + presence); // outlives the lines and those who have seen them: numbers do not come twice
	if (settings.history === 0) return;
	store.setJSON(lineKey(room, line.id), line, { ttl: settings.keep });
	if (line.id > settings.history) store.delete(lineKey(room, line.id - settings.history));
}

export default {
	configure() {
		if (config !== undefined && config !== null && (typeof config !== "object" || Array.isArray(config))) throw new Error(`config: must be a map of keys, not ${rawConfig.slice(0, 40)}`);
		for (const key of Object.keys(config ?? {})) {
			if (!known.includes(key)) throw new Error(`config.${key}: there is no such key; there are ${known.join(", ")}`);
		}
		settings = { history: number("history", 50, 0, 200), keep: duration("keep", "24h"), people: number("people", 100, 1, 1000), message: number("message", 1000, 1, 8000) };
		store = open(config?.store ?? "chat");
	},

	websocket: {
		open(conn, req) {
			const query = parameters(req.query), name = personName(query.name), room = query.room ?? "hall";
			if (name === undefined || !/^[a-z0-9-]{1,40}$/.test(room)) return 400;
			if (size(room) >= settings.people) return 503;
			const new_ = !people(room).includes(name);
			store.setJSON(connKey(conn), { room, name }, { ttl: presence });
			store.set(presenceKey(room, conn), name, { ttl: presence });
			// Subscribed first: what is said meanwhile comes twice rather than never, and has a number by which clients know it.
			if (new_) publish(topic(room), JSON.stringify({ type: "joined", who: name }));
			conn.subscribe(topic(room));
			conn.send(JSON.stringify({ type: "welcome", you: name, room, people: people(room), history: history(room) }));
		},

		message(conn, data) {
			const me = store.getJSON(connKey(conn));
			if (me === undefined) return 1012; // the store was emptied: who comes back is known again
			let asked;
			try {
				asked = JSON.parse(data);
			} catch {
				return 0; // as what has nothing to say
			}
			const text = typeof asked?.say === "string" ? asked.say.trim() : "";
			if (text === "") return 0;
			if (text.length > settings.message && [...text].length > settings.message) {
				conn.send(JSON.stringify({ type: "refused", why: `a message has at most ${settings.message} characters` }));
				return 0;
			}
			store.expire(connKey(conn), presence);
			store.expire(presenceKey(me.room, conn), presence);
			const line = { type: "said", from: me.name, text, at: Date.now() };
			keep(me.room, line);
			publish(topic(me.room), JSON.stringify(line));
		},

		close(conn) {
			const me = store.getJSON(connKey(conn));
			if (me === undefined) return;
			store.delete(connKey(conn));
			store.delete(presenceKey(me.room, conn));
			if (!people(me.room).includes(me.name)) publish(topic(me.room), JSON.stringify({ type: "left", who: me.name }));
		},
	},
};
