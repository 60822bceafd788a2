package examples

import (
	"net/http"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
)

func TestPlugins(t *testing.T) {
	t.Parallel()
	s := edgetest.StartDir(t, "plugins")
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		get := func(path, header, value string) (*http.Response, string) {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set(header, value)
			return m.Do(t, r)
		}
		if res, body := get("/", "X-Name", "panda"); body != "the page\n" || res.Header.Get("X-Hello") != "hello panda" {
			t.Errorf("/ = %q, X-Hello %q", body, res.Header.Get("X-Hello"))
		}
		if res, _ := m.Get(t, "/old/shop?x=1"); res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != "/shop?x=1" {
			t.Errorf("/old/shop = %s to %q", res.Status, res.Header.Get("Location"))
		}
		if res, _ := m.Get(t, "/old//evil.example"); res.Header.Get("Location") != "/evil.example" {
			t.Errorf("another server is reached by a redirect to %q", res.Header.Get("Location"))
		}
		if _, body := get("/", "Cookie", "a=b; tester=1"); body != "the new page\n" {
			t.Errorf("as a tester: %q", body)
		}
		if res, body := m.Get(t, "/visits"); !strings.HasPrefix(body, "visit ") {
			t.Errorf("/visits = %s %q", res.Status, body)
		}
	})
}
