package php_test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// ways are how classic mode may run PHP. What it does must be the same.
var ways = map[string]func(*testing.T, *php.Config){
	"php-cgi": func(t *testing.T, cfg *php.Config) { cfg.Command = php.Command{phpCGI(t)} },
	"php-fpm": func(t *testing.T, cfg *php.Config) { cfg.Command = php.Command{phpFPM(t)} },
	"address": func(t *testing.T, cfg *php.Config) { cfg.FastCGI = "unix://" + runFPM(t) },
}

func phpCGI(t testing.TB) string { return testenv.Tool(t, "php-cgi", "apt-get install php-cgi") }

func phpFPM(t testing.TB) string {
	for _, pattern := range []string{"/usr/sbin/php-fpm*", "/usr/local/sbin/php-fpm*"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	return testenv.Tool(t, "php-fpm", "apt-get install php-fpm")
}

// runFPM runs a php-fpm that Edge knows nothing of, and returns its socket.
func runFPM(t testing.TB) string {
	dir := testenv.Dir(t)
	socket, config := filepath.Join(dir, "fpm.sock"), filepath.Join(dir, "fpm.conf")
	text := "[global]\nerror_log = /dev/null\n[www]\nuser = root\nlisten = " + socket +
		"\npm = static\npm.max_children = 4\nclear_env = no\ncatch_workers_output = yes\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(phpFPM(t), "--nodaemonize", "--allow-to-run-as-root", "--force-stderr", "--fpm-config", config)
	cmd.Env = append(os.Environ(), "CLASSIC_TEST=set")
	var said testenv.Log
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends its processes, too
		_ = cmd.Wait()
	})
	testenv.Eventually(t, "php-fpm listens", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return socket
}

// classicConfig serves testdata/classic.
func classicConfig(t *testing.T, way string) php.Config {
	cfg := config(t, "")
	cfg.Command, cfg.Mode = nil, "classic"
	cfg.Root = filepath.Join(testenv.Root(t), "php", "testdata", "classic")
	cfg.Env = map[string]string{"CLASSIC_TEST": "set"}
	ways[way](t, &cfg)
	return cfg
}

func setupClassic(t *testing.T, way string, change func(*php.Config)) *world {
	return setup(t, "", func(cfg *php.Config, _ *php.Options) {
		*cfg = classicConfig(t, way)
		if change != nil {
			change(cfg)
		}
	})
}

// eachWay runs a test for php-cgi, php-fpm and an address.
func eachWay(t *testing.T, test func(t *testing.T, way string)) {
	for way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			test(t, way)
		})
	}
}

func TestClassicRunsUnchangedScripts(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, way string) {
		w := setupClassic(t, way, nil)
		w.expect("/some/page?x=1", 200, "front /some/page?x=1 /index.php -")
		w.expect("/info.php", 200, "info /info.php - /info.php info.php")
		w.expect("/info.php/a/b?x=1", 200, "info /info.php /a/b /info.php/a/b info.php")
		w.expect("/folder/", 200, "folder /folder/index.php -")
		w.expect("/exit", 200, "before")
		w.expect("/env", 200, "set")
		w.expect("/length", 200, "short")

		response, body := w.do(httptest.NewRequest("GET", "/status", nil))
		if response.StatusCode != 418 || body != "teapot" {
			t.Errorf("/status = %d %q", response.StatusCode, body)
		}
		if got := response.Header["X-Twice"]; len(got) != 2 {
			t.Errorf("X-Twice = %q", got)
		}
		if got := response.Header["Set-Cookie"]; len(got) != 2 {
			t.Errorf("Set-Cookie = %q", got)
		}

		w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		response, _ = w.do(httptest.NewRequest("GET", "/redirect", nil))
		if response.StatusCode != 302 || response.Header.Get("Location") != "/elsewhere?a=1" {
			t.Errorf("/redirect = %d to %q", response.StatusCode, response.Header.Get("Location"))
		}
		response, body = w.do(httptest.NewRequest("HEAD", "/length", nil))
		if response.StatusCode != 200 || body != "" || response.ContentLength != 5 {
			t.Errorf("HEAD = %d %q, length %d", response.StatusCode, body, response.ContentLength)
		}
		if _, body = w.get("/late"); !strings.HasPrefix(body, "body") || !strings.Contains(body, "headers already sent") {
			t.Errorf("a header after output gave %q", body)
		}
		w.expect("/stderr", 200, "ok")
		w.expectStatus("/fatal", 500)
		w.logged("said to the log")
		w.logged("undefined_function")
		if way != "address" {
			w.logged("said on stderr")
		}
		w.expect("/pid", 200, first(w.get("/pid")))
	})
}

func first(_ int, body string) string { return body }

func TestClassicServerVariables(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, way string) {
		w := setupClassic(t, way, nil)
		r := httptest.NewRequest("GET", "/server?a=1&b=%20", nil)
		r.Host = "shop.example:8080"
		r.Header = http.Header{
			"X-Some-Header": {"one", "two"}, "Cookie": {"a=b", "c=d"}, "Proxy": {"http://evil"}, "Remote_addr": {"6.6.6.6"},
			"X.forwarded.for": {"6.6.6.6"}, "Content-Type": {"text/x"}, "Authorization": {"Basic dTpw"},
		}
		_, body := w.do(r)
		got := fromJSON[map[string]any](t, body)
		root := filepath.Join(testenv.Root(t), "php", "testdata", "classic")
		for name, want := range map[string]any{
			"SCRIPT_FILENAME": root + "/index.php", "SCRIPT_NAME": "/index.php", "PHP_SELF": "/index.php", "DOCUMENT_ROOT": root,
			"DOCUMENT_URI": "/index.php", "REQUEST_URI": "/server?a=1&b=%20", "QUERY_STRING": "a=1&b=%20", "REQUEST_METHOD": "GET",
			"SERVER_NAME": "shop.example", "HTTP_HOST": "shop.example:8080", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "Edge",
			"REQUEST_SCHEME": "http", "REMOTE_ADDR": "127.0.0.1", "SERVER_ADDR": "127.0.0.1", "GATEWAY_INTERFACE": "CGI/1.1",
			"HTTP_X_SOME_HEADER": "one, two", "HTTP_COOKIE": "a=b; c=d", "CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "",
			"PHP_AUTH_USER": "u", "PHP_AUTH_PW": "p",
		} {
			if got[name] != want {
				t.Errorf("%s = %v, want %v", name, got[name], want)
			}
		}
		for _, name := range []string{"HTTP_PROXY", "HTTP_REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "HTTPS", "PATH_INFO"} {
			if value, there := got[name]; there {
				t.Errorf("%s = %v, want none", name, value)
			}
		}
		if port := fmt.Sprint(w.server.Listener.Addr().(*net.TCPAddr).Port); got["SERVER_PORT"] != port {
			t.Errorf("SERVER_PORT = %v, want %s", got["SERVER_PORT"], port)
		}
	})
}

func TestClassicSessionsAndBodies(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, way string) {
		w := setupClassic(t, way, func(cfg *php.Config) { cfg.Body.Memory = 100 << 10 })
		response, body := w.do(httptest.NewRequest("GET", "/session?dir="+testenv.Dir(t), nil))
		if body != "1" {
			t.Fatalf("first visit: %q", body)
		}
		again := httptest.NewRequest("GET", response.Request.URL.RequestURI(), nil)
		for _, c := range response.Cookies() {
			again.AddCookie(c)
		}
		if _, body = w.do(again); body != "2" {
			t.Fatalf("second visit: %q", body)
		}

		for _, size := range []int{0, 1, 60 << 10, 90 << 10, 300 << 10, 3 << 20} {
			content := make([]byte, size)
			_, _ = rand.Read(content)
			r := httptest.NewRequest("PUT", "/body", struct{ io.Reader }{bytes.NewReader(content)}) // chunked
			r.ContentLength = -1
			want := fmt.Sprintf("%d %x", size, md5.Sum(content))
			if size == 0 {
				want = fmt.Sprintf(" %x", md5.Sum(nil))
			}
			if _, body := w.do(r); body != want {
				t.Errorf("body of %d bytes: PHP got %q, want %q", size, body, want)
			}
			r = httptest.NewRequest("POST", "/unread", bytes.NewReader(content))
			if _, body := w.do(r); body != "not read" {
				t.Errorf("body of %d bytes that nobody reads: %q", size, body)
			}
			w.expect("/exit", 200, "before") // and the next request is not what was left
		}

		var form bytes.Buffer
		m := multipart.NewWriter(&form)
		_ = m.WriteField("a[b]", "c")
		part, _ := m.CreateFormFile("file", "picture.jpg")
		content := bytes.Repeat([]byte("picture"), 50000)
		_, _ = part.Write(content)
		_ = m.Close()
		r := httptest.NewRequest("POST", "/upload", &form)
		r.Header.Set("Content-Type", m.FormDataContentType())
		_, body = w.do(r)
		sum, _ := json.Marshal(fmt.Sprintf("%x", md5.Sum(content)))
		if want := `[{"a":{"b":"c"}},{"file":["picture.jpg",350000,0,` + string(sum) + `]}]`; body != want {
			t.Errorf("upload: PHP got %s, want %s", body, want)
		}
	})
}

func TestClassicStreams(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, way string) {
		w := setupClassic(t, way, nil)
		response, err := w.client.Get(w.server.URL + "/stream?n=5&us=100000")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		var at []time.Time
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "data:") {
				at = append(at, time.Now())
			}
		}
		if len(at) != 5 || at[4].Sub(at[0]) < 200*time.Millisecond {
			t.Errorf("%d events, all within %s: they were held back", len(at), at[len(at)-1].Sub(at[0]))
		}
		for _, n := range []int{10, 8 << 10, 70000, 1 << 20, 5 << 20} {
			if _, body := w.get(fmt.Sprintf("/big?n=%d", n)); len(body) != n/10*10 {
				t.Errorf("%d bytes came of %d", len(body), n)
			}
		}
	})
}

func TestClassicClientLeaves(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, way string) {
		for _, ignore := range []string{"0", "1"} {
			w := setupClassic(t, way, nil)
			note := filepath.Join(testenv.Dir(t), "note")
			response, err := w.client.Get(w.server.URL + "/abort?ignore=" + ignore + "&note=" + note)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadFull(response.Body, make([]byte, 10))
			response.Body.Close()
			w.eventually("the script noticed", func() bool {
				text, _ := os.ReadFile(note)
				return string(text) == "aborted:1"
			})
			w.expect("/exit", 200, "before")
			if s := w.pool.Stats(); s.Crashes > 0 {
				t.Errorf("%d crashes", s.Crashes)
			}
		}
	})
}

func TestClassicFailures(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, way string) {
		w := setupClassic(t, way, func(cfg *php.Config) { cfg.ExecTimeout, cfg.Workers.Max = time.Second, 2 })
		w.expectStatus("/sleep?s=20", 504)
		w.expect("/exit", 200, "before")
		w.expectStatus("/kill", 502)
		w.expect("/exit", 200, "before")
		w.expectStatus("/badheader", 502)
		w.expect("/exit", 200, "before")
	})
}

// A php-fpm that dies is started again, and a FastCGI server that is not there is said so.
func TestClassicServerGone(t *testing.T) {
	t.Parallel()
	w := setupClassic(t, "php-fpm", nil)
	w.expect("/exit", 200, "before")
	parent := fromJSON[int](t, first(w.get("/parent")))
	if err := syscall.Kill(parent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.eventually("another php-fpm answers", func() bool {
		status, body := w.get("/parent")
		return status == 200 && body != fmt.Sprint(parent)
	})

	w = setup(t, "", func(cfg *php.Config, _ *php.Options) {
		*cfg = classicConfig(t, "php-cgi")
		cfg.Command, cfg.FastCGI = nil, "unix://"+filepath.Join(testenv.Dir(t), "nobody.sock")
	})
	w.expectStatus("/exit", 502)
	w.logged("nobody.sock")
}

func TestClassicRefusesBadConfiguration(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*php.Config){
		"root: is required":       func(cfg *php.Config) { cfg.Root = "" },
		"no such file":            func(cfg *php.Config) { cfg.Root = filepath.Join(cfg.Root, "none") },
		"is a file, not a folder": func(cfg *php.Config) { cfg.Root = filepath.Join(cfg.Root, "index.php") },
		"index: must be a script": func(cfg *php.Config) { cfg.Index = "../index.php" },
		"is no address":           func(cfg *php.Config) { cfg.Command, cfg.FastCGI = nil, "nonsense" },
		"there is no program":     func(cfg *php.Config) { cfg.Command = php.Command{"no-php-cgi"} },
		"must not stand beside":   func(cfg *php.Config) { cfg.FastCGI = "127.0.0.1:9000" },
		"extensions begin with a": func(cfg *php.Config) { cfg.Static.Forbid = []string{"txt"} },
	} {
		cfg := classicConfig(t, "php-cgi")
		change(&cfg)
		if _, err := php.New("app", cfg, php.Options{Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestClassicManyAtOnce(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, way string) {
		w := setupClassic(t, way, func(cfg *php.Config) { cfg.Workers.Max = 4; cfg.MaxJobs = 20 })
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range testenv.Count(30, 1000) {
					if status, body := w.get("/spin?us=500"); status != 200 || body != "ok" {
						t.Errorf("%d %q", status, body)
					}
				}
			})
		}
		for range 3 {
			if err := w.pool.Reload(t.Context()); err != nil {
				t.Errorf("reload: %v", err)
			}
		}
		wg.Wait()
		if s := w.pool.Stats(); s.Crashes > 0 || s.Failures > 0 {
			t.Errorf("%d crashes, %d failures: %s", s.Crashes, s.Failures, s.LastError)
		}
	})
}

func TestClassicRunsOnlyWhatIsBelowRoot(t *testing.T) {
	t.Parallel()
	root, outside := testenv.Dir(t), testenv.Dir(t)
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	front := `<?php echo 'front';`
	evil := `<?php echo 'evil';`
	write(filepath.Join(root, "index.php"), front)
	write(filepath.Join(root, "ok.php"), `<?php echo 'ok';`)
	write(filepath.Join(root, "inner", "real.php"), `<?php echo 'real';`)
	write(filepath.Join(root, "x.jpg"), evil)
	write(filepath.Join(root, "x.PHP"), evil)
	write(filepath.Join(root, "x.php.jpg"), evil)
	write(filepath.Join(root, "x.phtml"), evil)
	write(filepath.Join(root, ".env.php"), evil)
	write(filepath.Join(root, ".git", "x.php"), evil)
	write(filepath.Join(root, "wp-content", "uploads", "x.php"), evil)
	write(filepath.Join(root, "Uploads", "x.php"), evil)
	write(filepath.Join(root, "dir.php", "readme"), evil)
	write(filepath.Join(outside, "secret.php"), evil)
	for link, to := range map[string]string{
		"link.php": filepath.Join(outside, "secret.php"), "linked": outside, "inside.php": "inner/real.php",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	w := setupClassic(t, "php-cgi", func(cfg *php.Config) { cfg.Root = root })
	for _, path := range []string{
		"/", "/none", "/x.jpg/y.php", "/x.jpg/.php", "/x.jpg%00.php", "/x.PHP", "/x.php.jpg", "/x.phtml", "/x.php", "/.env.php", "/.git/x.php",
		"/wp-content/uploads/x.php", "/wp-content/uploads/x.php/a", "/Uploads/x.php", "/dir.php", "/dir.php/readme", "/dir.php/readme/x.php",
		"/link.php", "/linked/secret.php", "/linked/secret.php/a", "/ok.php.", "/ok.php%20", "/inner/real.phpx",
		"/%2e%2e/" + filepath.Base(outside) + "/secret.php", "/inner/../../" + filepath.Base(outside) + "/secret.php",
		"/..%2f" + filepath.Base(outside) + "/secret.php", "/inner\\real.php",
	} {
		answer := w.raw("GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.HasSuffix(answer, "front") && !strings.HasPrefix(answer, "HTTP/1.1 400") {
			t.Errorf("GET %s: %q", path, short(answer))
		}
	}
	w.expect("/ok.php", 200, "ok")
	w.expect("/ok.php/info", 200, "ok")
	w.expect("/inside.php", 200, "real")
	w.expect("/inner/../ok.php", 200, "ok")
	w.expect("/dir.php/../ok.php", 200, "ok")
}

// A php-cgi that was killed while it was idle costs no request: the one that finds out goes to another.
func TestClassicIdleWorkersDie(t *testing.T) {
	t.Parallel()
	w := setupClassic(t, "php-cgi", func(cfg *php.Config) { cfg.Workers = php.Workers{Min: 2, Max: 2} })
	for range testenv.Count(20, 200) {
		pid := fromJSON[int](t, first(w.get("/pid")))
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for syscall.Kill(pid, 0) == nil {
			time.Sleep(100 * time.Microsecond) // it is dying, and may take a request along
		}
		w.expect("/exit", 200, "before")
	}
}
