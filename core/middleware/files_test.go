package middleware_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-server/edge/core/middleware"
)

// site makes a folder with public and other files and returns the handler of its public part.
func site(t testing.TB, strip string) (http.Handler, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"outside.txt":                          "SECRET",
		"outside/index.html":                   "SECRET",
		"public/index.html":                    "<h1>home</h1>",
		"public/a.txt":                         "0123456789",
		"public/app.js":                        "let x",
		"public/no-extension":                  "<html>not sniffed into a page?",
		"public/sub/index.html":                "sub",
		"public/sub/sub.txt":                   "sub text",
		"public/empty/x.css":                   "x",
		"public/odd name %/ü.txt":              "odd",
		"public/evil.com/index.html":           "a folder that looks like a host",
		"public/index.html.d/index.html/x.txt": "x",
		"public/.well-known/security.txt":      "Contact: x",
		"public/jquery.old.js":                 "a name, not a backup",
		"public/.env":                          "SECRET", "public/.git/config": "SECRET", "public/sub/.htpasswd": "SECRET",
		"public/.well-known/.secret": "SECRET", "public/sub/.well-known/x": "SECRET", "public/prod.env": "SECRET",
		"public/index.php": "SECRET", "public/UP.PHP": "SECRET", "public/x.phtml": "SECRET", "public/x.phar": "SECRET",
		"public/db.inc": "SECRET", "public/index.php~": "SECRET", "public/index.php.bak": "SECRET", "public/config.php.1": "SECRET",
		"public/x.php.txt": "SECRET", "public/#a.txt#": "SECRET", "public/a.txt.swp": "SECRET", "public/a.txt~": "SECRET", "public/x.php ": "SECRET",
		"public/x.php.": "SECRET", "public/x.Php7": "SECRET", "public/a.txt.orig": "SECRET", "public/page.PhTmL.old": "SECRET",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"public/inside.txt": "a.txt", "public/escape.txt": "../outside.txt", "public/escape": "../outside", "public/absolute.txt": filepath.Join(dir, "outside.txt"),
		"public/loop": "loop", "public/up-and-back.txt": "sub/../a.txt", "public/dangling": "nowhere", "public/root": "/",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "public/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := middleware.NewFiles(middleware.FilesConfig{Root: filepath.Join(dir, "public"), Strip: strip})
	if err != nil {
		t.Fatal(err)
	}
	return h, dir
}

// ask sends a request whose decoded path is p, however strange.
func ask(h http.Handler, method, p string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.URL = &url.URL{Path: p, RawQuery: "q=1"}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFilesServesTheFolder(t *testing.T) {
	t.Parallel()
	h, _ := site(t, "")
	for _, tt := range []struct{ path, body, contentType string }{
		{"/", "<h1>home</h1>", "text/html; charset=utf-8"},
		{"/index.html", "<h1>home</h1>", "text/html; charset=utf-8"},
		{"/a.txt", "0123456789", "text/plain; charset=utf-8"},
		{"/app.js", "let x", "text/javascript; charset=utf-8"},
		{"/sub/", "sub", "text/html; charset=utf-8"},
		{"/sub/sub.txt", "sub text", ""},
		{"//sub//sub.txt", "sub text", ""},
		{"/sub/../a.txt", "0123456789", ""},
		{"/sub/..", "<h1>home</h1>", ""},
		{"/./sub/./", "sub", ""},
		{"/odd name %/ü.txt", "odd", ""},
		{"/inside.txt", "0123456789", ""},
		{"/up-and-back.txt", "0123456789", ""},
		{"/.well-known/security.txt", "Contact: x", ""},
		{"/jquery.old.js", "a name, not a backup", ""},
	} {
		w := ask(h, "GET", tt.path)
		if w.Code != 200 || w.Body.String() != tt.body {
			t.Errorf("%s: %d %q, want %q", tt.path, w.Code, w.Body, tt.body)
		}
		if got := w.Header().Get("Content-Type"); tt.contentType != "" && got != tt.contentType {
			t.Errorf("%s: Content-Type %q, want %q", tt.path, got, tt.contentType)
		}
		if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q", tt.path, got)
		}
	}
}

func TestFilesServesNothingElse(t *testing.T) {
	t.Parallel()
	h, _ := site(t, "")
	for _, p := range []string{
		"/nowhere", "/a.txt/", "/a.txt/x", "/empty/", "/index.html.d/", "/dangling", "/loop", "/pipe", "",
		"a.txt", "*", "/../outside.txt", "/sub/../../outside.txt", "/..", "/../public/a.txt", "//../outside.txt",
		`/..\outside.txt`, `/sub\sub.txt`, "/a.txt\x00", "/a.txt\x00.png", "/\n", "/a.txt\x7f",
		"/escape.txt", "/escape/", "/escape/index.html", "/absolute.txt", "/root/", "/root/etc/passwd",
		"/.env", "/.git/config", "/.git/", "/.git", "/sub/.htpasswd", "/.well-known/.secret", "/sub/.well-known/x", "/sub/../.env", "//.env",
		"/./.env", "/.well-known/../.env", "/.well-known", "/...", "/prod.env",
		"/index.php", "/index.php/", "/index.php/x", "/UP.PHP", "/x.phtml", "/x.phar", "/db.inc", "/index.php~", "/index.php.bak", "/config.php.1",
		"/x.php.txt", "/#a.txt#", "/a.txt.swp", "/a.txt~", "/x.php ", "/x.php.", "/x.Php7", "/a.txt.orig", "/page.PhTmL.old", "//index.php", "/sub/../index.php",
		"/" + strings.Repeat("a", 300), "/" + strings.Repeat("a/", 5000),
	} {
		if w := ask(h, "GET", p); w.Code != 404 || w.Body.String() != "404 page not found\n" {
			t.Errorf("%q: %d %q", p, w.Code, w.Body)
		}
	}
}

func TestFilesRedirectsAFolderToItself(t *testing.T) {
	t.Parallel()
	h, _ := site(t, "")
	for p, want := range map[string]string{
		"/sub":                "/sub/?q=1",
		"//evil.com":          "/evil.com/?q=1",
		"///evil.com":         "/evil.com/?q=1",
		"/sub/..//evil.com":   "/evil.com/?q=1",
		"/evil.com/../sub":    "/sub/?q=1",
		"/odd name %":         "/odd%20name%20%25/?q=1",
		"/index.html.d":       "/index.html.d/?q=1",
		"/.//evil.com":        "/evil.com/?q=1",
		"/%2f/evil.com":       "",
		`/\evil.com`:          "",
		"/\tevil.com":         "",
		"http://evil.com/sub": "",
	} {
		w := ask(h, "GET", p)
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("%q: %d to %q, want %q", p, w.Code, got, want)
		}
		if want != "" && w.Code != 301 {
			t.Errorf("%q: %d", p, w.Code)
		}
	}
}

func TestFilesStripsAPrefix(t *testing.T) {
	t.Parallel()
	h, _ := site(t, "/docs/")
	for p, want := range map[string]string{
		"/docs/a.txt": "0123456789", "/docs/": "<h1>home</h1>", "/docs/sub/": "sub", "/x/../docs/a.txt": "0123456789", "//docs/a.txt": "0123456789",
		"/a.txt": "404 page not found\n", "/docsa.txt": "404 page not found\n", "/docs/../a.txt": "404 page not found\n", "/docs/.env": "404 page not found\n",
		"/docs/docs/a.txt": "404 page not found\n",
	} {
		if w := ask(h, "GET", p); w.Body.String() != want {
			t.Errorf("%q: %d %q, want %q", p, w.Code, w.Body, want)
		}
	}
	for p, want := range map[string]string{"/docs": "/docs/?q=1", "/docs/sub": "/docs/sub/?q=1"} {
		if got := ask(h, "GET", p).Header().Get("Location"); got != want {
			t.Errorf("%q leads to %q, want %q", p, got, want)
		}
	}
}

func TestFilesAnswersConditionsAndRanges(t *testing.T) {
	t.Parallel()
	h, dir := site(t, "")
	first := ask(h, "GET", "/a.txt")
	tag := first.Header().Get("Etag")
	if !strings.HasPrefix(tag, `"`) || first.Header().Get("Last-Modified") == "" {
		t.Fatalf("validators: %q, %q", tag, first.Header().Get("Last-Modified"))
	}
	for _, tt := range []struct {
		name, value string
		code        int
		body        string
	}{
		{"If-None-Match", tag, 304, ""},
		{"If-None-Match", `"other"`, 200, "0123456789"},
		{"If-Match", `"other"`, 412, ""},
		{"If-Modified-Since", first.Header().Get("Last-Modified"), 304, ""},
		{"Range", "bytes=2-4", 206, "234"},
		{"Range", "bytes=-3", 206, "789"},
		{"Range", "bytes=20-", 416, "invalid range: failed to overlap\n"},
		{"Range", "lines=1-2", 200, "0123456789"},
		{"Range", "Bytes=2-4", 206, "234"},
	} {
		if w := ask(h, "GET", "/a.txt", tt.name, tt.value); w.Code != tt.code || w.Body.String() != tt.body {
			t.Errorf("%s: %s: %d %q, want %d %q", tt.name, tt.value, w.Code, w.Body, tt.code, tt.body)
		}
	}
	if w := ask(h, "GET", "/a.txt", "Range", "bytes=2-4", "If-Range", tag); w.Code != 206 {
		t.Errorf("a range of the same file: %d", w.Code)
	}
	if err := os.WriteFile(filepath.Join(dir, "public/a.txt"), []byte("9876543210!"), 0o644); err != nil {
		t.Fatal(err)
	}
	if w := ask(h, "GET", "/a.txt", "Range", "bytes=2-4", "If-Range", tag); w.Code != 200 || w.Header().Get("Etag") == tag {
		t.Errorf("a range of a file that changed: %d, tag %q", w.Code, w.Header().Get("Etag"))
	}
}

func TestFilesMethods(t *testing.T) {
	t.Parallel()
	h, _ := site(t, "")
	w := ask(h, "HEAD", "/a.txt")
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "10" {
		t.Errorf("HEAD: %d %q, length %s", w.Code, w.Body, w.Header().Get("Content-Length"))
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "get"} {
		if w := ask(h, method, "/a.txt"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

func TestFilesOverARealConnection(t *testing.T) {
	t.Parallel()
	h, _ := site(t, "")
	s := serve(t, h)
	for path, want := range map[string]string{
		"/odd%20name%20%25/%C3%BC.txt": "odd",
		"/%2e%2e/outside.txt":          "404 page not found\n",
		"/..%2foutside.txt":            "404 page not found\n",
		"/%2eenv":                      "404 page not found\n",
		"/index%2ephp":                 "404 page not found\n",
		"/a.txt%00":                    "404 page not found\n",
	} {
		if _, body := get(t, s, path); body != want {
			t.Errorf("%s: %q, want %q", path, body, want)
		}
	}
}

func TestFilesFollowsADeployment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(release, text string) {
		if err := os.Mkdir(filepath.Join(dir, release), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, release, "v.txt"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		next := filepath.Join(dir, "next")
		if err := os.Symlink(release, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "current")); err != nil {
			t.Fatal(err)
		}
	}
	write("one", "1")
	h, err := middleware.NewFiles(middleware.FilesConfig{Root: filepath.Join(dir, "current")})
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(h, "GET", "/v.txt"); w.Body.String() != "1" {
		t.Errorf("got %q", w.Body)
	}
	write("two", "2")
	if w := ask(h, "GET", "/v.txt"); w.Body.String() != "2" {
		t.Errorf("got %q after the deployment", w.Body)
	}
}

func TestFilesConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg  middleware.FilesConfig
		want string
	}{
		{middleware.FilesConfig{Root: "x"}, ""},
		{middleware.FilesConfig{Root: "x", Strip: "/"}, ""},
		{middleware.FilesConfig{Root: "x", Strip: "/a/b/"}, ""},
		{middleware.FilesConfig{}, "root: "},
		{middleware.FilesConfig{Root: "x", Strip: "docs"}, "strip: "},
		{middleware.FilesConfig{Root: "x", Strip: "/a/../b"}, "strip: "},
		{middleware.FilesConfig{Root: "x", Strip: "//a"}, "strip: "},
	} {
		err := tt.cfg.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.cfg, err, tt.want)
		}
	}
	if _, err := middleware.NewFiles(middleware.FilesConfig{Root: filepath.Join(t.TempDir(), "none")}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a folder that does not exist: %v", err)
	}
}

// FuzzFiles asks for any path; no answer may hold what lies outside, hidden files or sources, nor lead to another host.
func FuzzFiles(f *testing.F) {
	h, _ := site(f, "")
	for _, p := range []string{
		"/", "/a.txt", "/../outside.txt", "//evil.com", "/sub/..//index.php", "/.env", "/.well-known/../.env", "/escape/index.html", "/x.php.", "/sub/.\x00/",
		`/..\outside.txt`, "/sub/./.htpasswd", "/index.php/.", "/index.php/x/..", "/.git/config", "/ſub",
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		w := ask(h, "GET", p)
		if strings.Contains(w.Body.String(), "SECRET") {
			t.Errorf("%q is served", p)
		}
		if to := w.Header().Get("Location"); to != "" {
			u, err := url.Parse(to)
			if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`) {
				t.Errorf("%q leads to %q", p, to)
			}
		}
		if w.Code != 200 && w.Code != 301 && w.Code != 404 {
			t.Errorf("%q: %d", p, w.Code)
		}
	})
}

func BenchmarkFiles(b *testing.B) {
	h, _ := site(b, "")
	s := httptest.NewServer(h)
	defer s.Close()
	client := s.Client()
	b.ReportAllocs()
	for b.Loop() {
		res, err := client.Get(s.URL + "/a.txt")
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}
