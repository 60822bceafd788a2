package ws_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// child is a server in a process of its own, so that what it uses can be measured. It obeys lines on its standard input.
type child struct {
	t             testing.TB
	in            io.WriteCloser
	out           *bufio.Scanner
	plain, secure string
	roots         *x509.CertPool
	pid           int
	stop          func() // as a service manager does, and waits
}

const (
	childVariable = "EDGE_TEST_WS_CHILD"
	childKind     = "EDGE_TEST_WS_KIND"
	childAddress  = "EDGE_TEST_WS_ADDRESS" // where to listen; "" is any port
	childPing     = "EDGE_TEST_WS_PING"    // limits.ping_interval
)

func startChild(t testing.TB) *child { return startServer(t, "") }

// startServer starts another server than Edge, for comparison, or clients: see floorMain and clientsMain.
func startServer(t testing.TB, kind string, env ...string) *child {
	t.Helper()
	dir := testenv.Dir(t)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+dir, childKind+"="+kind)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	c := &child{t: t, roots: x509.NewCertPool()}
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.pid = cmd.Process.Pid
	c.out = bufio.NewScanner(stdout)
	c.stop = sync.OnceFunc(func() {
		c.in.Close()
		cmd.Wait()
	})
	t.Cleanup(c.stop)
	c.plain = c.line()
	if kind != "" {
		return c
	}
	c.secure = c.line()
	pem, err := os.ReadFile(filepath.Join(httpserver.CADir(dir), "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	c.roots.AppendCertsFromPEM(pem)
	return c
}

func (c *child) line() string {
	if !c.out.Scan() {
		c.t.Fatalf("the server has ended: %v", c.out.Err())
	}
	return c.out.Text()
}

// ask sends a command and returns the answer.
func (c *child) ask(command string, args ...any) string {
	c.tell(command, args...)
	return c.line()
}

// tell sends a command whose answer is looked at later.
func (c *child) tell(command string, args ...any) { fmt.Fprintf(c.in, command+"\n", args...) }

func (c *child) number(command string) int {
	n, err := strconv.Atoi(c.ask(command))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *child) tls() *tls.Config {
	return &tls.Config{RootCAs: c.roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}}
}

// childMain is what the process does.
func childMain(dir string) {
	switch kind := os.Getenv(childKind); kind {
	case "":
	case "clients":
		clientsMain()
		return
	default:
		floorMain(kind)
		return
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	raiseFiles()
	limits := ws.DefaultLimits()
	if text := os.Getenv(childPing); text != "" {
		var err error
		limits.PingInterval, err = time.ParseDuration(text)
		must(err)
	}
	hub := ws.NewHub(ws.Options{Logger: logger})
	must(hub.Start(context.Background()))
	space := hub.Space("test")
	endpoint, err := ws.NewEndpoint(ws.EndpointConfig{Space: space, Limits: limits, Logger: logger, Protocol: &echo{
		open: func(c *ws.Conn) {
			space.Subscribe(context.Background(), c, "all", ws.SubscribeOptions{})
		},
	}})
	must(err)
	cfg := httpserver.DefaultConfig()
	cfg.Listen = []httpserver.Listen{{Address: cmp.Or(os.Getenv(childAddress), "127.0.0.1:0")}, {Address: "127.0.0.1:0", TLS: true}}
	server, err := httpserver.New(cfg, httpserver.Options{Logger: logger, StateDir: dir, Handler: endpoint})
	must(err)
	must(server.Start(context.Background()))
	for _, a := range server.Addresses() {
		fmt.Println(a.Addr)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		command, arg, _ := strings.Cut(in.Text(), " ")
		switch command {
		case "rss":
			for range 8 { // stacks shrink by half each time
				runtime.GC()
			}
			debug.FreeOSMemory()
			fmt.Println(rss())
		case "peak":
			fmt.Println(peak())
		case "conns":
			info, err := space.Channel(context.Background(), "all") // those who have subscribed
			must(err)
			fmt.Println(info.Subscribers)
		case "cpu":
			fmt.Println(int(cpu()))
		case "memstats":
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Println("heap", m.HeapInuse, "stacks", m.StackInuse, "goroutines", runtime.NumGoroutine())
		case "stats":
			b, _ := json.Marshal(hub.Stats())
			fmt.Println(string(b))
		case "alone":
			hub.WriteAlone()
			fmt.Println("ok")
		case "publish": // so many messages of 128 bytes, so long apart
			var n int
			var pause time.Duration
			fmt.Sscan(arg, &n, (*int64)(&pause))
			m := ws.PrepareText(strings.Repeat("x", 128))
			began := time.Now()
			for range n {
				space.Publish(context.Background(), "all", m, ws.PublishOptions{})
				if pause > 0 {
					time.Sleep(pause)
				}
			}
			fmt.Println(int(time.Since(began)))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	hub.Stop(ctx)
	server.Stop(ctx)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss is the memory of this process in bytes.
func rss() int {
	b, err := os.ReadFile("/proc/self/statm")
	must(err)
	n, err := strconv.Atoi(strings.Fields(string(b))[1])
	must(err)
	return n * os.Getpagesize()
}

// peak is the most memory that this process has had, in bytes, or what it has now where the kernel (gVisor) keeps no record of it.
func peak() int {
	b, err := os.ReadFile("/proc/self/status")
	must(err)
	_, rest, known := strings.Cut(string(b), "VmHWM:")
	if !known {
		return rss()
	}
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	must(err)
	return n << 10
}

// raiseFiles allows this process as many open files as the machine lets it have, and returns how many that are.
func raiseFiles() int {
	var limit syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	for _, n := range []uint64{1 << 20, 1 << 18, 1 << 17} { // beyond the hard limit root may go
		if n > limit.Max && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}) == nil {
			return int(n)
		}
	}
	limit.Cur = limit.Max
	must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	return int(limit.Cur)
}
