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
	"github.com/edge-server/edge/internal/osproc"
)

// Config is one pool of the php section of edge.yaml.
type Config struct {
	// Command starts a worker: a list, or one string that is split on spaces. Required.
	Command Command `koanf:"command"`
	// Mode says how PHP runs. worker: long-lived processes that ask for requests. classic: scripts that start anew for every
	// request, under php-cgi or php-fpm. Default: worker.
	Mode string `koanf:"mode"`
	// Debug starts a fresh worker for every request and shows errors in the browser. For development. Breakpoints of a debugger
	// need exec_timeout: 0s beside it. Default: false.
	Debug bool `koanf:"debug"`
	// Workers bounds the number of processes.
	Workers Workers `koanf:"workers"`
	// Root is the folder of what the web sees, such as public: its files are served without PHP, never sources, dotfiles or what
	// a link outside of it leads to. In classic mode it has the scripts, too, and is required. Default: none.
	Root string `koanf:"root"`
	// Static says which of the files of root are served.
	Static Static `koanf:"static"`
	// Index is the script, below root, that classic mode runs when the path names neither a file nor a script. Default: index.php.
	Index string `koanf:"index"`
	// FastCGI is the address of a FastCGI server that runs already, such as unix:///run/php/php8.2-fpm.sock or 127.0.0.1:9000.
	// In classic mode only; then Edge starts no processes. Default: none.
	FastCGI string `koanf:"fastcgi"`
	// Relay carries the frames. pipes: standard input and output. unix, tcp: a socket that the worker dials. Default: pipes.
	Relay string `koanf:"relay"`
	// Codec is how a request's context is written for RoadRunner's packages. proto: RoadRunner's since 2024. json: RoadRunner's
	// before, all that spiral/roadrunner-http reads up to 3.4, and faster for later ones. auto: json up to 3.4 by Composer's
	// record beside the script, else proto. Default: auto.
	Codec string `koanf:"codec"`
	// MaxJobs replaces a worker after this many requests, give or take some so that workers do not go all at once: up to 14 % more,
	// or up to 10 % less when the successor is quick; 1 means one. 0: never. Default: 0.
	MaxJobs int `koanf:"max_jobs"`
	// TTL is the age at which a worker is replaced, after the request it has, and up to 14 % earlier so that workers do not go all
	// at once. 0: never. Default: 0.
	TTL time.Duration `koanf:"ttl"`
	// IdleTTL is how long a worker that has worked may be idle before it is replaced, or ended when there are more than min.
	// 0: for ever. Default: 0.
	IdleTTL time.Duration `koanf:"idle_ttl"`
	// MaxMemory is the resident memory, looked at every second, at which a worker is replaced, after the request it has. 0:
	// unlimited. Default: 0.
	MaxMemory bytesize.Size `koanf:"max_memory"`
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
	// Group is the group of the workers when Edge runs as root. Default: that of the user.
	Group string `koanf:"group"`
	// Nice is added to the workers' scheduling priority, from -20 (more of the processor) to 19 (less). Default: 0.
	Nice int `koanf:"nice"`
	// Limits are the kernel's, for each worker, set before it runs any code of the application. On Linux only.
	Limits Limits `koanf:"limits"`
	// Watch are folders (their .php files, recursively), files, or globs (** for any depth) whose changes reload the workers.
	// Default: none.
	Watch []string `koanf:"watch"`
	// Body bounds what request bodies take.
	Body Body `koanf:"body"`
	// Uploads says where uploaded files go and which are refused.
	Uploads Uploads `koanf:"uploads"`
	// Sendfile lets PHP answer with a file that Edge sends.
	Sendfile Sendfile `koanf:"sendfile"`
	// ErrorStatus is the status of every answer that PHP failed to give. 0: 500, 502, 503 or 504 by cause. Default: 0.
	ErrorStatus int `koanf:"error_status"`
}

// Limits are resource limits of the kernel for each worker.
type Limits = osproc.Limits

// Sendfile lets PHP answer with a file that Edge sends in the place of the body.
type Sendfile struct {
	// Folders are those whose files the header X-Sendfile may name. Default: none, and the header has no meaning.
	Folders []string `koanf:"folders"`
	// Accel maps the prefixes that the header X-Accel-Redirect may name to folders, such as /protected: storage. Default: none,
	// and the header has no meaning.
	Accel map[string]string `koanf:"accel"`
}

// Static says which of the files of root are served. PHP gets the requests for all others.
type Static struct {
	// Forbid lists file extensions, such as .txt, that are not served. Default: none.
	Forbid []string `koanf:"forbid"`
	// Allow lists the only extensions that are. Default: all but those of sources, backups and the like.
	Allow []string `koanf:"allow"`
	// Links lists the folders, beside root, that symbolic links in root may lead into, for files that the workers' user may read and
	// whose real name is none of those. Default: [dir].
	Links []string `koanf:"links"`
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
	// Fair is between whom workers are shared out in turns while requests wait: route, host, or none for first come, first
	// served. When the queue is full, whoever has most in it gives way. Default: route.
	Fair string `koanf:"fair"`
}

// Body bounds what request bodies take.
type Body struct {
	// Memory is the largest body held in memory; what is larger goes to a temporary file. Default: 256KiB.
	Memory bytesize.Size `koanf:"memory"`
	// Raw gives PHP the body of a form as it came, not as a tree. Default: false.
	Raw bool `koanf:"raw"`
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
	modeWorker  = "worker"
	modeClassic = "classic"

	relayPipes = "pipes"
	relayUnix  = "unix"
	relayTCP   = "tcp"

	autoCodec  = "auto"
	protoCodec = "proto"
	jsonCodec  = "json"

	fairRoute = "route"
	fairHost  = "host"
	fairNone  = "none"

	// maxWorkers keeps a typing error from taking the machine.
	maxWorkers = 2048
)

// DefaultConfig returns a Config that lacks only the command.
func DefaultConfig() Config {
	return Config{
		Mode:        modeWorker,
		Workers:     Workers{Min: 1, Max: 8, Spare: 1},
		Index:       "index.php",
		Relay:       relayPipes,
		Codec:       autoCodec,
		ExecTimeout: time.Minute,
		BootTimeout: 10 * time.Second,
		StopTimeout: 10 * time.Second,
		Queue:       Queue{Max: 1024, Timeout: 10 * time.Second, Fair: fairRoute},
		Body:        Body{Memory: 256 * bytesize.KiB, Frame: 64 * bytesize.MiB},
	}
}

// Defaults returns DefaultConfig: pools are values of a map, and the loader decodes each over it.
func (Config) Defaults() any { return DefaultConfig() }

// Command is a program and its arguments. In configuration it is a list, or a string that is split on spaces.
type Command = osproc.Command

// Validate returns every mistake, each with its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}

	switch c.Mode {
	case modeWorker:
		if len(c.Command) == 0 || c.Command[0] == "" {
			bad("command", "is required, such as [php, worker.php]")
		}
		if c.FastCGI != "" {
			bad("fastcgi", "needs mode: classic")
		}
	case modeClassic:
		if c.Root == "" {
			bad("root", "is required in classic mode: the folder with the index.php, such as public")
		}
		if !filepath.IsLocal(c.Index) || filepath.ToSlash(filepath.Clean(c.Index)) != c.Index || !strings.HasSuffix(c.Index, ".php") {
			bad("index", "must be a script below root, such as index.php, got %q", c.Index)
		}
		if err := checkFastCGI(c.FastCGI); err != nil {
			errs = append(errs, err)
		}
		if c.FastCGI != "" && len(c.Command) > 0 {
			bad("command", "must not stand beside fastcgi, the address of a server that runs already")
		}
	default:
		bad("mode", "must be worker or classic, got %q", c.Mode)
	}
	oneOf := func(key, got string, allowed ...string) {
		if !slices.Contains(allowed, got) {
			bad(key, "must be %s, got %q", strings.Join(allowed, " or "), got)
		}
	}
	oneOf("relay", c.Relay, relayPipes, relayUnix, relayTCP)
	oneOf("codec", c.Codec, autoCodec, protoCodec, jsonCodec)
	oneOf("queue.fair", c.Queue.Fair, fairRoute, fairHost, fairNone)
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
	if c.TTL < 0 {
		bad("ttl", "must not be negative (0 is unlimited), got %s", c.TTL)
	}
	if c.IdleTTL < 0 {
		bad("idle_ttl", "must not be negative (0 is unlimited), got %s", c.IdleTTL)
	}
	if c.Nice < -20 || c.Nice > 19 {
		bad("nice", "must be between -20 and 19, got %d", c.Nice)
	}
	if c.ErrorStatus != 0 && (c.ErrorStatus < 400 || c.ErrorStatus > 599) {
		bad("error_status", "must be between 400 and 599, or 0, got %d", c.ErrorStatus)
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
	}{{"uploads.forbid", c.Uploads.Forbid}, {"uploads.allow", c.Uploads.Allow},
		{"static.forbid", c.Static.Forbid}, {"static.allow", c.Static.Allow}} {
		for _, ext := range list.extensions {
			if !strings.HasPrefix(ext, ".") {
				bad(list.key, "extensions begin with a dot, got %q", ext)
			}
		}
	}
	for i, folder := range c.Static.Links {
		if folder == "" {
			bad(fmt.Sprintf("static.links.%d", i), "is empty")
		}
	}
	for i, folder := range c.Sendfile.Folders {
		if folder == "" {
			bad(fmt.Sprintf("sendfile.folders.%d", i), "is empty")
		}
	}
	for _, prefix := range slices.Sorted(maps.Keys(c.Sendfile.Accel)) {
		if !strings.HasPrefix(prefix, "/") || strings.ContainsAny(prefix, "?#%") {
			bad("sendfile.accel", "%q is not the beginning of a path such as /protected", prefix)
		} else if c.Sendfile.Accel[prefix] == "" {
			bad("sendfile.accel."+prefix, "names no folder")
		}
	}
	return errors.Join(errs...)
}
