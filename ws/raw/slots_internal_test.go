package raw

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSlotsHammer: whoever gives up, and however many there are, none is lost and none is made.
func TestSlotsHammer(t *testing.T) {
	t.Parallel()
	var s slots
	var now atomic.Int64
	s.resize(8)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(200))*time.Microsecond)
				if s.take(ctx) {
					if n := now.Add(1); n > 8 {
						t.Errorf("%d have one", n)
					}
					time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
					now.Add(-1)
					s.give()
				}
				cancel()
			}
		})
	}
	for range 100 {
		s.resize(1 + rand.IntN(8))
		time.Sleep(100 * time.Microsecond)
	}
	wg.Wait()
	if s.taken != 0 || s.waiting.Len() != 0 {
		t.Errorf("at the end %d are taken and %d wait", s.taken, s.waiting.Len())
	}
}
