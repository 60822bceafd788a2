package pluginkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestNewRefuses: what cannot be a new plugin is refused with what would do, and leaves nothing behind.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	there := filepath.Join(t.TempDir(), "there")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, language, kind, want string }{
		{"x", "", "ws", "in what language? --lang is one of go, rust, c, assemblyscript, zig, js"},
		{"x", "tinygo", "ws", "EDGE_TINYGO=tinygo edge plugin build"},
		{"x", "assemblyscrpit", "ws", `(did you mean "assemblyscript"?)`},
		{"x", "c++", "ws", "--lang c is the nearest"},
		{"x", "cobol", "ws", `there is no SDK for "cobol": --lang is one of`},
		{"x", "go", "midleware", `(did you mean "middleware"?)`},
		{"x", "go", "routre", `(did you mean "router"?)`},
		{"x", "go", "chron", `(did you mean "cron"?)`},
		{"x", "go", "banana", `"banana" is no kind of plugin: --kind is one of middleware, router, origin, kv, ws, cron`},
		{"My Plugin", "go", "ws", "; such as my-plugin"},
		{"rate_limit", "go", "ws", "; such as rate-limit"},
		{"Äpfel", "go", "ws", "; such as pfel"},
		{"1", "go", "ws", "; such as my-plugin"},
		{".", "go", "ws", "; such as my-plugin"},
		{strings.Repeat("long", 20), "go", "ws", "at most 40"},
		{"edge-guest", "rust", "ws", "choose another name"},
		{there, "go", "ws", "is there already, and nothing in it was changed"},
	} {
		dir := tt.name
		if !filepath.IsAbs(dir) && dir != "." {
			dir = filepath.Join(t.TempDir(), dir)
		}
		if err := New(dir, tt.language, tt.kind); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%s, %s, %s): %v, want %s", tt.name, tt.language, tt.kind, err, tt.want)
		}
		if entries, err := os.ReadDir(dir); dir != "." && (len(entries) > 0 || err == nil && dir != there) {
			t.Errorf("New(%s, %s, %s) left %v", tt.name, tt.language, tt.kind, entries)
		}
	}
}

func TestOtherNames(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{"JavaScript": "js", "TypeScript": "assemblyscript", "Golang": "go", "Rust": "rust", "C": "c"} {
		if got, err := languageOf(word); got != want || err != nil {
			t.Errorf("--lang %s is %q, %v; want %s", word, got, err, want)
		}
	}
	for word, want := range map[string]string{"kv-driver": "kv", "WebSocket": "ws", "Middleware": "middleware"} {
		if got, err := kindOf(word); got != want || err != nil {
			t.Errorf("--kind %s is %q, %v; want %s", word, got, err, want)
		}
	}
}

// TestWrongVersion: when a compiler fails that the SDK is not for, the error says which one is.
func TestWrongVersion(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testenv.Dir(t), "hello")
	if err := New(dir, "zig", "middleware"); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"0.13.0":          "It needs version 0.17, and ",
		"0.18.0-dev.12":   "is 0.18: pip install ziglang==0.17.1",
		"0.17.2":          "",
		"something else!": "",
	} {
		compiler := filepath.Join(testenv.Dir(t), "zig")
		script := "#!/bin/sh\n[ \"$1\" = version ] && { echo '" + version + "'; exit 0; }\necho 'error: it has changed' >&2\nexit 1\n"
		if err := os.WriteFile(compiler, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		p := Project{Dir: dir, Name: "hello", Language: "zig"}
		cmd := exec.Command(compiler, "build-exe")
		cmd.Dir = dir
		got := p.wrongVersion(t.Context(), cmd)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("of zig %s is said %q, want %q", version, got, want)
		}
	}
}
