package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/internal/testenv"
)

// looks are two moments of a server, two seconds apart.
func looks() (admin.Overview, admin.Overview) {
	began := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	before := admin.Overview{
		Time:   began.Add(time.Hour),
		Status: admin.Status{Version: "1.2.3", PID: 4711, Started: began, Ready: true},
		Routes: []admin.Route{{Name: "app", Classes: [5]uint64{0, 100, 0, 0, 2}, Buckets: []uint64{50, 50, 2}, Bounds: []float64{0.001, 0.01}}},
	}
	now := before
	now.Time = before.Time.Add(2 * time.Second)
	now.Status.Degraded = []string{"plugin a: its file is gone"}
	now.Routes = []admin.Route{
		{Name: "app", Classes: [5]uint64{0, 280, 0, 0, 22}, InFlight: 3, Buckets: []uint64{150, 148, 4}, Bounds: []float64{0.001, 0.01}},
		{Name: "a route\x1b[31m whose name is longer than the column", Classes: [5]uint64{0, 4}, Buckets: []uint64{0, 0, 4}, Bounds: []float64{0.001, 0.01}},
	}
	now.Workers = []admin.Pool{{Name: "app", Queued: 3, Workers: []admin.Worker{{State: "idle", Memory: 1 << 20}, {State: "busy", Memory: 1 << 20}}}}
	now.Plugins = []admin.Plugin{{Name: "stamp", Requests: 12, Errors: 1, Instances: 2, P50: 1500, P99: 2 * time.Millisecond}}
	now.Stores = []admin.Store{{Name: "cache", Driver: "memory", Keys: 7, Bytes: 2048, Hits: 3, Misses: 1}}
	now.Connections = admin.Connections{
		Listeners:  []admin.Listener{{Network: "tcp", Address: "127.0.0.1:8080", Open: 5, Accepted: 90}},
		WebSockets: []admin.Space{{Name: "raw/chat", Open: 2}},
	}
	now.Services = []admin.Service{{Name: "queue", Restarts: 4, Processes: []admin.ServiceProcess{{PID: 1}, {}}}}
	return before, now
}

const topScreen = `edge 1.2.3  pid 4711  ready  up 1h0m2s  q quit  space pause  ↑↓ scroll
102.0 req/s  10.0 errors/s  3 in flight  1 degraded

ROUTE                            REQ/S  ERRORS/S  RUNNING       P50       P99
app                              100.0      10.0        3       1ms      10ms
a route?[31m whose name is …       2.0       0.0        0     > 10s     > 10s

PHP POOL                       WORKERS      IDLE     BUSY   WAITING    MEMORY
app                                  2         1        1         3      2MiB

PLUGIN                        REQUESTS    ERRORS INSTANCE       P50       P99
stamp                               12         1        2       2µs       2ms

STORE                           DRIVER      KEYS     HITS     BYTES
cache                           memory         7      75%      2KiB

CONNECTIONS                       OPEN  ACCEPTED
tcp 127.0.0.1:8080                   5        90
ws raw/chat                          2         -

SERVICE                        RUNNING  RESTARTS
queue                              1/2         4

! plugin a: its file is gone`

// TestTopScreen draws two looks, and answers keys.
func TestTopScreen(t *testing.T) {
	t.Parallel()
	m := &topModel{every: time.Second, width: 100, height: 60}
	if got := m.View(); got != "edge top: looking…\n" {
		t.Errorf("before the first look: %q", got)
	}
	before, now := looks()
	m.Update(looked{overview: before})
	m.Update(looked{overview: now})
	if got := m.View(); got != topScreen {
		t.Error(cmp.Diff(topScreen, got))
	}

	m.Update(tea.WindowSizeMsg{Width: 20, Height: 6})
	lines := strings.Split(m.View(), "\n")
	if len(lines) != 6 {
		t.Errorf("%d lines on a screen of 6", len(lines))
	}
	for _, line := range lines {
		if len([]rune(line)) > 20 {
			t.Errorf("%q is wider than the screen", line)
		}
	}
	for range 100 {
		m.Update(tea.KeyMsg{Type: tea.KeyDown})
	}
	if !strings.Contains(m.View(), "! plugin a: its fil") {
		t.Errorf("scrolled to the end:\n%s", m.View())
	}
	m.Update(tea.KeyMsg{Type: tea.KeyUp})

	m.Update(tea.WindowSizeMsg{Width: 100, Height: 60})
	m.Update(tea.KeyMsg{Type: tea.KeySpace, Runes: []rune(" ")})
	m.Update(looked{overview: before})
	if !strings.Contains(m.View(), "PAUSED") || !m.now.Time.Equal(now.Time) {
		t.Errorf("paused:\n%s", m.View())
	}
	m.Update(looked{err: errors.New("no Edge answers")})
	if !strings.Contains(m.View(), "LOST: no Edge answers") || !strings.Contains(m.View(), "app  ") {
		t.Errorf("without an answer:\n%s", m.View())
	}
	if _, cmd := m.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("q")}); cmd == nil {
		t.Error("q does not end it")
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	bounds := []float64{0.001, 0.01, 0.1}
	for _, tt := range []struct {
		counts []uint64
		q      float64
		want   time.Duration
	}{
		{[]uint64{0, 0, 0, 0}, 0.5, 0},
		{[]uint64{10, 0, 0, 0}, 0.5, 500 * time.Microsecond},
		{[]uint64{0, 10, 0, 0}, 1, 10 * time.Millisecond},
		{[]uint64{50, 0, 50, 0}, 0.75, 55 * time.Millisecond},
		{[]uint64{1, 0, 0, 99}, 0.5, -1},
	} {
		if got := quantile(tt.counts, bounds, tt.q); got != tt.want {
			t.Errorf("%v %g: %s, want %s", tt.counts, tt.q, got, tt.want)
		}
	}
}

// TestTopOnATerminal runs the program on a terminal of its own, beside a server, until q is pressed.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	script := testenv.Tool(t, "script", "apt-get install bsdutils")
	p := startServer(t, "http: {routes: [{name: hello, respond: hello}]}\nkv: {cache: {driver: memory}}\n")
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var screen testenv.Log
	cmd := exec.Command(script, "-qec", "stty cols 100 rows 40; "+path+" top --every 100ms -c "+filepath.Join(p.dir, "edge.yaml"), "/dev/null")
	cmd.Env = append(os.Environ(), "TERM=xterm")
	cmd.Stdout, cmd.Stderr = &screen, &screen
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	testenv.Eventually(t, "the screen shows the server", func() bool {
		text := screen.String()
		return strings.Contains(text, "ROUTE") && strings.Contains(text, "hello") && strings.Contains(text, "memory") && strings.Contains(text, "req/s")
	})
	if _, err := keys.Write([]byte("q")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v\n%s", err, screen.String())
		}
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatalf("q did not end it:\n%q", screen.String())
	}
}

// TestObservingCommands asks a running server by every command that shows something, and drains it.
func TestObservingCommands(t *testing.T) {
	t.Parallel()
	p := startServer(t, "http: {routes: [{respond: hello}]}\nadmin: {listen: unix}\nservices: {nap: {command: [sleep, \"1000\"], user: "+serviceUser()+", env: {APP_KEY: sesame}}}\n")
	config := filepath.Join(p.dir, "edge.yaml")
	ask := func(args ...string) string {
		t.Helper()
		var out, problem strings.Builder
		if code := run(t.Context(), append(args, "-c", config), &out, &problem); code != 0 {
			t.Errorf("edge %v: %d %s", args, code, problem.String())
		}
		return out.String()
	}
	testenv.Eventually(t, "the service runs", func() bool {
		return strings.Contains(ask("services"), "sleep 1000") && !strings.Contains(ask("services"), "nap  -")
	})
	if got := ask("config"); !strings.Contains(got, `"respond"`) || strings.Contains(got, "sesame") {
		t.Errorf("edge config: %s", got)
	}
	if got := ask("drain"); !strings.Contains(got, "drains") {
		t.Errorf("edge drain: %s", got)
	}
	if got := ask("status"); !strings.Contains(got, "not ready") || !strings.Contains(got, "it drains") {
		t.Errorf("edge status of a server that drains: %s", got)
	}
	ask("drain", "--undo")
	if got := ask("status"); strings.Contains(got, "not ready") {
		t.Errorf("edge status: %s", got)
	}
}

func serviceUser() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return `""`
}
