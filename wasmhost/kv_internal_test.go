package wasmhost

import (
	"strings"
	"testing"
	"time"
)

// TestMillis: what is given to a store lasts as long as was asked, and what is told of it is not longer.
func TestMillis(t *testing.T) {
	t.Parallel()
	for ttl, want := range map[time.Duration][2]int64{
		0: {-1, -1}, 1: {1, 1}, time.Millisecond: {1, 1}, 1999 * time.Microsecond: {2, 1}, time.Minute: {60000, 60000},
		time.Minute + 999*time.Microsecond: {60001, 60000}, time.Minute - 1: {60000, 59999},
	} {
		if got := [2]int64{millis(ttl), millisLeft(ttl)}; got != want {
			t.Errorf("%d: %v, want %v", ttl, got, want)
		}
	}
}

// TestRequestHeadsAreExplained: the example is one that would do.
func TestRequestHeadsAreExplained(t *testing.T) {
	t.Parallel()
	for _, example := range []string{"/path", "https://host/path"} {
		if _, err := parseRequestHead("", example); err == nil || !strings.HasSuffix(err.Error(), "write GET "+example) {
			t.Errorf("error = %v", err)
		}
	}
}
