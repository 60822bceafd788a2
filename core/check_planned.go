package core

import (
	"errors"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/boltdb"
	"github.com/edge-server/edge/kv/memcached"
	"github.com/edge-server/edge/kv/memory"
	"github.com/edge-server/edge/kv/redis"
)

// planned stands for a store that is not opened: it says what the driver could do, so that those who would use it can be checked.
type planned struct {
	kv.Store // in memory
	can      kv.Can
	driver   string
}

func (p *planned) Can() kv.Can { return p.can }

func (p *planned) Stats() kv.Stats { return kv.Stats{Driver: p.driver} }

// planStores is openStores for Check.
func (e *Edge) planStores(cfg *Config) error {
	e.stores = map[string]kv.Store{}
	var errs []error
	for name, c := range cfg.KV {
		memoryConfig := c.Memory()
		memoryConfig.Snapshot = ""
		store, err := memory.New(memoryConfig)
		if err != nil {
			errs = append(errs, within("kv."+name, err))
			continue
		}
		p := &planned{Store: store, can: store.Can(), driver: c.Driver}
		switch c.Driver {
		case "memory":
			if c.Snapshot != "" {
				p.can |= kv.CanPersist
			}
		case "boltdb":
			p.can = (*boltdb.Store)(nil).Can()
		case "redis":
			p.can = (*redis.Store)(nil).Can()
		case "memcached":
			p.can = (*memcached.Store)(nil).Can()
		case "wasm":
			p.can |= kv.CanShared | kv.CanPersist // what it can, the plugin says when it runs
		}
		e.stores[name] = kv.Wrap(name, p, c.Limits)
	}
	return errors.Join(errs...)
}
