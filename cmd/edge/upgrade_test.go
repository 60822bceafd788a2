//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/quic-go/quic-go/http3"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// upgradable is a server whose process changes.
type upgradable struct {
	*process
	plain, secure string // host:port
	roots         *x509.CertPool
}

const upgradeListeners = `EDGE_HTTP__LISTEN=[{address: "127.0.0.1:0"}, {address: "127.0.0.1:0", tls: true, http3: true}]`

func startUpgradable(t *testing.T, config string, env ...string) *upgradable {
	t.Helper()
	u := &upgradable{process: launchServer(t, "state_dir: state\n"+config, append([]string{upgradeListeners}, env...)...)}
	t.Cleanup(func() { u.stop(t) }) // before the cleanup of the process that was started first
	u.started(t)
	code, out, _ := u.edge(t, "status")
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if code != 0 || len(fields) < 2 || fields[0] != "serves" {
			continue
		}
		if host, ok := strings.CutPrefix(fields[1], "https://"); ok {
			u.secure = host
		} else if host, ok := strings.CutPrefix(fields[1], "http://"); ok {
			u.plain = host
		}
	}
	if u.plain == "" || u.secure == "" {
		t.Fatalf("status names no addresses:\n%s\n%s", out, u.log())
	}
	pem, err := os.ReadFile(filepath.Join(u.dir, "state", "ca", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	u.roots = x509.NewCertPool()
	u.roots.AppendCertsFromPEM(pem)
	return u
}

// pid is that of the process that has the state folder.
func (u *upgradable) pid(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(u.dir, "state", "edge.lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// me is the user of this test: as root Edge wants to be told.
func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// stop ends the last process, which is nobody's child here.
func (u *upgradable) stop(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(u.dir, "state", "edge.lock")); err != nil {
		return // it has not started
	}
	pid := u.pid(t)
	if t.Failed() {
		t.Logf("log:\n%s", u.log())
	}
	syscall.Kill(pid, syscall.SIGTERM)
	for end := time.Now().Add(time.Minute); isThere(pid); time.Sleep(10 * time.Millisecond) {
		if pid == u.cmd.Process.Pid || time.Now().After(end) {
			break // its own cleanup waits for it
		}
	}
}

// isThere reports whether a process runs; a dead one that nobody has waited for does not.
func isThere(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// upgrade runs `edge upgrade` and waits until the older process has gone.
func (u *upgradable) upgrade(t *testing.T) {
	t.Helper()
	before := u.pid(t)
	if code, out, stderr := u.edge(t, "upgrade"); code != 0 {
		t.Fatalf("upgrade: %d %s%s\n%s", code, out, stderr, u.log())
	}
	if after := u.pid(t); after == before {
		t.Fatalf("the lock file names pid %d still", before)
	}
	testenv.Eventually(t, "the older process ends", func() bool { return !isThere(before) })
}

// traffic sends requests until end, and keeps what failed.
type traffic struct {
	stop     chan struct{}
	wg       sync.WaitGroup
	requests atomic.Int64
	mu       sync.Mutex
	failed   map[string]int
}

func newTraffic() *traffic { return &traffic{stop: make(chan struct{}), failed: map[string]int{}} }

func (l *traffic) run(n int, name string, request func() error) {
	for range n {
		l.wg.Go(func() { // ends when stop is closed
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				l.requests.Add(1)
				if err := request(); err != nil {
					l.mu.Lock()
					l.failed[name+": "+err.Error()]++
					l.mu.Unlock()
				}
			}
		})
	}
}

func (l *traffic) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, what := range slices.Sorted(maps.Keys(l.failed)) {
		t.Errorf("%d times: %s", l.failed[what], what)
	}
	t.Logf("%d requests, %d kinds of failures", l.requests.Load(), len(l.failed))
	if l.requests.Load() == 0 {
		t.Error("the traffic sent nothing")
	}
}

func getting(client *http.Client, url, want string) func() error {
	return func() error {
		res, err := client.Get(url)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if res.StatusCode != http.StatusOK || string(body) != want {
			return fmt.Errorf("%s %.80q", res.Status, body)
		}
		return nil
	}
}

func (u *upgradable) transport(h2 bool) *http.Transport {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: u.roots}, MaxIdleConnsPerHost: 64, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP2(h2)
	tr.Protocols.SetHTTP1(!h2)
	return tr
}

// TestUpgradeUnderLoad: clients of every protocol see nothing of a new process, again and again.
func TestUpgradeUnderLoad(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t, `http: {routes: [{respond: {body: hello}}]}`)
	load := newTraffic()
	kept, anew, h2 := u.transport(false), u.transport(false), u.transport(true)
	anew.DisableKeepAlives = true
	h3 := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: u.roots}}
	defer func() {
		kept.CloseIdleConnections()
		anew.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	}()
	client := func(rt http.RoundTripper) *http.Client { return &http.Client{Transport: rt, Timeout: time.Minute} }
	load.run(4, "h1 kept", getting(client(kept), "http://"+u.plain, "hello"))
	load.run(2, "h1 anew", getting(client(anew), "http://"+u.plain, "hello"))
	load.run(2, "h1 TLS anew", getting(client(anew), "https://"+u.secure, "hello"))
	load.run(4, "h2", getting(client(h2), "https://"+u.secure, "hello"))
	load.run(2, "h3", getting(client(h3), "https://"+u.secure, "hello"))
	load.run(2, "raw TCP", func() error { return rawRequest(u.plain) })
	n := testenv.Count(3, 20)
	for range n {
		before := load.requests.Load()
		u.upgrade(t)
		testenv.Eventually(t, "traffic goes on", func() bool { return load.requests.Load() > before+50 })
	}
	load.end(t)
	t.Logf("%d upgrades", n)
}

// rawRequest sees what net/http's client repairs: a connection that is refused, or reset before its answer.
func rawRequest(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || !strings.HasSuffix(string(answer), "hello") {
		return fmt.Errorf("answer %.60q", answer)
	}
	return nil
}

// TestUpgradeThatFails leaves the server as it was, and says why.
func TestUpgradeThatFails(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t, `
http: {routes: [{respond: {body: hello}}]}
kv: {mem: {}, file: {driver: boltdb}}
services: {one: {command: [sleep, "1000"], user: `+me(t)+`}}
`)
	for _, store := range []string{"mem", "file"} {
		if code, _, stderr := u.edge(t, "kv", "set", store, "key", "kept"); code != 0 {
			t.Fatal(stderr)
		}
	}
	script := func(name, text string) string {
		path := filepath.Join(u.dir, name)
		writeFile(t, path, "#!/bin/sh\n"+text+"\n")
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pid := u.pid(t)
	for _, c := range []struct {
		name, binary, want string
	}{
		{"there is none", filepath.Join(u.dir, "missing"), "no such file"},
		{"not executable", filepath.Join(u.dir, "edge.yaml"), "cannot be executed"},
		{"it crashes", script("crash", "echo no libc here >&2; exit 3"), "no libc here"},
		{"it is something else", script("other", "exit 0"), "before it was ready"},
		{"it hangs", script("hang", "exec sleep 1000"), "does not serve after 1s"},
	} {
		code, _, stderr := u.edge(t, "upgrade", "--binary", c.binary, "--timeout", "1s")
		if code != 1 || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "serves on") {
			t.Errorf("%s: %d %s", c.name, code, stderr)
		}
	}
	good, err := os.ReadFile(filepath.Join(u.dir, "edge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for want, more := range map[string]string{
		"nonsense: unknown key":     "\nnonsense: 1\n",
		"nothing.php: no such file": "\nphp: {app: {command: [" + filepath.Join(u.dir, "nothing.php") + "]}}\n",
	} {
		writeFile(t, filepath.Join(u.dir, "edge.yaml"), string(good)+more)
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, "the log says: "+want, func() bool { return saidWhy(u.log(), want) })
	}
	writeFile(t, filepath.Join(u.dir, "edge.yaml"), string(good))
	if u.pid(t) != pid {
		t.Errorf("pid %d has become %d", pid, u.pid(t))
	}
	if _, body := get(t, "http://"+u.plain); body != "hello" {
		t.Errorf("it answers %q", body)
	}
	for _, store := range []string{"mem", "file"} {
		if code, out, stderr := u.edge(t, "kv", "get", store, "key"); code != 0 || !strings.Contains(out, "kept") {
			t.Errorf("store %s: %s%s", store, out, stderr)
		}
	}
	u.upgrade(t) // and a good one succeeds
	for _, store := range []string{"mem", "file"} {
		if code, out, stderr := u.edge(t, "kv", "get", store, "key"); code != 0 || !strings.Contains(out, "kept") {
			t.Errorf("store %s after the upgrade: %s%s", store, out, stderr)
		}
	}
	if _, out, _ := u.edge(t, "services"); strings.Count(out, "sleep 1000") != 1 {
		t.Errorf("services after the upgrade:\n%s", out)
	}
}

// saidWhy reports whether a record says that an upgrade failed, and why.
func saidWhy(log, why string) bool {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "upgrade failed, this edge serves on") && strings.Contains(line, why) {
			return true
		}
	}
	return false
}

// TestUpgradeKeepsStores: callers count in stores while they move from process to process. Nothing is lost, nothing counted twice.
func TestUpgradeKeepsStores(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t, `
http: {routes: [{respond: {body: hello}}]}
rpc: {}
kv: {mem: {}, file: {driver: boltdb, boltdb: {sync: never}}}
`)
	address := "unix://" + filepath.Join(u.dir, "state", "rpc.sock")
	stores := []string{"mem", "file"}
	var sure, maybe [2]atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, store := range stores {
		for range 3 {
			wg.Go(func() { // ends when stop is closed
				var c *rpc.Client
				for {
					select {
					case <-stop:
						if c != nil {
							c.Close()
						}
						return
					default:
					}
					if c == nil {
						var err error
						if c, err = rpc.Dial(t.Context(), address); err != nil {
							t.Errorf("dial: %v", err)
							return
						}
					}
					if err := increment(t.Context(), c, store); err != nil {
						maybe[i].Add(1) // the older process has gone with the answer
						c.Close()
						c = nil
						continue
					}
					sure[i].Add(1)
				}
			})
		}
	}
	for range testenv.Count(3, 20) {
		before := sure[0].Load() + sure[1].Load()
		u.upgrade(t)
		testenv.Eventually(t, "counting goes on", func() bool { return sure[0].Load()+sure[1].Load() > before+100 })
	}
	close(stop)
	wg.Wait()
	for i, store := range stores {
		_, out, stderr := u.edge(t, "kv", "get", store, "n")
		n, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
		if err != nil {
			t.Fatalf("%s%s", out, stderr)
		}
		low, high := sure[i].Load(), sure[i].Load()+maybe[i].Load()
		t.Logf("store %s: %d, of which %d were acknowledged", store, n, low)
		if n < low || n > high {
			t.Errorf("store %s has counted %d, it must be between %d and %d", store, n, low, high)
		}
	}
}

func increment(ctx context.Context, c *rpc.Client, store string) error {
	var result struct{}
	return c.Call(ctx, "kv.Increment", map[string]any{"storage": store, "key": "n", "delta": 1}, &result)
}

// TestUpgradeLetsThingsFinish: WebSockets are told to come back, requests that have begun are answered, sessions go on, systemd is told.
func TestUpgradeLetsThingsFinish(t *testing.T) {
	t.Parallel()
	sock := filepath.Join(testenv.Dir(t), "s.sock")
	listen := fmt.Sprintf(`EDGE_HTTP__LISTEN=[{address: "127.0.0.1:0"}, {address: "127.0.0.1:0", tls: true, http3: true}, {address: "unix:%s"}]`, sock)
	states := notifySocket(t)
	u := startUpgradable(t, `
http: {routes: [{match: {path: /ws}, ws: chat}, {respond: {body: hello}}]}
rpc: {}
ws: {raw: {chat: {php: app, secret: "a secret of sixteen"}}}
php: {app: {command: [`+testenv.PHP(t)+`, `+testenv.Root(t)+`/core/testdata/ws/worker.php], user: `+me(t)+`, workers: {min: 1, max: 1}, env: {SDK: `+testenv.Root(t)+`/sdk/php}}}
`, listen, "NOTIFY_SOCKET="+states.path)
	conn, res, err := websocket.DefaultDialer.Dial("ws://"+u.plain+"/ws", nil)
	if err != nil {
		t.Fatalf("%v %v", err, res)
	}
	defer conn.Close()

	// A request whose head is half there when the new process takes over.
	half, err := net.Dial("tcp", u.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	io.WriteString(half, "GET / HTTP/1.1\r\nHost: x\r\n")

	// A session whose ticket the new process has to know.
	sessions := tls.NewLRUClientSessionCache(4)
	if resumed := u.handshake(t, sessions); resumed {
		t.Error("the first handshake is a resumption")
	}

	before := u.pid(t)
	if err := syscall.Kill(before, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	_, _, err = conn.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("the WebSocket ends with %v", err)
	}
	io.WriteString(half, "Connection: close\r\n\r\n")
	half.SetReadDeadline(time.Now().Add(time.Minute))
	if answer, err := io.ReadAll(half); !strings.HasSuffix(string(answer), "hello") {
		t.Errorf("the request that had begun: %q, %v", answer, err)
	}
	testenv.Eventually(t, "another process serves", func() bool { return u.pid(t) != before })
	testenv.Eventually(t, "the older process ends", func() bool { return !isThere(before) })
	if !u.handshake(t, sessions) {
		t.Error("the new process does not know the session of the old one")
	}
	viaUnix := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", sock)
	}}
	defer viaUnix.CloseIdleConnections()
	if err := getting(&http.Client{Transport: viaUnix}, "http://x", "hello")(); err != nil {
		t.Errorf("the unix socket: %v", err)
	}
	conn, _, err = websocket.DefaultDialer.Dial("ws://"+u.plain+"/ws", nil)
	if err != nil {
		t.Fatalf("come back: %v", err)
	}
	conn.Close()
	states.expect(t, "MAINPID="+strconv.Itoa(u.pid(t)))
	if states.saw("STOPPING=1") {
		t.Error("systemd was told that the server stops")
	}
}

// handshake reports whether a session was resumed.
func (u *upgradable) handshake(t *testing.T, sessions tls.ClientSessionCache) bool {
	t.Helper()
	conn, err := tls.Dial("tcp", u.secure, &tls.Config{RootCAs: u.roots, ClientSessionCache: sessions, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	io.ReadAll(conn) // tickets come with the answer
	return conn.ConnectionState().DidResume
}

// notified is systemd's side of sd_notify.
type notified struct {
	path string
	mu   sync.Mutex
	all  strings.Builder
}

func notifySocket(t *testing.T) *notified {
	t.Helper()
	n := &notified{path: filepath.Join(testenv.Dir(t), "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the socket is closed
		defer close(done)
		buf := make([]byte, 4096)
		for {
			size, err := conn.Read(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.all.Write(append(buf[:size:size], '\n'))
			n.mu.Unlock()
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return n
}

func (n *notified) saw(line string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(strings.Split(n.all.String(), "\n"), line)
}

func (n *notified) expect(t *testing.T, line string) {
	t.Helper()
	testenv.Eventually(t, "systemd hears "+line, func() bool { return n.saw(line) })
}
