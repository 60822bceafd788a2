package core_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestReloadsUnderLoad: reloads that replace pools and plugins, several at once, while unnamed plugins come and go. No request
// may fail, nothing may deadlock, and only the workers of the last configuration stay.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	config := func(n int) string {
		return fmt.Sprintf("http: {middleware: [guard], routes: [{php: app}]}\nplugins: {modules: {guard: {limits: {memory: %dMiB}}}}", 16+n) +
			phpApp(t, "app.php", fmt.Sprintf("max_jobs: %d", 100_000+n))
	}
	guest := headerGuest(t, "guarded")
	s := edgetest.Start(t, config(0), func(dir string) {
		os.Mkdir(filepath.Join(dir, "plugins-wasm"), 0o755)
		os.WriteFile(filepath.Join(dir, "plugins-wasm", "guard.wasm"), guest, 0o644)
	})
	m := s.Modes(t)[0]
	traffic := startLoad(m, 8, "/version", ok)
	defer traffic.end(t)

	for n := range testenv.Count(4, 50) {
		s.WriteConfig(t, config(n+1))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := s.ReloadFile(t.Context()); err != nil {
					t.Errorf("reload: %v", err)
				}
			})
		}
		extra := filepath.Join(s.Dir, "plugins-wasm", "extra.wasm")
		install(t, extra, guest)
		wg.Wait()
		os.Remove(extra)
		if got := guestHeader(t, m); got != "guarded" {
			t.Errorf("X-Guest = %q after reload %d", got, n)
		}
	}
	testenv.Eventually(t, "the removed plugin is gone", func() bool { return len(s.Plugins()) == 1 })
	testenv.Eventually(t, "the workers of old configurations have ended", func() bool {
		return workersOf(t, s.Dir) == 2
	})
}

// workersOf counts the processes that work in dir.
func workersOf(t testing.TB, dir string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && cwd == dir {
			n++
		}
	}
	return n
}

// TestStreamOutlivesAReload: an answer that began before the reload ends whole, from the worker that began it, which then ends.
func TestStreamOutlivesAReload(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {routes: [{php: app}]}"+phpApp(t, "app.php", ""))
	m := s.Modes(t)[0]
	old := s.Workers()[0].Workers
	res, err := m.Client.Get(m.URL + "/held")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body := bufio.NewReader(res.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "begun\n" {
		t.Fatalf("%q, %v", line, err)
	}

	s.WriteConfig(t, "http: {routes: [{php: app}]}"+phpApp(t, "app.php", "max_jobs: 1000"))
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, body := m.Get(t, "/pid"); strings.Contains(fmt.Sprint(old), " "+body+" ") {
		t.Errorf("a worker of the old configuration answers: %s of %v", body, old)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "release"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(body); err != nil || string(rest) != "ended\n" {
		t.Errorf("rest of the stream: %q, %v", rest, err)
	}
	testenv.Eventually(t, "the old workers have ended", func() bool { return workersOf(t, s.Dir) == 2 })
}

// TestUploadOutlivesReloads: a request that has not reached its worker yet keeps the pool alive that its world shares with the
// next one, although the one after that has replaced it.
func TestUploadOutlivesReloads(t *testing.T) {
	t.Parallel()
	config := func(routes, pool string) string {
		return "http: {routes: [" + routes + "]}" + phpApp(t, "app.php", pool)
	}
	s := edgetest.Start(t, config("{php: app}", ""))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.HTTP, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := bufio.NewReader(conn)
	io.WriteString(conn, "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "100") { // the pool waits for the body
		t.Fatalf("%q, %v", line, err)
	}

	for _, next := range []string{config("{match: {path: /x}, respond: x}, {php: app}", ""), config("{php: app}", "max_jobs: 1000")} {
		s.WriteConfig(t, next)
		if err := s.ReloadFile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.Modes(t)[0].Get(t, "/version")
	io.WriteString(conn, "13 bytes long")
	if text, err := io.ReadAll(answer); err != nil || !strings.HasSuffix(string(text), `{"length":13}`) {
		t.Errorf("answer %q, %v", text, err)
	}
}

func TestRefusedReloadLeavesNoWorkers(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {routes: [{php: app}]}"+phpApp(t, "app.php", ""))
	good := phpApp(t, "app.php", "max_jobs: 1000") // changed, boots
	bad := strings.ReplaceAll(strings.TrimPrefix(phpApp(t, "app.php", ""), "\nphp:"), "app.php", "broken.php")
	bad = strings.ReplaceAll(strings.Replace(bad, "app:", "bad:", 1), testenv.Root(t)+"/core/testdata/", "")
	if err := os.WriteFile(filepath.Join(s.Dir, "broken.php"), []byte("<?php exit(3);"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.WriteConfig(t, "http: {routes: [{php: app}]}"+good+bad)
	if err := s.ReloadFile(t.Context()); err == nil || !strings.Contains(err.Error(), `"bad"`) {
		t.Fatalf("reload: %v", err)
	}
	if n := workersOf(t, s.Dir); n != 2 {
		t.Errorf("%d workers after the refused reload, want 2", n)
	}
	if _, body := s.Modes(t)[0].Get(t, "/version"); body != "none" {
		t.Errorf("after the refused reload: %q", body)
	}
}
