// moved is a router: addresses that moved are redirected, testers get the route beta, and the routes of edge.yaml decide the rest.
// Its configuration says what moved, and where to: {/old/: /new/}.
import { config } from "edge";

const moved = Object.entries(config ?? {});

export default {
	configure() {
		for (const [from, to] of moved) {
			if (!from.startsWith("/") || !to.startsWith("/")) throw new Error(`${from}: ${to}: both have to begin with "/"`);
		}
	},

	route(req) {
		for (const [from, to] of moved) {
			if (!req.uri.startsWith(from)) continue;
			const rest = req.uri.slice(from.length).replace(/^[/\\]+/, ""); // or /old//evil.example would become //evil.example, another server
			return { redirect: to + rest, status: 308 };
		}
		if (/(^|;) *tester=1 *(;|$)/.test(req.headers.get("cookie") ?? "")) return { to: "beta" };
	},
};
