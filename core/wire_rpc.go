package core

import (
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/rpc"
)

// newRPC opens nothing yet; it registers the services that workers may call.
func (e *Edge) newRPC(cfg *Config) (*rpc.Server, error) {
	server, err := rpc.New(*cfg.RPC, rpc.Options{
		Logger: e.log, StateDir: cfg.StateDir, AllowUIDs: workerUIDs(cfg), Version: RoadRunnerVersion,
	})
	if err != nil {
		return nil, cfg.located(within("rpc", err))
	}
	server.Register("kv", kv.NewService(e.stores))
	return server, nil
}
