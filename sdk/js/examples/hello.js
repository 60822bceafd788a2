// hello says where an answer comes from.
export default {
	request(req, res) {
		res.headers.set("x-hello", "from JavaScript");
	},
};
