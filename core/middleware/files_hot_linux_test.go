package middleware

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// hotFolder is a handler that remembers files at once, behind a link such as deployments move.
func hotFolder(t *testing.T) (h *files, release, link string) {
	t.Helper()
	dir := testenv.Dir(t)
	release, link = filepath.Join(dir, "1"), filepath.Join(dir, "current")
	if err := os.Mkdir(release, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(release, link); err != nil {
		t.Fatal(err)
	}
	handler, err := NewFiles(FilesConfig{Root: link, ETag: "strong", Cache: []CacheRule{{Match: "*.css", Control: "max-age=60"}}})
	if err != nil {
		t.Fatal(err)
	}
	h = handler.(*files)
	h.hot.age = 0
	return h, release, link
}

func ask(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestHotFilesAnswerAsOthers: the second answer is the first one, and requests with conditions get what they ask for.
func TestHotFilesAnswerAsOthers(t *testing.T) {
	t.Parallel()
	h, release, _ := hotFolder(t)
	for name, text := range map[string]string{"a.css": "a{}", "page": "<html>guessed", "empty.txt": ""} {
		write(t, filepath.Join(release, name), text)
		path := "/" + name
		first, second := ask(h, "GET", path), ask(h, "GET", path)
		if h.hot.files[path] == nil {
			t.Fatalf("%s is not remembered", path)
		}
		if got, want := fmt.Sprint(second.Code, second.Header(), second.Body), fmt.Sprint(first.Code, first.Header(), first.Body); got != want || first.Code != 200 {
			t.Errorf("%s: the second time\n%s\nthe first\n%s", path, got, want)
		}
		if head := ask(h, "HEAD", path); head.Body.Len() != 0 || head.Header().Get("Content-Length") != fmt.Sprint(len(text)) {
			t.Errorf("HEAD %s got %v %q", path, head.Header(), head.Body)
		}
		if again := ask(h, "GET", path, "If-None-Match", first.Header().Get("Etag")); again.Code != http.StatusNotModified {
			t.Errorf("%s: a client that has it got %d", path, again.Code)
		}
	}
	if part := ask(h, "GET", "/a.css", "Range", "bytes=1-1"); part.Code != http.StatusPartialContent || part.Body.String() != "{" {
		t.Errorf("a range got %d %q", part.Code, part.Body)
	}
}

// TestHotFilesAreTrue: whatever happens to a file that is remembered, what is served is what is there.
func TestHotFilesAreTrue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, release, link string)
		status int
		body   string
	}{
		"written": {func(t *testing.T, release, _ string) { write(t, filepath.Join(release, "a.txt"), "newer") }, 200, "newer"},
		"replaced": {func(t *testing.T, release, _ string) {
			write(t, filepath.Join(release, "b.txt"), "new")
			must(t, os.Rename(filepath.Join(release, "b.txt"), filepath.Join(release, "a.txt")))
		}, 200, "new"},
		"removed": {func(t *testing.T, release, _ string) { must(t, os.Remove(filepath.Join(release, "a.txt"))) }, 404, "404 page not found\n"},
		"a link out of the folder": {func(t *testing.T, release, _ string) {
			write(t, filepath.Join(release, "..", "secret"), "secret")
			must(t, os.Remove(filepath.Join(release, "a.txt")))
			must(t, os.Symlink("../secret", filepath.Join(release, "a.txt")))
		}, 404, "404 page not found\n"},
		"a new release": {func(t *testing.T, release, link string) {
			next := filepath.Join(filepath.Dir(release), "2")
			must(t, os.Mkdir(next, 0o755))
			write(t, filepath.Join(next, "a.txt"), "of release 2")
			must(t, os.Symlink(next, link+".new"))
			must(t, os.Rename(link+".new", link))
		}, 200, "of release 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, release, link := hotFolder(t)
			write(t, filepath.Join(release, "a.txt"), "old")
			for range 2 {
				if got := ask(h, "GET", "/a.txt").Body.String(); got != "old" {
					t.Fatalf("got %q", got)
				}
			}
			c.change(t, release, link)
			if got := ask(h, "GET", "/a.txt"); got.Code != c.status || got.Body.String() != c.body {
				t.Errorf("got %d %q", got.Code, got.Body)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestHotFilesAreBounded, and what was changed a moment ago is not remembered.
func TestHotFilesAreBounded(t *testing.T) {
	t.Parallel()
	h, release, _ := hotFolder(t)
	for i := range hotBytes/smallFile + 10 {
		name := fmt.Sprintf("%d.txt", i)
		write(t, filepath.Join(release, name), strings.Repeat("x", smallFile))
		ask(h, "GET", "/"+name)
		must(t, os.Remove(filepath.Join(release, name)))
	}
	if h.hot.bytes > hotBytes || len(h.hot.files) != hotBytes/smallFile {
		t.Errorf("%d files of %d bytes are remembered", len(h.hot.files), h.hot.bytes)
	}
	h.hot.files, h.hot.bytes, h.hot.age = nil, 0, hotAge
	write(t, filepath.Join(release, "young.txt"), "young")
	if ask(h, "GET", "/young.txt"); len(h.hot.files) != 0 {
		t.Error("a file is remembered that was written a moment ago")
	}
}
