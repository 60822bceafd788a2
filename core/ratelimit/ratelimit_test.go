package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/core/ratelimit"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func config(rate, burst int, per time.Duration) ratelimit.Config {
	c := ratelimit.Config{}.Defaults().(ratelimit.Config)
	c.Rate, c.Burst, c.Per = rate, burst, per
	return c
}

var served = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func ask(h http.Handler, remote string, headers ...string) *http.Response {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = remote
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// times are those of the drivers: memory, and a store as a fleet shares it.
func times(t *testing.T) map[string]ratelimit.Times {
	t.Helper()
	store, err := memory.New(kv.DefaultConfig().Memory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(context.Background()) })
	return map[string]ratelimit.Times{"memory": nil, "store": ratelimit.NewShared(store, 10*time.Second)}
}

func TestBurstThenRefusal(t *testing.T) {
	t.Parallel()
	for name, where := range times(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := ratelimit.New("a", config(10, 3, time.Hour), where, slog.New(slog.DiscardHandler))
			h := limit.Middleware(served)
			for i := range 3 {
				res := ask(h, "192.0.2.1:1000")
				if res.StatusCode != 204 || res.Header.Get("RateLimit-Remaining") != fmt.Sprint(2-i) || res.Header.Get("RateLimit-Limit") != "3" {
					t.Fatalf("request %d: %s %v", i, res.Status, res.Header)
				}
			}
			res := ask(h, "192.0.2.1:2000")
			if res.StatusCode != 429 || res.Header.Get("Retry-After") != "360" || res.Header.Get("RateLimit-Remaining") != "0" {
				t.Errorf("the fourth: %s %v", res.Status, res.Header)
			}
			if res := ask(h, "192.0.2.2:1000"); res.StatusCode != 204 {
				t.Errorf("another client: %s", res.Status)
			}
			if s := limit.Stats(); s.Allowed != 4 || s.Refused != 1 || s.Failed != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestRateHolds: however many ask at once, no more is served than the burst and what the time since then gives.
func TestRateHolds(t *testing.T) {
	t.Parallel()
	for name, where := range times(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := ratelimit.New("a", config(100, 20, time.Second), where, slog.New(slog.DiscardHandler)).Middleware(served)
			var passed atomic.Int64
			var all sync.WaitGroup
			began := time.Now()
			for range 8 {
				all.Go(func() {
					for time.Since(began) < 500*time.Millisecond || passed.Load() < 21 && time.Since(began) < time.Minute {
						if ask(h, "192.0.2.1:1").StatusCode == 204 {
							passed.Add(1)
						}
					}
				})
			}
			all.Wait()
			if most := 20 + 100*time.Since(began).Seconds() + 1; float64(passed.Load()) > most || passed.Load() < 21 {
				t.Errorf("%d passed, at most %.0f may", passed.Load(), most)
			}
		})
	}
}

func TestWhoIsCountedTogether(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		by, first, second string
		headers           []string
		together          bool
	}{
		{"ip", "192.0.2.1:1", "192.0.2.1:2", nil, true},
		{"ip", "192.0.2.1:1", "192.0.2.2:1", nil, false},
		{"ip", "[2001:db8::1]:1", "[2001:db8::ffff:1]:1", nil, true},
		{"ip", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", nil, false},
		{"ip", "[::ffff:192.0.2.1]:1", "192.0.2.1:2", nil, true},
		{"all", "192.0.2.1:1", "192.0.2.2:1", nil, true},
		{"host", "192.0.2.1:1", "192.0.2.2:1", nil, true},
		{"header:X-Key", "192.0.2.1:1", "192.0.2.2:1", []string{"X-Key", "a"}, true},
		{"header:X-Key", "192.0.2.1:1", "192.0.2.2:1", nil, false},
		{"header:X-Key", "192.0.2.1:1", "192.0.2.2:1", []string{"X-Key", strings.Repeat("a", 100_000)}, true},
	} {
		c := config(1, 1, time.Hour)
		c.By = tt.by
		h := ratelimit.New("a", c, nil, slog.New(slog.DiscardHandler)).Middleware(served)
		ask(h, tt.first, tt.headers...)
		if refused := ask(h, tt.second, tt.headers...).StatusCode == 429; refused != tt.together {
			t.Errorf("%+v: refused %v", tt, refused)
		}
	}
}

// TestManyClientsCostLittle: memory is bounded, and a busy client is not forgotten for idle ones.
func TestManyClientsCostLittle(t *testing.T) {
	t.Parallel()
	c := config(1, 1, time.Hour) // nobody is idle again while the test runs
	c.Keys = 1000
	m := ratelimit.New("a", c, nil, slog.New(slog.DiscardHandler))
	h := m.Middleware(served)
	for i := range 20_000 {
		ask(h, fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
	}
	if n := m.Remembered(); n > 1000 || n < 500 {
		t.Errorf("%d clients are remembered of at most 1000", n)
	}
}

type broken struct{}

func (broken) Take(context.Context, string, func(time.Time) (time.Time, bool)) error {
	return errors.New("connection refused")
}

// TestAStoreThatIsAwayLetsRequestsPass, and says so once.
func TestAStoreThatIsAwayLetsRequestsPass(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	limit := ratelimit.New("a", config(1, 1, time.Hour), broken{}, slog.New(slog.NewTextHandler(&log, nil)))
	h := limit.Middleware(served)
	for range 5 {
		if res := ask(h, "192.0.2.1:1"); res.StatusCode != 204 {
			t.Fatal(res.Status)
		}
	}
	if n := strings.Count(log.String(), "rate limit cannot count"); n != 1 || limit.Stats().Failed != 5 {
		t.Errorf("said %d times, %+v", n, limit.Stats())
	}
}

func TestBadConfigsAreRefused(t *testing.T) {
	t.Parallel()
	err := ratelimit.Config{Per: -1, By: "header:a b", Burst: -1, Status: 200}.Validate()
	for _, want := range []string{"rate: write how many", "per: must be", "by: \"header:a b\"", "burst: must", "keys: must", "status: must"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v has no %q", err, want)
		}
	}
}

func BenchmarkMiddleware(b *testing.B) {
	h := ratelimit.New("a", config(1_000_000_000, 1_000_000, time.Second), nil, slog.New(slog.DiscardHandler)).Middleware(served)
	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
