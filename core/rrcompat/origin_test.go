package rrcompat

import (
	"strings"
	"testing"
)

// TestOrigin: what is wrong with the edge.yaml that was made is told in the words of the file that the user wrote.
func TestOrigin(t *testing.T) {
	t.Parallel()
	c, err := Parse(Source{Name: ".rr.yaml", Lookup: variables, Overrides: []string{"http.pool.max_jobs=5"}, Text: []byte(`version: "3"
server:
  command: php w.php
  env: {A: b}
HTTP:
  ssl: {address: ":443", cert: c, key: k}
  pool:
    supervisor: {exec_ttl: 3s}
kv:
  a: {driver: redis, config: {addrs: [b]}}
  c: {driver: memcached}
c: {addr: x}
metrics: {collect: {Orders: {type: counter}}}
`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Translate(Options{}); err != nil {
		t.Fatal(err)
	}
	for edge, want := range map[string]string{
		"http.listen[0].address":                ".rr.yaml:6: http.ssl.address",
		"http.tls.cert":                         ".rr.yaml:6: http.ssl.cert",
		"http.limits.body":                      ".rr.yaml:5: http.max_request_size",
		"php.http.command":                      ".rr.yaml:3: server.command",
		"php.http.env.A":                        ".rr.yaml:4: server.env.A",
		"php.http.exec_timeout":                 ".rr.yaml:8: http.pool.supervisor.exec_ttl",
		"php.http.max_jobs":                     "-o http.pool.max_jobs: http.pool.max_jobs",
		"kv.a.redis.addresses[0]":               ".rr.yaml:10: kv.a.config.addrs[0]",
		"kv.c.memcached.addresses[0]":           ".rr.yaml:12: c.addr[0]",
		"telemetry.metrics.collect.orders.type": ".rr.yaml:13: metrics.collect.orders.type",
		"telemetry.health.listen":               ".rr.yaml: status.address",
		"version":                               ".rr.yaml:1: version",
	} {
		if key, at := c.Origin(edge); at+": "+key != want {
			t.Errorf("%s: got %s: %s, want %s", edge, at, key, want)
		}
	}
}

// TestAMisspeltKeyIsNamed when the one that it should be is missing: warnings are not seen when nothing starts.
func TestAMisspeltKeyIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ yaml, override, want string }{
		{"http: {address: 'a:1'}", "server.comand=php,w.php", "\n-o server.comand: RoadRunner has no such key"},
		{"http: {address: 'a:1'}\nsrever: {command: a}", "a.b=c", "\n.rr.yaml:2: srever: RoadRunner has no such key"},
		{"server: {command: php w.php}\nhttp: {adress: 'a:1'}", "a.b=c", "\n.rr.yaml:2: http.adress: RoadRunner has no such key"},
	} {
		_, err := translate(tt.yaml, false, tt.override)
		if err == nil || strings.Count("\n"+err.Error(), tt.want) != 1 || !strings.Contains(err.Error(), "is missing") {
			t.Errorf("%s: got %v, want %q once", tt.yaml, err, tt.want)
		}
	}
	if _, err := translate("http: {address: 'a:1'}\nkv: {a: {driver: redis}}\na: {addrs: [b]}", false); err == nil || strings.Contains(err.Error(), "no such key") {
		t.Errorf("the section of a store: %v", err)
	}
}
