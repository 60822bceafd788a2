package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
)

// machine describes where and with what the results came about, in one line of text.
type machine string

// programVersions asks a tool for its version and cuts the number out of the answer.
var programVersions = []struct{ key, label, flag string }{
	{"php", "PHP", "-v"}, {"php-fpm", "php-fpm", "-v"}, {"nginx", "nginx", "-v"}, {"wrk", "wrk", "-v"},
}

var versionNumber = regexp.MustCompile(`\d+\.\d+[\w.]*`)

func describeMachine(ctx context.Context, space *workspace) machine {
	parts := []string{
		fmt.Sprintf("%d cores (%s), shared with wrk", runtime.NumCPU(), cpuModel()),
		runtime.GOOS + " " + firstLine("/proc/sys/kernel/osrelease"),
		distribution(), runtime.Version(),
	}
	for _, p := range programVersions {
		path, used := space.tool[p.key]
		if !used {
			continue
		}
		// wrk prints its version and then fails for want of a URL.
		out, _ := exec.CommandContext(ctx, path, p.flag).CombinedOutput()
		parts = append(parts, p.label+" "+versionNumber.FindString(string(out)))
	}
	if commit := revision(space.path(edgeBinaryName)); commit != "" {
		parts = append(parts, "Edge "+commit)
	}
	return machine(strings.Join(parts, ", ") + ".")
}

// cpuModel is the name in /proc/cpuinfo, which arm64 does not have.
func cpuModel() string {
	content, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(content)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func distribution() string {
	content, _ := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(content)) {
		if name, found := strings.CutPrefix(line, "PRETTY_NAME="); found {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return "unknown distribution"
}

func firstLine(path string) string {
	content, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(content), "\n")
	return line
}

// revision is the commit that a Go binary was built from, with a + when the tree had changes; "" when it is not known.
func revision(binary string) string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return ""
	}
	var commit, mark string
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			commit = setting.Value[:min(12, len(setting.Value))]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			mark = "+"
		}
	}
	return commit + mark
}
