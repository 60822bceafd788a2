package core

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/mercure"
	"github.com/edge-server/edge/ws/pusher"
	"github.com/edge-server/edge/ws/raw"
)

// WSConfig is the ws section.
type WSConfig struct {
	// Limits are those of every connection, whatever it speaks.
	Limits ws.Limits `koanf:"limits"`

	// Broker joins several servers. Default memory: there are no others.
	Broker *WSBroker `koanf:"broker"`

	// Pusher speaks the Pusher protocol at /app/KEY and /apps/ID. Default off.
	Pusher *pusher.Config `koanf:"pusher"`

	// Mercure is a hub of the Mercure protocol at /.well-known/mercure. Default off.
	Mercure *mercure.Config `koanf:"mercure"`

	// Raw are applications that get every message of their clients, by name; a route's ws leads to one.
	Raw map[string]raw.Config `koanf:"raw"`
}

// Defaults is where decoding of a present ws section starts.
func (WSConfig) Defaults() any { return WSConfig{Limits: ws.DefaultLimits()} }

func (c *WSConfig) validate() error {
	errs := []error{within("limits", c.Limits.Validate())}
	if c.Broker != nil {
		errs = append(errs, within("broker", c.Broker.validate()))
	}
	if c.Pusher != nil {
		errs = append(errs, within("pusher", c.Pusher.Validate()))
	}
	if c.Mercure != nil {
		errs = append(errs, within("mercure", c.Mercure.Validate()))
	}
	return errors.Join(errs...)
}

// newWebSockets makes the hub and the protocols over it. Connections end before the listeners stop: their requests would
// otherwise be waited for.
func (e *Edge) newWebSockets(cfg *Config) (err error) {
	hub := ws.NewHub(ws.Options{Logger: e.channel("ws"), Broker: e.newBroker(cfg.WS.Broker)})
	e.movingMu.Lock() // a link may be there already
	e.hub = hub
	e.movingMu.Unlock()
	if e.legacy != nil && e.legacy.said.WS {
		if err := e.dialStores(); err != nil {
			return err
		}
	}
	e.lifecycle.add("websockets", e.hub.Start, startNothing)
	w := e.world.Load()
	if err := w.checkRawPlugins(); err != nil {
		return err
	}
	w.raw = map[string]*raw.App{}
	for _, name := range slices.Sorted(maps.Keys(cfg.WS.Raw)) {
		if w.raw[name], err = e.newRawApp(cfg, name); err != nil {
			return cfg.located(err)
		}
	}
	if e.rpc != nil {
		e.rpc.Register("ws", e.rawService())
	}
	if err := e.newMercure(cfg); err != nil {
		return err
	}
	if cfg.WS.Pusher == nil {
		return nil
	}
	apps, err := pusher.New(*cfg.WS.Pusher, pusher.Options{Hub: e.hub, Logger: e.channel("pusher"), Limits: cfg.WS.Limits})
	if err != nil {
		return cfg.located(fmt.Errorf("ws.pusher.%w", err))
	}
	e.movingMu.Lock()
	e.pusher = apps
	e.movingMu.Unlock()
	e.lifecycle.add("pusher", e.pusher.Start, e.pusher.Stop)
	if e.rpc != nil {
		e.rpc.Register("pusher", pusher.NewService(e.pusher))
	}
	return nil
}

// wsNeedsRestart names the keys of the section that a reload cannot change, below prefix: connections belong to what they name.
func wsNeedsRestart(prefix string, old, next *WSConfig) (keys []string) {
	if old == nil || next == nil {
		if old != next {
			keys = []string{prefix}
		}
		return keys
	}
	check := func(key string, same bool) {
		if !same {
			keys = append(keys, prefix+"."+key)
		}
	}
	check("broker", reflect.DeepEqual(old.Broker.joins(), next.Broker.joins()))
	check("mercure", reflect.DeepEqual(old.Mercure, next.Mercure))
	check("pusher", (old.Pusher == nil) == (next.Pusher == nil))
	return keys
}

// wsInUse names the keys of applications that next takes away, or gives to others, while they have connections.
func (e *Edge) wsInUse(old, next *Config) (keys []string) {
	if old.WS == nil || next.WS == nil {
		return nil
	}
	if e.pusher != nil && next.WS.Pusher != nil {
		for _, key := range e.pusher.NeedsRestart(next.WS.Pusher) {
			keys = append(keys, "ws.pusher."+key)
		}
	}
	w := e.world.Load()
	for _, name := range slices.Sorted(maps.Keys(old.WS.Raw)) {
		before, key := old.WS.Raw[name], "ws.raw."+name
		after, stays := next.WS.Raw[name]
		switch {
		case w.raw[name].Space().Len() == 0:
		case !stays:
			keys = append(keys, key)
		case before.PHP != after.PHP:
			keys = append(keys, key+".php")
		case before.Wasm != after.Wasm:
			keys = append(keys, key+".wasm")
		}
	}
	return keys
}

// wsChange is what a reload makes of the section.
type wsChange struct {
	commit []func()
	before []*ws.Space // nil: nothing was prepared
}

// changeWebSockets prepares applications that are new, and new rules for those that are there; connections stay. It does so even when the
// section is the same: files of keys may have changed.
func (e *Edge) changeWebSockets(old, next *world) (change wsChange, err error) {
	next.raw = old.raw
	if e.hub == nil {
		return change, nil
	}
	if err := next.checkRawPlugins(); err != nil {
		return change, err
	}
	cfg := next.cfg.WS
	change.before = e.hub.Spaces()
	then := func(commit func()) { change.commit = append(change.commit, commit) }
	next.raw = maps.Clone(old.raw)
	for _, name := range slices.Sorted(maps.Keys(cfg.Raw)) {
		app := old.raw[name]
		if app == nil {
			next.raw[name], err = e.newRawApp(next.cfg, name)
		} else {
			var commit func()
			commit, err = app.Change(cfg.Raw[name], e.rawBackend(cfg.Raw[name]), cfg.Limits)
			then(commit)
			err = within("ws.raw."+name, err)
		}
		if err != nil {
			return change, next.cfg.located(err)
		}
	}
	for name, app := range old.raw {
		if _, stays := cfg.Raw[name]; !stays {
			delete(next.raw, name)
			then(func() {
				app.Retire()
				e.hub.Forget(app.Space())
			})
		}
	}
	if e.pusher != nil {
		commit, err := e.pusher.Change(*cfg.Pusher, cfg.Limits)
		if err != nil {
			return change, next.cfg.located(fmt.Errorf("ws.pusher.%w", err))
		}
		then(commit)
	}
	if e.mercure != nil {
		commit, err := e.mercure.Change(cfg.Limits)
		if err != nil {
			return change, next.cfg.located(within("ws.mercure", err))
		}
		then(commit)
	}
	return change, nil
}

// forgetWebSockets takes away what was prepared for a reload that is refused.
func (e *Edge) forgetWebSockets(c wsChange) {
	if c.before == nil {
		return
	}
	for _, s := range e.hub.Spaces() {
		if !slices.Contains(c.before, s) {
			e.hub.Forget(s)
		}
	}
}

// withWebSockets answers what belongs to a protocol that has paths of its own, and hands on the rest.
func (e *Edge) withWebSockets(next http.Handler) http.Handler {
	if e.mercure != nil {
		next = e.withMercure(next)
	}
	if e.pusher == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.pusher.Handles(r) {
			e.pusher.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
