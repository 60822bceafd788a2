package httpcache_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// site is a cache before a target that counts.
type site struct {
	testing.TB
	cache   *httpcache.Cache
	handler http.Handler
	log     *testenv.Log
	calls   atomic.Int64

	mu     sync.Mutex // protects target
	target http.HandlerFunc
}

// memoryStore is a store as the server has it.
func memoryStore(t testing.TB) *kv.Front {
	t.Helper()
	driver, err := memory.New(kv.Config{}.Defaults().(kv.Config).Memory())
	if err != nil {
		t.Fatal(err)
	}
	store := kv.Wrap("pages", driver, kv.DefaultLimits())
	t.Cleanup(func() { store.Close(context.Background()) })
	return store
}

func config(change ...func(*httpcache.Config)) httpcache.Config {
	c := httpcache.Config{}.Defaults().(httpcache.Config)
	c.Store = "pages"
	for _, f := range change {
		f(&c)
	}
	return c
}

func newSite(t testing.TB, store httpcache.Store, c httpcache.Config, target http.HandlerFunc) *site {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s := &site{TB: t, log: &testenv.Log{}, target: target}
	var err error
	s.cache, err = httpcache.New(c, httpcache.Options{Name: "pages", Store: store, Logger: slog.New(slog.NewJSONHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.cache.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if held := s.cache.Stats().Held; held != 0 {
			t.Errorf("%d bytes are held after the end", held)
		}
	})
	s.handler = s.cache.Middleware(httpcache.Route{Scope: "route"})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		s.mu.Lock()
		target := s.target
		s.mu.Unlock()
		target(w, r)
	}))
	return s
}

// become puts another target behind the cache.
func (s *site) become(target http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = target
}

// request makes one; headers are pairs.
func request(method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.RequestURI = ""
	u := *r.URL
	u.Scheme, u.Host = "", ""
	r.URL = &u
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func (s *site) do(r *http.Request) *httptest.ResponseRecorder {
	s.Helper()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// get asks for a URL, and fails if the answer is not what it should be: a status, a body, and whether it came from the store.
func (s *site) get(target string, headers ...string) *httptest.ResponseRecorder {
	s.Helper()
	return s.do(request("GET", target, headers...))
}

// want looks at an answer. said is a part of Cache-Status.
func want(t testing.TB, w *httptest.ResponseRecorder, status int, body, said string) {
	t.Helper()
	if got := w.Header().Get("Cache-Status"); w.Code != status || w.Body.String() != body || !strings.Contains(got, said) {
		t.Errorf("the answer is %d %q with Cache-Status %q; want %d %q with %q in it", w.Code, w.Body, got, status, body, said)
	}
}

func (s *site) wantCalls(n int64) {
	s.Helper()
	if got := s.calls.Load(); got != n {
		s.Errorf("the target was asked %d times, want %d", got, n)
	}
}

// answering is a target that says the same always; headers are pairs.
func answering(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// echoing is a target that answers with a header of the request.
func echoing(name string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answering(200, r.Header.Get(name), headers...)(w, r)
	}
}

// aged is a Date so many seconds ago, by which an answer is old when it comes.
func aged(seconds int) string {
	return time.Now().Add(-time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)
}

// faulty is a store that can be made to fail, or to hang until its caller loses patience.
type faulty struct {
	*kv.Front
	hang, fail atomic.Bool
	calls      atomic.Int64
}

// Unwrap hides that the store looks into memory.
func (f *faulty) Unwrap() kv.Store { return nil }

func (f *faulty) trouble(ctx context.Context) error {
	f.calls.Add(1)
	if f.hang.Load() {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if f.fail.Load() {
		return kv.ErrUnavailable
	}
	return nil
}

func (f *faulty) Get(ctx context.Context, items []kv.Item) error {
	if err := f.trouble(ctx); err != nil {
		return err
	}
	return f.Front.Get(ctx, items)
}

func (f *faulty) Set(ctx context.Context, items []kv.Item) error {
	if err := f.trouble(ctx); err != nil {
		return err
	}
	return f.Front.Set(ctx, items)
}

func (f *faulty) Add(ctx context.Context, items []kv.Item) error {
	if err := f.trouble(ctx); err != nil {
		return err
	}
	return f.Front.Add(ctx, items)
}

func (f *faulty) Update(ctx context.Context, key string, change func(kv.Item) (kv.Item, error)) error {
	if err := f.trouble(ctx); err != nil {
		return err
	}
	return f.Front.Update(ctx, key, change)
}

func (f *faulty) Delete(ctx context.Context, items []kv.Item) error {
	if err := f.trouble(ctx); err != nil {
		return err
	}
	return f.Front.Delete(ctx, items)
}

// pairs is a header as a map of texts, for comparison.
func pairs(h http.Header) map[string]string {
	m := map[string]string{}
	for name := range maps.Keys(h) {
		m[name] = strings.Join(h[name], " | ")
	}
	return m
}
