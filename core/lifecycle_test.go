package core_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// loadConfig writes config to dir/edge.yaml and reads it as the server would.
func loadConfig(t testing.TB, dir, config string) *core.Config {
	t.Helper()
	path := filepath.Join(dir, "edge.yaml")
	if err := os.WriteFile(path, []byte("version: 1\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := core.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newEdge(t testing.TB, cfg *core.Config) *core.Edge {
	t.Helper()
	e, err := core.New(t.Context(), cfg, core.Options{LogOutput: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// slowBoot is a pool whose workers need a minute until they ask for work. They touch booting first.
func slowBoot(t testing.TB, dir string) string {
	t.Helper()
	script := filepath.Join(dir, "slow.php")
	code := "<?php touch(__DIR__ . '/booting'); sleep(60);"
	if err := os.WriteFile(script, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	return "\nphp: {app: {command: [" + testenv.PHP(t) + ", " + script + "], user: " + currentUser(t) + ", boot_timeout: 60s}}\n"
}

func isBooting(dir string) func() bool {
	return func() bool {
		_, err := os.Stat(filepath.Join(dir, "booting"))
		return err == nil
	}
}

// everything switches on every part that holds something.
const everything = `
http: {listen: [{address: "127.0.0.1:0"}], routes: [{respond: a}]}
kv: {a: {}}
rpc: {}
plugins: {}
telemetry: {metrics: {listen: "127.0.0.1:0"}}
`

// TestStopWithoutStart: the second New would be refused if the lock were held still; TestMain finds goroutines that stay.
func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	cfg := loadConfig(t, testenv.Dir(t), everything)
	for range 2 {
		e := newEdge(t, cfg)
		for range 2 {
			if err := e.Stop(t.Context()); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
		if err := e.Start(t.Context()); err == nil {
			t.Error("a server that was stopped has started")
		}
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := loadConfig(t, testenv.Dir(t), everything+phpApp(t, "app.php", ""))
	cfg.HTTP.Listen[0].Address = taken.Addr().String()

	e := newEdge(t, cfg)
	if err := e.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("start: %v", err)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Errorf("stop after a failed start: %v", err)
	}

	taken.Close()
	again := newEdge(t, cfg)
	if err := again.Start(t.Context()); err != nil {
		t.Errorf("start after a failed start: %v", err)
	}
	if err := again.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestFailedNewLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	cfg := loadConfig(t, dir, everything)
	broken := *cfg
	http := *cfg.HTTP
	http.Listen, http.TLS.Cert, http.TLS.Key = slices.Clone(http.Listen), "nowhere.pem", "nowhere.key"
	http.Listen[0].TLS = true
	broken.HTTP = &http
	if _, err := core.New(t.Context(), &broken, core.Options{LogOutput: io.Discard}); err == nil || !strings.Contains(err.Error(), "nowhere.pem") {
		t.Fatalf("new: %v", err)
	}
	if err := newEdge(t, cfg).Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestStartIsCancelled(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	cfg := loadConfig(t, dir, everything+slowBoot(t, dir))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e := newEdge(t, cfg)
	failed := make(chan error, 1)
	go func() { failed <- e.Start(ctx) }()
	testenv.Eventually(t, "a worker boots", isBooting(dir))
	cancel()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("the start has succeeded")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the start goes on without its context")
	}
	if err := newEdge(t, loadConfig(t, dir, everything)).Stop(t.Context()); err != nil {
		t.Errorf("a second server: %v", err)
	}
}

// TestStopEndsAReload: the stop does not wait for workers of a reload to boot.
func TestStopEndsAReload(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {routes: [{respond: a}]}")
	s.WriteConfig(t, "http: {routes: [{php: app}]}"+slowBoot(t, s.Dir))
	reloaded := make(chan error, 1)
	go func() { reloaded <- s.ReloadFile(context.Background()) }()
	testenv.Eventually(t, "the reload boots a worker", isBooting(s.Dir))

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("stop: %v, %v", err, ctx.Err())
	}
	if err := <-reloaded; err == nil {
		t.Error("the reload has succeeded")
	}
}

func TestStateDirIsNotSomebodyElses(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := loadConfig(t, dir, "state_dir: .\n"+everything)
	_, err := core.New(t.Context(), cfg, core.Options{LogOutput: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "has other things in it, such as edge.yaml") {
		t.Errorf("new: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the folder of the application is %v now, %v", info.Mode(), err)
	}
}

// TestMetricsThroughAStop: admin answers until the last part has ended, stores included. The race detector watches.
func TestMetricsThroughAStop(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	cfg := loadConfig(t, dir, "kv: {a: {}}") // other parts would hide the race: their locks put things in order
	e := newEdge(t, cfg)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", admin.SocketPath(cfg.StateDir))
		},
	}}
	answered := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { // ends when the socket is closed
			for {
				res, err := client.Get("http://admin/metrics")
				if err != nil {
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				once.Do(func() { close(answered) })
			}
		})
	}
	<-answered
	if err := e.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	wg.Wait()
}
