package core

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
)

// Check builds what New builds, without taking the state folder and without serving: plugins compile, certificates and the
// users of workers are looked up. Every problem is in the error.
func Check(ctx context.Context, cfg *Config) (err error) {
	scratch, err := os.MkdirTemp("", "edge-check")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()

	checked := *cfg
	checked.StateDir = scratch // a server that runs keeps its own
	e := &Edge{log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	w, err := e.newWorld(ctx, &checked)
	if err != nil {
		return err
	}
	_, err = e.compileRoutes(w)
	if cfg.HTTP != nil {
		_, httpErr := e.newHTTP(&checked)
		err = errors.Join(err, httpErr)
	}
	return errors.Join(err, w.stop(ctx))
}

// Routes counts the routes.
func (c *Config) Routes() int {
	if c.HTTP == nil {
		return 0
	}
	return len(c.HTTP.Routes)
}
