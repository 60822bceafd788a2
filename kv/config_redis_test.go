package kv_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/kv"
)

func TestRedisAndMemcachedConfig(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*kv.Config)
		want   string // in the complaint; "" for none
	}{
		{"redis as it comes", func(c *kv.Config) { c.Driver = "redis" }, ""},
		{"memcached as it comes", func(c *kv.Config) { c.Driver = "memcached" }, ""},
		{"a socket", func(c *kv.Config) { c.Driver, c.Redis.Addresses = "redis", []string{"unix:///run/redis.sock"} }, ""},
		{"a cluster", func(c *kv.Config) { c.Driver, c.Redis.Addresses = "redis", []string{"a:1", "b:2"} }, ""},
		{"sentinels", func(c *kv.Config) {
			c.Driver, c.Redis.Addresses, c.Redis.Master, c.Redis.DB = "redis", []string{"a:1", "b:2"}, "main", 3
		}, ""},
		{"no address", func(c *kv.Config) { c.Driver, c.Redis.Addresses = "redis", nil }, "redis.addresses: must have an address"},
		{"no port", func(c *kv.Config) { c.Driver, c.Redis.Addresses = "redis", []string{"here"} }, `redis.addresses[0]: "here" is no address`},
		{"a database of a cluster", func(c *kv.Config) {
			c.Driver, c.Redis.Addresses, c.Redis.DB = "redis", []string{"a:1", "b:2"}, 3
		}, "redis.db: must be 0 or more, and a cluster has only 0"},
		{"sentinels without a master", func(c *kv.Config) { c.Driver, c.Redis.Mode = "redis", kv.RedisSentinel }, "redis.master: must be the name"},
		{"an unknown clear", func(c *kv.Config) { c.Driver, c.Redis.Clear = "redis", "all" }, `redis.clear: "all" is unknown`},
		{"no timeout", func(c *kv.Config) { c.Driver, c.Redis.ReadTimeout = "redis", 0 }, "redis.read_timeout: must be between"},
		{"a certificate without its key", func(c *kv.Config) { c.Driver, c.Redis.TLS = "redis", &kv.TLSConfig{Cert: "a"} }, "redis.tls: cert and key come together"},
		{"the other driver's section", func(c *kv.Config) { c.Redis.Wait = time.Second }, "redis: only a store with the driver redis has it"},
		{"memcached's, too", func(c *kv.Config) { c.Memcached.Wait = time.Second }, "memcached: only a store with the driver memcached has it"},
		{"flushdb of memcached", func(c *kv.Config) { c.Driver, c.Memcached.Clear = "memcached", kv.ClearFlushDB }, `memcached.clear: "flushdb" is unknown`},
	} {
		c := kv.DefaultConfig()
		test.change(&c)
		err := c.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
