package osproc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupNames = "edge-"
	// groupGrace is how long the kernel may take to let go of a cgroup whose processes were killed.
	groupGrace = 2 * time.Second
)

// MemoryGroup is the cgroup (v2) of some processes. They are in it from their first instruction on.
type MemoryGroup struct {
	path  string
	dir   *os.File
	limit int64
	late  bool // processes cannot be born in it: they are moved before they run

	mu     sync.Mutex // protects killed
	killed int        // how many kills of the kernel were told of
}

// NewMemoryGroup makes a cgroup below Edge's own. The error says why that cannot be here.
func NewMemoryGroup(name string, limit int64) (*MemoryGroup, error) {
	own, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	return newMemoryGroupIn(own, name, limit)
}

func newMemoryGroupIn(own, name string, limit int64) (g *MemoryGroup, err error) {
	parent := own
	if filepath.Base(own) == serverLeaf {
		parent = filepath.Dir(own)
	}
	if err := delegateMemory(parent); err != nil {
		return nil, advised(err)
	}
	sweepGroups(parent)
	path, err := os.MkdirTemp(parent, fmt.Sprintf("%s%s-%d-", groupNames, strings.ReplaceAll(name, "*", "_"), os.Getpid()))
	if err != nil {
		return nil, advised(err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	if err := writeControl(path, "memory.max", strconv.FormatInt(limit, 10)); err != nil {
		return nil, err
	}
	// Without swap to flee to. Kernels without swap have no such file.
	if err := writeControl(path, "memory.swap.max", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &MemoryGroup{path: path, dir: dir, limit: limit, late: !canClone3()}, nil
}

// canClone3 reports whether the system call is allowed by which processes are born in a cgroup. systemd's RestrictNamespaces= and the
// filters of Docker and Podman do as if there were none.
func canClone3() bool {
	_, _, err := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0) // without arguments it does nothing
	return err == unix.EINVAL
}

// sweepGroups removes the groups of servers that were killed. A group with processes in it cannot be removed.
func sweepGroups(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, groupNames+"*-*-*"))
	for _, path := range left {
		parts := strings.Split(path, "-")
		pid, err := strconv.Atoi(parts[len(parts)-2])
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = unix.Rmdir(path)
		}
	}
}

// enter makes the process that is started with attr begin inside the group.
func (g *MemoryGroup) enter(attr *syscall.SysProcAttr) {
	if g != nil && !g.late {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.dir.Fd())
	}
}

// mustJoin reports whether processes come into the group by join.
func (g *MemoryGroup) mustJoin() bool { return g != nil && g.late }

// join moves a process into the group that was not born there.
func (g *MemoryGroup) join(pid int) error {
	if !g.mustJoin() {
		return nil
	}
	if err := writeControl(g.path, "cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("limits.memory: %w", err)
	}
	return nil
}

// Blame reports whether the kernel killed one more process of the group than it was asked about so far.
func (g *MemoryGroup) Blame() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	text, err := os.ReadFile(filepath.Join(g.path, "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(count))
			if n > g.killed {
				g.killed++
				return true
			}
		}
	}
	return false
}

// Remove ends whatever processes left behind in the group, and the group.
func (g *MemoryGroup) Remove() error {
	if g == nil {
		return nil
	}
	g.dir.Close()
	_ = writeControl(g.path, "cgroup.kill", "1") // what kernels before 5.14 do not know
	for until := time.Now().Add(groupGrace); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Rmdir(g.path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("remove the cgroup %s: %w", g.path, err)
		}
	}
}

func writeControl(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func hasController(dir, file string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	return slices.Contains(strings.Fields(string(text)), "memory"), err
}

// ownCgroup is the folder of the cgroup (v2) in which Edge runs.
func ownCgroup() (string, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	return findCgroup(groups, mounts)
}

// findCgroup reads /proc/self/cgroup, for a line such as 0::/system.slice/edge.service, and /proc/self/mountinfo, for one such as
//
//	30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw
func findCgroup(groups, mounts []byte) (string, error) {
	path, found := "", false
	for line := range bytes.Lines(groups) {
		if rest, ok := bytes.CutPrefix(line, []byte("0::")); ok {
			path, found = string(bytes.TrimSpace(rest)), true
		}
	}
	if !found {
		return "", errors.New("this system has no cgroup v2")
	}
	lines := bufio.NewScanner(bytes.NewReader(mounts))
	for lines.Scan() {
		place, kind, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(place)
		if !ok || len(fields) < 5 || !strings.HasPrefix(kind, "cgroup2 ") {
			continue
		}
		if rel, err := filepath.Rel(fields[3], path); err == nil && filepath.IsLocal(rel) {
			return filepath.Join(fields[4], rel), nil
		}
	}
	return "", fmt.Errorf("no cgroup v2 file system shows Edge's cgroup %s", path)
}
