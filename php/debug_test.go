package php_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

func debug(c *php.Config, _ *php.Options) { c.Debug = true }

func TestDebugIsFresh(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	lib := filepath.Join(testenv.Root(t), "php", "testdata", "lib.php")
	write := func(body string) {
		if err := os.WriteFile(filepath.Join(dir, "worker.php"), []byte("<?php require '"+lib+"'; "+body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`$w = new Worker(); for ($i = 1; $w->next(); $i++) $w->respond(200, "one $i");`)
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) { c.Debug, c.Dir = true, dir })
	w.logged("debug mode")
	if s := w.pool.Stats(); s.Idle+s.Busy+s.Booting != 0 {
		t.Errorf("workers wait for requests: %+v", s)
	}
	w.expect("/", 200, "one 1")
	w.expect("/", 200, "one 1")
	write(`$w = new Worker(); while ($w->next()) $w->respond(200, "two");`)
	w.expect("/", 200, "two")
	write(`$w = new Worker(); this is no PHP;`)
	if status, text := w.get("/"); status != 500 || !strings.Contains(text, "worker.php") || !strings.Contains(text, "syntax error") {
		t.Errorf("broken code: %d %s", status, text)
	}
	if err := w.pool.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	w.eventually("no process is left", func() bool { return len(w.pool.Workers()) == 0 })
}

// TestDebugShowsErrors looks at the page of every way to fail.
func TestDebugShowsErrors(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, o *php.Options) {
		debug(c, o)
		c.ExecTimeout = time.Second
		c.Workers.Max = 3
	})
	for path, want := range map[string]string{
		"/error":          "Exception: secret at /srv/app/index.php:3",
		"/exit?code=3":    "exit status 3",
		"/junk":           "&lt;b&gt;Warning&lt;/b&gt;: something is wrong",
		"/hang":           "set it to 0s",
		"/stop":           "ended before they took",
		"/exit-mid-frame": "exit status 3",
	} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept", "text/html,*/*")
		response, page := w.do(r)
		if response.StatusCode != 500 || !strings.Contains(page, want) || !strings.HasPrefix(page, "<!doctype html>") ||
			!strings.Contains(response.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d, no %q in\n%s", path, response.StatusCode, want, page)
		}
	}
	response, text := w.do(httptest.NewRequest("GET", "/junk", nil))
	if response.StatusCode != 500 || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") ||
		!strings.Contains(text, "<b>Warning</b>") {
		t.Errorf("for others: %d %v\n%s", response.StatusCode, response.Header, text)
	}
	w.expect("/status?n=500&body=my+own+page", 500, "my own page")
	w.expect("/stream?n=2", 200, "part 0\npart 1\nend\n")
	w.eventually("no process is left", func() bool { return len(w.pool.Workers()) == 0 })
}

func TestDebugOfTheSDK(t *testing.T) {
	t.Parallel()
	w := setup(t, "sdk.php", debug)
	_, first := w.get("/pid")
	if _, second := w.get("/pid"); first == second {
		t.Errorf("both requests went to process %s", first)
	}
	if status, text := w.get("/error"); status != 500 || !strings.Contains(text, "broken on purpose") {
		t.Errorf("an exception: %d %s", status, text)
	}
}

// TestNoDebugNoErrors is the other side: nothing of it leaks without debug.
func TestNoDebugNoErrors(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	for _, path := range []string{"/error", "/junk", "/exit"} {
		if _, text := w.get(path); strings.Contains(text, "secret") || strings.Contains(text, "Warning") || strings.Contains(text, "status") {
			t.Errorf("%s shows %q", path, text)
		}
	}
}

func TestDebugBounds(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, o *php.Options) {
		debug(c, o)
		c.Workers.Max, c.Queue.Max = 2, 2
	})
	path, open := w.gate()
	defer open()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { w.expectStatus(path, 200) })
	}
	w.eventually("two wait for two", func() bool { s := w.pool.Stats(); return s.Busy == 2 && s.Queued == 2 })
	w.expectStatus("/pid", http.StatusServiceUnavailable)
	open()
	wg.Wait()
	w.eventually("their processes ended", func() bool { return len(w.pool.Workers()) == 0 })
	path, open = w.gate()
	defer open()
	wg.Go(func() { w.expectStatus(path, 200) })
	w.eventually("it works", func() bool { return w.pool.Stats().Busy == 1 })
	w.stopDuring(open)
	wg.Wait()
}
