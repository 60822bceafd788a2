package services

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// fixture is a manager whose services may write into dir.
type fixture struct {
	*testing.T
	*Manager
	log *testenv.Log
	dir string
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, log: &testenv.Log{}, dir: testenv.Dir(t)}
	if err := os.Chmod(f.dir, 0o777); err != nil { // for www-data, when root runs the tests
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.Manager = New(Options{
		Logger: log, Dir: f.dir, Env: func() []string { return []string{"FROM_EDGE=1"} },
		Channel: func(name string) *slog.Logger { return log.With("channel", name) },
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := f.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// shell is a service that runs a script, as whoever runs the tests.
func shell(script string, change ...func(*Config)) Config {
	c := DefaultConfig()
	c.Command = []string{"/bin/sh", "-c", script}
	if os.Geteuid() == 0 {
		c.User = "root"
	}
	c.Backoff = Backoff{Min: shortestBackoff, Max: shortestBackoff}
	for _, f := range change {
		f(&c)
	}
	return c
}

func (f *fixture) apply(next map[string]Config) {
	f.Helper()
	if err := f.Check(next); err != nil {
		f.Fatal(err)
	}
	if err := f.Apply(f.Context(), next); err != nil {
		f.Fatal(err)
	}
}

// lines is how often the file of the test has a line.
func (f *fixture) lines(name string) int {
	text, _ := os.ReadFile(filepath.Join(f.dir, name))
	return bytes.Count(text, []byte("\n"))
}

// pids of the processes of a service that run.
func (f *fixture) pids(name string) []int {
	var pids []int
	for _, s := range f.Stats() {
		for _, p := range s.Processes {
			if s.Name == name && p.PID != 0 {
				pids = append(pids, p.PID)
			}
		}
	}
	return pids
}

func (f *fixture) runs(name string, n int) []int {
	f.Helper()
	testenv.Eventually(f, fmt.Sprintf("%d processes of %s run", n, name), func() bool { return len(f.pids(name)) == n })
	return f.pids(name)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// TestRestart looks at what each policy makes of each end.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		restart string
		code    int
		again   bool
	}{
		{"always", 0, true}, {"always", 3, true}, {"on-failure", 0, false}, {"on-failure", 3, true}, {"never", 0, false}, {"never", 3, false},
	} {
		t.Run(fmt.Sprintf("%s %d", tt.restart, tt.code), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.apply(map[string]Config{"a": shell(fmt.Sprintf("echo x >> ran; exit %d", tt.code), func(c *Config) { c.Restart = tt.restart })})
			if tt.again {
				testenv.Eventually(t, "it ran three times", func() bool { return f.lines("ran") >= 3 })
				if s := f.Stats()[0]; s.Restarts < 2 || (s.Failures > 0) != (tt.code != 0) {
					t.Errorf("stats: %+v", s)
				}
				return
			}
			testenv.Eventually(t, "the log says that it is over", func() bool { return strings.Contains(f.log.String(), "service ended") })
			if s := f.Stats()[0]; !strings.Contains(s.Processes[0].Problem, "not started again") || !strings.Contains(s.Processes[0].Problem, fmt.Sprintf("exit status %d", tt.code)) {
				t.Errorf("stats: %+v", s)
			}
			f.slept(t, 3*shortestBackoff)
			if n := f.lines("ran"); n != 1 {
				t.Errorf("it ran %d times", n)
			}
		})
	}
}

// slept gives what must not happen time to happen.
func (f *fixture) slept(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// TestProgramThatIsNotThere is refused before anything starts, and one that goes away later is tried again.
func TestProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	f := setup(t)
	missing := shell("")
	missing.Command = []string{"no-such-program-of-edge"}
	wrong := shell("")
	wrong.Dir = filepath.Join(f.dir, "nowhere")
	err := f.Check(map[string]Config{"a": missing, "b": wrong})
	for _, want := range []string{"services.a.command: there is no program", "services.b.dir: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}

	tool := filepath.Join(f.dir, "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := shell("")
	c.Command = []string{"./tool"}
	f.apply(map[string]Config{"a": c})
	testenv.Eventually(t, "it fails", func() bool { return f.Stats()[0].Failures > 0 })
	if err := os.Remove(tool); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the log says so", func() bool { return strings.Contains(f.log.String(), "does not start: ") })
	if err := os.WriteFile(tool, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.runs("a", 1)
}

// TestOutput goes to the log with its service and pid, cut and bounded; none of it stops the process.
func TestOutput(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.apply(map[string]Config{
		"talk":  shell(`echo "to stdout $FROM_EDGE $NAME"; echo to stderr >&2; exec sleep 1000`, func(c *Config) { c.Channel, c.Env = "queue", map[string]string{"NAME": "value"} }),
		"flood": shell(`i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo x > done; exec sleep 1000`),
		"long":  shell(`head -c 100000 /dev/zero | tr '\0' a; echo; exec sleep 1000`),
	})
	pid := f.runs("talk", 1)[0]
	for _, want := range []string{
		fmt.Sprintf(`"msg":"to stdout 1 value","channel":"queue","service":"talk","pid":%d`, pid), `"msg":"to stderr"`, "… (line cut)",
		`"msg":"service floods its output, lines dropped"`,
	} {
		testenv.Eventually(t, "the log has "+want, func() bool { return strings.Contains(f.log.String(), want) })
	}
	testenv.Eventually(t, "the flood is over", func() bool { return f.lines("done") == 1 })
	if n := strings.Count(f.log.String(), `"msg":"line `); n == 0 || n > 10000 {
		t.Errorf("%d lines of the flood are in the log", n)
	}
}

// TestStop asks first, then kills, and takes along whatever a process has started.
func TestStop(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.apply(map[string]Config{
		"polite": shell(`trap 'echo bye >> polite; exit 0' INT; echo ready; while :; do sleep 0.05; done`, func(c *Config) { c.StopSignal = "INT" }),
		"deaf":   shell(`trap '' TERM; sleep 1000 & echo $! > child; wait; sleep 1000`, func(c *Config) { c.StopTimeout = 100 * time.Millisecond }),
	})
	testenv.Eventually(t, "both are ready", func() bool { return strings.Contains(f.log.String(), `"msg":"ready"`) && f.lines("child") == 1 })
	text, _ := os.ReadFile(filepath.Join(f.dir, "child"))
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || !alive(child) {
		t.Fatalf("the child %q: %v", text, err)
	}
	deaf := f.pids("deaf")[0]
	f.apply(nil)
	if f.lines("polite") != 1 {
		t.Error("the polite one could not say goodbye")
	}
	if alive(deaf) {
		t.Error("the deaf one lives")
	}
	testenv.Eventually(t, "its child is gone", func() bool { return !alive(child) || zombie(child) })
	if len(f.Stats()) != 0 {
		t.Errorf("stats: %+v", f.Stats())
	}
}

// zombie reports whether nobody has reaped a process yet; in a container nobody may ever.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil && os.IsNotExist(err) || strings.Contains(string(text), ") Z ")
}

// TestStopWithoutTime kills when the context of the stop has ended.
func TestStopWithoutTime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.apply(map[string]Config{"deaf": shell(`trap '' TERM; echo ready; while :; do sleep 0.05; done`, func(c *Config) { c.StopTimeout = time.Hour })})
	testenv.Eventually(t, "it is ready", func() bool { return strings.Contains(f.log.String(), `"msg":"ready"`) })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := f.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := f.Apply(context.Background(), map[string]Config{"late": shell("sleep 1")}); err == nil {
		t.Error("a service was started after the stop")
	}
	if err := f.Create("late", shell("sleep 1")); err == nil {
		t.Error("RPC has started a service after the stop")
	}
}

// TestExecTimeout ends a run that is too long; the policy decides what follows.
func TestExecTimeout(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.apply(map[string]Config{"a": shell(`echo x >> ran; exec sleep 1000`, func(c *Config) { c.ExecTimeout, c.Restart = 100*time.Millisecond, "on-failure" })})
	testenv.Eventually(t, "it ran twice", func() bool { return f.lines("ran") >= 2 })
	if !strings.Contains(f.log.String(), "stopped after exec_timeout, 100ms") {
		t.Error("the log does not say why")
	}
}

// TestApply touches only what has changed.
func TestApply(t *testing.T) {
	t.Parallel()
	f := setup(t)
	before := map[string]Config{"same": shell("exec sleep 1000"), "changed": shell("exec sleep 1000"), "gone": shell("exec sleep 1000")}
	before["same"] = shell("exec sleep 1000", func(c *Config) { c.Processes = 3 })
	f.apply(before)
	same, changed, gone := f.runs("same", 3), f.runs("changed", 1), f.runs("gone", 1)
	f.apply(map[string]Config{"same": before["same"], "changed": shell("exec sleep 1001"), "new": shell("exec sleep 1000")})
	f.runs("new", 1)
	if got := f.runs("same", 3); !reflect.DeepEqual(got, same) {
		t.Errorf("same was %d and is %d", same, got)
	}
	if got := f.runs("changed", 1); got[0] == changed[0] || alive(changed[0]) {
		t.Error("changed was not replaced")
	}
	if alive(gone[0]) || strings.Join(f.Names(), " ") != "changed new same" {
		t.Errorf("gone lives, or the names are wrong: %q", f.Names())
	}

	// What an operator has ended by RPC is not resurrected by an unrelated reload.
	if err := f.Terminate(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	f.apply(map[string]Config{"same": before["same"], "new": shell("exec sleep 1000")})
	if got := strings.Join(f.Names(), " "); got != "same" {
		t.Errorf("services after the reload: %s", got)
	}
}

// TestLimits and the user are in force before the program runs.
func TestLimits(t *testing.T) {
	t.Parallel()
	f := setup(t)
	who := shell(`id -un > user; exec sleep 1000`)
	who.User = ""
	f.apply(map[string]Config{
		"who":   who,
		"limit": shell(`ulimit -n > limit; exec sleep 1000`, func(c *Config) { c.Limits.OpenFiles = 123 }),
	})
	testenv.Eventually(t, "both have run", func() bool { return f.lines("user") == 1 && f.lines("limit") == 1 })
	want, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		want.Username = "www-data"
	}
	for name, want := range map[string]string{"limit": "123", "user": want.Username} {
		if got, _ := os.ReadFile(filepath.Join(f.dir, name)); strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestDiesWithItsParent: a server that is killed leaves no service behind.
func TestDiesWithItsParent(t *testing.T) {
	if dir := os.Getenv("EDGE_SERVICES_PARENT"); dir != "" {
		m := New(Options{Logger: slog.New(slog.DiscardHandler), Channel: func(string) *slog.Logger { return slog.New(slog.DiscardHandler) }, Dir: dir})
		c := shell("echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 1000")
		if err := m.Apply(context.Background(), map[string]Config{"a": c}); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	t.Parallel()
	f := setup(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiesWithItsParent$")
	cmd.Env = append(os.Environ(), "EDGE_SERVICES_PARENT="+f.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the service runs", func() bool { return f.lines("pid") == 1 })
	text, _ := os.ReadFile(filepath.Join(f.dir, "pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if !alive(pid) {
		t.Fatal("the service does not run")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	testenv.Eventually(t, "the service is gone", func() bool { return !alive(pid) || zombie(pid) })
}

// TestAllAtOnce hammers a manager with every change there is, and stops it meanwhile.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var wg sync.WaitGroup
	for i := range testenv.Count(4, 16) {
		wg.Go(func() {
			for j := range testenv.Count(5, 50) {
				name := fmt.Sprintf("s%d", (i+j)%3)
				switch j % 5 {
				case 0:
					_ = f.Create(name, shell("exec sleep 1000"))
				case 1:
					_ = f.Restart(t.Context(), name)
				case 2:
					_ = f.Apply(t.Context(), map[string]Config{"yaml": shell(fmt.Sprintf("exec sleep %d", 1000+i))})
				case 3:
					_, _ = f.RPC().Statuses(t.Context(), Named{name})
				default:
					_ = f.Terminate(t.Context(), name)
				}
				f.Stats()
			}
		})
	}
	wg.Wait()
	_ = f.Create("left", shell("exec sleep 1000"))
	pids := f.runs("left", 1)
	if err := f.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if alive(pids[0]) {
		t.Error("a process outlives the stop")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := shell("x").Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"command: is required":    func(c *Config) { c.Command = nil },
		"env: ":                   func(c *Config) { c.Env = map[string]string{"a=b": "c"} },
		"nice: ":                  func(c *Config) { c.Nice = 20 },
		"processes: ":             func(c *Config) { c.Processes = 0 },
		"restart: must be always": func(c *Config) { c.Restart = "maybe" },
		"backoff.min: ":           func(c *Config) { c.Backoff.Min = time.Millisecond },
		"backoff.max: ":           func(c *Config) { c.Backoff.Max = 0 },
		"stop_signal: ":           func(c *Config) { c.StopSignal = "KILL" },
		"stop_timeout: ":          func(c *Config) { c.StopTimeout = 0 },
		"exec_timeout: ":          func(c *Config) { c.ExecTimeout = -1 },
		"channel: ":               func(c *Config) { c.Channel = "" },
	} {
		if err := shell("x", change).Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
