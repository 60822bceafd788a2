// Counts requests by path in the store "counters", which all servers of a fleet can share.
//
//     kv: {counters: {}}
//     plugins: {modules: {counter: {file: counter.js, allow: {kv: [counters]}}}}
import { kv } from "edge";

export default {
	request(req, res) {
		try {
			res.headers.set("x-hits", kv("counters").incr("hits:" + req.path));
		} catch (e) {
			console.warn(`count ${req.path}: ${e.message}`); // no reason to fail the request
		}
	},
};
