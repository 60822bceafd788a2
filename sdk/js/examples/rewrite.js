// A router: old addresses are redirected, an API moves, the rest is left to the routes of edge.yaml.
export default {
	route(req) {
		// The same address gets the same decision without a call.
		return { ...decide(req), cache: ["path", "query"], cacheFor: 60_000 };
	},
};

function decide(req) {
	const { uri, path } = req;
	if (path.startsWith("/old/")) return { redirect: "/new/" + uri.slice("/old/".length), status: 308 };
	if (path.startsWith("/api/v1/")) return { to: "api", rewrite: uri.slice("/api".length) };
	if (path === "/teapot") return { status: 418 };
}
