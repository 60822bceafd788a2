package core

import (
	"errors"
	"fmt"
	"net/http"

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
	e.hub = ws.NewHub(ws.Options{Logger: e.channel("ws"), Broker: e.newBroker(cfg.WS.Broker)})
	e.lifecycle.add("websockets", e.hub.Start, startNothing)
	if err := e.newRawApps(cfg); err != nil {
		return err
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
	e.pusher, err = pusher.New(*cfg.WS.Pusher, pusher.Options{Hub: e.hub, Logger: e.channel("pusher"), Limits: cfg.WS.Limits})
	if err != nil {
		return cfg.located(fmt.Errorf("ws.pusher.%w", err))
	}
	e.lifecycle.add("pusher", e.pusher.Start, e.pusher.Stop)
	if e.rpc != nil {
		e.rpc.Register("pusher", pusher.NewService(e.pusher))
	}
	return nil
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
