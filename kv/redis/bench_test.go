package redis_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

// BenchmarkCallers is what callers at the same time get done, one key of 100 bytes for each call: with a bare go-redis client and
// its pool of connections, with the store over such a pool, and with the autopipeline. The bar is 2x-bare for 64 callers.
func BenchmarkCallers(b *testing.B) {
	const most = 64
	server := testenv.Redis(b)
	bare := goredis.NewClient(&goredis.Options{Addr: server.Addr, PoolSize: most})
	b.Cleanup(func() { bare.Close() })
	pooled, together := config(server.Addr), config(server.Addr)
	pooled.AutoPipeline, pooled.PoolSize = false, most
	setters := []struct {
		name string
		set  func(ctx context.Context, key string, value []byte) error
	}{
		{"bare", func(ctx context.Context, key string, value []byte) error { return bare.Set(ctx, key, value, 0).Err() }},
		{"pooled", setter(open(b, pooled))},
		{"autopipeline", setter(open(b, together))},
	}
	for _, callers := range []int{1, most} {
		var reference float64
		for _, s := range setters {
			b.Run(fmt.Sprintf("callers=%d/%s", callers, s.name), func(b *testing.B) {
				b.ReportAllocs()
				var next atomic.Int64
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						value := make([]byte, 100)
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							if err := s.set(b.Context(), fmt.Sprint("key", i%1000), value); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				rate := float64(b.N) / b.Elapsed().Seconds()
				if s.name == "bare" {
					reference = rate
				}
				b.ReportMetric(rate, "op/s")
				b.ReportMetric(rate/reference, "x-bare")
			})
		}
	}
}

func setter(s kv.Store) func(context.Context, string, []byte) error {
	return func(ctx context.Context, key string, value []byte) error {
		return s.Set(ctx, []kv.Item{{Key: key, Value: value}})
	}
}
