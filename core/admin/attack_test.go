package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// attacked is an API on a loopback address. Of one that is impatient, the times are short.
func attacked(t *testing.T, impatient bool) (addr string) {
	t.Helper()
	b := backend()
	b.Views.Drain = func(bool) { t.Error("it drains") }
	s := New(Config{Listen: "127.0.0.1:0", Token: token}, "", b, slog.New(slog.DiscardHandler))
	if impatient {
		s.http.Handler = bounded(100*time.Millisecond, s.authorized(routes(b)))
		s.http.ReadHeaderTimeout, s.http.IdleTimeout = 100*time.Millisecond, 100*time.Millisecond
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s.listener.Addr().String()
}

// say writes bytes to a new connection and returns the status line of what comes back, and whether the connection ends then.
func say(t *testing.T, addr, text string) (status string, ended bool) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, text) // an answer may come before all is sent
	r := bufio.NewReader(c)
	status, _ = r.ReadString('\n')
	_, err = io.Copy(io.Discard, r)
	return strings.TrimSpace(status), err == nil || !strings.Contains(err.Error(), "timeout")
}

const (
	head  = " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	owner = "Authorization: Bearer " + token + "\r\n"
)

// TestAStrangerGetsNothing: without the token, under another name, with too much. The server closes all of these connections.
func TestAStrangerGetsNothing(t *testing.T) {
	t.Parallel()
	addr := attacked(t, false)
	for name, tt := range map[string]struct{ request, want string }{
		"no token":                     {"POST /drain" + head + "\r\n", "401"},
		"the beginning of the token":   {"POST /drain" + head + "Authorization: Bearer " + token[:15] + "\r\n\r\n", "401"},
		"the token in the URL":         {"POST /drain?token=" + token + head + "\r\n", "401"},
		"the token as a password":      {"POST /drain" + head + "Authorization: Basic " + token + "\r\n\r\n", "401"},
		"two tokens, the first wrong":  {"POST /drain" + head + "Authorization: Bearer x\r\n" + owner + "\r\n", "401"},
		"another host":                 {"POST /drain HTTP/1.1\r\nHost: attacker.example\r\n" + owner + "\r\n", "421"},
		"a host that looks right":      {"POST /drain HTTP/1.1\r\nHost: 127.0.0.1.attacker.example\r\n" + owner + "\r\n", "421"},
		"two hosts":                    {"POST /drain" + head + "Host: attacker.example\r\n" + owner + "\r\n", "400"},
		"a preflight":                  {"OPTIONS /drain" + head + "Origin: http://attacker.example\r\n\r\n", "401"},
		"a head of a megabyte":         {"GET /status" + head + "X: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "431"},
		"a large body without a token": {"POST /reload" + head + "Content-Length: 9999999999\r\n\r\n" + strings.Repeat("x", 1<<16), "401"},
		"two lengths":                  {"POST /reload" + head + owner + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", "400"},
		"a path that climbs":           {"GET /debug/pprof/../../../etc/passwd" + head + owner + "Connection: close\r\n\r\n", "307"}, // to /etc/passwd, which is not there
		"the command line":             {"GET /debug/pprof/cmdline" + head + owner + "Connection: close\r\n\r\n", "404"},
		"reading what writes":          {"GET /drain" + head + owner + "Connection: close\r\n\r\n", "405"},
		"an owner who looks":           {"GET /status HTTP/1.1\r\nHost: localhost:9999\r\n" + owner + "Connection: close\r\n\r\n", "200"},
	} {
		status, ended := say(t, addr, tt.request)
		if !strings.HasPrefix(status, "HTTP/1.1 "+tt.want) && (tt.want != "431" && tt.want != "401" || status != "") { // of what is sent in vain the answer may be lost
			t.Errorf("%s: %q, want %q", name, status, tt.want)
		}
		if !ended {
			t.Errorf("%s: the connection stays open", name)
		}
	}
}

// TestWhoWaitsIsShownOut: connections that do not go on end.
func TestWhoWaitsIsShownOut(t *testing.T) {
	t.Parallel()
	addr := attacked(t, true)
	for name, request := range map[string]string{
		"nothing":                   "",
		"half a head":               "GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n",
		"a body that does not come": "POST /reload" + head + "Content-Length: 10\r\n\r\nxx",
		"the same with the token":   "POST /reload" + head + owner + "Content-Length: 10\r\n\r\nxx",
		"chunks that do not come":   "POST /reload" + head + owner + "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
		"nothing after an answer":   "GET /status" + head + owner + "\r\n",
	} {
		if status, ended := say(t, addr, request); !ended {
			t.Errorf("%s: after %q the connection stays open", name, status)
		}
	}
}

// deadlines writes down which deadlines a handler asks for.
type deadlines struct {
	http.ResponseWriter
	list []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.list = append(d.list, at)
	return nil
}

// TestABodyMayTakeItsTime: every piece has a deadline of its own, and what comes after the last has none.
func TestABodyMayTakeItsTime(t *testing.T) {
	t.Parallel()
	d := &deadlines{ResponseWriter: httptest.NewRecorder()}
	handler := bounded(time.Hour, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		piece := make([]byte, 1)
		for i := 0; ; i++ {
			asked := len(d.list)
			_, err := r.Body.Read(piece)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(d.list) != asked+1 || time.Until(d.list[asked]) < 59*time.Minute {
				t.Fatalf("piece %d: %v, deadlines %v", i, err, d.list)
			}
		}
		if last := d.list[len(d.list)-1]; !last.IsZero() {
			t.Errorf("after the end: %s", last)
		}
	}))
	handler.ServeHTTP(d, httptest.NewRequest(http.MethodPost, "/kv/a/import", strings.NewReader("abc")))
	if len(d.list) < 5 {
		t.Errorf("deadlines: %v", d.list)
	}
	d.list = nil
	bounded(time.Hour, http.NotFoundHandler()).ServeHTTP(d, httptest.NewRequest(http.MethodPost, "/reload", nil))
	if len(d.list) > 0 {
		t.Errorf("a request without a body has deadlines: %v", d.list)
	}
}
