package core_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/internal/testenv"
)

// TestReloadOpensLogsAnew: a log that logrotate has put aside is not written any more after a reload, even one that is refused.
func TestReloadOpensLogsAnew(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	cfg := loadConfig(t, dir, "log: {output: edge.log}\n")
	e, err := core.New(t.Context(), cfg, core.Options{ConfigPath: filepath.Join(dir, "edge.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop(t.Context())
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "edge.log")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "edge.yaml"), []byte("version: 1\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.ReloadFile(t.Context()); err == nil {
		t.Fatal("nonsense was taken")
	}
	if text, err := os.ReadFile(path); err != nil || len(text) == 0 {
		t.Errorf("the new log has %q, %v", text, err)
	}
}
