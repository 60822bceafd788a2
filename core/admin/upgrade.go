package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

//	POST /upgrade?binary=PATH&timeout=1m   start a process that takes the place of this one    Upgraded
//
// The answer comes when the new process serves, or {"error": …} with 409 when it does not and this one serves on. Without binary it is
// the file that this process was started from, as it is now; without timeout the new process has a minute.

// Upgraded is the process that serves now.
type Upgraded struct {
	PID     int           `json:"pid"`
	Version string        `json:"version"`
	Took    time.Duration `json:"took_ns"`
}

func upgradeRoutes(mux *http.ServeMux, upgrade func(context.Context, string, time.Duration) (Upgraded, error)) {
	if upgrade == nil {
		return
	}
	mux.HandleFunc("POST /upgrade", func(w http.ResponseWriter, r *http.Request) {
		var timeout time.Duration
		if text := r.URL.Query().Get("timeout"); text != "" {
			var err error
			if timeout, err = time.ParseDuration(text); err != nil || timeout <= 0 {
				answerError(w, http.StatusBadRequest, fmt.Errorf("timeout: %q is not a time such as 90s", text))
				return
			}
		}
		done, err := upgrade(r.Context(), r.URL.Query().Get("binary"), timeout)
		if err != nil {
			answerError(w, http.StatusConflict, err)
			return
		}
		answer(w, http.StatusOK, done)
	})
}

// Upgrade starts binary in the place of the server, which serves on when that fails; the error says why.
func (c *Client) Upgrade(ctx context.Context, binary string, timeout time.Duration) (done Upgraded, err error) {
	query := url.Values{"timeout": {timeout.String()}}
	if binary != "" {
		query.Set("binary", binary)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+time.Minute) // the server gives up first, and says why
	defer cancel()
	err = c.ask(ctx, http.MethodPost, "/upgrade?"+query.Encode(), nil, &done)
	if hasStatus(err, http.StatusNotFound) {
		err = errors.New("the running edge knows no upgrade: restart it once")
	}
	return done, err
}
