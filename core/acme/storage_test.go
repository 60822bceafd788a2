package acme

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// shared is a Store in memory.
type shared struct {
	mu     sync.Mutex
	values map[string][]byte
	until  map[string]time.Time
}

func newShared() *shared {
	return &shared{values: map[string][]byte{}, until: map[string]time.Time{}}
}

func (s *shared) Load(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	return v, ok, nil
}

func (s *shared) Save(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = slices.Clone(value)
	return nil
}

func (s *shared) Remove(_ context.Context, keys ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.values, key)
	}
	return nil
}

func (s *shared) Keys(_ context.Context, prefix string) (keys []string, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.values {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (s *shared) Claim(_ context.Context, key, owner string, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.values[key]; ok && string(v) != owner && time.Now().Before(s.until[key]) {
		return false, nil
	}
	s.values[key], s.until[key] = []byte(owner), time.Now().Add(ttl)
	return true, nil
}

func (s *shared) Yield(_ context.Context, key, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(s.values[key]) == owner {
		delete(s.values, key)
	}
	return nil
}

// expire ends what a server that died has claimed.
func (s *shared) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.until)
}

func TestStorage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	// The same for both, file by file: certmagic's own is the measure.
	for name, s := range map[string]certmagic.Storage{"files": newFiles(testenv.Dir(t)), "store": newStorage(newShared())} {
		for _, key := range []string{"a/b/c.key", "a/b/d.key", "a/bc", "top"} {
			if err := s.Store(ctx, key, []byte(key)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		list := func(path string, recursive bool, want ...string) {
			t.Helper()
			got, err := s.List(ctx, path, recursive)
			slices.Sort(got)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: List(%q, %t) = %q, %v; want %q", name, path, recursive, got, err, want)
			}
		}
		list("a", false, "a/b", "a/bc")
		list("a/b", false, "a/b/c.key", "a/b/d.key")
		list("a", true, "a/b", "a/b/c.key", "a/b/d.key", "a/bc")
		if v, err := s.Load(ctx, "a/bc"); err != nil || string(v) != "a/bc" {
			t.Errorf("%s: Load: %q, %v", name, v, err)
		}
		if info, err := s.Stat(ctx, "a/b"); err != nil || info.IsTerminal {
			t.Errorf("%s: Stat of a folder: %+v, %v", name, info, err)
		}
		if info, err := s.Stat(ctx, "a/bc"); err != nil || !info.IsTerminal || info.Size != 4 {
			t.Errorf("%s: Stat: %+v, %v", name, info, err)
		}
		if _, err := s.List(ctx, "none", false); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: List of nothing: %v", name, err)
		}
		if err := s.Delete(ctx, "a/b"); err != nil || s.Exists(ctx, "a/b/c.key") || !s.Exists(ctx, "a/bc") || !s.Exists(ctx, "a") {
			t.Errorf("%s: Delete of a folder: %v", name, err)
		}
		if _, err := s.Load(ctx, "a/b/c.key"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: Load of what was deleted: %v", name, err)
		}
		if err := s.Delete(ctx, "never/was"); err != nil {
			t.Errorf("%s: Delete of nothing: %v", name, err)
		}
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	store := newShared()
	for name, pair := range map[string][2]certmagic.Storage{
		"two servers": {newStorage(store), newStorage(store)}, "one server": {nil, newStorage(newShared())}, "files": {nil, newFiles(testenv.Dir(t))},
	} {
		a, b := pair[0], pair[1]
		if a == nil {
			a = b
		}
		if err := a.Lock(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := b.Lock(short, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the lock is held twice: %v", name, err)
		}
		cancel()
		taken := make(chan error, 1)
		go func() { taken <- b.Lock(t.Context(), "x") }()
		if err := a.Unlock(t.Context(), "x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-taken; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := b.Unlock(t.Context(), "x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLockOfADeadServer(t *testing.T) {
	t.Parallel()
	store := newShared()
	dead, heir := newStorage(store), newStorage(store)
	if err := dead.Lock(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	dead.held["x"]() // it renews nothing any more
	store.expire()
	if err := heir.Lock(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if err := dead.Unlock(t.Context(), "x"); err != nil {
		t.Errorf("a late unlock: %v", err)
	}
	if taken, _ := newStorage(store).TryLock(t.Context(), "x"); taken {
		t.Error("a late unlock gave the lock of the heir away")
	}
	if err := heir.Unlock(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"email: ":          {Email: "nobody"},
		"ca: ":             {CA: "http://ca.example.com"},
		"eab: ":            {EAB: EAB{KeyID: "1"}},
		"is a pattern":     {Domains: []string{"*.example.com"}},
		"is no host name":  {Domains: []string{"a b"}},
		"challenges[0]: ":  {Challenges: []string{"dns-01"}},
		"on_demand.ask: ":  {OnDemand: &OnDemand{}},
		"domains[1]: \"\"": {Domains: []string{"a.example.com", ""}},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := New(Config{}, Options{Logger: slog.New(slog.DiscardHandler), Hosts: []string{"localhost", "*.example.com", "10.0.0.1"}}); err == nil {
		t.Error("a manager without a name")
	}
	if got := Names([]string{"A.example.com.", "localhost", "x.internal", "::1", "b.example.com", "a.example.com", "*.c.example.com"}); !slices.Equal(got, []string{"a.example.com", "b.example.com"}) {
		t.Errorf("got %q", got)
	}
}
