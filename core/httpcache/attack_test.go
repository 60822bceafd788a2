package httpcache_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/internal/testenv"
)

// TestNobodyGetsWhatIsAnothers: requests of many kinds at once, to a target that writes into each answer for whom it is, and says in its
// headers, truly, who else may see it. Purges, refreshes, failures and clients that go away come in between.
func TestNobodyGetsWhatIsAnothers(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.MaxEntry, c.MaxHeld = 4096, 64<<10 }), func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get("Cookie") + r.Header.Get("Authorization")
		switch kind := strings.Trim(r.URL.Path, "/"); kind {
		case "public":
			answering(200, "for all", "Cache-Control", "public, max-age=60", "Cache-Tag", "t")(w, r)
		case "careless": // the browser's cache was meant
			answering(200, "for "+user, "Cache-Control", "max-age=60")(w, r)
		case "private":
			answering(200, "for "+user, "Cache-Control", "private, max-age=60", "Etag", fmt.Sprintf("%q", user))(w, r)
		case "session":
			answering(200, "for "+user, "Cache-Control", "public, max-age=60", "Set-Cookie", "session="+user)(w, r)
		case "vary":
			answering(200, "for "+user, "Cache-Control", "public, max-age=60", "Vary", "Cookie, Authorization")(w, r)
		case "stale":
			answering(200, "for "+user, "Cache-Control", "public, max-age=1, stale-while-revalidate=60, stale-if-error=60", "Date", aged(2), "Vary", "cookie", "Vary", "authorization")(w, r)
		case "checked":
			if r.Header.Get("If-None-Match") == `"`+user+`"` {
				answering(304, "", "Set-Cookie", "session="+user, "Etag", `"`+user+`"`)(w, r)
				return
			}
			answering(200, "for "+user, "Cache-Control", "no-cache", "Etag", `"`+user+`"`, "Vary", "Cookie, Authorization")(w, r)
		case "large":
			answering(200, "for "+user+strings.Repeat(" ", 5000), "Cache-Control", "public, max-age=60", "Vary", "Cookie, Authorization")(w, r)
		case "broken":
			w.Header().Set("Cache-Control", "public, max-age=1, stale-if-error=600")
			w.Header().Set("Date", aged(2))
			w.Header().Set("Vary", "Cookie, Authorization")
			io.WriteString(w, "for "+user)
			if rand.IntN(3) == 0 {
				panic(http.ErrAbortHandler)
			}
		case "host":
			answering(200, "for all at "+r.Host+r.Header.Get("X-Forwarded-Host"), "Cache-Control", "public, max-age=60")(w, r)
		}
	})
	kinds := []string{"public", "careless", "private", "session", "vary", "stale", "checked", "large", "broken", "host"}
	rounds := testenv.Count(300, 20_000)
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Go(func() {
			for i := range rounds {
				kind := kinds[rand.IntN(len(kinds))]
				host, user, headers := "e.com", "", []string{}
				switch rand.IntN(4) {
				case 0:
					user = fmt.Sprint("user=", rand.IntN(5))
					headers = append(headers, "Cookie", user)
				case 1:
					user = fmt.Sprint("Basic ", rand.IntN(5))
					headers = append(headers, "Authorization", user)
				}
				wanted := "for " + user
				switch kind {
				case "public":
					wanted = "for all"
				case "host":
					wanted = "for all at e.com"
					if rand.IntN(3) == 0 {
						headers, wanted = append(headers, "X-Forwarded-Host", "evil"), "for all at e.comevil"
					}
				}
				switch rand.IntN(12) {
				case 0:
					headers = append(headers, "Cache-Control", "no-cache")
				case 1:
					headers = append(headers, "Cache-Control", "max-stale")
				case 2:
					s.purge(httpcache.Purge{Tags: []string{"t"}})
				case 3:
					s.purge(httpcache.Purge{URLs: []string{"http://e.com/" + kind}})
				}
				r := request("GET", "http://"+host+"/"+kind, headers...)
				if rand.IntN(10) == 0 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(100))*time.Microsecond)
					defer cancel()
					r = r.WithContext(ctx)
				}
				body, cookies, aborted := s.try(r)
				if aborted {
					continue
				}
				if strings.TrimRight(body, " ") != strings.TrimRight(wanted, " ") {
					t.Errorf("client %d, request %d: %s as %q got %q", client, i, kind, user, body)
					return
				}
				for _, cookie := range cookies {
					if cookie != "session="+user {
						t.Errorf("client %d, request %d: %s as %q got the cookie %q", client, i, kind, user, cookie)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	st := s.cache.Stats()
	if st.Results["hit"] == 0 || st.Results["stale"] == 0 || st.Results["revalidated"] == 0 || st.Results["stale_error"] == 0 {
		t.Errorf("not everything was tried: %+v", st)
	}
}

// try makes a request whose answer may break off.
func (s *site) try(r *http.Request) (body string, cookies []string, aborted bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			aborted = true
		} else if p != nil {
			panic(p)
		}
	}()
	w := s.do(r)
	return w.Body.String(), w.Header()["Set-Cookie"], false
}

// TestOddURLs: spellings that a target can tell apart are apart, and none is taken for another's key.
func TestOddURLs(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoryStore(t), config(), func(w http.ResponseWriter, r *http.Request) {
		answering(200, r.Host+" "+r.URL.EscapedPath()+" "+r.URL.RawQuery, "Cache-Control", page, "Vary", "X-V")(w, r)
	})
	long := strings.Repeat("a", 300)
	for _, u := range []string{
		"http://e.com/", "http://e.com//", "http://e.com/a", "http://e.com/%61", "http://e.com/a/", "http://e.com/A", "http://e.com/a?", "http://e.com/a?b", "http://e.com/a?b=", "http://e.com/a%3Fb",
		"http://e.com/a%2Fb", "http://e.com/a/b", "http://e.com/%C3%A4", "http://e.com/%C3", "http://e.com/%A4", "http://e.com/%c3%a4", "http://e.com/%00", "http://e.com./", "http://e.com:8080/",
		"http://e.com/" + long, "http://e.com/" + long + "b", "http://e.com/?" + long, "http://e.com/?" + long + "&", "http://e.com/..", "http://e.com/a;b", "http://e.com/state",
	} {
		r := request("GET", u)
		w := s.do(r)
		if body := w.Body.String(); body != r.Host+" "+r.URL.EscapedPath()+" "+r.URL.RawQuery {
			t.Errorf("%s got %q", u, body)
		}
		wanted := "hit"
		if w = s.get(u); !strings.Contains(w.Header().Get("Cache-Status"), wanted) {
			t.Errorf("%s: %s", u, w.Header().Get("Cache-Status"))
		}
	}
	r := request("GET", "http://e.com/?a")
	r.URL.RawQuery = "a#b"
	want(t, s.do(r), 200, "e.com / a#b", "fwd=bypass; detail=malformed")
}
