package httpcache_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/internal/origin"
	"github.com/edge-server/edge/internal/testenv"
)

// errorPages is a client that wants to know who has made its answer, as error pages do.
type errorPages struct {
	*httptest.ResponseRecorder
	answered, final bool
}

// Answered is told.
func (p *errorPages) Answered(final bool) {
	p.answered, p.final = true, p.final || final
}

func (s *site) ask(target string, headers ...string) *errorPages {
	s.Helper()
	p := &errorPages{ResponseRecorder: httptest.NewRecorder()}
	s.handler.ServeHTTP(p, request("GET", target, headers...))
	return p
}

// TestWhoHasMadeTheAnswer is known of what is stored, too, and of nothing more than of what was stored.
func TestWhoHasMadeTheAnswer(t *testing.T) {
	t.Parallel()
	for name, mark := range map[string]func(http.ResponseWriter){
		"the target": origin.Mark, "settled": origin.Settle, "the server": func(http.ResponseWriter) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			by := func(h http.HandlerFunc) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					mark(w)
					h(w, r)
				}
			}
			check := func(what string, p *errorPages, said string) {
				t.Helper()
				if want(t, p.ResponseRecorder, 404, "none", said); p.answered != (name != "the server") || p.final != (name == "settled") {
					t.Errorf("%s: answered by the target: %v, settled: %v", what, p.answered, p.final)
				}
			}
			s := newSite(t, memoryStore(t), config(), by(answering(404, "none", "Cache-Control", page)))
			check("miss", s.ask("http://e.com/"), "stored")
			check("hit", s.ask("http://e.com/"), "hit")

			s = newSite(t, memoryStore(t), config(), by(answering(404, "none", "Cache-Control", "no-cache", "Etag", `"1"`)))
			s.ask("http://e.com/")
			s.become(answering(304, "", "Cache-Control", page, "Etag", `"1"`))
			check("validated", s.ask("http://e.com/"), "fwd-status=304")
			check("hit after that", s.ask("http://e.com/"), "hit")

			s = newSite(t, memoryStore(t), config(), by(answering(404, "none", "Cache-Control", "max-age=60, stale-if-error=600", "Date", aged(100))))
			s.ask("http://e.com/")
			s.become(answering(502, "the server's"))
			check("stale-if-error", s.ask("http://e.com/"), "stale-if-error")

			finish := make(chan struct{})
			s = newSite(t, memoryStore(t), config(), by(func(w http.ResponseWriter, r *http.Request) {
				<-finish
				answering(404, "none", "Cache-Control", page)(w, r)
			}))
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { check("for two", s.ask("http://e.com/"), "") })
			}
			testenv.Eventually(t, "one waits", func() bool { return httpcache.Waiting(s.cache) == 1 })
			close(finish)
			wg.Wait()
			s.wantCalls(1)
		})
	}
}

// TestClientsSeeNoTags, whatever they ask for, and whatever the cache makes of it.
func TestClientsSeeNoTags(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		s := newSite(t, memoryStore(t), config(func(c *httpcache.Config) { c.KeepTags = keep }), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Tag", "news")
			w.Header().Set("Surrogate-Key", "news")
			if r.URL.Path == "/silent" {
				return
			}
			w.Header().Set("Cache-Control", page)
			w.Write([]byte("page"))
		})
		for _, ask := range [][]string{
			{"GET", "/"}, {"GET", "/"}, {"HEAD", "/"}, {"POST", "/"}, {"DELETE", "/silent"}, {"OPTIONS", "/"}, {"OPTIONS", "/silent"}, {"HEAD", "/other"},
			{"GET", "/other", "Range", "bytes=0-1"}, {"GET", "/", "X-Original-Url", "/admin"}, {"GET", "/silent", "Cache-Control", "no-store"},
			{"GET", "/", "Accept", "text/event-stream"}, {"GET", "/", "Authorization", "Basic x"},
		} {
			h := s.do(request(ask[0], "http://e.com"+ask[1], ask[2:]...)).Header()
			if seen := h.Get("Cache-Tag") != "" && h.Get("Surrogate-Key") != ""; seen != keep || !keep && (h["Cache-Tag"] != nil || h["Surrogate-Key"] != nil) {
				t.Errorf("%q with keep_tags: %v: %v", ask, keep, h)
			}
		}
	}
}
