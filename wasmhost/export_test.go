package wasmhost

import "time"

// DrainFor is how long requests of replaced content keep instances that wait for the rest of the chain.
func (h *Host) DrainFor(d time.Duration) { h.patience = d }

// OpenDescriptors counts what the instances have open; MayOpen is how many it may be from now on, before there is a request.
func (p *Plugin) OpenDescriptors() int64 { return p.descriptors.open.Load() }
func (p *Plugin) MayOpen(most int64)     { p.descriptors.most = most }
