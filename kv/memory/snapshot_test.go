package memory_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
)

func reopen(t *testing.T, cfg kv.MemoryConfig) *memory.Store {
	t.Helper()
	s, err := memory.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}

func closeNow(t *testing.T, s kv.Store) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshot: values, deadlines and sorted sets are there after a restart, once.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	cfg := kv.MemoryConfig{MaxSize: bytesize.MiB, Snapshot: filepath.Join(t.TempDir(), "data.snapshot")}
	s := reopen(t, cfg)
	end := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	set(t, s, "a", "1", time.Time{})
	set(t, s, "timed", strings.Repeat("x", 5000), end)
	set(t, s, "\x00\xff", "", time.Time{})
	set(t, s, "over", "1", time.Now().Add(time.Millisecond))
	for i := range 1000 {
		if _, err := s.ZAdd(t.Context(), "z", []kv.Ranked{{Member: fmt.Sprint("m", i), Score: float64(i) / 3}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Expire(t.Context(), []kv.Item{{Key: "z", Expires: end}}); err != nil {
		t.Fatal(err)
	}
	used := s.Stats().Bytes
	for get(t, s, "over") != "" {
		time.Sleep(time.Millisecond)
	}
	closeNow(t, s)
	if info, err := os.Stat(cfg.Snapshot); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the snapshot: %v %v, want a file of mode 0600", info, err)
	}

	s = reopen(t, cfg)
	if get(t, s, "a") != "1" || len(get(t, s, "timed")) != 5000 || get(t, s, "over") != "" {
		t.Error("a value is not what it was")
	}
	items := []kv.Item{{Key: "timed"}, {Key: "z"}, {Key: "\x00\xff"}}
	if err := s.TTL(t.Context(), items); err != nil || !items[0].Expires.Equal(end) || !items[1].Expires.Equal(end) || !items[2].Found {
		t.Errorf("deadlines: %+v %v, want %v", items, err, end)
	}
	if members, err := s.ZRange(t.Context(), "z", kv.Span{Start: 998, Stop: 999}); err != nil || len(members) != 2 || members[1] != (kv.Ranked{Member: "m999", Score: 333}) {
		t.Errorf("the end of the sorted set: %v %v", members, err)
	}
	if now := s.Stats().Bytes; now <= 0 || now > used {
		t.Errorf("%d bytes in use after the restart, %d before", now, used)
	}
	if _, err := os.Stat(cfg.Snapshot); err == nil {
		t.Error("the snapshot is there after it was read: a crash would bring back what was deleted since")
	}
}

// TestDamagedSnapshot: every file that is cut or changed anywhere is put aside, and nothing of it is in the store.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := kv.MemoryConfig{Snapshot: filepath.Join(dir, "data.snapshot")}
	s := reopen(t, cfg)
	set(t, s, "key", "value", time.Time{})
	set(t, s, "other", strings.Repeat("x", 300), time.Now().Add(time.Hour))
	closeNow(t, s)
	whole, err := os.ReadFile(cfg.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, content []byte) {
		t.Helper()
		var log bytes.Buffer
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		if err := os.WriteFile(cfg.Snapshot, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := memory.New(cfg)
		if err != nil {
			if !strings.Contains(err.Error(), cfg.Snapshot) {
				t.Errorf("%s: the error does not name the file: %v", name, err)
			}
			if left, err := os.ReadFile(cfg.Snapshot); err != nil || !bytes.Equal(left, content) {
				t.Errorf("%s: the refused file was touched: %v", name, err)
			}
			return
		}
		if n := s.Stats().Keys; n != 0 {
			t.Errorf("%s: %d keys of it are in the store", name, n)
		}
		if bad, err := os.ReadFile(cfg.Snapshot + ".bad"); err != nil || !bytes.Equal(bad, content) {
			t.Errorf("%s: the file was not put aside: %v", name, err)
		}
		if !strings.Contains(log.String(), "damaged") {
			t.Errorf("%s: the log says %q", name, log.String())
		}
		_ = os.Remove(cfg.Snapshot + ".bad")
		cfg := cfg
		cfg.Snapshot = ""
		closeNow(t, s)
		_ = os.Remove(cfg.Snapshot)
	}
	for n := range len(whole) {
		if n%7 == 0 || n < 12 {
			try(fmt.Sprint("cut at ", n), whole[:n])
		}
		if n%5 == 0 {
			changed := bytes.Clone(whole)
			changed[n] ^= 0x40
			try(fmt.Sprint("changed at ", n), changed)
		}
	}
	newer := bytes.Clone(whole)
	newer[8] = 2
	if err := os.WriteFile(cfg.Snapshot, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := memory.New(cfg); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a newer file: %v", err)
	}
	cfg.Snapshot = filepath.Join(dir, "no", "such", "folder")
	if _, err := memory.New(cfg); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestSnapshotTooLarge: a store that became smaller does not lose half of its data in silence.
func TestSnapshotTooLarge(t *testing.T) {
	t.Parallel()
	cfg := kv.MemoryConfig{Snapshot: filepath.Join(t.TempDir(), "s")}
	s := reopen(t, cfg)
	set(t, s, "a", strings.Repeat("x", 3000), time.Time{})
	set(t, s, "b", strings.Repeat("x", 3000), time.Time{})
	closeNow(t, s)
	cfg.MaxSize = 4 * bytesize.KiB
	if _, err := memory.New(cfg); !errors.Is(err, kv.ErrFull) || !strings.Contains(err.Error(), cfg.Snapshot) {
		t.Errorf("a snapshot beyond max_size: %v, want %v with the file", err, kv.ErrFull)
	}
	if _, err := os.Stat(cfg.Snapshot); err != nil {
		t.Errorf("the snapshot is gone: %v", err)
	}
	cfg.MaxSize = 0
	if s := reopen(t, cfg); len(get(t, s, "a")) != 3000 {
		t.Error("the snapshot could not be read after max_size was raised")
	}
}

// TestSnapshotLeavesNoHalves: a stop that was killed while it wrote leaves half a file, which the next start removes.
func TestSnapshotLeavesNoHalves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := kv.MemoryConfig{Snapshot: filepath.Join(dir, "data")}
	for _, name := range []string{"data.tmp-123", "data.tmp-", "database.tmp-1", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := reopen(t, cfg)
	set(t, s, "a", "1", time.Time{})
	closeNow(t, s)
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "data database.tmp-1 other" {
		t.Errorf("in the folder are: %s", got)
	}
}
