package core

import (
	"context"
	"path/filepath"

	"github.com/edge-server/edge/core/services"
	"github.com/edge-server/edge/rpc"
)

// newServices has no service yet. They will learn where RPC is, as workers do.
func (e *Edge) newServices() *services.Manager {
	env := func() []string {
		env := []string{"EDGE_VERSION=" + Version}
		if e.rpc != nil {
			env = append(env, "RR_RPC="+e.rpc.Addr(), "EDGE_RPC="+e.rpc.Addr())
		}
		return env
	}
	return services.New(services.Options{
		Logger: e.channel("service"), Channel: e.channel, Env: env, Dir: filepath.Dir(e.opts.ConfigPath),
	})
}

func (e *Edge) startServices(ctx context.Context) error {
	cfg := e.Config()
	if err := e.services.Check(cfg.Services); err != nil {
		return cfg.located(err)
	}
	if e.legacy != nil {
		return nil // the older process has them until this one takes over
	}
	return e.services.Apply(ctx, cfg.Services)
}

// serviceCalls is RoadRunner's service over RPC.
func (e *Edge) serviceCalls() rpc.Methods {
	r := e.services.RPC()
	return rpc.Methods{
		"Create": rpc.Func(r.Create), "Terminate": rpc.Func(r.Terminate), "Restart": rpc.Func(r.Restart),
		"Status": rpc.Func(r.Status), "Statuses": rpc.Func(r.Statuses), "List": rpc.Func(r.List),
	}
}
