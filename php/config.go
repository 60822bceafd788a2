package php

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is one pool of the php section of edge.yaml.
type Config struct {
	// Command starts a worker: a list, or one string that is split on spaces. Required.
	Command Command `koanf:"command"`
	// Mode says how PHP runs. worker: long-lived processes that ask for requests. Default: worker.
	Mode string `koanf:"mode"`
	// Workers bounds the number of processes.
	Workers Workers `koanf:"workers"`
	// Relay carries the frames. pipes: standard input and output. unix: a socket that the worker dials. Default: pipes.
	Relay string `koanf:"relay"`
	// MaxJobs replaces a worker after this many requests, and up to 14 % more so that workers do not go all at once. 0: never.
	// Default: 0.
	MaxJobs int `koanf:"max_jobs"`
	// ExecTimeout is how long PHP may take for an answer, and between two parts of a stream, before the worker is killed and
	// the client gets 504. A client that takes nothing of a stream for as long is dropped. 0: no limit. Default: 60s.
	ExecTimeout time.Duration `koanf:"exec_timeout"`
	// BootTimeout is how long a new worker may take until it asks for work. Default: 10s.
	BootTimeout time.Duration `koanf:"boot_timeout"`
	// StopTimeout is how long a worker may take to end, or to end a stream nobody reads, before it is killed. Default: 10s.
	StopTimeout time.Duration `koanf:"stop_timeout"`
	// Queue bounds the requests that wait for a worker. Beyond its bounds clients get 503 with Retry-After.
	Queue Queue `koanf:"queue"`
	// Env is added to the environment of the workers. Default: none.
	Env map[string]string `koanf:"env"`
	// Dir is the working directory of the workers. Symlinks are resolved at start and at every reload. Default: Edge's own.
	Dir string `koanf:"dir"`
	// User is who the workers run as when Edge runs as root; root has to be said. Default: www-data as root, else Edge's own user.
	User string `koanf:"user"`
	// Watch are folders (their .php files, recursively), files, or globs (** for any depth) whose changes reload the workers.
	// Default: none.
	Watch []string `koanf:"watch"`
	// Body bounds what request bodies take.
	Body Body `koanf:"body"`
	// Uploads says where uploaded files go and which are refused.
	Uploads Uploads `koanf:"uploads"`
}

// Workers bounds the number of processes of a pool.
type Workers struct {
	// Min is the number started at once and always kept. Default: 1.
	Min int `koanf:"min"`
	// Max is the number never exceeded, but for moments in which one replaces another. Default: 8.
	Max int `koanf:"max"`
	// Spare is the number of idle workers kept when a pool that grew shrinks again. Default: 1.
	Spare int `koanf:"spare"`
}

// Queue bounds the requests that wait for a worker.
type Queue struct {
	// Max is the largest number of waiting requests. Default: 1024.
	Max int `koanf:"max"`
	// Timeout is the longest wait. Default: 10s.
	Timeout time.Duration `koanf:"timeout"`
}

// Body bounds what request bodies take.
type Body struct {
	// Memory is the largest body held in memory; what is larger goes to a temporary file. Default: 256KiB.
	Memory bytesize.Size `koanf:"memory"`
	// Frame is the largest body given to a worker that cannot take files; a larger one gets 413. Default: 64MiB.
	Frame bytesize.Size `koanf:"frame"`
}

// Uploads says where uploaded files go and which are refused.
type Uploads struct {
	// Dir takes uploaded files until the answer is sent. Default: a folder of the pool in the system's temporary folder.
	Dir string `koanf:"dir"`
	// Forbid lists file extensions, such as .php, that are refused with upload error 8. Default: none.
	Forbid []string `koanf:"forbid"`
	// Allow lists the only extensions accepted. Default: all.
	Allow []string `koanf:"allow"`
}

const (
	modeWorker = "worker"
	relayPipes = "pipes"
	relayUnix  = "unix"

	// maxWorkers keeps a typing error from taking the machine.
	maxWorkers = 2048
)

// DefaultConfig returns a Config that lacks only the command.
func DefaultConfig() Config {
	return Config{
		Mode:        modeWorker,
		Workers:     Workers{Min: 1, Max: 8, Spare: 1},
		Relay:       relayPipes,
		ExecTimeout: time.Minute,
		BootTimeout: 10 * time.Second,
		StopTimeout: 10 * time.Second,
		Queue:       Queue{Max: 1024, Timeout: 10 * time.Second},
		Body:        Body{Memory: 256 * bytesize.KiB, Frame: 64 * bytesize.MiB},
	}
}

// Defaults returns DefaultConfig: pools are values of a map, and the loader decodes each over it.
func (Config) Defaults() any { return DefaultConfig() }

// Command is a program and its arguments. In configuration it is a list, or a string that is split on spaces.
type Command []string

// UnmarshalText splits a command written as one string.
func (c *Command) UnmarshalText(text []byte) error {
	*c = strings.Fields(string(text))
	return nil
}

func (c Command) String() string { return strings.Join(c, " ") }

// Validate returns every mistake, each with its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}

	if len(c.Command) == 0 || c.Command[0] == "" {
		bad("command", "is required, such as [php, worker.php]")
	}
	if c.Mode != modeWorker {
		bad("mode", "must be worker, got %q", c.Mode)
	}
	if c.Relay != relayPipes && c.Relay != relayUnix {
		bad("relay", "must be pipes or unix, got %q", c.Relay)
	}
	if c.Workers.Min < 1 {
		bad("workers.min", "must be at least 1, got %d", c.Workers.Min)
	}
	if c.Workers.Max < c.Workers.Min {
		bad("workers.max", "must be at least workers.min (%d), got %d", c.Workers.Min, c.Workers.Max)
	}
	if c.Workers.Max > maxWorkers {
		bad("workers.max", "must be at most %d, got %d", maxWorkers, c.Workers.Max)
	}
	if c.Workers.Spare < 0 {
		bad("workers.spare", "must not be negative, got %d", c.Workers.Spare)
	}
	if c.MaxJobs < 0 {
		bad("max_jobs", "must not be negative (0 is unlimited), got %d", c.MaxJobs)
	}
	if c.ExecTimeout < 0 {
		bad("exec_timeout", "must not be negative (0 is unlimited), got %s", c.ExecTimeout)
	}
	if c.BootTimeout <= 0 {
		bad("boot_timeout", "must be positive, got %s", c.BootTimeout)
	}
	if c.StopTimeout <= 0 {
		bad("stop_timeout", "must be positive, got %s", c.StopTimeout)
	}
	if c.Queue.Max < 1 {
		bad("queue.max", "must be at least 1, got %d", c.Queue.Max)
	}
	if c.Queue.Timeout <= 0 {
		bad("queue.timeout", "must be positive, got %s", c.Queue.Timeout)
	}
	if c.Body.Memory < 0 || c.Body.Memory > math.MaxInt32 {
		bad("body.memory", "must be between 0 and 2GiB, got %s", c.Body.Memory)
	}
	if c.Body.Frame < c.Body.Memory || c.Body.Frame > math.MaxInt32 {
		bad("body.frame", "must be between body.memory (%s) and 2GiB, got %s", c.Body.Memory, c.Body.Frame)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(c.Env[name], "\x00") {
			bad("env", "%q is not a name and value of the environment", name)
		}
	}
	for i, pattern := range c.Watch {
		if _, err := filepath.Match(pattern, ""); err != nil || pattern == "" {
			bad(fmt.Sprintf("watch.%d", i), "%q is not a folder, file or glob", pattern)
		}
	}
	for _, list := range []struct {
		key        string
		extensions []string
	}{{"uploads.forbid", c.Uploads.Forbid}, {"uploads.allow", c.Uploads.Allow}} {
		for _, ext := range list.extensions {
			if !strings.HasPrefix(ext, ".") {
				bad(list.key, "extensions begin with a dot, got %q", ext)
			}
		}
	}
	return errors.Join(errs...)
}
