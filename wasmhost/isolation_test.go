package wasmhost_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestNothingIsLeftOfFiles: with isolation: request, what one request closed or opened is no matter for the next, however the
// sums come out.
func TestNothingIsLeftOfFiles(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	for file, content := range map[string]string{"one/a.txt": "A", "two/b.txt": "B"} {
		if err := os.Mkdir(filepath.Join(dir, filepath.Dir(file)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, file), []byte(content))
	}
	cfg := moduleConfig()
	cfg.Isolation = wasmhost.IsolateRequest
	cfg.Allow.Folders = []string{filepath.Join(dir, "one"), filepath.Join(dir, "two")}
	p := plugin(t, read(t, testenv.CGuest(t, "wasmhost/testdata/world.c")), cfg, wasmhost.Options{})
	s := serve(t, p.Middleware(echo))
	for _, ask := range []struct{ path, want string }{{"/a.txt", "00 A"}, {"/-b.txt", "00 "}, {"/a.txt", "00 A"}} {
		if got := do(t, s, "GET", ask.path, nil).body; got != ask.want {
			t.Errorf("%s: %q, want %q", ask.path, got, ask.want)
		}
	}
}

// TestNothingIsLeftOfLines: what one request printed without ending the line does not begin a line of the next.
func TestNothingIsLeftOfLines(t *testing.T) {
	t.Parallel()
	var log testenv.Log
	cfg := moduleConfig()
	cfg.Isolation = wasmhost.IsolateRequest
	p := plugin(t, read(t, testenv.CGuest(t, "wasmhost/testdata/world.c")), cfg, wasmhost.Options{Logger: logger(&log, slog.LevelDebug)})
	s := serve(t, p.Middleware(echo))
	do(t, s, "GET", "/~first", nil)
	do(t, s, "GET", "/~second", nil)
	if text := log.String(); !strings.Contains(text, "first") || !strings.Contains(text, "second") || strings.Contains(text, "firstsecond") {
		t.Errorf("the log has not two lines of the guest:\n%s", text)
	}
}

// TestLastErrorIsOfThisCall: the words of an error may name what belongs to another request.
func TestLastErrorIsOfThisCall(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{wasmhost.IsolateInstance, wasmhost.IsolateRequest} {
		cfg := moduleConfig()
		cfg.Isolation = isolation
		s := serve(t, plugin(t, edgeGuest(t), cfg, wasmhost.Options{}).Middleware(echo))
		if got := ask(t, s, "var_get", "!secret"); !strings.Contains(got, "secret") {
			t.Errorf("isolation %s: last_error = %q, want it to name the variable", isolation, got)
		}
		if got := ask(t, s, "has", "!x"); strings.Contains(got, "secret") {
			t.Errorf("isolation %s: the next request is told %q", isolation, got)
		}
	}
}
