package core

import (
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/rpc"
)

// RPCStats is what the RPC server counts.
func (e *Edge) RPCStats() rpc.Stats { return e.rpc.Stats() }

// Store is an open store.
func (e *Edge) Store(name string) kv.Store { return e.stores[name] }
