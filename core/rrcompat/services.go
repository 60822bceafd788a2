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
	t.warn("rpc.listen", "%s can be reached from elsewhere, and RPC has no password: it listens on tcp://127.0.0.1:%s. Edge's own configuration has rpc.secret for that", listen, port)
	return "tcp://127.0.0.1:" + port
}

// status is the listener for health checks.
func (t *translation) status(status part) {
	if !status.present() {
		return
	}
	address := status.ref("address")
	if address == "" {
		t.miss("status.address", "write 127.0.0.1:2114, or take status away")
		return
	}
	out := t.out.section("telemetry").section("health")
	out.set("listen", strings.TrimPrefix(address, "tcp://"))
	if code := status.integer("unavailable_status_code", 0); code != 0 && code != 503 {
		out.set("unavailable_status", code)
	}
	t.idle(status, "check_timeout", "has no effect: the checks read what the server knows already, and answer at once")
}
