package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/internal/testenv"
)

func TestStaticServesFilesBeforeTheApplication(t *testing.T) {
	t.Parallel()
	root, outside := testenv.Dir(t), testenv.Dir(t)
	for name, text := range map[string]string{
		"a.css": "css", "plain": "plain", ".env": "secret", ".well-known/acme": "acme", "x.php": "source", "x.php.bak": "source", "x.php_": "source",
		"x.PHP": "source", "old.inc": "source", "both/index.php": "source", "both/index.html": "html", "html/index.html": "html",
		"none/file.txt": "txt", ".git/config": "secret", "big.zip": "zip", "composer.json": "secret", "none/Composer.lock": "secret",
		"dump.SQL": "secret", "debug.log": "secret",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "secret.txt"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link.txt": filepath.Join(outside, "secret.txt"), "linked": outside, "inside.css": "a.css"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	// The application's folder, which links of the public one may lead into, and one whose name begins like it.
	shared := filepath.Join(testenv.Dir(t), "app")
	for name, text := range map[string]string{"storage/a.txt": "stored", "storage/.key": "secret", "x.php": "secret", "../app2/x.txt": "secret"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(shared, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(shared, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"absolute.css": filepath.Join(root, "a.css"), "storage": filepath.Join(shared, "storage"),
		"key.txt": filepath.Join(shared, "storage", ".key"), "source.txt": filepath.Join(shared, "x.php"),
		"beside.txt": filepath.Join(shared, "..", "app2", "x.txt")} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("app")) })
	handler := func(cfg middleware.StaticConfig) http.Handler {
		cfg.Root, cfg.Links = root, []string{shared}
		h, err := middleware.NewStatic(cfg, app)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	worker := handler(middleware.StaticConfig{Forbid: []string{".zip"}})
	classic := handler(middleware.StaticConfig{Index: "index.php"})
	only := handler(middleware.StaticConfig{Allow: []string{".css"}})

	for _, test := range []struct{ method, path, worker, classic string }{
		{"GET", "/a.css", "css", "css"},
		{"HEAD", "/a.css", "", ""},
		{"POST", "/a.css", "app", "app"},
		{"GET", "/plain", "plain", "plain"},
		{"GET", "/inside.css", "css", "css"},
		{"GET", "/none/../a.css", "css", "css"},
		{"GET", "/.well-known/acme", "acme", "acme"},
		{"GET", "/big.zip", "app", "zip"},
		{"GET", "/", "app", "app"},
		{"GET", "/a.css/", "app", "app"},
		{"GET", "/a.css/x", "app", "app"},
		{"GET", "/missing.css", "app", "app"},
		{"GET", "/.env", "app", "app"},
		{"GET", "/.git/config", "app", "app"},
		{"GET", "/x.php", "app", "app"},
		{"GET", "/x.PHP", "app", "app"},
		{"GET", "/x.php.bak", "app", "app"},
		{"GET", "/x.php_", "app", "app"},
		{"GET", "/old.inc", "app", "app"},
		{"GET", "/link.txt", "app", "app"},
		{"GET", "/absolute.css", "css", "css"},
		{"GET", "/storage/a.txt", "stored", "stored"},
		{"GET", "/storage/.key", "app", "app"},
		{"GET", "/storage/none", "app", "app"},
		{"GET", "/storage/", "app", "app"},
		{"GET", "/key.txt", "app", "app"},
		{"GET", "/source.txt", "app", "app"},
		{"GET", "/beside.txt", "app", "app"},
		{"GET", "/composer.json", "app", "app"},
		{"GET", "/none/Composer.lock", "app", "app"},
		{"GET", "/dump.SQL", "app", "app"},
		{"GET", "/debug.log", "app", "app"},
		{"GET", "/linked/secret.txt", "app", "app"},
		{"GET", "/a.css%00", "app", "app"},
		{"GET", "/none/", "app", "app"},
		{"GET", "/none", "app", "app"},
		{"GET", "/both/", "app", "app"},
		{"GET", "/html/", "app", "html"},
		{"GET", "/linked/", "app", "app"},
	} {
		if w := askStatic(worker, test.method, test.path); w.Code != 200 || w.Body.String() != test.worker {
			t.Errorf("%s %s = %d %q, want %q", test.method, test.path, w.Code, w.Body, test.worker)
		}
		if w := askStatic(classic, test.method, test.path); w.Code != 200 || w.Body.String() != test.classic {
			t.Errorf("classic: %s %s = %d %q, want %q", test.method, test.path, w.Code, w.Body, test.classic)
		}
	}
	for _, path := range []string{"/both", "/html"} {
		if w := askStatic(classic, "GET", path); w.Code != 301 || w.Header().Get("Location") != path+"/" {
			t.Errorf("%s = %d to %q", path, w.Code, w.Header().Get("Location"))
		}
	}
	if got := askStatic(only, "GET", "/none/file.txt").Body.String(); got != "app" {
		t.Errorf("a file that is not allowed: %q", got)
	}
	if got := askStatic(only, "GET", "/a.css").Body.String(); got != "css" {
		t.Errorf("a file that is allowed: %q", got)
	}
	if _, err := middleware.NewStatic(middleware.StaticConfig{Root: filepath.Join(root, "a.css")}, app); err == nil {
		t.Error("a file was taken for a folder")
	}
}

func askStatic(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}
