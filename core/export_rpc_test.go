package core

import "github.com/edge-server/edge/rpc"

// RPCStats is what the RPC server counts.
func (e *Edge) RPCStats() rpc.Stats { return e.rpc.Stats() }
