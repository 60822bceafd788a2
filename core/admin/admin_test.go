package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const token = "0123456789abcdef"

func backend() Backend {
	return Backend{
		Status:  func() Status { return Status{Version: "1.2.3", PID: 42, Ready: true} },
		Workers: func() []Pool { return []Pool{{Name: "app", Workers: []Worker{{PID: 7, State: "idle"}}}} },
		Plugins: func() []Plugin { return []Plugin{{Name: "a", Generation: 3}} },
		Reload:  func(context.Context) error { return errors.New("needs a restart: kv.a") },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "edge_ready 1\n") }),
	}
}

func start(t *testing.T, cfg Config, b Backend) (dir string) {
	t.Helper()
	dir = testenv.Dir(t)
	s := New(cfg, dir, b, slog.New(slog.DiscardHandler))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := s.Stop(context.Background()); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	})
	return dir
}

func TestClientOverTheSocket(t *testing.T) {
	t.Parallel()
	dir := start(t, DefaultConfig(), backend())
	if info, err := os.Stat(SocketPath(dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", info.Mode(), err)
	}
	c, err := NewClient(DefaultConfig(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Status(t.Context()); err != nil || s.PID != 42 || !s.Ready {
		t.Errorf("status %+v, %v", s, err)
	}
	if p, err := c.Workers(t.Context()); err != nil || len(p) != 1 || p[0].Workers[0].PID != 7 {
		t.Errorf("workers %+v, %v", p, err)
	}
	if p, err := c.Plugins(t.Context()); err != nil || len(p) != 1 || p[0].Generation != 3 {
		t.Errorf("plugins %+v, %v", p, err)
	}
	if err := c.Reload(t.Context()); err == nil || err.Error() != "needs a restart: kv.a" {
		t.Errorf("reload: %v, want the server's reason as it is", err)
	}
}

func TestSocketOfADeadServerIsReplaced(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	if err := os.WriteFile(SocketPath(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(DefaultConfig(), dir, backend(), slog.New(slog.DiscardHandler))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}

	long := filepath.Join(dir, strings.Repeat("x", 100))
	err := New(DefaultConfig(), long, backend(), slog.New(slog.DiscardHandler)).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "shorter path") {
		t.Errorf("a socket path that is too long: %v", err)
	}
}

func TestTokenGuardsTheLoopbackAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cfg := Config{Listen: addr, Token: token}
	start(t, cfg, backend())

	for _, tt := range []struct {
		authorization string
		want          int
	}{{"", 401}, {"Bearer wrong", 401}, {token, 401}, {"Bearer " + token, 200}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", tt.authorization)
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("Authorization %q: %s, want %d", tt.authorization, res.Status, tt.want)
		}
	}
	c, err := NewClient(cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Status(t.Context()); err != nil || s.Version != "1.2.3" {
		t.Errorf("status with the token: %+v, %v", s, err)
	}
}

func TestReadyTellsABalancerToStayAway(t *testing.T) {
	t.Parallel()
	b := backend()
	b.Status = func() Status { return Status{Degraded: []string{"plugin a: its file is gone"}} }
	dir := start(t, DefaultConfig(), b)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", SocketPath(dir))
	}}}
	for path, want := range map[string]int{"/health": 200, "/ready": 503, "/nothing": 404} {
		res, err := client.Get("http://admin" + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s = %s, want %d", path, res.Status, want)
		}
	}
}

func TestClientSaysWhyNobodyAnswers(t *testing.T) {
	t.Parallel()
	c, err := NewClient(DefaultConfig(), testenv.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no Edge answers at") {
		t.Errorf("without a server: %v", err)
	}
	if _, err := NewClient(Config{Listen: "off"}, ""); err == nil {
		t.Error("admin.listen off: want an error that says so")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{Listen: "unix"}, ""},
		{Config{Listen: "off"}, ""},
		{Config{Listen: "127.0.0.1:9190", Token: token}, ""},
		{Config{Listen: "[::1]:9190", Token: token}, ""},
		{Config{Listen: "127.0.0.1:9190"}, "token: "},
		{Config{Listen: "127.0.0.1:9190", Token: "short"}, "token: "},
		{Config{Listen: "0.0.0.0:9190", Token: token}, "listen: "},
		{Config{Listen: "example.com:80", Token: token}, "listen: "},
		{Config{Listen: ""}, "listen: "},
	} {
		err := tt.config.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.config, err, tt.want)
		}
	}
}
