package proxy_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"testing"

	"github.com/edge-server/edge/core/proxy"
)

// TestInformationalAnswersLeaveTheHeadersAlone: what middleware has set is in the final answer, however many answers came before it, and
// whether the upstream gives it or not.
func TestInformationalAnswersLeaveTheHeadersAlone(t *testing.T) {
	t.Parallel()
	hints := "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Hop: 1\r\nConnection: X-Hop\r\nX-Secret: 1\r\nAlt-Svc: h3\r\nX-Same: hint\r\n\r\n" +
		"HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n"
	url := raw(t, func(c net.Conn, r *http.Request) {
		io.WriteString(c, hints)
		if r.URL.Path == "/whole" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Same: upstream\r\nVary: B\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	c := config(url)
	c.Headers.Response = map[string]string{"x-secret": ""}
	c.Retry.Tries = 0
	p, err := proxy.New(c, proxy.Options{Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Middleware", "1")
		w.Header().Set("X-Same", "middleware")
		w.Header().Set("Vary", "A")
		p.ServeHTTP(w, r)
	}))
	defer s.Close()
	defer p.Stop(t.Context())
	for path, want := range map[string]struct {
		status int
		same   string
		vary   int
	}{"/whole": {200, "upstream", 2}, "/none": {502, "middleware", 1}} {
		var links []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			links = append(links, h.Get("Link"))
			for _, name := range []string{"X-Middleware", "X-Hop", "Connection", "X-Secret", "Alt-Svc"} {
				if h.Get(name) != "" {
					t.Errorf("%s: the %d has %s", path, status, name)
				}
			}
			return nil
		}})
		res := fetch(t, ctx, s, path)
		if len(links) != 2 || links[0] != "</a.css>" || links[1] != "</b.css>" {
			t.Errorf("%s: hints: %q", path, links)
		}
		if res.StatusCode != want.status || res.Header.Get("X-Middleware") != "1" || res.Header.Get("X-Same") != want.same ||
			len(res.Header["Vary"]) != want.vary || res.Header.Get("Link") != "" {
			t.Errorf("%s: %s %v", path, res.Status, res.Header)
		}
	}
}

func fetch(t *testing.T, ctx context.Context, s *httptest.Server, path string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res
}
