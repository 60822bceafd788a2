// The examples under Node, in the host for tests. The folder of the built modules is the variable MODULES.
import assert from "node:assert";
import test from "node:test";
import { load } from "../testing/host.js";

const plugin = (name, options) => load(`${process.env.MODULES}/${name}.wasm`, options);

test("hello", async () => {
  const hello = await plugin("hello");
  const answer = hello.request({}, () => ({ body: "behind" }));
  assert.equal(answer.headers["x-hello"], "from AssemblyScript");
  assert.equal(answer.body, "behind");
});

test("api-key", async () => {
  const keys = await plugin("api-key", { config: "one alice\n\ntwo bob\n" });
  assert.equal(keys.request({}).status, 401);
  assert.equal(keys.request({ headers: { "X-Api-Key": "ona" } }).next, false);
  const answer = keys.request({ headers: { "X-Api-Key": "two", "X-Client": "root" } });
  assert.deepEqual([answer.next, answer.request.headers], [true, { "x-client": "bob" }]);
  await assert.rejects(plugin("api-key", { config: "\n" }), /no keys/);
});

test("rewrite", async () => {
  const rewrite = await plugin("rewrite");
  assert.deepEqual(rewrite.route({ uri: "/old/a?b" }), ["redirect 308 /new/a?b"]);
  assert.deepEqual(rewrite.route({ uri: "/api/v1/users?x=1" }), ["rewrite /v1/users?x=1", "to api"]);
  assert.deepEqual(rewrite.route({ uri: "/teapot?short" }), ["status 418"]);
  assert.equal(rewrite.route({ uri: "/else" }), null);
});

test("counter", async () => {
  const counter = await plugin("counter", { stores: { counters: {} } });
  assert.deepEqual(["/a?x", "/a", "/b"].map((uri) => counter.request({ uri }).headers["x-hits"]), ["1", "2", "1"]);
  const denied = await plugin("counter");
  assert.equal(denied.request({}).next, true);
  assert.match(denied.log[0][1], /^count \/: /);
});

test("numbers", async () => {
  const numbers = await plugin("numbers");
  assert.equal(numbers.request({ uri: "/numbers?n=3" }).body, "[1,2,3]");
  assert.equal(numbers.request({ uri: "/numbers?n=5000" }).body.split(",").length, 5000);
  assert.equal(numbers.request({ uri: "/numbers?n=-1" }).status, 400);
  assert.equal(numbers.request({ uri: "/" }).status, 404);
});
