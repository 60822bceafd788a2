package core

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/rpc"
)

// newRPC opens nothing yet; it registers the services that workers may call.
func (e *Edge) newRPC(cfg *Config) (*rpc.Server, error) {
	server, err := rpc.New(*cfg.RPC, rpc.Options{
		Logger: e.channel("rpc"), StateDir: cfg.StateDir, AllowUIDs: workerUIDs(cfg), Version: RoadRunnerVersion,
	})
	if err != nil {
		return nil, cfg.located(within("rpc", err))
	}
	server.Register("kv", kv.NewService(e.stores))
	server.Register("informer", e.informer())
	server.Register("resetter", e.resetter())
	server.Register("rpc", rpc.Methods{
		"Version": rpc.Func(func(context.Context, bool) (string, error) { return RoadRunnerVersion, nil }),
		"Config":  rpc.Func(func(context.Context, bool) ([]byte, error) { return e.describeConfig() }),
	})
	return server, nil
}

// describeConfig is the whole configuration as JSON, with what may be a secret taken out.
func (e *Edge) describeConfig() ([]byte, error) {
	resolved := e.Config().public()
	if e.opts.RoadRunner != nil {
		resolved = e.opts.RoadRunner.Config
	}
	text, err := json.Marshal(resolved)
	if err != nil {
		return nil, fmt.Errorf("describe the configuration: %w", err)
	}
	return text, nil
}
