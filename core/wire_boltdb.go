package core

import (
	"fmt"
	"path/filepath"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/boltdb"
)

// boltFile is the file of boltdb stores that name none.
const boltFile = "kv.db"

// boltConfig is the section of a store with its file named.
func boltConfig(cfg *Config, store kv.Config) kv.BoltConfig {
	c := store.BoltDB
	if c.File == "" {
		c.File = filepath.Join(cfg.StateDir, boltFile)
	}
	return c
}

// CompactStore compacts the file of a boltdb store while no server has it open.
func CompactStore(configPath string, environ []string, name string) (result admin.KVCompaction, err error) {
	cfg, err := Load(configPath, environ)
	if err != nil {
		return result, err
	}
	store, ok := cfg.KV[name]
	if !ok || store.Driver != "boltdb" {
		return result, fmt.Errorf("%s has no boltdb store called %q", configPath, name)
	}
	done, err := boltdb.CompactFile(boltConfig(cfg, store))
	return admin.KVCompaction(done), err
}
