package php_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// vault is a pool that may send files, and what is around them:
//
//	files/            sendfile.folders
//	  report.pdf  empty  dir/  out -> ../secret.txt  more -> ../more  pipe
//	more/a.txt        sendfile.folders, too
//	hidden/b c.css    sendfile.accel as /protected
//	secret.txt        in none
type vault struct {
	*world
	dir string
}

func newVault(t *testing.T) vault {
	dir := testenv.Dir(t)
	report := strings.Repeat("0123456789", 1000)
	for name, text := range map[string]string{"files/report.pdf": report, "files/empty": "", "files/dir/x": "x", "more/a.txt": "more",
		"hidden/b c.css": "body{}", "secret.txt": "secret", "files-not/x": "secret"} {
		write(t, filepath.Join(dir, name), text)
	}
	for link, target := range map[string]string{"files/out": "../secret.txt", "files/more": filepath.Join(dir, "more"), "current": "files"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "files", "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Sendfile = php.Sendfile{
			Folders: []string{filepath.Join(dir, "current"), filepath.Join(dir, "more")},
			Accel:   map[string]string{"/protected": filepath.Join(dir, "hidden"), "/": filepath.Join(dir, "more")},
		}
	})
	return vault{w, dir}
}

// send lets PHP answer with headers, and returns the client's answer to a request with others.
func (v vault) send(headers map[string]string, change func(*http.Request)) (*http.Response, string) {
	v.Helper()
	lists := map[string][]string{}
	for name, value := range headers {
		lists[name] = []string{strings.ReplaceAll(value, "DIR", v.dir)}
	}
	text, _ := json.Marshal(lists)
	r := httptest.NewRequest("GET", "/headers?h="+url.QueryEscape(string(text)), nil)
	if change != nil {
		change(r)
	}
	return v.do(r)
}

func TestSendfile(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	response, body := v.send(map[string]string{"X-Sendfile": "DIR/current/report.pdf", "Content-Disposition": "attachment", "X-Accel-Buffering": "no"}, nil)
	h := response.Header
	if response.StatusCode != 200 || len(body) != 10_000 || response.ContentLength != 10_000 || h.Get("Content-Type") != "application/pdf" ||
		h.Get("Content-Disposition") != "attachment" || h.Get("Etag") == "" || h.Get("Last-Modified") == "" || h.Get("Accept-Ranges") != "bytes" {
		t.Errorf("the file: %d, %d bytes, %v", response.StatusCode, len(body), h)
	}
	if h["X-Sendfile"] != nil || h["X-Accel-Buffering"] != nil {
		t.Errorf("headers for Edge reach the client: %v", h)
	}
	for _, c := range []struct {
		name, header, value string
		status              int
		body                string
	}{
		{"a range", "Range", "bytes=10-13", 206, "0123"},
		{"a range that is none", "Range", "bytes=20000-", 416, ""},
		{"what the client has", "If-None-Match", h.Get("Etag"), 304, ""},
		{"what the client has, by date", "If-Modified-Since", h.Get("Last-Modified"), 304, ""},
	} {
		response, body := v.send(map[string]string{"X-Sendfile": "DIR/current/report.pdf"}, func(r *http.Request) { r.Header.Set(c.header, c.value) })
		if response.StatusCode != c.status || c.status < 400 && body != c.body {
			t.Errorf("%s: %d %q", c.name, response.StatusCode, short(body))
		}
	}
	response, body = v.send(map[string]string{"X-Sendfile": "DIR/current/report.pdf"}, func(r *http.Request) { r.Method = "HEAD" })
	if body != "" || response.ContentLength != 10_000 {
		t.Errorf("HEAD: %d bytes, Content-Length %d", len(body), response.ContentLength)
	}
	response, body = v.send(map[string]string{"X-Sendfile": "DIR/files/empty", "Content-Type": "text/x", "Etag": `"own"`, "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Length": "99"}, nil)
	h = response.Header
	if body != "" || h.Get("Content-Type") != "text/x" || h.Get("Etag") != `"own"` || h.Get("Last-Modified") != "Thu, 01 Jan 2026 00:00:00 GMT" || response.ContentLength != 0 {
		t.Errorf("PHP's own headers: %v", h)
	}
}

func TestSendfilePaths(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	for _, c := range []struct {
		header, value string
		status        int
		body          string
	}{
		{"X-Sendfile", "DIR/files/dir/../dir/./x", 200, "x"}, // the real path of what is configured by a link
		{"X-Sendfile", "DIR/more/a.txt", 200, "more"},
		{"X-Sendfile", "DIR/files/more/a.txt", 200, "more"}, // by a link of one folder into the other
		{"X-Sendfile", "DIR/files/none", 404, ""},
		{"X-Sendfile", "DIR/files/dir/x/y", 404, ""},
		{"X-Sendfile", "DIR/secret.txt", 403, ""},
		{"X-Sendfile", "DIR/files-not/x", 403, ""},
		{"X-Sendfile", "DIR/files/../secret.txt", 403, ""},
		{"X-Sendfile", "DIR/files/out", 403, ""},
		{"X-Sendfile", "DIR/files/pipe", 403, ""},
		{"X-Sendfile", "DIR/files/dir", 403, ""},
		{"X-Sendfile", "DIR/files", 403, ""},
		{"X-Sendfile", "/etc/passwd", 403, ""},
		{"X-Sendfile", "app.php", 403, ""}, // below the pool's dir, which is no folder of these
		{"X-Accel-Redirect", "/protected/b%20c.css?v=1", 200, "body{}"},
		{"X-Accel-Redirect", "/protected/b c.css", 200, "body{}"},
		{"X-Accel-Redirect", "/a.txt", 200, "more"},
		{"X-Accel-Redirect", "/protected/../a.txt", 200, "more"},
		{"X-Accel-Redirect", "/protected/%2e%2e/secret.txt", 404, ""},
		{"X-Accel-Redirect", "/protected", 403, ""},
		{"X-Accel-Redirect", "/protected/%zz", 403, ""},
		{"X-Accel-Redirect", "protected/b", 403, ""},
	} {
		response, body := v.send(map[string]string{c.header: c.value, "Set-Cookie": "a=b"}, nil)
		if response.StatusCode != c.status || c.status == 200 && body != c.body {
			t.Errorf("%s: %s = %d %q, want %d %q", c.header, c.value, response.StatusCode, short(body), c.status, c.body)
		}
		if strings.Contains(body, "secret") || response.Header[c.header] != nil {
			t.Errorf("%s: %s gives away %q, %v", c.header, c.value, body, response.Header)
		}
	}
	v.logged("in none of sendfile.folders")
	v.logged("current/none")
	for _, part := range []string{"pool=app", "pid="} {
		v.logged(part)
	}
}

// TestSendfileWithOtherStatus sends the whole page of an error, with its status.
func TestSendfileWithOtherStatus(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	head := url.QueryEscape(filepath.Join(v.dir, "more/a.txt"))
	for path, want := range map[string]string{"/sendfile?n=404&f=": "404 more", "/sendfile?n=204&f=": "204 ", "/sendfile?stream=1&n=200&f=": "200 more"} {
		r := httptest.NewRequest("GET", path+head, nil)
		r.Header.Set("Range", "bytes=0-0")
		if strings.Contains(path, "200") {
			r.Header.Del("Range")
		}
		response, body := v.do(r)
		if got := fmt.Sprint(response.StatusCode, " ", body); got != want || response.Header["X-Sendfile"] != nil {
			t.Errorf("%s = %q, %v; want %q", path, got, response.Header, want)
		}
	}
	_, pid := v.get("/pid")
	v.expectStatus("/sendfile?stream=1&n=200&f="+head, 200)
	v.expect("/pid", 200, pid) // the rest of the stream was cancelled
}

// TestHeadersWithoutSendfile belong to the server in front of Edge.
func TestHeadersWithoutSendfile(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	response, body := vault{w, ""}.send(map[string]string{"X-Sendfile": "/etc/passwd", "X-Accel-Redirect": "/a", "X-Accel-Buffering": "no"}, nil)
	if body != "body" || len(response.Header["X-Sendfile"])+len(response.Header["X-Accel-Redirect"])+len(response.Header["X-Accel-Buffering"]) != 3 {
		t.Errorf("%q with %v", body, response.Header)
	}
}

// PHP's value of a header wins over one that was set before PHP was asked; lists grow.
func TestHeadersSetBeforePHP(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	query := url.QueryEscape(`{"Access-Control-Allow-Origin":["https://a.example"],"Vary":["Cookie"],"X-Two":["1","2"]}`)
	rec := httptest.NewRecorder()
	for name, value := range map[string]string{"Access-Control-Allow-Origin": "*", "Vary": "Origin", "X-Two": "0", "X-Own": "kept"} {
		rec.Header().Set(name, value)
	}
	w.pool.Handler("").ServeHTTP(rec, httptest.NewRequest("GET", "/headers?h="+query, nil))
	for name, want := range map[string]string{"Access-Control-Allow-Origin": "https://a.example", "Vary": "Origin|Cookie", "X-Two": "1|2", "X-Own": "kept"} {
		if got := strings.Join(rec.Header()[name], "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestSendfileIsNotBuffered sends a large file in little memory.
func TestSendfileIsNotBuffered(t *testing.T) {
	v := newVault(t)
	const size = 256 << 20
	file := filepath.Join(v.dir, "files", "large")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	response, err := v.client.Get(v.server.URL + "/headers?h=" + url.QueryEscape(fmt.Sprintf(`{"X-Sendfile":[%q]}`, file)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, response.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("%d MiB allocated for a file of %d MiB", got>>20, size>>20)
	}
}

// An Edge that runs as root does not read for PHP what PHP's user may not.
func TestSendfileWithTheRightsOfWorkers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root", "run the tests as root")
	}
	dir := testenv.Dir(t)
	app := filepath.Join(testenv.Root(t), "php", "testdata")
	for _, name := range []string{"app.php", "files.php", "lib.php"} {
		text, err := os.ReadFile(filepath.Join(app, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	write(t, filepath.Join(dir, "files/public"), "for all")
	write(t, filepath.Join(dir, "files/shadow"), "for root")
	write(t, filepath.Join(dir, "files/closed/file"), "for root")
	for name, mode := range map[string]os.FileMode{"": 0o755, "files/shadow": 0o600, "files/closed": 0o700} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	w := setup(t, "app.php", func(c *php.Config, o *php.Options) {
		c.User, c.Dir, o.TempDir = "nobody", dir, os.TempDir()
		c.Sendfile = php.Sendfile{Folders: []string{"/"}, Accel: map[string]string{"/": filepath.Join(dir, "files")}}
	})
	v := vault{w, dir}
	for _, header := range []string{"X-Sendfile", "X-Accel-Redirect"} {
		prefix := ""
		if header == "X-Sendfile" {
			prefix = "DIR/files"
		}
		for name, want := range map[string]int{"/public": 200, "/shadow": 403, "/closed/file": 403} {
			if response, body := v.send(map[string]string{header: prefix + name}, nil); response.StatusCode != want || strings.Contains(body, "for root") {
				t.Errorf("%s %s: %d %q, want %d", header, name, response.StatusCode, short(body), want)
			}
		}
	}
}

func TestSendfileFoldersMustExist(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	write(t, filepath.Join(dir, "file"), "")
	for want, s := range map[string]php.Sendfile{
		"sendfile.folders.0: stat":                      {Folders: []string{filepath.Join(dir, "none")}},
		"is not a folder":                               {Folders: []string{filepath.Join(dir, "file")}},
		"sendfile.accel./x: stat":                       {Accel: map[string]string{"/x": filepath.Join(dir, "none")}},
		"sendfile.accel: \"x\" is not the beginning of": {Accel: map[string]string{"x": dir}},
		"sendfile.accel./x: names no folder":            {Accel: map[string]string{"/x": ""}},
	} {
		cfg := config(t, "app.php")
		cfg.Sendfile = s
		if _, err := php.New("app", cfg, php.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}
