package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/edge-server/edge/internal/tlsclient"
)

// Modes of Config.
const (
	ModeAuto     = "auto"
	ModeSingle   = "single"
	ModeCluster  = "cluster"
	ModeSentinel = "sentinel"
)

// Config is the section redis of ws.broker.
type Config struct {
	// Addresses are those of the server, of some nodes of a cluster, or of the sentinels: host:port, or the path of a socket for one
	// server. Default [127.0.0.1:6379].
	Addresses []string `koanf:"addresses"`

	// Mode is single, cluster or sentinel. auto is sentinel when master is set, else cluster when there are several addresses, else
	// single. Default auto.
	Mode string `koanf:"mode"`

	// Master is the name that the sentinels know the master by. Default "".
	Master string `koanf:"master"`

	// Username and Password are those of the servers. Default "".
	Username string `koanf:"username"`
	Password string `koanf:"password"`

	// SentinelUsername and SentinelPassword are those of the sentinels. Default "".
	SentinelUsername string `koanf:"sentinel_username"`
	SentinelPassword string `koanf:"sentinel_password"`

	// DB is the number of the database; a cluster has only 0. Publications do not know databases: the prefix tells fleets apart.
	// Default 0.
	DB int `koanf:"db"`

	// TLS encrypts connections. Default: none.
	TLS *tlsclient.Config `koanf:"tls"`

	// Partitions are the parts into which channels are divided in a cluster, by hash; each has a connection of its own for what
	// arrives, and is lost and healed by itself. All nodes must have the same. Default 16.
	Partitions int `koanf:"partitions"`

	// PoolSize is how many connections for commands there are to a server at most; 0 means 10 for each CPU. Default 0.
	PoolSize int `koanf:"pool_size"`
}

// Defaults is where decoding of a present section starts.
func (Config) Defaults() any {
	return Config{Addresses: []string{"127.0.0.1:6379"}, Mode: ModeAuto, Partitions: 16}
}

// EffectiveMode is Mode with auto resolved.
func (c *Config) EffectiveMode() string {
	switch {
	case c.Mode != ModeAuto && c.Mode != "":
		return c.Mode
	case c.Master != "":
		return ModeSentinel
	case len(c.Addresses) > 1:
		return ModeCluster
	}
	return ModeSingle
}

// Validate says what is wrong with the section.
func (c *Config) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Addresses) == 0 {
		complain("addresses: must have an address, such as 127.0.0.1:6379")
	}
	for i, a := range c.Addresses {
		if _, port, err := net.SplitHostPort(a); (err != nil || port == "") && !strings.HasPrefix(a, "/") {
			complain("addresses[%d]: %q is no address; write host:port or /path/of/a/socket", i, a)
		}
	}
	mode := c.EffectiveMode()
	switch {
	case !slices.Contains([]string{ModeSingle, ModeCluster, ModeSentinel}, mode):
		complain("mode: %q is unknown; write auto, single, cluster or sentinel", c.Mode)
	case mode == ModeSentinel && c.Master == "":
		complain("master: must be the name that the sentinels know the master by")
	case mode != ModeSentinel && c.Master != "":
		complain("master: is for mode sentinel, and mode is %s", mode)
	case mode == ModeSingle && len(c.Addresses) > 1:
		complain("addresses: mode single has one address, not %d", len(c.Addresses))
	}
	if c.DB < 0 || c.DB > 0 && mode == ModeCluster {
		complain("db: must be 0 or more, and a cluster has only 0; got %d", c.DB)
	}
	if c.Partitions < 1 || c.Partitions > 1024 {
		complain("partitions: must be between 1 and 1024, got %d", c.Partitions)
	}
	if c.PoolSize < 0 {
		complain("pool_size: must be 0 (10 for each CPU) or more, got %d", c.PoolSize)
	}
	errs = append(errs, c.TLS.Validate())
	return errors.Join(errs...)
}

// maxRedirects is how often a command of a cluster follows a slot that moved.
const maxRedirects = 4

func (d *Driver) newClient() (redis.UniversalClient, error) {
	encryption, err := d.cfg.TLS.Load()
	if err != nil {
		return nil, err
	}
	o := d.options(encryption)
	switch d.cfg.EffectiveMode() {
	case ModeCluster:
		c := o.Cluster()
		c.MaxRedirects = maxRedirects
		return redis.NewClusterClient(c), nil
	case ModeSentinel:
		return redis.NewFailoverClient(o.Failover()), nil
	}
	return redis.NewClient(o.Simple()), nil
}

func (d *Driver) options(encryption *tls.Config) *redis.UniversalOptions {
	timeout := d.opts.Timeout
	return &redis.UniversalOptions{
		Addrs: d.cfg.Addresses, ClientName: "edge:ws", DB: d.cfg.DB, MasterName: d.cfg.Master,
		Username: d.cfg.Username, Password: d.cfg.Password,
		SentinelUsername: d.cfg.SentinelUsername, SentinelPassword: d.cfg.SentinelPassword,
		MaxRetries: -1, DialerRetries: 1, // what was sent may have been done: who asked decides
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout, ContextTimeoutEnabled: true,
		PoolSize: d.cfg.PoolSize, ConnMaxIdleTime: 30 * time.Minute,
		TLSConfig: encryption, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}
