package core_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

// TestSlowClientCostsNoData: an answer that does not end before shutdown_timeout leaves no time, and still what the stores hold is written.
func TestSlowClientCostsNoData(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush() // the answer begins
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}))
	defer endless.Close()
	defer close(ended)
	cfg := loadConfig(t, testenv.Dir(t), fmt.Sprintf(`
shutdown_timeout: 100ms
http: {listen: [{address: "127.0.0.1:0"}], routes: [{proxy: %q}]}
kv:
  kept: {snapshot: kept.snapshot}
  bolt: {driver: boltdb, boltdb: {sync: interval}}
`, endless.URL))
	first := newEdge(t, cfg)
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kept", "bolt"} {
		if err := first.Store(name).Set(t.Context(), []kv.Item{{Key: "a", Value: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(first.Addresses()[0].URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()            // and somebody else wants it to be quick
	_ = first.Stop(ctx) // it may say that a request was cut

	second := newEdge(t, cfg)
	defer second.Stop(t.Context())
	for _, name := range []string{"kept", "bolt"} {
		got := []kv.Item{{Key: "a"}}
		if err := second.Store(name).Get(t.Context(), got); err != nil || string(got[0].Value) != "1" {
			t.Errorf("store %s has %q after the stop (%v), not what was written", name, got[0].Value, err)
		}
	}
}
