package boltdb

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

// limitFile lets the file grow no further, which is what a full disk does to a transaction; 0 takes that back.
func limitFile(t *testing.T, s *Store, size int) {
	t.Helper()
	if err := s.file.do(t.Context(), &request{alone: func() error {
		s.file.db.MaxSize = size
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsAcknowledgedThatCannotBeCommitted: with sync: interval a crash may lose what that interval had. On a full disk it
// would be everything since, were values still taken.
func TestNothingIsAcknowledgedThatCannotBeCommitted(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncInterval)
	cfg.MaxFileSize = 0
	s := open(t, quiet(), "a", cfg)
	set1(t, s, "before", "x", time.Time{})
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(cfg.File)
	if err != nil {
		t.Fatal(err)
	}
	limitFile(t, s, int(info.Size()))

	value := []byte(strings.Repeat("v", 20_000))
	taken := 0
	testenv.Eventually(t, "writes are refused", func() bool {
		err = s.Set(t.Context(), []kv.Item{{Key: fmt.Sprint("k", taken), Value: value}})
		taken++
		return err != nil
	})
	if !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), "earlier writes cannot be committed") {
		t.Fatalf("refused with: %v", err)
	}
	if s.Stats().Refused == 0 {
		t.Error("the refusal was not counted")
	}
	for i := range taken { // this is how room is made
		if err := s.Delete(t.Context(), []kv.Item{{Key: fmt.Sprint("k", i)}}); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	testenv.Eventually(t, "writes are taken again", func() bool {
		return s.Set(t.Context(), []kv.Item{{Key: "after", Value: []byte("y")}}) == nil
	})
	limitFile(t, s, 0)
	want(t, s, "before", "x")
	want(t, s, "after", "y")
}

// TestDeletesOfMissingKeysLeaveNothing: a write that changes nothing needs no commit, and is not kept for the next one.
func TestDeletesOfMissingKeysLeaveNothing(t *testing.T) {
	t.Parallel()
	s := open(t, quiet(), "a", config(t, kv.SyncInterval))
	for i := range 100 {
		if err := s.Delete(t.Context(), []kv.Item{{Key: fmt.Sprint("k", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.file.gathered() {
		t.Error("deletes of keys that are not there wait for a commit that never comes")
	}
}

// TestCompactionThatFailsHurtsNobody: a file whose pages are damaged, or a disk without room for the copy, ends the compaction and
// not the server.
func TestCompactionThatFailsHurtsNobody(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncAlways)
	s := open(t, quiet(), "a", cfg)
	items := make([]kv.Item, 2000)
	for i := range items {
		items[i] = kv.Item{Key: fmt.Sprint("k", i), Value: []byte(strings.Repeat("v", 500))}
	}
	if err := s.Set(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(cfg.File, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	page := int64(s.file.db.Info().PageSize)
	junk := make([]byte, page)
	random := rand.New(rand.NewSource(1))
	for at := 8 * page; at+page <= info.Size(); at += page {
		random.Read(junk)
		if _, err := file.WriteAt(junk, at); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Compact(t.Context()); err == nil || !strings.Contains(err.Error(), "the file is as it was") {
		t.Errorf("compact a damaged file: %v", err)
	}
	if _, err := os.Stat(cfg.File + ".compact"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half copy is still there: %v", err)
	}
}
