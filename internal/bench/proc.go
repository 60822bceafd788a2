package main

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
	"time"
)

// tick is the unit of CPU time in /proc: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// procStat is the part of /proc/PID/stat that matters here. See proc_pid_stat(5).
type procStat struct {
	pid, parent int
	comm        string // name of the program, cut to 15 bytes by the kernel
	state       byte   // R, S, D, Z …
	ticks       uint64 // CPU time of the process itself, user and system
	reapedTicks uint64 // CPU time of the children that it has waited for
	started     uint64 // with the pid, the identity of the process
	residentKiB int64
}

// parseStat reads the line of /proc/PID/stat.
func parseStat(line []byte) (procStat, error) {
	// The name stands in parentheses and may hold spaces and parentheses itself.
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("stat line %.100q has no (name)", line)
	}
	p := procStat{comm: string(line[open+1 : end])}

	// Fields are counted from 1 in the manual; the first one after the name is number 3.
	const first, state, parent, utime, stime, cutime, cstime, started, resident = 3, 3, 4, 14, 15, 16, 17, 22, 24
	fields := strings.Fields(string(line[end+1:]))
	if len(fields) <= resident-first || len(fields[state-first]) != 1 {
		return procStat{}, fmt.Errorf("stat line %.100q has too few fields", line)
	}
	p.state = fields[state-first][0]

	var errs []error
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		errs = append(errs, err)
		return n
	}
	field := func(n int) int64 { return number(fields[n-first]) }
	p.pid = int(number(strings.TrimSpace(string(line[:open]))))
	p.parent = int(field(parent))
	p.ticks = uint64(field(utime) + field(stime))
	p.reapedTicks = uint64(field(cutime) + field(cstime))
	p.started = uint64(field(started))
	p.residentKiB = field(resident) * int64(os.Getpagesize()/1024)
	if err := errors.Join(errs...); err != nil {
		return procStat{}, fmt.Errorf("stat line %.100q: %w", line, err)
	}
	return p, nil
}

// processTree returns the roots and everything below them.
func processTree(roots ...int) ([]procStat, error) {
	all, err := readProcesses()
	if err != nil {
		return nil, err
	}
	inTree := map[int]bool{}
	for _, pid := range roots {
		inTree[pid] = true
	}
	// A child may have a lower pid than its parent, so this goes on until nothing is added.
	for grew := true; grew; {
		grew = false
		for _, p := range all {
			if inTree[p.parent] && !inTree[p.pid] {
				inTree[p.pid], grew = true, true
			}
		}
	}
	return slices.DeleteFunc(all, func(p procStat) bool { return !inTree[p.pid] }), nil
}

// alive returns the processes that still exist. One that waits for its parent's wait (a zombie) has ended.
func alive(processes []procStat) []procStat {
	var left []procStat
	for _, p := range processes {
		now, err := readStat(strconv.Itoa(p.pid))
		if err == nil && now.started == p.started && now.state != 'Z' {
			left = append(left, p)
		}
	}
	return left
}

func readProcesses() ([]procStat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("CPU and memory are read from Linux's /proc: %w", err)
	}
	var all []procStat
	for _, entry := range entries {
		if entry.Name()[0] < '0' || entry.Name()[0] > '9' {
			continue
		}
		p, err := readStat(entry.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH):
			continue // ended between the two looks
		case err != nil:
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func readStat(pid string) (procStat, error) {
	line, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(line)
}

// usage is the CPU time that a server has used so far, and the memory it holds.
type usage struct {
	server, php       time.Duration
	serverResidentKiB int64
}

// usageOf adds up a server's processes; those of PHP are told by their name. Children that ended count as PHP: no target
// has other children that come and go.
func usageOf(processes []procStat) usage {
	var u usage
	for _, p := range processes {
		u.php += time.Duration(p.reapedTicks) * tick
		if strings.HasPrefix(p.comm, "php") {
			u.php += time.Duration(p.ticks) * tick
			continue
		}
		u.server += time.Duration(p.ticks) * tick
		u.serverResidentKiB += p.residentKiB
	}
	return u
}
