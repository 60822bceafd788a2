package guard_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/internal/origin"
	"github.com/edge-server/edge/internal/testenv"
)

func pages(t testing.TB, list ...guard.ErrorPages) *guard.Pages {
	t.Helper()
	for i := range list {
		if list[i].Status == nil {
			list[i].Status = guard.ErrorPages{}.Defaults().(guard.ErrorPages).Status
		}
		if err := list[i].Validate(); err != nil {
			t.Fatal(err)
		}
	}
	p, err := guard.NewPages(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// folder makes files, given as name, text, name, text.
func folder(t testing.TB, files ...string) string {
	t.Helper()
	dir := testenv.Dir(t)
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// fails answers with the status in the path; own answers are those of /own.
var fails = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/own") {
		origin.Mark(w)
	}
	status, _ := strconv.Atoi(r.URL.Query().Get("status"))
	w.Header().Set("ETag", `"x"`)
	w.Header().Set("Retry-After", "7")
	w.Header().Set("Content-Length", "5")
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	io.WriteString(w, "plain")
})

func fail(h http.Handler, method, target, accept string) (*http.Response, string) {
	r := httptest.NewRequest(method, target, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	body, _ := io.ReadAll(res.Body)
	return res, string(body)
}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestErrorPages(t *testing.T) {
	t.Parallel()
	dir := folder(t, "404.html", "<b>{path} is not at {host}: {status} {text} {other}</b>", "5xx.html", "five", "error.json", `{"path":"{path}","n":{status}}`,
		"notes.txt", "no page", "404.html.bak", "no page")
	one := filepath.Join(folder(t, "down.txt", "down {status} <{path}>"), "down.txt")
	h := pages(t,
		guard.ErrorPages{Host: []string{"other.test"}, File: one},
		guard.ErrorPages{Status: []string{"410", "420-422"}, File: one, Replace: true},
		guard.ErrorPages{Root: dir},
		guard.ErrorPages{Status: []string{"403"}},
	).Middleware(fails)
	for _, tt := range []struct {
		target, accept string
		kind, want     string
	}{
		{"http://a.test/x%3Cy?status=404", browser, "text/html; charset=utf-8", "<b>/x&lt;y is not at a.test: 404 Not Found {other}</b>"},
		{"http://a.test/?status=502", browser, "text/html; charset=utf-8", "five"},
		{"http://a.test/?status=502", "", "text/html; charset=utf-8", "five"},
		{"http://a.test/%22%0a?status=502", "application/json", "application/json", `{"path":"/\"\n","n":502}`},
		{"http://a.test/?status=502", "text/html;q=0.5, application/vnd.api+json", "application/json", `{"path":"/","n":502}`},
		{"http://a.test/?status=502", "application/json;q=0.1, text/html", "text/html; charset=utf-8", "five"},
		{"http://a.test/?status=502", "application/json;q=0", "text/html; charset=utf-8", "five"},
		{"http://a.test/?status=403", browser, "text/html; charset=utf-8", "<!doctype html>"}, // the folder has none for it
		{"http://a.test/?status=405", browser, "text/plain", "plain"},                         // nor has anything else
		{"http://other.test/?status=502", browser, "text/plain; charset=utf-8", "down 502 </>"},
		{"http://other.test/?status=502", "application/json", "application/problem+json", `{"type":"about:blank","status":502,"title":"Bad Gateway"}` + "\n"},
		{"http://a.test/?status=200", browser, "text/plain", "plain"},
		{"http://a.test/?status=302", browser, "text/plain", "plain"},
		{"http://a.test/own?status=404", browser, "text/plain", "plain"},
		{"http://a.test/own?status=410", browser, "text/plain; charset=utf-8", "down 410 </own>"},
		{"http://a.test/own?status=421", browser, "text/plain; charset=utf-8", "down 421 </own>"},
		{"http://a.test/?status=499", "application/json", "application/json", `{"path":"/","n":499}`},
	} {
		res, body := fail(h, "GET", tt.target, tt.accept)
		if !strings.HasPrefix(body, tt.want) || res.Header.Get("Content-Type") != tt.kind {
			t.Errorf("%+v: %s %q", tt, res.Header.Get("Content-Type"), body)
		}
		if length := res.Header.Get("Content-Length"); length != strconv.Itoa(len(body)) || res.Header.Get("Retry-After") != "7" {
			t.Errorf("%+v: Content-Length %s of %d, %v", tt, length, len(body), res.Header)
		}
		if replaced := body != "plain"; replaced != (res.Header.Get("ETag") == "") || replaced != (res.Header.Get("Vary") == "Accept") {
			t.Errorf("%+v: %v", tt, res.Header)
		}
		if strings.Contains(tt.kind, "json") && !json.Valid([]byte(body)) {
			t.Errorf("%+v: %q is no JSON", tt, body)
		}
	}
	if res, body := fail(h, "HEAD", "http://a.test/?status=502", browser); body != "" || res.Header.Get("Content-Length") != "4" {
		t.Errorf("HEAD: %v %q", res.Header, body)
	}
}

// TestPagesOfARouteComeFirst, and those of all routes do not take their place.
func TestPagesOfARouteComeFirst(t *testing.T) {
	t.Parallel()
	outer := pages(t, guard.ErrorPages{Root: folder(t, "error.html", "outer"), Replace: true})
	inner := pages(t, guard.ErrorPages{Status: []string{"404"}, Root: folder(t, "error.html", "inner")})
	h := outer.Middleware(inner.Middleware(fails))
	for target, want := range map[string]string{"/?status=404": "inner", "/?status=503": "outer", "/own?status=404": "outer", "/?status=200": "plain"} {
		if _, body := fail(h, "GET", target, ""); body != want {
			t.Errorf("%s: %q, want %q", target, body, want)
		}
	}
	var none *guard.Pages
	if _, body := fail(none.Middleware(fails), "GET", "/?status=404", ""); body != "plain" {
		t.Errorf("without pages: %q", body)
	}
}

func TestBadErrorPages(t *testing.T) {
	t.Parallel()
	problems(t, guard.ErrorPages{Status: []string{"200", "3xx", "600", "500-400", "x", "400-"}, File: "a", Root: "b", Host: []string{"a:1"}}.Validate(),
		"status[0]", "status[1]", "status[2]", "status[3]", "status[4]", "status[5]", "root: ", "host: ")
	problems(t, guard.ErrorPages{}.Validate(), "status: name at least one")
	for name, c := range map[string]guard.ErrorPages{
		"errors[0].file": {File: "/nowhere/page.html"}, "errors[0].root": {Root: "/nowhere"}, "has no pages": {Root: folder(t, "page.html", "")},
		"larger than 1 MiB": {File: filepath.Join(folder(t, "a.html", strings.Repeat("x", 1<<20+1)), "a.html")},
	} {
		if _, err := guard.NewPages([]guard.ErrorPages{c}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzAccept: whatever clients say, there is an answer, and never JSON for who says nothing about it.
func FuzzAccept(f *testing.F) {
	for _, accept := range []string{browser, "application/json", "a/b;q=x, application/json;q=0.3;q=2", ";,;=", "application/+json;q=NaN"} {
		f.Add(accept)
	}
	h := pages(f, guard.ErrorPages{}).Middleware(fails)
	f.Fuzz(func(t *testing.T, accept string) {
		r := httptest.NewRequest("GET", "/?status=404", nil)
		r.Header["Accept"] = []string{accept}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		isJSON := strings.Contains(w.Header().Get("Content-Type"), "json")
		if w.Code != 404 || isJSON && !strings.Contains(strings.ToLower(accept), "json") {
			t.Errorf("%q: %d %v", accept, w.Code, w.Header())
		}
	})
}
