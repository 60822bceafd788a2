package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/internal/osproc"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/rpc"
)

// RoadRunner makes a server look like RoadRunner to the tools around it. `edge rr serve` runs one.
type RoadRunner struct {
	// Logger is used in the place of the log section. Parts name themselves by telemetry.LoggerKey.
	Logger *slog.Logger

	// AccessLogs gives the record of a request the fields of http.access_logs.
	AccessLogs bool

	// Config is the answer of rpc.Config, without secrets.
	Config func() map[string]any

	// Reread reads the configuration again, for the pools that a reset is about. Nil: a reset keeps the one of the start.
	Reread func() (*Config, error)

	// Explain puts the keys that the user wrote into an error about what Reread returned. Nil: it stays as it is.
	Explain func(error) error
}

// roadRunnerFormat is the log format whose records have RoadRunner's fields.
const roadRunnerFormat = "roadrunner"

// newLogger makes e.log and e.level, and opens the file of log.output, which closes last of all.
func (e *Edge) newLogger(cfg *Config) error {
	e.rrRecords = cfg.Log.Format == roadRunnerFormat || e.opts.RoadRunner != nil
	e.channels = e.rrRecords || len(cfg.Log.Channels) > 0
	if rr := e.opts.RoadRunner; rr != nil {
		e.log, e.level = rr.Logger, new(slog.LevelVar)
		return nil
	}
	out, closeLog, err := cfg.Log.Open(e.opts.LogOutput)
	if err != nil {
		return cfg.located(within("log", err))
	}
	e.keepLogFile(out)
	e.log, e.level = telemetry.NewLogger(cfg.Log, out)
	e.lifecycle.add("log", startNothing, func(context.Context) error { return closeLog() })
	return nil
}

// keepLogFile remembers a log that reopenLogs is to look after, if it is a file.
func (e *Edge) keepLogFile(out io.Writer) {
	if f, ok := out.(*telemetry.File); ok {
		e.logFiles = append(e.logFiles, f)
	}
}

// reopenLogs goes on in files of the names that logs have, after a program such as logrotate has put the old ones aside.
func (e *Edge) reopenLogs() {
	for _, f := range e.logFiles {
		if err := f.Reopen(); err != nil {
			e.log.Warn("a log goes on in the file that was put aside", "error", err)
		}
	}
}

// channel is the log of one part of the server. Only RoadRunner's log tells them apart.
func (e *Edge) channel(name string) *slog.Logger {
	if !e.channels {
		return e.log
	}
	return e.log.With(telemetry.LoggerKey, name)
}

// accessLog is the middleware access-log: its record is that of Edge, or RoadRunner's.
func (e *Edge) accessLog(c middleware.AccessConfig) func(http.Handler) http.Handler {
	if e.rrRecords {
		return middleware.RoadRunnerLog(e.channel("http"), e.opts.RoadRunner != nil && e.opts.RoadRunner.AccessLogs)
	}
	if e.accessOut != nil {
		return middleware.AccessLines(c, e.accessOut)
	}
	return middleware.AccessLog(c, e.channel("http"), variablesAttr)
}

// openAccessLog opens the output of lines that requests are written in; e.accessOut is nil when they are records of the log.
func (e *Edge) openAccessLog(cfg *Config) error {
	if cfg.HTTP == nil || !cfg.HTTP.AccessLog.Lines() || e.rrRecords {
		return nil
	}
	where := telemetry.LogConfig{Output: cfg.HTTP.AccessLog.Output, Rotate: cfg.Log.Rotate}
	out, closeLog, err := where.Open(e.opts.LogOutput)
	if err != nil {
		return cfg.located(within("http.access_log", err))
	}
	e.keepLogFile(out)
	lines := telemetry.NewLines(out, e.channel("http"))
	e.accessOut = lines
	e.lifecycle.addSaving("access log", startNothing, func(ctx context.Context) error { return errors.Join(lines.Close(ctx), closeLog()) })
	return nil
}

// LoadText is Load for a file that is in memory: problems call it name, and relative paths start at dir.
func LoadText(name string, text []byte, dir string, environ []string) (*Config, error) {
	cfg := DefaultConfig()
	file, err := configfile.Parse(name, text, environ, &cfg)
	if err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, file.Problems(err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	cfg.resolve(dir)
	cfg.file = file
	return &cfg, nil
}

// allPools is the name that stands for every pool where none is called so: RoadRunner's tools and packages know one pool of
// HTTP workers and call it http.
const allPools = "http"

// poolsNamed returns the pools that a name of RoadRunner's RPC means.
func (e *Edge) poolsNamed(name string) []string {
	pools := e.world.Load().pools
	if _, ok := pools[name]; ok {
		return []string{name}
	}
	if name == allPools {
		return slices.Sorted(maps.Keys(pools))
	}
	return nil
}

// poolNames lists the pools for informer.List and resetter.List.
func (e *Edge) poolNames(context.Context, bool) ([]string, error) {
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(e.world.Load().pools)))), nil
}

// workerState is a worker as RoadRunner's informer describes it. The names of the fields are RoadRunner's, too: GOB and MSGPACK
// send them.
type workerState struct {
	Pid         int     `json:"pid"`
	Status      int     `json:"status"`
	NumExecs    uint64  `json:"numExecs"`
	Created     int64   `json:"created"` // ns since 1970
	MemoryUsage uint64  `json:"memoryUsage"`
	CPUPercent  float64 `json:"CPUPercent"`
	Command     string  `json:"command"`
	StatusStr   string  `json:"statusStr"`
}

// workerList is the answer of informer.Workers; workers is null for a name that nobody has.
type workerList struct {
	Workers []workerState `json:"workers"`
}

// pipeline is a queue as RoadRunner's informer describes it.
type pipeline struct {
	Pipeline, Driver, Queue   string
	Active, Delayed, Reserved int64
	Ready                     bool
	Priority                  uint64
	ErrorMessage              string
}

// informer says which workers there are, and how they are.
func (e *Edge) informer() rpc.Methods {
	return rpc.Methods{
		"List":    rpc.Func(e.poolNames),
		"Workers": rpc.Func(func(_ context.Context, name string) (workerList, error) { return e.workerStates(name), nil }),
		"Jobs":    rpc.Func(func(context.Context, string) ([]pipeline, error) { return nil, nil }), // there are no queues
		"AddWorker": rpc.Func(func(_ context.Context, name string) (bool, error) {
			return e.resize(name, func(p resizer) error { return p.AddWorker() })
		}),
		"RemoveWorker": rpc.Func(func(_ context.Context, name string) (bool, error) {
			return e.resize(name, func(p resizer) error { return p.RemoveWorker() })
		}),
	}
}

func (e *Edge) workerStates(name string) workerList {
	var list workerList
	w := e.world.Load()
	for _, pool := range e.poolsNamed(name) {
		command := w.cfg.PHP[pool].Command.String()
		for _, info := range w.pools[pool].Workers() {
			list.Workers = append(list.Workers, newWorkerState(info, command))
		}
	}
	return list
}

func newWorkerState(info php.WorkerInfo, command string) workerState {
	s := workerState{
		Pid: info.PID, NumExecs: info.Jobs, MemoryUsage: uint64(max(0, info.RSS)), Command: command, Created: info.Started.UnixNano(),
	}
	s.Status, s.StatusStr = roadRunnerState(info.State)
	if age := time.Since(info.Started); age > 0 {
		s.CPUPercent = 100 * info.Processor.Seconds() / age.Seconds()
	}
	return s
}

// roadRunnerState is a state of a worker in RoadRunner's numbers and words.
func roadRunnerState(state string) (int, string) {
	switch state {
	case php.StateIdle.String():
		return 1, "ready"
	case php.StateBusy.String():
		return 2, "working"
	case php.StateStopping.String():
		return 4, "stopping"
	}
	return 0, "inactive"
}

// resizer is a pool whose size can be changed.
type resizer interface {
	AddWorker() error
	RemoveWorker() error
}

func (e *Edge) resize(name string, change func(resizer) error) (bool, error) {
	pools := e.poolsNamed(name)
	if len(pools) == 0 {
		return false, e.noSuchPool(name)
	}
	for _, pool := range pools {
		p, ok := any(e.world.Load().pools[pool]).(resizer)
		if !ok {
			return false, fmt.Errorf("php pool %q runs processes of its own accord: their number cannot be changed", pool)
		}
		if err := change(p); err != nil {
			return false, err
		}
	}
	return true, nil
}

// resetter replaces the workers: requests neither fail nor wait.
func (e *Edge) resetter() rpc.Methods {
	return rpc.Methods{
		"List": rpc.Func(e.poolNames),
		"Reset": rpc.Func(func(ctx context.Context, name string) (bool, error) {
			pools := e.poolsNamed(name)
			if len(pools) == 0 {
				return false, e.noSuchPool(name)
			}
			err := e.reset(ctx, pools)
			return err == nil, err
		}),
	}
}

func (e *Edge) noSuchPool(name string) error {
	return fmt.Errorf("no such plugin: %s; there are pools %s", name, countNames(slices.Sorted(maps.Keys(e.world.Load().pools))))
}

const redacted = "[redacted]"

var (
	secretKey = regexp.MustCompile(`(?i)pass(word|phrase|wd)?$|secret|token|credential|(api|access|private|signing|app|mac)[_-]?key|authorization|cookie|salt$|^dsn$`)
	userInfo  = regexp.MustCompile(`//[^/@\s]*@`)
)

// public is the configuration as plain values under the keys of edge.yaml. The environment of workers, the configuration of
// plugins and whatever has the name of a secret is not in it.
func (c *Config) public() any { return publicValue(reflect.ValueOf(*c), "") }

// secretMaps are the keys of mappings whose values are all hidden; headers are those that requests of the server carry.
var secretMaps = []string{"env", "users", "headers"}

// headerMaps are the keys of mappings by the names of headers, or of parameters of a query: what is set, and what routes match.
var headerMaps = []string{"header", "request", "response", "query"}

// addresses are the keys of URLs that the server calls, whose query may let it in.
var addresses = []string{"url", "ask", "jwks_url"}

// secretHeader reports whether a header carries what lets its sender in. X-Key and the like are anybody's guess.
func secretHeader(name string) bool {
	return secretKey.MatchString(name) || strings.Contains(strings.ToLower(name), "key") || strings.Contains(strings.ToLower(name), "auth")
}

// publicText leaves out what addresses carry for those who may use them: who asks, and, but in what routes match and set, what they ask for.
func publicText(text, key string) string {
	text = userInfo.ReplaceAllString(text, "//"+redacted+"@")
	if base, query, found := strings.Cut(text, "?"); found && query != "" && slices.Contains(addresses, key) {
		return base + "?" + redacted
	}
	return text
}

func publicValue(v reflect.Value, key string) any {
	if secretKey.MatchString(key) {
		return redacted
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	if c, ok := v.Interface().(osproc.Command); ok {
		return publicValue(reflect.ValueOf([]string(c.Public())), key)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return publicValue(v.Elem(), key)
	case reflect.Struct:
		m := map[string]any{}
		for field, value := range v.Fields() {
			if name := field.Tag.Get("koanf"); name != "" {
				m[name] = publicValue(value, name)
			}
		}
		return m
	case reflect.Map:
		m := map[string]any{}
		for _, name := range v.MapKeys() {
			if slices.Contains(secretMaps, key) || slices.Contains(headerMaps, key) && secretHeader(name.String()) {
				m[name.String()] = redacted
				continue
			}
			m[name.String()] = publicValue(v.MapIndex(name), name.String())
		}
		return m
	case reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			list = append(list, publicValue(v.Index(i), key))
		}
		return list
	case reflect.String:
		return publicText(v.String(), key)
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return redacted // such as a plugin's config: only the plugin knows what it is
	}
	return v.Interface()
}
