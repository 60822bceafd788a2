package wasm

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestOver: an operation has no time left already when less than a guest can count is left.
func TestOver(t *testing.T) {
	t.Parallel()
	soon, cancel := context.WithDeadline(t.Context(), time.Now().Add(500*time.Microsecond))
	defer cancel()
	if err := over(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("half a millisecond is left: %v", err)
	}
	later, cancel := context.WithTimeout(t.Context(), time.Hour)
	if err := over(later); err != nil {
		t.Errorf("an hour is left: %v", err)
	}
	cancel()
	if err := over(later); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
