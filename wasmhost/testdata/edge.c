// A guest that does what the URI says: /FUNCTION/ARGUMENT/ARGUMENT…, where a number is an i32 or i64 and anything else a text.
// The answer is the result, a space, and what a buffer got. Every edge namespace is in it.
typedef unsigned int u32;
typedef long long i64;
#define IMPORT(mod, fn) __attribute__((import_module(mod), import_name(#fn)))
#define EXPORT(fn) __attribute__((export_name(#fn)))

IMPORT("http_handler", get_uri) u32 get_uri(char *, u32);
IMPORT("http_handler", write_body) void write_body(u32, const char *, u32);
IMPORT("http_handler", set_status_code) void set_status_code(u32);
IMPORT("http_handler", get_header_values) i64 get_header_values(u32, const char *, u32, char *, u32);
IMPORT("http_handler", set_header_value) void set_header_value(u32, const char *, u32, const char *, u32);
IMPORT("http_handler", get_config) u32 get_config(char *, u32);

#define CORE "edge_core_v1"
IMPORT(CORE, abi) int core_abi(void);
IMPORT(CORE, has) int core_has(const char *, u32);
IMPORT(CORE, now_ms) i64 now_ms(void);
IMPORT(CORE, deadline_ms) i64 deadline_ms(void);
IMPORT(CORE, var_get) int var_get(const char *, u32, char *, u32);
IMPORT(CORE, var_set) int var_set(const char *, u32, const char *, u32);
IMPORT(CORE, last_error) int last_error(char *, u32);
IMPORT(CORE, set_error) int set_error(const char *, u32);
IMPORT(CORE, flush) int flush(void);

#ifdef KV
IMPORT("edge_kv_v1", open) int kv_use_open(const char *, u32);
IMPORT("edge_kv_v1", get) int kv_use_get(int, const char *, u32, char *, u32, void *);
IMPORT("edge_kv_v1", set) int kv_use_set(int, const char *, u32, const char *, u32, i64, u32, i64);
IMPORT("edge_kv_v1", delete) int kv_use_delete(int, const char *, u32, i64);
IMPORT("edge_kv_v1", expire) int kv_use_expire(int, const char *, u32, i64);
IMPORT("edge_kv_v1", incr) int kv_use_incr(int, const char *, u32, i64, i64, i64 *);
IMPORT("edge_kv_v1", batch) int kv_use_batch(int, const char *, u32, char *, u32);
IMPORT("edge_kv_v1", scan) int kv_use_scan(int, const char *, u32, const char *, u32, u32, char *, u32);
#endif

#ifdef NET
#define NETM "edge_net_v1"
IMPORT(NETM, tcp_dial) int tcp_dial(const char *, u32, u32, u32);
IMPORT(NETM, tcp_read) int tcp_read(int, char *, u32, u32);
IMPORT(NETM, tcp_write) int tcp_write(int, const char *, u32, u32);
IMPORT(NETM, tcp_close) int tcp_close(int);
IMPORT(NETM, http_do) int http_do(const char *, u32, const char *, u32, u32);
IMPORT(NETM, http_status) int http_status(int);
IMPORT(NETM, http_header) i64 http_header(int, const char *, u32, char *, u32);
IMPORT(NETM, http_read) i64 http_read(int, char *, u32);
IMPORT(NETM, http_close) int http_close(int);
#endif

#ifdef PHP
IMPORT("edge_php_v1", call) int php_call(const char *, u32, const char *, u32, const char *, u32, u32);
IMPORT("edge_php_v1", status) int php_status(int);
IMPORT("edge_php_v1", read) i64 php_read(int, char *, u32);
#endif

#ifdef WS
IMPORT("edge_ws_v1", send) int ws_send(i64, u32, const char *, u32);
IMPORT("edge_ws_v1", publish) int ws_publish(const char *, u32, u32, const char *, u32);
IMPORT("edge_ws_v1", subscribe) int ws_subscribe(i64, const char *, u32);
IMPORT("edge_ws_v1", close) int ws_disconnect(i64, u32, const char *, u32);
IMPORT("edge_ws_v1", user) int ws_user(i64, char *, u32);
IMPORT("edge_ws_v1", set_user) int ws_set_user(i64, const char *, u32);
IMPORT("edge_ws_v1", get) int ws_get(i64, const char *, u32, char *, u32);
IMPORT("edge_ws_v1", set) int ws_set(i64, const char *, u32, const char *, u32);
#endif

IMPORT("edge_metrics_v1", define) int metric_define(u32, const char *, u32);
IMPORT("edge_metrics_v1", add) int metric_add(int, i64);
IMPORT("edge_metrics_v1", set) int metric_set(int, i64);
IMPORT("edge_metrics_v1", observe) int metric_observe(int, i64);
IMPORT("edge_sched_v1", every) int every(u32);
IMPORT("edge_sched_v1", queue_push) int queue_push(const char *, u32);
IMPORT("edge_sched_v1", queue_pop) int queue_pop(char *, u32);

void *memset(void *p, int c, unsigned long n) { for (volatile char *b = p; n--;) *b++ = c; return p; }
static char uri[8192], out[65536], box[65536], number[24];
static char *arg[12];
static u32 len[12], args;

static u32 text_len(const char *s) { u32 n = 0; while (s[n]) n++; return n; }
static int is(const char *name) {
	u32 n = text_len(name);
	if (n != len[0]) return 0;
	for (u32 i = 0; i < n; i++) if (arg[0][i] != name[i]) return 0;
	return 1;
}
static i64 num(u32 n) {
	i64 v = 0; u32 i = 0; int minus = n < args && len[n] && arg[n][0] == '-';
	if (n >= args) return 0;
	for (i = minus; i < len[n]; i++) v = v * 10 + (arg[n][i] - '0');
	return minus ? -v : v;
}
static void say(i64 v, const char *data, i64 n) {
	char *p = number + sizeof number; int minus = v < 0; unsigned long long u = minus ? -(unsigned long long)v : v;
	*--p = ' ';
	do { *--p = '0' + u % 10; u /= 10; } while (u);
	if (minus) *--p = '-';
	write_body(1, p, number + sizeof number - p);
	if (n > 0 && n <= (i64)sizeof out) write_body(1, data, n);
}
static int hex(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }
static void split(void) {
	u32 n = get_uri(uri, sizeof uri - 1), w = 0;
	args = 0;
	for (u32 i = 1; i <= n && args < 12; i++) {
		if (i == 1) arg[0] = uri + 1, w = 1;
		if (i == n || uri[i] == '/') { len[args] = uri + w - arg[args]; args++; if (i < n) arg[args] = uri + i + 1, w = i + 1; continue; }
		if (uri[i] == '%') { uri[w++] = hex(uri[i + 1]) << 4 | hex(uri[i + 2]); i += 2; } else uri[w++] = uri[i];
	}
}
#define T(n) arg[n], len[n]

EXPORT(edge_mailbox) i64 edge_mailbox(u32 want) { return want > sizeof box ? 0 : (i64)(u32)box << 32 | sizeof box; }

EXPORT(edge_config) int edge_config(u32 n) {
	char text[16];
	if (get_config(text, sizeof text) == 3 && text[0] == 'b') { set_error("b is no config", 14); return -3; }
	return 0;
}

EXPORT(handle_request) i64 handle_request(void) {
	split();
	for (u32 i = args; i < 12; i++) arg[i] = uri, len[i] = 0;
	if (is("pass")) return 1;
	if (is("spell")) { var_set("user", 4, T(1)); return 1; }
	if (is("abi")) say(core_abi(), 0, 0);
	else if (is("has")) say(core_has(T(1)), 0, 0);
	else if (is("now")) say(now_ms(), 0, 0);
	else if (is("deadline")) say(deadline_ms(), 0, 0);
	else if (is("var_set")) say(var_set(T(1), T(2)), 0, 0);
	else if (is("var_get")) { int n = var_get(T(1), out, sizeof out); say(n, out, n); }
	else if (is("wild")) say(var_get((char *)0xfffffff0u, 64, out, sizeof out), 0, 0);
	else if (is("stream")) { write_body(1, "one ", 4); say(flush(), 0, 0); }
	else if (is("define")) say(metric_define(num(1), T(2)), 0, 0);
	else if (is("add")) say(metric_add(num(1), num(2)), 0, 0);
	else if (is("set")) say(metric_set(num(1), num(2)), 0, 0);
	else if (is("observe")) say(metric_observe(num(1), num(2)), 0, 0);
	else if (is("every")) say(every(num(1)), 0, 0);
	else if (is("push")) say(queue_push(T(1)), 0, 0);
	else if (is("pop")) { int n = queue_pop(out, args > 1 ? num(1) : sizeof out); say(n, out, n); }
#ifdef KV
	else if (is("kv_open")) say(kv_use_open(T(1)), 0, 0);
	else if (is("kv_get")) { i64 meta[2] = {0}; int n = kv_use_get(num(1), T(2), out, sizeof out, meta); say(meta[0], 0, 0); say(meta[1] != 0, 0, 0); say(n, out, n); }
	else if (is("kv_set")) say(kv_use_set(num(1), T(2), T(3), num(4), num(5), num(6)), 0, 0);
	else if (is("kv_cas")) { // what was read is replaced, unless it has changed meanwhile
		i64 meta[2] = {0}; kv_use_get(num(1), T(2), out, sizeof out, meta);
		say(kv_use_set(num(1), T(2), T(3), 0, 4, meta[1]), 0, 0);
		say(kv_use_set(num(1), T(2), T(3), 0, 4, meta[1]), 0, 0);
	}
	else if (is("kv_delete")) say(kv_use_delete(num(1), T(2), num(3)), 0, 0);
	else if (is("kv_expire")) say(kv_use_expire(num(1), T(2), num(3)), 0, 0);
	else if (is("kv_incr")) { i64 v = 0; int rc = kv_use_incr(num(1), T(2), num(3), num(4), &v); say(rc, 0, 0); say(v, 0, 0); }
	else if (is("kv_scan")) say(kv_use_scan(num(1), T(2), 0, 0, 10, out, sizeof out), 0, 0);
	else if (is("kv_batch")) { // get, incr and get of what is not there, in one call
		char *p = box; u32 ops[3] = {1, 4, 1};
		for (int i = 0; i < 3; i++) {
			u32 head[8] = {ops[i], len[2 + i], ops[i] == 4 ? 8 : 0, 0, 0, 0, 0, 0}; i64 delta = 5;
			__builtin_memcpy(p, head, 32); p += 32;
			for (u32 k = 0; k < len[2 + i]; k++) *p++ = arg[2 + i][k];
			if (ops[i] == 4) { __builtin_memcpy(p, &delta, 8); p += 8; }
		}
		int n = kv_use_batch(num(1), box, p - box, out, sizeof out);
		if (n < 0) say(n, 0, 0);
		else for (u32 i = 0; i < *(u32 *)out; i++) {
			u32 *r = (u32 *)(out + 8 + 40 * i);
			say((int)r[0], (char *)r[6], ops[i] == 4 ? 0 : r[7]);
			if (ops[i] == 4) { i64 v; __builtin_memcpy(&v, (char *)r[6], 8); say(v, 0, 0); }
		}
	}
#endif
#ifdef NET
	else if (is("dial")) say(tcp_dial(T(1), num(2), num(3)), 0, 0);
	else if (is("echo")) { // dial, write, read
		int h = tcp_dial(T(1), 0, 0); say(h > 0 ? 0 : h, 0, 0);
		if (h > 0) { say(tcp_write(h, T(2), 0), 0, 0); int n = tcp_read(h, out, sizeof out, num(3)); say(n, out, n); say(tcp_close(h), 0, 0); say(tcp_close(h), 0, 0); }
	}
	else if (is("http")) {
		int h = http_do(T(1), T(2), num(3)); say(h > 0 ? http_status(h) : h, 0, 0);
		if (h > 0) { i64 n = http_header(h, "x-kind", 6, out, sizeof out); say(n >> 32, out, (u32)n ? (u32)n - 1 : 0); n = http_read(h, out, sizeof out); say(n >> 32, out, n < 0 ? 0 : (u32)n); say(http_close(h), 0, 0); }
	}
	else if (is("hoard")) { int h = 0; for (int i = 0; i < 70 && h >= 0; i++) h = tcp_dial(T(1), 0, 0); say(h, 0, 0); }
#endif
#ifdef PHP
	else if (is("php")) {
		int h = php_call(T(1), T(2), T(3), num(4)); say(h > 0 ? php_status(h) : h, 0, 0);
		if (h > 0) { i64 n = php_read(h, out, sizeof out); say(n >> 32, out, (u32)n); }
	}
#endif
#ifdef WS
	else if (is("publish")) say(ws_publish(T(1), num(2), T(3)), 0, 0);
#endif
	else say(-99, 0, 0);
	if (args && arg[args - 1][0] == '!') { int n = last_error(out, sizeof out); write_body(1, out, n); }
	return 0;
}
EXPORT(handle_response) void handle_response(u32 ctx, u32 err) {}

#ifdef WS
EXPORT(ws_open) int ws_open(i64 conn) {
	split();
	if (is("no")) return 403;
	if (is("odd")) return 5;
	if (is("trap")) __builtin_trap();
	ws_subscribe(conn, "room.1", 6);
	return 0;
}
EXPORT(ws_message) int ws_message(i64 conn, u32 kind, u32 n) {
	if (n && box[0] == 'Q') return 4000;
	if (n && box[0] == 'X') return ws_disconnect(conn, 1001, "bye", 3) ? 1011 : 0;
	if (n && box[0] == 'B') return 7;
	if (n && box[0] == 'N') return 1005;
	if (n && box[0] == 'M') return -5;
	if (n && box[0] == 'T') __builtin_trap();
	if (n && box[0] == '?') { /* who is it, and in which role */
		int user = ws_user(conn, out, 64), role = user < 0 ? user : ws_get(conn, "role", 4, out + user, 64);
		return ws_send(conn, 1, out, role < 0 ? user : user + role);
	}
	if (n && box[0] == '=') return ws_set_user(conn, "eve", 3) | ws_set(conn, "role", 4, box + 1, n - 1) ? 1011 : 0;
	return ws_send(conn, kind, box, n) ? 1011 : ws_publish("room.1", 6, kind, box, n) ? 1011 : 0;
}
EXPORT(ws_close) void ws_close(i64 conn, u32 code) { queue_push("closed", 6); }
#endif
#ifdef CRON
static int ticks;
EXPORT(_initialize) void _initialize(void) { every(100); }
EXPORT(tick) void tick(i64 now) { char t = 't'; ticks++; queue_push(&t, 1); }
#endif
#ifdef ROUTE
IMPORT("edge_route_v1", to) int route_to(const char *, u32);
IMPORT("edge_route_v1", pool) int route_pool(const char *, u32);
IMPORT("edge_route_v1", rewrite) int route_rewrite(const char *, u32);
IMPORT("edge_route_v1", redirect) int route_redirect(u32, const char *, u32);
IMPORT("edge_route_v1", status) int route_status(u32);
IMPORT("edge_route_v1", cache) int route_cache(const char *, u32, u32);
EXPORT(route) int route(void) {
	int rc = 0, made = 1;
	split();
	for (u32 i = args; i < 12; i++) arg[i] = uri, len[i] = 0;
	if (is("to")) rc = route_to(T(1));
	else if (is("pool")) rc = route_pool(T(1));
	else if (is("rewrite")) { rc = route_rewrite("/rewritten?x=1", 14); made = 0; }
	else if (is("redirect")) rc = route_redirect(302, "https://elsewhere.example/", 26);
	else if (is("status")) rc = route_status(num(1));
	else if (is("counted")) { metric_add(metric_define(0, "routed", 6), 1); rc = route_status(202) | route_cache("path,cookie:ab", 14, 60000); }
	else if (is("header")) { set_header_value(1, "x-router", 8, "yes", 3); set_header_value(0, "x-to-route", 10, "seen", 4); made = 0; }
	else if (is("trap")) __builtin_trap();
	else if (is("nothing")) return 1;
	else if (is("odd")) return 7;
	else if (is("kept")) rc = route_to(T(1)) | route_cache("path", 4, 3600000);
	else if (is("host")) { set_header_value(0, "host", 4, "other.example", 13); made = 0; }
	else if (is("why")) { set_error("the store is away", 17); return -1; }
	else return 0;
	return rc ? route_status(418) | 1 : made;
}
#endif
