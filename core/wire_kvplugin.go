package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/wasm"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// Plugins that keep the data of stores live as long as the stores: in a host of their own, which no reload replaces. Their files
// are watched as those of other plugins are.

// driverStores are the stores with the driver wasm, by the name of their plugin.
func (c *Config) driverStores() map[string]string {
	stores := map[string]string{}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(c.KV))) {
		if store := c.KV[name]; store.Driver == "wasm" && store.Plugin != "" {
			stores[store.Plugin] = name
		}
	}
	return stores
}

// driversConfig is the plugins section for the plugins that keep the data of stores.
func (c *Config) driversConfig() wasmhost.Config {
	drivers := wasmhost.Config{Dir: c.Plugins.Dir, Trust: c.Plugins.Trust, Modules: map[string]wasmhost.ModuleConfig{}}
	for name := range c.driverStores() {
		module, there := c.Plugins.Modules[name]
		if !there {
			module = wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
		}
		drivers.Modules[name] = module
	}
	return drivers
}

// validateDrivers checks what stores and plugins are to each other.
func (c *Config) validateDrivers() error {
	var errs []error
	stores := c.driverStores()
	for _, name := range slices.Sorted(maps.Keys(c.KV)) {
		plugin := c.KV[name].Plugin
		if c.KV[name].Driver != "wasm" || plugin == "" {
			continue
		}
		report := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("kv."+name+".plugin: "+format, args...))
		}
		if c.Plugins == nil {
			report("the plugin %q needs a plugins section", plugin)
			continue
		}
		if first := stores[plugin]; first != name {
			report("%q keeps the data of the store %s already: give plugins.modules a second entry with the same file, and name that", plugin, first)
			continue
		}
		if slices.Contains(c.pluginNames(), plugin) {
			report("%q is used by the http section as well, and what keeps the data of a store does nothing else: give plugins.modules a second entry with the same file", plugin)
		}
		if circle := c.circle(name); circle != nil {
			report("the store would wait for itself: plugins.modules.%s.allow.kv leads back to it (%s); remove a grant of that chain", plugin, strings.Join(circle, " uses "))
		}
	}
	return errors.Join(errs...)
}

// needs are the stores that the plugin of a store may use.
func (c *Config) needs(store string) []string {
	if s := c.KV[store]; s.Driver == "wasm" {
		return c.pluginModules()[s.Plugin].Allow.KV
	}
	return nil
}

// circle is a way of grants from a store back to it, nil without one.
func (c *Config) circle(store string) []string {
	seen := map[string]bool{}
	var walk func(way []string) []string
	walk = func(way []string) []string {
		for _, next := range c.needs(way[len(way)-1]) {
			if next == store {
				return append(way, next)
			}
			if seen[next] {
				continue
			}
			seen[next] = true
			if found := walk(append(slices.Clone(way), next)); found != nil {
				return found
			}
		}
		return nil
	}
	return walk([]string{store})
}

// storesInOrder are the names of the stores, each after those that its plugin may use.
func (c *Config) storesInOrder() []string {
	var order []string
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if _, there := c.KV[name]; !there || seen[name] {
			return
		}
		seen[name] = true
		for _, need := range c.needs(name) {
			add(need)
		}
		order = append(order, name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.KV)) {
		add(name)
	}
	return order
}

// newDrivers loads the plugins that keep the data of stores; nil if no store has one.
func (e *Edge) newDrivers(ctx context.Context, cfg *Config) (*wasmhost.Host, error) {
	stores := cfg.driverStores()
	if len(stores) == 0 || cfg.Plugins == nil {
		return nil, nil
	}
	host, err := wasmhost.New(ctx, cfg.driversConfig(), wasmhost.Options{
		Logger:   e.log,
		CacheDir: filepath.Join(cfg.StateDir, "wasm-cache"),
		Services: e.pluginServices(cfg),
	})
	if err != nil {
		return nil, cfg.located(fmt.Errorf("plugins: %w", err))
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		p, _ := host.Plugin(name)
		if err := needKind(p, wasmhost.KindKV, "the driver of a store"); err != nil {
			errs = append(errs, fmt.Errorf("kv.%s.plugin: %w", stores[name], err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(cfg.located(err), host.Stop(context.WithoutCancel(ctx)))
	}
	return host, nil
}

// openDriver opens the store that a plugin keeps.
func (e *Edge) openDriver(ctx context.Context, c kv.Config) (kv.Store, error) {
	if e.drivers == nil {
		return nil, fmt.Errorf("there is no plugin %q", c.Plugin)
	}
	p, there := e.drivers.Plugin(c.Plugin)
	if !there {
		return nil, fmt.Errorf("there is no plugin %q", c.Plugin)
	}
	d, err := p.OpenDriver(ctx, c.Config)
	if err != nil {
		return nil, err
	}
	return NewPluginDriver(d), nil
}

func (e *Edge) startDrivers(ctx context.Context) error {
	if e.drivers == nil {
		return nil
	}
	return e.drivers.Start(ctx)
}

func (e *Edge) stopDrivers(ctx context.Context) error {
	if e.drivers == nil {
		return nil
	}
	return e.drivers.Stop(ctx)
}

// driverFiles are those of the plugins that keep the data of stores: they do not run on routes, even if they lie in the folder.
func (e *Edge) driverFiles() []string {
	var files []string
	if e.drivers != nil {
		for _, s := range e.drivers.Stats() {
			files = append(files, s.File)
		}
	}
	return files
}

// changedDrivers are the keys of plugins that a reload would have to take from their stores.
func changedDrivers(old, next *Config) []string {
	if old.Plugins == nil || next.Plugins == nil || len(old.driverStores()) == 0 {
		return nil
	}
	a, b := old.driversConfig(), next.driversConfig()
	var keys []string
	for _, name := range slices.Sorted(maps.Keys(a.Modules)) {
		if module, there := b.Modules[name]; there && !reflect.DeepEqual(a.Modules[name], module) {
			keys = append(keys, "plugins.modules."+name)
		}
	}
	if !slices.Equal(a.Trust, b.Trust) {
		keys = append(keys, "plugins.trust")
	}
	if a.Dir != b.Dir {
		keys = append(keys, "plugins.dir")
	}
	return keys
}

// NewPluginDriver is a plugin's driver as a store.
func NewPluginDriver(d *wasmhost.Driver) kv.Store { return wasm.New(pluginDriver{d}) }

// pluginDriver is a plugin as kv/wasm sees it.
type pluginDriver struct{ *wasmhost.Driver }

// Features implements wasm.Driver.
func (d pluginDriver) Features() wasm.Features {
	bits := d.Driver.Features()
	has := func(bit uint32) bool { return bits&bit != 0 }
	return wasm.Features{
		TTL: has(abi.KVFeatureTTL), CAS: has(abi.KVFeatureCAS), Increment: has(abi.KVFeatureIncr), Batch: has(abi.KVFeatureBatch),
		Scan: has(abi.KVFeatureScan), Evict: has(abi.KVFeatureEvict), Shared: has(abi.KVFeatureShared),
	}
}

// Begin implements wasm.Driver.
func (d pluginDriver) Begin(ctx context.Context) (wasm.Session, error) {
	l, err := d.Driver.Begin(ctx)
	if err != nil {
		return nil, storeError(err)
	}
	return pluginSession{l}, nil
}

// Clear implements wasm.Driver.
func (d pluginDriver) Clear(ctx context.Context) error { return storeError(d.Driver.Clear(ctx)) }

// Close implements wasm.Driver.
func (d pluginDriver) Close(ctx context.Context) error { return d.Driver.Close(ctx) }

// storeError gives an error of a plugin the sentinel that callers of stores know.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	switch wasmhost.Errno(err) {
	case abi.ErrUnavailable, abi.ErrTimeout, abi.ErrClosed:
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	case abi.ErrTooLarge:
		return fmt.Errorf("%w: %w", kv.ErrLimit, err)
	case abi.ErrLimit:
		return fmt.Errorf("%w: %w", kv.ErrFull, err)
	case abi.ErrUnsupported:
		return fmt.Errorf("%w: %w", kv.ErrUnsupported, err)
	}
	return err
}

// pluginSession is a lease as kv/wasm sees it.
type pluginSession struct{ *wasmhost.Lease }

func entryOf(r wasmhost.Record, err error) (wasm.Entry, error) {
	if err != nil {
		return wasm.Entry{}, storeError(err)
	}
	return wasm.Entry{Found: r.Found, Value: r.Value, TTL: r.TTL, Version: r.Version}, nil
}

// Get implements wasm.Session.
func (s pluginSession) Get(key string) (wasm.Entry, error) { return entryOf(s.Lease.Get(key)) }

// Look implements wasm.Session.
func (s pluginSession) Look(key string) (wasm.Entry, error) { return entryOf(s.Lease.Look(key)) }

// Set implements wasm.Session.
func (s pluginSession) Set(key string, value []byte, how wasm.How) (bool, error) {
	var flags uint32
	if how.KeepTTL {
		flags |= abi.SetKeepTTL
	}
	switch how.If {
	case wasm.IfAbsent:
		flags |= abi.SetNX
	case wasm.IfVersion:
		flags |= abi.SetIfVersion
	}
	_, err := s.Lease.Set(key, value, how.TTL, flags, how.Version)
	if code := wasmhost.Errno(err); err != nil && how.If != wasm.Always && (code == abi.ErrExists || code == abi.ErrCondition) {
		return false, nil
	}
	return err == nil, storeError(err)
}

// Delete implements wasm.Session.
func (s pluginSession) Delete(key string, version int64) (bool, error) {
	removed, err := s.Lease.Delete(key, version)
	if err != nil && version != 0 && wasmhost.Errno(err) == abi.ErrCondition {
		return false, nil
	}
	return removed, storeError(err)
}

// Expire implements wasm.Session.
func (s pluginSession) Expire(key string, ttl int64) (bool, error) {
	found, err := s.Lease.Expire(key, ttl)
	return found, storeError(err)
}

// Increment implements wasm.Session.
func (s pluginSession) Increment(key string, delta, ttl int64) (int64, error) {
	n, err := s.Incr(key, delta, ttl)
	if err != nil && wasmhost.Errno(err) == abi.ErrInvalid {
		return 0, fmt.Errorf("%w: %w", kv.ErrNumber, err)
	}
	return n, storeError(err)
}

// Scan implements wasm.Session.
func (s pluginSession) Scan(prefix, cursor string, limit int) ([]string, string, error) {
	keys, next, err := s.Lease.Scan(prefix, []byte(cursor), limit)
	return keys, string(next), storeError(err)
}

var actions = map[wasm.Action]uint32{wasm.Get: abi.OpGet, wasm.Set: abi.OpSet, wasm.Delete: abi.OpDelete}

// Batch implements wasm.Session.
func (s pluginSession) Batch(ops []wasm.Op) ([]wasm.Result, error) {
	packed := make([]abi.Op, len(ops))
	for i, o := range ops {
		packed[i] = abi.Op{Op: actions[o.Do], Key: []byte(o.Key), Value: o.Value, TTL: o.TTL}
	}
	outcomes, err := s.Lease.Batch(packed)
	if err != nil {
		return nil, storeError(err)
	}
	results := make([]wasm.Result, len(outcomes))
	for i, o := range outcomes {
		err := o.Err
		if err != nil && wasmhost.Errno(err) == abi.ErrNotFound {
			continue
		}
		results[i].Entry, results[i].Err = entryOf(o.Record, err)
	}
	return results, nil
}
