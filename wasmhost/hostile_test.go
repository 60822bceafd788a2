package wasmhost_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestHostileGuests: each row is a guest that takes what it can. Its request gets one 500 without a word of the guest, the
// instance goes, the log and the statistics name the plugin, and the next request is served.
func TestHostileGuests(t *testing.T) {
	t.Parallel()
	const forever = `(loop $again %s (br $again)) unreachable`
	for name, tt := range map[string]struct {
		guest wat
		want  string
	}{
		"recursion": {wat{request: `(drop (call $down (i32.const 0)))` + pass, more: `(func $down (param i32) (result i32)
			(i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (local.get 0)))`}, "limits.stack is 1MiB"},
		"table.grow": {wat{more: `(table $t 1 funcref)`, request: `
			(if (i32.eq (table.grow $t (ref.null func) (i32.const 999999)) (i32.const -1)) (then (return (i64.const 0))))
			(if (i32.eq (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1)) (then unreachable))` + pass}, "unreachable"},
		"memory.grow":      {wat{request: `(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable`}, "unreachable"},
		"response headers": {wat{request: fmt.Sprintf(forever, `(call $add_header_value (i32.const 1) (str "x-bomb") (str "0123456789"))`)}, "take more than the 262144 bytes"},
		"removed headers":  {wat{request: fmt.Sprintf(forever, `(call $remove_header (i32.const 1) (str "x-bomb"))`)}, "take more than the 262144 bytes"},
		"request headers":  {wat{request: fmt.Sprintf(forever, `(call $add_header_value (i32.const 0) (str "x-bomb") (str "0123456789"))`)}, "take more than the 262144 bytes"},
		"one long value":   {wat{request: `(memory.fill (i32.const 0) (i32.const 97) (i32.const 131072)) ` + strings.Repeat(`(call $add_header_value (i32.const 1) (str "a") (i32.const 0) (i32.const 131000))`, 2) + pass}, "take more than the 262144 bytes"},
		"methods":          {wat{request: fmt.Sprintf(forever, `(call $set_method (str "METHOD"))`)}, "set_method: the guest's changes"},
		"URIs":             {wat{request: fmt.Sprintf(forever, `(call $set_uri (str "/"))`)}, "set_uri: the guest's changes"},
		"a long bad URI":   {wat{request: `(memory.fill (i32.const 0) (i32.const 37) (i32.const 100000)) (i32.store8 (i32.const 0) (i32.const 47)) (call $set_uri (i32.const 0) (i32.const 100000))` + pass}, "invalid URL escape"},
		"request body":     {wat{request: fmt.Sprintf(forever, `(call $write_body (i32.const 0) (i32.const 0) (i32.const 100000))`)}, "write_body: the request body grows beyond"},
		"held body":        {wat{start: bufferResponse, request: fmt.Sprintf(forever, `(call $write_body (i32.const 1) (i32.const 0) (i32.const 100000))`)}, "write_body: the response body grows beyond"},
		"no host":          {wat{request: `(call $set_header_value (i32.const 0) (str "host") (str "a/b@c"))` + pass}, "is not a host"},
		"headers stay in":  {wat{request: `(call $set_header_value (i32.const 1) (str "x-guest") (str "secret")) (call $add_header_value (i32.const 1) (str "x-outer") (str "secret")) (call $remove_header (i32.const 1) (str "x-gone")) unreachable`}, "unreachable"},
		"headers stay in, held": {wat{request: `(call $set_header_value (i32.const 1) (str "x-guest") (str "secret")) (drop (call $enable_features (i32.const 2)))
			(call $set_header_value (i32.const 1) (str "x-outer") (str "secret")) (call $remove_header (i32.const 1) (str "x-gone"))` + pass,
			response: "unreachable"}, "handle_response: wasm error: unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log testenv.Log
			p := plugin(t, tt.guest.compile(t), moduleConfig(), wasmhost.Options{Logger: logger(&log, slog.LevelInfo)})
			guarded := p.Middleware(echo)
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/neighbour" {
					return
				}
				w.Header()["X-Outer"] = []string{"a"}
				w.Header().Set("X-Gone", "no")
				guarded.ServeHTTP(w, r)
			}))
			for round := range uint64(2) {
				got := do(t, s, "GET", "/", nil)
				if got.StatusCode != 500 || got.body != "Internal Server Error\n" {
					t.Fatalf("answer = %d %.80q, want a plain 500", got.StatusCode, got.body)
				}
				if outer := got.Header["X-Outer"]; got.Header.Get("X-Guest") != "" || len(outer) != 1 || outer[0] != "a" || got.Header.Get("X-Gone") != "no" {
					t.Errorf("header = %v, want that of the outer handler alone", got.Header)
				}
				st := p.Stats()
				if st.Traps != round+1 || st.Busy != 0 {
					t.Errorf("stats = %+v, want a trap each and no instance kept busy", st)
				}
				if !strings.Contains(st.LastError, tt.want) || len(st.LastError) > 1000 {
					t.Errorf("last error (%d bytes) = %.300q, want %q in it", len(st.LastError), st.LastError, tt.want)
				}
			}
			if !strings.Contains(log.String(), "plugin=p") || len(log.String()) > 20_000 {
				t.Errorf("the log has %d bytes; want it to name the plugin, in short:\n%.2000s", len(log.String()), log.String())
			}
			if got := do(t, s, "GET", "/neighbour", nil); got.StatusCode != 200 {
				t.Errorf("the neighbour answers %d", got.StatusCode)
			}
		})
	}
}

// TestLengthsOfChangedRequests: what a guest makes of the method and the body must not leave a length that is not true.
func TestLengthsOfChangedRequests(t *testing.T) {
	t.Parallel()
	withLength := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		if r.Method != http.MethodHead {
			io.WriteString(w, "hello")
		}
	})
	for name, tt := range map[string]struct {
		method, request string
		next            http.HandlerFunc
		body            string
		length          int64
	}{
		"GET asked as HEAD": {"GET", `(call $set_method (str "HEAD"))`, withLength, "", 0},
		"HEAD asked as GET": {"HEAD", `(call $set_method (str "GET"))`, withLength, "", 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plugin(t, wat{start: bufferResponse, request: tt.request + pass}.compile(t), moduleConfig(), wasmhost.Options{})
			got := do(t, serve(t, p.Middleware(tt.next)), tt.method, "/", nil)
			if got.StatusCode != 200 || got.body != tt.body || got.ContentLength != tt.length {
				t.Errorf("answer = %d, %d bytes announced, %q", got.StatusCode, got.ContentLength, got.body)
			}
		})
	}
	t.Run("a body read before and after buffer_request", func(t *testing.T) {
		t.Parallel()
		p := plugin(t, wat{request: `(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 4)))
			(drop (call $enable_features (i32.const 1))) (drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 3)))` + pass}.compile(t),
			moduleConfig(), wasmhost.Options{})
		got := do(t, serve(t, p.Middleware(echo)), "POST", "/", strings.NewReader("0123456789"))
		if got.body != "456789" || got.Header.Get("X-Length") != "6" {
			t.Errorf("the rest of the chain saw %q, Content-Length %q", got.body, got.Header.Get("X-Length"))
		}
	})
}

// TestDamagedCodeIsCompiledAgain, whichever byte it is: the engine believes what stands in front of the code, so a wrong
// count there would take all memory, a wrong offset would jump anywhere.
func TestDamagedCodeIsCompiledAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testenv.Dir(t), "cache")
	module := wat{}.compile(t)
	plugin(t, module, moduleConfig(), wasmhost.Options{CacheDir: dir})
	var code string
	filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if d.Type().IsRegular() && d.Name() != "checksum" {
			code = path
		}
		return nil
	})
	sound := read(t, code)
	for name, damage := range map[string]func(b []byte){
		"count":  func(b []byte) { binary.LittleEndian.PutUint32(b[6+1+int(b[6]):], 1<<32-1) },
		"offset": func(b []byte) { b[6+1+int(b[6])+4] ^= 0x40 },
		"code":   func(b []byte) { b[len(b)/2] ^= 1 },
		"end":    func(b []byte) { b[len(b)-1] ^= 1 },
	} {
		damaged := append([]byte(nil), sound...)
		damage(damaged)
		if err := os.WriteFile(code, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var log testenv.Log
		p := plugin(t, module, moduleConfig(), wasmhost.Options{CacheDir: dir, Logger: logger(&log, slog.LevelInfo)})
		if got := do(t, serve(t, p.Middleware(echo)), "GET", "/", nil); got.StatusCode != 200 {
			t.Errorf("%s: status = %d", name, got.StatusCode)
		}
		if !strings.Contains(log.String(), "is damaged; it is compiled again") {
			t.Errorf("%s: nothing is said about it:\n%s", name, log.String())
		}
		if string(read(t, code)) != string(sound) {
			t.Errorf("%s: the code on disk is still damaged", name)
		}
	}
}

// TestCacheIsBounded: who builds a plugin all day does not fill the disk.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testenv.Dir(t), "cache")
	module := wat{}.compile(t)
	plugin(t, module, moduleConfig(), wasmhost.Options{CacheDir: dir})
	versions, err := os.ReadDir(dir)
	if err != nil || len(versions) != 1 {
		t.Fatalf("the cache has %v, %v", versions, err)
	}
	entries := filepath.Join(dir, versions[0].Name())
	for i := range 300 {
		old := filepath.Join(entries, fmt.Sprintf("%064x", i))
		os.Mkdir(old, 0o700)
		os.WriteFile(filepath.Join(old, "checksum"), nil, 0o600)
	}
	newest := wat{request: done}.compile(t)
	plugin(t, newest, moduleConfig(), wasmhost.Options{CacheDir: dir})
	left, err := os.ReadDir(entries)
	if err != nil || len(left) != 256 {
		t.Errorf("%d entries are left, %v; want 256", len(left), err)
	}
}
