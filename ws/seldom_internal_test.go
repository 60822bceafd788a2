package ws

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSeldom(t *testing.T) {
	t.Parallel()
	var s Seldom
	const before = int64(time.Hour)
	for round := range 3 {
		s.last.Store(time.Now().UnixNano() - before)
		var wg sync.WaitGroup
		var lines atomic.Int32
		began := time.Now()
		for range 8 {
			wg.Go(func() {
				for range 100 {
					if s.Now() {
						lines.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if n, most := lines.Load(), 1+int32(time.Since(began)/time.Second); n < 1 || n > most {
			t.Errorf("round %d: %d lines, want 1 to %d", round, n, most)
		}
	}
}
