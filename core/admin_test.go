package core_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestDrain: checks are told that the server is not ready, and requests are served.
func TestDrain(t *testing.T) {
	t.Parallel()
	health := freeAddress(t)
	s := edgetest.Start(t, fmt.Sprintf("http: {routes: [{name: hello, respond: hello}]}\ntelemetry: {health: {listen: %q}}\n", health))
	c, err := admin.NewClient(s.Config().Admin, s.Config().StateDir)
	if err != nil {
		t.Fatal(err)
	}
	ready := func() int {
		res, err := http.Get("http://" + health + "/ready")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for _, draining := range []bool{false, true, true, false} {
		if err := c.Drain(t.Context(), draining); err != nil {
			t.Fatal(err)
		}
		want := http.StatusOK
		if draining {
			want = http.StatusServiceUnavailable
		}
		if got := ready(); got != want {
			t.Errorf("draining %v: /ready answers %d", draining, got)
		}
		if status, err := c.Status(t.Context()); err != nil || status.Ready == draining || (len(status.Degraded) > 0) != draining {
			t.Errorf("draining %v: %+v, %v", draining, status, err)
		}
		if got := get(t, s.HTTP); got != "hello" {
			t.Errorf("draining %v: %q", draining, got)
		}
		if got := get(t, "http://"+health+"/health"); strings.Contains(got, "drain") {
			t.Errorf("draining %v: /health says %s", draining, got)
		}
	}

	// What is served is seen.
	testenv.Eventually(t, "four requests are counted", func() bool {
		o, err := c.Overview(t.Context())
		return err == nil && len(o.Routes) == 2 && o.Routes[1].Name == "hello" && o.Routes[1].Classes[1] == 4 && len(o.Connections.Listeners) > 0
	})
}

// TestAccessLogFile: lines of requests are in their file, without secrets, and records of the log are elsewhere.
func TestAccessLogFile(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
log: {output: edge.log, format: json, channels: {http: {level: error}}}
http:
  middleware: [access-log]
  access_log: {format: combined, output: access.log}
  routes: [{respond: hello}]
`)
	get(t, s.HTTP+"/a?token=hidden&page=2")
	testenv.Eventually(t, "the line is there", func() bool {
		return strings.Contains(readFile(t, s.Dir, "access.log"), `"GET /a?token=***&page=2 HTTP/1.1" 200 5 "-" "Go-http-client/1.1"`+"\n")
	})
	if log := readFile(t, s.Dir, "edge.log"); !strings.Contains(log, `"msg":"edge serves"`) || strings.Contains(log, "hidden") {
		t.Errorf("edge.log: %s", log)
	}
	if s.Log.String() != "" {
		t.Errorf("standard error has %s", s.Log.String())
	}
	next := *s.Config()
	next.Log.Rotate.Backups++
	if err := s.Reload(t.Context(), &next); err == nil || !strings.Contains(err.Error(), "needs a restart: log") {
		t.Errorf("a reload that changes the log: %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if log := readFile(t, s.Dir, "edge.log"); !strings.Contains(log, "edge has stopped") {
		t.Errorf("the last words are not in edge.log: %s", log)
	}
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
