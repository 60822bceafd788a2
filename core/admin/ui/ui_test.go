package ui

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// ask sends a request as a browser would; the address is that of the page.
func ask(s *Server, method, path string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:9191"+path, nil)
	for name, value := range header {
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func newServer(look Look) *Server { return New(look, slog.New(slog.DiscardHandler)) }

func answering(text string) Look {
	return func(context.Context) (json.RawMessage, error) { return json.RawMessage(text), nil }
}

func session(t *testing.T, s *Server) string {
	t.Helper()
	var got struct{ Session string }
	w := ask(s, http.MethodPost, "/session", map[string]string{"Authorization": "Bearer " + s.Key()})
	if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code != http.StatusOK || err != nil || len(got.Session) < 40 {
		t.Fatalf("a session: %d %s %v", w.Code, w.Body, err)
	}
	return got.Session
}

// TestKeysOpenOnce: no key, a wrong one, and one that was used, get nothing; a session looks on and on.
func TestKeysOpenOnce(t *testing.T) {
	t.Parallel()
	s := newServer(answering(`{"status":{"version":"1.2.3"}}`))
	key := s.Key()
	for _, authorization := range []string{"", "Bearer ", "Bearer wrong", key, "Basic " + key, "Bearer " + key + "x"} {
		for method, path := range map[string]string{http.MethodPost: "/session", http.MethodGet: "/overview"} {
			if w := ask(s, method, path, map[string]string{"Authorization": authorization}); w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "1.2.3") {
				t.Errorf("%s with %q: %d %s", path, authorization, w.Code, w.Body)
			}
		}
	}
	if w := ask(s, http.MethodGet, "/overview", map[string]string{"Authorization": "Bearer " + key}); w.Code != http.StatusUnauthorized {
		t.Errorf("the key is no session: %d", w.Code)
	}
	if w := ask(s, http.MethodPost, "/session", map[string]string{"Authorization": "Bearer " + key}); w.Code != http.StatusOK {
		t.Errorf("the key: %d %s", w.Code, w.Body)
	}
	if w := ask(s, http.MethodPost, "/session", map[string]string{"Authorization": "Bearer " + key}); w.Code != http.StatusUnauthorized {
		t.Errorf("the key for the second time: %d", w.Code)
	}
	first := session(t, s)
	for range 3 {
		if w := ask(s, http.MethodGet, "/overview", map[string]string{"Authorization": "Bearer " + first}); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "1.2.3") {
			t.Errorf("with a session: %d %s", w.Code, w.Body)
		}
	}
	for range maxSessions {
		session(t, s)
	}
	if w := ask(s, http.MethodGet, "/overview", map[string]string{"Authorization": "Bearer " + first}); w.Code != http.StatusUnauthorized {
		t.Errorf("the oldest of too many sessions: %d", w.Code)
	}
}

// TestOthersGetNothing: other hosts, other origins, other methods.
func TestOthersGetNothing(t *testing.T) {
	t.Parallel()
	s := newServer(answering(`{}`))
	authorization := "Bearer " + session(t, s)
	for name, tt := range map[string]struct {
		method, path string
		header       map[string]string
		want         int
	}{
		"the page":                     {"GET", "/", nil, 200},
		"a link of another site":       {"GET", "/", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200},
		"localhost":                    {"GET", "/overview", map[string]string{"Host": "localhost:1234"}, 200},
		"IPv6":                         {"GET", "/overview", map[string]string{"Host": "[::1]:9191"}, 200},
		"no port":                      {"GET", "/overview", map[string]string{"Host": "127.0.0.1"}, 200},
		"same origin":                  {"GET", "/overview", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:9191"}, 200},
		"a rebound name":               {"GET", "/overview", map[string]string{"Host": "attacker.example:9191"}, 421},
		"a rebound name, the page":     {"GET", "/", map[string]string{"Host": "attacker.example"}, 421},
		"a name that looks right":      {"GET", "/", map[string]string{"Host": "localhost.attacker.example"}, 421},
		"an address of the network":    {"GET", "/", map[string]string{"Host": "192.168.1.2:9191"}, 421},
		"no host":                      {"GET", "/", map[string]string{"Host": ""}, 421},
		"another site":                 {"GET", "/overview", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"another port":                 {"GET", "/overview", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"another origin":               {"GET", "/overview", map[string]string{"Origin": "http://127.0.0.1:8080"}, 403},
		"an origin without a name":     {"GET", "/overview", map[string]string{"Origin": "null"}, 403},
		"a script in another page":     {"GET", "/page.js", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		"a frame of another site":      {"GET", "/page.css", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403},
		"writing":                      {"POST", "/overview", nil, 405},
		"removing":                     {"DELETE", "/overview", nil, 405},
		"asking what is allowed":       {"OPTIONS", "/session", nil, 405},
		"reloading by way of the page": {"POST", "/reload", nil, 405},
		"another view":                 {"GET", "/config", nil, 404},
		"a file of the folder":         {"GET", "/ui.go", nil, 404},
		"a file above":                 {"GET", "/../ui.go", nil, 404},
	} {
		header := map[string]string{"Authorization": authorization}
		for k, v := range tt.header {
			header[k] = v
		}
		w := ask(s, tt.method, tt.path, header)
		if w.Code != tt.want {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, tt.want)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; ") || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
}

// TestOneQuestionForAll: browsers that ask at the same time share an answer, and a failure is asked about again.
func TestOneQuestionForAll(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	problem := errors.New("no Edge answers")
	s := newServer(func(context.Context) (json.RawMessage, error) {
		if asked.Add(1) == 1 {
			return nil, problem
		}
		return json.RawMessage(`{}`), nil
	})
	authorization := map[string]string{"Authorization": "Bearer " + session(t, s)}
	if w := ask(s, http.MethodGet, "/overview", authorization); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), problem.Error()) {
		t.Errorf("a server that is gone: %d %s", w.Code, w.Body)
	}
	s.asked = time.Now().Add(time.Hour) // fresh for as long as the test takes
	s.last = json.RawMessage(`{"shared":1}`)
	for range 5 {
		if w := ask(s, http.MethodGet, "/overview", authorization); w.Body.String() != `{"shared":1}` {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("%d questions", asked.Load())
	}
}

// TestServeEndsWithItsContext: and so do connections that say nothing.
func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(answering(`{}`))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + l.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if !strings.Contains(string(text), "<title>Edge</title>") || strings.Contains(string(text), "http") {
		t.Errorf("the page: %s", text)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it serves on")
	}
}
