package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/php"
)

// ReloadFile reads edge.yaml again and applies it. Logs whose files were put aside go on in new ones, whatever becomes of the rest.
func (e *Edge) ReloadFile(ctx context.Context) error {
	if e.opts.ConfigPath == "" {
		return errors.New("this edge was started without a file to reload")
	}
	e.reopenLogs()
	e.systemd.reloading()
	defer e.systemd.tell("READY=1")
	cfg, err := Load(e.opts.ConfigPath, e.opts.Environ)
	if err == nil {
		err = e.Reload(ctx, cfg)
	}
	if err != nil {
		e.log.Error("reload refused, the previous configuration serves on", "error", err)
		return fmt.Errorf("reload refused, the previous configuration serves on: %w", err)
	}
	return nil
}

// Reload puts cfg in force in two phases. First everything new is prepared beside what serves: changed plugins compile, changed
// pools boot, pools that did not change boot new workers on the code as it is now. If all of that succeeds, one pointer
// swap sends new requests there; what is no longer used ends when its last request has. If anything fails, the old keeps serving.
func (e *Edge) Reload(ctx context.Context, cfg *Config) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ready.Load() {
		return errors.New("edge is starting or stopping: try again when it serves")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.life, func() { cancel(errors.New("edge is stopping")) })()
	old := e.world.Load()
	if keys := append(needsRestart(old.cfg, cfg), e.wsInUse(old.cfg, cfg)...); len(keys) > 0 {
		return newNeedsRestart(keys)
	}

	if err := e.services.Check(cfg.Services); err != nil {
		return cfg.located(err)
	}

	began := time.Now()
	next, err := e.newWorld(ctx, cfg, old)
	if err != nil {
		return err
	}
	sockets, err := e.changeWebSockets(old, next)
	if err == nil {
		err = e.prepare(ctx, old, next)
	}
	if err == nil {
		err = e.commit(old, next, sockets)
	}
	if err != nil {
		e.forgetWebSockets(sockets)
		return errors.Join(err, next.without(old).stop(context.WithoutCancel(ctx)))
	}
	if err := e.services.Apply(ctx, cfg.Services); err != nil {
		return fmt.Errorf("the configuration is in force, but not every service runs: %w", err)
	}
	e.log.Info("configuration reloaded", "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// prepare starts what next does not share with old, then lets the rest look at its files again.
func (e *Edge) prepare(ctx context.Context, old, next *world) error {
	if err := e.lock.openTo(next.cfg); err != nil {
		return err
	}
	if err := next.without(old).start(ctx); err != nil {
		return err
	}
	if _, err := e.compileRoutes(next); err != nil {
		return err
	}

	// Last, what takes effect at once.
	if next.plugins != nil && next.plugins == old.plugins {
		if err := next.plugins.Reload(ctx); err != nil {
			return fmt.Errorf("plugins: %w", err)
		}
	}
	if e.drivers != nil {
		if err := e.drivers.Reload(ctx); err != nil {
			return fmt.Errorf("plugins: %w", err)
		}
	}
	var shared []*php.Pool
	for name, pool := range next.pools {
		if pool == old.pools[name] {
			shared = append(shared, pool)
		}
	}
	return eachPool(shared, func(p *php.Pool) error { return p.Reload(ctx) })
}

// commit swaps worlds, then lets the old one drain before what only it uses is stopped.
func (e *Edge) commit(old, next *world, sockets wsChange) error {
	e.compose.Lock()
	defer e.compose.Unlock()
	table, err := e.compileRoutes(next)
	if err != nil {
		return err
	}
	if keys := e.wsInUse(old.cfg, next.cfg); len(keys) > 0 { // since a moment ago
		return newNeedsRestart(keys)
	}
	e.world.Store(next)
	for _, commit := range sockets.commit {
		commit()
	}
	e.table.Store(table)
	forgetDecisions(old, next, table)
	e.level.Set(next.cfg.Log.SlogLevel())
	if e.http != nil {
		e.http.SetHosts(next.cfg.certificateHosts())
	}

	// Worlds retire in their order: an older one may still use what a younger one hands on.
	before, done := e.retired, make(chan struct{})
	e.retired = done
	go func() { // ends when the requests of the old world have, or after shutdown_timeout; stopWorld waits for it
		defer close(done)
		<-before
		e.retireWorld(old, next)
	}()
	return nil
}

// retireWorld stops what only old uses when its last request has ended.
func (e *Edge) retireWorld(old, next *world) {
	ctx, cancel := context.WithTimeout(e.patience, next.cfg.ShutdownTimeout)
	defer cancel()
	old.drained(ctx)
	if err := old.without(next).stop(ctx); err != nil {
		e.log.Warn("what the reload replaced did not stop cleanly", "error", err)
	}
}

// NeedsRestartError refuses a reload that would change what only a new start can.
type NeedsRestartError struct {
	Keys []string // such as http.listen
	Hint string   // what to do
}

func newNeedsRestart(keys []string) NeedsRestartError {
	for _, key := range []string{"state_dir", "admin"} {
		if slices.Contains(keys, key) { // by which `edge upgrade` finds this process
			return NeedsRestartError{Keys: keys, Hint: "stop edge and start it: `edge upgrade` cannot change " + key}
		}
	}
	return NeedsRestartError{Keys: keys, Hint: "`edge upgrade` puts it in force without losing a request"}
}

func (e NeedsRestartError) Error() string {
	text := "needs a restart: " + strings.Join(e.Keys, ", ") + "; nothing was changed"
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// needsRestart names the keys whose change a reload refuses: they hold sockets or data that people would lose.
func needsRestart(old, next *Config) []string {
	var keys []string
	check := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			keys = append(keys, key)
		}
	}
	check("state_dir", old.StateDir, next.StateDir)
	check("log", withoutLevel(old.Log), withoutLevel(next.Log))
	check("admin", old.Admin, next.Admin)
	check("telemetry", old.Telemetry, next.Telemetry)
	check("rpc", old.RPC, next.RPC)
	check("lock", old.Lock, next.Lock)
	keys = append(keys, wsNeedsRestart("ws", old.WS, next.WS)...)
	keys = append(keys, newWorkerUsers(old, next)...)
	for _, name := range slices.Sorted(maps.Keys(union(old.KV, next.KV))) {
		a, inOld := old.KV[name]
		b, inNext := next.KV[name]
		if inOld != inNext || !reflect.DeepEqual(a, b) {
			keys = append(keys, "kv."+name)
		}
	}
	keys = append(keys, changedDrivers(old, next)...)
	if (old.HTTP == nil) != (next.HTTP == nil) {
		return append(keys, "http")
	}
	if old.HTTP != nil {
		check("http.listen", old.HTTP.Listen, next.HTTP.Listen)
		check("http.access_log", old.HTTP.AccessLog, next.HTTP.AccessLog)
		check("http.tls", old.HTTP.TLS, next.HTTP.TLS)
		check("http.limits", old.HTTP.Limits, next.HTTP.Limits)
	}
	return keys
}

// withoutLevel is what a reload cannot change of the log.
func withoutLevel(c telemetry.LogConfig) telemetry.LogConfig {
	c.Level = ""
	return c
}

func union[V any](a, b map[string]V) map[string]V {
	u := maps.Clone(a)
	if u == nil {
		u = map[string]V{}
	}
	maps.Copy(u, b)
	return u
}
