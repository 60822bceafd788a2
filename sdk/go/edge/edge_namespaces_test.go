//go:build !wasip1

package edge_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/cron"
	"github.com/edge-server/edge/sdk/go/edge/router"
	"github.com/edge-server/edge/sdk/go/edge/ws"
)

// ExampleOpenStore counts visits; plugins.modules.NAME.allow.kv must have the store.
func ExampleOpenStore() {
	edge.Reset()
	edge.Handle(func(r *edge.Request) edge.Result {
		store, err := edge.OpenStore("counters")
		if err != nil {
			return edge.Next
		}
		visits, _ := store.Increment("visits", 1, 0)
		return r.Respond(200, "text/plain", fmt.Sprint(visits, " visits"))
	})

	var host edge.TestHost
	for range 2 {
		body, _ := io.ReadAll(host.Do(httptest.NewRequest("GET", "/", nil)).Body)
		fmt.Println(string(body))
	}
	// Output:
	// 1 visits
	// 2 visits
}

// ExampleCall asks another server; allow.net must permit it.
func ExampleCall() {
	edge.Handle(func(r *edge.Request) edge.Result {
		answer, err := (&edge.Call{URL: "https://example.com/keys", Timeout: time.Second}).Do()
		if err != nil {
			return r.Respond(502, "text/plain", err.Error())
		}
		defer answer.Close()
		keys, _ := io.ReadAll(answer)
		return r.Respond(answer.Status, "text/plain", string(keys))
	})

	host := edge.TestHost{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "the keys of ", r.Host)
	})}
	body, _ := io.ReadAll(host.Do(httptest.NewRequest("GET", "/", nil)).Body)
	fmt.Println(string(body))
	// Output: the keys of example.com
}

func TestStores(t *testing.T) {
	edge.Reset()
	s, err := edge.OpenStore("s")
	if err != nil {
		t.Fatal(err)
	}
	is := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	_, err = s.Get("a")
	is("get", err, edge.ErrNotFound)
	is("set", s.Set("a", []byte("1"), edge.How{TTL: time.Minute}), nil)
	is("if absent", s.Set("a", nil, edge.How{IfAbsent: true}), edge.ErrExists)
	is("if present", s.Set("b", nil, edge.How{IfPresent: true}), edge.ErrCondition)
	is("if version", s.Set("a", nil, edge.How{IfVersion: 7}), edge.ErrCondition)
	if e, err := s.Entry("a"); string(e.Value) != "1" || e.TTL != time.Minute || e.Version != 1 || err != nil {
		t.Errorf("entry = %+v, %v", e, err)
	}
	outcomes, err := s.Batch(100, edge.GetOp("a"), edge.SetOp("c", []byte("3"), edge.How{}), edge.IncrementOp("n", -4, 0), edge.DeleteOp("a"), edge.GetOp("a"))
	if err != nil || string(outcomes[0].Value) != "1" || outcomes[2].Number != -4 || !errors.Is(outcomes[4].Err, edge.ErrNotFound) {
		t.Errorf("batch = %+v, %v", outcomes, err)
	}
	var keys []string
	for i := range 5 {
		s.Set(fmt.Sprint("k", i), nil, edge.How{})
	}
	for key, err := range s.Scan("k", 2) {
		keys = append(keys, key)
		is("scan", err, nil)
	}
	if want := []string{"k0", "k1", "k2", "k3", "k4"}; !slices.Equal(keys, want) {
		t.Errorf("keys = %q, want %q", keys, want)
	}
	for range s.Scan("k", 2) {
		break
	}
}

func TestCallsThatWouldBeTwo(t *testing.T) {
	if _, err := (&edge.Call{URL: "http://a/", Header: []string{"x: a\nevil: b"}}).Do(); !errors.Is(err, edge.ErrInvalid) {
		t.Errorf("a header with a line feed: %v", err)
	}
}

func TestRouter(t *testing.T) {
	router.Handle(func(r *router.Request) {
		if rest, ok := strings.CutPrefix(r.URI(), "/api/"); ok {
			r.Rewrite("/" + rest)
			r.To("api")
		}
	})
	got := router.Test(&edge.TestHost{}, httptest.NewRequest("GET", "/api/users", nil))
	if want := []string{"rewrite /users", "to api"}; !slices.Equal(got, want) {
		t.Errorf("decisions = %q, want %q", got, want)
	}
}

func TestCronTakesWorkFromTheQueue(t *testing.T) {
	edge.Reset()
	var done []string
	cron.Handle(time.Minute, func(time.Time) {
		for item, err := edge.Pop(); err == nil; item, err = edge.Pop() {
			done = append(done, string(item))
		}
	})
	edge.Push([]byte("a"))
	edge.Push([]byte(strings.Repeat("b", 5000)))
	cron.Run(time.Now())
	if len(done) != 2 || done[0] != "a" || len(done[1]) != 5000 {
		t.Errorf("done = %.50q", done)
	}
}

func TestWebSocket(t *testing.T) {
	ws.Handle(ws.Handler{
		Open: func(c ws.Conn, r *edge.Request) int {
			if r.Header().Get("Origin") == "" {
				return 403
			}
			c.Subscribe("chat")
			return 0
		},
		Message: func(c ws.Conn, m ws.Message) int {
			c.Send("you said " + string(m.Payload))
			return 0
		},
	})
	hub := ws.NewTest()
	r := httptest.NewRequest("GET", "/", nil)
	if status := hub.Open(&edge.TestHost{}, 1, r); status != 403 {
		t.Errorf("without an origin: %d, want 403", status)
	}
	r.Header.Set("Origin", "https://example.com")
	if status := hub.Open(&edge.TestHost{}, 2, r); status != 0 || !slices.Equal(hub.Subscribed[2], []string{"chat"}) {
		t.Errorf("open = %d, subscribed %q", status, hub.Subscribed[2])
	}
	if hub.Message(2, ws.Message{Payload: []byte("hi")}); !slices.Equal(hub.Sent[2], []string{"you said hi"}) {
		t.Errorf("sent = %q", hub.Sent[2])
	}
}

func TestMetricsAndVariables(t *testing.T) {
	edge.Reset()
	edge.Handle(func(r *edge.Request) edge.Result {
		if err := edge.SetVar("tenant", "acme"); err != nil {
			t.Error(err)
		}
		if c, err := edge.NewCounter("seen"); err != nil || c.Add(2) != nil {
			t.Error("counter")
		}
		return edge.Next
	})
	h := edge.TestHost{}
	h.Do(httptest.NewRequest("GET", "/", nil))
	if h.Vars["tenant"] != "acme" || edge.TestMetric("seen") != 2 {
		t.Errorf("vars %v, seen %d", h.Vars, edge.TestMetric("seen"))
	}
}

func TestCheckConfig(t *testing.T) {
	defer edge.CheckConfig(nil)
	edge.CheckConfig(func(config []byte) error {
		if len(config) == 0 {
			return errors.New("write a secret")
		}
		return nil
	})
	if err := (&edge.TestHost{}).CheckConfig(); err == nil || err.Error() != "write a secret" {
		t.Errorf("without a config: %v", err)
	}
	if err := (&edge.TestHost{Config: []byte("x")}).CheckConfig(); err != nil {
		t.Error(err)
	}
}
