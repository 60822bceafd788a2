package rpc

import (
	"errors"
	"fmt"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is the rpc section.
type Config struct {
	// Listen is where workers reach the server: unix (rpc.sock in state_dir), unix:///path or tcp://127.0.0.1:6001. The kernel says
	// who connects to a unix socket, and only users that may are let in. TCP has no such check: an address that is not a loopback
	// one needs a secret. Default unix.
	Listen string `koanf:"listen"`

	// Secret is what clients of TCP have to know: at least 16 characters. With one, workers of this machine get a unix socket beside
	// the address, so that PHP packages which know nothing of secrets go on working. docs/rpc.md has the handshake. Default none.
	Secret string `koanf:"secret"`

	// MaxFrame is the largest call that is read: the largest value of a store, 16MiB unless its limits say more, with its key and what
	// goes around it. A larger one closes its connection. Default 17MiB.
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

// minSecret is the length below which a secret could be guessed.
const minSecret = 16

// DefaultConfig is what an empty rpc section means.
func DefaultConfig() Config {
	return Config{Listen: "unix", MaxFrame: 17 * bytesize.MiB, Connections: 1024, Concurrency: 64}
}

// Defaults is where decoding of a present rpc section starts.
func (Config) Defaults() any { return DefaultConfig() }

// Validate checks the section.
func (c Config) Validate() error {
	var errs []error
	if addr, err := parseAddress(c.Listen, "."); err != nil {
		errs = append(errs, fmt.Errorf("listen: %w", err))
	} else if c.Secret == "" && !addr.local() {
		errs = append(errs, fmt.Errorf("listen: %s can be reached from elsewhere, and there is no rpc.secret: set one of at least %d characters, "+
			"or listen on tcp://127.0.0.1:6001 or unix", addr, minSecret))
	}
	if c.Secret != "" && len(c.Secret) < minSecret {
		errs = append(errs, fmt.Errorf("secret: needs at least %d characters, got %d: `openssl rand -hex 32` makes one", minSecret, len(c.Secret)))
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
