package kv

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/tlsclient"
)

// Values of RedisConfig.Mode, ReadFrom and Clear.
const (
	RedisAuto     = "auto"
	RedisSingle   = "single"
	RedisCluster  = "cluster"
	RedisSentinel = "sentinel"

	ReadMaster   = "master"
	ReadReplica  = "replica"
	ReadNearest  = "nearest"
	ReadAnywhere = "any"

	ClearPrefix  = "prefix"
	ClearFlushDB = "flushdb"
	ClearFlush   = "flush_all"
)

// RedisConfig is what the redis driver reads.
type RedisConfig struct {
	// Addresses are those of the server, of some nodes of a cluster, or of the sentinels: host:port, or unix:///path for one
	// server. Default [127.0.0.1:6379].
	Addresses []string `koanf:"addresses"`

	// Mode is single, cluster or sentinel. auto is sentinel when master is set, else cluster when there are several addresses, else
	// single; a cluster with one address for all of it wants cluster. Default auto.
	Mode string `koanf:"mode"`

	// Master is the name that the sentinels know the master by. Default "".
	Master string `koanf:"master"`

	// Username and Password are those of the servers; a password alone is that of the user "default". Default "".
	Username string `koanf:"username"`
	Password string `koanf:"password"`

	// SentinelUsername and SentinelPassword are those of the sentinels. Default "".
	SentinelUsername string `koanf:"sentinel_username"`
	SentinelPassword string `koanf:"sentinel_password"`

	// DB is the number of the database; a cluster has only 0. Default 0.
	DB int `koanf:"db"`

	// TLS encrypts connections. Default: none.
	TLS *TLSConfig `koanf:"tls"`

	// Clear is what the operation Clear does. prefix removes the keys that begin with the store's prefix, and refuses when there is
	// none; flushdb empties the whole database, with everybody's keys. Default prefix.
	Clear string `koanf:"clear"`

	// ReadFrom is where keys are read in a cluster or behind sentinels: master, replica, nearest or any. All but master may
	// answer with what was true a moment ago. Default master.
	ReadFrom string `koanf:"read_from"`

	// AutoPipeline sends what callers ask at the same time in one go over one connection, instead of one connection for each
	// caller. Default true.
	AutoPipeline bool `koanf:"autopipeline"`

	// DialTimeout bounds connecting, TLS and login included. Default 2s.
	DialTimeout time.Duration `koanf:"dial_timeout"`

	// ReadTimeout bounds the wait for an answer. Default 2s.
	ReadTimeout time.Duration `koanf:"read_timeout"`

	// WriteTimeout bounds sending. Default 2s.
	WriteTimeout time.Duration `koanf:"write_timeout"`

	// PoolSize is how many connections there are to a server at most; 0 means 10 for each CPU. Default 0.
	PoolSize int `koanf:"pool_size"`

	// PoolTimeout bounds the wait for a free connection. Default 2s.
	PoolTimeout time.Duration `koanf:"pool_timeout"`

	// MinIdle is how many connections are kept open when there is nothing to do. Default 0.
	MinIdle int `koanf:"min_idle"`

	// MaxIdleTime is how long a connection may have nothing to do; 0 means for ever. Default 30m.
	MaxIdleTime time.Duration `koanf:"max_idle_time"`

	// MaxLifetime is how long a connection is used; 0 means for ever. Default 0s.
	MaxLifetime time.Duration `koanf:"max_lifetime"`

	// Retries is how often a failed operation is tried again. What may have been done already and is not the same when it is done
	// twice, such as Increment, is never tried again; neither is what ended in a timeout. Default 3.
	Retries int `koanf:"retries"`

	// MinBackoff and MaxBackoff bound the pause before a retry, which doubles each time. Default 8ms and 512ms.
	MinBackoff time.Duration `koanf:"min_backoff"`
	MaxBackoff time.Duration `koanf:"max_backoff"`

	// Wait is how long the start of Edge waits for a server that does not answer yet; 0 refuses the start at once. Default 0s.
	Wait time.Duration `koanf:"wait"`

	// Prefix and Name are those of the store; the section does not have them.
	Prefix string
	Name   string
}

// MemcachedConfig is what the memcached driver reads.
type MemcachedConfig struct {
	// Addresses are those of the servers: host:port, or the path of a socket. Keys are spread over them by crc32, as gomemcache and
	// other simple clients do; their order matters. Default [127.0.0.1:11211].
	Addresses []string `koanf:"addresses"`

	// TLS encrypts connections. Default: none.
	TLS *TLSConfig `koanf:"tls"`

	// Clear is what the operation Clear does. memcached cannot list its keys, so prefix refuses it when the store has a prefix, and
	// empties the servers when it has none; flush_all empties them in any case, with everybody's keys. Default prefix.
	Clear string `koanf:"clear"`

	// MaxValue is the largest value that the servers take, their option -I. Default 1MiB.
	MaxValue bytesize.Size `koanf:"max_value"`

	// DialTimeout bounds connecting. Default 2s.
	DialTimeout time.Duration `koanf:"dial_timeout"`

	// Timeout bounds sending a request and the wait for its answer. Default 2s.
	Timeout time.Duration `koanf:"timeout"`

	// PoolSize is how many connections there are to each server at most; 0 means 10 for each CPU. Default 0.
	PoolSize int `koanf:"pool_size"`

	// MaxIdleTime is how long a connection may have nothing to do. Default 5m.
	MaxIdleTime time.Duration `koanf:"max_idle_time"`

	// Wait is how long the start of Edge waits for a server that does not answer yet; 0 refuses the start at once. Default 0s.
	Wait time.Duration `koanf:"wait"`

	// Prefix and Name are those of the store; the section does not have them.
	Prefix string
	Name   string
}

// TLSConfig is how a driver encrypts.
type TLSConfig = tlsclient.Config

// DefaultRedisConfig is one server on this machine.
func DefaultRedisConfig() RedisConfig {
	const timeout = 2 * time.Second
	return RedisConfig{
		Addresses: []string{"127.0.0.1:6379"}, Mode: RedisAuto, Clear: ClearPrefix, ReadFrom: ReadMaster, AutoPipeline: true,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout, MaxIdleTime: 30 * time.Minute,
		Retries: 3, MinBackoff: 8 * time.Millisecond, MaxBackoff: 512 * time.Millisecond,
	}
}

// DefaultMemcachedConfig is one server on this machine.
func DefaultMemcachedConfig() MemcachedConfig {
	return MemcachedConfig{
		Addresses: []string{"127.0.0.1:11211"}, Clear: ClearPrefix, MaxValue: bytesize.MiB,
		DialTimeout: 2 * time.Second, Timeout: 2 * time.Second, MaxIdleTime: 5 * time.Minute,
	}
}

// EffectiveMode is Mode with auto resolved.
func (c RedisConfig) EffectiveMode() string {
	switch {
	case c.Mode != RedisAuto && c.Mode != "":
		return c.Mode
	case c.Master != "":
		return RedisSentinel
	case len(c.Addresses) > 1:
		return RedisCluster
	}
	return RedisSingle
}

// ForRedis returns the section of the driver redis, with what it needs of the rest.
func (c Config) ForRedis(name string) RedisConfig {
	r := c.Redis
	r.Prefix, r.Name = c.Prefix, name
	return r
}

// ForMemcached returns the section of the driver memcached, with what it needs of the rest.
func (c Config) ForMemcached(name string) MemcachedConfig {
	m := c.Memcached
	m.Prefix, m.Name = c.Prefix, name
	return m
}

func (c Config) validateRedis() error {
	switch {
	case c.Driver == "redis":
		return c.Redis.validate()
	case !reflect.DeepEqual(c.Redis, DefaultRedisConfig()) && !reflect.DeepEqual(c.Redis, RedisConfig{}):
		return errors.New("redis: only a store with the driver redis has it; write driver: redis, or remove the section")
	}
	return nil
}

func (c Config) validateMemcached() error {
	switch {
	case c.Driver == "memcached":
		return c.Memcached.validate()
	case !reflect.DeepEqual(c.Memcached, DefaultMemcachedConfig()) && !reflect.DeepEqual(c.Memcached, MemcachedConfig{}):
		return errors.New("memcached: only a store with the driver memcached has it; write driver: memcached, or remove the section")
	}
	return nil
}

func (c RedisConfig) validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	checkAddresses("redis.addresses", c.Addresses, complain)
	if !slices.Contains([]string{RedisAuto, RedisSingle, RedisCluster, RedisSentinel}, c.Mode) {
		complain("redis.mode: %q is unknown; write auto, single, cluster or sentinel", c.Mode)
	}
	mode := c.EffectiveMode()
	switch {
	case mode == RedisSentinel && c.Master == "":
		complain("redis.master: must be the name that the sentinels know the master by")
	case mode != RedisSentinel && c.Master != "":
		complain("redis.master: is for mode sentinel, and mode is %s", mode)
	}
	if mode == RedisSingle && len(c.Addresses) > 1 {
		complain("redis.addresses: mode single has one address, not %d", len(c.Addresses))
	}
	if c.DB < 0 || c.DB > 0 && mode == RedisCluster {
		complain("redis.db: must be 0 or more, and a cluster has only 0; got %d", c.DB)
	}
	if !slices.Contains([]string{ReadMaster, ReadReplica, ReadNearest, ReadAnywhere}, c.ReadFrom) {
		complain("redis.read_from: %q is unknown; write master, replica, nearest or any", c.ReadFrom)
	}
	if mode == RedisSingle && c.ReadFrom != ReadMaster {
		complain("redis.read_from: a single server has no replicas to read from; remove the key")
	}
	if c.Clear != ClearPrefix && c.Clear != ClearFlushDB {
		complain("redis.clear: %q is unknown; write prefix (remove this store's keys) or flushdb (empty the database)", c.Clear)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"dial_timeout", c.DialTimeout}, {"read_timeout", c.ReadTimeout}, {"write_timeout", c.WriteTimeout},
		{"pool_timeout", c.PoolTimeout}, {"min_backoff", c.MinBackoff}, {"max_backoff", c.MaxBackoff},
	} {
		checkTimeout("redis."+d.key, d.value, complain)
	}
	if c.MaxIdleTime < 0 || c.MaxLifetime < 0 || c.Wait < 0 {
		complain("redis: max_idle_time, max_lifetime and wait must not be negative")
	}
	if c.PoolSize < 0 || c.MinIdle < 0 || c.PoolSize > 0 && c.MinIdle > c.PoolSize {
		complain("redis.pool_size: must be 0 (10 for each CPU) or more, and at least min_idle; got %d and %d", c.PoolSize, c.MinIdle)
	}
	if c.Retries < 0 || c.Retries > 100 {
		complain("redis.retries: must be between 0 and 100, got %d", c.Retries)
	}
	if err := c.TLS.Validate(); err != nil {
		complain("redis.%w", err)
	}
	return errors.Join(errs...)
}

func (c MemcachedConfig) validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	checkAddresses("memcached.addresses", c.Addresses, complain)
	if c.Clear != ClearPrefix && c.Clear != ClearFlush {
		complain("memcached.clear: %q is unknown; write prefix (refuse to remove keys of others) or flush_all (empty the servers)", c.Clear)
	}
	if c.MaxValue < bytesize.KiB || c.MaxValue > bytesize.GiB {
		complain("memcached.max_value: must be between 1KiB and 1GiB, and what the servers were told by -I; got %s", c.MaxValue)
	}
	checkTimeout("memcached.dial_timeout", c.DialTimeout, complain)
	checkTimeout("memcached.timeout", c.Timeout, complain)
	if c.PoolSize < 0 {
		complain("memcached.pool_size: must be 0 (10 for each CPU) or more, got %d", c.PoolSize)
	}
	if c.MaxIdleTime <= 0 || c.Wait < 0 {
		complain("memcached: max_idle_time must be more than 0, and wait not negative")
	}
	if err := c.TLS.Validate(); err != nil {
		complain("memcached.%w", err)
	}
	return errors.Join(errs...)
}

func checkTimeout(key string, d time.Duration, complain func(string, ...any)) {
	if d < time.Millisecond || d > 10*time.Minute {
		complain("%s: must be between 1ms and 10m, got %s", key, d)
	}
}

func checkAddresses(key string, addresses []string, complain func(string, ...any)) {
	if len(addresses) == 0 {
		complain("%s: must have an address, such as 127.0.0.1:6379", key)
	}
	for i, a := range addresses {
		if path, ok := SocketPath(a); ok {
			if !strings.HasPrefix(path, "/") {
				complain("%s[%d]: %q is no path of a socket; write unix:///run/server.sock", key, i, a)
			}
			continue
		}
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			complain("%s[%d]: %q is no address; write host:port or unix:///path", key, i, a)
		}
	}
}

// SocketPath returns the path of an address that is a unix socket: unix:///path, or a path alone.
func SocketPath(address string) (string, bool) {
	if strings.HasPrefix(address, "/") {
		return address, true
	}
	if !strings.HasPrefix(address, "unix:") {
		return "", false
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", true
	}
	return u.Path, true
}
