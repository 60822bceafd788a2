// Package services runs other programs beside the server: queue workers, schedulers, a Node process that renders pages. Each is kept
// running by its restart policy, in a process group of its own, within limits of the kernel, with what it says in the log.
//
// config.go says what a service may be, manager.go which there are, service.go how one lives and dies, rpc.go is what PHP may ask.
package services

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/osproc"
)

// Config is one service of the services section of edge.yaml.
type Config struct {
	// Command starts a process: a list, or one string that is split on spaces. There is no shell. Required.
	Command osproc.Command `koanf:"command"`
	// Dir is the working directory. Default: the folder of edge.yaml.
	Dir string `koanf:"dir"`
	// Env is added to the environment. Default: none.
	Env map[string]string `koanf:"env"`
	// User is who the processes run as when Edge runs as root; root has to be said. Default: www-data as root, else Edge's own user.
	User string `koanf:"user"`
	// Group is the group of the processes when Edge runs as root. Default: that of the user.
	Group string `koanf:"group"`
	// Nice is added to the scheduling priority, from -20 (more of the processor) to 19 (less). Default: 0.
	Nice int `koanf:"nice"`
	// Processes is how many run side by side. Default: 1.
	Processes int `koanf:"processes"`
	// Restart says when a process that ended is started again: always, on-failure (it was killed, or its exit code is not 0) or never.
	// Default: always.
	Restart string `koanf:"restart"`
	// Backoff is how long a process that ended waits for its next start.
	Backoff Backoff `koanf:"backoff"`
	// StopSignal asks a process to end: TERM, INT, QUIT, HUP, USR1 or USR2. Default: TERM.
	StopSignal string `koanf:"stop_signal"`
	// StopTimeout is how long the process and all that it started may take to end before they are killed. Default: 10s.
	StopTimeout time.Duration `koanf:"stop_timeout"`
	// ExecTimeout is how long a process may run before it is stopped; the restart policy decides what follows. 0: for ever. Default: 0.
	ExecTimeout time.Duration `koanf:"exec_timeout"`
	// Limits are the kernel's, for each process. On Linux only.
	Limits osproc.Limits `koanf:"limits"`
	// Channel is the channel of the log that gets what the processes write. Default: service.
	Channel string `koanf:"channel"`
}

// Backoff is how long a process that ended waits for its next start: Min, twice as long after each run that was shorter than Max,
// Max at most.
type Backoff struct {
	// Min is the first wait, and at least 100ms. Default: 1s.
	Min time.Duration `koanf:"min"`
	// Max is the longest wait. Default: 1m.
	Max time.Duration `koanf:"max"`
}

const (
	restartAlways    = "always"
	restartOnFailure = "on-failure"
	restartNever     = "never"

	// shortestBackoff keeps a program that ends at once from taking the machine.
	shortestBackoff = 100 * time.Millisecond

	// maxProcesses and maxServices keep a typing error from it, and a worker that creates services.
	maxProcesses = 256
	maxServices  = 256

	defaultChannel = "service"
)

// DefaultConfig returns a Config that lacks only the command.
func DefaultConfig() Config {
	return Config{
		Processes: 1, Restart: restartAlways, Backoff: Backoff{Min: time.Second, Max: time.Minute},
		StopSignal: "TERM", StopTimeout: 10 * time.Second, Channel: defaultChannel,
	}
}

// Defaults returns DefaultConfig: services are values of a map, and the loader decodes each over it.
func (Config) Defaults() any { return DefaultConfig() }

// Validate returns every mistake, each with its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, fmt.Errorf(key+": "+format, args...)) }
	if len(c.Command) == 0 || c.Command[0] == "" {
		bad("command", "is required, such as [php, artisan, queue:work]")
	}
	for _, word := range c.Command {
		if strings.Contains(word, "\x00") {
			bad("command", "%q has a NUL in it", word)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(c.Env[name], "\x00") {
			bad("env", "%q is not a name and value of the environment", name)
		}
	}
	if c.Nice < -20 || c.Nice > 19 {
		bad("nice", "must be between -20 and 19, got %d", c.Nice)
	}
	if c.Processes < 1 || c.Processes > maxProcesses {
		bad("processes", "must be between 1 and %d, got %d", maxProcesses, c.Processes)
	}
	if !slices.Contains([]string{restartAlways, restartOnFailure, restartNever}, c.Restart) {
		bad("restart", "must be %s, %s or %s, got %q", restartAlways, restartOnFailure, restartNever, c.Restart)
	}
	if c.Backoff.Min < shortestBackoff {
		bad("backoff.min", "must be at least %s, got %s", shortestBackoff, c.Backoff.Min)
	}
	if c.Backoff.Max < c.Backoff.Min {
		bad("backoff.max", "must be at least backoff.min (%s), got %s", c.Backoff.Min, c.Backoff.Max)
	}
	if _, known := signals[c.StopSignal]; !known {
		bad("stop_signal", "must be %s, got %q", strings.Join(slices.Sorted(maps.Keys(signals)), ", "), c.StopSignal)
	}
	if c.StopTimeout <= 0 {
		bad("stop_timeout", "must be positive, got %s", c.StopTimeout)
	}
	if c.ExecTimeout < 0 {
		bad("exec_timeout", "must not be negative (0 is unlimited), got %s", c.ExecTimeout)
	}
	if c.Channel == "" {
		bad("channel", "must not be empty")
	}
	return errors.Join(errs...)
}
