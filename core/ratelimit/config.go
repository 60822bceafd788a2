package ratelimit

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Config is one limit of http.rate_limits. Routes use it as rate-limit/NAME.
type Config struct {
	// Rate is how many requests are served per Per. It has no default.
	Rate int `koanf:"rate"`

	// Per is the time that Rate is about. Default 1s.
	Per time.Duration `koanf:"per"`

	// Burst is how many requests may come at once after a while without any. 0 is Rate. Default 0.
	Burst int `koanf:"burst"`

	// By says whose requests are counted together: ip (of IPv6 the /64 network), host, all, or header:NAME. Requests without the header
	// are counted by ip. Default ip.
	By string `koanf:"by"`

	// Store is a store of the kv section in which the counts are, so that a fleet shares them. Default: in memory.
	Store string `koanf:"store"`

	// Keys is how many clients are remembered in memory at most; of more, those are forgotten that have been quiet the longest or by chance. Default 100000.
	Keys int `koanf:"keys"`

	// Status of the answer to requests beyond the limit. Default 429.
	Status int `koanf:"status"`
}

// Defaults is where decoding starts.
func (Config) Defaults() any {
	return Config{Per: time.Second, By: "ip", Keys: 100_000, Status: http.StatusTooManyRequests}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Rate < 1 {
		errs = append(errs, fmt.Errorf("rate: write how many requests are served per %s, got %d", c.Per, c.Rate))
	}
	if c.Per <= 0 || c.Per > 24*time.Hour {
		errs = append(errs, fmt.Errorf("per: must be more than 0 and at most 24h, got %s", c.Per))
	}
	if c.Burst < 0 {
		errs = append(errs, fmt.Errorf("burst: must not be negative, got %d", c.Burst))
	}
	if c.Keys < 1 {
		errs = append(errs, fmt.Errorf("keys: must be at least 1, got %d", c.Keys))
	}
	if c.Status < 400 || c.Status > 599 {
		errs = append(errs, fmt.Errorf("status: must be between 400 and 599, got %d", c.Status))
	}
	if _, err := ParseKey(c.By); err != nil {
		errs = append(errs, fmt.Errorf("by: %w", err))
	}
	return errors.Join(errs...)
}

// burst is how many requests may come at once.
func (c *Config) burst() int {
	if c.Burst == 0 {
		return c.Rate
	}
	return c.Burst
}

// interval is the time that one request takes up.
func (c *Config) interval() time.Duration { return max(c.Per/time.Duration(c.Rate), 1) }
