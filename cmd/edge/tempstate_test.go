package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A server that was killed leaves its folder; the next one removes it, but neither one that is in use nor one that is new.
func TestTempStateSweepsWhatKilledServersLeft(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("TMPDIR", parent)
	old := time.Now().Add(-time.Hour)
	live, remove, err := tempState("edge-rr-")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"edge-rr-killed", "edge-rr-new", "edge-other-killed"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(parent, name, "edge.lock"), "1")
	}
	for _, path := range []string{live, filepath.Join(parent, "edge-rr-killed"), filepath.Join(parent, "edge-other-killed")} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	next, removeNext, err := tempState("edge-rr-")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{live: true, next: true, filepath.Join(parent, "edge-rr-killed"): false,
		filepath.Join(parent, "edge-rr-new"): true, filepath.Join(parent, "edge-other-killed"): true} {
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s: %v, want there %v", name, err, want)
		}
	}
	for path, remove := range map[string]func() error{live: remove, next: removeNext} {
		if err := remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is there still", path)
		}
	}
}
