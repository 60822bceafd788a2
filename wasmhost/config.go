package wasmhost

import (
	"encoding/json"
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

const pageSize = 64 * bytesize.KiB

// Config is the plugins section of edge.yaml.
type Config struct {
	// Dir is the drop folder: each .wasm or .js file directly in it is a plugin named by its base name, and is looked at again
	// when it changes. "" has no folder. Default plugins-wasm.
	Dir string `koanf:"dir"`

	// Auto runs the plugins of the folder that edge.yaml does not name on every route, after the configured middleware, in
	// file-name order, with default limits and no config. Default true.
	Auto bool `koanf:"auto"`

	// Trust are public keys ("ed25519:…", as edge plugin keygen prints them). With any, each plugin, named or not, needs a
	// signature by one of them in a file beside it (NAME.wasm.sig); without it the plugin is refused like a broken file.
	// Default none.
	Trust []string `koanf:"trust"`

	// Modules are the plugins with a name, by name. Default none.
	Modules map[string]ModuleConfig `koanf:"modules"`
}

// ModuleConfig is one plugin.
type ModuleConfig struct {
	// File is the module, or a script (.js). Default DIR/NAME.wasm, or DIR/NAME.js if only that is there.
	File string `koanf:"file"`

	// SHA256 is what the file must have, in hexadecimal digits; anything else is refused like a broken file. "" takes any.
	// Default none.
	SHA256 string `koanf:"sha256"`

	// Config is what the guest reads with get_config: a text is handed over as it is, anything else as JSON. Default none.
	Config any `koanf:"config"`

	// Allow is what the plugin may reach beside its requests. Default nothing.
	Allow Allow `koanf:"allow"`

	Limits    Limits    `koanf:"limits"`
	Instances Instances `koanf:"instances"`

	// OnError says what becomes of a request whose guest is stopped or cannot be had. "closed": it gets 500, or 503.
	// "open": it goes on as it came; one whose body the guest has read without buffer_request, or whose answer it has begun,
	// gets 500 all the same. "bypass": as closed, but after 5 errors within 10 s all requests pass the plugin by for 30 s.
	// Only closed is for plugins that keep somebody out. Default closed.
	OnError string `koanf:"on_error"`

	// Isolation says what a request may find in an instance. "instance": what earlier requests left there. "request": nothing;
	// memory, globals and tables are as they were after the start. Default instance.
	Isolation string `koanf:"isolation"`
}

// Values of isolation.
const (
	IsolateInstance = "instance"
	IsolateRequest  = "request"
)

// Limits bound what a plugin may take.
type Limits struct {
	// Memory is the most linear memory and tables of one instance; a guest that asks for more is told no. At most 4GiB. Default 64MiB.
	Memory bytesize.Size `koanf:"memory"`

	// Body is the most of one body that is held in memory for the guest: what it reads of a request with buffer_request,
	// an answer held back by buffer_response, a body it writes. Past it a request gets 413, an answer becomes 500. Default 8MiB.
	Body bytesize.Size `koanf:"body"`

	// Wait is how long a request waits for a free instance before it gets 503. 0 does not wait. Default 1s.
	Wait time.Duration `koanf:"wait"`

	// Fuel is the most instructions of one call into the guest (handle_request and handle_response are two calls); the same
	// request costs the same everywhere. A billion takes a third of a second on a machine of today, more if the guest divides
	// or misses the caches much. Start functions get ten times as much. 0 is no limit. Default 1000000000.
	Fuel int64 `koanf:"fuel"`

	// Time is the longest that one call into the guest may take, waiting for others included (PHP, a store, another
	// server), waiting for the client not. Waiting ends then; a guest that computes is stopped by fuel. 0 is no limit. Default 30s.
	Time time.Duration `koanf:"time"`

	// Stack is the most native stack that functions which call themselves may take, as estimated from their local variables.
	// At most 64MiB. Default 1MiB.
	Stack bytesize.Size `koanf:"stack"`

	// Calls is the most host functions that one call into the guest may call. 0 is no limit. Default 1000000.
	Calls int `koanf:"calls"`
}

// Instances bound how many copies of a plugin exist. Each serves one request at a time.
type Instances struct {
	// Min are made when the plugin is loaded and kept. At least 1. Default 1.
	Min int `koanf:"min"`

	// Max is the limit. Default 64.
	Max int `koanf:"max"`
}

// DefaultConfig is what an empty plugins section means.
func DefaultConfig() Config { return Config{Dir: "plugins-wasm", Auto: true} }

// Defaults is where decoding of a present plugins section starts.
func (Config) Defaults() any { return DefaultConfig() }

// Defaults is where decoding of an entry of plugins.modules starts.
func (ModuleConfig) Defaults() any {
	return ModuleConfig{
		Limits: Limits{
			Memory: 64 * bytesize.MiB, Body: 8 * bytesize.MiB, Wait: time.Second,
			Fuel: 1_000_000_000, Time: 30 * time.Second, Stack: bytesize.MiB, Calls: 1_000_000,
		},
		Instances: Instances{Min: 1, Max: 64},
		Isolation: IsolateInstance,
		OnError:   OnErrorClosed,
	}
}

func defaultModule() ModuleConfig { return ModuleConfig{}.Defaults().(ModuleConfig) }

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	if _, err := c.trustedKeys(); err != nil {
		errs = append(errs, err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		key := "modules." + name
		if problem := checkName(name); problem != "" {
			errs = append(errs, fmt.Errorf("%s: %s", key, problem))
		}
		if c.Modules[name].File == "" && c.Dir == "" {
			errs = append(errs, fmt.Errorf("%s.file: must be set, because plugins.dir is empty", key))
		}
		for _, err := range c.Modules[name].problems() {
			errs = append(errs, fmt.Errorf("%s.%w", key, err))
		}
	}
	return errors.Join(errs...)
}

// checkName keeps names usable as file names, metric labels and keys.
func checkName(name string) string {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
	}
	switch {
	case name == "" || len(name) > 64:
		return "a plugin's name has 1 to 64 characters"
	case strings.HasPrefix(name, ".") || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }):
		return "a plugin's name consists of letters, digits, '-', '_' and '.', and does not begin with '.'"
	}
	return ""
}

func (m ModuleConfig) problems() []error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if m.Limits.Memory < pageSize || m.Limits.Memory > 4*bytesize.GiB {
		report("limits.memory: must be between 64KiB and 4GiB, got %s", m.Limits.Memory)
	}
	if m.Limits.Body < 0 || m.Limits.Body > math.MaxInt32 {
		report("limits.body: must be between 0 and 2GiB, got %s", m.Limits.Body)
	}
	if m.Limits.Wait < 0 {
		report("limits.wait: must not be negative, got %s", m.Limits.Wait)
	}
	if m.Limits.Fuel < 0 || m.Limits.Fuel > 1e15 {
		report("limits.fuel: must be between 0 and 1000000000000000 instructions, got %d", m.Limits.Fuel)
	}
	if m.Limits.Time < 0 {
		report("limits.time: must not be negative, got %s", m.Limits.Time)
	}
	if m.Limits.Stack < pageSize || m.Limits.Stack > 64*bytesize.MiB {
		report("limits.stack: must be between 64KiB and 64MiB, got %s", m.Limits.Stack)
	}
	if m.Limits.Calls < 0 {
		report("limits.calls: must not be negative, got %d", m.Limits.Calls)
	}
	if problem := checkPin(m.SHA256); problem != "" {
		report("sha256: %s, got %q", problem, m.SHA256)
	}
	if m.OnError != OnErrorClosed && m.OnError != OnErrorOpen && m.OnError != OnErrorBypass {
		report("on_error: must be %s, %s or %s, got %q", OnErrorClosed, OnErrorOpen, OnErrorBypass, m.OnError)
	}
	if m.Isolation != IsolateInstance && m.Isolation != IsolateRequest {
		report("isolation: must be %s or %s, got %q", IsolateInstance, IsolateRequest, m.Isolation)
	}
	if m.Instances.Min < 1 {
		report("instances.min: must be at least 1, got %d", m.Instances.Min)
	}
	if m.Instances.Max < m.Instances.Min {
		report("instances.max: must be at least instances.min (%d), got %d", m.Instances.Min, m.Instances.Max)
	}
	if m.Instances.Max > 10_000 {
		report("instances.max: must be at most 10000, got %d", m.Instances.Max)
	}
	errs = append(errs, m.Allow.problems()...)
	if _, err := m.guestConfig(); err != nil {
		report("config: cannot be written as JSON, and only a text is handed over otherwise: %w", err)
	}
	return errs
}

// guestConfig is what get_config hands over.
func (m ModuleConfig) guestConfig() ([]byte, error) {
	switch v := m.Config.(type) {
	case nil:
		return nil, nil
	case string:
		return []byte(v), nil
	default:
		return json.Marshal(v)
	}
}

// file is where the module of the plugin called name lies.
func (c Config) file(name string) string {
	if f := c.Modules[name].File; f != "" {
		return filepath.Clean(f)
	}
	return c.dropped(name)
}
