package core

import (
	"context"
	"errors"
	"os"

	"github.com/edge-server/edge/core/telemetry"
)

// Check builds what New builds, without taking the state folder and without serving: plugins compile, certificates, scripts,
// folders and the users of workers are looked up. Every problem is in the error; what a start would only warn of is written to
// opts.LogOutput.
func Check(ctx context.Context, cfg *Config, opts Options) (err error) {
	scratch, err := os.MkdirTemp("", "edge-check")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()

	checked := *cfg
	checked.StateDir = scratch // a server that runs keeps its own
	log, _ := telemetry.NewLogger(telemetry.LogConfig{Level: "warn", Format: "console"}, opts.LogOutput)
	e := &Edge{log: log, meters: newMeters(&checked), opts: opts}
	err = e.planStores(&checked)
	defer func() { err = errors.Join(err, e.closeStores(ctx)) }()
	var driversErr error
	e.drivers, driversErr = e.newDrivers(ctx, &checked)
	err = errors.Join(err, driversErr)
	defer func() { err = errors.Join(err, e.stopDrivers(ctx)) }()
	w, worldErr := e.newWorld(ctx, &checked, nil)
	if err = errors.Join(err, worldErr); worldErr == nil {
		_, routesErr := e.compileRoutes(w)
		err = errors.Join(err, routesErr, w.checkRawPlugins(), w.stop(ctx))
	}
	if cfg.HTTP != nil {
		_, httpErr := e.newHTTP(&checked)
		err = errors.Join(err, httpErr)
	}
	err = errors.Join(err, checkStores(cfg), cfg.located(e.newServices().Check(cfg.Services)), checkLogs(cfg))
	if cfg.RPC != nil {
		_, rpcErr := e.newRPC(cfg) // opens nothing: the real state folder may be too long a path
		err = errors.Join(err, rpcErr)
	}
	return err
}

// checkLogs reports whether the files of logs can be made.
func checkLogs(cfg *Config) error {
	var errs []error
	check := func(key, path string) {
		if path != "" && path != "stderr" && path != "stdout" {
			errs = append(errs, checkFolder(key, path, cfg.inState(path)))
		}
	}
	check("log.output", cfg.Log.Output)
	if cfg.HTTP != nil {
		check("http.access_log.output", cfg.HTTP.AccessLog.Output)
	}
	return cfg.located(errors.Join(errs...))
}

// Routes counts the routes.
func (c *Config) Routes() int {
	if c.HTTP == nil {
		return 0
	}
	return len(c.HTTP.Routes)
}
