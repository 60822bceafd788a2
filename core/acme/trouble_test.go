package acme

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// away is a Store that cannot be reached.
type away struct{ *shared }

func (away) Load(context.Context, string) ([]byte, bool, error) {
	return nil, false, errors.New("connection refused")
}

// TestAStoreThatIsAwayIsInTheLog, but not once for each of those who ask for a name.
func TestAStoreThatIsAwayIsInTheLog(t *testing.T) {
	t.Parallel()
	log := &testenv.Log{}
	m := &Config{OnDemand: &OnDemand{Ask: "http://127.0.0.1:1/"}}
	manager, err := New(*m, Options{Dir: testenv.Dir(t), Store: away{newShared()}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := manager.storage.Load(t.Context(), "certificates/x"); err == nil {
			t.Fatal("a certificate")
		}
		_, _ = manager.storage.Stat(t.Context(), "certificates/y")
	}
	if text := log.String(); strings.Count(text, "the store of certificates fails") != 1 || !strings.Contains(text, "connection refused") {
		t.Errorf("the log is %q", text)
	}
}
