package php_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// legacyEcho is what legacy.php saw of a request.
type legacyEcho struct {
	Context struct {
		Method, URI string
		Cookies     any
		Uploads     map[string]upload
		Parsed      bool
		Attributes  any
	}
	Body string
	Form any
}

// TestLegacyWorkers speak JSON, with an empty codec as up to 3.4 and with JSON's.
func TestLegacyWorkers(t *testing.T) {
	t.Parallel()
	for _, relay := range []string{"pipes", "unix"} {
		for _, codec := range []string{"0", "8"} {
			t.Run(relay+"/"+codec, func(t *testing.T) {
				t.Parallel()
				w := setup(t, "legacy.php", func(c *php.Config, _ *php.Options) {
					c.Codec, c.Relay, c.Env = "json", relay, map[string]string{"ANSWER_CODEC": codec}
				})
				testLegacy(w)
			})
		}
	}
}

func testLegacy(w *world) {
	t := w.T
	r := httptest.NewRequest("GET", "/echo?a=1", nil)
	r.Header.Set("Cookie", "theme=dark; bad=%zz; e=%C3%A9")
	response, text := w.do(r)
	got := fromJSON[legacyEcho](t, text)
	if got.Context.Method != "GET" || !strings.HasSuffix(got.Context.URI, "/echo?a=1") || fmt.Sprint(got.Context.Cookies) != "map[e:é theme:dark]" || got.Context.Parsed {
		t.Errorf("context %+v", got.Context)
	}
	if cookies := response.Header["Set-Cookie"]; len(cookies) != 2 || cookies[0] != "a=1/2" || cookies[1] != `b="ü"` {
		t.Errorf("headers %v", response.Header)
	}
	for body, want := range map[string]string{"a[x][]=1&b=2": "map[a:map[x:[1]] b:2]", "": "[]"} {
		r := httptest.NewRequest("POST", "/echo", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		_, text := w.do(r)
		if got := fromJSON[legacyEcho](t, text); !got.Context.Parsed || fmt.Sprint(got.Form) != want {
			t.Errorf("form %q: %+v, want %s", body, got, want)
		}
	}
	contentType, body := multipartBody(t, [3]string{"title", "", "T"}, [3]string{"f", "a.png", "pixels"})
	r = httptest.NewRequest("POST", "/echo", body)
	r.Header.Set("Content-Type", contentType)
	_, text = w.do(r)
	if got := fromJSON[legacyEcho](t, text); got.Context.Uploads["f"].Size != 6 || got.Body != `{"title":"T"}` {
		t.Errorf("upload %+v", got)
	}
	large := strings.Repeat("x", 1<<20) // by way of a file, into the frame
	_, text = w.do(httptest.NewRequest("PUT", "/echo", strings.NewReader(large)))
	if got := fromJSON[legacyEcho](t, text); got.Body != large {
		t.Errorf("a body of 1 MiB arrived as %d bytes", len(got.Body))
	}
	w.expect("/stream", 200, "one\ntwo\nend\n")
	w.expect("/raw?head="+url.QueryEscape(`{"status":404,"headers":[]}`), 404, "body")
	w.expectStatus("/raw?head="+url.QueryEscape(`{"status":"no"}`), http.StatusBadGateway)
	w.expectStatus("/raw?head="+url.QueryEscape(`{"status":200`), http.StatusBadGateway)
	w.expect("/stream", 200, "one\ntwo\nend\n")
}

// TestCodecIsChosenByComposer installs the package in some release, where each of the ways to lay out a project puts it.
func TestCodecIsChosenByComposer(t *testing.T) {
	t.Parallel()
	const v1, v2 = `[{"name":"a/b","version":"9.0"},{"name":"spiral/roadrunner-http","version":%q}]`,
		`{"packages":[{"name":"a/b","version":"9.0"},{"name":"spiral/roadrunner-http","version":%q}],"dev":true}`
	for _, c := range []struct {
		name, script, vendor, installed, version, codec string
		json                                            bool
	}{
		{"3.4 beside the script", "worker.php", "vendor", v2, "v3.4.0", "auto", true},
		{"3.4 above the script", "bin/deep/worker.php", "vendor", v2, "3.4.2.0", "auto", true},
		{"2.2 by Composer 1", "worker.php", "vendor", v1, "v2.2.0", "auto", true},
		{"another vendor folder", "worker.php", "lib/packages", v2, "v3.4.0", "auto", true},
		{"the script is a package's", "vendor/acme/runner/bin/worker.php", "vendor", v2, "v3.4.0", "auto", true},
		{"3.5", "worker.php", "vendor", v2, "v3.5.0", "auto", false},
		{"4.2", "worker.php", "vendor", v2, "4.2.0", "auto", false},
		{"a branch", "worker.php", "vendor", v2, "3.x-dev", "auto", false},
		{"broken", "worker.php", "vendor", `{"packages":`, "", "auto", false},
		{"3.4, but said to be proto", "worker.php", "vendor", v2, "v3.4.0", "proto", false},
		{"3.6, but said to be json", "worker.php", "vendor", v2, "v3.6.1", "json", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := testenv.Dir(t)
			for _, name := range []string{"lib.php", "legacy.php"} {
				text, err := os.ReadFile(filepath.Join(testenv.Root(t), "php", "testdata", name))
				if err != nil {
					t.Fatal(err)
				}
				if name == "legacy.php" {
					name = filepath.Base(c.script)
				}
				write(t, filepath.Join(dir, filepath.Dir(c.script), name), string(text))
			}
			if c.vendor != "vendor" {
				write(t, filepath.Join(dir, "composer.json"), fmt.Sprintf(`{"config":{"vendor-dir":%q}}`, c.vendor))
			}
			installed := c.installed
			if strings.Contains(installed, "%q") {
				installed = fmt.Sprintf(installed, c.version)
			}
			write(t, filepath.Join(dir, c.vendor, "composer", "installed.json"), installed)

			w := setup(t, c.script, func(cfg *php.Config, _ *php.Options) { cfg.Dir, cfg.Codec = dir, c.codec })
			status, body := w.get("/echo")
			if got := status == 200; got != c.json {
				t.Errorf("JSON %v, want %v: %d %s", got, c.json, status, short(body))
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRawForms are given to PHP as they came.
func TestRawForms(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.Body.Raw = true })
	if got := w.post("POST", "application/x-www-form-urlencoded", "b=1&a=%zz"); got.Body != "b=1&a=%zz" || got.Parsed {
		t.Errorf("form %+v", got)
	}
	contentType, body := multipartBody(t, [3]string{"f", "a.png", "pixels"})
	want := body.String()
	if got := w.post("POST", contentType, want); got.Body != want || got.Parsed || got.Uploads != "" {
		t.Errorf("multipart %+v", got)
	}
	if got := w.post("DELETE", "application/x-www-form-urlencoded", "a=1"); got.Body != "a=1" || got.Parsed {
		t.Errorf("form of a DELETE %+v", got)
	}
	if got := w.post("OPTIONS", "application/x-www-form-urlencoded", "a=1"); got.Body != "" || got.Parsed {
		t.Errorf("form of an OPTIONS %+v", got)
	}
}

// TestErrorStatus is one status without a body for whatever PHP failed at, and none for what the client did.
func TestErrorStatus(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) { c.ErrorStatus = 599 })
	for _, path := range []string{"/error", "/exit", "/junk", "/status?n=99"} {
		w.expect(path, 599, "")
	}
	w.expect("/status?n=503&body=own", 503, "own")
	r := httptest.NewRequest("POST", "/echo", strings.NewReader("a=1&a[b]=2"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if response, _ := w.do(r); response.StatusCode != 400 {
		t.Errorf("a bad form: status %d, want 400", response.StatusCode)
	}
	w.stop()
	w.expect("/pid", 599, "")
}

// TestAttributes reach PHP from middleware, beside those of the pool.
func TestAttributes(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"app.php":        "map[roles:[a b] user:[42]]",
		"attributes.php": "map[roles:[a b] user:[42]]",
		"legacy.php":     "map[roles:[a b] user:42]",
	} {
		w := setup(t, script, func(c *php.Config, _ *php.Options) {
			if script == "legacy.php" {
				c.Codec = "json"
			}
		})
		inner := w.server.Config.Handler
		w.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(rw, php.WithAttribute(php.WithAttribute(r, "user", "42"), "roles", "a", "b"))
		})
		_, text := w.get("/echo")
		got := fmt.Sprint(fromJSON[echoed](t, text).Attributes)
		if script == "legacy.php" {
			got = fmt.Sprint(fromJSON[legacyEcho](t, text).Context.Attributes)
		}
		if got != want {
			t.Errorf("%s: attributes %s, want %s", script, got, want)
		}
	}
}
