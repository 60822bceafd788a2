package configschema

import "github.com/edge-server/edge/core/configfile"

// notes are what neither types nor comments say. TestEnumsAreThoseOfTheCode holds them beside the Validate methods.
var notes = map[string]configfile.Note{
	"version": one(1),

	"log.level":              one("debug", "info", "warn", "error"),
	"log.format":             one("auto", "console", "json", "roadrunner"),
	"log.output":             offer("stderr", "stdout"),
	"log.channels.*.level":   one("debug", "info", "warn", "error"),
	"log.channels":           say("The levels of parts of the log: server (PHP workers), http (requests too), rpc, service, app (what PHP logs by RPC), and others."),
	"admin":                  say("What `edge status`, `edge reload` and the like talk to: docs/admin.md."),
	"admin.listen":           offer("unix", "off", "127.0.0.1:9190"),
	"telemetry.metrics":      say("Opens a listener for Prometheus, beside the admin socket, which always answers /metrics."),
	"telemetry.health":       say("Answers GET /health, /ready and /jobs as RoadRunner's status plugin does."),
	"telemetry.traces":       say("Sends OpenTelemetry traces to a collector: docs/tracing.md."),
	"lock":                   say("The locks of lock.*, which every server with rpc has."),
	"php":                    say("Pools of PHP workers, by name."),
	"kv":                     say("Stores of keys and values, by name: docs/kv.md."),
	"plugins":                say("wasm plugins: docs/plugins/."),
	"rpc":                    say("What PHP calls: docs/rpc.md."),
	"ws":                     say("WebSockets: docs/websockets.md."),
	"http.listen":            say("Addresses, unix sockets and sockets of systemd that clients connect to."),
	"http.tls":               say("Where certificates come from: docs/tls.md. Without any key: one for localhost from a local CA (`edge trust`)."),
	"http.limits":            say("What a client may ask of the server."),
	"http.routes[].match":    say("What a request must have to take this route: all of it. Without it every request does."),
	"http.middleware[]":      offer("access-log", "compress", "headers", "request-id", "security-headers"),
	"http.routes[].use[]":    offer("access-log", "compress", "headers", "request-id", "security-headers"),
	"http.access_log.format": one("log", "common", "combined"),
	"http.access_log.output": offer("stdout", "stderr"),

	"telemetry.metrics.names":             one("edge", "roadrunner", "both"),
	"telemetry.metrics.collect.*.type":    one("counter", "gauge", "histogram", "summary"),
	"http.compress.encodings[]":           one("zstd", "br", "gzip"),
	"http.headers.cors.status":            one(200, 204),
	"http.tls.acme.challenges[]":          one("http-01", "tls-alpn-01"),
	"http.tls.client_auth.mode":           one("require", "verify-if-given", "request", "require-any"),
	"http.cache.*.cookies":                one("public", "ignore", "bypass"),
	"http.cache.*.set_cookie":             one("refuse", "strip", "store"),
	"http.concurrency.*.by":               offer("ip", "host", "all", "header:X-Api-Key"),
	"http.rate_limits.*.by":               offer("ip", "host", "all", "header:X-Api-Key"),
	"http.routes[].files.etag":            one("strong", "weak", "none"),
	"http.routes[].files.precompressed[]": one("zstd", "br", "gzip"),
	"http.routes[].redirect.status":       one(301, 302, 303, 307, 308),
	"http.routes[].respond.body":          say("The text of the answer."),
	"http.routes[].proxy.policy":          one("round_robin", "least_conn", "hash"),
	"http.routes[].proxy.hash":            offer("client", "path", "header:NAME", "cookie:NAME"),

	"php.*.codec":                 one("auto", "proto", "json"),
	"php.*.mode":                  one("worker", "classic"),
	"php.*.relay":                 one("pipes", "unix", "tcp"),
	"php.*.queue.fair":            one("route", "host", "none"),
	"plugins.modules.*.isolation": one("instance", "request"),
	"plugins.modules.*.on_error":  one("closed", "open", "bypass"),
	"services.*.restart":          one("always", "on-failure", "never"),
	"services.*.stop_signal":      one("TERM", "INT", "QUIT", "HUP", "USR1", "USR2"),
	"rpc.listen":                  offer("unix", "tcp://127.0.0.1:6001"),

	"kv.*.driver":          one("memory", "boltdb", "redis", "memcached", "wasm"),
	"kv.*.mode":            one("store", "cache"),
	"kv.*.boltdb.sync":     one("always", "interval", "never"),
	"kv.*.memcached.clear": one("prefix", "flush_all"),
	"kv.*.redis.clear":     one("prefix", "flushdb"),
	"kv.*.redis.mode":      one("auto", "single", "cluster", "sentinel"),
	"kv.*.redis.read_from": one("master", "replica", "nearest", "any"),

	"ws.limits.slow":                       one("drop-oldest", "drop-newest", "disconnect"),
	"ws.mercure.protocol":                  one(0, 1),
	"ws.broker.driver":                     one("memory", "redis", "nats"),
	"ws.broker.nats.storage":               one("memory", "file"),
	"ws.broker.redis.mode":                 one("auto", "single", "cluster", "sentinel"),
	"ws.pusher.apps.*.client_events":       one("private", "members", "off"),
	"ws.pusher.apps.*.webhooks[].events[]": one("channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss", "subscription_count"),

	"http.routes[]": {Extra: map[string]any{
		"if": map[string]any{"oneOf": targets("php", "wasm", "files", "proxy", "respond", "redirect", "ws")},
		// What no route is, so that editors say this and not what they say of oneOf.
		"else": map[string]any{"type": "boolean", "errorMessage": "A route needs exactly one target: php, wasm, files, proxy, respond, redirect or ws."},
	}},
}

func one(values ...any) configfile.Note      { return configfile.Note{Enum: values} }
func offer(values ...any) configfile.Note    { return configfile.Note{Offers: values} }
func say(description string) configfile.Note { return configfile.Note{Description: description} }

// targets asks for exactly one of the keys. A name that is empty counts as absent.
func targets(keys ...string) []any {
	var all []any
	for _, key := range keys {
		all = append(all, map[string]any{"required": []string{key}, "properties": map[string]any{key: map[string]any{"minLength": 1}}})
	}
	return all
}
