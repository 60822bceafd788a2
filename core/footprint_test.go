package core_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// What an idle server may take, and how long it may be until the first answer.
const (
	idleRSS   = 30 << 20
	firstTime = 100 * time.Millisecond
)

// TestIdleMemoryAndStart measures the real program with http, metrics, a store in memory, WebSockets, RPC and a small plugin: how long it takes
// from its start to its first answer, with and without the compile cache of plugins, and what it holds when it then has nothing to do.
// Only a soak, which has the machine to itself, judges the figures.
func TestIdleMemoryAndStart(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		testenv.Missing(t, "/proc", "this test reads the memory of processes from Linux's /proc")
	}
	if !testenv.Soak() {
		t.Parallel()
	}
	dir := testenv.Dir(t)
	// As `make deb` and the images have it.
	binary := filepath.Join(dir, "edge")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, "./cmd/edge")
	build.Dir = testenv.Root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build edge: %v\n%s", err, out)
	}
	address := "127.0.0.1:" + freePort(t)
	config := fmt.Sprintf(`
version: 1
telemetry: {metrics: {listen: "127.0.0.1:0"}}
http: {listen: [{address: %q}, {address: "127.0.0.1:0", tls: true, http3: true}], middleware: [guard], routes: [{respond: hello}]}
kv: {cache: {driver: memory}}
ws: {pusher: {apps: {shop: {key: app-key, secret: app-secret}}}}
rpc: {}
plugins: {modules: {guard: {file: %s}}}
`, address, testenv.CGuest(t, "plugins-wasm/hardening/hardening.c"))
	if err := os.WriteFile(filepath.Join(dir, "edge.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	var took []time.Duration
	for i := range testenv.Count(2, 11) {
		cmd, log := exec.Command(binary, "-c", filepath.Join(dir, "edge.yaml"), "serve"), &testenv.Log{}
		cmd.Stdout, cmd.Stderr = log, log
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		first := firstAnswer(t, address, begin)
		if i == 0 {
			t.Logf("at the first start, with plugins to compile and a CA to make: first answer after %s", first)
			idle := idleMemory(t, cmd.Process.Pid)
			if testenv.Soak() && idle > idleRSS {
				t.Errorf("an idle server holds %d KiB, want %d at most", idle>>10, idleRSS>>10)
			}
		} else {
			took = append(took, first)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("the end: %v\n%s", err, log)
		}
	}
	slices.Sort(took)
	median := took[len(took)/2]
	t.Logf("later: first answer after %s (median of %d), %s at best", median, len(took), took[0])
	if testenv.Soak() && median > firstTime {
		t.Errorf("the first answer took %s, want %s at most", median, firstTime)
	}
}

// firstAnswer asks again and again.
func firstAnswer(t *testing.T, address string, begin time.Time) time.Duration {
	t.Helper()
	for end := begin.Add(30 * time.Second); time.Now().Before(end); {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			time.Sleep(time.Millisecond) // nothing tells from outside when it listens
			continue
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", address)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		took := time.Since(begin)
		conn.Close()
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Fatalf("answer %s", res.Status)
			}
			return took
		}
	}
	t.Fatal("no answer in 30s")
	return 0
}

// idleMemory is the least that the process held in two seconds, ten in a soak: it gives memory back a while after the start.
func idleMemory(t *testing.T, pid int) int {
	t.Helper()
	least, parts := 0, ""
	for end := time.Now().Add(testenv.Duration(2*time.Second, 10*time.Second)); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]int{}
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.HasPrefix(name, "VmRSS") || strings.HasPrefix(name, "Rss") {
				kib, _ := strconv.Atoi(strings.Fields(value)[0])
				values[name] = kib << 10
			}
		}
		if least == 0 || values["VmRSS"] < least {
			least, parts = values["VmRSS"], fmt.Sprintf("%d KiB of its own, %d of files", values["RssAnon"]>>10, values["RssFile"]>>10)
		}
	}
	t.Logf("idle: %d KiB, %s", least>>10, parts)
	return least
}
