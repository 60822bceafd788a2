package kvrest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
	"github.com/edge-server/edge/wasmhost"
)

const token = "a-token"

// restServer is a Redis with a REST interface: POST / takes a command, /pipeline and /multi-exec take several.
type restServer struct {
	*httptest.Server
	redis    *redis.Client
	requests atomic.Int64
	status   atomic.Int64                  // answered to everything, unless it is 0
	stuck    atomic.Pointer[chan struct{}] // nothing is answered before it is closed
}

func startREST(t *testing.T) *restServer {
	t.Helper()
	s := &restServer{redis: redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr, Protocol: 2, DisableIdentity: true})}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.Close()
		_ = s.redis.Close()
	})
	return s
}

type answer struct {
	Result any    `json:"result"`
	Error  string `json:"error,omitempty"`
}

func answerOf(result any, err error) answer {
	if err != nil && !errors.Is(err, redis.Nil) {
		return answer{Error: err.Error()}
	}
	return answer{Result: result}
}

func (s *restServer) serve(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if stuck := s.stuck.Load(); stuck != nil {
		<-*stuck
	}
	if status := s.status.Load(); status != 0 {
		w.WriteHeader(int(status))
		return
	}
	if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20))
	var out any
	var err error
	switch r.URL.Path {
	case "/":
		var command []any
		if err = in.Decode(&command); err == nil {
			a := answerOf(s.redis.Do(r.Context(), command...).Result())
			if out = a; a.Error != "" {
				w.WriteHeader(http.StatusBadRequest)
				out = map[string]string{"error": a.Error}
			}
		}
	case "/pipeline", "/multi-exec":
		var commands [][]any
		if err = in.Decode(&commands); err == nil {
			out = s.several(r.Context(), commands, r.URL.Path == "/multi-exec")
		}
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]string{"error": "ERR " + err.Error()}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (s *restServer) several(ctx context.Context, commands [][]any, together bool) []answer {
	pipe := s.redis.Pipeline()
	if together {
		pipe = s.redis.TxPipeline()
	}
	var results []*redis.Cmd
	for _, command := range commands {
		results = append(results, pipe.Do(ctx, command...))
	}
	_, _ = pipe.Exec(ctx) // each has its own error
	answers := make([]answer, len(results))
	for i, result := range results {
		answers[i] = answerOf(result.Result())
	}
	return answers
}

func TestNative(t *testing.T) {
	t.Parallel()
	plugintest.RustTests(t, "kv-rest")
}

func TestStore(t *testing.T) {
	t.Parallel()
	module := plugintest.Rust(t, "kv-rest")
	server := startREST(t)

	t.Run("suite", func(t *testing.T) {
		var mu sync.Mutex
		stores := 0
		kvtest.Run(t, func(t *testing.T) kv.Store {
			mu.Lock()
			defer mu.Unlock()
			stores++
			return plugintest.Store(t, module, settings(server, map[string]any{"prefix": fmt.Sprintf("s%d:", stores), "timeout": "30s"}), granted(server))
		})
	})

	t.Run("what others wrote", func(t *testing.T) {
		t.Parallel()
		s := opened(t, module, server, nil)
		if err := server.redis.Set(t.Context(), "theirs", "100% \x01", 0).Err(); err != nil {
			t.Fatal(err)
		}
		items := []kv.Item{{Key: "theirs"}}
		if err := s.Get(t.Context(), items); err != nil || string(items[0].Value) != "100% \x01" {
			t.Errorf("%q, %v", items[0].Value, err)
		}
		if err := s.Set(t.Context(), []kv.Item{{Key: "mine", Value: []byte("ключ")}}); err != nil {
			t.Fatal(err)
		}
		if v, err := server.redis.Get(t.Context(), "mine").Result(); v != "ключ" || err != nil {
			t.Errorf("others read %q, %v", v, err)
		}
	})

	t.Run("without a grant", func(t *testing.T) {
		t.Parallel()
		s := opened(t, module, server, map[string]any{"url": "http://127.0.0.1:1"})
		if err := s.Get(t.Context(), []kv.Item{{Key: "k"}}); err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("error = %v", err)
		}
	})

	t.Run("a wrong token", func(t *testing.T) {
		t.Parallel()
		s := opened(t, module, server, map[string]any{"token": "guessed"})
		err := s.Get(t.Context(), []kv.Item{{Key: "k"}})
		if err == nil || !strings.Contains(err.Error(), "does not take the token") || strings.Contains(err.Error(), "guessed") {
			t.Errorf("error = %v", err)
		}
	})
}

// TestFaults: a server that is broken, does not answer or is gone is told promptly, and used again when it is back.
func TestFaults(t *testing.T) {
	t.Parallel()
	server := startREST(t)
	s := opened(t, plugintest.Rust(t, "kv-rest"), server, map[string]any{"timeout": "200ms"})
	works := func() bool { return s.Set(t.Context(), []kv.Item{{Key: "k", Value: []byte("v")}}) == nil }
	unavailable := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Get(ctx, []kv.Item{{Key: "k"}}); !errors.Is(err, kv.ErrUnavailable) || ctx.Err() != nil || !strings.Contains(err.Error(), `"plugin"`) {
			t.Errorf("%s: %v", when, err)
		}
	}
	testenv.Eventually(t, "the store works", works)

	server.status.Store(http.StatusServiceUnavailable)
	unavailable("503")
	server.status.Store(0)
	stuck := make(chan struct{})
	server.stuck.Store(&stuck)
	unavailable("no answer")
	server.stuck.Store(nil)
	close(stuck)
	testenv.Eventually(t, "the store works again", works)
	server.Close()
	unavailable("nobody listens")
}

func settings(s *restServer, more map[string]any) map[string]any {
	all := map[string]any{"url": s.URL, "token": token}
	for key, value := range more {
		all[key] = value
	}
	return all
}

func granted(s *restServer) plugintest.Setting {
	return func(m *wasmhost.ModuleConfig) {
		m.Allow.Net = []string{s.URL + "/*"}
		m.Limits.Wait = 30 * time.Second
		m.Instances.Max = 8
	}
}

func opened(t *testing.T, module string, server *restServer, more map[string]any) kv.Store {
	t.Helper()
	s := plugintest.Store(t, module, settings(server, more), granted(server))
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}
