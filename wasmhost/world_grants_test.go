package wasmhost_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestFoldersAndEnvironment: a granted folder can be read with all below and nothing else, whatever links lie in it; a granted
// variable is there and no other.
func TestFoldersAndEnvironment(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	data := filepath.Join(dir, "data")
	os.MkdirAll(filepath.Join(data, "below"), 0o755)
	for name, content := range map[string]string{"data/a.txt": "A", "data/below/b.txt": "B", "secret.txt": "S"} {
		write(t, filepath.Join(dir, name), []byte(content))
	}
	for link, target := range map[string]string{"inside": "a.txt", "outside": "../secret.txt", "absolute": filepath.Join(dir, "secret.txt"), "up": ".."} {
		if err := os.Symlink(target, filepath.Join(data, link)); err != nil {
			t.Fatal(err)
		}
	}
	module := read(t, testenv.CGuest(t, "wasmhost/testdata/world.c"))
	cfg := moduleConfig()
	cfg.Allow.Folders = []string{data}
	cfg.Allow.Env = []string{"SHOWN"}
	p := plugin(t, module, cfg, wasmhost.Options{Services: wasmhost.Services{Environ: []string{"SHOWN=yes", "HIDDEN=no"}}})
	s := serve(t, p.Middleware(echo))
	for path, want := range map[string]string{"/a.txt": "00 A", "/below/b.txt": "00 B", "/inside": "00 A"} {
		if got := do(t, s, "GET", path, nil).body; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"/outside", "/absolute", "/up/secret.txt", "/%2e%2e/secret.txt", "/none", "/+new.txt"} {
		if got := do(t, s, "GET", path, nil).body; strings.HasPrefix(got, "00") {
			t.Errorf("%s: %q, want an error", path, got)
		}
	}
	if _, err := os.Stat(filepath.Join(data, "new.txt")); err == nil {
		t.Error("the guest made a file")
	}
	if got := do(t, s, "GET", "/=", nil).body; got != "01 SHOWN=yes\x00" {
		t.Errorf("environment: %q", got)
	}

	nothing := serve(t, plugin(t, module, moduleConfig(), wasmhost.Options{Services: wasmhost.Services{Environ: []string{"SHOWN=yes"}}}).Middleware(echo))
	if got := do(t, nothing, "GET", "/a.txt", nil).body; strings.HasPrefix(got, "00") {
		t.Errorf("without a grant: %q", got)
	}
	if got := do(t, nothing, "GET", "/=", nil).body; got != "00 " {
		t.Errorf("without a grant the environment is %q", got)
	}
}
