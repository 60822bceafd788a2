package kv_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestStory is what a PHP client does: set, get, ask for the time to live, delete, clear.
func TestStory(t *testing.T) {
	t.Parallel()
	s := setup(t)
	soon := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05+00:00")

	s.call("Set", msg("a", "1", ""), msg("b", "2", soon))
	s.wantItems("MGet", items("a"), msg("a", "1", ""))
	s.wantItems("MGet", items("b", "missing", "a"), msg("b", "2", ""), msg("a", "1", ""))
	s.wantItems("Has", items("missing", "b"), msg("b", "", ""))
	s.wantItems("TTL", items("a", "b", "missing"), msg("a", "", ""), msg("b", "", soon))

	s.call("MExpire", msg("a", "", soon), msg("missing", "", soon))
	s.wantItems("TTL", items("a"), msg("a", "", soon))
	s.wantItems("MGet", items("a", "missing"), msg("a", "1", ""))

	s.call("Delete", items("a", "missing")...)
	s.wantItems("MGet", items("a", "b"), msg("b", "2", ""))
	s.call("Clear")
	s.wantItems("Has", items("a", "b"))
}

// TestPastTimeouts: neither a set nor an expiry in the past leaves a value behind, in whatever zone it is written.
func TestPastTimeouts(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, past := range []string{"2001-01-01T00:00:00Z", "2001-01-01T00:00:00+00:00", "1969-12-31T23:59:59+01:00", "2001-01-01T00:00:00.5Z",
		"0001-01-01T00:00:00Z"} {
		s.call("Set", msg("a", "1", ""), msg("b", "1", ""))
		s.call("Set", msg("a", "2", past))
		s.call("MExpire", msg("b", "", past))
		s.wantItems("Has", items("a", "b"))
	}
}

// TestTTLIsRoundedUp, since PHP reads no fractions and a key that lives must not be said to be over.
func TestTTLIsRoundedUp(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.call("Set", msg("a", "1", "2100-01-01T00:00:00.001Z"), msg("b", "1", "2100-01-01T02:00:00+02:00"))
	s.wantItems("TTL", items("a", "b"), msg("a", "", "2100-01-01T00:00:01+00:00"), msg("b", "", "2100-01-01T00:00:00+00:00"))

	// In UTC this is a year of five digits, which PHP does not read.
	s.call("Set", msg("a", "1", "9999-12-31T23:59:59-12:00"))
	s.wantItems("TTL", items("a"), msg("a", "", "9999-12-31T23:59:59+00:00"))
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	s := setup(t)
	cases := []struct {
		method, storage string
		items           []kv.Message
		want            string
	}{
		{"Has", "nope", items("a"), "rpc_has: no such storage: nope (there are: main)"},
		{"Set", "nope", items("a"), "rpc_set: no such storage: nope (there are: main)"},
		{"MGet", "nope", items("a"), "rpc_mget: no such storage: nope (there are: main)"},
		{"MExpire", "nope", items("a"), "rpc_mexpire: no such storage: nope (there are: main)"},
		{"TTL", "nope", items("a"), "rpc_ttl: no such storage: nope (there are: main)"},
		{"Delete", "nope", items("a"), "rcp_delete: no such storage: nope (there are: main)"},
		{"Clear", "nope", nil, "rcp_delete: no such storage: nope (there are: main)"},
		{"Has", "", items("a"), "rpc_has: no storage provided"},
		{"Clear", "", nil, "rcp_delete: no storage provided"},
		{"Set", "", items("a"), "rpc_set: no such storage:  (there are: main)"},
		{"Has", "main", nil, "rpc_has: should provide at least 1 key"},
		{"MGet", "main", items("a", " \t"), "rpc_mget: key can't be empty string"},
		{"Set", "main", []kv.Message{msg("a", "1", ""), msg("b", "1", "tomorrow")}, `rpc_set: timeout of key "b" is not an RFC 3339 time: "tomorrow"`},
		{"MExpire", "main", items("a"), "rpc_mexpire: timeout for MExpire is empty"},
	}
	for _, c := range cases {
		_, err := s.try(c.method, c.storage, c.items...)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s on %q: %v, want %s", c.method, c.storage, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "_plugin_ttl") {
			t.Errorf("%s: PHP would read %q as a driver without TTL", c.method, err)
		}
	}
	// The batch with a bad timeout was refused as a whole.
	s.wantItems("Has", items("a"))
}

// TestAnswerIsBounded: naming one key many times must not cost memory without end.
func TestAnswerIsBounded(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.call("Set", msg("a", strings.Repeat("x", 1<<20), ""))
	keys := make([]string, 129)
	for i := range keys {
		keys[i] = "a"
	}
	if _, err := s.try("MGet", "main", items(keys...)...); err == nil || !strings.Contains(err.Error(), "more than 128 MiB") {
		t.Errorf("MGet of 129 MiB: %v, want a refusal", err)
	}
	if got := s.call("MGet", items(keys[:100]...)...); len(got) != 100 {
		t.Errorf("MGet of 100 MiB gave %d items", len(got))
	}
}

// TestUnsupportedTTL has the word that PHP looks for.
func TestUnsupportedTTL(t *testing.T) {
	t.Parallel()
	service := kv.NewService(map[string]kv.Store{"main": noTTL{}})
	req, _ := service.NewRequest("TTL")
	*req.(*kv.Request) = kv.Request{Storage: "main", Items: items("a")}
	_, err := service.Call(t.Context(), "TTL", req)
	if !errors.Is(err, kv.ErrUnsupported) || !strings.Contains(err.Error(), "_plugin_ttl") {
		t.Errorf("TTL: %v, want %v with _plugin_ttl", err, kv.ErrUnsupported)
	}
}

type noTTL struct{ kv.Store }

func (noTTL) Can() kv.Can     { return 0 }
func (noTTL) Stats() kv.Stats { return kv.Stats{Driver: "test"} }

func (noTTL) TTL(context.Context, []kv.Item) error { return kv.ErrUnsupported }

func TestUnknownMethod(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Obtain", "has", "", "MGet "} {
		if _, ok := setup(t).service.NewRequest(name); ok {
			t.Errorf("there is a method %q", name)
		}
	}
}

// TestReusedRequestIsClean: what one caller asked must never show up in the request of the next.
func TestReusedRequestIsClean(t *testing.T) {
	t.Parallel()
	s := setup(t)
	wire := (&kv.Request{Storage: "main", Items: kv.Messages{msg("a", "secret", "2100-01-01T00:00:00Z")}}).AppendProto(nil)
	for range 100 {
		req, _ := s.service.NewRequest("Set")
		r := req.(*kv.Request)
		if r.Storage != "" || len(r.Items) != 0 {
			t.Fatalf("fresh request holds %+v", r)
		}
		if err := r.ParseProto(wire); err != nil {
			t.Fatal(err)
		}
		resp, err := s.service.Call(t.Context(), "Set", req)
		if err != nil {
			t.Fatal(err)
		}
		s.service.Release(req, resp)
	}
}

// TestSnapshotsAreNotShared: the second store would replace what the first has written.
func TestSnapshotsAreNotShared(t *testing.T) {
	t.Parallel()
	stores := map[string]kv.Config{"a": {Snapshot: "/x/data"}, "b": {Snapshot: "/x/./data"}, "c": {Snapshot: "/x/other"}, "d": {}, "e": {}}
	if err := kv.ValidateTogether(stores); err == nil || !strings.HasPrefix(err.Error(), `b.snapshot: the store "a" writes`) {
		t.Errorf("two stores with one snapshot: %v", err)
	}
	delete(stores, "b")
	if err := kv.ValidateTogether(stores); err != nil {
		t.Error(err)
	}
}

// TestStoresHaveNamesForPaths: the admin API has them in its paths.
func TestStoresHaveNamesForPaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{".", "..", "a/b"} {
		if err := kv.ValidateTogether(map[string]kv.Config{name: {}}); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("a store called %q: %v", name, err)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := kv.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	for want, change := range map[string]func(*kv.Config){
		"mode: \"lru\" is unknown":               func(c *kv.Config) { c.Mode = "lru" },
		"max_size: a cache needs a size":         func(c *kv.Config) { c.Mode, c.MaxSize = kv.ModeCache, 0 },
		"mode: only a memory store":              func(c *kv.Config) { c.Driver, c.Mode = "redis", kv.ModeCache },
		"snapshot: only a memory store":          func(c *kv.Config) { c.Driver, c.Snapshot = "redis", "file" },
		"prefix: must be at most 256 bytes":      func(c *kv.Config) { c.Prefix = strings.Repeat("p", 257) },
		"limits.max_key: must be between":        func(c *kv.Config) { c.Limits.MaxKey = 0 },
		"limits.max_value: must be between":      func(c *kv.Config) { c.Limits.MaxValue = -1 },
		"limits.max_items: must be between":      func(c *kv.Config) { c.Limits.MaxItems = 1 << 20 },
		"local_cache: a memory store is as near": func(c *kv.Config) { c.LocalCache = &kv.LocalCache{MaxSize: 1 << 20, TTL: time.Second} },
		"local_cache.ttl: must be between":       func(c *kv.Config) { c.Driver, c.LocalCache = "redis", &kv.LocalCache{MaxSize: 1 << 20} },
		"local_cache.max_size: must be at least": func(c *kv.Config) { c.Driver, c.LocalCache = "redis", &kv.LocalCache{TTL: time.Second} },
	} {
		c := kv.DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate says %v, want %q", err, want)
		}
	}
	bad := kv.Config{Driver: "memroy", MaxSize: -1}
	err := bad.Validate()
	if err == nil {
		t.Fatal("a config with two mistakes was accepted")
	}
	for _, want := range []string{`driver: "memroy" is not a driver of this build; write one of: memory`, "max_size: must be 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Validate says %v, want %q in it", err, want)
		}
	}
}

// BenchmarkGet is what a get costs between the frame that was read and the frame to be written.
func BenchmarkGet(b *testing.B) {
	s := setup(b)
	s.call("Set", msg("cart:7", strings.Repeat("x", 256), ""))
	wire := (&kv.Request{Storage: "main", Items: items("cart:7")}).AppendProto(nil)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		req, _ := s.service.NewRequest("MGet")
		if err := req.(*kv.Request).ParseProto(wire); err != nil {
			b.Fatal(err)
		}
		resp, err := s.service.Call(b.Context(), "MGet", req)
		if err != nil {
			b.Fatal(err)
		}
		out = resp.(*kv.Response).AppendProto(out[:0])
		s.service.Release(req, resp)
	}
}

type fixture struct {
	testing.TB
	service *kv.Service
	store   kv.Store
}

func setup(t testing.TB) *fixture {
	t.Helper()
	store, err := memory.New(kv.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &fixture{TB: t, service: kv.NewService(map[string]kv.Store{"main": store}), store: store}
}

func (f *fixture) try(method, storage string, list ...kv.Message) ([]kv.Message, error) {
	req, ok := f.service.NewRequest(method)
	if !ok {
		f.Fatalf("no method %s", method)
	}
	r := req.(*kv.Request)
	r.Storage, r.Items = storage, append(r.Items, list...)
	resp, err := f.service.Call(f.Context(), method, req)
	var got []kv.Message
	if err == nil {
		got = append(got, resp.(*kv.Response).Items...)
	}
	f.service.Release(req, resp)
	return got, err
}

func (f *fixture) call(method string, list ...kv.Message) []kv.Message {
	f.Helper()
	got, err := f.try(method, "main", list...)
	if err != nil {
		f.Fatalf("%s: %v", method, err)
	}
	return got
}

func (f *fixture) wantItems(method string, list []kv.Message, want ...kv.Message) {
	f.Helper()
	if diff := cmp.Diff(want, f.call(method, list...), sameItems); diff != "" {
		f.Errorf("%s (-want +got):\n%s", method, diff)
	}
}

func msg(key, value, timeout string) kv.Message {
	return kv.Message{Key: key, Value: []byte(value), Timeout: timeout}
}

func items(keys ...string) []kv.Message {
	var list []kv.Message
	for _, k := range keys {
		list = append(list, kv.Message{Key: k})
	}
	return list
}
