package mercure_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/mercure"
)

func TestMain(m *testing.M) {
	if os.Getenv(childListen) != "" {
		runChild()
	}
	testenv.Main(m)
}

// patience bounds every wait for something that must happen.
const patience = time.Minute

const secret = "!ChangeThisMercureHubJWTSecretKey!"

const hubPath = "/.well-known/mercure"

// hub is a server under test.
type hub struct {
	*mercure.Server
	t      testing.TB
	http   *httptest.Server
	limits ws.Limits
	cfg    mercure.Config
	space  *ws.Space // of a fleet
	log    testenv.Log
}

// start serves a hub; changes come first.
func start(t testing.TB, change ...func(*hub)) *hub {
	t.Helper()
	h := &hub{t: t, limits: ws.DefaultLimits(), cfg: mercure.DefaultConfig()}
	h.cfg.Publisher.Secret = secret
	h.cfg.Anonymous = true
	h.cfg.History.File = filepath.Join(testenv.Dir(t), "mercure.db")
	for _, c := range change {
		c(h)
	}
	h.begin()
	h.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(func() {
		h.end()
		h.http.CloseClientConnections()
		h.http.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return h
}

func (h *hub) begin() {
	h.t.Helper()
	var err error
	h.Server, err = mercure.New(h.cfg, mercure.Options{Logger: slog.New(slog.NewTextHandler(&h.log, nil)), Limits: h.limits, Space: h.space})
	check(h.t, err)
	check(h.t, h.Start(h.t.Context()))
}

func (h *hub) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	check(h.t, h.Stop(ctx))
}

func (h *hub) url() string { return h.http.URL + h.cfg.Path }

func config(change func(*mercure.Config)) func(*hub) { return func(h *hub) { change(&h.cfg) } }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type claim map[string]any

// token signs what a publisher or subscriber may do.
func token(t testing.TB, claims claim) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims)).SignedString([]byte(secret))
	check(t, err)
	return text
}

func publisher(t testing.TB, topics ...string) string {
	return token(t, claim{"mercure": claim{"publish": append([]string{}, topics...)}})
}

func reader(t testing.TB, topics ...string) string {
	return token(t, claim{"mercure": claim{"subscribe": append([]string{}, topics...)}})
}

// do sends a request and returns the answer with its body.
func (h *hub) do(method, target, token, body string, header ...string) (*http.Response, string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	check(h.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	check(h.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(h.t, err)
	return resp, string(text)
}

// publish sends a form of pairs as somebody who may publish anything, and returns the id.
func (h *hub) publish(pairs ...string) string {
	h.t.Helper()
	resp, id := h.do("POST", h.url(), publisher(h.t, "*"), form(pairs...))
	if resp.StatusCode != 200 {
		h.t.Fatalf("publish %q: %d %s", pairs, resp.StatusCode, id)
	}
	return id
}

func form(pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values.Encode()
}

// event is one of a stream.
type event struct{ id, kind, data, retry string }

// stream is a client that reads events.
type stream struct {
	t      testing.TB
	resp   *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
	events chan event
	err    error // once events is closed
}

// subscribe opens a stream; pairs are of the query.
func (h *hub) subscribe(token string, pairs ...string) *stream {
	h.t.Helper()
	return open(h.t, http.DefaultClient, h.url()+"?"+form(pairs...), token)
}

func open(t testing.TB, client *http.Client, target, token string, header ...string) *stream {
	t.Helper()
	s := dial(t, client, target, token, header...)
	if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(s.resp.Body)
		t.Fatalf("subscribe: %s %v %s", s.resp.Status, s.resp.Header, body)
	}
	s.events = make(chan event, 1<<16)
	go s.read()
	return s
}

func dial(t testing.TB, client *http.Client, target, token string, header ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", target, nil)
	check(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s := &stream{t: t, resp: resp, lines: bufio.NewReader(resp.Body), cancel: cancel}
	t.Cleanup(s.close)
	return s
}

func (s *stream) close() {
	s.cancel()
	s.resp.Body.Close()
	if s.events != nil {
		for range s.events { // until read has ended
		}
	}
}

// read is an own parser of event streams. A retry alone is an event here.
func (s *stream) read() {
	defer close(s.events)
	var e event
	data := false
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.err = err
			return
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "retry":
			e.retry = value
		case "data":
			if data {
				e.data += "\n"
			}
			e.data += value
			data = true
		case "":
			if line == "\n" && (data || e.retry != "") {
				s.events <- e
				e, data = event{}, false
			}
		}
	}
}

// next waits for an event.
func (s *stream) next() event {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatalf("the stream has ended: %v", s.err)
		}
		return e
	case <-time.After(patience):
		s.t.Fatal("no event")
	}
	return event{}
}

// want waits for an event with this data.
func (s *stream) want(data string) event {
	s.t.Helper()
	e := s.next()
	if e.data != data {
		s.t.Fatalf("got %+v, want data %q", e, data)
	}
	return e
}

// ends waits for the end of the stream, and returns what came before it.
func (s *stream) ends() (list []event) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				return list
			}
			list = append(list, e)
		case <-timeout:
			s.t.Fatal("the stream does not end")
		}
	}
}

func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("urn:", i)
	}
	return list
}
