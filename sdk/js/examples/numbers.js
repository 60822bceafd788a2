// An origin: it answers by itself, piece by piece.
//
//     http: {routes: [{match: {path: /numbers}, wasm: numbers}]}
import { flush } from "edge";

export default {
	request(req, res) {
		if (req.path !== "/numbers") return Response.json({ error: "not found" }, { status: 404 });
		const given = req.query.split("&").find((pair) => pair.startsWith("n="))?.slice(2) ?? "10";
		const n = /^[0-9]{1,6}$/.test(given) ? Number(given) : Infinity;
		if (n > 100_000) return Response.json({ error: "n is a number from 0 to 100000" }, { status: 400 });

		res.headers.set("content-type", "application/json");
		let piece = "[";
		for (let i = 1; i <= n; i++) {
			piece += i < n ? i + "," : i;
			if (i % 1000 === 0) {
				res.write(piece);
				flush();
				piece = "";
			}
		}
		res.write(piece + "]");
		return res;
	},
};
