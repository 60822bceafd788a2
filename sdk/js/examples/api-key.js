// Lets requests in that bring a key. The configuration is a text:
//
//     plugins: {modules: {api-key: {file: api-key.js, config: "s3cret alice\n0ther bob\n"}}}
import { rawConfig } from "edge";

const keys = rawConfig.split("\n").map((line) => line.split(/ (.*)/, 2)).filter(([key, name]) => key && name);

export default {
	configure() {
		if (keys.length === 0) throw new Error('no keys: write a line "KEY NAME" for each');
	},

	request(req, res) {
		const given = req.headers.get("x-api-key") ?? "";
		req.headers.delete("x-client"); // what a client says of itself counts for nothing
		let client;
		for (const [key, name] of keys) { // all of them, so that the time tells nothing of which one matches
			if (equal(key, given)) client = name;
		}
		if (client === undefined) {
			return new Response("an API key is needed\n", { status: 401, headers: { "www-authenticate": "ApiKey", "content-type": "text/plain" } });
		}
		req.headers.delete("x-api-key");
		req.headers.set("x-client", client);
	},
};

// equal takes as long for a key that is wrong in its first character as for one that is wrong in its last.
function equal(a, b) {
	let different = a.length ^ b.length;
	for (let i = 0; i < a.length; i++) different |= a.charCodeAt(i) ^ b.charCodeAt(i % (b.length || 1));
	return different === 0;
}
