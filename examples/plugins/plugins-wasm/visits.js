// visits is an origin: it answers by itself, from a store that edge.yaml grants it.
import { kv } from "edge";

export default {
	request(req) {
		const n = kv("counters").incr("visits");
		return new Response(`visit ${n}\n`, { headers: { "content-type": "text/plain" } });
	},
};
