package rrcompat

import (
	"net"
	"strings"
	"time"
)

func secondsOf(n int) time.Duration { return time.Duration(n) * time.Second }

// rpc is the way back. An address that others reach would let them run it: RPC has no password.
func (t *translation) rpc(root part) {
	rpc := root.section("rpc")
	if !rpc.present() {
		return
	}
	listen := rpc.ref("listen")
	if listen == "" {
		listen = defaultRPC
	}
	t.out.section("rpc").set("listen", t.loopback(listen))
}

// loopback turns tcp://0.0.0.0:6001, and any other address of TCP, into the one that workers of this machine reach.
func (t *translation) loopback(listen string) string {
	address, isTCP := strings.CutPrefix(listen, "tcp://")
	if !isTCP || strings.Contains(address, "${") {
		return listen
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return listen
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return listen
	}
	t.warn("rpc.listen", "%s can be reached from elsewhere, and RPC has no password: it listens on tcp://127.0.0.1:%s", listen, port)
	return "tcp://127.0.0.1:" + port
}

// stores are the kv section.
func (t *translation) stores(root part) {
	kv := root.section("kv")
	if !kv.present() {
		root.known("redis", "memcached", "boltdb")
		return
	}
	for _, e := range kv.v.entries {
		store := kv.section(e.name)
		driver := strings.ToLower(store.text("driver"))
		take(&e.value)
		if driver == "memory" {
			t.out.section("kv").section(e.name).set("driver", driver)
			continue
		}
		t.warn("kv."+e.name, "the driver %s is not in Edge yet (it comes with the KV work): the store is not there, and calls for it say \"no such storage\"", driver)
	}
	root.known("redis", "memcached", "boltdb")
}

// metrics is the listener for Prometheus.
func (t *translation) metrics(metrics part) {
	if !metrics.present() {
		return
	}
	address := metrics.ref("address")
	if address == "" {
		address = "127.0.0.1:2112"
	}
	t.out.section("telemetry").section("metrics").set("listen", strings.TrimPrefix(address, "tcp://"))
	t.note("metrics", "the names of Edge's metrics are its own (edge_*): dashboards for rr_* need new ones")
	if metrics.has("collect") {
		metrics.known("collect")
		t.warn("metrics.collect", "Edge does not collect the application's own metrics yet: calls of metrics.* fail")
	}
}

// status is the listener for health checks.
func (t *translation) status(status part) {
	if !status.present() {
		return
	}
	address := status.ref("address")
	if address == "" {
		t.refuse(nil, "status.address", "is missing: write 127.0.0.1:2114, or take status away")
		return
	}
	out := t.out.section("telemetry").section("health")
	out.set("listen", strings.TrimPrefix(address, "tcp://"))
	if code := status.integer("unavailable_status_code", 0); code != 0 && code != 503 {
		out.set("unavailable_status", code)
	}
	status.known("check_timeout") // Edge's checks read what it knows already
}
