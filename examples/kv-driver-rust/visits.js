// visits counts in the store "notes", whose data a driver in Rust keeps.
import { kv } from "edge";

export default {
	request() {
		const n = kv("notes").incr("visits");
		return new Response(`visit ${n}\n`, { headers: { "content-type": "text/plain" } });
	},
};
