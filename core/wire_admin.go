package core

import (
	"maps"
	"slices"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/middleware"
)

// adminViews is what the admin API shows of the parts.
func (e *Edge) adminViews() admin.Views {
	return admin.Views{
		Overview: e.overview, Routes: e.routeStats, Stores: e.storeStats, Connections: e.connections, Services: e.serviceStats,
		Config: e.describeConfig, Drain: e.drain,
	}
}

func (e *Edge) overview() admin.Overview {
	return admin.Overview{
		Time: time.Now(), Status: e.status(), Routes: e.routeStats(), Workers: e.Workers(), Plugins: e.Plugins(), Stores: e.storeStats(),
		Services: e.serviceStats(), Connections: e.connections(),
	}
}

// drain makes readiness checks fail while the server serves on.
func (e *Edge) drain(on bool) {
	if e.draining.Swap(on) == on {
		return
	}
	if on {
		e.log.Info("edge drains: it says that it is not ready, and serves on")
		return
	}
	e.log.Info("edge no longer drains")
}

func (e *Edge) routeStats() []admin.Route {
	list := []admin.Route{}
	bounds := make([]float64, len(middleware.DurationBounds))
	for i, b := range middleware.DurationBounds {
		bounds[i] = b.Seconds()
	}
	stats := e.meters.stats()
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		s := stats[name]
		list = append(list, admin.Route{
			Name: name, Classes: [5]uint64(s.Classes[1:]), InFlight: s.InFlight, Buckets: s.Buckets[:], Bounds: bounds, Time: s.Took,
		})
	}
	return list
}

func (e *Edge) storeStats() []admin.Store {
	list := []admin.Store{}
	for _, name := range slices.Sorted(maps.Keys(e.stores)) {
		s := e.stores[name].Stats()
		list = append(list, admin.Store{
			Name: name, Driver: s.Driver, Keys: int(s.Keys), Bytes: s.Bytes, Hits: s.Hits, Misses: s.Misses,
		})
	}
	return list
}

func (e *Edge) connections() admin.Connections {
	c := admin.Connections{Listeners: []admin.Listener{}, WebSockets: []admin.Space{}}
	if e.http != nil {
		for _, l := range e.http.Stats().Listeners {
			c.Listeners = append(c.Listeners, admin.Listener{Network: l.Network, Address: l.Address, Open: int(l.Open), Accepted: l.Accepted})
		}
	}
	if e.hub != nil {
		for _, s := range e.hub.Stats().Spaces {
			c.WebSockets = append(c.WebSockets, admin.Space{Name: s.Name, Open: s.Connections, Channels: s.Channels, Delivered: s.Delivered})
		}
	}
	if e.rpc != nil {
		c.RPC = e.rpc.Stats().Connections
	}
	return c
}

func (e *Edge) serviceStats() []admin.Service {
	list := []admin.Service{}
	for _, s := range e.services.Stats() {
		service := admin.Service{Name: s.Name, Command: s.Command, Created: s.Created, Restarts: s.Restarts, Failures: s.Failures}
		for _, p := range s.Processes {
			process := admin.ServiceProcess{PID: p.PID, Problem: p.Problem, Memory: p.Memory}
			if p.PID != 0 {
				process.Age = time.Since(p.Started)
			}
			service.Processes = append(service.Processes, process)
		}
		list = append(list, service)
	}
	return list
}
