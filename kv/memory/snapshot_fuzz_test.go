package memory

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-server/edge/kv"
)

// FuzzSnapshot: whatever a snapshot holds, the start ends with a store or an error. Records are also tried with the sum they should
// have, or nothing behind the check of the sum would ever be reached.
func FuzzSnapshot(f *testing.F) {
	s, err := New(kv.MemoryConfig{})
	if err != nil {
		f.Fatal(err)
	}
	for _, item := range []kv.Item{{Key: "a", Value: []byte("1")}, {Key: "\x00", Expires: time.Now().Add(time.Hour)}} {
		if err := s.Set(f.Context(), []kv.Item{item}); err != nil {
			f.Fatal(err)
		}
	}
	if _, err := s.ZAdd(f.Context(), "z", []kv.Ranked{{Member: "m", Score: -1.5}, {Member: "", Score: 2}}); err != nil {
		f.Fatal(err)
	}
	var records []byte
	for key, e := range s.cache.All() {
		records = appendRecord(records, key, e)
	}
	if err := s.Close(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.Add(append(records, recordEnd))
	f.Add([]byte{recordSet, 0, 1, 'z', 255, 255, 255, 255, 15})
	f.Add([]byte{recordValue, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})

	head := snapshotMagic + string(rune(snapshotV1))
	file := filepath.Join(f.TempDir(), "snapshot")
	f.Fuzz(func(t *testing.T, records []byte) {
		whole := append([]byte(head), records...)
		sum := sha256.Sum256(whole)
		for _, content := range [][]byte{append(whole[:len(whole):len(whole)], sum[:]...), whole, records} {
			os.Remove(file + ".bad")
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := New(kv.MemoryConfig{Snapshot: file, MaxSize: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				continue
			}
			if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("the store has read the snapshot, and it is still there: %v", err)
			}
			if used := s.Stats().Bytes; used < 0 || used > 1<<20 {
				t.Fatalf("the store has %d bytes of 1 MiB", used)
			}
			s.snapshot = ""
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
