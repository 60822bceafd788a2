package ratelimit

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/edge-server/edge/kv"
)

// NewShared keeps times in a store. timeout bounds how long a request waits for it.
func NewShared(store kv.Store, timeout time.Duration) Times { return &shared{store, timeout} }

type shared struct {
	store   kv.Store
	timeout time.Duration
}

// Take implements Times. The key ends when the client is idle again.
func (s *shared) Take(ctx context.Context, key string, change func(time.Time) (time.Time, bool)) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.store.Update(ctx, "rate-limit/"+key, func(old kv.Item) (kv.Item, error) {
		var busy time.Time
		if old.Found && len(old.Value) == 8 {
			busy = time.Unix(0, int64(binary.BigEndian.Uint64(old.Value)))
		}
		after, keep := change(busy)
		if !keep {
			return old, errKept
		}
		return kv.Item{Key: old.Key, Found: true, Expires: after.Add(time.Second), Value: binary.BigEndian.AppendUint64(nil, uint64(after.UnixNano()))}, nil
	})
	if errors.Is(err, errKept) {
		return nil
	}
	return err
}

// errKept leaves a key as it is.
var errKept = errors.New("nothing changes")
