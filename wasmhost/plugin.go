package wasmhost

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Plugin is a name that routes refer to, and what runs under it at the moment.
type Plugin struct {
	name        string
	file        string // cleaned
	named       bool   // by edge.yaml
	config      ModuleConfig
	guestConfig string
	log         *slog.Logger
	guestLog    *guestLog // what the guest says
	troubles    *guestLog // what the host says about requests; bounded apart, so that a guest cannot drown it

	current     atomic.Pointer[generation] // nil before the first load and after the last
	unloaded    atomic.Bool                // an unnamed plugin whose file is gone: requests pass by
	counters    counters
	breaker     breaker
	metrics     guestMetrics
	queue       guestQueue
	descriptors descriptors
	driver      atomic.Pointer[Driver] // nil unless a store uses the plugin

	mu          sync.Mutex // guards all below; held by the host's loading and by Stats
	number      uint64     // of the generation made last
	failed      *[sha256.Size]byte
	failure     error  // why the content `failed` could not be loaded; nil when the last load went well
	failures    uint64 // distinct contents that could not be loaded
	degraded    string // why what serves is not what the file says; "" when all is well
	lastError   string // of a request or of a load, since what serves was loaded
	lastErrorAt time.Time
	draining    []*generation // replaced, and not closed yet
}

func newPlugin(name, file string, named bool, config ModuleConfig, log *slog.Logger) (*Plugin, error) {
	guestConfig, err := config.guestConfig()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	log = log.With("plugin", name)
	return &Plugin{
		name: name, file: file, named: named, config: config, guestConfig: string(guestConfig),
		descriptors: newDescriptors(sharePart, maxShare),
		log:         log, guestLog: newGuestLog(log), troubles: newGuestLog(log),
	}, nil
}

// Name is the plugin's name in edge.yaml, or the base name of its file.
func (p *Plugin) Name() string { return p.name }

// File is the path of the module.
func (p *Plugin) File() string { return p.file }

// enter returns the current generation with a request counted in, or nil.
func (p *Plugin) enter() *generation {
	for {
		g := p.current.Load()
		if g == nil || g.enter() {
			return g
		}
		// It was replaced and drained since Load: the next one is there already.
	}
}

// take returns an instance of the current generation. It is counted there until it is given back.
func (p *Plugin) take(ctx context.Context) (*instance, error) {
	if g := p.current.Load(); g != nil {
		if inst := g.pool.takeNear(); inst != nil {
			return inst, nil
		}
	}
	g := p.enter()
	if g == nil {
		return nil, errNotThere
	}
	return g.lend(ctx)
}

// swap puts g into service and returns what it replaces, retired.
func (p *Plugin) swap(g *generation) *generation {
	p.mu.Lock()
	p.number++
	g.number = p.number
	p.failed, p.failure, p.degraded, p.lastError, p.lastErrorAt = nil, nil, "", "", time.Time{}
	p.mu.Unlock()

	p.unloaded.Store(false)
	old := p.current.Swap(g)
	g.ext.goOn()
	if old != nil {
		old.retire()
	}
	return old
}

// takeOut ends service and returns what served, retired.
func (p *Plugin) takeOut() *generation {
	old := p.current.Swap(nil)
	if old != nil {
		old.retire()
	}
	return old
}

// loadFailed notes a failure and reports whether this content is a new one.
func (p *Plugin) loadFailed(hash [sha256.Size]byte, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.failed != nil && *p.failed == hash
	p.failed, p.failure, p.lastError, p.lastErrorAt = &hash, err, printable([]byte(err.Error())), time.Now()
	if !known {
		p.failures++
	}
	return !known
}

// failedBefore returns why this content could not be loaded, if it was tried.
func (p *Plugin) failedBefore(hash [sha256.Size]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil && *p.failed == hash {
		return p.failure
	}
	return nil
}

// forgetFailure is for a file that is back to what serves.
func (p *Plugin) forgetFailure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed, p.failure = nil, nil
}

// setDegraded notes why the plugin is not what its file says, "" for all is well, and reports whether that is news.
func (p *Plugin) setDegraded(reason string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.degraded != reason
	p.degraded = reason
	return changed
}

func (p *Plugin) noteError(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastError, p.lastErrorAt = printable([]byte(err.Error())), time.Now() // names of functions in it are as long as the module likes
}

// drains notes that a generation drains, or has ended.
func (p *Plugin) drains(g *generation, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.draining = append(p.draining, g)
		return
	}
	p.draining = slices.DeleteFunc(p.draining, func(o *generation) bool { return o == g })
}
