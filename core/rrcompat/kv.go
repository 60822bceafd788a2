package rrcompat

import (
	"fmt"
	"strings"
	"time"
)

// stores are the kv section. A store's settings are in its config, or in a section at the top that has the store's name.
func (t *translation) stores(root part) {
	kv := root.section("kv")
	if kv.present() {
		for _, e := range kv.v.entries {
			t.store(root, kv.section(e.name), e)
		}
	}
	root.known("redis", "memcached", "boltdb") // of jobs, or nobody's
}

func (t *translation) store(root, store part, e *entry) {
	if !store.present() {
		t.refuse(e, "kv."+e.name, "has no driver: write driver: memory, boltdb, redis or memcached")
		return
	}
	driver := strings.ToLower(store.text("driver"))
	cfg := store.section("config")
	if !cfg.present() && root.v.find(e.name) != nil {
		cfg = root.section(e.name)
	}
	translate := map[string]func(part, document, string){
		"memory": t.memoryStore, "boltdb": t.boltStore, "redis": t.redisStore, "memcached": t.memcachedStore,
	}[driver]
	switch {
	case driver == "":
		t.refuse(e, "kv."+e.name, "has no driver: write driver: memory, boltdb, redis or memcached")
	case translate == nil:
		take(&e.value)
		t.warn("kv."+e.name, "Edge has no driver %s: the store is not there, and calls for it say \"no such storage\"; a driver of your own can be a plugin (driver: wasm)", driver)
	default:
		if !cfg.present() && driver != "memory" {
			t.note("kv."+e.name+".config", "is missing, upon which RoadRunner leaves the store out; in Edge it is there, with the defaults of its driver")
		}
		out := t.out.section("kv").section(e.name)
		out.set("driver", driver)
		translate(cfg, out, "kv."+e.name)
	}
}

func (t *translation) memoryStore(cfg part, _ document, key string) {
	cfg.known("interval") // RoadRunner does not read it either
	t.note(key, "holds up to max_size, 256MiB, and refuses what is beyond it; RoadRunner has no bound")
}

// boltStore keeps what RoadRunner promises: every write is on the disk before it is acknowledged.
func (t *translation) boltStore(cfg part, out document, key string) {
	bolt := out.section("boltdb")
	file := cfg.ref("file")
	if file == "" {
		file = "rr.db"
	}
	bolt.set("file", file)
	bolt.set("bucket", "default")
	bolt.set("sync", "always", "as RoadRunner does it; interval is faster, and loses the last 50ms in a crash")
	if mode := cfg.integer("permissions", 0); mode&0o600 == 0o600 && mode <= 0o777 {
		bolt.set("permissions", fmt.Sprintf("%04o", mode))
	} else if mode != 0 {
		t.warn(cfg.path("permissions"), "%d is %04o, with which Edge could not read its own file: the file is created with 0600 (write the octal number with a leading 0)", mode, mode)
	}
	if seconds := cfg.integer("interval", 0); seconds > 0 {
		bolt.set("sweep_interval", secondsOf(seconds))
	}
	t.note(key, "reads the values that RoadRunner wrote; those that Edge writes RoadRunner cannot read. Deadlines survive a restart and hold to the millisecond; "+
		"those of values that RoadRunner wrote ended with it. The file is bounded by boltdb.max_file_size, 4GiB")
}

func (t *translation) redisStore(cfg part, out document, key string) {
	redis := out.section("redis")
	addresses := cfg.refs("addrs")
	if len(addresses) > 0 {
		redis.set("addresses", addresses)
	}
	master := cfg.ref("master_name")
	for _, k := range [][2]string{{"username", "username"}, {"password", "password"}, {"master_name", "master"}, {"sentinel_password", "sentinel_password"}} {
		if text := cfg.ref(k[0]); text != "" {
			redis.set(k[1], text)
		}
	}
	for _, k := range [][2]string{{"db", "db"}, {"pool_size", "pool_size"}, {"min_idle_conns", "min_idle"}} {
		if n := cfg.integer(k[0], 0); n > 0 {
			redis.set(k[1], n)
		}
	}
	t.redisRetries(cfg, redis)
	t.readFrom(cfg, redis, len(addresses) > 1 || master != "")
	for _, k := range [][2]string{
		{"dial_timeout", "dial_timeout"}, {"read_timeout", "read_timeout"}, {"write_timeout", "write_timeout"}, {"pool_timeout", "pool_timeout"},
		{"max_conn_age", "max_lifetime"}, {"idle_timeout", "max_idle_time"}, {"min_retry_backoff", "min_backoff"}, {"max_retry_backoff", "max_backoff"},
	} {
		t.span(cfg, redis, k[0], k[1])
	}
	if cfg.has("idle_check_freq") {
		t.note(cfg.path("idle_check_freq"), "has no effect: idle connections are looked at when they are used")
	}
	t.storeTLS(cfg.section("tls"), redis)
	redis.set("clear", "flushdb", "as RoadRunner does it: the whole database, with everybody's keys; prefix and clear: prefix keep to this store's")
	t.note(key, "a deadline in the past removes a key, and those of keys that live are told in UTC; RoadRunner stores the key for ever, and tells local time")
}

// redisRetries is max_retries; the text of a negative number means none.
func (t *translation) redisRetries(cfg part, redis document) {
	if text := cfg.text("max_retries"); strings.HasPrefix(text, "-") {
		redis.set("retries", 0)
	} else if n := cfg.integer("max_retries", 0); n > 0 {
		redis.set("retries", n)
	}
}

// readFrom is where a cluster, or sentinels, are asked for a value.
func (t *translation) readFrom(cfg part, redis document, several bool) {
	for _, k := range [][2]string{{"route_by_latency", "nearest"}, {"route_randomly", "any"}, {"read_only", "replica"}} {
		if !cfg.boolean(k[0], false) {
			continue
		}
		if !several {
			t.note(cfg.path(k[0]), "has no effect: a single server has no replicas")
			continue
		}
		redis.set("read_from", k[1])
		several = false // the first one wins
	}
}

// span is a duration that Edge takes between a millisecond and ten minutes; 0 is its default.
func (t *translation) span(cfg part, out document, from, to string) {
	d, ok := cfg.duration(from)
	if !ok || d == 0 {
		return
	}
	if limited := strings.HasSuffix(to, "timeout") || strings.HasSuffix(to, "backoff"); limited && (d < time.Millisecond || d > 10*time.Minute) {
		t.warn(cfg.path(from), "%s is not between 1ms and 10m: Edge's own value holds", d)
		return
	}
	out.set(to, d)
}

func (t *translation) storeTLS(tls part, out document) {
	if !tls.present() {
		return
	}
	section := out.section("tls")
	for _, k := range [][2]string{{"root_ca", "ca"}, {"cert", "cert"}, {"key", "key"}} {
		if text := tls.ref(k[0]); text != "" {
			section.set(k[1], text)
		}
	}
	if tls.has("client_auth_type") {
		t.note(tls.path("client_auth_type"), "has no effect: it is a setting of servers, and this is a client; the server's certificate is always verified")
	}
}

func (t *translation) memcachedStore(cfg part, out document, key string) {
	addresses := cfg.refs("addr")
	if len(addresses) > 0 {
		out.section("memcached").set("addresses", addresses)
	}
	t.note(key, "tells the deadline of a key, which RoadRunner refuses; a deadline or an expiry of a key that is not there is no error")
}
