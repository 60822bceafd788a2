package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/compress"
	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/core/forwarded"
	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/core/proxy"
	"github.com/edge-server/edge/core/ratelimit"
	"github.com/edge-server/edge/core/routing"
	"github.com/edge-server/edge/core/services"
	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/rpc"
	"github.com/edge-server/edge/wasmhost"
)

// Config is edge.yaml: one field per feature. A section that is present is on, one that is absent is off.
type Config struct {
	// Version is the version of this file's schema. It must be 1.
	Version int `koanf:"version"`

	// StateDir is where Edge keeps what outlives a request: the local CA, the compile cache of plugins, sockets.
	// A relative path is taken from the folder of edge.yaml. Default .edge.
	StateDir string `koanf:"state_dir"`

	// ShutdownTimeout is how long a stop waits for requests that are in flight. Default 30s.
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout"`

	Log       telemetry.LogConfig   `koanf:"log"`
	Admin     admin.Config          `koanf:"admin"`
	Telemetry TelemetryConfig       `koanf:"telemetry"`
	HTTP      *HTTPConfig           `koanf:"http"`
	PHP       map[string]php.Config `koanf:"php"`
	Plugins   *wasmhost.Config      `koanf:"plugins"`
	KV        map[string]kv.Config  `koanf:"kv"`
	RPC       *rpc.Config           `koanf:"rpc"`
	WS        *WSConfig             `koanf:"ws"`
	Lock      LockConfig            `koanf:"lock"`

	// Services are other programs that run beside the server.
	Services map[string]services.Config `koanf:"services"`

	file *configfile.File // where each key stands; nil unless Load made this Config
}

// TelemetryConfig says where measurements go. The admin socket always answers /metrics.
type TelemetryConfig struct {
	Metrics *MetricsConfig `koanf:"metrics"`
	Health  *HealthConfig  `koanf:"health"`

	Traces *telemetry.TracesConfig `koanf:"traces"`
}

// MetricsConfig opens a listener for Prometheus.
type MetricsConfig struct {
	// Listen is the address of the listener that answers GET /metrics. Default 127.0.0.1:9180.
	Listen string `koanf:"listen"`

	// Names are edge (edge_…), roadrunner (rr_http_…, for dashboards that are there already) or both. The admin socket follows.
	// Default edge.
	Names string `koanf:"names"`

	// Collect declares metrics of the application by name; PHP adds to them with metrics.Add and its like. Default none.
	Collect map[string]telemetry.Collector `koanf:"collect"`
}

// HTTPConfig is what listens, and where a request goes.
type HTTPConfig struct {
	Listen []httpserver.Listen `koanf:"listen"`
	TLS    httpserver.TLS      `koanf:"tls"`
	Limits httpserver.Limits   `koanf:"limits"`

	// Middleware runs for every request, before a route is chosen: names of built-in middleware (access-log, request-id,
	// headers) and of plugins. The first is outermost. Default none.
	Middleware []string `koanf:"middleware"`

	// Routers are plugins that decide where a request goes, asked in this order before the routes; the first that decides wins.
	// Default none.
	Routers []string `koanf:"routers"`

	// Headers is what the middleware headers does.
	Headers middleware.HeadersConfig `koanf:"headers"`

	// Forwarded says which proxies are believed about who the client is.
	Forwarded forwarded.Config `koanf:"forwarded"`

	// RateLimits are by name; routes use one as rate-limit/NAME. Default none.
	RateLimits map[string]ratelimit.Config `koanf:"rate_limits"`

	// Concurrency are limits by name; routes use one as concurrency/NAME. Default none.
	Concurrency map[string]guard.Concurrency `koanf:"concurrency"`

	// BasicAuth are users and passwords by name; routes use one as basic-auth/NAME. Default none.
	BasicAuth map[string]guard.BasicAuth `koanf:"basic_auth"`

	// Access are lists of addresses by name; routes use one as access/NAME. Default none.
	Access map[string]guard.Access `koanf:"access"`

	// SecurityHeaders is what the middleware security-headers sets.
	SecurityHeaders guard.SecurityHeaders `koanf:"security_headers"`

	// Hosts are those that are served, example.com or *.example.com; requests for others get 421. Default all.
	Hosts configfile.Strings `koanf:"hosts"`

	// Errors are the pages of answers that the server gives by itself; the first that fits counts. Default none.
	Errors []guard.ErrorPages `koanf:"errors"`

	// Cache are response caches by name; routes use one as cache/NAME. Default none.
	Cache map[string]httpcache.Config `koanf:"cache"`

	// AccessLog is what the middleware access-log does.
	AccessLog middleware.AccessConfig `koanf:"access_log"`

	// Compress is what the middleware compress does.
	Compress compress.Config `koanf:"compress"`

	// Routes are tried in order; the first match wins. Without a match the answer is 404.
	Routes []Route `koanf:"routes"`
}

// Route sends the requests that match to exactly one target: php, wasm, files, proxy, respond, redirect or ws.
type Route struct {
	// Name tells the reader what the route is for; no two have the same. Default none.
	Name string `koanf:"name"`

	Match routing.Match `koanf:"match"`

	// Use is middleware of this route, as in http.middleware. Default none.
	Use []string `koanf:"use"`

	// Limits are those of this route alone.
	Limits guard.Limits `koanf:"limits"`

	// Errors are pages of this route, as in http.errors, which come after them. Default none.
	Errors []guard.ErrorPages `koanf:"errors"`

	// PHP names a pool of the php section.
	PHP string `koanf:"php"`

	// Wasm names a plugin that answers by itself.
	Wasm string `koanf:"wasm"`

	// Files serves a folder.
	Files *middleware.FilesConfig `koanf:"files"`

	// Proxy passes requests on to other servers; `proxy: http://host:port` is short for {upstreams: [http://host:port]}.
	Proxy *proxy.Config `koanf:"proxy"`

	// Respond answers with a fixed text; `respond: text` is short for {body: text}.
	Respond *Respond `koanf:"respond"`

	// Redirect sends the client elsewhere; `redirect: url` is short for {to: url}.
	Redirect *Redirect `koanf:"redirect"`

	// WS names an application of ws.raw, to which clients connect by WebSocket.
	WS string `koanf:"ws"`
}

// Respond is a fixed answer.
type Respond struct {
	// Status code. Default 200.
	Status int `koanf:"status"`

	// Headers of the answer. Without a Content-Type it is text/plain; charset=utf-8.
	Headers map[string]string `koanf:"headers"`

	Body string `koanf:"body"`
}

// Defaults is where decoding starts.
func (Respond) Defaults() any { return Respond{Status: http.StatusOK} }

// UnmarshalConfig accepts the short form, a text.
func (r *Respond) UnmarshalConfig(v any) error {
	text, ok := v.(string)
	if !ok {
		return errors.New("write a text, or {status: 200, body: text}")
	}
	r.Body = text
	return nil
}

// Redirect sends the client to another URL.
type Redirect struct {
	// To is the target. {uri} stands for the path and query of the request, {host} for its host without the port, and the names that
	// the route's path has for what they stand for, as in /users/{id}.
	To string `koanf:"to"`

	// Status code: 301, 302, 303, 307 or 308. Default 308.
	Status int `koanf:"status"`
}

// Defaults is where decoding starts.
func (Redirect) Defaults() any { return Redirect{Status: http.StatusPermanentRedirect} }

// UnmarshalConfig accepts the short form, a URL.
func (r *Redirect) UnmarshalConfig(v any) error {
	text, ok := v.(string)
	if !ok {
		return errors.New("write a URL, or {to: URL, status: 308}")
	}
	r.To = text
	return nil
}

// DefaultConfig is what an empty edge.yaml means. Optional sections are off.
func DefaultConfig() Config {
	return Config{
		Version:         1,
		StateDir:        ".edge",
		ShutdownTimeout: 30 * time.Second,
		Log:             telemetry.DefaultLogConfig(),
		Admin:           admin.DefaultConfig(),
	}
}

// Defaults is where decoding of a present http section starts.
func (HTTPConfig) Defaults() any {
	d := httpserver.DefaultConfig()
	return HTTPConfig{Listen: d.Listen, TLS: d.TLS, Limits: d.Limits, Compress: compress.DefaultConfig(), AccessLog: middleware.DefaultAccessConfig(), Forwarded: forwarded.DefaultConfig(), SecurityHeaders: guard.DefaultSecurityHeaders()}
}

func (c MetricsConfig) validate() error {
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || !isPort(port) {
		return fmt.Errorf("listen: %q is not host:port, such as 127.0.0.1:9180", c.Listen)
	}
	var errs []error
	if !slices.Contains([]string{telemetry.EdgeNames, telemetry.RoadRunnerNames, telemetry.BothNames}, c.Names) {
		errs = append(errs, fmt.Errorf("names: must be edge, roadrunner or both, got %q", c.Names))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Collect)) {
		errs = append(errs, within("collect."+name, c.Collect[name].Validate(name)))
	}
	return errors.Join(errs...)
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

// Defaults is where decoding of a present telemetry.metrics section starts.
func (MetricsConfig) Defaults() any {
	return MetricsConfig{Listen: "127.0.0.1:9180", Names: telemetry.EdgeNames}
}

// Load reads edge.yaml at path and the EDGE_ environment over the defaults and validates the result. Every problem is in the error.
func Load(path string, environ []string) (*Config, error) {
	cfg := DefaultConfig()
	file, err := configfile.Load(path, environ, &cfg)
	if err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, file.Problems(err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	cfg.resolve(dir)
	cfg.file = file
	return &cfg, nil
}

// located puts file and line before the errors of err that begin with a key, as Load does.
func (c *Config) located(err error) error {
	if c.file == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return c.file.Problems(err)
}

// resolve makes relative paths start at dir, the folder of edge.yaml.
func (c *Config) resolve(dir string) {
	from := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	c.StateDir = from(c.StateDir)
	if c.Log.Output != "stderr" && c.Log.Output != "stdout" {
		c.Log.Output = from(c.Log.Output)
	}
	if c.HTTP != nil {
		if out := c.HTTP.AccessLog.Output; out != "stderr" && out != "stdout" {
			c.HTTP.AccessLog.Output = from(out)
		}
		c.HTTP.resolveGuards(from)
		c.HTTP.TLS = c.HTTP.TLS.Resolve(from)
		c.HTTP.Listen = slices.Clone(c.HTTP.Listen)
		for i, l := range c.HTTP.Listen {
			if path, ok := strings.CutPrefix(l.Address, "unix:"); ok {
				c.HTTP.Listen[i].Address = "unix:" + from(path)
			}
		}
		for _, route := range c.HTTP.Routes {
			if route.Files != nil {
				route.Files.Root = from(route.Files.Root)
			}
			if route.Proxy != nil {
				route.Proxy.Resolve(from)
			}
		}
	}
	for name, pool := range c.PHP {
		pool.Dir = cmp.Or(from(pool.Dir), dir)
		pool.Root = from(pool.Root)
		pool.Uploads.Dir = from(pool.Uploads.Dir)
		pool.Static.Links = slices.Clone(pool.Static.Links)
		for i := range pool.Static.Links {
			pool.Static.Links[i] = from(pool.Static.Links[i])
		}
		pool.Sendfile.Folders = slices.Clone(pool.Sendfile.Folders)
		for i := range pool.Sendfile.Folders {
			pool.Sendfile.Folders[i] = from(pool.Sendfile.Folders[i])
		}
		pool.Sendfile.Accel = maps.Clone(pool.Sendfile.Accel)
		for prefix := range pool.Sendfile.Accel {
			pool.Sendfile.Accel[prefix] = from(pool.Sendfile.Accel[prefix])
		}
		pool.Watch = slices.Clone(pool.Watch)
		for i := range pool.Watch {
			pool.Watch[i] = from(pool.Watch[i])
		}
		c.PHP[name] = pool
	}
	for name, store := range c.KV {
		store.BoltDB.File = from(store.BoltDB.File)
		store.Snapshot = from(store.Snapshot)
		c.KV[name] = store
	}
	for name, service := range c.Services {
		service.Dir = cmp.Or(from(service.Dir), dir)
		c.Services[name] = service
	}
	if c.Plugins != nil {
		c.Plugins.Dir = from(c.Plugins.Dir)
		for name, module := range c.Plugins.Modules {
			module.File = from(module.File)
			module.Allow.Folders = slices.Clone(module.Allow.Folders)
			for i := range module.Allow.Folders {
				folder, at := wasmhost.SplitFolder(module.Allow.Folders[i])
				module.Allow.Folders[i] = from(folder) + ":" + at
			}
			c.Plugins.Modules[name] = module
		}
	}
	if c.RPC != nil {
		if socket, ok := strings.CutPrefix(c.RPC.Listen, "unix://"); ok {
			c.RPC.Listen = "unix://" + from(socket)
		}
	}
}

// Validate checks every section and the names by which sections refer to each other.
func (c *Config) Validate() error {
	var errs []error
	if c.Version != 1 {
		errs = append(errs, fmt.Errorf("version: must be 1, the schema this Edge reads; got %d", c.Version))
	}
	if c.StateDir == "" {
		errs = append(errs, errors.New("state_dir: must not be empty"))
	}
	if c.ShutdownTimeout <= 0 {
		errs = append(errs, fmt.Errorf("shutdown_timeout: must be more than 0, got %s", c.ShutdownTimeout))
	}
	errs = append(errs, within("log", c.Log.Validate()), within("admin", c.Admin.Validate()))
	if c.Telemetry.Metrics != nil {
		errs = append(errs, within("telemetry.metrics", c.Telemetry.Metrics.validate()))
	}
	if c.Telemetry.Health != nil {
		errs = append(errs, within("telemetry.health", c.Telemetry.Health.validate()))
	}
	if c.Telemetry.Traces != nil {
		errs = append(errs, within("telemetry.traces", c.Telemetry.Traces.Validate()))
	}
	if c.HTTP != nil {
		errs = append(errs, within("http", c.HTTP.server().Validate()), within("http.headers", c.HTTP.Headers.Validate()), within("http.access_log", c.HTTP.AccessLog.Validate()),
			within("http.compress", c.HTTP.Compress.Validate()), within("http.forwarded", c.HTTP.Forwarded.Validate()),
			c.validateRateLimits(), c.HTTP.validateGuards(), c.validateCaches(), c.validateRoutes())
	}
	for _, name := range slices.Sorted(maps.Keys(c.PHP)) {
		errs = append(errs, within("php."+name, c.PHP[name].Validate()))
	}
	for _, name := range slices.Sorted(maps.Keys(c.KV)) {
		errs = append(errs, within("kv."+name, c.KV[name].Validate()))
	}
	errs = append(errs, within("kv", kv.ValidateTogether(c.KV)))
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		errs = append(errs, within("services."+name, c.Services[name].Validate()))
	}
	errs = append(errs, c.validateDrivers())
	if c.RPC != nil {
		errs = append(errs, within("rpc", c.RPC.Validate()))
		if strings.HasSuffix(c.RPC.Listen, ":0") {
			errs = append(errs, fmt.Errorf("rpc.listen: %s: workers are told the port before there is one: write the port, or unix", c.RPC.Listen))
		}
	}
	if _, known := c.KV[c.Lock.Store]; !known && c.Lock.Store != "" {
		errs = append(errs, fmt.Errorf("lock.store: there is no store %q in the kv section, which has %s", c.Lock.Store,
			countNames(slices.Sorted(maps.Keys(c.KV)))))
	}
	if c.HTTP != nil && c.HTTP.TLS.ACME != nil {
		if store := c.HTTP.TLS.ACME.Store; store != "" {
			if _, known := c.KV[store]; !known {
				errs = append(errs, fmt.Errorf("http.tls.acme.store: there is no store %q in the kv section, which has %s", store,
					countNames(slices.Sorted(maps.Keys(c.KV)))))
			}
		}
	}
	if c.WS != nil {
		errs = append(errs, within("ws", c.WS.validate()), c.validateRaw())
	}
	if c.Plugins != nil {
		errs = append(errs, within("plugins", c.Plugins.Validate()), within("plugins.modules", c.validateGrants()))
	}
	return errors.Join(errs...)
}

// validateRoutes checks targets, patterns and the names in http.middleware and http.routes.
func (c *Config) validateRoutes() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	for i, name := range c.HTTP.Middleware {
		if problem := c.unknownMiddleware(name); problem != "" {
			report("http.middleware[%d]: %s", i, problem)
		}
	}
	for i, name := range c.HTTP.Routers {
		if name == "" || c.Plugins == nil {
			report("http.routers[%d]: %q is a plugin, and plugins need a plugins section", i, name)
		}
	}
	names := map[string]int{}
	for i, route := range c.HTTP.Routes {
		key := fmt.Sprintf("http.routes[%d]", i)
		if first, taken := names[route.Name]; taken && route.Name != "" {
			report("%s.name: %q is the name of http.routes[%d] already", key, route.Name, first)
		}
		names[route.Name] = i
		for j, name := range route.Use {
			if problem := c.unknownMiddleware(name); problem != "" {
				report("%s.use[%d]: %s", key, j, problem)
			}
		}
		if targets := route.targets(); len(targets) != 1 {
			report("%s: needs exactly one target of php, wasm, files, proxy, respond, redirect, ws; it has %s", key, countNames(targets))
		}
		if _, known := c.PHP[route.PHP]; route.PHP != "" && !known {
			report("%s.php: there is no pool %q in the php section, which has %s", key, route.PHP, countNames(slices.Sorted(maps.Keys(c.PHP))))
		}
		if route.WS != "" && !c.hasRaw(route.WS) {
			report("%s.ws: there is no application %q in ws.raw", key, route.WS)
		}
		if route.Wasm != "" && c.Plugins == nil {
			report("%s.wasm: plugin %q needs a plugins section", key, route.Wasm)
		}
		if route.Redirect != nil {
			errs = append(errs, within(key+".redirect", route.Redirect.validate()))
		}
		if route.Respond != nil {
			errs = append(errs, within(key+".respond", route.Respond.validate()))
		}
		if route.Files != nil {
			errs = append(errs, within(key+".files", route.Files.Validate()))
		}
		if route.Proxy != nil {
			errs = append(errs, within(key+".proxy", route.Proxy.Validate()))
		}
		errs = append(errs, within(key+".match", route.Match.Validate()))
	}
	return errors.Join(errs...)
}

// validateGrants checks that what plugins are allowed to use is there.
func (c *Config) validateGrants() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Plugins.Modules)) {
		allow := c.Plugins.Modules[name].Allow
		for i, store := range allow.KV {
			if _, known := c.KV[store]; !known {
				errs = append(errs, fmt.Errorf("%s.allow.kv[%d]: there is no store %q in the kv section, which has %s",
					name, i, store, countNames(slices.Sorted(maps.Keys(c.KV)))))
			}
		}
		for i, pool := range allow.PHP {
			if _, known := c.PHP[pool]; !known {
				errs = append(errs, fmt.Errorf("%s.allow.php[%d]: there is no pool %q in the php section, which has %s",
					name, i, pool, countNames(slices.Sorted(maps.Keys(c.PHP)))))
			}
		}
	}
	return errors.Join(errs...)
}

// rateLimitPrefix is what stands before the name of a limit in lists of middleware.
const rateLimitPrefix = "rate-limit/"

func (c *Config) validateRateLimits() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.HTTP.RateLimits)) {
		limit := c.HTTP.RateLimits[name]
		errs = append(errs, within("http.rate_limits."+name, limit.Validate()))
		if _, known := c.KV[limit.Store]; limit.Store != "" && !known {
			errs = append(errs, fmt.Errorf("http.rate_limits.%s.store: there is no store %q in the kv section, which has %s",
				name, limit.Store, countNames(slices.Sorted(maps.Keys(c.KV)))))
		}
	}
	return errors.Join(errs...)
}

// unknownMiddleware returns why name cannot be used as middleware, or "".
func (c *Config) unknownMiddleware(name string) string {
	_, isPlugin := c.pluginModules()[name]
	limit, isLimit := strings.CutPrefix(name, rateLimitPrefix)
	if problem, isGuard := c.HTTP.unknownGuard(name); isGuard {
		return problem
	}
	if problem, isCache := c.HTTP.unknownCache(name); isCache {
		return problem
	}
	switch {
	case isLimit:
		if _, known := c.HTTP.RateLimits[limit]; !known {
			return fmt.Sprintf("there is no limit %q in http.rate_limits, which has %s", limit, countNames(slices.Sorted(maps.Keys(c.HTTP.RateLimits))))
		}
		return ""
	case slices.Contains(builtinMiddleware, name) && isPlugin:
		return fmt.Sprintf("%q is a built-in middleware; give the plugin another name", name)
	case slices.Contains(builtinMiddleware, name):
		return ""
	case name == "":
		return "an empty name"
	case c.Plugins == nil:
		return fmt.Sprintf("no middleware is called %q: the built-in ones are %s, and plugins need a plugins section",
			name, strings.Join(builtinMiddleware, ", "))
	}
	// Whether the plugin's file exists and is sound is found out when plugins are loaded.
	return ""
}

// pluginModules returns plugins.modules, or nothing when plugins are off.
func (c *Config) pluginModules() map[string]wasmhost.ModuleConfig {
	if c.Plugins == nil {
		return nil
	}
	return c.Plugins.Modules
}

func (h *HTTPConfig) server() httpserver.Config {
	return httpserver.Config{Listen: h.Listen, TLS: h.TLS, Limits: h.Limits}
}

// targets names the targets that the route has.
func (r *Route) targets() []string {
	var t []string
	for name, present := range map[string]bool{
		"php": r.PHP != "", "wasm": r.Wasm != "", "files": r.Files != nil, "proxy": r.Proxy != nil, "respond": r.Respond != nil, "redirect": r.Redirect != nil, "ws": r.WS != "",
	} {
		if present {
			t = append(t, name)
		}
	}
	slices.Sort(t)
	return t
}

func (r *Respond) validate() error {
	var errs []error
	if r.Status < 200 || r.Status > 599 {
		errs = append(errs, fmt.Errorf("status: must be between 200 and 599, got %d", r.Status))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if !validHeader(name, r.Headers[name]) {
			errs = append(errs, fmt.Errorf("headers: %q: the name or its value has characters that HTTP does not allow in a header", name))
		}
	}
	return errors.Join(errs...)
}

func (r *Redirect) validate() error {
	switch r.Status {
	case 301, 302, 303, 307, 308:
	default:
		return fmt.Errorf("status: must be 301, 302, 303, 307 or 308, got %d", r.Status)
	}
	if r.To == "" {
		return errors.New("to: must be a URL or a path, such as https://example.com{uri}")
	}
	if _, err := url.Parse(placeholder.ReplaceAllString(strings.NewReplacer("{uri}", "/").Replace(r.To), "x")); err != nil || strings.ContainsAny(r.To, "\r\n") {
		return fmt.Errorf("to: %q is not a URL", r.To)
	}
	return nil
}

// within puts the path of a section before each error that its Validate joined.
func within(section string, err error) error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, within(section, e))
		}
		return errors.Join(errs...)
	}
	if !keyed.MatchString(err.Error()) { // it is about the section itself
		return fmt.Errorf("%s: %w", section, err)
	}
	return fmt.Errorf("%s.%w", section, err)
}

// keyed recognises an error that begins with a key.
var keyed = regexp.MustCompile(`^[A-Za-z0-9_][^\s:]*: `)

// countNames reads "none" or "2: a, b".
func countNames(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d: %s", len(names), strings.Join(names, ", "))
}
