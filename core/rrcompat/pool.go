package rrcompat

import (
	"strings"
	"time"
)

// PoolName is what the pool of the http plugin is called in edge.yaml, and with it in `rr workers` and `rr reset`.
const PoolName = "http"

// Where RoadRunner has no limit, Edge has this one: every queue ends somewhere.
const unlimitedQueue = 10_000

// pool writes php.http: the server section, http.pool and what the http section says of PHP.
func (t *translation) pool(root part) {
	http, server := root.section("http"), root.section("server")
	if !http.present() {
		// Their keys are no mistakes; nothing uses them.
		take(server.vOrNew())
		return
	}
	pool, out := http.section("pool"), t.out.section("php").section(PoolName)

	command := server.command("command")
	t.from("php."+PoolName+".command", "server.command")
	if own := pool.command("command"); len(own) > 0 {
		command = own
		t.from("php."+PoolName+".command", "http.pool.command")
	}
	if len(command) == 0 {
		t.miss("server.command", "name the worker, such as -o server.command=php,worker.php")
	}
	out.set("command", command)
	if pool.boolean("debug", false) {
		out.set("debug", true)
	}
	t.workers(pool, out)
	t.relay(server, out)
	t.lifetimes(pool, out)
	t.queue(pool, out)
	t.account(server, out)
	t.environment(server, out)
	t.bodies(http, out)
	t.files(http, out)
	if status := http.integer("internal_error_code", 0); status != 0 {
		out.set("error_status", status)
	}
}

func (p part) vOrNew() *value {
	if p.v == nil {
		return &value{}
	}
	return p.v
}

// workers: RoadRunner has a fixed number and, with dynamic_allocator, more in times of need.
func (t *translation) workers(pool part, out document) {
	const maxWorkers = 500
	n := pool.integer("num_workers", 0)
	if n > maxWorkers {
		t.refuse(pool.entry("num_workers"), pool.path("num_workers"), "RoadRunner takes up to %d, got %d", maxWorkers, n)
	}
	if n == 0 {
		n = max(1, t.o.CPUs)
		t.note(pool.path("num_workers"), "0 is the number of processors, which is %d here", n)
	}
	most := n
	if dynamic := pool.section("dynamic_allocator"); dynamic.present() {
		most += min(max(1, dynamic.integer("max_workers", 10)), 100)
		dynamic.known("spawn_rate", "idle_timeout")
		t.note(dynamic.key, "Edge grows by one worker for each waiting request, within milliseconds, and shrinks one by one: there is no spawn_rate and no idle_timeout")
	}
	workers := out.section("workers")
	workers.set("min", n)
	workers.set("max", most)
	if n := pool.integer("max_jobs", 0); n > 0 {
		out.set("max_jobs", n)
	}
}

func (t *translation) relay(server part, out document) {
	relay := server.text("relay")
	switch scheme, _, _ := strings.Cut(relay, "://"); scheme {
	case "", "pipes":
	case "unix", "tcp":
		out.set("relay", scheme)
		t.note("server.relay", "Edge chooses the address of each worker's socket; workers find it in RR_RELAY")
	default:
		t.refuse(server.entry("relay"), "server.relay", "%q is not pipes, tcp://host:port or unix://file.sock", relay)
	}
	server.known("relay_timeout") // without meaning in RoadRunner, too
}

// lifetimes are the supervisor's bounds and the timeouts of the pool.
func (t *translation) lifetimes(pool part, out document) {
	supervisor := pool.section("supervisor")
	for _, key := range []string{"ttl", "idle_ttl"} {
		if d, ok := supervisor.duration(key); ok && d > 0 {
			out.set(key, d)
		}
	}
	if mb := supervisor.integer("max_worker_memory", 0); mb > 0 {
		out.set("max_memory", size(mb))
	}
	if d, _ := supervisor.duration("exec_ttl"); d > 0 {
		out.set("exec_timeout", d)
	} else {
		out.set("exec_timeout", time.Duration(0), "as RoadRunner without exec_ttl: no limit; 60s is wiser")
	}
	supervisor.known("watch_tick") // Edge looks at events
	boot, ok := pool.duration("allocate_timeout")
	if !ok || boot == 0 {
		boot = time.Minute
	}
	out.set("boot_timeout", boot)
	if d, ok := pool.duration("stream_timeout"); ok && d > 0 {
		out.set("stop_timeout", d)
	}
	t.idle(pool, "reset_timeout", "has no effect: a reset replaces one worker after the other, each with allocate_timeout to come up and stream_timeout to go")
	pool.known("destroy_timeout") // see shutdown
}

// queue: RoadRunner counts the requests that are executed, too, and bounds the wait by allocate_timeout.
func (t *translation) queue(pool part, out document) {
	queue := out.section("queue")
	workers := pool.integer("num_workers", 0)
	if workers == 0 {
		workers = max(1, t.o.CPUs)
	}
	if size := pool.integer("max_queue_size", 0); size > 0 {
		queue.set("max", max(1, size-workers))
		t.note(pool.path("max_queue_size"), "counts in RoadRunner the requests that are executed, too; queue.max of edge.yaml counts those that wait. Beyond it clients get 503 with Retry-After and not 500")
	} else {
		queue.set("max", unlimitedQueue)
	}
	wait, ok := pool.duration("allocate_timeout")
	if !ok || wait == 0 {
		wait = time.Minute
	}
	queue.set("timeout", wait)
}

// account: RoadRunner runs workers as itself.
func (t *translation) account(server part, out document) {
	if user := server.ref("user"); user != "" {
		out.set("user", user)
	}
	if group := server.text("group"); group != "" {
		t.note("server.group", "RoadRunner reads it and does nothing with it, and so it is left away: php.http.group of edge.yaml has an effect")
	}
}

// environment: RoadRunner writes names in capitals.
func (t *translation) environment(server part, out document) {
	var env [][2]string
	for _, pair := range server.pairs("env") {
		env = append(env, [2]string{strings.ToUpper(pair[0]), pair[1]})
	}
	if len(env) > 0 {
		out.set("env", dedupe(env))
	}
}

// dedupe keeps the last of each name.
func dedupe(pairs [][2]string) [][2]string {
	var kept [][2]string
	for i, pair := range pairs {
		last := true
		for _, later := range pairs[i+1:] {
			last = last && later[0] != pair[0]
		}
		if last {
			kept = append(kept, pair)
		}
	}
	return kept
}

// bodies is what http says of request bodies and uploads.
func (t *translation) bodies(http part, out document) {
	if http.boolean("raw_body", false) {
		out.section("body").set("raw", true)
	}
	uploads := http.section("uploads")
	if dir := uploads.ref("dir"); dir != "" {
		out.section("uploads").set("dir", dir)
	}
	for _, key := range []string{"forbid", "allow"} {
		if extensions := uploads.refs(key); len(extensions) > 0 {
			out.section("uploads").set(key, dotted(extensions))
		}
	}
}

// dotted adds the dot that RoadRunner wants, too, and forgives.
func dotted(extensions []string) []string {
	var all []string
	for _, e := range extensions {
		if !strings.HasPrefix(e, ".") && !strings.HasPrefix(e, "${") {
			e = "." + e
		}
		all = append(all, e)
	}
	return all
}

// files is the static middleware, and sendfile.
func (t *translation) files(http part, out document) {
	middleware, static := http.texts("middleware"), http.section("static")
	on := contains(middleware, "static")
	dir := static.ref("dir")
	switch {
	case on && dir != "":
		out.set("root", dir)
		t.staticRules(static, out.section("static"))
	case on:
		t.warn("http.static", "the middleware static is listed and http.static.dir is not set: no files are served")
	case dir != "":
		t.note("http.static", "has no effect in RoadRunner without static in http.middleware, and so it is left away")
	}
	static.known("forbid", "allow", "request", "response", "calculate_etag", "weak") // Edge always sends an ETag
	if contains(middleware, "sendfile") {
		out.section("sendfile").set("folders", []string{"/"}, "as RoadRunner: any file that workers may read; name your folders instead")
	}
}

// staticRules say which files are served. What Edge never serves need not be forbidden.
func (t *translation) staticRules(static part, out document) {
	var forbid []string
	for _, e := range dotted(static.refs("forbid")) {
		if e = strings.ToLower(e); e != ".php" && e != ".htaccess" && e != ".env" {
			forbid = append(forbid, e)
		}
	}
	if len(forbid) > 0 {
		out.set("forbid", forbid)
	}
	if allow := static.refs("allow"); len(allow) > 0 {
		out.set("allow", dotted(allow))
	}
	out.set("links", []string{"/"}, "as RoadRunner: wherever a link leads that workers may read; name your folders instead")
	for _, key := range []string{"request", "response"} {
		if static.has(key) {
			t.warn(static.path(key), "headers for static files only are not set: http.headers of edge.yaml sets them for all answers")
		}
	}
}

func contains(list []string, name string) bool {
	for _, item := range list {
		if strings.EqualFold(item, name) {
			return true
		}
	}
	return false
}
