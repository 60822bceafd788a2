package rrcompat

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStores(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ yaml, want, notes string }{
		"memory": {
			"kv: {a: {driver: memory, config: {interval: 60}}}",
			"kv:\n  a:\n    driver: memory\n",
			"kv.a: holds up to max_size",
		},
		"boltdb with nothing said": {
			"kv: {a: {driver: boltdb, config: {}}}",
			"kv:\n  a:\n    driver: boltdb\n    boltdb:\n      file: rr.db\n      bucket: default\n" +
				"      sync: always # as RoadRunner does it; interval is faster, and loses the last 50ms in a crash\n",
			"kv.a: reads the values that RoadRunner wrote",
		},
		"boltdb": {
			"kv: {a: {driver: boltdb, config: {file: /var/my.db, permissions: 0640, interval: 30}}}",
			"kv:\n  a:\n    driver: boltdb\n    boltdb:\n      file: /var/my.db\n      bucket: default\n" +
				"      sync: always # as RoadRunner does it; interval is faster, and loses the last 50ms in a crash\n" +
				"      permissions: \"0640\"\n      sweep_interval: 30s\n",
			"",
		},
		"settings in a section at the top": {
			"kv: {fast: {driver: memcached}}\nfast: {addr: ['a:1', 'b:2']}",
			"kv:\n  fast:\n    driver: memcached\n    memcached:\n      addresses: ['a:1', 'b:2']\n",
			"kv.fast: tells the deadline",
		},
		"memcached without settings": {
			"kv: {m: {driver: memcached}}", "kv:\n  m:\n    driver: memcached\n", "kv.m.config: is missing, upon which RoadRunner leaves the store out",
		},
		"redis": {
			`kv: {r: {driver: redis, config: {addrs: ["a:1", "b:2"], db: 3, username: u, password: "p", master_name: m, sentinel_password: s,
  route_by_latency: true, route_randomly: true, max_retries: -1, dial_timeout: 5s, min_retry_backoff: 8ms, max_retry_backoff: 1s, pool_size: 7,
  min_idle_conns: 2, max_conn_age: 1h, read_timeout: 3s, write_timeout: 4s, pool_timeout: 6s, idle_timeout: 5m, idle_check_freq: 1m, read_only: false,
  tls: {key: k.pem, cert: c.pem, root_ca: ca.pem, client_auth_type: no_client_cert}}}}`,
			`kv:
  r:
    driver: redis
    redis:
      addresses: ['a:1', 'b:2']
      username: u
      password: p
      master: m
      sentinel_password: s
      db: 3
      pool_size: 7
      min_idle: 2
      retries: 0
      read_from: nearest
      dial_timeout: 5s
      read_timeout: 3s
      write_timeout: 4s
      pool_timeout: 6s
      max_lifetime: 1h
      max_idle_time: 5m
      min_backoff: 8ms
      max_backoff: 1s
      tls:
        ca: ca.pem
        cert: c.pem
        key: k.pem
      clear: flushdb # as RoadRunner does it: the whole database, with everybody's keys; prefix and clear: prefix keep to this store's
`,
			"kv.r.config.tls.client_auth_type: has no effect",
		},
		"redis with nothing said": {
			"kv: {r: {driver: redis, config: {read_only: true}}}",
			"kv:\n  r:\n    driver: redis\n    redis:\n      clear: flushdb # as RoadRunner does it: the whole database, with everybody's keys; prefix and clear: prefix keep to this store's\n",
			"kv.r.config.read_only: has no effect: a single server has no replicas",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := translate("server: {command: php w.php}\n"+tt.yaml, false)
			if err != nil {
				t.Fatal(err)
			}
			_, got, found := strings.Cut("\n"+yamlOf(r), "\nkv:\n")
			if got = "kv:\n" + got; !found {
				t.Fatalf("there is no kv section in\n%s", yamlOf(r))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("kv (-want +got):\n%s", diff)
			}
			var said []string
			for _, f := range r.Findings {
				said = append(said, f.String())
				if f.Warning && f.Key != "http" {
					t.Errorf("a warning: %s", f)
				}
			}
			if all := strings.Join(said, "\n"); !strings.Contains(all, tt.notes) {
				t.Errorf("there is no %q in\n%s", tt.notes, all)
			}
		})
	}
	for _, yaml := range []string{"kv: {a: {config: {}}}", "kv: {a: }"} {
		if _, err := translate("server: {command: php w.php}\n"+yaml, false); err == nil || !strings.Contains(err.Error(), "kv.a: has no driver") {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}
