package core

import (
	"context"
	"errors"
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
	return e.services.Apply(ctx, cfg.Services)
}

var errNoServices = errors.New("edge.yaml has no services section: write services: {} to let PHP create services")

// serviceCalls is RoadRunner's service over RPC. Who has no services has not asked for programs to be run.
func (e *Edge) serviceCalls() rpc.Methods {
	r := e.services.RPC()
	return rpc.Methods{
		"Create":    whenServices(e, r.Create),
		"Terminate": whenServices(e, r.Terminate),
		"Restart":   whenServices(e, r.Restart),
		"Status":    whenServices(e, r.Status),
		"Statuses":  whenServices(e, r.Statuses),
		"List":      whenServices(e, r.List),
	}
}

func whenServices[In, Out any](e *Edge, call func(context.Context, In) (*Out, error)) rpc.Method {
	return rpc.Func(func(ctx context.Context, in In) (*Out, error) {
		if e.Config().Services == nil {
			return nil, errNoServices
		}
		return call(ctx, in)
	})
}
