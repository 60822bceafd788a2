package osproc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// serverLeaf is the cgroup into which Edge moves itself, and what it has started outside of any group: the kernel gives memory
	// limits only to the children of a cgroup that has no processes of its own.
	serverLeaf = "edge-server"
	// moveTries is how often processes are moved that were born while others were.
	moveTries = 10
)

// delegateMemory makes sure that the children of a cgroup can be limited.
func delegateMemory(parent string) error {
	there, err := hasController(parent, "cgroup.controllers")
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("there is no memory controller in %s: the system gives it to cgroup v1, or did not delegate it (systemd: Delegate=memory)", parent)
	}
	if ofSystemd(parent) && !delegated(parent) {
		// Not Edge's to divide, even if root may: at the first kill of the kernel systemd would end the whole service.
		return fmt.Errorf("systemd has not delegated %s: set Delegate=memory and ProtectControlGroups=no in the unit, and restart it", parent)
	}
	if on, err := hasController(parent, "cgroup.subtree_control"); err != nil || on {
		return err
	}
	err = writeControl(parent, "cgroup.subtree_control", "+memory")
	for try := 0; errors.Is(err, syscall.EBUSY) && try < moveTries; try++ {
		if err = moveServer(parent); err == nil {
			err = writeControl(parent, "cgroup.subtree_control", "+memory")
		}
	}
	return err
}

// moveServer moves Edge itself and its children into a leaf, and whoever else is in a cgroup that was given to Edge.
func moveServer(from string) error {
	procs, err := os.ReadFile(filepath.Join(from, "cgroup.procs"))
	if err != nil {
		return err
	}
	self := strconv.Itoa(os.Getpid())
	pids := strings.Fields(string(procs))
	if !delegated(from) {
		if strangers := len(slices.DeleteFunc(slices.Clone(pids), func(pid string) bool { return descends(pid, self) })); strangers > 0 {
			return fmt.Errorf("%s has %d other processes, too: start Edge in a cgroup of its own, such as a systemd service with Delegate=memory", from, strangers)
		}
	}
	leaf := filepath.Join(from, serverLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Edge first, so that what it starts meanwhile is born in the leaf.
	for _, pid := range append([]string{self}, pids...) {
		if err := writeControl(leaf, "cgroup.procs", pid); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// ofSystemd reports whether a cgroup is that of a unit, by its name.
func ofSystemd(dir string) bool {
	kind := filepath.Ext(dir)
	return kind == ".service" || kind == ".scope"
}

// delegated reports whether all processes of a cgroup are Edge's business: systemd has marked it so, or it is the topmost that is
// to be seen. (That of the whole system may have processes and children; then nobody is moved.)
func delegated(dir string) bool {
	mark := make([]byte, 2)
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, name, mark); err == nil && string(mark[:n]) == "1" {
			return true
		}
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(dir), "cgroup.procs"))
	return errors.Is(err, fs.ErrNotExist)
}

// descends reports whether a process is ancestor, or a descendant of it. One that is gone is nobody's trouble.
func descends(pid, ancestor string) bool {
	for pid != ancestor {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
		}
		// 1234 (name, which may hold anything) S PARENT …
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			return false
		}
		if pid = string(fields[1]); pid == "0" || pid == "1" && ancestor != "1" {
			return false
		}
	}
	return true
}

// advised adds what an administrator can do about an error of the kernel.
func advised(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: that cgroup is not Edge's to change; in the unit of systemd set Delegate=memory and ProtectControlGroups=no, and restart it", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: in the unit of systemd set Delegate=memory and ProtectControlGroups=no, and restart it; "+
			"in a container mount the cgroup writable, or limit the container instead (docker run --memory)", err)
	}
	return err
}
