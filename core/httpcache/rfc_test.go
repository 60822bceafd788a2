package httpcache_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/core/httpcache"
)

// TestStory: an answer that says for how long it is fresh is asked for once, and says what the cache did.
func TestStory(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "hello", "Cache-Control", "max-age=60", "Etag", `"1"`, "Connection", "X-Hop", "X-Hop", "1",
		"Cache-Tag", "a"))
	want(t, s.get("http://example.com/?a=1"), 200, "hello", "pages; fwd=uri-miss; stored")
	w := s.get("http://EXAMPLE.com:80/?a=1")
	want(t, w, 200, "hello", "pages; hit; ttl=")
	got := pairs(w.Header())
	delete(got, "Date")
	delete(got, "Cache-Status")
	if diff := cmp.Diff(map[string]string{
		"Age": "0", "Cache-Control": "max-age=60", "Etag": `"1"`, "Content-Length": "5", "Content-Type": "text/plain; charset=utf-8",
	}, got); diff != "" {
		t.Errorf("headers of the hit (-want +got):\n%s", diff)
	}
	want(t, s.get("http://example.com/?a=2"), 200, "hello", "fwd=uri-miss")
	want(t, s.get("http://example.org/?a=1"), 200, "hello", "fwd=uri-miss")
	s.wantCalls(3)
	if st := s.cache.Stats(); st.Stored != 3 || st.Results["hit"] != 1 || st.Results["miss"] != 3 {
		t.Errorf("stats: %+v", st)
	}
}

// TestWhatIsStored is sections 3 and 5.2.2 of RFC 9111: each answer is asked for twice, by requests with these headers.
func TestWhatIsStored(t *testing.T) {
	t.Parallel()
	const yes, no = true, false
	for _, c := range []struct {
		name     string
		request  []string
		status   int
		response []string
		stored   bool
		change   func(*httpcache.Config)
	}{
		{"nothing is said", nil, 200, nil, no, nil},
		{"a validator is no lifetime", nil, 200, []string{"Etag", `"1"`, "Last-Modified", aged(9999)}, no, nil},
		{"nothing is said and ttl is set", nil, 200, nil, yes, func(c *httpcache.Config) { c.TTL = time.Minute }},
		{"ttl does not outdo max-age=0", nil, 200, []string{"Cache-Control", "max-age=0"}, no, func(c *httpcache.Config) { c.TTL = time.Minute }},
		{"max-age", nil, 200, []string{"Cache-Control", "max-age=60"}, yes, nil},
		{"in any case", nil, 200, []string{"Cache-Control", "MAX-Age=60"}, yes, nil},
		{"quoted", nil, 200, []string{"Cache-Control", `max-age="60"`}, yes, nil},
		{"s-maxage outdoes max-age", nil, 200, []string{"Cache-Control", "max-age=0, s-maxage=60"}, yes, nil},
		{"s-maxage=0 outdoes max-age", nil, 200, []string{"Cache-Control", "max-age=60, s-maxage=0"}, no, nil},
		{"Expires", nil, 200, []string{"Expires", aged(-60)}, yes, nil},
		{"Expires that is over", nil, 200, []string{"Expires", aged(60)}, no, nil},
		{"Expires that is no date", nil, 200, []string{"Expires", "0"}, no, nil},
		{"max-age outdoes Expires", nil, 200, []string{"Expires", "0", "Cache-Control", "max-age=60"}, yes, nil},
		{"no-store", nil, 200, []string{"Cache-Control", "max-age=60, no-store"}, no, nil},
		{"no-store in a second line", nil, 200, []string{"Cache-Control", "max-age=60", "Cache-Control", "no-store"}, no, nil},
		{"private", nil, 200, []string{"Cache-Control", "private, max-age=60"}, no, nil},
		{"private for one header", nil, 200, []string{"Cache-Control", `private="x-user", max-age=60`}, no, nil},
		{"private within quotes", nil, 200, []string{"Cache-Control", `max-age=60, ext="private, no-store"`}, yes, nil},
		{"a quote without an end", nil, 200, []string{"Cache-Control", `max-age=60, ext="private`}, no, nil},
		{"no-cache without a validator", nil, 200, []string{"Cache-Control", "no-cache, max-age=60"}, no, nil},
		{"max-age that is no number", nil, 200, []string{"Cache-Control", "max-age=1h"}, no, nil},
		{"negative", nil, 200, []string{"Cache-Control", "max-age=-1"}, no, nil},
		{"two that differ", nil, 200, []string{"Cache-Control", "max-age=60, max-age=0"}, no, nil},
		{"a number beyond all", nil, 200, []string{"Cache-Control", "max-age=99999999999999999999"}, yes, nil},
		{"too old already", nil, 200, []string{"Cache-Control", "max-age=60", "Age", "61"}, no, nil},
		{"too old by its Date", nil, 200, []string{"Cache-Control", "max-age=60", "Date", aged(61)}, no, nil},
		{"Set-Cookie", nil, 200, []string{"Cache-Control", "public, max-age=60", "Set-Cookie", "a=b"}, no, nil},
		{"Set-Cookie, stored", nil, 200, []string{"Cache-Control", "public, max-age=60", "Set-Cookie", "a=b"}, yes, func(c *httpcache.Config) { c.SetCookie = "store" }},
		{"Vary: *", nil, 200, []string{"Cache-Control", "max-age=60", "Vary", "accept, *"}, no, nil},
		{"404", nil, 404, []string{"Cache-Control", "max-age=60"}, yes, nil},
		{"400", nil, 400, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"500", nil, 500, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"301", nil, 301, []string{"Cache-Control", "max-age=60", "Location", "/x"}, yes, nil},
		{"206", nil, 206, []string{"Cache-Control", "max-age=60", "Content-Range", "bytes 0-1/5"}, no, nil},
		{"an event stream", nil, 200, []string{"Cache-Control", "max-age=60", "Content-Type", "text/event-stream"}, no, nil},
		{"Authorization", []string{"Authorization", "Basic x"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"Authorization, public", []string{"Authorization", "Basic x"}, 200, []string{"Cache-Control", "max-age=60, public"}, yes, nil},
		{"Authorization, s-maxage", []string{"Authorization", "Basic x"}, 200, []string{"Cache-Control", "s-maxage=60"}, yes, nil},
		{"Authorization, must-revalidate", []string{"Authorization", "Basic x"}, 200, []string{"Cache-Control", "max-age=60, must-revalidate"}, yes, nil},
		{"Authorization and ttl", []string{"Authorization", "Basic x"}, 200, nil, no, func(c *httpcache.Config) { c.TTL = time.Minute }},
		{"Cookie", []string{"Cookie", "a=b"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"Cookie and ttl", []string{"Cookie", "a=b"}, 200, nil, no, func(c *httpcache.Config) { c.TTL = time.Minute }},
		{"Cookie, public", []string{"Cookie", "a=b"}, 200, []string{"Cache-Control", "max-age=60, public"}, yes, nil},
		{"Cookie, must-revalidate", []string{"Cookie", "a=b"}, 200, []string{"Cache-Control", "max-age=60, must-revalidate"}, no, nil},
		{"Cookie, ignored", []string{"Cookie", "a=b"}, 200, []string{"Cache-Control", "max-age=60"}, yes, func(c *httpcache.Config) { c.Cookies = "ignore" }},
		{"Cookie, bypass", []string{"Cookie", "a=b"}, 200, []string{"Cache-Control", "public, max-age=60"}, no, func(c *httpcache.Config) { c.Cookies = "bypass" }},
		{"no-store of the client", []string{"Cache-Control", "no-store"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"no-cache of the client", []string{"Cache-Control", "no-cache"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"Pragma", []string{"Pragma", "no-cache"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"max-age=0 of the client, who is not obeyed", []string{"Cache-Control", "max-age=0, no-cache"}, 200, []string{"Cache-Control", "max-age=60"}, yes,
			func(c *httpcache.Config) { c.ObeyClients = false }},
		{"min-fresh", []string{"Cache-Control", "min-fresh=120"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"max-age of the client", []string{"Cache-Control", "max-age=10"}, 200, []string{"Cache-Control", "max-age=60", "Age", "20"}, no, nil},
		{"Range", []string{"Range", "bytes=0-1"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"an upgrade", []string{"Connection", "upgrade", "Upgrade", "websocket"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"an override of the method", []string{"X-HTTP-Method-Override", "POST"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"another host, forwarded", []string{"X-Forwarded-Host", "evil.example"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"the same host, forwarded", []string{"X-Forwarded-Host", "example.com", "X-Forwarded-Proto", "http", "X-Forwarded-Port", "80", "Forwarded",
			"for=1.2.3.4;host=example.com;proto=http"}, 200, []string{"Cache-Control", "max-age=60"}, yes, nil},
		{"another scheme, forwarded", []string{"X-Forwarded-Proto", "https"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"another host in Forwarded", []string{"Forwarded", `for=1.2.3.4; Host="evil.example"`}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"another path", []string{"X-Original-URL", "/admin"}, 200, []string{"Cache-Control", "max-age=60"}, no, nil},
		{"too large", nil, 200, []string{"Cache-Control", "max-age=60", "X-Large", string(make60k())}, no, func(c *httpcache.Config) { c.MaxEntry = 4096 }},
		{"more tags than can be purged", nil, 200, []string{"Cache-Control", "max-age=60", "Cache-Tag", manyTags()}, no, nil},
		{"shorter than it says", nil, 200, []string{"Cache-Control", "max-age=60", "Content-Length", "50"}, no, nil},
		{"a trailer", nil, 200, []string{"Cache-Control", "max-age=60", "Trailer", "X-Sum"}, no, nil},
		{"a header of two lines", nil, 200, []string{"Cache-Control", "max-age=60", "X-Odd", "a\nSet-Cookie: b"}, no, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			change := c.change
			if change == nil {
				change = func(*httpcache.Config) {}
			}
			s := newSite(t, memoryStore(t), config(change), answering(c.status, "body", c.response...))
			for range 2 {
				if w := s.get("http://example.com/", c.request...); w.Code != c.status || w.Body.String() != "body" {
					t.Errorf("%d %q", w.Code, w.Body)
				}
			}
			if calls := s.calls.Load(); calls == 1 != c.stored {
				t.Errorf("the target was asked %d times; stored: %v expected", calls, c.stored)
			}
		})
	}
}

func make60k() []byte {
	b := make([]byte, 60<<10)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

func manyTags() string {
	list := ""
	for i := range 1000 {
		list += fmt.Sprintf("tag-%d,", i)
	}
	return list
}

// TestAge: an answer that was old when it came ages on (RFC 9111, section 4.2.3).
func TestAge(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "x", "Cache-Control", "max-age=600", "Age", "100", "Date", aged(30)))
	s.get("http://example.com/")
	w := s.get("http://example.com/")
	if age := w.Header().Get("Age"); age != "100" && age != "101" && len(age) != 3 {
		t.Errorf("Age is %s, want 100 or somewhat more", age)
	}
	if w.Header().Get("Date") != s.get("http://example.com/").Header().Get("Date") {
		t.Error("the Date changes")
	}
}

// TestVary: requests get the answer that was made for requests like them (RFC 9111, section 4.1).
func TestVary(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), echoing("Accept-Language", "Cache-Control", "max-age=60", "Vary", "accept-language"))
	for _, said := range []string{"uri-miss", "hit"} {
		want(t, s.get("http://e.com/", "Accept-Language", "de"), 200, "de", said)
	}
	for _, said := range []string{"vary-miss", "hit"} {
		want(t, s.get("http://e.com/", "Accept-Language", "fr"), 200, "fr", said)
		want(t, s.get("http://e.com/"), 200, "", said)
		want(t, s.get("http://e.com/", "Accept-Language", ""), 200, "", said) // it is there, and empty
	}
	want(t, s.get("http://e.com/", "Accept-Language", "DE"), 200, "de", "hit")
	s.wantCalls(4)

	// An answer that does not say what it differs by, of a URL whose answers do, is not one for all.
	s.become(answering(200, "plain", "Cache-Control", "max-age=60"))
	want(t, s.get("http://e.com/", "Accept-Language", "it"), 200, "plain", "vary-miss")
	want(t, s.get("http://e.com/", "Accept-Language", "de"), 200, "de", "hit")
	want(t, s.get("http://e.com/", "Accept-Language", "it"), 200, "plain", "hit")

	// One that differs by more makes all anew.
	s.become(echoing("X-User", "Cache-Control", "max-age=60", "Vary", "X-User"))
	want(t, s.get("http://e.com/", "Accept-Language", "es", "X-User", "ann"), 200, "ann", "vary-miss")
	want(t, s.get("http://e.com/", "Accept-Language", "es", "X-User", "bob"), 200, "bob", "vary-miss")
	want(t, s.get("http://e.com/", "Accept-Language", "de", "X-User", "bob"), 200, "bob", "vary-miss")
	want(t, s.get("http://e.com/", "Accept-Language", "es", "X-User", "ann"), 200, "ann", "hit")
}

// TestVaryOfTheConfiguration: answers that differ without saying so.
func TestVaryOfTheConfiguration(t *testing.T) {
	t.Parallel()
	c := config(func(c *httpcache.Config) { c.Vary, c.Cookies = []string{"cookie:theme", "x-device"}, "ignore" })
	s := newSite(t, memoryStore(t), c, func(w http.ResponseWriter, r *http.Request) {
		theme := ""
		if cookie, err := r.Cookie("theme"); err == nil {
			theme = cookie.Value
		}
		answering(200, theme+r.Header.Get("X-Device"), "Cache-Control", "max-age=60")(w, r)
	})
	for _, said := range []string{"miss", "hit"} {
		want(t, s.get("http://e.com/", "Cookie", "id=1; theme=dark"), 200, "dark", said)
		want(t, s.get("http://e.com/", "Cookie", "id=1; theme=light"), 200, "light", said)
		want(t, s.get("http://e.com/", "X-Device", "phone"), 200, "phone", said)
		want(t, s.get("http://e.com/"), 200, "", said)
	}
	want(t, s.get("http://e.com/", "Cookie", "theme=dark", "Cookie", "id=2"), 200, "dark", "hit")
}

// TestRevalidation: the target is asked whether what is stored has changed (RFC 9111, section 4.3).
func TestRevalidation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, validator, value, condition string }{
		{"ETag", "Etag", `"v1"`, "If-None-Match"},
		{"weak", "Etag", `W/"v1"`, "If-None-Match"},
		{"Last-Modified", "Last-Modified", aged(1000), "If-Modified-Since"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, memoryStore(t), config(), func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					t.Errorf("the target got %s", r.Method)
				}
				if r.Header.Get(c.condition) == c.value {
					answering(304, "", "X-New", "yes", c.validator, c.value)(w, r)
					return
				}
				answering(200, "body", "Cache-Control", "no-cache", c.validator, c.value, "X-New", "no", "Cache-Tag", "news")(w, r)
			})
			want(t, s.get("http://e.com/"), 200, "body", "stored")
			w := s.get("http://e.com/")
			want(t, w, 200, "body", "fwd=stale; fwd-status=304")
			if w.Header().Get("X-New") != "yes" {
				t.Error("headers of the 304 are not taken over")
			}
			want(t, s.get("http://e.com/", c.condition, c.value), 304, "", "fwd-status=304") // the client has it
			want(t, s.do(request("HEAD", "http://e.com/")), 200, "", "fwd-status=304")
			want(t, s.get("http://e.com/", "Range", "bytes=1-2"), 206, "od", "fwd-status=304")
			s.wantCalls(5)

			// The tag was in the first answer alone.
			if _, err := s.cache.Purge(t.Context(), httpcache.Purge{Tags: []string{"news"}}); err != nil {
				t.Fatal(err)
			}
			want(t, s.get("http://e.com/"), 200, "body", "uri-miss")
		})
	}
}

// TestRevalidationWithChange: the target has another answer, or another 304 than the one that was asked for.
func TestRevalidationWithChange(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "one", "Cache-Control", "no-cache", "Etag", `"1"`))
	s.get("http://e.com/")
	s.become(answering(200, "two", "Cache-Control", "no-cache", "Etag", `"2"`))
	want(t, s.get("http://e.com/"), 200, "two", "fwd=stale; fwd-status=200; stored")
	s.become(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			answering(304, "", "Etag", `"3"`)(w, r)
			return
		}
		answering(200, "three", "Cache-Control", "no-cache", "Etag", `"3"`)(w, r)
	})
	want(t, s.get("http://e.com/"), 200, "three", "fwd=stale; fwd-status=200; stored")
	s.become(answering(304, "", "Cache-Control", "private"))
	want(t, s.get("http://e.com/"), 200, "three", "fwd-status=304") // theirs, and nobody else's from now on
	s.become(answering(200, "four"))
	want(t, s.get("http://e.com/"), 200, "four", "fwd=uri-miss; detail=no-lifetime")
}

// TestCookiesOf304 go to the client for whom they are, and to nobody else.
func TestCookiesOf304(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"refuse", "strip"} {
		s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.SetCookie = mode }), answering(200, "page", "Cache-Control", "no-cache", "Etag", `"1"`))
		s.get("http://e.com/")
		s.become(answering(304, "", "Set-Cookie", "session=ann"))
		w := s.get("http://e.com/")
		want(t, w, 200, "page", "304")
		if got := w.Header()["Set-Cookie"]; len(got) != 1 || got[0] != "session=ann" {
			t.Errorf("%s: the client got the cookies %q", mode, got)
		}
		s.become(answering(304, ""))
		w = s.get("http://e.com/")
		want(t, w, 200, "page", "304")
		if got := w.Header()["Set-Cookie"]; len(got) != 0 {
			t.Errorf("%s: another client got the cookies %q", mode, got)
		}
	}
}

// TestStrippedCookies: the client whose request was the first gets the cookies, others do not.
func TestStrippedCookies(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.SetCookie = "strip" }),
		answering(200, "page", "Cache-Control", "public, max-age=60", "Set-Cookie", "session=ann"))
	if w := s.get("http://e.com/"); w.Header().Get("Set-Cookie") != "session=ann" {
		t.Error("the first client has no cookie")
	}
	if w := s.get("http://e.com/"); w.Header().Get("Set-Cookie") != "" {
		t.Error("the second client has the cookie of the first")
	}
	s.wantCalls(1)
}

// TestConditionsOfClients are answered from the store (RFC 9110, section 13).
func TestConditionsOfClients(t *testing.T) {
	t.Parallel()
	modified := aged(1000)
	s := newSite(t, memoryStore(t), config(), func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the target got %s", name)
			}
		}
		answering(200, "0123456789", "Cache-Control", "max-age=60", "Etag", `"a,b"`, "Last-Modified", modified, "Content-Type", "text/plain")(w, r)
	})
	want(t, s.get("http://e.com/", "If-None-Match", `"a,b"`), 304, "", "uri-miss; stored") // the first one, too
	for _, c := range []struct {
		name, value string
		status      int
		body        string
	}{
		{"If-None-Match", `"a,b"`, 304, ""},
		{"If-None-Match", `W/"a,b"`, 304, ""},
		{"If-None-Match", `"x", W/"y" , "a,b"`, 304, ""},
		{"If-None-Match", `*`, 304, ""},
		{"If-None-Match", `"a"`, 200, "0123456789"},
		{"If-None-Match", `a,b`, 200, "0123456789"},
		{"If-Modified-Since", modified, 304, ""},
		{"If-Modified-Since", aged(2000), 200, "0123456789"},
		{"If-Modified-Since", "yesterday", 200, "0123456789"},
		{"Range", "bytes=2-4", 206, "234"},
		{"Range", "bytes=-2", 206, "89"},
		{"Range", "bytes=20-", 416, "invalid range: failed to overlap\n"},
		{"Range", "lines=1-2", 200, "0123456789"},
		{"Range", "Bytes=2-4", 206, "234"},
	} {
		w := s.get("http://e.com/", c.name, c.value)
		want(t, w, c.status, c.body, "hit")
		if c.status == 304 && (w.Header().Get("Etag") == "" || w.Header().Get("Content-Length") != "" || w.Header().Get("Age") == "") {
			t.Errorf("headers of a 304: %v", w.Header())
		}
	}
	want(t, s.get("http://e.com/", "Range", "bytes=2-4", "If-Range", `"a,b"`), 206, "234", "hit")
	want(t, s.get("http://e.com/", "Range", "bytes=2-4", "If-Range", `"other"`), 200, "0123456789", "hit")
	w := s.do(request("HEAD", "http://e.com/"))
	want(t, w, 200, "", "hit")
	if w.Header().Get("Content-Length") != "10" {
		t.Errorf("HEAD has the Content-Length %s", w.Header().Get("Content-Length"))
	}
	s.wantCalls(1)
}

// TestHeadIsNotStored: an answer without a body must not become that of GET.
func TestHeadIsNotStored(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "body", "Cache-Control", "max-age=60"))
	w := s.do(request("HEAD", "http://e.com/"))
	if w.Header().Get("Cache-Status") != "pages; fwd=method" {
		t.Error(w.Header())
	}
	want(t, s.get("http://e.com/"), 200, "body", "uri-miss; stored")
	s.wantCalls(2)
}

// TestOnlyIfCached never asks the target.
func TestOnlyIfCached(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), answering(200, "body", "Cache-Control", "max-age=60"))
	if w := s.get("http://e.com/", "Cache-Control", "only-if-cached"); w.Code != 504 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.wantCalls(0)
	s.get("http://e.com/")
	want(t, s.get("http://e.com/", "Cache-Control", "only-if-cached"), 200, "body", "hit")
}

// TestStale is RFC 5861, and what forbids it.
func TestStale(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, control, client string
		failing               int // status of the target the second time
		status                int
		body, said            string
	}{
		{"if the target fails", "max-age=60, stale-if-error=600", "", 500, 200, "old", "hit; detail=stale-if-error"},
		{"if a gateway fails", "max-age=60, stale-if-error=600", "", 503, 200, "old", "hit; detail=stale-if-error"},
		{"not for long enough", "max-age=60, stale-if-error=10", "", 500, 500, "new", "fwd-status=500; detail=status"},
		{"not for a 404", "max-age=60, stale-if-error=600", "", 404, 404, "new", "fwd-status=404"},
		{"not if it must be revalidated", "max-age=60, stale-if-error=600, must-revalidate", "", 500, 500, "new", ""},
		{"if the client takes that", "max-age=60", "stale-if-error=600", 500, 200, "old", "stale-if-error"},
		{"not if the client may not", "max-age=60, must-revalidate", "stale-if-error=600", 500, 500, "new", ""},
		{"while it is revalidated", "max-age=60, stale-while-revalidate=600", "", 200, 200, "old", "hit; ttl=-"},
		{"with s-maxage, too", "s-maxage=60, stale-while-revalidate=600", "", 200, 200, "old", "hit; ttl=-"},
		{"as the client takes it", "max-age=60", "max-stale=600", 200, 200, "old", "hit; ttl=-"},
		{"as the client takes any", "max-age=60", "max-stale", 200, 200, "old", "hit; ttl=-"},
		{"older than the client takes", "max-age=60", "max-stale=10", 200, 200, "new", "fwd=stale"},
		{"not if it must not be", "max-age=60, proxy-revalidate", "max-stale", 200, 200, "new", "fwd=stale"},
		{"with no-cache", "max-age=60, no-cache, stale-while-revalidate=600", "", 200, 200, "new", "fwd=stale"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, memoryStore(t), config(), answering(200, "old", "Cache-Control", c.control, "Date", aged(100), "Etag", `"1"`))
			s.get("http://e.com/")
			s.become(answering(c.failing, "new", "Cache-Control", "max-age=0"))
			var headers []string
			if c.client != "" {
				headers = []string{"Cache-Control", c.client}
			}
			want(t, s.get("http://e.com/", headers...), c.status, c.body, c.said)
		})
	}
}
