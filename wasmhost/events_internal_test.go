package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestEventsWithoutAnInstance are told of once, whatever there was no instance for; what a guest failed with is told of by explain.
func TestEventsWithoutAnInstance(t *testing.T) {
	t.Parallel()
	trapped := &Trap{Kind: TrapCode, cause: errors.New("unreachable")}
	for name, tt := range map[string]struct {
		create          error // of a second instance; nil: there may be one only
		guest           error // of the call
		errors, refused uint64
		line            string
		later           bool
	}{
		"a start function traps": {create: trapped, errors: 1, line: "plugin has no instance for an event; the message is lost"},
		"busy":                   {refused: 1, line: "plugin has no instance for an event; the message is lost", later: true},
		"the guest traps":        {guest: trapped, errors: 1, line: "plugin trapped; the message is lost"},
		"the body is too large":  {guest: errBodyTooLarge{7}, errors: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := fuzzLoader(t)
			var log testenv.Log
			config := defaultModule()
			config.Limits.Wait = 0
			p, err := newPlugin("p", "p.wasm", true, config, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			g, err := l.load(p, minimal)
			if err != nil {
				t.Fatal(err)
			}
			p.swap(g)
			t.Cleanup(func() { g.close() })
			if tt.guest == nil {
				if _, err := p.take(context.Background()); err != nil {
					t.Fatal(err)
				}
				if g.pool.only(); tt.create != nil {
					g.pool.max, g.pool.create = 2, func() (*instance, error) { return nil, tt.create }
				}
			}
			err = p.run(context.Background(), phaseWS, func(*instance) error { return tt.guest })
			if err = p.eventFailed(phaseWS, err); err == nil || errors.Is(err, ErrUnavailable) != tt.later {
				t.Errorf("error = %v", err)
			}
			if st := p.Stats(); st.Errors != tt.errors || st.Refused != tt.refused || st.LastError == "" {
				t.Errorf("%d errors, %d refused, the last %q", st.Errors, st.Refused, st.LastError)
			}
			text := log.String()
			if lines := strings.Count(text, "\n"); !strings.Contains(text, tt.line) || lines != min(len(tt.line), 1) {
				t.Errorf("log:\n%s", text)
			}
		})
	}
}
