package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestASecondSignalLosesNothing: it cuts the request in flight, and still the snapshot of a store is written.
func TestASecondSignalLosesNothing(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	p := startServer(t, slowWorker(t, dir)+"\nkv: {kept: {snapshot: kept.snapshot}}\n")
	go func() {
		if res, err := http.Get(p.url + "/?ms=600000"); err == nil {
			res.Body.Close()
		}
	}()
	awaitFile(t, filepath.Join(dir, "started"))
	if code, _, errs := p.edge(t, "kv", "set", "kept", "a", "1"); code != 0 {
		t.Fatalf("edge kv set: %s", errs)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	testenv.Eventually(t, "the first signal is taken", func() bool { return strings.Contains(p.log(), "edge stops") })
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.waitExit(t); code != 1 {
		t.Errorf("exit code %d, want 1; log:\n%s", code, p.log())
	}
	if _, err := os.Stat(filepath.Join(p.dir, "kept.snapshot")); err != nil {
		t.Errorf("no snapshot was written: %v; log:\n%s", err, p.log())
	}
}
