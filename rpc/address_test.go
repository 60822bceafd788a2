package rpc_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

func TestTCP(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"tcp://127.0.0.1:0", "tcp://localhost:0"} {
		s := start(t, func(cfg *rpc.Config, _ rpc.Methods) { cfg.Listen = listen })
		if strings.HasSuffix(s.Addr(), ":0") || !strings.HasPrefix(s.Addr(), "tcp://") {
			t.Errorf("address %s, want the port that was chosen", s.Addr())
		}
		echo(t, dial(t, s), "over tcp")
	}
}

func TestListenValues(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	long := "unix:///" + strings.Repeat("x", 107)
	for listen, want := range map[string]string{
		"unix":                     "unix://" + filepath.Join(dir, "rpc.sock"),
		"unix:///run/edge.sock":    "unix:///run/edge.sock",
		long[:len(long)-1]:         long[:len(long)-1],
		"tcp://127.0.0.1:6001":     "tcp://127.0.0.1:6001",
		"tcp://[::1]:6001":         "tcp://[::1]:6001",
		long:                       "the path of a unix socket may have 107 bytes",
		"tcp://0.0.0.0:6001":       "can be reached from elsewhere",
		"tcp://:6001":              "can be reached from elsewhere",
		"tcp://10.0.0.1:6001":      "can be reached from elsewhere",
		"tcp://example.com:6001":   "can be reached from elsewhere",
		"tcp://127.0.0.1":          "has no host and port",
		"unix://":                  "is not an address",
		"":                         "is not an address",
		"127.0.0.1:6001":           "is not an address",
		"http://127.0.0.1:6001":    "is not an address",
		"tcp://127.0.0.1.evil.x:1": "can be reached from elsewhere",
	} {
		cfg := rpc.DefaultConfig()
		cfg.Listen = listen
		s, err := rpc.New(cfg, rpc.Options{Logger: slog.New(slog.DiscardHandler), StateDir: dir})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = s.Addr()
		}
		if !strings.Contains(got, want) {
			t.Errorf("listen %q: %s, want %s", listen, got, want)
		}
	}
}

func TestValidateFindsEverything(t *testing.T) {
	t.Parallel()
	if err := rpc.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	err := rpc.Config{Listen: "x"}.Validate()
	for _, want := range []string{"listen: ", "max_frame: must be between 1KiB and 1GiB, got 0", "connections: must be at least 1", "concurrency: must be at least 1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate says %v, want %q in it", err, want)
		}
	}
}

// TestSocketFiles: a socket that nobody answers on is replaced, everything else is left alone.
func TestSocketFiles(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	path := filepath.Join(dir, "rpc.sock")

	leaveStaleSocket(t, path)
	first := newServer(t, dir)
	if err := first.Start(t.Context()); err != nil {
		t.Fatalf("start over a stale socket: %v", err)
	}
	if err := newServer(t, dir).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "another server answers there") {
		t.Errorf("start beside a live server: %v", err)
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is there after Stop: %v", err)
	}

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newServer(t, dir).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("start over a file: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestSocketMode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uids []int
		mode fs.FileMode
	}{{nil, 0o600}, {[]int{0, os.Geteuid()}, 0o600}, {[]int{65534}, 0o666}} {
		dir := testenv.Dir(t)
		s := newServer(t, dir, c.uids...)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "rpc.sock"))
		if err != nil || info.Mode().Perm() != c.mode {
			t.Errorf("with users %v the mode is %v (%v), want %v", c.uids, info.Mode(), err, c.mode)
		}
	}
}

// TestOtherUsers connect only when they were named. Only root can try.
func TestOtherUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: TestStranger covers the refusal")
		return
	}
	php := testenv.PHP(t)
	for _, allowed := range []bool{false, true} {
		dir := testenv.Dir(t)
		var uids []int
		if allowed {
			uids = []int{65534}
		}
		s := newServer(t, dir, uids...)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Without the check of credentials, these modes would let everybody in.
		if err := errors.Join(os.Chmod(dir, 0o711), os.Chmod(filepath.Join(dir, "rpc.sock"), 0o666)); err != nil {
			t.Fatal(err)
		}
		script := `$s = stream_socket_client($argv[1]) or exit(3);
			fwrite($s, hex2bin("15080f0000001c69ca8a0000070000000b000000")."rpc.Versiontrue"); echo strlen(fread($s, 100));`
		cmd := exec.Command(php, "-r", script, s.Addr())
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if answered := strings.TrimSpace(string(out)) == "33"; answered != allowed {
			t.Errorf("a user that is allowed=%v got %q (%v)", allowed, out, err)
		}
		if st := s.Stats(); (st.Refused == 0) != allowed {
			t.Errorf("allowed=%v: %+v", allowed, st)
		}
	}
}

func newServer(t *testing.T, dir string, uids ...int) *rpc.Server {
	t.Helper()
	s, err := rpc.New(rpc.DefaultConfig(), rpc.Options{Logger: slog.New(slog.DiscardHandler), StateDir: dir, AllowUIDs: uids})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func leaveStaleSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
