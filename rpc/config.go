package rpc

import (
	"errors"
	"fmt"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is the rpc section.
type Config struct {
	// Listen is where workers reach the server: unix (rpc.sock in state_dir), unix:///path or tcp://127.0.0.1:6001. TCP has no
	// check of who connects, so only loopback addresses are allowed. Default unix.
	Listen string `koanf:"listen"`

	// MaxFrame is the largest call that is read. A larger one closes its connection. Default 16MiB.
	MaxFrame bytesize.Size `koanf:"max_frame"`

	// Connections is how many may be open at once; more are closed as they come. Default 1024.
	Connections int `koanf:"connections"`

	// Concurrency is how many calls of one connection run at once; more wait. Default 64.
	Concurrency int `koanf:"concurrency"`
}

// The bounds of MaxFrame. Options of a frame and its length are 32 bits, and a length is a signed number in PHP.
const (
	minMaxFrame = bytesize.KiB
	maxMaxFrame = bytesize.GiB
)

// DefaultConfig is what an empty rpc section means.
func DefaultConfig() Config {
	return Config{Listen: "unix", MaxFrame: 16 * bytesize.MiB, Connections: 1024, Concurrency: 64}
}

// Defaults is where decoding of a present rpc section starts.
func (Config) Defaults() any { return DefaultConfig() }

// Validate checks the section.
func (c Config) Validate() error {
	var errs []error
	if _, err := parseAddress(c.Listen, "."); err != nil {
		errs = append(errs, fmt.Errorf("listen: %w", err))
	}
	if c.MaxFrame < minMaxFrame || c.MaxFrame > maxMaxFrame {
		errs = append(errs, fmt.Errorf("max_frame: must be between %s and %s, got %s", minMaxFrame, maxMaxFrame, c.MaxFrame))
	}
	if c.Connections < 1 {
		errs = append(errs, fmt.Errorf("connections: must be at least 1, got %d", c.Connections))
	}
	if c.Concurrency < 1 {
		errs = append(errs, fmt.Errorf("concurrency: must be at least 1, got %d", c.Concurrency))
	}
	return errors.Join(errs...)
}
