package core

import (
	"net/http"

	"github.com/edge-server/edge/ws/mercure"
)

// newMercure makes the hub of ws.mercure. Its streams end before the listeners stop (see build), its history is closed after them.
func (e *Edge) newMercure(cfg *Config) (err error) {
	if cfg.WS.Mercure == nil {
		return nil
	}
	opts := mercure.Options{Logger: e.channel("mercure"), StateDir: cfg.StateDir, Limits: cfg.WS.Limits}
	if b := cfg.WS.Broker; b != nil && b.Driver != "memory" {
		opts.Space = e.hub.Space("mercure")
	}
	e.mercure, err = mercure.New(*cfg.WS.Mercure, opts)
	if err != nil {
		return cfg.located(within("ws.mercure", err))
	}
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
