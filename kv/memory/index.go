package memory

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/edge-server/edge/kv"
)

// buckets is how many parts the index has. A page of a scan sorts one or a few of them.
const buckets = 1024

// index knows the keys of the map in an order that stands still while keys come and go: by bucket, and by bytes in a bucket. It
// changes under the lock that the map holds for the key, so that the two never differ for long enough to be seen.
type index struct {
	seed    maphash.Seed
	buckets [buckets]bucket
}

type bucket struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

func newIndex() *index { return &index{seed: maphash.MakeSeed()} }

func (x *index) bucket(key string) *bucket { return &x.buckets[maphash.String(x.seed, key)%buckets] }

func (x *index) add(key string) {
	b := x.bucket(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keys == nil {
		b.keys = map[string]struct{}{}
	}
	b.keys[key] = struct{}{}
}

// remove drops the map of a bucket that got empty, since a map keeps the room of its best days.
func (x *index) remove(key string) {
	b := x.bucket(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if delete(b.keys, key); len(b.keys) == 0 {
		b.keys = nil
	}
}

// page returns up to limit keys of one bucket, in order, that come after a key and begin with prefix, and whether there are more.
func (x *index) page(at int, prefix, after string, first bool, limit int) (keys []string, more bool) {
	b := &x.buckets[at]
	b.mu.Lock()
	for key := range b.keys {
		if strings.HasPrefix(key, prefix) && (first || key > after) {
			keys = append(keys, key)
		}
	}
	b.mu.Unlock()
	slices.Sort(keys)
	if len(keys) > limit {
		return keys[:limit], true
	}
	return keys, false
}

// Scan implements kv.Store. A cursor is the bucket to go on in, and after a colon the last key that was told of it.
func (s *Store) Scan(ctx context.Context, prefix, cursor string, limit int) ([]string, string, error) {
	if s.closed.Load() {
		return nil, "", kv.ErrClosed
	}
	at, after, first, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	limit = max(limit, 1)
	var keys []string
	for ; at < buckets; at, first = at+1, true {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		found, more := s.keys.page(at, prefix, after, first, limit-len(keys))
		if len(found) > 0 {
			after = found[len(found)-1]
		}
		for _, key := range found {
			if _, lives := s.cache.GetEntryQuietly(key); lives {
				keys = append(keys, key)
			}
		}
		if more {
			return keys, strconv.Itoa(at) + ":" + after, nil
		}
		if len(keys) >= limit && at+1 < buckets {
			return keys, strconv.Itoa(at + 1), nil
		}
	}
	return keys, "", nil
}

func parseCursor(cursor string) (at int, after string, first bool, err error) {
	if cursor == "" {
		return 0, "", true, nil
	}
	number, after, found := strings.Cut(cursor, ":")
	if at, err = strconv.Atoi(number); err != nil || at < 0 || at >= buckets {
		return 0, "", false, fmt.Errorf("%w: %.32q", kv.ErrCursor, cursor)
	}
	return at, after, !found, nil
}
