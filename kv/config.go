package kv

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-server/edge/internal/bytesize"
)

// drivers are the valid values of Config.Driver.
var drivers = []string{"memory"}

// Config is one store of the kv section.
type Config struct {
	// Driver keeps the data: memory. Default memory.
	Driver string `koanf:"driver"`

	// MaxSize is how much a memory store holds: keys and values plus 128 bytes for each entry. A write beyond it is refused
	// with a clear error; nothing is evicted to make room. 0 means no limit. Default 256MiB.
	MaxSize bytesize.Size `koanf:"max_size"`
}

// MemoryConfig is what the memory driver needs of Config.
type MemoryConfig struct {
	MaxSize bytesize.Size // 0 = no limit
}

// DefaultConfig is a memory store.
func DefaultConfig() Config {
	return Config{Driver: "memory", MaxSize: 256 * bytesize.MiB}
}

// Defaults is where decoding of a store starts.
func (Config) Defaults() any { return DefaultConfig() }

// Validate checks the configuration of one store.
func (c Config) Validate() error {
	var errs []error
	if !slices.Contains(drivers, c.Driver) {
		errs = append(errs, fmt.Errorf("driver: %q is not a driver of this build; write one of: %s", c.Driver, strings.Join(drivers, ", ")))
	}
	if c.MaxSize < 0 {
		errs = append(errs, fmt.Errorf("max_size: must be 0 (no limit) or a size such as 256MiB, got %s", c.MaxSize))
	}
	return errors.Join(errs...)
}

// Memory returns the part of the configuration for the memory driver.
func (c Config) Memory() MemoryConfig { return MemoryConfig{MaxSize: c.MaxSize} }
