package core

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/rpc"
)

// newRPC opens nothing yet; it registers the services that workers may call.
func (e *Edge) newRPC(cfg *Config) (*rpc.Server, error) {
	server, err := rpc.New(*cfg.RPC, rpc.Options{
		Logger: e.channel("rpc"), StateDir: cfg.StateDir, AllowUIDs: workerUIDs(cfg), Version: RoadRunnerVersion,
		Config: e.describeConfig, Listen: e.sockets.Listen, WorkerSocket: e.workerSocket(cfg),
	})
	if err != nil {
		return nil, cfg.located(within("rpc", err))
	}
	server.Register("kv", e.traced("kv", newKVHandler(kv.NewService(e.stores))))
	server.Register("informer", e.informer())
	server.Register("resetter", e.resetter())
	server.Register("metrics", e.metrics.Methods())
	server.Register("app", e.appLogger())
	server.Register("status", e.statusService())
	server.Register("httpcache", e.cacheService())
	if cfg.Services != nil { // who has no such section has not asked for programs to be run
		server.Register("service", e.serviceCalls())
	}
	locks, closeLocks, err := e.newLocks(cfg)
	if err != nil {
		return nil, err
	}
	server.Register("lock", e.traced("lock", locks))
	e.lifecycle.add("locks", startNothing, closeLocks)
	return server, nil
}

// newAppMetrics are the metrics that the application declares, and those that edge.yaml declares for it.
func newAppMetrics(cfg *Config) (*telemetry.AppMetrics, error) {
	var collect map[string]telemetry.Collector
	if cfg.Telemetry.Metrics != nil {
		collect = cfg.Telemetry.Metrics.Collect
	}
	m, err := telemetry.NewAppMetrics(collect)
	if err != nil {
		return nil, cfg.located(within("telemetry.metrics.collect", err))
	}
	return m, nil
}

// traced puts spans around the calls of a service, if there are any, under the request that the calling worker serves.
func (e *Edge) traced(service string, h rpc.Handler) rpc.Handler {
	if e.traces == nil {
		return h
	}
	return e.traces.Calls(service, h, func(ctx context.Context) (context.Context, bool) {
		pid := rpc.CallerPID(ctx)
		if pid == 0 {
			return nil, false
		}
		for _, pool := range e.world.Load().pools {
			if request, ok := pool.Serving(pid); ok {
				return request, true
			}
		}
		return nil, false
	})
}

// describeConfig is the whole configuration as JSON, with what may be a secret taken out.
func (e *Edge) describeConfig() ([]byte, error) {
	resolved := e.Config().public()
	if e.opts.RoadRunner != nil {
		resolved = e.opts.RoadRunner.Config()
	}
	text, err := json.Marshal(resolved)
	if err != nil {
		return nil, fmt.Errorf("describe the configuration: %w", err)
	}
	return text, nil
}
