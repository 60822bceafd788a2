package core_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// cachedApp counts how often it was asked, and purges when something is posted.
const cachedApp = `<?php
require '%s/sdk/php/autoload.php';

use Edge\Http\{Request, Response, Worker};
use Edge\HttpCache;

$asked = [];
(new Worker())->serve(function (Request $request) use (&$asked): Response {
    $n = $asked[$request->path] = ($asked[$request->path] ?? 0) + 1;
    $headers = ['Content-Type' => 'text/html'];
    switch (true) {
        case str_starts_with($request->path, '/article/'):
            $headers += HttpCache::headers(maxAge: 300, tags: ['news', 'article-' . basename($request->path)]);
            break;
        case $request->path === '/me':
            return new Response(200, ['Cache-Control' => 'max-age=300'], 'hello ' . ($request->cookies['user'] ?? 'nobody'));
        case $request->path === '/checked':
            if ($request->header('If-None-Match') === '"v1"') {
                return new Response(304, ['ETag' => '"v1"', 'X-Asked' => (string) $n]);
            }
            return new Response(200, ['ETag' => '"v1"', 'Cache-Control' => 'no-cache'], 'checked');
        case $request->path === '/stream':
            return new Response(200, ['Cache-Control' => 'public, max-age=300'], (static function () use ($n) {
                yield "stream $n";
                yield " ends";
            })());
        case $request->path === '/slow':
            usleep(300_000);
            $headers += HttpCache::headers(maxAge: 300);
            break;
        case $request->path === '/edit':
            (new HttpCache('pages'))->purgeTags(...explode(',', $request->query['tags']));
            return Response::text('purged');
        case $request->path === '/wrong':
            try {
                (new HttpCache($request->query['cache'] ?? ''))->purgeUrls('no URL');
            } catch (Edge\Exception\HttpCacheException $e) {
                return Response::text($e->getMessage());
            }
    }
    return new Response(200, $headers, "$request->path $n");
});
`

// cachedSite starts a server whose PHP is cached in a store.
func cachedSite(t testing.TB, store string) *edgetest.Server {
	t.Helper()
	return edgetest.Start(t, cachedConfig(t, store, ""), func(dir string) {
		app := fmt.Sprintf(cachedApp, testenv.Root(t))
		if err := os.WriteFile(filepath.Join(dir, "app.php"), []byte(app), 0o644); err != nil {
			t.Fatal(err)
		}
	})
}

func cachedConfig(t testing.TB, store, more string) string {
	return fmt.Sprintf(`
kv: {pages: %s}
rpc: {listen: unix}
php: {app: {command: [%s, app.php], user: %s, workers: {min: 1, max: 1}}}
http:
  cache: {pages: {store: pages%s}}
  routes:
    - {match: {path: /uncached}, php: app}
    - {match: {header: {X-Beta: "1"}}, use: [compress, cache/pages], respond: {body: beta, headers: {Cache-Control: "public, max-age=300"}}}
    - {use: [compress, cache/pages], php: app}
`, store, testenv.PHP(t), currentUser(t), more)
}

// TestResponseCache: a real PHP application behind the cache, over every protocol.
func TestResponseCache(t *testing.T) {
	t.Parallel()
	s := cachedSite(t, "{mode: cache}")
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		path := "/article/" + m.Name
		want := func(path, body, said string, headers ...string) *http.Response {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(headers); i += 2 {
				req.Header.Set(headers[i], headers[i+1])
			}
			res, got := m.Do(t, req)
			if got != body || !strings.Contains(res.Header.Get("Cache-Status"), said) {
				t.Errorf("%s: %s %q, Cache-Status %q; want %q and %q", path, res.Status, got, res.Header.Get("Cache-Status"), body, said)
			}
			return res
		}
		want(path, path+" 1", "pages; fwd=uri-miss; stored")
		res := want(path, path+" 1", "pages; hit; ttl=")
		if res.Header.Get("Cache-Tag") != "" || res.Header.Get("Age") == "" || res.Header.Get("Content-Type") != "text/html" || len(res.Header["Date"]) != 1 {
			t.Errorf("headers of a hit: %v", res.Header)
		}
		want(path, path+" 1", "hit", "Cookie", "user=ann") // it says public
		want(path, "beta", "", "X-Beta", "1")
		want(path, path+" 1", "hit")
		want(path, "/a", "hit", "Range", "bytes=0-1")
		want("/me", "hello ann", "detail=request-credentials", "Cookie", "user=ann")
		want("/me", "hello bob", "detail=request-credentials", "Cookie", "user=bob")
		want("/edit?tags=article-"+m.Name, "purged", "")
		want(path, path+" 2", "fwd=uri-miss; stored")
		want("/wrong", `cannot purge: "no URL" is no URL with a host, such as https://example.com/page`, "")
	})
}

// TestResponseCacheOfOneWorker: what many want at once is asked for once, what cannot be stored each time, and 304 is PHP's to say.
func TestResponseCacheOfOneWorker(t *testing.T) {
	t.Parallel()
	s := cachedSite(t, "{}")
	m := s.Modes(t)[0]
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, body := m.Get(t, "/slow"); body != "/slow 1" {
				t.Errorf("/slow: %q", body)
			}
		})
	}
	wg.Wait()
	for i := 1; i < 3; i++ {
		if res, body := m.Get(t, "/stream"); body != "stream 1 ends" {
			t.Errorf("/stream: %q, Cache-Status %q", body, res.Header.Get("Cache-Status"))
		}
		if _, body := m.Get(t, "/uncached"); body != fmt.Sprint("/uncached ", i) {
			t.Errorf("/uncached: %q", body)
		}
		if _, body := m.Get(t, "/nothing"); body != fmt.Sprint("/nothing ", i) {
			t.Errorf("/nothing: %q", body)
		}
		if res, body := m.Get(t, "/checked"); body != "checked" || (i == 2) != (res.Header.Get("X-Asked") == "2") {
			t.Errorf("/checked: %q, %v", body, res.Header)
		}
	}
	m.Get(t, "/article/1")
	res, err := m.Client.Post(m.URL+"/article/1", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if _, body := m.Get(t, "/article/1"); body != "/article/1 3" {
		t.Errorf("after POST: %q", body)
	}

	// A reload that changes something else leaves what is stored, one that changes the cache serves on from the store, too.
	for _, more := range []string{"", ", keep: 1h"} {
		s.WriteConfig(t, cachedConfig(t, "{}", more))
		if err := s.ReloadFile(t.Context()); err != nil {
			t.Fatal(err)
		}
		if res, body := m.Get(t, "/article/1"); body != "/article/1 3" || !strings.Contains(res.Header.Get("Cache-Status"), "hit") {
			t.Errorf("after a reload: %q", body)
		}
	}
	s.WriteConfig(t, strings.Replace(cachedConfig(t, "{}", ""), "store: pages", "store: other", 1))
	if err := s.ReloadFile(t.Context()); err == nil || !strings.Contains(err.Error(), `http.cache.pages.store: there is no store "other"`) {
		t.Errorf("a reload with another store: %v", err)
	}
}

// TestResponseCacheOfAFleet: two servers share what is in redis, and a purge on one is one on both.
func TestResponseCacheOfAFleet(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	store := fmt.Sprintf(`{driver: redis, redis: {addresses: [%q]}}`, redis.Addr)
	a, b := cachedSite(t, store), cachedSite(t, store)
	ask := func(s *edgetest.Server, path string) (string, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.HTTP+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "example.com"
		res, body := edgetest.Mode{Client: http.DefaultClient}.Do(t, req)
		return body, res.Header.Get("Cache-Status")
	}
	hit := func(s *edgetest.Server, path string) bool {
		t.Helper()
		_, said := ask(s, path)
		return strings.Contains(said, "hit")
	}
	first, _ := ask(a, "/article/7")
	testenv.Eventually(t, "the other server has it", func() bool { return hit(b, "/article/7") })
	if body, _ := ask(b, "/article/7"); body != first {
		t.Errorf("one has %q, the other %q", first, body)
	}
	ask(b, "/edit?tags=article-7,article-8") // by PHP, on the other
	if _, said := ask(a, "/article/7"); !strings.Contains(said, "uri-miss; stored") {
		t.Errorf("after the purge on the other server: %q", said)
	}

	// By the operator, in every way.
	client, err := admin.NewClient(a.Config().Admin, a.Config().StateDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []admin.CachePurge{
		{Tags: []string{"news"}}, {Cache: "pages", URLs: []string{"https://example.com/article/7"}}, {Prefixes: []string{"http://example.com/art"}}, {All: true},
	} {
		testenv.Eventually(t, "both have it", func() bool { return hit(a, "/article/7") && hit(b, "/article/7") })
		if done, err := client.CachePurge(t.Context(), p); err != nil || done.Purged < 1 {
			t.Errorf("%+v: %+v, %v", p, done, err)
		}
		if _, said := ask(b, "/article/7"); strings.Contains(said, "hit") {
			t.Errorf("after %+v: %q", p, said)
		}
	}
	if _, err := client.CachePurge(t.Context(), admin.CachePurge{Cache: "other", All: true}); err == nil || !strings.Contains(err.Error(), "1: pages") {
		t.Errorf("a cache that is not there: %v", err)
	}
	list, err := client.Caches(t.Context())
	if err != nil || len(list) != 1 || list[0].Requests["hit"] == 0 || list[0].Purged < 4 || list[0].Errors != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestResponseCacheWithoutItsRedis: the site is there without it.
func TestResponseCacheWithoutItsRedis(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	s := cachedSite(t, fmt.Sprintf(`{driver: redis, redis: {addresses: [%q]}}`, redis.Addr))
	m := s.Modes(t)[0]
	m.Get(t, "/article/1")
	without := func(what string) {
		t.Helper()
		began := time.Now()
		for i := range 50 {
			if res, body := m.Get(t, "/article/1"); res.StatusCode != http.StatusOK || !strings.HasPrefix(body, "/article/1") {
				t.Errorf("request %d to a store that %s: %s %q", i, what, res.Status, body)
			}
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("50 requests to a store that %s took %s", what, took)
		}
	}
	redis.Pause()
	without("hangs")
	redis.Resume()
	testenv.Eventually(t, "the store is used again", func() bool {
		res, _ := m.Get(t, "/article/1")
		return strings.Contains(res.Header.Get("Cache-Status"), "hit")
	})
	redis.Kill()
	without("is gone")
	if n := strings.Count(s.Log.String(), "response cache: its store fails"); n != 2 {
		t.Errorf("the log says %d times that the store fails, which was twice", n)
	}
	if _, body := m.Get(t, "/wrong"); !strings.Contains(body, "is no URL") {
		t.Errorf("PHP is told %q", body)
	}
}

// TestResponseCacheConfig: mistakes are named with their place.
func TestResponseCacheConfig(t *testing.T) {
	t.Parallel()
	_, err := edgetest.TryStart(t, `
kv: {pages: {limits: {max_value: 64KiB}}}
http:
  middleware: [cache/pages]
  cache:
    pages: {store: pages, max_entry: 128KiB, cookies: some, vary: ["a b"], timeout: 0s}
    "a b": {}
  routes: [{use: [cache/others], respond: x}]
`)
	if err == nil {
		t.Fatal("it starts")
	}
	for _, part := range []string{
		"http.middleware[0]: cache/pages belongs into use", "http.cache.pages.max_entry: 128KiB is more than limits.max_value", `http.cache.pages.cookies: write public`,
		"http.cache.pages.vary[0]", "http.cache.pages.timeout: must be between", `"a b" cannot be the name of a cache`, "http.cache.a b.store: write the name",
		`http.routes[0].use[0]: there is no cache "others" in http.cache`,
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal lacks %q:\n%v", part, err)
		}
	}
}

// TestResponseCacheOfAProxy: what another server sends in chunks is passed on at once, and stored when it is whole.
func TestResponseCacheOfAProxy(t *testing.T) {
	t.Parallel()
	asked := 0
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Cache-Control", "public, max-age=300")
		fmt.Fprintf(w, "chunk of %s, ", r.URL.Path)
		http.NewResponseController(w).Flush()
		fmt.Fprint(w, asked)
	}))
	t.Cleanup(upstream.Close)
	s := edgetest.Start(t, fmt.Sprintf(`
kv: {pages: {mode: cache}}
http:
  cache: {pages: {store: pages}}
  routes: [{use: [cache/pages], proxy: %q}]
`, upstream.URL))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		_, first := m.Get(t, "/"+m.Name)
		testenv.Eventually(t, "it is a hit", func() bool {
			res, again := m.Get(t, "/"+m.Name)
			if again != first {
				t.Errorf("%q, and then %q", first, again)
			}
			return strings.Contains(res.Header.Get("Cache-Status"), "hit")
		})
	})
}
