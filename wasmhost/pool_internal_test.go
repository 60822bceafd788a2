package wasmhost

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// TestPoolLosesNobody: instances pass between those that take one without the lock and those that wait for one. Nobody waits
// while one is idle, and no two have the same.
func TestPoolLosesNobody(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 3} {
		var counted atomic.Int64 // those that are near, and who uses one
		p := newPool(Instances{Min: 1, Max: most}, func() (*instance, error) { return &instance{}, nil }, func() { counted.Add(-1) })
		var using sync.Map
		var given, waitless atomic.Int64
		var wg sync.WaitGroup
		for worker := range 24 {
			wg.Go(func() {
				for range testenv.Count(3_000, 100_000) {
					wait := 20 * time.Second
					if worker%8 == 0 {
						wait = 0
					}
					inst, err := p.takeNear(), error(nil)
					if inst == nil {
						counted.Add(1)
						if inst, err = p.get(context.Background(), wait); err != nil {
							counted.Add(-1)
						}
					}
					if err != nil {
						if wait > 0 {
							t.Errorf("of %d instances none came: %v", most, err)
							return
						}
						waitless.Add(1)
						continue
					}
					given.Add(1)
					if _, shared := using.LoadOrStore(inst, true); shared {
						t.Error("two have the same instance")
					}
					using.Delete(inst)
					if !p.keepNear(inst) {
						p.put(inst)
						counted.Add(-1)
					}
				}
			})
		}
		ended := make(chan struct{})
		go func() { // ends with the workers
			for {
				select {
				case <-ended:
					return
				case <-time.After(time.Millisecond):
					if idle, busy, _ := p.counts(); idle < 0 || busy < 0 || idle > most {
						t.Errorf("%d idle, %d busy", idle, busy)
					}
				}
			}
		}()
		wg.Wait()
		close(ended)
		p.withdraw()
		if n := counted.Load(); n != 0 {
			t.Errorf("%d are counted after all came back", n)
		}
		idle, busy, waits := p.counts()
		if idle == 0 || busy != 0 || p.attention.Load() != 0 {
			t.Errorf("%d idle, %d busy, attention %d after all came back", idle, busy, p.attention.Load())
		}
		t.Logf("%d instances: given %d times, %d waits, %d refused", most, given.Load(), waits, waitless.Load())
	}
}
