package main

import (
	"context"
	"os"
	"reflect"
	"runtime"
	"slices"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/rrcompat"
	"github.com/edge-server/edge/core/telemetry"
)

// decode makes of a translation what core takes.
func (r *rrServer) decode(config *rrcompat.Config, result *rrcompat.Result) (*core.Config, error) {
	r.latest.Store(config)
	cfg, err := core.LoadText(r.flags.config+madeOf, result.EdgeYAML, r.dir, os.Environ())
	return cfg, inRoadRunnersWords(config, err)
}

// explain puts the keys of .rr.yaml into an error about the configuration that was read last.
func (r *rrServer) explain(err error) error { return inRoadRunnersWords(r.latest.Load(), err) }

// readAgain reads the configuration as it is now. The folder for state is that of the start.
func (r *rrServer) readAgain() (*core.Config, *rrcompat.Config, *rrcompat.Result, error) {
	r.reread.Lock()
	defer r.reread.Unlock()
	config, err := r.flags.load()
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err := config.CheckVersion(); err != nil {
		return nil, nil, nil, err
	}
	result, err := config.Translate(rrcompat.Options{CPUs: runtime.GOMAXPROCS(0)})
	if err != nil {
		return nil, nil, nil, err
	}
	cfg, err := r.decode(config, result)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, f := range result.Findings {
		if f.Warning && !slices.Contains(r.told, f) {
			r.told = append(r.told, f)
			r.log.With(telemetry.LoggerKey, "config").Warn(f.String())
		}
	}
	cfg.StateDir, cfg.Admin.Listen = r.cfg.StateDir, r.cfg.Admin.Listen
	return cfg, config, result, nil
}

// rereadPools is for a reset, which is about the workers alone.
func (r *rrServer) rereadPools() (*core.Config, error) {
	cfg, _, _, err := r.readAgain()
	return cfg, err
}

// reloadOn applies the configuration anew for each signal.
func (r *rrServer) reloadOn(ctx context.Context, hangups <-chan os.Signal, server *core.Edge) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if err := r.reload(ctx, server); err != nil {
				r.log.With(telemetry.LoggerKey, "config").Error("reload refused, the previous configuration serves on; SIGUSR2 starts anew", "error", err)
			}
		}
	}
}

func (r *rrServer) reload(ctx context.Context, server *core.Edge) error {
	cfg, config, result, err := r.readAgain()
	if err != nil {
		return err
	}
	if keys := r.needsRestart(result); len(keys) > 0 {
		return core.NeedsRestartError{Keys: keys}
	}
	if err := server.Reload(ctx, cfg); err != nil {
		return inRoadRunnersWords(config, err)
	}
	r.inForce.Store(config)
	return nil
}

// needsRestart names what is set up once, before there is a server.
func (r *rrServer) needsRestart(next *rrcompat.Result) []string {
	var keys []string
	if !reflect.DeepEqual(r.result.Logs, next.Logs) {
		keys = append(keys, "logs")
	}
	if r.result.AccessLogs != next.AccessLogs {
		keys = append(keys, "http.access_logs")
	}
	if r.result.Watchdog != next.Watchdog {
		keys = append(keys, "endure.watchdog_sec")
	}
	return keys
}
