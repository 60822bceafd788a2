package osproc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	put("cgroup.procs", fmt.Sprintf("%d\n1\n", os.Getpid()))
	if err := moveServer(root); err == nil || !strings.Contains(err.Error(), "1 other") {
		t.Errorf("with others in the cgroup: %v", err)
	}
}
