// hello is middleware: it greets who says a name, on every route.
export default {
	request(req, res) {
		const name = req.headers.get("x-name");
		if (name) res.headers.set("x-hello", "hello " + name);
	},
};
