package wasm

import (
	"math"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestDeadlineOfAPlugin: what a plugin says of a key's life is not believed beyond the calendar.
func TestDeadlineOfAPlugin(t *testing.T) {
	t.Parallel()
	if end := deadline(Entry{Found: true, TTL: math.MaxInt64}); end.UTC().Year() != 9999 {
		t.Errorf("the longest life ends %s", end)
	}
	if end := deadline(Entry{Found: true, TTL: 60_000}); time.Until(end) > time.Minute || time.Until(end) < 50*time.Second {
		t.Errorf("a minute ends %s", end)
	}
	for _, e := range []Entry{{Found: true, TTL: -1}, {Found: true, TTL: math.MinInt64}, {TTL: 5}} {
		if end := deadline(e); !end.IsZero() {
			t.Errorf("%+v ends %s", e, end)
		}
	}
}
