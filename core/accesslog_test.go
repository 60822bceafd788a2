package core_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestStopWritesEveryLine: requests of all clients are in the access log when the server has stopped, each once.
func TestStopWritesEveryLine(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http:
  middleware: [access-log]
  access_log: {format: common, output: access.log}
  routes: [{respond: hello}]
`)
	const clients = 8
	each := testenv.Count(50, 2000)
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for range each {
				res, err := http.Get(s.HTTP + "/counted")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	running.Wait()
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	log := readFile(t, s.Dir, "access.log")
	if n := strings.Count(log, `"GET /counted HTTP/1.1" 200 5`+"\n"); n != clients*each || strings.Count(log, "\n") != n {
		t.Errorf("%d whole lines for %d requests, and %d lines in all", n, clients*each, strings.Count(log, "\n"))
	}
}
