package rrcompat

import "strings"

// made says of which key of RoadRunner a key of edge.yaml is made; what stands below one stands below the other. Where there are
// several, the first that is set counts.
var made = []struct{ edge, roadRunner string }{
	{"shutdown_timeout", "http.pool.destroy_timeout endure.grace_period"},
	{"log", "logs"},
	{"http.tls.cert", "http.ssl.cert http.http3.cert"},
	{"http.tls.key", "http.ssl.key http.http3.key"},
	{"http.tls.client_auth", "http.ssl.client_auth_type"},
	{"http.tls", "http.ssl"},
	{"http.limits.body", "http.max_request_size"},
	{"http.limits.streams", "http.http2.max_concurrent_streams"},
	{"http.headers.cors.origins", "http.headers.cors.allowed_origin"},
	{"http.headers.cors.origin_regex", "http.headers.cors.allowed_origin_regex"},
	{"http.headers.cors.methods", "http.headers.cors.allowed_methods"},
	{"http.headers.cors.headers", "http.headers.cors.allowed_headers"},
	{"http.headers.cors.exposed", "http.headers.cors.exposed_headers"},
	{"http.headers.cors.credentials", "http.headers.cors.allow_credentials"},
	{"http.headers.cors.status", "http.headers.cors.options_success_status"},
	{"http.forwarded.proxies", "http.trusted_subnets"},
	{"http.forwarded.headers", "http.trusted_headers"},
	{"php.http.workers.max", "http.pool.dynamic_allocator.max_workers http.pool.num_workers"},
	{"php.http.workers", "http.pool.num_workers"},
	{"php.http.max_jobs", "http.pool.max_jobs"},
	{"php.http.debug", "http.pool.debug"},
	{"php.http.relay", "server.relay"},
	{"php.http.ttl", "http.pool.supervisor.ttl"},
	{"php.http.idle_ttl", "http.pool.supervisor.idle_ttl"},
	{"php.http.max_memory", "http.pool.supervisor.max_worker_memory"},
	{"php.http.exec_timeout", "http.pool.supervisor.exec_ttl"},
	{"php.http.boot_timeout", "http.pool.allocate_timeout"},
	{"php.http.stop_timeout", "http.pool.stream_timeout"},
	{"php.http.queue.max", "http.pool.max_queue_size"},
	{"php.http.queue", "http.pool.allocate_timeout"},
	{"php.http.user", "server.user"},
	{"php.http.dir", "server.user"}, // who must get into the folder
	{"php.http.env", "server.env"},
	{"php.http.body.raw", "http.raw_body"},
	{"php.http.uploads", "http.uploads"},
	{"php.http.root", "http.static.dir"},
	{"php.http.static", "http.static"},
	{"php.http.sendfile", "http.middleware"},
	{"php.http.error_status", "http.internal_error_code"},
	{"php.http", "http.pool"},
	{"telemetry.metrics.listen", "metrics.address"},
	{"telemetry.metrics", "metrics"},
	{"telemetry.health.listen", "status.address"},
	{"telemetry.health.unavailable_status", "status.unavailable_status_code"},
	{"telemetry.health", "status"},
	{"telemetry.traces", "otel"},
	{"services", "service"},
}

// inStore are the keys of a store whose names differ.
var inStore = map[string]string{
	"addresses": "addrs addr", "master": "master_name", "retries": "max_retries", "min_idle": "min_idle_conns",
	"max_lifetime": "max_conn_age", "max_idle_time": "idle_timeout", "sweep_interval": "interval",
	"min_backoff": "min_retry_backoff", "max_backoff": "max_retry_backoff",
}

// Origin says what the user wrote for a key of the edge.yaml that the last Translate made: RoadRunner's key, and where it stands,
// such as .rr.yaml:12 or -o http.address. at names the file alone when the key, or the section it would be in, is not there.
func (c *Config) Origin(edge string) (key, at string) {
	candidates := c.candidates(edge)
	for _, key := range candidates {
		if e, whole := c.locate(key); whole {
			return key, e.at
		}
	}
	key = candidates[0]
	if e, _ := c.locate(key); e != nil && !strings.HasPrefix(e.at, "-o ") {
		return key, e.at
	}
	return key, c.name
}

// candidates are the keys that may be meant, at least one.
func (c *Config) candidates(edge string) []string {
	for from := edge; from != ""; from = from[:max(0, strings.LastIndexAny(from, ".["))] {
		if key, ok := c.origins[from]; ok {
			return []string{key}
		}
	}
	for _, m := range made {
		if rest, ok := strings.CutPrefix(edge, m.edge); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			var keys []string
			for _, key := range strings.Fields(m.roadRunner) {
				keys = append(keys, key+rest)
			}
			return keys
		}
	}
	if names := strings.Split(edge, "."); len(names) > 3 && names[0] == "kv" { // kv.NAME.redis.addresses[0]
		return c.storeKeys(names[1], names[3:])
	}
	return []string{edge}
}

// storeKeys are those of a setting of a store, which are in its config or in a section at the top.
func (c *Config) storeKeys(store string, names []string) []string {
	first, index, indexed := strings.Cut(names[0], "[")
	if indexed {
		index = "[" + index
	}
	if other, ok := inStore[first]; ok {
		first = other
	}
	var keys []string
	for _, section := range []string{"kv." + store + ".config.", store + "."} {
		for _, name := range strings.Fields(first) {
			keys = append(keys, section+strings.Join(append([]string{name + index}, names[1:]...), "."))
		}
	}
	return keys
}

// locate returns the entry of a key and true, or that of the nearest section around it.
func (c *Config) locate(key string) (nearest *entry, whole bool) {
	v := &c.root
	for key != "" {
		name, rest, _ := strings.Cut(key, ".")
		name, _, _ = strings.Cut(name, "[")
		e := v.find(name)
		if e == nil {
			return nearest, false
		}
		nearest, v, key = e, &e.value, rest
	}
	return nearest, nearest != nil
}
