//go:build linux && !race

package php_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// The race detector has every sync.Pool drop what it is given at random, so `make test` runs this without it.

// TestAllocationsAhead holds what a request costs: nothing in frame codec and pool, and little in the whole handler.
func TestAllocationsAhead(t *testing.T) {
	w := newWorld(t, "sdk.php", workers(1, 1))
	w.start()
	r := httptest.NewRequest("GET", "/pid", nil)
	pool := func() {
		if err := w.pool.RoundTrip(r); err != nil {
			t.Error(err)
		}
	}
	handler := func() { w.pool.ServeHTTP(&sink{header: http.Header{}}, r) }
	for range 100 {
		pool()
		handler()
	}
	// The garbage collector may empty a sync.Pool in between.
	if got := testing.AllocsPerRun(2000, pool); got > 0.5 {
		t.Errorf("%v allocations in codec and pool, want none", got)
	}
	if got := testing.AllocsPerRun(2000, handler) - 2; got > 6 { // two are the sink's
		t.Errorf("%v allocations in the handler, want at most 6", got)
	}
}
