package php_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// TestCancelIsTold goes to a worker that asked for it, which answers and goes on. The next request is not meant.
func TestCancelIsTold(t *testing.T) {
	t.Parallel()
	for _, relay := range []string{"pipes", "unix"} {
		w := setup(t, "cancel.php", func(c *php.Config, _ *php.Options) { c.Relay = relay })
		_, pid := w.get("/pid")
		for range 3 {
			w.leave("/wait")
			w.expect("/pid", 200, pid)
		}
		w.logged("cancelled")
		if s := w.pool.Stats(); s.Crashes != 0 || s.Requests != 7 {
			t.Errorf("%s: stats %+v", relay, s)
		}
	}
}

// TestCancelBesideTheQueue leaves while another request keeps the worker: what waits is dropped, what runs is told.
func TestCancelBesideTheQueue(t *testing.T) {
	t.Parallel()
	w := setup(t, "cancel.php", nil)
	ctx, cancel := context.WithCancel(t.Context())
	begun := filepath.Join(testenv.Dir(t), "begun")
	for _, file := range []string{begun, begun + " too"} {
		r, _ := http.NewRequestWithContext(ctx, "GET", w.server.URL+"/wait?begun="+url.QueryEscape(file), nil)
		go func() { // ends when ctx does
			if response, err := w.client.Do(r); err == nil {
				response.Body.Close()
			}
		}()
		w.eventually("PHP has the first request", func() bool { _, err := os.Stat(begun); return err == nil })
	}
	w.eventually("the second waits", func() bool { return w.pool.Stats().Queued == 1 })
	cancel()
	w.expectStatus("/pid", 200)
	w.logged("cancelled")
}

// leave sends a request and goes away once PHP has it.
func (w *world) leave(path string) {
	w.Helper()
	begun := filepath.Join(testenv.Dir(w.T), "begun")
	ctx, cancel := context.WithCancel(w.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", w.server.URL+path+"?begun="+url.QueryEscape(begun), nil)
	done := make(chan struct{})
	go func() { // ends when ctx does
		defer close(done)
		if response, err := w.client.Do(r); err == nil {
			response.Body.Close()
		}
	}()
	w.eventually("PHP has the request", func() bool { _, err := os.Stat(begun); return err == nil })
	cancel()
	<-done
}
