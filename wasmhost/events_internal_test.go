package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/abi"
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

// TestEventsOfAPluginThatIsGone may be had later; one that is no handler of WebSockets never has any. Both are told of.
func TestEventsOfAPluginThatIsGone(t *testing.T) {
	t.Parallel()
	l, _ := fuzzLoader(t)
	for loaded, want := range map[bool]string{false: "the plugin is not loaded", true: "the plugin is no WebSocket handler"} {
		var log testenv.Log
		p, err := newPlugin("p", "p.wasm", true, defaultModule(), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if loaded {
			g, err := l.load(p, minimal)
			if err != nil {
				t.Fatal(err)
			}
			p.swap(g)
			t.Cleanup(func() { g.close() })
		}
		for function, call := range map[string]func() error{
			"ws_open": func() error {
				_, err := p.WSOpen(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), 7)
				return err
			},
			"ws_message": func() error {
				_, err := p.WSMessage(t.Context(), 7, abi.WSText, []byte("hello"))
				return err
			},
			"ws_close": func() error { return p.WSClose(t.Context(), 7, 1000) },
		} {
			if err := call(); err == nil || errors.Is(err, ErrUnavailable) == loaded || !strings.Contains(err.Error(), want) {
				t.Errorf("loaded %v: %s: %v, want %s", loaded, function, err, want)
			}
			if text := log.String(); !strings.Contains(text, "plugin=p function="+function) || !strings.Contains(text, want) {
				t.Errorf("loaded %v: %s is not told of:\n%s", loaded, function, text)
			}
		}
	}
}

// TestDecisionsByHost: the Host is no header of the request for net/http, and is one for a router.
func TestDecisionsByHost(t *testing.T) {
	t.Parallel()
	var c decisionCache
	for _, host := range []string{"a.example", "b.example"} {
		r := httptest.NewRequest("GET", "http://"+host+"/", nil)
		if d := c.find(r); d != nil {
			t.Errorf("%s gets the decision about %s", host, d.Route)
		}
		c.keep(r, &Decision{Route: host, parts: "header:host", ttl: time.Hour}, 0)
		if d := c.find(r); d == nil || d.Route != host {
			t.Errorf("the decision about %s is %+v", host, d)
		}
	}
}

// TestLongDecisionsAreNotKept: thousands of them would be.
func TestLongDecisionsAreNotKept(t *testing.T) {
	t.Parallel()
	var c decisionCache
	long := "/" + strings.Repeat("x", maxDecisionBytes)
	for _, d := range []*Decision{{URI: long}, {Redirect: long}, {URI: long[:maxDecisionBytes/2+1], Redirect: long[:maxDecisionBytes/2]}, {URI: long[:maxDecisionBytes]}} {
		d.parts, d.ttl = "path", time.Hour
		r := httptest.NewRequest("GET", "/", nil)
		c.keep(r, d, 0)
		if kept, short := c.find(r) != nil, len(d.URI)+len(d.Redirect) <= maxDecisionBytes; kept != short {
			t.Errorf("%d bytes: kept = %v", len(d.URI)+len(d.Redirect), kept)
		}
	}
}
