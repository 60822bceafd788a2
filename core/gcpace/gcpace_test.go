package gcpace

import (
	"runtime"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

func TestNext(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		percent int
		took    float64
		live    uint64
		want    int
	}{
		"idle":                          {100, 0, 3 << 20, 100},
		"as much as it may":             {100, share, 3 << 20, 100},
		"a little more":                 {100, share * 1.2, 3 << 20, 100},
		"more":                          {100, share * 1.5, 3 << 20, 150},
		"much more":                     {100, 0.5, 3 << 20, 200},
		"at the limit":                  {400, 0.5, 3 << 20, 400},
		"more is alive":                 {400, 0.5, 6 << 20, 200},
		"too much is alive":             {200, 0.5, 100 << 20, 100},
		"nothing is alive":              {1000, share, 0, 1000},
		"a little less":                 {200, share * 0.9, 3 << 20, 200},
		"less":                          {200, share * 0.7, 3 << 20, 140},
		"much less":                     {400, 0, 3 << 20, 200},
		"less than usual is not wanted": {133, 0, 3 << 20, 100},
	} {
		if got := next(c.percent, c.took, c.live); got != c.want {
			t.Errorf("%s: next(%d, %.3f, %d MiB) = %d, want %d", name, c.percent, c.took, c.live>>20, got, c.want)
		}
	}
}

func TestCalmEndsIt(t *testing.T) {
	now, spentSoFar := time.Now(), spent{live: 3 << 20}
	p := &pacer{percent: usual, last: now, read: func() spent { return spentSoFar }}
	defer p.stop()
	for range window {
		now = now.Add(time.Millisecond)
		spentSoFar.collector, spentSoFar.rest = spentSoFar.collector+0.001, spentSoFar.rest+0.009
		p.collected(now)
	}
	if p.percent != 2*usual {
		t.Fatalf("after a tenth of the time went into collections: %d%%", p.percent)
	}
	if p.collected(now.Add(calm)); p.percent != usual {
		t.Fatalf("after %s without one: %d%%", calm, p.percent)
	}
	if p.stop(); p.collected(now.Add(2 * calm)) {
		t.Error("it goes on after the end")
	}
}

// TestCollectorIsHeard has the collector run, and looks whether it is heard of each time.
func TestCollectorIsHeard(t *testing.T) {
	now := time.Now()
	p := &pacer{percent: usual, last: now, read: read, before: read()}
	runtime.SetFinalizer(&beat{p}, (*beat).run)
	for range 3 {
		p.mu.Lock()
		before := p.last
		p.mu.Unlock()
		testenv.Eventually(t, "a collection is heard of", func() bool {
			runtime.GC()
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.last.After(before)
		})
	}
	p.stop()
	if after := read(); after.live == 0 || after.collector <= 0 || after.rest <= 0 {
		t.Errorf("the runtime says %+v", after)
	}
}
