package php_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// TestEndsOfStreams are not always a frame with a context, or with a codec.
func TestEndsOfStreams(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	_, pid := w.get("/pid")
	w.expect("/thrown", 200, "part\n")
	w.expect("/late-head", 200, "early late") // a context that comes too late has no effect
	w.expect("/pid", 200, pid)
}

// TestClientThatReadsNothing must not hold the worker, be it a stream, a large answer, or one that has no body.
func TestClientThatReadsNothing(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/endless", "/big?n=30000000", "/endless?status=204", "/endless?status=304"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
				c.ExecTimeout = 3 * time.Second
				c.Command = append(php.Command{c.Command[0], "-d", "memory_limit=1G"}, c.Command[1:]...)
			})
			_, pid := w.get("/pid")
			conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			w.eventually("the worker streams", func() bool { return w.pool.Stats().Streams == 1 })
			w.expect("/pid", 200, pid)
		})
	}
}

// TestFarewell is what a worker writes when it is told to stop; nobody wants it, and it must not block on it.
func TestFarewell(t *testing.T) {
	t.Parallel()
	said := filepath.Join(testenv.Dir(t), "said")
	w := setup(t, "farewell.php", func(c *php.Config, _ *php.Options) { c.Env = map[string]string{"SAID": said} })
	w.expect("/", 200, "served")
	w.stop()
	if _, err := os.Stat(said); err != nil {
		t.Errorf("the worker did not come to its end: %v", err)
	}
}

// TestBodiesByMethod is which bodies reach PHP, and as what.
func TestBodiesByMethod(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	const form, text = "application/x-www-form-urlencoded", "text/plain"
	for _, c := range []struct {
		method, contentType string
		body                string
		parsed              bool
	}{
		{"GET", text, "a=1", false},
		{"DELETE", text, "a=1", false},
		{"OPTIONS", text, "", false},
		{"OPTIONS", form, "", false},
		{"GET", form, "", true},
		{"DELETE", form, "", true},
		{"POST", form, `{"a":"1"}`, true},
		{"PUT", form, `{"a":"1"}`, true},
		{"PATCH", form, `{"a":"1"}`, true},
		{"PROPFIND", text, "a=1", false},
	} {
		if got := w.post(c.method, c.contentType, "a=1"); got.Body != c.body || got.Parsed != c.parsed {
			t.Errorf("%s of %s: body %q, parsed %v; want %q, %v", c.method, c.contentType, got.Body, got.Parsed, c.body, c.parsed)
		}
	}
}

// TestUnwantedBodiesAreRead before the answer: in HTTP/2 one that overtakes its request resets the stream.
func TestUnwantedBodiesAreRead(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	for method, contentType := range map[string]string{"HEAD": "text/plain", "OPTIONS": "text/plain", "DELETE": "application/x-www-form-urlencoded", "GET": "multipart/form-data; boundary=b"} {
		body := strings.NewReader("a=1&b=2")
		r := httptest.NewRequest(method, "/echo", body)
		r.Header.Set("Content-Type", contentType)
		answer := httptest.NewRecorder()
		w.pool.ServeHTTP(answer, r)
		if answer.Code != 200 || body.Len() != 0 {
			t.Errorf("%s: status %d, %d bytes of the body are left", method, answer.Code, body.Len())
		}
	}
}

// TestHeadersAreAdded to what middleware put there.
func TestHeadersAreAdded(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	answer := httptest.NewRecorder()
	answer.Header()["Vary"] = []string{"Origin"}
	r := httptest.NewRequestWithContext(context.Background(), "GET", `/headers?h={"Vary":["Accept"],"vary":["Cookie"]}`, http.NoBody)
	w.pool.ServeHTTP(answer, r)
	if got := strings.Join(answer.Header()["Vary"], ","); got != "Origin,Accept,Cookie" {
		t.Errorf("Vary: %s", got)
	}
}
