package httpcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/internal/testenv"
)

// page is an answer for everybody.
const page = "public, max-age=600"

func (s *site) purge(p httpcache.Purge) {
	s.Helper()
	if _, err := s.cache.Purge(s.Context(), p); err != nil {
		s.Error(err)
	}
}

// TestPurge: by tag, URL, prefix and everything, and nothing else goes.
func TestPurge(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.IgnoreQuery = []string{"utm_*"} }), func(w http.ResponseWriter, r *http.Request) {
		tag := strings.Trim(r.URL.Path, "/")
		answering(200, "", "Cache-Control", page, "Vary", "X-V", "Cache-Tag", "all, "+tag, "Surrogate-Key", "s-"+tag+" x")(w, r)
	})
	long := "http://e.com/long/" + strings.Repeat("a", 500)
	urls := []string{"http://e.com/a", "http://e.com/a?p=1", "http://e.com/b", "https://e.com/a", "http://e.com/blog/1", "http://e.com/blog/2", "http://f.com/a", long}
	cached := func() (list string) {
		for _, u := range urls {
			r := request("GET", u, "Cache-Control", "only-if-cached")
			if strings.HasPrefix(u, "https:") {
				r.TLS = httptest.NewRequest("GET", u, nil).TLS
			}
			if s.do(r).Code == 200 {
				list += "1"
			} else {
				list += "0"
			}
		}
		return list
	}
	for _, c := range []struct {
		name  string
		purge httpcache.Purge
		left  string
	}{
		{"nothing yet", httpcache.Purge{Tags: []string{"other"}}, "11111111"},
		{"a tag", httpcache.Purge{Tags: []string{"a"}}, "00101101"},
		{"a surrogate key", httpcache.Purge{Tags: []string{"s-blog/1"}}, "11110111"},
		{"a tag of all", httpcache.Purge{Tags: []string{"nobody", "x"}}, "00000000"},
		{"a URL", httpcache.Purge{URLs: []string{"http://e.com/a"}}, "01101111"},
		{"a URL in other letters", httpcache.Purge{URLs: []string{"https://E.com:443/a?utm_source=x"}}, "01101111"},
		{"a URL with a query", httpcache.Purge{URLs: []string{"http://e.com/a?p=1"}}, "10111111"},
		{"a long URL", httpcache.Purge{URLs: []string{long}}, "11111110"},
		{"a prefix", httpcache.Purge{Prefixes: []string{"http://e.com/blog/"}}, "11110011"},
		{"a prefix of long URLs", httpcache.Purge{Prefixes: []string{long[:200]}}, "11111110"},
		{"a host", httpcache.Purge{Prefixes: []string{"http://e.com/"}}, "00000010"},
		{"everything", httpcache.Purge{All: true}, "00000000"},
	} {
		for _, u := range urls {
			s.do(plainOrTLS(u))
		}
		if got := cached(); got != "11111111" {
			t.Fatalf("%s: before there is %s", c.name, got)
		}
		s.purge(c.purge)
		if got := cached(); got != c.left {
			t.Errorf("%s: there is left %s, want %s", c.name, got, c.left)
		}
	}
	for _, p := range []httpcache.Purge{{}, {Tags: []string{""}}, {Tags: []string{"a,b"}}, {URLs: []string{"/a"}}, {URLs: []string{"ftp://e.com/"}}, {Prefixes: []string{"e.com"}}} {
		if _, err := s.cache.Purge(t.Context(), p); !errors.Is(err, httpcache.ErrPurge) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func plainOrTLS(u string) *http.Request {
	r := request("GET", u)
	r.TLS = httptest.NewRequest("GET", u, nil).TLS
	return r
}

// TestPurgeWhileFetching: what the target made before a purge is not served after it, by which server the purge came.
func TestPurgeWhileFetching(t *testing.T) {
	t.Parallel()
	store := memoryStore(t)
	elsewhere := newSite(t, store, config(), answering(200, "", "Cache-Control", page))
	for name, purge := range map[string]httpcache.Purge{
		"tag": {Tags: []string{"news"}}, "url": {URLs: []string{"http://e.com/"}}, "prefix": {Prefixes: []string{"http://e.com/"}}, "all": {All: true},
	} {
		for _, by := range []string{"here", "elsewhere"} {
			s := newSite(t, store, config(), nil)
			s.become(func(w http.ResponseWriter, r *http.Request) {
				if by == "here" {
					s.purge(purge)
				} else {
					elsewhere.purge(purge)
				}
				answering(200, "old", "Cache-Control", page, "Cache-Tag", "news")(w, r)
			})
			want(t, s.get("http://e.com/"), 200, "old", "")
			s.become(answering(200, "new", "Cache-Control", page, "Cache-Tag", "news"))
			want(t, s.get("http://e.com/"), 200, "new", "miss")
			want(t, s.get("http://e.com/"), 200, "new", "hit")
			s.purge(httpcache.Purge{All: true})
			if t.Failed() {
				t.Fatalf("%s, %s", name, by)
			}
		}
	}

	// A purge of something else does not matter.
	s := newSite(t, store, config(), nil)
	s.become(func(w http.ResponseWriter, r *http.Request) {
		s.purge(httpcache.Purge{Tags: []string{"sports"}})
		answering(200, "page", "Cache-Control", page, "Cache-Tag", "news")(w, r)
	})
	s.get("http://e.com/")
	want(t, s.get("http://e.com/"), 200, "page", "hit")

	// So many that nobody remembers them all do.
	s.become(func(w http.ResponseWriter, r *http.Request) {
		for i := range 70 {
			s.purge(httpcache.Purge{Tags: []string{fmt.Sprint(i)}})
		}
		answering(200, "page", "Cache-Control", page)(w, r)
	})
	s.get("http://e.com/2")
	want(t, s.get("http://e.com/2"), 200, "page", "miss")
}

// TestJoinAfterPurge: who asks after a purge does not get what another fetches since before it.
func TestJoinAfterPurge(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "", "Cache-Control", page))
	s.get("http://e.com/other") // now there is a state
	began, finish := make(chan struct{}), make(chan struct{})
	s.become(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-finish
		answering(200, "old", "Cache-Control", page)(w, r)
	})
	var wg sync.WaitGroup
	wg.Go(func() { want(t, s.get("http://e.com/"), 200, "old", "") })
	<-began
	s.purge(httpcache.Purge{URLs: []string{"http://e.com/"}})
	s.become(answering(200, "new", "Cache-Control", page))
	want(t, s.get("http://e.com/"), 200, "new", "uri-miss; stored")
	close(finish)
	wg.Wait()
	w := s.get("http://e.com/")
	if w.Body.String() != "new" {
		t.Errorf("after all there is %q", w.Body)
	}
}

// TestUnsafeMethods make what is stored void, unless they fail (RFC 9111, section 4.4).
func TestUnsafeMethods(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method   string
		status   int
		location string
		gone     bool
	}{
		{"POST", 200, "", true}, {"POST", 302, "", true}, {"POST", 404, "", false}, {"POST", 500, "", false}, {"PUT", 204, "", true}, {"DELETE", 0, "", true},
		{"OPTIONS", 200, "", false}, {"FROB", 200, "", true}, {"POST /other", 201, "/", true}, {"POST /other", 201, "http://e.com/", true},
		{"POST /other", 201, "http://evil.example/", false}, {"PURGE", 405, "", false},
	} {
		s := newSite(t, memoryStore(t), config(), func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == "GET":
				answering(200, "page", "Cache-Control", page)(w, r)
			case c.status != 0:
				answering(c.status, "", "Location", c.location)(w, r)
			}
		})
		s.get("http://e.com/")
		method, path, _ := strings.Cut(c.method, " ")
		if path == "" {
			path = "/"
		}
		s.do(request(method, "http://e.com"+path))
		if gone := s.get("http://e.com/", "Cache-Control", "only-if-cached").Code == 504; gone != c.gone {
			t.Errorf("%s, %d, Location %q: gone: %v", c.method, c.status, c.location, gone)
		}
	}
}

// TestMethodPurge is for those whom purge_from has.
func TestMethodPurge(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.PurgeFrom = []string{"192.0.2.0/24"} }), answering(200, "page", "Cache-Control", page))
	s.get("http://e.com/")
	from := func(addr string) int {
		r := request("PURGE", "http://e.com/")
		r.RemoteAddr = addr
		return s.do(r).Code
	}
	if status := from("198.51.100.1:1"); status != 403 {
		t.Error(status)
	}
	want(t, s.get("http://e.com/"), 200, "page", "hit")
	if status := from("192.0.2.1:1"); status != 204 {
		t.Error(status)
	}
	want(t, s.get("http://e.com/"), 200, "page", "miss")
}

// TestCoalescing: many clients that want the same make one request.
func TestCoalescing(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	s := newSite(t, memoryStore(t), config(), nil)
	s.become(func(w http.ResponseWriter, r *http.Request) {
		<-finish
		answering(200, "page", "Cache-Control", page, "Vary", "X-V")(w, r)
	})
	const clients = 50
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() { want(t, s.get("http://e.com/"), 200, "page", "") })
	}
	testenv.Eventually(t, "all but one wait", func() bool { return httpcache.Waiting(s.cache) == clients-1 })
	close(finish)
	wg.Wait()
	s.wantCalls(1)
	if n := s.cache.Stats().Results["collapsed"]; n != clients-1 {
		t.Errorf("%d were collapsed", n)
	}
}

// TestCoalescingOfWhatIsNotForAll: who waits for an answer that is another's fetches its own, and next time does not wait.
func TestCoalescingOfWhatIsNotForAll(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][]string{
		"private": {"Cache-Control", "private, max-age=60"}, "set-cookie": {"Cache-Control", page, "Set-Cookie", "a=b"}, "vary": {"Cache-Control", page, "Vary", "X-User"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			finish := make(chan struct{})
			s := newSite(t, memoryStore(t), config(), nil)
			s.become(func(w http.ResponseWriter, r *http.Request) {
				<-finish
				echoing("X-User", header...)(w, r)
			})
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					user := fmt.Sprint("user ", i)
					want(t, s.get("http://e.com/", "X-User", user), 200, user, "")
				})
			}
			testenv.Eventually(t, "all but one wait", func() bool { return httpcache.Waiting(s.cache) == 7 })
			close(finish)
			wg.Wait()
			s.wantCalls(8)
		})
	}
}

// TestCoalescingIsBounded: by how many wait, and for how long.
func TestCoalescingIsBounded(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	var slow atomic.Bool
	slow.Store(true)
	s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.MaxWaiting, c.Coalesce = 1, 50*time.Millisecond }), nil)
	s.become(func(w http.ResponseWriter, r *http.Request) {
		if slow.Swap(false) {
			<-finish
		}
		answering(200, "page", "Cache-Control", page)(w, r)
	})
	var wg sync.WaitGroup
	wg.Go(func() { want(t, s.get("http://e.com/"), 200, "page", "") })
	testenv.Eventually(t, "the first is on its way", func() bool { return s.calls.Load() == 1 })
	want(t, s.get("http://e.com/"), 200, "page", "uri-miss; stored") // it has waited long enough, and has its own
	close(finish)
	wg.Wait()
}

// TestLeaderGivesUp: when the one that fetches breaks off, another does it.
func TestLeaderGivesUp(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	var first atomic.Bool
	s := newSite(t, memoryStore(t), config(), nil)
	s.become(func(w http.ResponseWriter, r *http.Request) {
		if !first.Swap(true) {
			<-finish
			panic(http.ErrAbortHandler)
		}
		answering(200, "page", "Cache-Control", page)(w, r)
	})
	var wg sync.WaitGroup
	var aborted atomic.Int64
	for range 10 {
		wg.Go(func() {
			defer func() {
				if recover() == http.ErrAbortHandler {
					aborted.Add(1)
				}
			}()
			want(t, s.get("http://e.com/"), 200, "page", "")
		})
	}
	testenv.Eventually(t, "all but one wait", func() bool { return httpcache.Waiting(s.cache) == 9 })
	close(finish)
	wg.Wait()
	if aborted.Load() != 1 {
		t.Errorf("%d were aborted", aborted.Load())
	}
	s.wantCalls(2)
}

// TestRefresh: one request fetches anew in the background while all are served (RFC 5861, section 3).
func TestRefresh(t *testing.T) {
	t.Parallel()
	var held atomic.Int64
	s := newSite(t, memoryStore(t), config(), nil)
	s.become(answering(200, "old", "Cache-Control", "max-age=60, stale-while-revalidate=600", "Date", aged(100)))
	s.handler = s.cache.Middleware(httpcache.Route{Scope: "r", Hold: func() func() { held.Add(1); return func() { held.Add(-1) } }})(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.calls.Add(1)
			s.mu.Lock()
			target := s.target
			s.mu.Unlock()
			target(w, r)
		}))
	s.get("http://e.com/")
	finish := make(chan struct{})
	s.become(func(w http.ResponseWriter, r *http.Request) {
		<-finish
		if held.Load() != 1 {
			t.Error("the route is not held")
		}
		answering(200, "new", "Cache-Control", page)(w, r)
	})
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		want(t, s.do(request("GET", "http://e.com/").WithContext(ctx)), 200, "old", "hit; ttl=-")
		cancel() // the client is gone, the refresh goes on
	}
	close(finish)
	testenv.Eventually(t, "the new answer is there", func() bool { return s.get("http://e.com/").Body.String() == "new" })
	testenv.Eventually(t, "the route is let go", func() bool { return held.Load() == 0 })
	s.wantCalls(2)

	// A target that panics in the background harms nobody.
	s.purge(httpcache.Purge{All: true})
	s.become(answering(200, "old", "Cache-Control", "max-age=60, stale-while-revalidate=600", "Date", aged(100)))
	s.get("http://e.com/")
	s.become(func(http.ResponseWriter, *http.Request) { panic("oops") })
	want(t, s.get("http://e.com/"), 200, "old", "hit")
	testenv.Eventually(t, "the log says so", func() bool { return strings.Contains(s.log.String(), "oops") })
}

// TestStaleIfTheTargetBreaksOff: an answer that ends in the middle is as good as an error.
func TestStaleIfTheTargetBreaksOff(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "old", "Cache-Control", "max-age=60, stale-if-error=600", "Date", aged(100)))
	s.get("http://e.com/")
	s.become(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", page)
		io.WriteString(w, "hal")
		panic(http.ErrAbortHandler)
	})
	want(t, s.get("http://e.com/"), 200, "old", "stale-if-error")
}

// TestStreams pass through as they come. What ends, and says that it may be stored, is whole then; an event stream never is.
func TestStreams(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"text/plain", "text/event-stream"} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			testStream(t, contentType)
		})
	}
}

func testStream(t *testing.T, contentType string) {
	next := make(chan struct{})
	s := newSite(t, memoryStore(t), config(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", page)
		w.Header().Set("Content-Type", contentType)
		io.WriteString(w, "one ")
		http.NewResponseController(w).Flush()
		<-next
		io.WriteString(w, "two")
	})
	server := httptest.NewServer(s.handler)
	defer server.Close()
	for i := range 2 {
		res, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 && contentType == "text/plain" {
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != "one two" || err != nil || res.ContentLength != 7 {
				t.Errorf("%q, %d bytes announced, %v", body, res.ContentLength, err)
			}
			s.wantCalls(1)
			return
		}
		first := make([]byte, 4)
		if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "one " {
			t.Fatalf("%q, %v", first, err)
		}
		next <- struct{}{}
		rest, err := io.ReadAll(res.Body)
		if err != nil || string(rest) != "two" {
			t.Errorf("%q, %v", rest, err)
		}
		res.Body.Close()
	}
	s.wantCalls(2)
}

// TestLargeAnswers pass through, whether they say how large they are or not.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 10_000)
	for _, announced := range []bool{true, false} {
		s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.MaxEntry = 16 << 10 }), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", page)
			if announced {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			}
			io.Copy(w, strings.NewReader(body))
		})
		for range 2 {
			w := s.get("http://e.com/")
			if w.Body.String() != body {
				t.Errorf("%d bytes came", w.Body.Len())
			}
		}
		s.wantCalls(2)
	}
}

// TestMemoryIsBounded: beyond max_held answers pass through.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	var wrote atomic.Int64
	s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.MaxEntry, c.MaxHeld = 16<<10, 32<<10 }), nil)
	s.become(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", page)
		w.Write(make([]byte, 10<<10))
		wrote.Add(1)
		<-finish
	})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if w := s.get(fmt.Sprint("http://e.com/", i)); w.Body.Len() != 10<<10 {
				t.Errorf("%d bytes came", w.Body.Len())
			}
		})
	}
	testenv.Eventually(t, "all are on their way", func() bool { return wrote.Load() == 10 })
	if held := s.cache.Stats().Held; held > 32<<10 {
		t.Errorf("%d bytes are held", held)
	}
	close(finish)
	wg.Wait()
	if st := s.cache.Stats(); st.Skipped == 0 || st.Stored > 3 {
		t.Errorf("%+v", st)
	}
}

// TestIgnoredQuery: what makes no difference is not part of the key, and the target does not see it.
func TestIgnoredQuery(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.IgnoreQuery = []string{"utm_*", "ref"} }), func(w http.ResponseWriter, r *http.Request) {
		answering(200, r.URL.RawQuery+" "+r.RequestURI, "Cache-Control", page)(w, r)
	})
	want(t, s.get("http://e.com/?utm_source=<script>&a=1&ref=x&b"), 200, "a=1&b /?a=1&b", "miss")
	want(t, s.get("http://e.com/?a=1&b"), 200, "a=1&b /?a=1&b", "hit")
	want(t, s.get("http://e.com/?a=1&b&reference=1"), 200, "a=1&b&reference=1 ", "miss")
	want(t, s.get("http://e.com/?ref=1"), 200, " /", "miss")
}

// TestMiddlewareAround: headers that are written further out are theirs, for each request anew.
func TestMiddlewareAround(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "page", "Cache-Control", page, "X-Both", "target"))
	inner, n := s.handler, 0
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("X-Request-Id", fmt.Sprint(n))
		w.Header().Set("X-Both", "around")
		inner.ServeHTTP(w, r)
	})
	for i := 1; i < 4; i++ {
		if w := s.get("http://e.com/"); w.Header().Get("X-Request-Id") != fmt.Sprint(i) || w.Header().Get("X-Both") != "target" {
			t.Errorf("request %d: %v", i, w.Header())
		}
	}
	s.wantCalls(1)
}

// TestRoutesDoNotMeet: two routes that answer one URL, for different clients, say, share nothing; a purge is about both.
func TestRoutesDoNotMeet(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "main", "Cache-Control", page))
	main := s.handler
	beta := s.cache.Middleware(httpcache.Route{Scope: "beta"})(answering(200, "beta", "Cache-Control", page))
	for _, said := range []string{"miss", "hit", "miss"} {
		if said == "miss" {
			s.purge(httpcache.Purge{URLs: []string{"http://e.com/"}})
		}
		s.handler = main
		want(t, s.get("http://e.com/"), 200, "main", said)
		s.handler = beta
		want(t, s.get("http://e.com/"), 200, "beta", said)
	}
}

// TestEarlyHints pass, and are not part of what is stored.
func TestEarlyHints(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		w.Header().Del("Link")
		answering(200, "page", "Cache-Control", page)(w, r)
	})
	server := httptest.NewServer(s.handler)
	defer server.Close()
	for range 2 {
		res, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || res.Header.Get("Link") != "" {
			t.Errorf("%s, Link %q", res.Status, res.Header.Get("Link"))
		}
	}
	s.wantCalls(1)
}
