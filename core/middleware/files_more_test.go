package middleware_test

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/middleware"
)

// files makes a folder of these files and serves it; the folder lies beside a secret.
func files(t testing.TB, cfg middleware.FilesConfig, content map[string]string) *handler {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret.txt"), []byte("SECRET"), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Root = filepath.Join(dir, "public")
	for name, text := range content {
		p := filepath.Join(cfg.Root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, err := middleware.NewFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &handler{cfg.Root, func(method, p string, header ...string) *httptest.ResponseRecorder {
		return ask(h, method, p, header...)
	}}
}

type handler struct {
	root string
	ask  func(method, path string, header ...string) *httptest.ResponseRecorder
}

func TestFilesTries(t *testing.T) {
	t.Parallel()
	h := files(t, middleware.FilesConfig{TryFiles: []string{"{path}", "{path}.html", "{path}/", "/fallback.html"}}, map[string]string{
		"a.txt": "a", "about.html": "about", "docs/index.html": "docs", "empty/x.txt": "x", "fallback.html": "fallback",
		".env.html": "SECRET", "x.php.html": "SECRET", "both.html": "page", "both/index.html": "folder",
	})
	for p, want := range map[string]string{
		"/a.txt": "200 a", "/about": "200 about", "/about.html": "200 about", "/docs/": "200 docs", "/docs": "301 ", "/empty/": "200 fallback", "/empty": "200 fallback",
		"/nothing": "200 fallback", "/nothing/at/all": "200 fallback", "/both": "200 page", "/both/": "200 folder", "/about/": "200 fallback", "/": "200 fallback",
		"/.env": "404 404 page not found\n", "/x.php": "404 404 page not found\n", "/../secret.txt": "404 404 page not found\n", "/{path}": "200 fallback",
	} {
		w := h.ask("GET", p)
		if got := fmt.Sprint(w.Code, " ", w.Body); got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
	h = files(t, middleware.FilesConfig{TryFiles: []string{"{path}", "=410"}}, map[string]string{"a": "a"})
	if w := h.ask("GET", "/b"); w.Code != 410 || w.Body.String() != "410 gone\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestFilesPageOfAnApplication(t *testing.T) {
	t.Parallel()
	h := files(t, middleware.FilesConfig{SPA: "index.html", Cache: []middleware.CacheRule{
		{Match: "/assets/*", Control: "immutable"}, {Match: "*.html", Control: "no-cache"},
	}}, map[string]string{"index.html": "app", "assets/a.1234.js": "js"})
	for _, tt := range []struct{ path, accept, want, cache string }{
		{"/", "", "200 app", "no-cache"},
		{"/users/1", "text/html", "200 app", "no-cache"},
		{"/users/", "*/*", "200 app", "no-cache"},
		{"/assets/a.1234.js", "*/*", "200 js", "immutable"},
		{"/assets/gone.js", "*/*", "404 404 page not found\n", ""},
		{"/users/john.doe", "text/html,application/xhtml+xml", "200 app", "no-cache"},
		{"/.env", "text/html", "404 404 page not found\n", ""},
		{"/index.php", "text/html", "404 404 page not found\n", ""},
	} {
		w := h.ask("GET", tt.path, "Accept", tt.accept)
		if got := fmt.Sprint(w.Code, " ", w.Body); got != tt.want || w.Header().Get("Cache-Control") != tt.cache {
			t.Errorf("%s: %q, Cache-Control %q", tt.path, got, w.Header().Get("Cache-Control"))
		}
	}
}

func TestFilesCompressedBefore(t *testing.T) {
	t.Parallel()
	h := files(t, middleware.FilesConfig{Precompressed: []string{"zstd", "br", "gzip"}}, map[string]string{
		"a.js": "plain", "a.js.gz": "gzipped", "a.js.br": "brotlied", "old.js": "plain", "old.js.gz": "old", "none.js": "plain",
		"big.js": strings.Repeat("x", 100<<10), "big.js.gz": strings.Repeat("z", 50<<10), "odd": "plain", "odd.gz": "gzipped",
	})
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(h.root, "old.js.gz"), past, past); err != nil {
		t.Fatal(err)
	}
	tags := map[string]bool{}
	for _, tt := range []struct{ path, accept, body, encoding string }{
		{"/a.js", "", "plain", ""},
		{"/a.js", "gzip, br, zstd", "brotlied", "br"},
		{"/a.js", "gzip", "gzipped", "gzip"},
		{"/a.js", "zstd", "plain", ""},
		{"/a.js", "br;q=0.1, gzip;q=0.9", "gzipped", "gzip"},
		{"/a.js", "br;q=0, gzip;q=0", "plain", ""},
		{"/a.js", "identity, gzip;q=0.5", "plain", ""},
		{"/old.js", "gzip", "plain", ""},
		{"/none.js", "gzip", "plain", ""},
		{"/odd", "gzip", "gzipped", "gzip"},
		{"/big.js", "gzip", strings.Repeat("z", 50<<10), "gzip"},
	} {
		w := h.ask("GET", tt.path, "Accept-Encoding", tt.accept)
		head := w.Header()
		if w.Code != 200 || w.Body.String() != tt.body || head.Get("Content-Encoding") != tt.encoding || head.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s for %q: %d %.30q %v", tt.path, tt.accept, w.Code, w.Body, head)
		}
		if head.Get("Content-Length") != fmt.Sprint(len(tt.body)) {
			t.Errorf("%s for %q: Content-Length %q", tt.path, tt.accept, head.Get("Content-Length"))
		}
		if strings.HasSuffix(tt.path, ".js") && head.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("%s: %q", tt.path, head.Get("Content-Type"))
		}
		if tt.path == "/a.js" {
			tags[head.Get("Etag")] = true
			if again := h.ask("GET", tt.path, "Accept-Encoding", tt.accept, "If-None-Match", head.Get("Etag")); again.Code != 304 || again.Body.Len() != 0 {
				t.Errorf("%s again: %d", tt.path, again.Code)
			}
		}
	}
	if len(tags) != 3 {
		t.Errorf("a.js in three encodings has the validators %v", tags)
	}
	w := h.ask("GET", "/big.js", "Accept-Encoding", "gzip", "Range", "bytes=0-9")
	if w.Code != 206 || w.Body.String() != "zzzzzzzzzz" || w.Header().Get("Content-Length") != "10" || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("a range of it: %d %v", w.Code, w.Header())
	}
	w = h.ask("GET", "/big.js", "Accept-Encoding", "gzip", "If-Match", `"other"`)
	if w.Code != 412 || w.Header().Get("Content-Length") != "" {
		t.Errorf("a condition that fails: %d %v", w.Code, w.Header())
	}
}

func TestFilesValidators(t *testing.T) {
	t.Parallel()
	for kind, prefix := range map[string]string{"strong": `"`, "weak": `W/"`, "none": ""} {
		h := files(t, middleware.FilesConfig{ETag: kind}, map[string]string{"a.txt": "0123456789"})
		w := h.ask("GET", "/a.txt")
		tag := w.Header().Get("Etag")
		if !strings.HasPrefix(tag, prefix) || kind == "none" && tag != "" {
			t.Errorf("%s: %q", kind, tag)
		}
		if kind == "none" {
			continue
		}
		if w := h.ask("GET", "/a.txt", "If-None-Match", tag); w.Code != 304 {
			t.Errorf("%s: %d", kind, w.Code)
		}
		// A weak validator names no bytes: a part of the file could not be put to another.
		want := map[string]int{"strong": 206, "weak": 200}[kind]
		if w := h.ask("GET", "/a.txt", "Range", "bytes=0-1", "If-Range", tag); w.Code != want {
			t.Errorf("%s: If-Range %d, want %d", kind, w.Code, want)
		}
	}
}

func TestFilesSeveralRanges(t *testing.T) {
	t.Parallel()
	h := files(t, middleware.FilesConfig{}, map[string]string{"a.txt": "0123456789"})
	w := h.ask("GET", "/a.txt", "Range", "bytes=0-1,4-5,-1")
	_, params, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if w.Code != 206 || err != nil {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	parts := multipart.NewReader(w.Body, params["boundary"])
	for _, want := range []string{"01", "45", "9"} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(part); string(text) != want || part.Header.Get("Content-Range") == "" {
			t.Errorf("%q, want %q", text, want)
		}
	}
	// More than the file has in all is answered with the file.
	if w := h.ask("GET", "/a.txt", "Range", "bytes="+strings.Repeat("0-,", 1000)+"0-"); w.Code != 200 || w.Body.Len() != 10 {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestFilesBrowse(t *testing.T) {
	t.Parallel()
	h := files(t, middleware.FilesConfig{Browse: true}, map[string]string{
		"b.txt": "b", "a.txt": strings.Repeat("x", 3000), "z/x.txt": "x", ".env": "SECRET", "x.php": "SECRET", "x.bak": "SECRET", ".git/config": "SECRET",
		`<script>alert(1)</script>.txt/x`: "x", "javascript:alert(1)": "x", "a b%20?#.txt": "found", "with/index.html": "index", "nl\n.txt": "x",
	})
	for name, to := range map[string]string{"out.txt": "../secret.txt", "in.txt": "a.txt", "dangling": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(h.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	w := h.ask("GET", "/")
	page := w.Body.String()
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Content-Security-Policy") == "" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for _, never := range []string{".env", "x.php", "x.bak", ".git", "<script>", "out.txt", "dangling", "nl\n", `href="javascript:`, "../"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q:\n%s", never, page)
		}
	}
	at := -1
	for _, name := range []string{"&lt;script&gt;", "with/", "z/", "a b%20?#.txt", "a.txt", "2.9 KiB", "b.txt", "in.txt", "javascript:"} {
		next := strings.Index(page, ">"+name)
		if next < at || next < 0 {
			t.Errorf("%q stands at %d, after %d", name, next, at)
		}
		at = next
	}
	// The links lead to the files.
	links := 0
	for _, part := range strings.Split(page, `href="`)[1:] {
		link, _, _ := strings.Cut(part, `"`)
		u, err := (&url.URL{Path: "/"}).Parse(link)
		if err != nil || u.Host != "" {
			t.Fatalf("%q: %v", link, err)
		}
		links++
		if w := h.ask("GET", u.Path); w.Code != 200 {
			t.Errorf("%q: %d", link, w.Code)
		}
	}
	if links != 8 {
		t.Errorf("%d links", links)
	}
	if w := h.ask("GET", "/z"); w.Code != 301 {
		t.Errorf("without a slash: %d", w.Code)
	}
	if w := h.ask("GET", "/with/"); w.Body.String() != "index" {
		t.Errorf("with an index: %q", w.Body)
	}
	if w := h.ask("GET", "/z/"); !strings.Contains(w.Body.String(), `href="../"`) {
		t.Errorf("%s", w.Body)
	}
	if w := h.ask("GET", "/.git/"); w.Code != 404 {
		t.Errorf("a hidden folder: %d", w.Code)
	}
}

// TestFilesTraversal: in every setting, no way of writing a path leads out of the folder or to what is hidden.
func TestFilesTraversal(t *testing.T) {
	t.Parallel()
	content := map[string]string{
		"index.html": "index", "sub/a.txt": "a", ".env": "SECRET", ".git/config": "SECRET", "x.php": "SECRET", "sub/.htpasswd": "SECRET", "sub/db.inc": "SECRET",
	}
	settings := map[string]*handler{
		"plain":  files(t, middleware.FilesConfig{}, content),
		"tries":  files(t, middleware.FilesConfig{TryFiles: []string{"{path}", "{path}/", "/sub{path}", "/index.html"}}, content),
		"spa":    files(t, middleware.FilesConfig{SPA: "index.html", Browse: true}, content),
		"sealed": files(t, middleware.FilesConfig{Precompressed: []string{"gzip"}, Strip: "/s"}, content),
	}
	var paths []string
	for _, up := range []string{
		"..", ".", "...", "%2e%2e", "%252e%252e", "..;", "..%00", "..\x00", "..\\", "\\..", "..%5c", "..%2f", "%c0%ae%c0%ae", "\uff0e\uff0e", "..%c0%af", "..\u2215", ". .", "..\t", ".. ", "..~",
	} {
		for _, target := range []string{"secret.txt", "public/.env", ".env", "x.php"} {
			paths = append(paths, "/"+up+"/"+target, "/sub/"+up+"/"+up+"/"+target, "//"+up+"//"+target, "/"+up+up+target, "/sub/"+up+"/"+target+"/")
		}
	}
	for _, hidden := range []string{".env", ".git/config", ".git/", "x.php", "X.PHP", "x.php/", "x.php/a", "x.php.", "sub/.htpasswd", "sub/db.inc"} {
		paths = append(paths, "/"+hidden, "//"+hidden, "/./"+hidden, "/sub/../"+hidden, "/"+hidden+"/", "/"+hidden+"::$DATA", "/"+hidden+"\x00.txt", "/"+strings.ToUpper(hidden))
	}
	if len(paths) < 400 {
		t.Fatalf("%d paths", len(paths))
	}
	for name, h := range settings {
		for _, p := range paths {
			for _, prefix := range []string{"", "/s"} {
				w := h.ask("GET", prefix+p, "Accept", "text/html", "Accept-Encoding", "gzip")
				if strings.Contains(w.Body.String(), "SECRET") {
					t.Errorf("%s: %q is served", name, prefix+p)
				}
				if to := w.Header().Get("Location"); strings.HasPrefix(to, "//") || strings.Contains(to, "\\") {
					t.Errorf("%s: %q leads to %q", name, prefix+p, to)
				}
			}
		}
	}
}

func TestFilesOpenAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, n := range map[string]int{"big": 1 << 20, "small": 10} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, err := middleware.NewFiles(middleware.FilesConfig{Root: dir, OpenFiles: 1})
	if err != nil {
		t.Fatal(err)
	}
	stuck := &stuckWriter{ResponseRecorder: httptest.NewRecorder(), began: make(chan struct{}), release: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(stuck, httptest.NewRequest("GET", "/big", nil))
	}()
	<-stuck.began
	if w := ask(h, "GET", "/big"); w.Code != 503 || w.Header().Get("Etag") != "" {
		t.Errorf("a second one: %d %v", w.Code, w.Header())
	}
	if w := ask(h, "GET", "/small"); w.Code != 200 {
		t.Errorf("a small one: %d", w.Code)
	}
	close(stuck.release)
	<-done
	if w := ask(h, "GET", "/big"); w.Code != 200 {
		t.Errorf("afterwards: %d", w.Code)
	}
}

// stuckWriter is a client that takes nothing for a while.
type stuckWriter struct {
	*httptest.ResponseRecorder
	began, release chan struct{}
	stuck          bool
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	if !w.stuck {
		w.stuck = true
		close(w.began)
		<-w.release
	}
	return w.ResponseRecorder.Write(p)
}

func TestFilesConfigOfMore(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]middleware.FilesConfig{
		"index[0]: ":         {Index: []string{"a/b.html"}},
		"index[0]: \"index.": {Index: []string{"index.php"}},
		"try_files[0]: ":     {TryFiles: []string{"{uri}"}},
		"try_files[1]: ":     {TryFiles: []string{"{path}", "/../x", "/a"}},
		"try_files[0]: \"=":  {TryFiles: []string{"=404", "{path}"}},
		"try_files[0]: \"/i": {TryFiles: []string{"/index.php"}},
		"spa: ":              {SPA: "../index.html"},
		"precompressed[1]: ": {Precompressed: []string{"gzip", "gzip"}},
		"etag: ":             {ETag: "maybe"},
		"cache[0].match: ":   {Cache: []middleware.CacheRule{{Match: "[", Control: "x"}}},
		"cache[0].control: ": {Cache: []middleware.CacheRule{{Match: "*", Control: "a\nb"}}},
		"open_files: ":       {OpenFiles: -1},
	} {
		cfg.Root = "x"
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// FuzzTryFiles: whatever path comes, only files that may be served are.
func FuzzTryFiles(f *testing.F) {
	h := files(f, middleware.FilesConfig{TryFiles: []string{"{path}", "{path}.html", "/sub{path}", "{path}/", "=404"}, Browse: true}, map[string]string{
		"index.html": "i", "sub/a.txt": "a", ".env": "SECRET", "x.php": "SECRET", "sub/.env": "SECRET", "x.php.html": "SECRET", "sub/x.inc": "SECRET",
	})
	for _, p := range []string{"/", "/x.php", "/.env", "/sub/", "/../secret.txt", "/{path}", "//x", "/sub/..", "/.", "/x.inc", "/%2e%2e/secret.txt"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		w := h.ask("GET", p)
		if strings.Contains(w.Body.String(), "SECRET") {
			t.Errorf("%q is served", p)
		}
		if to := w.Header().Get("Location"); strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`) {
			t.Errorf("%q leads to %q", p, to)
		}
	})
}
