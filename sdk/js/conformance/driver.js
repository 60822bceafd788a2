// The KV driver of sdk/conformance in JavaScript: a store in memory.
import { operationTime } from "edge";

const items = new Map(); // key → {value, ends, version}

const end = (ttl) => ttl === undefined ? undefined : operationTime() + ttl;
const failure = (code) => Object.assign(new Error(code), { code });

// live is the item of a key that has not ended.
function live(key) {
	const item = items.get(key);
	if (item?.ends === undefined || item.ends > operationTime()) return item;
	items.delete(key);
}

export const kv = {
	features: ["ttl", "cas", "evict"],

	open(config) {
		if (config?.refuse !== undefined) throw failure("invalid");
	},

	get(key) {
		const item = live(key);
		return item && { value: item.value, version: item.version, ttl: item.ends && item.ends - operationTime() };
	},

	set(key, value, { ttl, ifAbsent, ifPresent, ifVersion, keepTTL }) {
		const old = live(key);
		if (ifAbsent && old || ifPresent && !old || ifVersion !== undefined && old?.version !== ifVersion) return false;
		const item = { value, ends: keepTTL ? old?.ends : end(ttl), version: (old?.version ?? 0) + 1 };
		items.set(key, item);
		return item.version;
	},

	delete(key, { ifVersion }) {
		const item = live(key);
		if (item && ifVersion !== undefined && item.version !== ifVersion) return false;
		items.delete(key);
	},

	incr(key, delta, { ttl }) {
		const item = live(key) ?? { value: "0", ends: end(ttl), version: 0 };
		const text = typeof item.value === "string" ? item.value : new TextDecoder().decode(item.value);
		if (!/^-?[0-9]+$/.test(text)) throw failure("invalid");
		const sum = Number(text) + delta;
		items.set(key, { ...item, value: String(sum), version: item.version + 1 });
		return sum;
	},

	expire(key, ttl) {
		const item = live(key);
		if (!item) return false;
		item.ends = end(ttl);
	},

	scan(prefix, cursor, max) {
		const keys = [...items.keys()].filter((key) => key.startsWith(prefix) && live(key) && (cursor === undefined || key > cursor)).sort();
		const page = keys.slice(0, max);
		return { keys: page, cursor: keys.length > max ? page.at(-1) : undefined };
	},

	clear() { items.clear(); },

	tick(now) {
		console.info(`ticked ${now}`);
		for (const key of items.keys()) live(key);
	},

	close() { console.info("closed"); },
};
