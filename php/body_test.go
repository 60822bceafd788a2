package php_test

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// post sends a body of a type and returns what app.php's /echo saw.
func (w *world) post(method, contentType, body string) echoed {
	w.Helper()
	r := httptest.NewRequest(method, "/echo", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	response, text := w.do(r)
	if response.StatusCode != 200 {
		w.Fatalf("status %d: %s", response.StatusCode, text)
	}
	return fromJSON[echoed](w.T, text)
}

func TestForms(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	const form = "application/x-www-form-urlencoded; charset=utf-8"
	for body, want := range map[string]string{
		"":                             "",
		"a=1&b=2&a=3":                  `{"a":"3","b":"2"}`,
		"z=1&y=2&x=3&list[]=q&list[]=": `{"z":"1","y":"2","x":"3","list":["q",""]}`,
		"u[name]=A+B&u[mail]=%40":      `{"u":{"name":"A B","mail":"@"}}`,
		"bad=%zz&=e":                   `{"bad":"%zz","":"e"}`,
	} {
		got := w.post("POST", form, body)
		if got.Body != want || !got.Parsed {
			t.Errorf("form %q: body %s, parsed %v; want %s", body, got.Body, got.Parsed, want)
		}
	}
	if got := w.post("DELETE", form, "a=1"); got.Body != "" || !got.Parsed {
		t.Errorf("form of a DELETE: %+v, want an empty tree", got)
	}
	if got := w.post("OPTIONS", form, "a=1"); got.Body != "" || got.Parsed {
		t.Errorf("form of an OPTIONS: %+v, want no body", got)
	}
	for body, status := range map[string]int{"a=1&a[b]=2": 400, "a=" + strings.Repeat("x", 11<<20): 413} {
		r := httptest.NewRequest("POST", "/echo", strings.NewReader(body))
		r.Header.Set("Content-Type", form)
		if response, _ := w.do(r); response.StatusCode != status {
			t.Errorf("form %s: status %d, want %d", short(body), response.StatusCode, status)
		}
	}
}

// multipartBody writes fields and files in order: name, file name ("" for a field), content.
func multipartBody(t *testing.T, parts ...[3]string) (contentType string, body *bytes.Buffer) {
	t.Helper()
	body = &bytes.Buffer{}
	mw := multipart.NewWriter(body)
	for _, p := range parts {
		var (
			part io.Writer
			err  error
		)
		if p[1] == "" {
			part, err = mw.CreateFormField(p[0])
		} else {
			h := textproto.MIMEHeader{}
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, p[0], p[1]))
			h.Set("Content-Type", "image/png")
			part, err = mw.CreatePart(h)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, p[2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := mw.Close(); err != nil {
		t.Fatal(err)
	}
	return mw.FormDataContentType(), body
}

type upload struct {
	Name, Mime, TmpName string
	Size, Error         int
}

func TestUploads(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.Uploads.Forbid = []string{".php"} })
	big := strings.Repeat("pixel", 200_000)
	contentType, body := multipartBody(t,
		[3]string{"title", "", "Hä \"q\""}, [3]string{"f", "a.png", big}, [3]string{"f", "ignored.png", "second"},
		[3]string{"more[]", "b.png", "bb"}, [3]string{"more[]", "evil.PHP", "<?php"})
	moved := filepath.Join(testenv.Dir(t), "moved")
	r := httptest.NewRequest("POST", "/files?move="+url.QueryEscape(moved), body)
	r.Header.Set("Content-Type", contentType)
	_, text := w.do(r)
	got := fromJSON[struct {
		Form     string
		Contents []string
		Uploads  struct {
			F    upload
			More []upload
		}
	}](t, text)

	if got.Form != `{"title":"Hä \"q\""}` {
		t.Errorf("form %s", got.Form)
	}
	f := got.Uploads.F
	if f.Name != "a.png" || f.Mime != "image/png" || f.Size != len(big) || f.Error != 0 || len(got.Contents) != 2 || got.Contents[0] != big {
		t.Errorf("the file: %+v, %d contents", f, len(got.Contents))
	}
	if more := got.Uploads.More; len(more) != 2 || more[1].Error != 8 || more[1].TmpName != "" || more[1].Size != 0 {
		t.Errorf("the list: %+v, want the second refused", more)
	}
	if content, err := os.ReadFile(moved); err != nil || string(content) != big {
		t.Errorf("the file PHP moved: %d bytes, %v", len(content), err)
	}
	w.emptyTemp()
}

// emptyTemp waits until no body or upload is left on disk.
func (w *world) emptyTemp() {
	w.Helper()
	w.eventually("the temporary folder is empty", func() bool {
		entries, err := os.ReadDir(w.pool.TempPath())
		return err == nil && len(entries) == 0
	})
}

func TestBrokenMultipart(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", nil)
	for contentType, body := range map[string]string{
		"multipart/form-data":              "x",
		"multipart/form-data; boundary=b":  "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\ncut off",
		"multipart/form-data; boundary=bb": "no part at all",
	} {
		r := httptest.NewRequest("POST", "/echo", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		if response, _ := w.do(r); response.StatusCode < 400 || response.StatusCode >= 500 {
			t.Errorf("%s: status %d, want 4xx", contentType, response.StatusCode)
		}
	}
	w.emptyTemp()
}

// pattern is n bytes that repeat nowhere near.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func TestRawBodies(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.Body.Memory = 64 * bytesize.KiB })
	for _, n := range []int{1, 4000, 64 << 10, 64<<10 + 1, 300_000, 5 << 20} {
		for _, chunked := range []bool{false, true} {
			body := pattern(n)
			r := httptest.NewRequest("PUT", "/body", bytes.NewReader(body))
			r.Header.Set("Content-Type", "application/octet-stream")
			if chunked {
				r.ContentLength = -1
			}
			if _, got := w.do(r); got != fmt.Sprintf("%d %x", n, md5.Sum(body)) {
				t.Errorf("body of %d bytes, chunked %v: PHP got %s", n, chunked, got)
			}
		}
	}
	w.emptyTemp()
}

func TestBodyLimits(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Body = php.Body{Memory: bytesize.KiB, Frame: 10 * bytesize.KiB}
	})
	w.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(rw, r.Body, 20<<10) // as the server does for http.limits.body
		w.pool.ServeHTTP(rw, r)
	})
	for n, want := range map[int]int{10 << 10: 200, 10<<10 + 1: 413, 20<<10 + 1: 413} {
		for _, chunked := range []bool{false, true} {
			r := httptest.NewRequest("POST", "/body", bytes.NewReader(pattern(n)))
			if chunked {
				r.ContentLength = -1
			}
			if response, _ := w.do(r); response.StatusCode != want {
				t.Errorf("body of %d bytes, chunked %v: status %d, want %d", n, chunked, response.StatusCode, want)
			}
		}
	}
	contentType, body := multipartBody(t, [3]string{"f", "a.png", string(pattern(30 << 10))})
	r := httptest.NewRequest("POST", "/files", body)
	r.Header.Set("Content-Type", contentType)
	if response, _ := w.do(r); response.StatusCode != 413 {
		t.Errorf("upload over the limit: status %d, want 413", response.StatusCode)
	}
	w.emptyTemp()
	w.expectStatus("/pid", 200)
}

// TestBodyAsFile is how sdk/php gets large bodies.
func TestBodyAsFile(t *testing.T) {
	t.Parallel()
	w := setup(t, "files.php", func(c *php.Config, _ *php.Options) {
		c.Body = php.Body{Memory: 10 * bytesize.KiB, Frame: 20 * bytesize.KiB}
	})
	for _, n := range []int{0, 5000, 30_000} {
		body := pattern(n)
		_, text := w.do(httptest.NewRequest("POST", "/", bytes.NewReader(body)))
		got := fromJSON[struct {
			File, MD5  string
			Size, Body int
		}](t, text)
		if asFile := n > 10<<10; got.MD5 != fmt.Sprintf("%x", md5.Sum(body)) || asFile != (got.File != "") || asFile && (got.Size != n || got.Body != 0) {
			t.Errorf("body of %d bytes: %+v", n, got)
		}
	}
	w.emptyTemp()
}

// TestBigBodyInLittleMemory sends more than the test may ever allocate at a time.
func TestBigBodyInLittleMemory(t *testing.T) {
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Command = append(php.Command{c.Command[0], "-d", "memory_limit=1G"}, c.Command[1:]...)
	})
	const size = 60 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	request, err := http.NewRequest("POST", w.server.URL+"/body", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	response, err := w.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if !strings.HasPrefix(string(text), fmt.Sprint(size, " ")) {
		t.Fatalf("PHP got %q", text)
	}
	response, err = w.client.Get(w.server.URL + fmt.Sprintf("/big?n=%d", size))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, response.Body); n != size || err != nil {
		t.Fatalf("answer of %d bytes, %v", n, err)
	}
	response.Body.Close()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size/2 {
		t.Errorf("%d MiB allocated for bodies of %d MiB", got>>20, size>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestWorkersOfAnotherUser runs as root, and its workers do not.
func TestWorkersOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root", "run the tests as root")
	}
	dir := testenv.Dir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app.php", "files.php", "lib.php"} {
		text, err := os.ReadFile(filepath.Join(testenv.Root(t), "php", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, relay := range []string{"pipes", "unix"} {
		w := setup(t, "app.php", func(c *php.Config, o *php.Options) {
			c.User, c.Dir, c.Relay = "nobody", dir, relay
			o.TempDir = os.TempDir()
		})
		if _, body := w.get("/cwd"); strings.HasSuffix(body, " 0") {
			t.Errorf("%s: the worker runs as root: %s", relay, body)
		}
		contentType, body := multipartBody(t, [3]string{"f", "a.png", "pixels"})
		moved := filepath.Join(w.pool.TempPath(), "moved")
		r := httptest.NewRequest("POST", "/files?move="+url.QueryEscape(moved), body)
		r.Header.Set("Content-Type", contentType)
		if _, text := w.do(r); !strings.Contains(text, "pixels") {
			t.Errorf("%s: PHP cannot read an upload: %s", relay, text)
		}
		if _, err := os.Stat(moved); err != nil {
			t.Errorf("%s: PHP cannot move an upload: %v", relay, err)
		}
	}

	if err := os.Mkdir(filepath.Join(dir, "secret"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := config(t, "app.php")
	cfg.User, cfg.Dir = "nobody", filepath.Join(dir, "secret")
	_, err := php.New("app", cfg, php.Options{})
	if want := "cannot enter the folder " + cfg.Dir; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("New: %v, want %q", err, want)
	}
}
