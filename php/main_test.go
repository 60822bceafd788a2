package php_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// patience is how long tests wait for what has to happen; the machine may be busy.
const patience = 30 * time.Second

func TestMain(m *testing.M) { testenv.Main(m) }

// world is a pool behind a server.
type world struct {
	*testing.T
	pool   *php.Pool
	server *httptest.Server
	client *http.Client
	log    *testenv.Log
}

// setup starts a pool that runs a script of testdata, behind a server of its own. change may edit the configuration.
func setup(t *testing.T, script string, change func(*php.Config, *php.Options)) *world {
	t.Helper()
	w := newWorld(t, script, change)
	w.start()
	return w
}

// newWorld is setup without the start.
func newWorld(t *testing.T, script string, change func(*php.Config, *php.Options)) *world {
	t.Helper()
	w := &world{T: t, log: &testenv.Log{}}
	cfg, opts := config(t, script), php.Options{Logger: slog.New(slog.NewTextHandler(w.log, nil)), TempDir: testenv.Dir(t)}
	opts.StateDir = opts.TempDir
	if change != nil {
		change(&cfg, &opts)
	}
	pool, err := php.New("app", cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	w.pool = pool
	return w
}

// config runs a script of testdata with one worker, as whoever runs the tests.
func config(t testing.TB, script string) php.Config {
	t.Helper()
	cfg := php.DefaultConfig()
	cfg.Command = append(php.Command{testenv.PHP(t)}, strings.Fields(script)...)
	cfg.Dir = filepath.Join(testenv.Root(t), "php", "testdata")
	cfg.Workers = php.Workers{Min: 1, Max: 1}
	cfg.BootTimeout = patience
	if os.Geteuid() == 0 {
		cfg.User = "root"
	}
	return cfg
}

func (w *world) start() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	if err := w.pool.Start(ctx); err != nil {
		w.Fatal(err)
	}
	w.server = httptest.NewServer(w.pool)
	w.client = w.server.Client()
	w.client.Timeout = 2 * patience
	w.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 100
	w.Cleanup(func() {
		w.server.Close()
		w.stop()
		if w.Failed() {
			w.Logf("log of the pool:\n%s", w.log)
		}
	})
}

// stop ends the pool, which must leave nothing behind.
func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.pool.Stop(ctx); err != nil {
		w.Errorf("stop: %v", err)
	}
	if left := w.pool.Workers(); len(left) > 0 {
		w.Errorf("workers left after Stop: %v", left)
	}
}

// get returns status and body of a GET.
func (w *world) get(path string) (int, string) {
	w.Helper()
	response, body := w.do(httptest.NewRequest("GET", path, nil))
	return response.StatusCode, body
}

// do sends a request made by httptest.NewRequest to the server and reads the whole answer.
func (w *world) do(r *http.Request) (*http.Response, string) {
	w.Helper()
	response, body, err := w.try(r)
	if err != nil {
		w.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return response, body
}

func (w *world) try(r *http.Request) (*http.Response, string, error) {
	r.RequestURI = ""
	r.URL.Scheme, r.URL.Host = "http", w.server.Listener.Addr().String()
	response, err := w.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

// expect fails unless a GET gives that status and body.
func (w *world) expect(path string, status int, body string) {
	w.Helper()
	if gotStatus, gotBody := w.get(path); gotStatus != status || gotBody != body {
		w.Fatalf("GET %s = %d %q, want %d %q", path, gotStatus, short(gotBody), status, short(body))
	}
}

// expectStatus fails unless a GET gives that status.
func (w *world) expectStatus(path string, status int) {
	w.Helper()
	if got, body := w.get(path); got != status {
		w.Fatalf("GET %s = %d %q, want %d", path, got, short(body), status)
	}
}

// eventually waits until ok, and fails when it does not come true.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("still not so: %s; stats %+v", what, w.pool.Stats())
		}
	}
}

// logged waits until the log has a line with the text.
func (w *world) logged(text string) {
	w.Helper()
	w.eventually("the log has "+text, func() bool { return strings.Contains(w.log.String(), text) })
}

// raw sends bytes over a connection of their own and returns all that comes back.
func (w *world) raw(request string) string {
	w.Helper()
	conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		w.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		w.Fatal(err)
	}
	return string(answer)
}

// gate is a path whose requests last until open is called.
func (w *world) gate() (path string, open func()) {
	w.Helper()
	dir := testenv.Dir(w.T)
	if err := os.Chmod(dir, 0o777); err != nil {
		w.Fatal(err)
	}
	file := filepath.Join(dir, "gate")
	return "/gate?file=" + file, sync.OnceFunc(func() {
		if err := os.WriteFile(file, nil, 0o666); err != nil {
			w.Error(err)
		}
	})
}

// stopDuring stops the pool while requests run, and calls finish, which ends those, once the stop has begun.
func (w *world) stopDuring(finish func()) {
	w.Helper()
	var stop sync.WaitGroup
	stop.Go(w.stop)
	w.eventually("the stop has begun", w.pool.Closing)
	finish()
	stop.Wait()
}

// fromJSON decodes a JSON answer.
func fromJSON[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, short(text))
	}
	return v
}

func short(s string) string {
	if len(s) > 300 {
		return fmt.Sprintf("%s… (%d bytes)", s[:300], len(s))
	}
	return s
}
