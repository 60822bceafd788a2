package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/kv"
)

// maxScan is how many keys one SCAN looks at: a server does nothing else meanwhile.
const maxScan = 1000

// globs makes a prefix a pattern that means itself.
var globs = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// Scan implements kv.Operations. A cursor is SLOT:CURSOR, of the master whose lowest slot that is. A failover in the middle may
// make the rest of that master's keys come in another order: some may be missed then.
func (s *Store) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	slot, at, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	all, err := s.mastersOf(ctx, "scan")
	if err != nil {
		return nil, "", err
	}
	i := slices.IndexFunc(all, func(m master) bool { return m.slot >= slot })
	if i < 0 {
		return nil, "", nil
	}
	pattern := globs.Replace(s.cfg.Prefix+prefix) + "*"
	found, at, err := s.scanOne(ctx, all[i].client, pattern, at, min(max(limit, 10), maxScan))
	if err != nil {
		return nil, "", err
	}
	for n, k := range found {
		found[n] = strings.TrimPrefix(k, s.cfg.Prefix)
	}
	switch {
	case at != 0:
		next = formatCursor(all[i].slot, at)
	case i+1 < len(all):
		next = formatCursor(all[i+1].slot, 0)
	}
	return found, next, nil
}

func (s *Store) mastersOf(ctx context.Context, op string) ([]master, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	all, err := s.masters(ctx)
	return all, s.explain(ctx, op, err)
}

func (s *Store) scanOne(ctx context.Context, c *redis.Client, pattern string, at uint64, count int) ([]string, uint64, error) {
	for attempt := 0; ; attempt++ {
		keys, next, err := c.Scan(ctx, at, pattern, int64(count)).Result()
		if err == nil {
			return keys, next, nil
		}
		if attempt >= s.cfg.Retries || !mayRetry(err, false) || !s.pause(ctx, attempt) {
			return nil, 0, s.explain(ctx, "scan", err)
		}
		s.retried.Add(1)
	}
}

func formatCursor(slot int, at uint64) string {
	return strconv.Itoa(slot) + ":" + strconv.FormatUint(at, 10)
}

func parseCursor(cursor string) (slot int, at uint64, err error) {
	if cursor == "" {
		return 0, 0, nil
	}
	left, right, ok := strings.Cut(cursor, ":")
	slot, err1 := strconv.Atoi(left)
	at, err2 := strconv.ParseUint(right, 10, 64)
	if !ok || err1 != nil || err2 != nil || slot < 0 {
		return 0, 0, fmt.Errorf("scan: %w: %.40q", kv.ErrCursor, cursor)
	}
	return slot, at, nil
}

// Clear removes the keys under the store's prefix, or empties the database when the configuration says so.
func (s *Store) Clear(ctx context.Context) error {
	all, err := s.mastersOf(ctx, "clear")
	if err != nil {
		return err
	}
	if s.cfg.Clear != kv.ClearFlushDB && s.cfg.Prefix == "" {
		return fmt.Errorf("redis %s: clear: %w: the store has no prefix, so this would remove the keys of everybody in database %d; "+
			"give the store a prefix, or write redis.clear: flushdb to have that", s.where, kv.ErrUnsupported, s.cfg.DB)
	}
	for _, m := range all {
		if s.cfg.Clear == kv.ClearFlushDB {
			err = s.explain(ctx, "clear", m.client.FlushDBAsync(ctx).Err())
		} else {
			err = s.clearOne(ctx, m.client)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) clearOne(ctx context.Context, c *redis.Client) error {
	pattern := globs.Replace(s.cfg.Prefix) + "*"
	for at := uint64(0); ; {
		keys, next, err := s.scanOne(ctx, c, pattern, at, maxScan)
		if err != nil {
			return err
		}
		err = s.run(ctx, "clear", 0, func() []command {
			all := make([]command, len(keys))
			for i, k := range keys {
				all[i] = redis.NewIntCmd(ctx, "unlink", k)
			}
			return all
		})
		if err != nil || next == 0 {
			return err
		}
		at = next
	}
}
