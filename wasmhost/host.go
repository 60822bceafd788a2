package wasmhost

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// drainTimeout is how long requests of a replaced generation may go on before their instances are taken from them.
const drainTimeout = 30 * time.Second

// Options are what a Host needs from its surroundings.
type Options struct {
	Logger *slog.Logger

	// CacheDir keeps compiled modules across restarts; it is made 0700. "" keeps them in memory only.
	CacheDir string

	// Services are the parts of the server that plugins reach through their grants.
	Services Services

	// OnChange is called when plugins that edge.yaml does not name came or went, so that routes can be put together anew.
	// It runs on the host's goroutine, between Start and Stop, and may call the host.
	OnChange func()

	// Claimed are files of the folder that somebody else runs.
	Claimed []string

	// Trace is told what guests and host call of each other; nil costs nothing. It is for looking at one plugin, not for serving.
	Trace Trace
}

// Host owns all plugins.
type Host struct {
	cfg     Config
	trusted []ed25519.PublicKey // of cfg.Trust
	log     *slog.Logger
	loader  *loader
	change  func()

	descriptors descriptors // of all plugins

	claimed []string // of Options

	named   map[string]*Plugin // never changes after New
	changed chan struct{}      // asks the watch to call OnChange; holds one

	loading sync.Mutex // held while files are looked at; guards the fields of folder.go
	folder  folder

	mu      sync.RWMutex // guards all below
	unnamed []*Plugin    // in file-name order; those that could not be loaded too

	patience time.Duration // drainTimeout, but for tests

	wg       sync.WaitGroup // the watch and the generations that drain
	force    context.Context
	forceNow context.CancelFunc // ends draining
	stopping chan struct{}      // ends the watch
	stopOnce sync.Once
	stopped  chan struct{} // closed when all is closed
}

// New loads all plugins. A plugin that edge.yaml names and that cannot be loaded is an error; one that only lies in the
// folder is logged and counted.
func New(ctx context.Context, cfg Config, opts Options) (*Host, error) {
	cache, err := openCache(opts.CacheDir, opts.Logger)
	if err != nil {
		return nil, err
	}
	loader, err := newLoader(cache, &opts.Services)
	if err != nil {
		return nil, err
	}
	loader.trace = opts.Trace
	trusted, err := cfg.trustedKeys()
	if err != nil {
		return nil, err
	}
	h := &Host{
		cfg: cfg, trusted: trusted, log: opts.Logger, loader: loader, change: opts.OnChange, claimed: opts.Claimed,
		descriptors: newDescriptors(sharesPart, math.MaxInt64),

		named:    map[string]*Plugin{},
		patience: drainTimeout,
		changed:  make(chan struct{}, 1),
		stopping: make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	h.force, h.forceNow = context.WithCancel(context.Background())
	if err := errors.Join(h.openNamed(), h.firstLook(ctx)); err != nil {
		return nil, errors.Join(err, h.Stop(context.WithoutCancel(ctx)))
	}
	return h, nil
}

func (h *Host) openNamed() error {
	var errs []error
	for name, module := range h.cfg.Modules {
		p, err := newPlugin(name, h.cfg.file(name), true, module, h.log)
		if err != nil {
			errs = append(errs, fmt.Errorf("modules.%s: %w", name, err))
			continue
		}
		p.descriptors.all = &h.descriptors
		h.named[name] = p
	}
	return errors.Join(errs...)
}

// firstLook loads what is there and reports only the plugins that edge.yaml names.
func (h *Host) firstLook(ctx context.Context) error {
	h.loading.Lock()
	defer h.loading.Unlock()
	_, failures := h.look(ctx, lookStart)
	var errs []error
	for _, f := range failures {
		if f.plugin.named {
			errs = append(errs, f)
		}
	}
	select { // nobody has asked for the list yet
	case <-h.changed:
	default:
	}
	return errors.Join(errs...)
}

// Start watches the files. It returns when it does.
func (h *Host) Start(context.Context) error {
	w, err := newWatch(h)
	if err != nil {
		return err
	}
	h.wg.Go(w.run)
	h.wg.Go(h.keepTime)
	return nil
}

// Stop ends the watch, waits for the requests in progress until ctx ends, and closes every plugin. Past that, requests that
// wait for the rest of the chain lose their plugin. New ones get 503.
func (h *Host) Stop(ctx context.Context) error {
	h.stopOnce.Do(func() {
		close(h.stopping)
		go h.shutdown() // ends when all is closed, or soon after forceNow
	})
	select {
	case <-h.stopped:
		return nil
	case <-ctx.Done():
	}
	h.forceNow()
	select {
	case <-h.stopped:
		return nil
	case <-time.After(100 * time.Millisecond): // closing by force takes less, unless a guest is running or compiling
		return fmt.Errorf("stop plugins: %w", ctx.Err())
	}
}

func (h *Host) shutdown() {
	defer close(h.stopped)
	h.loading.Lock() // a load in progress ends first
	for _, p := range h.all() {
		if g := p.takeOut(); g != nil {
			h.drain(p, g)
		}
	}
	h.loading.Unlock()
	h.wg.Wait()
	h.forceNow()
}

func (h *Host) isStopping() bool {
	select {
	case <-h.stopping:
		return true
	default:
		return false
	}
}

// drain closes a retired generation when its last request is out.
func (h *Host) drain(p *Plugin, g *generation) {
	p.drains(g, true)
	deadline, cancel := context.WithTimeout(h.force, h.patience)
	h.wg.Go(func() { // ends by the deadline, or by Stop, unless a guest never returns and Stop does not come
		defer cancel()
		defer p.drains(g, false)
		if err := g.drain(deadline.Done(), h.force.Done()); err != nil {
			p.log.Warn("old generation of the plugin was not closed", "error", err)
			return
		}
		p.log.Debug("old generation of the plugin closed", "generation", g.number)
	})
}

// Plugin returns the plugin called name, whether or not edge.yaml names it.
func (h *Host) Plugin(name string) (*Plugin, bool) {
	if p, ok := h.named[name]; ok {
		return p, true
	}
	for _, p := range h.Unnamed() {
		if p.name == name {
			return p, true
		}
	}
	return nil, false
}

// Unnamed returns the plugins of the folder that edge.yaml does not name and that run, in file-name order.
func (h *Host) Unnamed() []*Plugin {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(h.unnamed), func(p *Plugin) bool { return p.current.Load() == nil })
}

// UsesVariables reports whether some plugin sets variables of requests, so that there should be room for them.
func (h *Host) UsesVariables() bool { return h.loader.variables.Load() }

// Reload looks at all files again, now, and tries those again that could not be loaded. What cannot be loaded keeps its
// old content in service. The error has the plugins that edge.yaml names: a broken file that happens to lie in the folder is
// logged and counted, as at the start, and stands in nobody's way.
func (h *Host) Reload(ctx context.Context) error {
	h.loading.Lock()
	defer h.loading.Unlock()
	if h.isStopping() {
		return errors.New("reload plugins: the server is stopping")
	}
	_, failures := h.look(ctx, lookReload)
	var errs []error
	for _, f := range failures {
		if f.plugin.named {
			errs = append(errs, f)
		}
	}
	return errors.Join(errs...)
}

// Stats returns a snapshot of every plugin, by name.
func (h *Host) Stats() []PluginStats {
	plugins := h.all()
	stats := make([]PluginStats, len(plugins))
	for i, p := range plugins {
		stats[i] = p.Stats()
	}
	slices.SortFunc(stats, func(a, b PluginStats) int { return strings.Compare(a.Name, b.Name) })
	return stats
}

// Degraded says for each plugin that serves something other than its file why, in one sentence that names it.
func (h *Host) Degraded() []string {
	var reasons []string
	for _, s := range h.Stats() {
		if s.Degraded != "" {
			reasons = append(reasons, fmt.Sprintf("plugin %q: %s", s.Name, s.Degraded))
		}
		if s.Bypassed != "" {
			reasons = append(reasons, fmt.Sprintf("plugin %q: %s", s.Name, s.Bypassed))
		}
	}
	return reasons
}

func (h *Host) all() []*Plugin {
	plugins := slices.Collect(maps.Values(h.named))
	h.mu.RLock()
	defer h.mu.RUnlock()
	return append(plugins, h.unnamed...)
}
