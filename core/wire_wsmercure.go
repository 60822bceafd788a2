package core

import (
	"context"
	"net/http"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/handover"
	"github.com/edge-server/edge/ws/mercure"
)

// newMercure makes the hub of ws.mercure. Its streams end before the listeners stop (see build), its history is closed after them.
func (e *Edge) newMercure(cfg *Config) error {
	if cfg.WS.Mercure == nil {
		return nil
	}
	opts := mercure.Options{Logger: e.channel("mercure"), StateDir: cfg.StateDir, Limits: cfg.WS.Limits}
	if b := cfg.WS.Broker; b != nil && b.Driver != "memory" {
		opts.Space = e.hub.Space("mercure")
	}
	if opts.Later = e.legacy != nil && e.legacy.said.Mercure; opts.Later {
		if err := e.dialStores(); err != nil {
			return err
		}
	}
	hub, err := mercure.New(*cfg.WS.Mercure, opts)
	if err != nil {
		return cfg.located(within("ws.mercure", err))
	}
	e.movingMu.Lock() // a link may be there already
	e.mercure = hub
	e.movingMu.Unlock()
	e.lifecycle.add("mercure", e.mercure.Start, e.mercure.Stop)
	if e.rpc != nil {
		e.rpc.Register("mercure", mercure.NewService(e.mercure))
	}
	return nil
}

// withMercure answers what is below the path of the hub.
func (e *Edge) withMercure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.mercure.Handles(r) {
			e.mercure.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// mercureHub is by what name the hub is called over the link of an upgrade. No store can have it.
const mercureHub = "/mercure"

// hubStore lets the older process publish in the hub of this one, over the link that stores move by: to set is to publish.
type hubStore struct {
	kv.Store // nil: nothing else is asked
	hub      *mercure.Server
}

func (hubStore) Can() kv.Can { return 0 }

func (s hubStore) Set(ctx context.Context, items []kv.Item) error {
	for i := range items {
		if err := s.hub.Accept(ctx, items[i].Value); err != nil {
			return err
		}
	}
	return nil
}

// forwardTo publishes in the hub at the other end of link.
func forwardTo(link *handover.Link) func(ctx context.Context, update []byte) error {
	hub := handover.Elsewhere(mercureHub, 0, link)
	return func(ctx context.Context, update []byte) error {
		return hub.Set(ctx, []kv.Item{{Value: update}})
	}
}
