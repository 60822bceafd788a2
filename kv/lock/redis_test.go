package lock_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/lock"
	"github.com/edge-server/edge/kv/redis"
)

// fleet is Locks of two servers that share a redis: every call goes to the other one.
type fleet struct {
	servers [2]*lock.Shared
	next    atomic.Uint32
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	address := testenv.Redis(t).Addr
	f := new(fleet)
	for i := range f.servers {
		cfg := kv.DefaultRedisConfig()
		cfg.Addresses, cfg.Name = []string{address}, "fleet"
		store, err := redis.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			if err := store.Close(ctx); err != nil {
				t.Error(err)
			}
		})
		if f.servers[i], err = lock.NewShared(store); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fleet) server() lock.Locks { return f.servers[f.next.Add(1)%2] }

func (f *fleet) Acquire(ctx context.Context, r lock.Request) (int64, error) {
	return f.server().Acquire(ctx, r)
}

func (f *fleet) Release(ctx context.Context, resource, id string) (bool, error) {
	return f.server().Release(ctx, resource, id)
}

func (f *fleet) ForceRelease(ctx context.Context, resource string) (bool, error) {
	return f.server().ForceRelease(ctx, resource)
}

func (f *fleet) Exists(ctx context.Context, resource, id string) (bool, error) {
	return f.server().Exists(ctx, resource, id)
}

func (f *fleet) Waiting(ctx context.Context, resource string) (int, error) {
	return f.servers[0].Waiting(ctx, resource)
}

func (f *fleet) UpdateTTL(ctx context.Context, resource, id string, ttl time.Duration) (bool, error) {
	return f.server().UpdateTTL(ctx, resource, id, ttl)
}
