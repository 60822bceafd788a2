package osproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

func TestFindCgroup(t *testing.T) {
	t.Parallel()
	const unified = "30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	const inside = "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
	const hybrid = "29 24 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for _, c := range []struct{ groups, mounts, want string }{
		{"0::/system.slice/edge.service\n", unified, "/sys/fs/cgroup/system.slice/edge.service"},
		{"0::/\n", unified, "/sys/fs/cgroup"},
		{"0::/docker/abc/x\n", inside, "/sys/fs/cgroup/x"},
		{"0::/elsewhere\n", inside, ""},
		{"4:memory:/a\n0::/b\n", hybrid, "/sys/fs/cgroup/unified/b"},
		{"4:memory:/a\n", hybrid, ""},
		{"0::/a\n", "", ""},
	} {
		got, err := findCgroup([]byte(c.groups), []byte(c.mounts))
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("in %q: %q, %v; want %q", c.groups, got, err, c.want)
		}
	}
}

// TestMemoryGroup plays through what is read and written, on files that look like the kernel's: few machines that run tests
// let them make cgroups. php.TestMemoryOfThePool does it for real where it can.
func TestMemoryGroup(t *testing.T) {
	t.Parallel()
	root := testenv.Dir(t)
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("cgroup.controllers", "cpu pids\n")
	if _, err := newMemoryGroupIn(root, "app", 1<<20); err == nil || !strings.Contains(err.Error(), "Delegate=memory") {
		t.Errorf("without the controller: %v", err)
	}
	put("cgroup.controllers", "cpu memory pids\n")
	put("cgroup.subtree_control", "cpu memory\n")
	stale := filepath.Join(root, fmt.Sprintf("%sapp-%d-1", groupNames, 1<<30)) // no pid is as large
	alive := filepath.Join(root, fmt.Sprintf("%sapp-%d-1", groupNames, os.Getpid()))
	for _, dir := range []string{stale, alive} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The kernel makes memory.max with the folder; here there is none, which must leave nothing behind.
	if _, err := newMemoryGroupIn(root, "app", 1<<20); err == nil {
		t.Error("a group without memory.max")
	}
	left, _ := filepath.Glob(filepath.Join(root, groupNames+"*"))
	if len(left) != 1 || left[0] != alive {
		t.Errorf("left: %q", left)
	}

	put("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
	g := &MemoryGroup{path: root}
	for i, want := range []bool{true, true, false} {
		if got := g.Blame(); got != want {
			t.Errorf("kill %d of two: %t", i+1, got)
		}
	}
}

// TestMoveServer plays through whom Edge takes along into its leaf, on a folder that looks like the kernel's.
func TestMoveServer(t *testing.T) {
	t.Parallel()
	child := exec.Command("sleep", "300")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	self, own, gone := strconv.Itoa(os.Getpid()), strconv.Itoa(child.Process.Pid), strconv.Itoa(1<<30)
	stranger := strconv.Itoa(os.Getppid())
	for _, c := range []struct {
		name  string
		top   bool // nothing is to be seen above, as in a container
		procs []string
		last  string // who was moved last
		err   string
	}{
		{"alone", false, []string{self}, self, ""},
		{"with a child", false, []string{self, own}, own, ""},
		{"with a child that has ended", false, []string{self, own, gone}, gone, ""},
		{"with a stranger", false, []string{self, own, stranger}, "", "1 other processes"},
		{"with strangers", false, []string{"1", self, stranger}, "", "2 other processes"},
		{"in a container", true, []string{stranger, own}, own, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := testenv.Dir(t)
			from := filepath.Join(top, "edge.service")
			moved := filepath.Join(from, serverLeaf, "cgroup.procs")
			if err := os.MkdirAll(filepath.Dir(moved), 0o755); err != nil {
				t.Fatal(err)
			}
			files := map[string]string{filepath.Join(from, "cgroup.procs"): strings.Join(c.procs, "\n") + "\n", moved: ""}
			if !c.top {
				files[filepath.Join(top, "cgroup.procs")] = ""
			}
			for name, text := range files {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := moveServer(from)
			if got := fmt.Sprint(err); (err == nil) != (c.err == "") || !strings.Contains(got, c.err) {
				t.Errorf("the error is %q, want %q", got, c.err)
			}
			if text, err := os.ReadFile(moved); err != nil || !strings.HasPrefix(string(text), c.last) || (c.last == "") != (len(text) == 0) {
				t.Errorf("moved last: %q, %v; want %q", text, err, c.last)
			}
		})
	}
}

// TestLateJoin: where processes cannot be born in the group, they are moved into it before they run anything.
func TestLateJoin(t *testing.T) {
	t.Parallel()
	group := &MemoryGroup{path: testenv.Dir(t), late: true}
	procs := filepath.Join(group.path, "cgroup.procs")
	if err := os.WriteFile(procs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if group.dir, err = os.Open(group.path); err != nil {
		t.Fatal(err)
	}
	s, err := NewStarter(0, Limits{OpenFiles: 123, Memory: 1 << 20}, group)
	if err != nil {
		t.Fatal(err)
	}
	start := func(script string) error {
		cmd := exec.Command("/bin/sh", "-c", script, "sh", procs)
		cmd.SysProcAttr = Attributes(nil)
		if err := s.Start(cmd); err != nil {
			return err
		}
		return cmd.Wait()
	}
	for range testenv.Count(20, 500) {
		if err := start(`read pid < "$1"; test "$pid" = $$ && test $(ulimit -n) = 123`); err != nil {
			t.Fatalf("not in the group, or without limits, when it began: %v", err)
		}
	}
	if err := os.Remove(procs); err != nil {
		t.Fatal(err)
	}
	if err := start("true"); err == nil || !strings.Contains(err.Error(), "limits.memory") {
		t.Errorf("a process outside of its group: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

// TestUnitsAreNotDivided: what systemd has not delegated is left alone, even where the kernel would let us.
func TestUnitsAreNotDivided(t *testing.T) {
	t.Parallel()
	top := testenv.Dir(t)
	for _, unit := range []string{"edge.service", "session-1.scope"} {
		dir := filepath.Join(top, unit)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{filepath.Join(top, "cgroup.procs"): "", filepath.Join(dir, "cgroup.procs"): "", filepath.Join(dir, "cgroup.controllers"): "memory\n"}
		for name, text := range files {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := delegateMemory(dir); err == nil || !strings.Contains(err.Error(), "has not delegated "+dir) {
			t.Errorf("%s: %v", unit, err)
		}
	}
}

// TestAdvice is what the log says where Edge may not make a cgroup.
func TestAdvice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  syscall.Errno
		want string
	}{
		{syscall.EACCES, "Delegate=memory"},
		{syscall.EPERM, "Delegate=memory"},
		{syscall.EROFS, "docker run --memory"},
	} {
		err := advised(&fs.PathError{Op: "open", Path: "/sys/fs/cgroup/x", Err: c.err})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "/sys/fs/cgroup/x") {
			t.Errorf("%v", err)
		}
	}
}
