package js_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// scriptPlugin loads a script that is to have one instance.
func scriptPlugin(t *testing.T, cache, isolation, source string) *wasmhost.Plugin {
	t.Helper()
	file := filepath.Join(testenv.Dir(t), "p.js")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	cfg.File, cfg.Isolation, cfg.Instances.Max = file, isolation, 1
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{
		Logger: slog.New(slog.DiscardHandler), CacheDir: cache,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Stop(context.Background()) })
	p, _ := host.Plugin("p")
	return p
}

// request sends one through the plugin to a handler that echoes, and returns the answer.
func request(p *wasmhost.Plugin, body string) string {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.Copy(w, r.Body)
	})
	w := httptest.NewRecorder()
	p.Middleware(echo).ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(body)))
	return w.Body.String()
}

// TestInstancesAreKept counts the instances that requests one after the other take with `isolation: request`: whatever a script
// does within the room of edge_warm_up, it is one.
func TestInstancesAreKept(t *testing.T) {
	t.Parallel()
	cache := testenv.Dir(t)
	const requests = 20
	for _, tt := range []struct{ name, source, send, want string }{
		{"goes on", `request(req, res) { res.headers.set("x-a", "b") }`, "x", "x"},
		{"answers", `request() { return new Response("no", {status: 403}) }`, "", "no"},
		{"answers from both phases", `bufferResponse: true, response() { return new Response("no", {status: 403, headers: [["a", "b"]]}) }`, "", "no"},
		{"answers JSON", `request() { return Response.json({a: [1, {b: null}]}) }`, "", `{"a":[1,{"b":null}]}`},
		{"answers what it reads", `async request(req) { return Response.json(req.json()) }`, `{"a":[1,2]}`, `{"a":[1,2]}`},
		{"redirects", `request() { return Response.redirect("/a") }`, "", ""},
		{"writes", `request(req, res) { for (let i = 0; i < 9; i++) res.write("ab"); return res }`, "", strings.Repeat("ab", 9)},
		{"changes the answer", `bufferResponse: true, response(req, res) { res.write(res.text().toUpperCase()) }`, "x", "X"},
		{"answers at length", `request() { return new Response("x".repeat(128 << 10)) }`, "", strings.Repeat("x", 128<<10)},
		{"reads at length", `request(req) { return new Response(req.bytes()) }`, strings.Repeat("x", 128<<10), strings.Repeat("x", 128<<10)},
		{"has many of all sizes", `request() { const a = []; for (let i = 0; i < 200; i++) a.push("x".repeat(i * 10) + i, {i}, new Uint8Array(i)); return new Response(String(a.length)) }`, "", "600"},
		{"throws", `request() { null.x }`, "", "Internal Server Error\n"},
		{"rejects", `async request() { throw new Error("x") }`, "", "Internal Server Error\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := scriptPlugin(t, cache, wasmhost.IsolateRequest, "export default {"+tt.source+"}")
			made := 1
			for range requests {
				if got := request(p, tt.send); got != tt.want {
					t.Fatalf("answer = %.60q, want %.60q: %s", got, tt.want, p.Stats().LastError)
				}
				if p.Stats().Idle == 0 { // the next one has to make one
					made++
				}
			}
			if made != 1 {
				t.Errorf("%d requests took %d instances, want one; its memory grew to %d bytes", requests, made, p.Stats().Memory)
			}
		})
	}
}

// heapScript gives and takes memory of all sizes in an order that its request says, and looks whether anything was written over.
const heapScript = `
const kept = new Map();
let seed = 1;
const random = (n) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % n;
const size = () => 1 << random(17) | random(64);

function make(key) {
	const bytes = new Uint8Array(size()).fill(key);
	return random(2) ? {bytes} : {bytes, text: String.fromCharCode(65 + key % 26).repeat(size())};
}

function whole(key, {bytes, text}) {
	const ends = [...bytes.subarray(0, 16), ...bytes.subarray(-16)]; // where what the heap writes into free memory would be
	return ends.every((b) => b === key) && (text === undefined || text === String.fromCharCode(65 + key % 26).repeat(text.length));
}

export default {
	request(req) {
		for (let i = 0; i < 100; i++) {
			const key = random(64), have = kept.get(key);
			if (have && !whole(key, have)) return new Response("broken: " + key);
			if (have && random(2)) kept.delete(key);
			else if (have) have.bytes = have.bytes.slice(0, random(have.bytes.length + 1));
			else kept.set(key, make(key));
		}
		return new Response("whole");
	},
};
`

// TestHeap: the engine's own malloc mixes nothing up, and what is given back serves again.
func TestHeap(t *testing.T) {
	t.Parallel()
	p := scriptPlugin(t, testenv.Dir(t), wasmhost.IsolateInstance, heapScript)
	rounds := testenv.Count(60, 1000)
	var early uint64
	for n := range rounds {
		if got := request(p, ""); got != "whole" {
			t.Fatalf("request %d: %q %s", n, got, p.Stats().LastError)
		}
		if n == rounds/3 {
			early = p.Stats().Memory
		}
	}
	if late := p.Stats().Memory; late > early+early/2 {
		t.Errorf("memory went from %d to %d bytes with nothing more in it", early, late)
	}
}
