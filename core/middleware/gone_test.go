package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/middleware"
)

// TestClientsThatLeaveAreNoFailure of the server, whatever counts and logs, when that breaks off their requests. Of half an answer the status
// is the one that went out.
func TestClientsThatLeaveAreNoFailure(t *testing.T) {
	t.Parallel()
	var log, rr logBuffer
	var lines strings.Builder
	var meter middleware.Meter
	var statuses middleware.StatusMeters
	traced := 0
	h := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.WriteHeader(206)
		}
		panic(http.ErrAbortHandler)
	}))
	c := middleware.DefaultAccessConfig()
	c.Format = "common"
	for _, wrap := range []func(http.Handler) http.Handler{
		middleware.AccessLog(middleware.DefaultAccessConfig(), log.logger()), middleware.AccessLines(c, &lines), middleware.RoadRunnerLog(rr.logger(), false),
		middleware.Measure(&meter, &statuses), middleware.Trace(func(r *http.Request) (*http.Request, func(int)) { return r, func(status int) { traced = status } }),
	} {
		h = wrap(h)
	}
	for i, tt := range []struct {
		path   string
		gone   bool
		status int
		traced int
	}{{"/", true, 499, 499}, {"/half", true, 206, 206}, {"/", false, 500, 0}} {
		ctx, cancel := context.WithCancel(t.Context())
		if tt.gone {
			cancel()
		}
		func() {
			defer func() {
				if reason := recover(); reason != http.ErrAbortHandler {
					t.Errorf("%+v: %v", tt, reason)
				}
			}()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", tt.path, nil))
		}()
		cancel()
		check(t, log.records(t)[i], map[string]any{"status": tt.status, "aborted": true})
		check(t, rr.records(t)[i], map[string]any{"status": tt.status})
		if line := strings.Split(lines.String(), "\n")[i]; !strings.Contains(line, fmt.Sprintf(" %d ", tt.status)) {
			t.Errorf("%+v: %s", tt, line)
		}
		if traced != tt.traced || statuses.Stats()[tt.status].Classes[tt.status/100] != 1 {
			t.Errorf("%+v: traced as %d, counted as %v", tt, traced, statuses.Stats())
		}
	}
	if classes := meter.Stats().Classes; classes != [6]uint64{2: 1, 4: 1, 5: 1} {
		t.Errorf("%v", classes)
	}
}
