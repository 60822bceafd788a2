package core

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/boltdb"
	"github.com/edge-server/edge/kv/memcached"
	"github.com/edge-server/edge/kv/redis"
)

// checkStores reports what would keep stores from being opened, and opens none: the files may be those of a server that runs, and the
// servers that stores ask need not run where a configuration is checked.
func checkStores(cfg *Config) error {
	files := map[string]kv.BoltConfig{}
	problems := map[string][]error{}
	for name, c := range cfg.KV {
		report := func(err error) {
			if err != nil {
				problems[name] = append(problems[name], err)
			}
		}
		switch c.Driver {
		case "memory":
			if c.Snapshot != "" {
				report(checkSnapshot(c.Snapshot, cfg.inState(c.Snapshot)))
			}
		case "boltdb":
			bolt := boltConfig(cfg, c)
			if err := checkFolder("boltdb.file", bolt.File, cfg.inState(bolt.File)); err != nil {
				report(err)
			} else if _, err := os.Stat(filepath.Dir(bolt.File)); err == nil {
				files[name] = bolt
			}
		case "redis":
			report(redis.Check(c.ForRedis(name)))
		case "memcached":
			report(memcached.Check(c.ForMemcached(name)))
		}
	}
	for name, err := range boltdb.Check(files) {
		problems[name] = append(problems[name], err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(problems)) {
		for _, err := range problems[name] {
			errs = append(errs, fmt.Errorf("kv.%s: %w", name, err))
		}
	}
	return cfg.located(errors.Join(errs...))
}

// inState reports whether path is in the state folder, which a start makes.
func (c *Config) inState(path string) bool {
	within, err := filepath.Rel(c.StateDir, path)
	return err == nil && filepath.IsLocal(within)
}

// checkSnapshot looks at the file that a store in memory reads at the start and writes when it stops.
func checkSnapshot(path string, made bool) error {
	f, err := os.Open(path)
	if err == nil {
		err = f.Close()
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, checkFolder("snapshot", path, made))
}

// checkFolder reports whether a file can be made beside path. A folder that the server makes itself may be missing: then the one it is
// made in counts.
func checkFolder(key, path string, made bool) error {
	dir := filepath.Dir(path)
	for made {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	probe, err := os.CreateTemp(dir, ".edge-check*")
	if err != nil {
		return fmt.Errorf("%s %s: the folder %s takes no file: %w; create it and let the server's user write to it, or name another one",
			key, path, dir, unwrapPath(err))
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// unwrapPath leaves out the name of a file that was only tried.
func unwrapPath(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
