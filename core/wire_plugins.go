package core

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/wasmhost"
)

// newPlugins loads the plugins that cfg names and those that lie in the folder.
func (e *Edge) newPlugins(ctx context.Context, cfg *Config) (*wasmhost.Host, error) {
	host, err := wasmhost.New(ctx, cfg.pluginsConfig(), wasmhost.Options{
		Logger:   e.log,
		CacheDir: filepath.Join(cfg.StateDir, "wasm-cache"),
		OnChange: e.pluginsChanged,
		Services: e.pluginServices(cfg),
		Claimed:  e.driverFiles(),
	})
	if err != nil {
		return nil, fmt.Errorf("plugins: %w", err)
	}
	return host, nil
}

// pluginsConfig is the plugins section, with an entry for every plugin that the http section names: naming it there is naming it.
func (c *Config) pluginsConfig() wasmhost.Config {
	plugins := *c.Plugins
	plugins.Modules = maps.Clone(plugins.Modules)
	if plugins.Modules == nil {
		plugins.Modules = map[string]wasmhost.ModuleConfig{}
	}
	for _, name := range c.pluginNames() {
		if _, there := plugins.Modules[name]; !there {
			plugins.Modules[name] = wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
		}
	}
	for name := range c.driverStores() { // they are in a host of their own
		delete(plugins.Modules, name)
	}
	return plugins
}

// PluginFiles are the plugins that edge.yaml names, and where it says that each is; "" is the plugin folder.
func (c *Config) PluginFiles() map[string]string {
	files := map[string]string{}
	for _, name := range c.pluginNames() {
		files[name] = ""
	}
	for name := range c.driverStores() {
		files[name] = ""
	}
	for name, module := range c.pluginModules() {
		files[name] = module.File
	}
	return files
}

// pluginNames are the plugins that http.middleware and http.routes use.
func (c *Config) pluginNames() []string {
	if c.HTTP == nil {
		return nil
	}
	names := slices.Concat(c.HTTP.Middleware, c.HTTP.Routers)
	for _, route := range c.HTTP.Routes {
		names = append(names, route.Use...)
		if route.Wasm != "" {
			names = append(names, route.Wasm)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(builtinMiddleware, name) })
}

// pluginServices are what plugins may reach, each through its grants. What a reload replaces is looked up at each call.
func (e *Edge) pluginServices(cfg *Config) wasmhost.Services {
	config := func() *Config {
		if w := e.world.Load(); w != nil {
			return w.cfg
		}
		return cfg
	}
	return wasmhost.Services{
		Store: e.pluginStore,
		Pool: func(name string) http.Handler {
			if w := e.world.Load(); w != nil && w.pools[name] != nil {
				return withAttributes(e.poolStep(name, w.pools[name]))
			}
			return nil
		},
		HasRoute: func(name string) bool {
			h := config().HTTP
			return h != nil && slices.ContainsFunc(h.Routes, func(r Route) bool { return r.Name == name })
		},
		Hub:       e.pluginHub(cfg),
		RequestID: middleware.RequestIDFrom,
		Environ:   e.opts.Environ,
	}
}

// needKind refuses a plugin for something that it is not.
func needKind(p *wasmhost.Plugin, kind wasmhost.Kind, use string) error {
	if kinds := p.Kinds(); !kinds.Has(kind) {
		return fmt.Errorf("plugin %q cannot be %s: it is %s", p.Name(), use, kinds)
	}
	return nil
}

// pluginsChanged puts plugins that came or went into the routes.
func (e *Edge) pluginsChanged() {
	if err := e.recompose(); err != nil {
		e.log.Error("plugins changed, but the routes stay as they were", "error", err)
	}
}

func (w *world) unnamedPlugins() []*wasmhost.Plugin {
	if w.plugins == nil {
		return nil
	}
	return slices.DeleteFunc(w.plugins.Unnamed(), func(p *wasmhost.Plugin) bool { return !p.Kinds().Has(wasmhost.KindMiddleware) })
}
