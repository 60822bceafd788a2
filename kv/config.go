package kv

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// drivers are the valid values of Config.Driver.
var drivers = []string{"memory", "boltdb", "redis", "memcached", "wasm"}

// Modes of a memory store.
const (
	ModeStore = "store"
	ModeCache = "cache"
)

// Config is one store of the kv section. What only one driver reads is in a section of its own named like the driver, such as
// redis: {...}; what stands here is for any driver, apart from the keys of the memory driver, the default one.
type Config struct {
	// Driver keeps the data: memory. Default memory.
	Driver string `koanf:"driver"`

	// Mode is what a memory store does when it is full: store refuses the write with a clear error, and what was set is there until
	// it expires or is removed; cache evicts what is used least. Default store.
	Mode string `koanf:"mode"`

	// MaxSize is how much a memory store holds: keys and values plus 128 bytes for each entry. 0 means no limit. Default 256MiB.
	MaxSize bytesize.Size `koanf:"max_size"`

	// Snapshot is the file that a memory store writes when the server stops and reads, and removes, when it starts. A file that is
	// damaged is put aside as FILE.bad. Empty means that the data ends with the server. Default "".
	Snapshot string `koanf:"snapshot"`

	// Prefix is put before every key on its way to the driver and taken off again, so that stores can share a server; Clear and
	// Scan stay within it. Default "".
	Prefix string `koanf:"prefix"`

	// Limits bound what one call brings.
	Limits Limits `koanf:"limits"`

	// LocalCache keeps copies of what was read in the memory of this server, in front of a driver that is shared: a two-tier store.
	// Copies go when the driver tells that a key changed, and after ttl in any case. Default: none.
	LocalCache *LocalCache `koanf:"local_cache"`

	// BoltDB is what the driver boltdb reads.
	BoltDB BoltConfig `koanf:"boltdb"`

	// Redis is what the driver redis reads.
	Redis RedisConfig `koanf:"redis"`

	// Memcached is what the driver memcached reads.
	Memcached MemcachedConfig `koanf:"memcached"`

	// Plugin is the plugin that keeps the data of a store with the driver wasm. It is the driver of one store and nothing else.
	// Default "".
	Plugin string `koanf:"plugin"`

	// Config is what the plugin of the driver wasm gets as JSON when the store opens. Default none.
	Config any `koanf:"config"`
}

// Limits are the bounds of a store for what one call brings.
type Limits struct {
	// MaxKey is the length of a key in bytes. Default 4096.
	MaxKey bytesize.Size `koanf:"max_key"`

	// MaxValue is the length of a value. Default 16MiB.
	MaxValue bytesize.Size `koanf:"max_value"`

	// MaxItems is how many items or operations one call has. Default 100000.
	MaxItems int `koanf:"max_items"`
}

// LocalCache is the near tier of a two-tier store.
type LocalCache struct {
	// MaxSize is how much memory the copies take. Default 32MiB.
	MaxSize bytesize.Size `koanf:"max_size"`

	// TTL is how long a copy lasts at most: how old an answer is in the worst case, when the driver cannot tell of changes.
	// Default 5s.
	TTL time.Duration `koanf:"ttl"`
}

// MemoryConfig is what the memory driver needs.
type MemoryConfig struct {
	MaxSize  bytesize.Size // 0 = no limit
	Mode     string        // "" is ModeStore
	Snapshot string        // "" = none

	Logger *slog.Logger     // says what became of a damaged snapshot; nil: nobody
	Now    func() time.Time // for tests; nil: time.Now
}

// DefaultConfig is a memory store.
func DefaultConfig() Config {
	return Config{Driver: "memory", Mode: ModeStore, MaxSize: 256 * bytesize.MiB, Limits: DefaultLimits(), BoltDB: DefaultBoltConfig(),
		Redis: DefaultRedisConfig(), Memcached: DefaultMemcachedConfig()}
}

// DefaultLimits are those of a store that says nothing.
func DefaultLimits() Limits {
	return Limits{MaxKey: 4 * bytesize.KiB, MaxValue: 16 * bytesize.MiB, MaxItems: 100_000}
}

// Defaults is where decoding of a store starts.
func (Config) Defaults() any { return DefaultConfig() }

// Defaults is where decoding of the section starts.
func (LocalCache) Defaults() any { return LocalCache{MaxSize: 32 * bytesize.MiB, TTL: 5 * time.Second} }

// Validate checks the configuration of one store.
func (c Config) Validate() error {
	var errs []error
	if !slices.Contains(drivers, c.Driver) {
		errs = append(errs, fmt.Errorf("driver: %q is not a driver of this build; write one of: %s", c.Driver, strings.Join(drivers, ", ")))
	}
	if c.MaxSize < 0 {
		errs = append(errs, fmt.Errorf("max_size: must be 0 (no limit) or a size such as 256MiB, got %s", c.MaxSize))
	}
	errs = append(errs, c.validateMemory(), c.validateWasm(), c.validateBolt(), c.validateRedis(), c.validateMemcached(), c.Limits.validate())
	if len(c.Prefix) > 256 {
		errs = append(errs, fmt.Errorf("prefix: must be at most 256 bytes, has %d", len(c.Prefix)))
	}
	if l := c.LocalCache; l != nil {
		if c.Driver == "memory" {
			errs = append(errs, errors.New("local_cache: a memory store is as near as it gets; remove the section or choose a shared driver"))
		}
		if l.MaxSize < bytesize.MiB {
			errs = append(errs, fmt.Errorf("local_cache.max_size: must be at least 1MiB, got %s", l.MaxSize))
		}
		if l.TTL < time.Millisecond || l.TTL > 24*time.Hour {
			errs = append(errs, fmt.Errorf("local_cache.ttl: must be between 1ms and 24h, got %s", l.TTL))
		}
	}
	return errors.Join(errs...)
}

// ValidateTogether checks what one store must not share with another.
func ValidateTogether(stores map[string]Config) error {
	var errs []error
	snapshots := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		if name == "." || name == ".." || strings.Contains(name, "/") {
			errs = append(errs, fmt.Errorf("%s: is no name for a store, as it stands in the paths of the admin API: leave out dots alone and /", name))
		}
		file := stores[name].Snapshot
		if file == "" {
			continue
		}
		if other, taken := snapshots[filepath.Clean(file)]; taken {
			errs = append(errs, fmt.Errorf("%s.snapshot: the store %q writes %s as well, and one would replace the other's: name another file",
				name, other, file))
		}
		snapshots[filepath.Clean(file)] = name
	}
	return errors.Join(errs...)
}

func (c Config) validateMemory() error {
	switch {
	case c.Mode != ModeStore && c.Mode != ModeCache && c.Mode != "":
		return fmt.Errorf("mode: %q is unknown; write store (a full store refuses writes) or cache (a full store evicts)", c.Mode)
	case c.Driver != "memory" && c.Mode == ModeCache:
		return errors.New("mode: only a memory store can be a cache; remove the key")
	case c.Driver == "boltdb" && c.MaxSize != DefaultConfig().MaxSize:
		return errors.New("max_size: only a memory store has one; a boltdb store is bounded by boltdb.max_file_size: write that")
	case c.Driver != "memory" && c.MaxSize != DefaultConfig().MaxSize:
		return fmt.Errorf("max_size: only a memory store has one, and what bounds a %s store is its server: remove the key", c.Driver)
	case c.Driver != "memory" && c.Snapshot != "":
		return errors.New("snapshot: only a memory store has one; remove the key")
	case c.Mode == ModeCache && c.MaxSize == 0:
		return errors.New("max_size: a cache needs a size to evict by, such as 256MiB")
	}
	return nil
}

func (l Limits) validate() error {
	var errs []error
	if l.MaxKey < 1 || l.MaxKey > 64*bytesize.KiB {
		errs = append(errs, fmt.Errorf("limits.max_key: must be between 1 and 64KiB, got %s", l.MaxKey))
	}
	if l.MaxValue < 1 || l.MaxValue > bytesize.GiB {
		errs = append(errs, fmt.Errorf("limits.max_value: must be between 1 and 1GiB, got %s", l.MaxValue))
	}
	if l.MaxItems < 1 || l.MaxItems > maxItems {
		errs = append(errs, fmt.Errorf("limits.max_items: must be between 1 and %d, got %d", maxItems, l.MaxItems))
	}
	return errors.Join(errs...)
}

// Memory returns the part of the configuration for the memory driver.
func (c Config) Memory() MemoryConfig {
	return MemoryConfig{MaxSize: c.MaxSize, Mode: c.Mode, Snapshot: c.Snapshot}
}
