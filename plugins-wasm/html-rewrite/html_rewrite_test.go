package htmlrewrite_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

const config = `{
	"rules": [
		{"select": "head", "append": "<script src=/a.js></script>"},
		{"select": "body", "prepend": "<p>hello</p>"},
		{"select": "div.ad", "remove": true},
		{"select": "a[target]", "set": {"rel": "noopener"}}],
	"text": [{"find": "Old Name", "replace": "New Name"}],
	"links": [{"from": "http://old.example", "to": "https://new.example"}]}`

const page = `<!doctype html><html><head><title>Old Name</title></head><body class=x>
<div class="ad big"><div>buy</div></div><a href="http://old.example/x" target=y>Old Name</a><a href="http://old.example.org">z</a></body></html>`

const changed = `<!doctype html><html><head><title>New Name</title><script src=/a.js></script></head><body class=x><p>hello</p>
<a href="https://new.example/x" target=y rel="noopener">New Name</a><a href="http://old.example.org">z</a></body></html>`

func TestNative(t *testing.T) {
	t.Parallel()
	plugintest.RustTests(t, "html-rewrite")
}

func TestHTMLRewrite(t *testing.T) {
	t.Parallel()
	module := plugintest.Rust(t, "html-rewrite")
	p := plugintest.Load(t, module, config)

	answer := func(status int, header map[string]string, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Etag", `"1"`)
			for name, value := range header {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			for len(body) > 0 { // in pieces
				n := min(len(body), 1000)
				w.Write([]byte(body[:n]))
				body = body[n:]
			}
		}
	}
	for name, c := range map[string]struct {
		uri        string
		request    map[string]string
		status     int
		header     map[string]string
		body, want string
		etag       string
	}{
		"page":           {status: 200, body: page, want: changed},
		"error page":     {status: 404, body: page, want: changed},
		"navigation":     {request: map[string]string{"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Dest": "document"}, status: 200, body: page, want: changed},
		"nothing to do":  {status: 200, body: "<p>untouched", want: "<p>untouched", etag: `"1"`},
		"no HTML":        {status: 200, header: map[string]string{"Content-Type": "text/plain"}, body: page, want: page, etag: `"1"`},
		"compressed":     {status: 200, header: map[string]string{"Content-Encoding": "gzip"}, body: page, want: page, etag: `"1"`},
		"UTF-16":         {status: 200, header: map[string]string{"Content-Type": "text/html; charset=UTF-16LE"}, body: page, want: page, etag: `"1"`},
		"not asked for":  {request: map[string]string{"Accept": "application/json"}, status: 200, body: page, want: page, etag: `"1"`},
		"a script's":     {request: map[string]string{"Sec-Fetch-Dest": "script"}, status: 200, body: page, want: page, etag: `"1"`},
		"a file":         {uri: "/a.zip?x=.html", status: 200, body: page, want: page, etag: `"1"`},
		"a page by name": {uri: "/a.HTML?x=.zip", status: 200, body: page, want: changed},
		"large":          {status: 200, body: strings.Repeat("<p>Old Name", 120_000), want: strings.Repeat("<p>New Name", 120_000)},
		"broken off":     {status: 200, body: `<body><a href="http://old.example`, want: `<body><p>hello</p><a href="http://old.example`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.uri == "" {
				c.uri = "/"
			}
			r := httptest.NewRequest(http.MethodGet, c.uri, nil)
			for name, value := range c.request {
				r.Header.Set(name, value)
			}
			res, _ := p.Do(r, answer(c.status, c.header, c.body))
			if got := res.Body.String(); got != c.want || res.Code != c.status || res.Header().Get("Etag") != c.etag {
				t.Errorf("%d %v, %d bytes: %.400s\nwant %d bytes: %.400s", res.Code, res.Header(), len(got), got, len(c.want), c.want)
			}
		})
	}

	t.Run("a download streams", func(t *testing.T) {
		t.Parallel()
		r := httptest.NewRequest(http.MethodGet, "/large.iso", nil)
		res, _ := p.Do(r, answer(200, map[string]string{"Content-Type": "application/octet-stream"}, strings.Repeat("x", 10<<20)))
		if res.Code != 200 || res.Body.Len() != 10<<20 {
			t.Errorf("%d, %d bytes, want all of 10 MiB", res.Code, res.Body.Len())
		}
	})

	t.Run("HEAD", func(t *testing.T) {
		t.Parallel()
		for kind, kept := range map[string]bool{"text/html": false, "text/plain": true} {
			r := httptest.NewRequest(http.MethodHead, "/", nil)
			res, _ := p.Do(r, answer(200, map[string]string{"Content-Length": "281", "Content-Type": kind, "X-Other": "x"}, ""))
			h := res.Header()
			if res.Code != 200 || (h.Get("Content-Length") == "281") != kept || (h.Get("Etag") != "") != kept || h.Get("X-Other") != "x" || !kept && h.Get("Content-Length") != "" {
				t.Errorf("%s: %d %v, want length and ETag: %v", kind, res.Code, h, kept)
			}
		}
	})

	t.Run("other charsets", func(t *testing.T) {
		t.Parallel()
		german := plugintest.Load(t, module, `{"rules": [{"select": "body", "prepend": "<p>Grüße</p>"}]}`)
		for _, c := range []struct {
			name, kind, body string
			p                *plugintest.Plugin
			changed          bool
		}{
			{"UTF-8", "text/html; charset=utf-8", "<body>ü", german, true},
			{"ISO-8859-1", "text/html; charset=ISO-8859-1", "<body>\xfc", german, false},
			{"in the page", "text/html", "<meta charset=windows-1252><body>\xfc", german, false},
			{"rules in ASCII", "text/html; charset=ISO-8859-1", "<body>\xfc", p, true},
		} {
			res, _ := c.p.Do(httptest.NewRequest(http.MethodGet, "/", nil), answer(200, map[string]string{"Content-Type": c.kind}, c.body))
			if got := res.Body.String(); (got != c.body) != c.changed || strings.Count(got, "\xfc") < strings.Count(c.body, "\xfc") || (res.Header().Get("Etag") == "") != c.changed {
				t.Errorf("%s: %q %v", c.name, got, res.Header())
			}
		}
	})

	for config, want := range map[string]string{
		`{"rules": [{"select": "img.x", "append": "x"}]}`:  "config.rules[0].append: img has nothing inside, not even an end tag: write before or after",
		`{"rules": [{"select": "br", "prepend": "x"}]}`:    "config.rules[0].prepend: br has nothing inside",
		`{"rules": [{"select": "a", "unset": ["x", ""]}]}`: `config.rules[0].unset[1]: "" is no name of an attribute; write one such as target`,
		`{}`: "config.rules: is missing, and so are text and links",
		`{"rules": [{"select": "a b", "before": "x"}]}`:                         `config.rules[0].select: "a b" is no tag`,
		`{"rules": [{"select": "a[b", "before": "x"}]}`:                         "config.rules[0].select: a [ without a ]",
		`{"rules": [{"select": "a[b~=c]", "before": "x"}]}`:                     `config.rules[0].select: "a[b~=c]" is no tag`,
		`{"rules": [{"select": "a"}]}`:                                          "config.rules[0].select: there is nothing to do with it",
		`{"rules": [{"select": "li.x", "remove": true}]}`:                       "config.rules[0].select: the end tag of li may be missing",
		`{"rules": [{"select": "a", "set": {"on click": "x"}}]}`:                `config.rules[0].set: "on click" is no name of an attribute`,
		`{"rules": [{"select": "a", "set": {"x": 1}}]}`:                         "config.rules[0].set.x: must be a text",
		`{"rules": [{"select": "a", "before": "x", "insert": "x"}]}`:            "config.rules[0].insert: there is no such key",
		`{"text": [{"find": "<b>", "replace": ""}]}`:                            "config.text[0].find: has a <",
		`{"links": [{"from": "http://a.example", "to": "https://b\"onload="}]}`: "config.links[0].to: must be the beginning of a URL",
	} {
		if _, err := plugintest.TryLoad(t, module, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}
