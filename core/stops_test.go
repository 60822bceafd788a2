package core_test

import (
	"sync"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestStopsOverlap: a signal and an admin call may stop the server in the same moment. Both return when it has stopped, without an error,
// and the state folder is free for the next one.
func TestStopsOverlap(t *testing.T) {
	t.Parallel()
	cfg := loadConfig(t, testenv.Dir(t), everything)
	for range testenv.Count(10, 200) {
		e := newEdge(t, cfg)
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		gate := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				<-gate
				if err := e.Stop(t.Context()); err != nil {
					t.Errorf("stop: %v", err)
				}
			})
		}
		close(gate)
		wg.Wait()
	}
}
