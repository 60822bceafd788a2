package boltdb

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/kv"
)

// The tests of durability need processes that can be killed. The test binary is that process too: EDGE_TEST_BOLT names a file, and
// the variables beside it say what to do with it.
const (
	helperFile   = "EDGE_TEST_BOLT"
	helperSync   = "EDGE_TEST_BOLT_SYNC"
	helperRounds = "EDGE_TEST_BOLT_ROUNDS" // how much each writer writes; 0: until it is killed, absent: verify
)

const writers = 8

// runHelper reports whether this process was a helper.
func runHelper() bool {
	path := os.Getenv(helperFile)
	if path == "" {
		return false
	}
	cfg := kv.DefaultBoltConfig()
	cfg.File, cfg.Sync = path, os.Getenv(helperSync)
	rounds, err := strconv.Atoi(os.Getenv(helperRounds))
	if err == nil {
		err = helperWrite(cfg, rounds)
	} else {
		err = helperVerify(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func entry(writer, n int) string { return fmt.Sprintf("entry:%d:%06d", writer, n) }

func head(writer int) string { return fmt.Sprintf("head:%d", writer) }

// helperWrite lets each writer store an entry and then its number as the head, again and again, and tells of each head that was
// acknowledged by one line, in one write.
func helperWrite(cfg kv.BoltConfig, rounds int) error {
	ctx := context.Background()
	s, err := Open(ctx, quiet(), "a", cfg)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for w := range writers {
		heads := []kv.Item{{Key: head(w)}}
		if err := s.Get(ctx, heads); err != nil {
			return err
		}
		from, _ := strconv.Atoi(string(heads[0].Value))
		wg.Go(func() {
			for n := from + 1; rounds == 0 || n <= from+rounds; n++ {
				value := fmt.Appendf(nil, "%0*d", 1+n*37%900, n)
				if err := s.Set(ctx, []kv.Item{{Key: entry(w, n), Value: value, Expires: time.Now().Add(time.Hour)}}); err != nil {
					panic(err)
				}
				if _, err := s.Increment(ctx, head(w), 1, time.Time{}); err != nil {
					panic(err)
				}
				fmt.Fprintf(os.Stdout, "%d %d\n", w, n)
				if n%3 == 0 { // so that pages become free and are used again
					if err := s.Delete(ctx, []kv.Item{{Key: entry(w, n-1)}}); err != nil {
						panic(err)
					}
				}
			}
		})
	}
	wg.Wait()
	return s.Close(ctx)
}

// helperVerify writes what is in the file to stdout, after a look at every page.
func helperVerify(cfg kv.BoltConfig) error {
	found, err := inspect(cfg)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// inspect returns the heads of all writers, and an error when the file does not hang together: a page is damaged, an entry below a
// head is missing, the counts are wrong.
func inspect(cfg kv.BoltConfig) (heads [writers]int, err error) {
	ctx := context.Background()
	s, err := Open(ctx, quiet(), "a", cfg)
	if err != nil {
		return heads, err
	}
	defer s.Close(ctx)
	err = s.file.view(func(tx *bolt.Tx) error {
		var problem error
		for err := range tx.Check() {
			problem = cmp.Or(problem, err)
		}
		found, err := s.survey(tx)
		if err = cmp.Or(problem, err); err == nil && found.counts != s.counts() {
			err = fmt.Errorf("the file says %+v, and has %+v", s.counts(), found.counts)
		}
		return err
	})
	for w := range writers {
		items := []kv.Item{{Key: head(w)}}
		if err == nil {
			err = s.Get(ctx, items)
		}
		heads[w], _ = strconv.Atoi(string(items[0].Value))
		for n := 1; n <= heads[w] && err == nil; n++ {
			items := []kv.Item{{Key: entry(w, n)}}
			deletable := n%3 == 2 && n < heads[w] // the entry before every third
			if err = s.Get(ctx, items); err == nil && !items[0].Found && !deletable {
				err = fmt.Errorf("writer %d has got to %d, and its entry %d is missing", w, heads[w], n)
			}
			if err == nil && items[0].Found {
				if got, _ := strconv.Atoi(string(items[0].Value)); got != n {
					err = fmt.Errorf("entry %d of writer %d holds %.40q", n, w, items[0].Value)
				}
			}
		}
	}
	return heads, err
}

// TestInspectNotices: what the tests of durability look with sees what is wrong.
func TestInspectNotices(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncNever)
	s := open(t, quiet(), "a", cfg)
	set1(t, s, head(0), "2", time.Time{})
	set1(t, s, entry(0, 1), "1", time.Time{})
	shut(t, s)
	if _, err := inspect(cfg); err == nil {
		t.Error("an entry that is missing was not noticed")
	}
	s = open(t, quiet(), "a", cfg)
	set1(t, s, entry(0, 2), "2", time.Time{})
	shut(t, s)
	if heads, err := inspect(cfg); err != nil || heads[0] != 2 {
		t.Errorf("a whole file: %v, %v", heads, err)
	}
}
