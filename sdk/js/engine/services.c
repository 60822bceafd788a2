// The host's own namespaces for edge.js, and the exports of the kinds that are not middleware.
//
// edge.js has what a programmer sees. Here are the functions below it: they take and give plain values, and an error of the host as
// its negative number.

#include <stdlib.h>

#include "engine.h"

HOST("edge_core_v1", "has") int32_t core_has(const char *name, uint32_t len);
HOST("edge_core_v1", "now_ms") int64_t core_now_ms(void);
HOST("edge_core_v1", "deadline_ms") int64_t core_deadline_ms(void);
HOST("edge_core_v1", "var_get") int32_t core_var_get(const char *name, uint32_t len, void *buf, uint32_t limit);
HOST("edge_core_v1", "var_set") int32_t core_var_set(const char *name, uint32_t len, const char *value, uint32_t value_len);
HOST("edge_core_v1", "last_error") int32_t core_last_error(void *buf, uint32_t limit);
HOST("edge_core_v1", "set_error") int32_t core_set_error(const char *text, uint32_t len);
HOST("edge_core_v1", "flush") int32_t core_flush(void);

HOST("edge_kv_v1", "open") int32_t use_open(const char *store, uint32_t len);
HOST("edge_kv_v1", "get") int32_t use_get(int32_t h, const char *key, uint32_t len, void *buf, uint32_t limit, void *meta);
HOST("edge_kv_v1", "set") int32_t use_set(int32_t h, const char *key, uint32_t len, const char *value, uint32_t value_len, int64_t ttl, uint32_t flags, int64_t version);
HOST("edge_kv_v1", "delete") int32_t use_delete(int32_t h, const char *key, uint32_t len, int64_t version);
HOST("edge_kv_v1", "expire") int32_t use_expire(int32_t h, const char *key, uint32_t len, int64_t ttl);
HOST("edge_kv_v1", "incr") int32_t use_incr(int32_t h, const char *key, uint32_t len, int64_t delta, int64_t ttl, int64_t *out);
HOST("edge_kv_v1", "batch") int32_t use_batch(int32_t h, const char *ops, uint32_t len, void *buf, uint32_t limit);
HOST("edge_kv_v1", "scan") int32_t use_scan(int32_t h, const char *prefix, uint32_t len, const char *cursor, uint32_t cursor_len, uint32_t max, void *buf, uint32_t limit);

HOST("edge_net_v1", "tcp_dial") int32_t net_tcp_dial(const char *address, uint32_t len, uint32_t flags, uint32_t timeout);
HOST("edge_net_v1", "tcp_read") int32_t net_tcp_read(int32_t h, void *buf, uint32_t limit, uint32_t timeout);
HOST("edge_net_v1", "tcp_write") int32_t net_tcp_write(int32_t h, const char *data, uint32_t len, uint32_t timeout);
HOST("edge_net_v1", "tcp_close") int32_t net_tcp_close(int32_t h);
HOST("edge_net_v1", "http_do") int32_t net_http_do(const char *head, uint32_t len, const char *body, uint32_t body_len, uint32_t timeout);
HOST("edge_net_v1", "http_status") int32_t net_http_status(int32_t h);
HOST("edge_net_v1", "http_header") int64_t net_http_header(int32_t h, const char *name, uint32_t len, void *buf, uint32_t limit);
HOST("edge_net_v1", "http_header_names") int64_t net_http_header_names(int32_t h, void *buf, uint32_t limit);
HOST("edge_net_v1", "http_read") int64_t net_http_read(int32_t h, void *buf, uint32_t limit);
HOST("edge_net_v1", "http_close") int32_t net_http_close(int32_t h);

HOST("edge_php_v1", "call") int32_t php_call(const char *pool, uint32_t pool_len, const char *head, uint32_t len, const char *body, uint32_t body_len, uint32_t timeout);
HOST("edge_php_v1", "status") int32_t php_status(int32_t h);
HOST("edge_php_v1", "header") int64_t php_header(int32_t h, const char *name, uint32_t len, void *buf, uint32_t limit);
HOST("edge_php_v1", "header_names") int64_t php_header_names(int32_t h, void *buf, uint32_t limit);
HOST("edge_php_v1", "read") int64_t php_read(int32_t h, void *buf, uint32_t limit);
HOST("edge_php_v1", "close") int32_t php_close(int32_t h);

HOST("edge_ws_v1", "send") int32_t ws_send(int64_t conn, uint32_t kind, const char *data, uint32_t len);
HOST("edge_ws_v1", "publish") int32_t ws_publish(const char *topic, uint32_t topic_len, uint32_t kind, const char *data, uint32_t len);
HOST("edge_ws_v1", "subscribe") int32_t ws_subscribe(int64_t conn, const char *topic, uint32_t len);
HOST("edge_ws_v1", "unsubscribe") int32_t ws_unsubscribe(int64_t conn, const char *topic, uint32_t len);
HOST("edge_ws_v1", "close") int32_t ws_disconnect(int64_t conn, uint32_t code, const char *reason, uint32_t len);
HOST("edge_ws_v1", "user") int32_t ws_user(int64_t conn, void *buf, uint32_t limit);
HOST("edge_ws_v1", "set_user") int32_t ws_set_user(int64_t conn, const char *user, uint32_t len);
HOST("edge_ws_v1", "get") int32_t ws_get(int64_t conn, const char *name, uint32_t len, void *buf, uint32_t limit);
HOST("edge_ws_v1", "set") int32_t ws_set(int64_t conn, const char *name, uint32_t len, const char *value, uint32_t value_len);

HOST("edge_route_v1", "to") int32_t route_to(const char *route, uint32_t len);
HOST("edge_route_v1", "pool") int32_t route_pool(const char *pool, uint32_t len);
HOST("edge_route_v1", "rewrite") int32_t route_rewrite(const char *uri, uint32_t len);
HOST("edge_route_v1", "redirect") int32_t route_redirect(uint32_t status, const char *url, uint32_t len);
HOST("edge_route_v1", "status") int32_t route_status(uint32_t code);
HOST("edge_route_v1", "cache") int32_t route_cache(const char *parts, uint32_t len, uint32_t ttl);

HOST("edge_metrics_v1", "define") int32_t metrics_define(uint32_t kind, const char *name, uint32_t len);
HOST("edge_metrics_v1", "add") int32_t metrics_add(int32_t id, int64_t delta);
HOST("edge_metrics_v1", "set") int32_t metrics_set(int32_t id, int64_t value);
HOST("edge_metrics_v1", "observe") int32_t metrics_observe(int32_t id, int64_t value);

HOST("edge_sched_v1", "every") int32_t sched_every(uint32_t ms);
HOST("edge_sched_v1", "queue_push") int32_t sched_push(const char *data, uint32_t len);
HOST("edge_sched_v1", "queue_pop") int32_t sched_pop(void *buf, uint32_t limit);

static JSValue calls; // of edge.js

// Arguments. Each function here is called by edge.js alone, always with as many arguments as it takes.

typedef struct {
	bytes b[4];
	int count;
	bool failed;
} arguments;

static bytes *take(arguments *a, JSValueConst value) {
	bytes *b = &a->b[a->count];
	if (a->failed || !bytes_of(b, value)) {
		a->failed = true;
		*b = (bytes){0};
		return b;
	}
	a->count++;
	return b;
}

static JSValue give(arguments *a, JSValue result) {
	while (a->count > 0) bytes_free(&a->b[--a->count]);
	if (!a->failed) return result;
	JS_FreeValue(js, result);
	return JS_EXCEPTION;
}

static int32_t number(arguments *a, JSValueConst value) {
	int32_t n = 0;
	if (!a->failed && JS_ToInt32(js, &n, value)) a->failed = true;
	return n;
}

static int64_t big(arguments *a, JSValueConst value) {
	int64_t n = 0;
	if (!a->failed && JS_ToInt64Ext(js, &n, value)) a->failed = true;
	return n;
}

// received makes bytes of what get writes into a buffer, whose size is found out first with scratch.
#define RECEIVE(result, buf, limit, call) \
	do { \
		char *buf = scratch, *more = NULL; \
		uint32_t limit = sizeof scratch; \
		int32_t got_ = call; \
		while (got_ > (int32_t)limit) { \
			limit = got_; \
			buf = more = realloc(more, limit); \
			if (buf == NULL) fail_with("out of memory: limits.memory of the plugin is used up"); \
			got_ = call; \
		} \
		result = got_ < 0 ? JS_NewInt32(js, got_) : JS_NewUint8ArrayCopy(js, (uint8_t *)buf, got_); \
		free(more); \
	} while (0)

#define FUNCTION(name) static JSValue f_##name(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
#define UNUSED (void)ctx, (void)this, (void)argc, (void)argv
#define RETURN(call)                                                                                                             \
	int32_t result_ = a.failed ? 0 : (call);                                                                                 \
	return give(&a, JS_NewInt32(js, result_))

static JSValue config_text(void) { return host_text(host_get_config); }

FUNCTION(config) { UNUSED; return config_text(); }
FUNCTION(name) {
	UNUSED;
	const char *dot = strrchr(script_name, '.');
	return JS_NewStringLen(js, script_name, dot == NULL ? strlen(script_name) : (size_t)(dot - script_name));
}
FUNCTION(now) { UNUSED; return JS_NewInt64(js, core_now_ms()); }
FUNCTION(deadline) { UNUSED; return JS_NewInt64(js, core_deadline_ms()); }
FUNCTION(flush) { UNUSED; return JS_NewInt32(js, core_flush()); }
FUNCTION(lastError) { UNUSED; return host_text((host_getter *)core_last_error); }
FUNCTION(setError) { UNUSED; arguments a = {0}; bytes *t = take(&a, argv[0]); RETURN(core_set_error(t->data, t->len)); }
FUNCTION(has) {
	UNUSED;
	arguments a = {0};
	bytes *n = take(&a, argv[0]);
	return give(&a, JS_NewBool(js, !a.failed && core_has(n->data, n->len) == 1));
}

FUNCTION(varGet) {
	UNUSED;
	arguments a = {0};
	bytes *n = take(&a, argv[0]);
	JSValue result = JS_UNDEFINED;
	if (!a.failed) RECEIVE(result, buf, limit, core_var_get(n->data, n->len, buf, limit));
	return give(&a, result);
}
FUNCTION(varSet) {
	UNUSED;
	arguments a = {0};
	bytes *n = take(&a, argv[0]), *v = take(&a, argv[1]);
	RETURN(core_var_set(n->data, n->len, v->data, v->len));
}

FUNCTION(enable) {
	UNUSED;
	static const char *const names[] = {"request", "response", "trailers"};
	uint32_t wanted = 0;
	for (uint32_t i = 0;; i++) {
		JSValue item = JS_GetPropertyUint32(js, argv[0], i);
		if (JS_IsUndefined(item)) break;
		const char *name = JS_ToCString(js, item);
		JS_FreeValue(js, item);
		if (name == NULL) return JS_EXCEPTION;
		uint32_t bit = 0;
		for (int k = 0; k < 3; k++) bit |= strcmp(name, names[k]) == 0 ? 1u << k : 0;
		if (bit == 0) JS_ThrowTypeError(js, "enable: %.40s is unknown; there are request, response and trailers", name);
		JS_FreeCString(js, name);
		if (bit == 0) return JS_EXCEPTION;
		wanted |= bit;
	}
	uint32_t have = http_enable(wanted), count = 0;
	JSValue list = JS_NewArray(js);
	for (int k = 0; k < 3; k++) {
		if (have & 1u << k) JS_SetPropertyUint32(js, list, count++, JS_NewString(js, names[k]));
	}
	return list;
}

FUNCTION(logEnabled) {
	UNUSED;
	static const char *const names[] = {"debug", "info", "warn", "error"};
	arguments a = {0};
	bytes *name = take(&a, argv[0]);
	for (int k = 0; k < 4; k++) {
		if (!a.failed && name->len == strlen(names[k]) && memcmp(name->data, names[k], name->len) == 0)
			return give(&a, JS_NewBool(js, host_log_enabled(k - 1)));
	}
	give(&a, JS_UNDEFINED);
	return a.failed ? JS_EXCEPTION : JS_ThrowTypeError(js, "logEnabled: a level is debug, info, warn or error");
}

// Stores.

FUNCTION(kvOpen) { UNUSED; arguments a = {0}; bytes *s = take(&a, argv[0]); RETURN(use_open(s->data, s->len)); }

FUNCTION(kvGet) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]);
	bytes *k = take(&a, argv[1]);
	bool with_meta = JS_ToBool(js, argv[2]) == 1;
	int64_t meta[2] = {-1, 0};
	JSValue result = JS_UNDEFINED;
	if (!a.failed) RECEIVE(result, buf, limit, use_get(h, k->data, k->len, buf, limit, with_meta ? meta : NULL));
	if (with_meta && JS_IsObject(result)) {
		JSValue entry = JS_NewArray(js);
		JS_SetPropertyUint32(js, entry, 0, result);
		JS_SetPropertyUint32(js, entry, 1, JS_NewInt64(js, meta[0]));
		JS_SetPropertyUint32(js, entry, 2, JS_NewInt64(js, meta[1]));
		result = entry;
	}
	return give(&a, result);
}

FUNCTION(kvSet) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]);
	bytes *k = take(&a, argv[1]), *v = take(&a, argv[2]);
	int64_t ttl = big(&a, argv[3]);
	uint32_t flags = number(&a, argv[4]);
	int64_t version = big(&a, argv[5]);
	RETURN(use_set(h, k->data, k->len, v->data, v->len, ttl, flags, version));
}

FUNCTION(kvDelete) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]);
	bytes *k = take(&a, argv[1]);
	int64_t version = big(&a, argv[2]);
	RETURN(use_delete(h, k->data, k->len, version));
}

FUNCTION(kvExpire) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]);
	bytes *k = take(&a, argv[1]);
	int64_t ttl = big(&a, argv[2]);
	RETURN(use_expire(h, k->data, k->len, ttl));
}

// kvIncr gives the sum, or [error] so that it is not taken for one.
FUNCTION(kvIncr) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]);
	bytes *k = take(&a, argv[1]);
	int64_t delta = big(&a, argv[2]), ttl = big(&a, argv[3]), sum = 0;
	int32_t result = a.failed ? 0 : use_incr(h, k->data, k->len, delta, ttl, &sum);
	JSValue pair = JS_NewArray(js);
	JS_SetPropertyUint32(js, pair, 0, JS_NewInt32(js, result));
	JS_SetPropertyUint32(js, pair, 1, JS_NewInt64(js, sum));
	return give(&a, pair);
}

// kvBatch gives [bytes, address]: pointers in the bytes are addresses that begin there.
FUNCTION(kvBatch) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]);
	bytes *ops = take(&a, argv[1]);
	if (a.failed) return give(&a, JS_UNDEFINED);
	uint32_t limit = number(&a, argv[2]);
	char *buf = malloc(limit);
	int32_t n = buf == NULL ? 0 : use_batch(h, ops->data, ops->len, buf, limit);
	if (n > (int32_t)limit && JS_ToBool(js, argv[3]) == 1) { // what does not fit was carried out nevertheless
		limit = n;
		buf = realloc(buf, limit);
		if (buf != NULL) n = use_batch(h, ops->data, ops->len, buf, limit);
	}
	if (n > (int32_t)limit) n = -4;
	if (buf == NULL) fail_with("out of memory: limits.memory of the plugin is used up");
	JSValue result = JS_NewInt32(js, n);
	if (n >= 0) {
		result = JS_NewArray(js);
		JS_SetPropertyUint32(js, result, 0, JS_NewUint8ArrayCopy(js, (uint8_t *)buf, n));
		JS_SetPropertyUint32(js, result, 1, JS_NewUint32(js, (uint32_t)(uintptr_t)buf));
	}
	free(buf);
	return give(&a, result);
}

FUNCTION(kvScan) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]);
	bytes *p = take(&a, argv[1]), *c = take(&a, argv[2]);
	uint32_t max = number(&a, argv[3]);
	JSValue result = JS_UNDEFINED;
	if (!a.failed) RECEIVE(result, buf, limit, use_scan(h, p->data, p->len, c->data, c->len, max, buf, limit));
	return give(&a, result);
}

// Network.

FUNCTION(tcpDial) {
	UNUSED;
	arguments a = {0};
	bytes *address = take(&a, argv[0]);
	uint32_t flags = number(&a, argv[1]), timeout = number(&a, argv[2]);
	RETURN(net_tcp_dial(address->data, address->len, flags, timeout));
}

FUNCTION(tcpRead) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]), max = number(&a, argv[1]), timeout = number(&a, argv[2]);
	if (a.failed) return JS_EXCEPTION;
	if (max < 1 || max > 1 << 24) return JS_ThrowRangeError(js, "read: takes 1 to 16777216 bytes at a time");
	buffer b = {0};
	int32_t n = net_tcp_read(h, reserve(&b, max), max, timeout);
	JSValue result = n < 0 ? JS_NewInt32(js, n) : JS_NewUint8ArrayCopy(js, (uint8_t *)b.data, n);
	free(b.data);
	return result;
}

FUNCTION(tcpWrite) {
	UNUSED;
	arguments a = {0};
	int32_t h = number(&a, argv[0]);
	bytes *data = take(&a, argv[1]);
	uint32_t timeout = number(&a, argv[2]);
	RETURN(net_tcp_write(h, data->data, data->len, timeout));
}

FUNCTION(tcpClose) { UNUSED; arguments a = {0}; int32_t h = number(&a, argv[0]); RETURN(net_tcp_close(h)); }

// head appends headers to the first line of a request.
FUNCTION(head) {
	UNUSED;
	arguments a = {0};
	bytes *line = take(&a, argv[0]);
	if (a.failed) return give(&a, JS_UNDEFINED);
	buffer b = {0};
	append(&b, line->data, line->len);
	bool ok = headers_head(&b, argv[1]);
	JSValue result = ok ? JS_NewUint8ArrayCopy(js, (uint8_t *)b.data, b.len) : JS_EXCEPTION;
	free(b.data);
	return give(&a, result);
}

// answered reads the answer of another server, or of PHP, to its end and makes a Response of it.
typedef struct {
	int32_t (*status)(int32_t h);
	int64_t (*names)(int32_t h, void *buf, uint32_t limit);
	int64_t (*values)(int32_t h, const char *name, uint32_t len, void *buf, uint32_t limit);
	int64_t (*read)(int32_t h, void *buf, uint32_t limit);
	int32_t (*close)(int32_t h);
} peer;

static const peer net_peer = {net_http_status, net_http_header_names, net_http_header, net_http_read, net_http_close};
static const peer php_peer = {php_status, php_header_names, php_header, php_read, php_close};

static void answered_header(const peer *p, int32_t h, JSValueConst fields, const char *name) {
	buffer b = {0};
	int64_t list = p->values(h, name, strlen(name), scratch, sizeof scratch);
	if (list < 0) return;
	const char *value = scratch;
	if ((uint32_t)list > sizeof scratch) {
		list = p->values(h, name, strlen(name), reserve(&b, (uint32_t)list), (uint32_t)list);
		value = b.data;
	}
	for (uint32_t i = 0; i < (uint32_t)(list >> 32); i++) {
		headers_append(fields, name, strlen(name), value, strlen(value));
		value += strlen(value) + 1;
	}
	free(b.data);
}

static JSValue answered(const peer *p, int32_t h) {
	if (h < 0) return JS_NewInt32(js, h);
	int32_t status = p->status(h);
	JSValue fields = headers_new();
	buffer names = {0}, body = {0};
	int64_t list = p->names(h, reserve(&names, 4096), 4096);
	if (list > 0 && (uint32_t)list > 4096) list = p->names(h, reserve(&names, (uint32_t)list), (uint32_t)list);
	const char *name = names.data;
	for (int64_t i = 0; list > 0 && i < list >> 32; i++) {
		answered_header(p, h, fields, name);
		name += strlen(name) + 1;
	}
	free(names.data);
	uint32_t piece = 16384;
	int64_t got;
	do {
		got = p->read(h, reserve(&body, piece), piece);
		if (got >= 0) body.len += (uint32_t)got;
		piece = piece < 1 << 20 ? piece * 2 : piece;
	} while (got >= 0 && got >> 32 == 0);
	p->close(h);
	if (got < 0) {
		free(body.data);
		JS_FreeValue(js, fields);
		return JS_NewInt32(js, (int32_t)got);
	}
	return response_new(status, fields, body);
}

FUNCTION(httpDo) {
	UNUSED;
	arguments a = {0};
	bytes *head = take(&a, argv[0]), *body = take(&a, argv[1]);
	uint32_t timeout = number(&a, argv[2]);
	return give(&a, a.failed ? JS_UNDEFINED : answered(&net_peer, net_http_do(head->data, head->len, body->data, body->len, timeout)));
}

FUNCTION(phpCall) {
	UNUSED;
	arguments a = {0};
	bytes *pool = take(&a, argv[0]), *head = take(&a, argv[1]), *body = take(&a, argv[2]);
	uint32_t timeout = number(&a, argv[3]);
	return give(&a, a.failed ? JS_UNDEFINED
		: answered(&php_peer, php_call(pool->data, pool->len, head->data, head->len, body->data, body->len, timeout)));
}

// WebSockets.

FUNCTION(wsSend) {
	UNUSED;
	arguments a = {0};
	int64_t conn = big(&a, argv[0]);
	uint32_t kind = number(&a, argv[1]);
	bytes *data = take(&a, argv[2]);
	RETURN(ws_send(conn, kind, data->data, data->len));
}
FUNCTION(wsPublish) {
	UNUSED;
	arguments a = {0};
	bytes *topic = take(&a, argv[0]);
	uint32_t kind = number(&a, argv[1]);
	bytes *data = take(&a, argv[2]);
	RETURN(ws_publish(topic->data, topic->len, kind, data->data, data->len));
}
FUNCTION(wsSubscribe) { UNUSED; arguments a = {0}; int64_t c = big(&a, argv[0]); bytes *t = take(&a, argv[1]); RETURN(ws_subscribe(c, t->data, t->len)); }
FUNCTION(wsUnsubscribe) { UNUSED; arguments a = {0}; int64_t c = big(&a, argv[0]); bytes *t = take(&a, argv[1]); RETURN(ws_unsubscribe(c, t->data, t->len)); }
FUNCTION(wsClose) {
	UNUSED;
	arguments a = {0};
	int64_t conn = big(&a, argv[0]);
	uint32_t code = number(&a, argv[1]);
	bytes *reason = take(&a, argv[2]);
	RETURN(ws_disconnect(conn, code, reason->data, reason->len));
}
FUNCTION(wsUser) {
	UNUSED;
	arguments a = {0};
	int64_t conn = big(&a, argv[0]);
	JSValue result = JS_UNDEFINED;
	if (!a.failed) RECEIVE(result, buf, limit, ws_user(conn, buf, limit));
	return give(&a, result);
}
FUNCTION(wsSetUser) { UNUSED; arguments a = {0}; int64_t c = big(&a, argv[0]); bytes *u = take(&a, argv[1]); RETURN(ws_set_user(c, u->data, u->len)); }
FUNCTION(wsGet) {
	UNUSED;
	arguments a = {0};
	int64_t conn = big(&a, argv[0]);
	bytes *n = take(&a, argv[1]);
	JSValue result = JS_UNDEFINED;
	if (!a.failed) RECEIVE(result, buf, limit, ws_get(conn, n->data, n->len, buf, limit));
	return give(&a, result);
}
FUNCTION(wsSet) {
	UNUSED;
	arguments a = {0};
	int64_t conn = big(&a, argv[0]);
	bytes *n = take(&a, argv[1]), *v = take(&a, argv[2]);
	RETURN(ws_set(conn, n->data, n->len, v->data, v->len));
}

// Routes, metrics, the clock and the queue.

FUNCTION(routeTo) { UNUSED; arguments a = {0}; bytes *r = take(&a, argv[0]); RETURN(route_to(r->data, r->len)); }
FUNCTION(routePool) { UNUSED; arguments a = {0}; bytes *p = take(&a, argv[0]); RETURN(route_pool(p->data, p->len)); }
FUNCTION(routeRewrite) { UNUSED; arguments a = {0}; bytes *u = take(&a, argv[0]); RETURN(route_rewrite(u->data, u->len)); }
FUNCTION(routeRedirect) { UNUSED; arguments a = {0}; uint32_t s = number(&a, argv[0]); bytes *u = take(&a, argv[1]); RETURN(route_redirect(s, u->data, u->len)); }
FUNCTION(routeStatus) { UNUSED; arguments a = {0}; uint32_t s = number(&a, argv[0]); RETURN(route_status(s)); }
FUNCTION(routeCache) { UNUSED; arguments a = {0}; bytes *p = take(&a, argv[0]); uint32_t ttl = number(&a, argv[1]); RETURN(route_cache(p->data, p->len, ttl)); }
FUNCTION(metricsDefine) { UNUSED; arguments a = {0}; uint32_t kind = number(&a, argv[0]); bytes *n = take(&a, argv[1]); RETURN(metrics_define(kind, n->data, n->len)); }
FUNCTION(metricsAdd) { UNUSED; arguments a = {0}; int32_t id = number(&a, argv[0]); int64_t n = big(&a, argv[1]); RETURN(metrics_add(id, n)); }
FUNCTION(metricsSet) { UNUSED; arguments a = {0}; int32_t id = number(&a, argv[0]); int64_t n = big(&a, argv[1]); RETURN(metrics_set(id, n)); }
FUNCTION(metricsObserve) { UNUSED; arguments a = {0}; int32_t id = number(&a, argv[0]); int64_t n = big(&a, argv[1]); RETURN(metrics_observe(id, n)); }
FUNCTION(every) { UNUSED; arguments a = {0}; uint32_t ms = number(&a, argv[0]); RETURN(sched_every(ms)); }
FUNCTION(queuePush) { UNUSED; arguments a = {0}; bytes *d = take(&a, argv[0]); RETURN(sched_push(d->data, d->len)); }
FUNCTION(queuePop) {
	UNUSED;
	JSValue result;
	RECEIVE(result, buf, limit, sched_pop(buf, limit));
	return result;
}

// The time of a KV driver's operation. The host writes it before each, once there is something other than 0.
static volatile int64_t clock_ms;
static bool in_operation; // only then does the clock go

FUNCTION(operationTime) {
	UNUSED;
	if (!in_operation) return JS_NewInt64(js, core_now_ms());
	if (clock_ms == 0) clock_ms = core_now_ms();
	return JS_NewInt64(js, clock_ms);
}

#define F(name) JS_CFUNC_DEF(#name, 6, f_##name)
static const JSCFunctionListEntry functions[] = {
	F(config), F(name), F(now), F(deadline), F(flush), F(lastError), F(setError), F(has), F(varGet), F(varSet), F(enable), F(logEnabled),
	F(kvOpen), F(kvGet), F(kvSet), F(kvDelete), F(kvExpire), F(kvIncr), F(kvBatch), F(kvScan),
	F(tcpDial), F(tcpRead), F(tcpWrite), F(tcpClose), F(head), F(httpDo), F(phpCall),
	F(wsSend), F(wsPublish), F(wsSubscribe), F(wsUnsubscribe), F(wsClose), F(wsUser), F(wsSetUser), F(wsGet), F(wsSet),
	F(routeTo), F(routePool), F(routeRewrite), F(routeRedirect), F(routeStatus), F(routeCache),
	F(metricsDefine), F(metricsAdd), F(metricsSet), F(metricsObserve), F(every), F(queuePush), F(queuePop), F(operationTime),
};

// The module "edge".

static const char library[] = {
#embed "edge.js"
	, 0};

static const char *const exports[] = {
	"EdgeError", "Store", "config", "rawConfig", "name", "vars", "connect", "fetch", "php", "metrics", "queue", "publish", "router", "kv", "connection",
	"every", "enable", "logEnabled", "has", "now", "deadline", "flush", "lastError", "operationTime",
};
#define EXPORTS (sizeof exports / sizeof *exports)

static JSValue module;

static int init_module(JSContext *ctx, JSModuleDef *m) {
	for (size_t i = 0; i < EXPORTS; i++) {
		if (JS_SetModuleExport(ctx, m, exports[i], JS_GetPropertyStr(ctx, module, exports[i])) < 0) return -1;
	}
	return 0;
}

static JSValue must(JSValue value) {
	if (JS_IsException(value)) fail();
	return value;
}

void services_init(void) {
	JSValue host = JS_NewObject(js), global = JS_GetGlobalObject(js);
	JS_SetPropertyFunctionList(js, host, functions, sizeof functions / sizeof *functions);
	JSValue make = must(JS_Eval(js, library, sizeof library - 1, "edge", JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_STRICT));
	JSValueConst argument[] = {host};
	JSValue made = must(JS_Call(js, make, JS_UNDEFINED, 1, argument));
	calls = must(JS_GetPropertyStr(js, made, "calls"));
	module = must(JS_GetPropertyStr(js, made, "exports"));
	JS_SetPropertyStr(js, global, "fetch", JS_GetPropertyStr(js, module, "fetch"));
	JSModuleDef *m = JS_NewCModule(js, "edge", init_module);
	for (size_t i = 0; i < EXPORTS; i++) JS_AddModuleExport(js, m, exports[i]);
	JS_FreeValue(js, made);
	JS_FreeValue(js, make);
	JS_FreeValue(js, host);
	JS_FreeValue(js, global);
}

JSValue services_config(void) { return must(JS_GetPropertyStr(js, module, "config")); }

// The other kinds. Those functions of the script are looked up once it is loaded.

static struct {
	JSValue route, tick, websocket, open, message, close, kv;
} on;

static JSValue group(const char *name) {
	JSValue value = plugin_member(name);
	if (JS_IsNull(value)) return JS_UNDEFINED;
	if (!JS_IsUndefined(value) && !JS_IsObject(value)) fail_with("%s: the export %s is not an object with functions", script_name, name);
	return value;
}

void services_loaded(void) {
	on.route = plugin_function(plugin_self(), "", "route");
	on.tick = plugin_function(plugin_self(), "", "tick");
	on.websocket = group("websocket");
	on.open = on.message = on.close = JS_UNDEFINED;
	if (!JS_IsUndefined(on.websocket)) {
		on.open = plugin_function(on.websocket, "websocket.", "open");
		on.message = plugin_function(on.websocket, "websocket.", "message");
		on.close = plugin_function(on.websocket, "websocket.", "close");
	}
	on.kv = group("kv");
	JSValue every = plugin_member("every");
	if (!JS_IsUndefined(every)) {
		uint32_t ms;
		if (JS_ToUint32(js, &ms, every)) fail();
		int32_t result = sched_every(ms);
		if (result < 0) fail_with("%s: every: %u ms is not from 100 to 86400000", script_name, ms);
	}
	JS_FreeValue(js, every);
}

static JSValue call_library(const char *name, int argc, JSValueConst *argv) {
	JSValue function = must(JS_GetPropertyStr(js, calls, name));
	JSValue result = JS_Call(js, function, calls, argc, argv);
	JS_FreeValue(js, function);
	return settle(result);
}

EXPORT("route") int32_t route(void) {
	if (JS_IsUndefined(on.route)) return 0;
	phase = IN_REQUEST;
	JSValueConst request = http_begin_request(), arguments[] = {request, http_response()};
	JSValue decision = settle(JS_Call(js, on.route, plugin_self(), 2, arguments));
	JSValueConst decided[] = {decision};
	JSValue result = call_library("decide", 1, decided);
	int32_t answer = JS_ToBool(js, result);
	JS_FreeValue(js, result);
	JS_FreeValue(js, decision);
	http_end();
	phase = IDLE;
	return answer;
}

EXPORT("tick") void tick(int64_t now) {
	if (JS_IsUndefined(on.tick)) return;
	JSValueConst arguments[] = {JS_NewInt64(js, now)};
	JS_FreeValue(js, settle(JS_Call(js, on.tick, plugin_self(), 1, arguments)));
}

// The mailbox, where the host puts messages, keys and values.
static buffer mailbox;

EXPORT("edge_mailbox") uint64_t edge_mailbox(uint32_t want) {
	if (mailbox.cap < want || mailbox.cap == 0) {
		free(mailbox.data);
		mailbox = (buffer){0};
		reserve(&mailbox, want < 4096 ? 4096 : want);
	}
	return (uint64_t)(uintptr_t)mailbox.data << 32 | mailbox.cap;
}

static JSValue connection(int64_t id) {
	JSValue number = JS_NewBigInt64(js, id);
	JSValueConst arguments[] = {number};
	JSValue object = call_library("connection", 1, arguments);
	JS_FreeValue(js, number);
	return object;
}

// number_of is what a script returned where a number means something, such as the status of a refusal.
static int32_t number_of(JSValue result, const char *function) {
	int32_t n = 0;
	if (!JS_IsUndefined(result) && !JS_IsNull(result) && (!JS_IsNumber(result) || JS_ToInt32(js, &n, result)))
		fail_with("%s: %s returned something that is not a number", script_name, function);
	JS_FreeValue(js, result);
	return n;
}

EXPORT("ws_open") int32_t ws_open(int64_t conn) {
	if (JS_IsUndefined(on.open)) return 0;
	phase = IN_REQUEST;
	JSValue object = connection(conn);
	JSValueConst arguments[] = {object, http_begin_request()};
	JSValue result = settle(JS_Call(js, on.open, on.websocket, 2, arguments));
	JS_FreeValue(js, object);
	http_end();
	phase = IDLE;
	return number_of(result, "websocket.open");
}

EXPORT("ws_message") int32_t ws_message(int64_t conn, uint32_t kind, uint32_t len) {
	if (JS_IsUndefined(on.message)) return 0;
	JSValue object = connection(conn);
	JSValue data = kind == 1 ? JS_NewStringLen(js, mailbox.data, len) : JS_NewUint8ArrayCopy(js, (uint8_t *)mailbox.data, len);
	JSValueConst arguments[] = {object, data};
	JSValue result = settle(JS_Call(js, on.message, on.websocket, 2, arguments));
	JS_FreeValue(js, object);
	JS_FreeValue(js, data);
	return number_of(result, "websocket.message");
}

EXPORT("ws_close") void ws_close(int64_t conn, uint32_t code) {
	if (JS_IsUndefined(on.close)) return;
	JSValue object = connection(conn);
	JSValueConst arguments[] = {object, JS_NewUint32(js, code)};
	JS_FreeValue(js, settle(JS_Call(js, on.close, on.websocket, 2, arguments)));
	JS_FreeValue(js, object);
}

// KV driver.

typedef struct { // abi.Result
	int32_t status;
	uint32_t flags;
	int64_t ttl, version;
	uint32_t ptr, len, err_ptr, err_len;
} record;

static record answer;
static buffer answer_data; // what the pointers of answer point to

EXPORT("kv_abi") int32_t kv_abi(void) {
	if (JS_IsUndefined(on.kv)) return 0;
	JSValueConst arguments[] = {on.kv};
	return 1 << 16 | number_of(call_library("kvFeatures", 1, arguments), "kv.features");
}

EXPORT("kv_open") int32_t kv_open(uint32_t len) {
	JSValue config = JS_NewStringLen(js, len == 0 ? "" : mailbox.data, len);
	JSValueConst arguments[] = {on.kv, config};
	JSValue result = call_library("kvOpen", 2, arguments);
	JS_FreeValue(js, config);
	return number_of(result, "kv.open");
}

static int64_t item_number(JSValueConst list, uint32_t index, int64_t otherwise) {
	JSValue item = JS_GetPropertyUint32(js, list, index);
	int64_t n = otherwise;
	if (!JS_IsUndefined(item) && JS_ToInt64Ext(js, &n, item)) fail();
	JS_FreeValue(js, item);
	return n;
}

// item_bytes appends an item to the answer's data and says how long it is.
static uint32_t item_bytes(JSValueConst list, uint32_t index) {
	JSValue item = JS_GetPropertyUint32(js, list, index);
	bytes b = {0};
	if (!JS_IsUndefined(item)) {
		if (!bytes_of(&b, item)) fail();
		append(&answer_data, b.data, b.len);
		bytes_free(&b);
	}
	JS_FreeValue(js, item);
	return b.len;
}

// put_result turns [status, value, ttl, version, error] into a record. Its pointers are offsets into answer_data for now.
static record put_result(JSValue list) {
	record r = {.status = item_number(list, 0, 0), .ttl = item_number(list, 2, -1), .version = item_number(list, 3, 0)};
	r.ptr = answer_data.len;
	r.len = item_bytes(list, 1);
	r.err_ptr = answer_data.len;
	r.err_len = item_bytes(list, 4);
	JS_FreeValue(js, list);
	return r;
}

static void point(record *r) {
	r->ptr += (uint32_t)(uintptr_t)answer_data.data;
	r->err_ptr += (uint32_t)(uintptr_t)answer_data.data;
}

static record *answer_with(JSValue list) {
	answer_data.len = 0;
	answer = put_result(list);
	point(&answer);
	return &answer;
}

static JSValue slice(const char *data, uint32_t len) { return JS_NewUint8ArrayCopy(js, (const uint8_t *)(data == NULL ? "" : data), len); }

static JSValue operation(const char *name, JSValue a, JSValue b, int64_t x, int64_t y, int64_t z) {
	JSValueConst arguments[] = {on.kv, a, b, JS_NewInt64(js, x), JS_NewInt64(js, y), JS_NewInt64(js, z)};
	int from = JS_IsUndefined(b) ? 1 : 0; // without b, the numbers come behind a
	JSValueConst without[] = {on.kv, a, arguments[3], arguments[4], arguments[5]};
	in_operation = true;
	JSValue result = from ? call_library(name, 5, without) : call_library(name, 6, arguments);
	in_operation = false;
	JS_FreeValue(js, a);
	JS_FreeValue(js, b);
	return result;
}

EXPORT("kv_get") record *kv_get(uint32_t key) { return answer_with(operation("kvGet", slice(mailbox.data, key), JS_UNDEFINED, 0, 0, 0)); }
EXPORT("kv_set") record *kv_set(uint32_t key, uint32_t value, int64_t ttl, uint32_t flags, int64_t version) {
	return answer_with(operation("kvSet", slice(mailbox.data, key), slice(mailbox.data + key, value), ttl, flags, version));
}
EXPORT("kv_delete") record *kv_delete(uint32_t key, int64_t version) {
	return answer_with(operation("kvDelete", slice(mailbox.data, key), JS_UNDEFINED, version, 0, 0));
}
EXPORT("kv_incr") record *kv_incr(uint32_t key, int64_t delta, int64_t ttl) {
	return answer_with(operation("kvIncr", slice(mailbox.data, key), JS_UNDEFINED, delta, ttl, 0));
}
EXPORT("kv_expire") record *kv_expire(uint32_t key, int64_t ttl) {
	return answer_with(operation("kvExpire", slice(mailbox.data, key), JS_UNDEFINED, ttl, 0, 0));
}
EXPORT("kv_scan") record *kv_scan(uint32_t prefix, uint32_t cursor, uint32_t max) {
	return answer_with(operation("kvScan", slice(mailbox.data, prefix), slice(mailbox.data + prefix, cursor), max, 0, 0));
}
EXPORT("kv_clear") record *kv_clear(void) { return answer_with(operation("kvClear", JS_UNDEFINED, JS_UNDEFINED, 0, 0, 0)); }

// One operation of a batch, as it lies in the mailbox.
typedef struct {
	uint32_t op, key, value, flags;
	int64_t ttl, version;
} __attribute__((packed)) op;

enum { OP_GET = 1, OP_SET, OP_DELETE, OP_INCR, OP_EXPIRE };

static JSValue run_op(const op *o, const char *key, const char *value) {
	JSValue k = slice(key, o->key);
	int64_t delta = 0;
	switch (o->op) {
	case OP_GET: return operation("kvGet", k, JS_UNDEFINED, 0, 0, 0);
	case OP_SET: return operation("kvSet", k, slice(value, o->value), o->ttl, o->flags, o->version);
	case OP_DELETE: return operation("kvDelete", k, JS_UNDEFINED, o->version, 0, 0);
	case OP_INCR:
		memcpy(&delta, value, o->value < sizeof delta ? o->value : sizeof delta);
		return operation("kvIncr", k, JS_UNDEFINED, delta, o->ttl, 0);
	case OP_EXPIRE: return operation("kvExpire", k, JS_UNDEFINED, o->ttl, 0, 0);
	}
	JS_FreeValue(js, k);
	JSValue list = JS_NewArray(js);
	JS_SetPropertyUint32(js, list, 0, JS_NewInt32(js, -5));
	return list;
}

EXPORT("kv_batch") void *kv_batch(uint32_t len) {
	static buffer records;
	records.len = answer_data.len = 0;
	uint32_t head[2] = {0, 0};
	append(&records, head, sizeof head);
	for (const char *at = mailbox.data, *end = at + len; (size_t)(end - at) >= sizeof(op);) {
		op o;
		memcpy(&o, at, sizeof o);
		at += sizeof o;
		if ((uint64_t)o.key + o.value > (uint64_t)(end - at)) break;
		record r = put_result(run_op(&o, at, at + o.key));
		append(&records, &r, sizeof r);
		at += o.key + o.value;
		head[0]++;
	}
	memcpy(records.data, head, sizeof head);
	for (uint32_t i = 0; i < head[0]; i++) point((record *)(records.data + sizeof head) + i);
	return records.data;
}

static void notify(const char *name, int argc, JSValueConst *argv) {
	if (JS_IsUndefined(on.kv)) return;
	JSValue function = plugin_function(on.kv, "kv.", name);
	if (!JS_IsUndefined(function)) JS_FreeValue(js, settle(JS_Call(js, function, on.kv, argc, argv)));
	JS_FreeValue(js, function);
}

EXPORT("kv_clock") const volatile int64_t *kv_clock(void) { return &clock_ms; }

EXPORT("kv_tick") void kv_tick(int64_t now) {
	JSValueConst arguments[] = {JS_NewInt64(js, now)};
	notify("tick", 1, arguments);
}
EXPORT("kv_close") void kv_close(void) { notify("close", 0, NULL); }
