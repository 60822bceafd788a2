package httpcache_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/internal/testenv"
)

// TestStoreThatFails: requests are served without it, the log has one line, and the store is used when it is back.
func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	store := &faulty{Front: memoryStore(t)}
	s := newSite(t, store, config(), answering(200, "page", "Cache-Control", page))
	s.get("http://e.com/")
	testenv.Eventually(t, "it is stored", func() bool { return s.cache.Stats().Stored == 1 })
	want(t, s.get("http://e.com/"), 200, "page", "hit")
	store.fail.Store(true)
	for range 20 {
		want(t, s.get("http://e.com/"), 200, "page", "fwd=uri-miss")
	}
	if n := strings.Count(s.log.String(), "its store fails"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, s.log)
	}
	if st := s.cache.Stats(); !st.Down || st.Errors == 0 {
		t.Errorf("%+v", st)
	}
	if _, err := s.cache.Purge(t.Context(), httpcache.Purge{All: true}); err == nil {
		t.Error("a purge says that it has worked")
	}
	store.fail.Store(false)
	testenv.Eventually(t, "the store is used again", func() bool { return strings.Contains(s.get("http://e.com/").Header().Get("Cache-Status"), "hit") })
	if n := strings.Count(s.log.String(), "its store is back"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, s.log)
	}
}

// TestStoreThatHangs: only those wait who ask before it is known, and no longer than timeout.
func TestStoreThatHangs(t *testing.T) {
	t.Parallel()
	store := &faulty{Front: memoryStore(t)}
	s := newSite(t, store, config(func(c *httpcache.Config) { c.Timeout = 20 * time.Millisecond }), answering(200, "page", "Cache-Control", page))
	store.hang.Store(true)
	began := time.Now()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { want(t, s.get("http://e.com/"), 200, "page", "") })
	}
	wg.Wait()
	for range 100 {
		want(t, s.get("http://e.com/"), 200, "page", "")
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("200 requests took %s", took)
	}
	if n := strings.Count(s.log.String(), "its store fails"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, s.log)
	}
}

// TestOwedInvalidations: what could not be made void while the store was away is when it is back.
func TestOwedInvalidations(t *testing.T) {
	t.Parallel()
	store := &faulty{Front: memoryStore(t)}
	s := newSite(t, store, config(), answering(200, "old", "Cache-Control", page))
	s.get("http://e.com/")
	testenv.Eventually(t, "it is stored", func() bool { return s.cache.Stats().Stored == 1 })
	store.fail.Store(true)
	if w := s.do(request("POST", "http://e.com/")); w.Code != 200 {
		t.Error(w.Code)
	}
	s.become(answering(200, "new", "Cache-Control", page))
	store.fail.Store(false)
	testenv.Eventually(t, "the new page is stored", func() bool {
		w := s.get("http://e.com/")
		return w.Body.String() == "new" && strings.Contains(w.Header().Get("Cache-Status"), "hit")
	})
}

// TestStopped: a cache that has stopped serves on, without its store.
func TestStopped(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "page", "Cache-Control", page))
	if err := s.cache.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, s.get("http://e.com/"), 200, "page", "")
	want(t, s.do(request("POST", "http://e.com/")), 200, "page", "")
	if strings.Contains(s.log.String(), "fails") {
		t.Errorf("log: %s", s.log)
	}
}
