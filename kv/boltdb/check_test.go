package boltdb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/kv"
)

// TestCheck accepts the file of a server that runs, and one that is not there; it changes neither.
func TestCheck(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncAlways)
	open(t, quiet(), "a", cfg)
	other := cfg
	other.File = filepath.Join(filepath.Dir(cfg.File), "other.db")
	if problems := Check(map[string]kv.BoltConfig{"a": cfg, "b": cfg, "c": other}); len(problems) != 0 {
		t.Errorf("sound stores: %v", problems)
	}
	if _, err := os.Stat(other.File); !os.IsNotExist(err) {
		t.Errorf("the check has made a file: %v", err)
	}
	cfg.Bucket, other.Bucket = "x", "x"
	other.File, other.Sync = cfg.File, kv.SyncNever
	problems := Check(map[string]kv.BoltConfig{"a": cfg, "b": other})
	if err := problems["b"]; err == nil || len(problems) != 1 || !strings.Contains(err.Error(), "bucket x") || !strings.Contains(err.Error(), "boltdb.sync is") {
		t.Errorf("one file twice: %v", problems)
	}
}
