// edge_test.h: a server in memory, for tests of plugins, natively and without a server. #include the plugin, then this:
//
//     #include "hello.c"
//     #include "../edge_test.h"
//     EDGE_TEST_MIDDLEWARE
//
//     int main(void) {
//         edge_test_begin("GET", "/");
//         edge_test_header("x-name", "panda");
//         EDGE_EXPECT(edge_test_send());                                   // whether the plugin passed the request on
//         EDGE_EXPECT_STR(edge_test_answer("x-hello"), "from C");
//     }
//
//     cc -o hello_test hello_test.c && ./hello_test
//
// Stores, variables and the queue work; requests elsewhere are answered by edge_test_elsewhere; what routers decide is in
// edge_test_decisions, what is logged in edge_test_logs, what is published in edge_test_sent.

#ifndef EDGE_TEST_H
#define EDGE_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define EDGE_EXPECT(condition)                                                                                                \
    do                                                                                                                        \
        if (!(condition)) fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition), exit(1);                    \
    while (0)
#define EDGE_EXPECT_STR(got, want) edge_test_expect(__FILE__, __LINE__, got, want)

static inline void edge_test_expect(const char *file, int line, const char *got, const char *want) {
    if (strcmp(got, want) == 0) return;
    fprintf(stderr, "%s:%d: got \"%s\", want \"%s\"\n", file, line, got, want);
    exit(1);
}

enum { EDGE_TEST_MOST = 256 };
typedef struct { char *name, *value; int side; } edge_test_pair; // side: a kind, or a handle
typedef struct { edge_test_pair all[EDGE_TEST_MOST]; int n; } edge_test_pairs;
static edge_test_pairs edge_test_fields, edge_test_vars, edge_test_keys;
static char edge_test_method[32], edge_test_uri[8192], edge_test_last[1024];
static struct { char bytes[1 << 20]; uint32_t len, read; bool begun; } edge_test_body[2];
static uint32_t edge_test_status, edge_test_features;
static bool edge_test_answered;
static const char *edge_test_config = "";
static char edge_test_decisions[4096], edge_test_logs[1 << 16], edge_test_sent[1 << 16];
static char *edge_test_queue[EDGE_TEST_MOST];
static int edge_test_queued;
static int64_t edge_test_metrics[EDGE_TEST_MOST]; // by number
static char *edge_test_names[EDGE_TEST_MOST];     // of stores and metrics
static int edge_test_named;
// edge_test_elsewhere answers a request: it returns the status and sets the body. NULL denies.
static int (*edge_test_elsewhere)(const char *head, const char *body, const char **answer);
static const char *edge_test_reply;
static int edge_test_reply_status;

// Copies live as long as the test; the chain shows leak checkers that they are wanted.
static struct edge_test_block { struct edge_test_block *next; char text[]; } *edge_test_blocks;
static inline char *edge_test_copy(const char *s, uint32_t n) {
    struct edge_test_block *block = malloc(sizeof *block + n + 1);
    char *copy = block->text;
    block->next = edge_test_blocks, edge_test_blocks = block;
    if (n) memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}
static inline uint32_t edge_test_give(const char *s, uint32_t n, void *buf, uint32_t limit) {
    if (n && n <= limit) memcpy(buf, s, n);
    return n;
}
static inline void edge_test_line(char *to, size_t size, const char *what, const char *s, uint32_t n) {
    size_t used = strlen(to);
    snprintf(to + used, size - used, "%s%.*s\n", what, (int)n, s);
}
static inline int edge_test_number(const char *s, uint32_t n) {
    for (int i = 0; i < edge_test_named; i++)
        if (strlen(edge_test_names[i]) == n && memcmp(edge_test_names[i], s, n) == 0) return i;
    return edge_test_names[edge_test_named] = edge_test_copy(s, n), edge_test_named++;
}
static inline void edge_test_misuse(const char *what) {
    fprintf(stderr, "edge_test.h: %s\n", what);
    abort();
}
// Refuses what the server refuses.
static inline void edge_test_may(uint32_t kind) {
    if (edge_test_answered && !(kind & 1)) edge_test_misuse("the request has gone on and cannot be changed or read any more");
    if (edge_test_answered && !(edge_test_features & EDGE_BUFFER_RESPONSE)) edge_test_misuse("after the rest of the chain this needs EDGE_BUFFER_RESPONSE");
}

// ---- what tests call ----

// edge_test_begin begins a request. Stores, queue and metrics stay.
static inline void edge_test_begin(const char *method, const char *uri) {
    snprintf(edge_test_method, sizeof edge_test_method, "%s", method);
    snprintf(edge_test_uri, sizeof edge_test_uri, "%s", uri);
    edge_test_fields.n = edge_test_vars.n = 0;
    memset(edge_test_body, 0, sizeof edge_test_body);
    edge_test_status = 200, edge_test_answered = false, edge_test_decisions[0] = 0;
    edge_raw_set_header_value(EDGE_REQUEST, "host", 4, "example.com", 11);
}
static inline void edge_test_header(const char *name, const char *value) {
    edge_raw_add_header_value(EDGE_REQUEST, name, (uint32_t)strlen(name), value, (uint32_t)strlen(value));
}
static inline void edge_test_send_body(const char *body) {
    edge_test_body[0].len = (uint32_t)strlen(body);
    memcpy(edge_test_body[0].bytes, body, edge_test_body[0].len);
}
static inline const char *edge_test_get(edge_kind kind, const char *name) {
    for (int i = 0; i < edge_test_fields.n; i++) {
        edge_test_pair *p = &edge_test_fields.all[i];
        if (p->side == (int)kind && strcasecmp(p->name, name) == 0) return p->value;
    }
    return "";
}
// edge_test_seen is a header of the request as the rest of the chain sees it, edge_test_answer one of the answer.
static inline const char *edge_test_seen(const char *name) { return edge_test_get(EDGE_REQUEST, name); }
static inline const char *edge_test_answer(const char *name) { return edge_test_get(EDGE_RESPONSE, name); }
// edge_test_text is the body of the answer.
static inline const char *edge_test_text(void) { return edge_test_body[1].bytes[edge_test_body[1].len] = 0, edge_test_body[1].bytes; }

// edge_test_pass lets the rest of the chain answer.
static inline void edge_test_pass(uint32_t status, const char *body) {
    edge_test_status = status, edge_test_answered = true;
    edge_test_body[1].len = (uint32_t)strlen(body), edge_test_body[1].begun = false;
    memcpy(edge_test_body[1].bytes, body, edge_test_body[1].len);
}

// EDGE_TEST_MIDDLEWARE, below the #includes, makes edge_test_send: it takes the request through the middleware and tells whether
// it went on; then the rest of the chain answers 200.
uint64_t edge_export_request(void);
void edge_export_response(uint32_t ctx, uint32_t failed);
#define EDGE_TEST_MIDDLEWARE                                                                                                  \
    static inline bool edge_test_send(void) {                                                                                 \
        uint64_t next = edge_export_request();                                                                                \
        if ((uint32_t)next == 0) return false;                                                                                \
        edge_test_pass(200, "");                                                                                              \
        edge_export_response((uint32_t)(next >> 32), 0);                                                                      \
        return true;                                                                                                          \
    }

// EDGE_TEST_ROUTER makes edge_test_route: it takes the request through the router and returns its decisions, a line each.
int32_t edge_export_route(void);
#define EDGE_TEST_ROUTER                                                                                                      \
    static inline const char *edge_test_route(void) { return edge_export_route(), edge_test_decisions; }

// ---- the server's functions ----

uint32_t edge_raw_enable_features(uint32_t features) { return edge_test_features |= features; }
uint32_t edge_raw_get_config(void *buf, uint32_t limit) { return edge_test_give(edge_test_config, (uint32_t)strlen(edge_test_config), buf, limit); }
void edge_raw_log(int32_t level, const char *text, uint32_t len) { (void)level, edge_test_line(edge_test_logs, sizeof edge_test_logs, "", text, len); }
uint32_t edge_raw_log_enabled(int32_t level) { return (void)level, 1; }
uint32_t edge_raw_get_method(void *buf, uint32_t limit) { return edge_test_give(edge_test_method, (uint32_t)strlen(edge_test_method), buf, limit); }
void edge_raw_set_method(const char *text, uint32_t len) { edge_test_may(0), snprintf(edge_test_method, sizeof edge_test_method, "%.*s", (int)len, text); }
uint32_t edge_raw_get_uri(void *buf, uint32_t limit) { return edge_test_give(edge_test_uri, (uint32_t)strlen(edge_test_uri), buf, limit); }
void edge_raw_set_uri(const char *text, uint32_t len) { edge_test_may(0), snprintf(edge_test_uri, sizeof edge_test_uri, "%.*s", (int)len, len ? text : "/"); }
uint32_t edge_raw_get_protocol_version(void *buf, uint32_t limit) { return edge_test_give("HTTP/1.1", 8, buf, limit); }
uint32_t edge_raw_get_source_addr(void *buf, uint32_t limit) { return edge_test_give("192.0.2.1:1234", 14, buf, limit); }

static inline uint64_t edge_test_list(uint32_t kind, const char *name, uint32_t len, void *buf, uint32_t limit) {
    static char packed[1 << 16];
    uint64_t count = 0;
    uint32_t n = 0;
    for (int i = 0; i < edge_test_fields.n; i++) {
        edge_test_pair *p = &edge_test_fields.all[i];
        if (p->side != (int)kind || (name && (strlen(p->name) != len || strncasecmp(p->name, name, len) != 0))) continue;
        const char *item = name ? p->value : p->name;
        memcpy(packed + n, item, strlen(item) + 1);
        n += (uint32_t)strlen(item) + 1, count++;
    }
    return count << 32 | edge_test_give(packed, n, buf, limit);
}
uint64_t edge_raw_get_header_names(uint32_t kind, void *buf, uint32_t limit) { return edge_test_list(kind, 0, 0, buf, limit); }
uint64_t edge_raw_get_header_values(uint32_t kind, const char *name, uint32_t name_len, void *buf, uint32_t limit) {
    return edge_test_list(kind, name, name_len, buf, limit);
}
void edge_raw_add_header_value(uint32_t kind, const char *name, uint32_t name_len, const char *value, uint32_t len) {
    edge_test_may(kind);
    for (uint32_t i = 0; i < len; i++)
        if ((unsigned char)value[i] < 0x20 && value[i] != '\t') edge_test_misuse("a header's value with a control character");
    if (edge_test_fields.n == EDGE_TEST_MOST) edge_test_misuse("too many headers");
    edge_test_fields.all[edge_test_fields.n++] = (edge_test_pair){edge_test_copy(name, name_len), edge_test_copy(value, len), (int)kind};
}
void edge_raw_remove_header(uint32_t kind, const char *name, uint32_t name_len) {
    int kept = 0;
    edge_test_may(kind);
    for (int i = 0; i < edge_test_fields.n; i++) {
        edge_test_pair *p = &edge_test_fields.all[i];
        if (p->side == (int)kind && strlen(p->name) == name_len && strncasecmp(p->name, name, name_len) == 0) continue;
        edge_test_fields.all[kept++] = *p;
    }
    edge_test_fields.n = kept;
}
void edge_raw_set_header_value(uint32_t kind, const char *name, uint32_t name_len, const char *value, uint32_t len) {
    edge_raw_remove_header(kind, name, name_len);
    edge_raw_add_header_value(kind, name, name_len, value, len);
}
uint64_t edge_raw_read_body(uint32_t kind, void *buf, uint32_t limit) {
    edge_test_may(kind);
    uint32_t left = edge_test_body[kind].len - edge_test_body[kind].read, n = left < limit ? left : limit;
    memcpy(buf, edge_test_body[kind].bytes + edge_test_body[kind].read, n);
    edge_test_body[kind].read += n;
    return (uint64_t)(n == left) << 32 | n;
}
void edge_raw_write_body(uint32_t kind, const void *body, uint32_t len) {
    edge_test_may(kind);
    if (!edge_test_body[kind].begun) edge_test_body[kind].begun = true, edge_test_body[kind].len = edge_test_body[kind].read = 0;
    if (len >= sizeof edge_test_body[kind].bytes - edge_test_body[kind].len) edge_test_misuse("a body of more than 1 MiB");
    memcpy(edge_test_body[kind].bytes + edge_test_body[kind].len, body, len);
    edge_test_body[kind].len += len;
}
uint32_t edge_raw_get_status_code(void) { return edge_test_may(1), edge_test_status; }
void edge_raw_set_status_code(uint32_t code) { edge_test_may(1), edge_test_status = code; }

int32_t edge_raw_has(const char *name, uint32_t len) { return (void)name, (void)len, 1; }
int64_t edge_raw_now_ms(void) { return 1700000000000; }
int64_t edge_raw_deadline_ms(void) { return -1; }
int32_t edge_raw_last_error(void *buf, uint32_t limit) { return (int32_t)edge_test_give(edge_test_last, (uint32_t)strlen(edge_test_last), buf, limit); }
int32_t edge_raw_set_error(const char *text, uint32_t len) { return snprintf(edge_test_last, sizeof edge_test_last, "%.*s", (int)len, text), 0; }
int32_t edge_raw_flush(void) { return 0; }

// edge_test_find finds a variable, or the key of a store.
static inline edge_test_pair *edge_test_find(edge_test_pairs *in, int side, const char *name, uint32_t n) {
    for (int i = 0; i < in->n; i++)
        if (in->all[i].side == side && strlen(in->all[i].name) == n && memcmp(in->all[i].name, name, n) == 0) return &in->all[i];
    return 0;
}
static inline edge_test_pair *edge_test_new(edge_test_pairs *in) {
    if (in->n == EDGE_TEST_MOST) edge_test_misuse("too many keys");
    return &in->all[in->n++];
}
int32_t edge_raw_var_get(const char *name, uint32_t name_len, void *buf, uint32_t limit) {
    edge_test_pair *found = edge_test_find(&edge_test_vars, 0, name, name_len);
    return found ? (int32_t)edge_test_give(found->value, (uint32_t)strlen(found->value), buf, limit) : EDGE_NOT_FOUND;
}
int32_t edge_raw_var_set(const char *name, uint32_t name_len, const char *value, uint32_t len) {
    edge_test_pair *found = edge_test_find(&edge_test_vars, 0, name, name_len);
    if (!found) found = edge_test_new(&edge_test_vars);
    return *found = (edge_test_pair){edge_test_copy(name, name_len), edge_test_copy(value, len), 0}, 0;
}
int32_t edge_raw_kv_open(const char *store, uint32_t len) { return edge_test_number(store, len); }
int32_t edge_raw_kv_get(int32_t h, const char *key, uint32_t key_len, void *buf, uint32_t limit, int64_t *meta) {
    edge_test_pair *found = edge_test_find(&edge_test_keys, h, key, key_len);
    if (meta) meta[0] = -1, meta[1] = 0;
    return found ? (int32_t)edge_test_give(found->value, (uint32_t)strlen(found->value), buf, limit) : EDGE_NOT_FOUND;
}
int32_t edge_raw_kv_set(int32_t h, const char *key, uint32_t key_len, const char *value, uint32_t len, int64_t ttl_ms, uint32_t flags, int64_t version) {
    (void)ttl_ms, (void)version;
    edge_test_pair *found = edge_test_find(&edge_test_keys, h, key, key_len);
    if (found && flags & EDGE_IF_ABSENT) return EDGE_EXISTS;
    if (!found && flags & EDGE_IF_PRESENT) return EDGE_CONDITION;
    if (!found) found = edge_test_new(&edge_test_keys);
    return *found = (edge_test_pair){edge_test_copy(key, key_len), edge_test_copy(value, len), h}, 0;
}
int32_t edge_raw_kv_delete(int32_t h, const char *key, uint32_t key_len, int64_t version) {
    (void)version;
    edge_test_pair *found = edge_test_find(&edge_test_keys, h, key, key_len);
    if (found) *found = edge_test_keys.all[--edge_test_keys.n];
    return 0;
}
int32_t edge_raw_kv_expire(int32_t h, const char *key, uint32_t key_len, int64_t ttl_ms) {
    (void)ttl_ms;
    edge_test_pair *found = edge_test_find(&edge_test_keys, h, key, key_len);
    return found != 0;
}
int32_t edge_raw_kv_incr(int32_t h, const char *key, uint32_t key_len, int64_t delta, int64_t ttl_ms, int64_t *out) {
    char text[32];
    (void)ttl_ms;
    edge_test_pair *found = edge_test_find(&edge_test_keys, h, key, key_len);
    *out = (found ? strtoll(found->value, 0, 10) : 0) + delta;
    snprintf(text, sizeof text, "%lld", (long long)*out);
    return edge_raw_kv_set(h, key, key_len, text, (uint32_t)strlen(text), 0, 0, 0);
}
int32_t edge_raw_kv_batch(int32_t h, const void *ops, uint32_t len, void *buf, uint32_t limit) {
    return (void)h, (void)ops, (void)len, (void)buf, (void)limit, EDGE_UNSUPPORTED;
}
int32_t edge_raw_kv_scan(int32_t h, const char *prefix, uint32_t prefix_len, const char *cursor, uint32_t cursor_len, uint32_t max, void *buf, uint32_t limit) {
    static char page[1 << 16];
    uint32_t n = 4; // the cursor is empty: there is one page
    (void)cursor, (void)cursor_len, (void)max;
    memset(page, 0, 4);
    for (int i = 0; i < edge_test_keys.n; i++) {
        edge_test_pair *p = &edge_test_keys.all[i];
        uint32_t size = (uint32_t)strlen(p->name);
        if (p->side != h || size < prefix_len || memcmp(p->name, prefix, prefix_len) != 0) continue;
        memcpy(page + n, &size, 4), memcpy(page + n + 4, p->name, size);
        n += 4 + size;
    }
    return (int32_t)edge_test_give(page, n, buf, limit);
}

int32_t edge_raw_tcp_dial(const char *address, uint32_t len, uint32_t flags, uint32_t timeout_ms) { return (void)address, (void)len, (void)flags, (void)timeout_ms, EDGE_DENIED; }
int32_t edge_raw_tcp_read(int32_t h, void *buf, uint32_t limit, uint32_t timeout_ms) { return (void)h, (void)buf, (void)limit, (void)timeout_ms, EDGE_INVALID; }
int32_t edge_raw_tcp_write(int32_t h, const void *bytes, uint32_t len, uint32_t timeout_ms) { return (void)h, (void)bytes, (void)len, (void)timeout_ms, EDGE_INVALID; }
int32_t edge_raw_tcp_close(int32_t h) { return (void)h, 0; }
int32_t edge_raw_http_do(const char *head, uint32_t head_len, const char *body, uint32_t len, uint32_t timeout_ms) {
    (void)timeout_ms;
    if (!edge_test_elsewhere) return EDGE_DENIED;
    edge_test_reply = "";
    edge_test_reply_status = edge_test_elsewhere(edge_test_copy(head, head_len), edge_test_copy(body, len), &edge_test_reply);
    return 1;
}
int32_t edge_raw_http_status(int32_t h) { return (void)h, edge_test_reply_status; }
int64_t edge_raw_http_header(int32_t h, const char *name, uint32_t name_len, void *buf, uint32_t limit) { return (void)h, (void)name, (void)name_len, (void)buf, (void)limit, 0; }
int64_t edge_raw_http_header_names(int32_t h, void *buf, uint32_t limit) { return (void)h, (void)buf, (void)limit, 0; }
int64_t edge_raw_http_read(int32_t h, void *buf, uint32_t limit) {
    uint32_t left = (uint32_t)strlen(edge_test_reply), n = left < limit ? left : limit;
    (void)h;
    memcpy(buf, edge_test_reply, n);
    edge_test_reply += n;
    return (int64_t)(n == left) << 32 | n;
}
int32_t edge_raw_http_close(int32_t h) { return (void)h, 0; }
int32_t edge_raw_php_call(const char *pool, uint32_t pool_len, const char *head, uint32_t head_len, const char *body, uint32_t len, uint32_t timeout_ms) {
    return (void)pool, (void)pool_len, edge_raw_http_do(head, head_len, body, len, timeout_ms);
}
int32_t edge_raw_php_status(int32_t h) { return edge_raw_http_status(h); }
int64_t edge_raw_php_header(int32_t h, const char *name, uint32_t name_len, void *buf, uint32_t limit) { return edge_raw_http_header(h, name, name_len, buf, limit); }
int64_t edge_raw_php_header_names(int32_t h, void *buf, uint32_t limit) { return edge_raw_http_header_names(h, buf, limit); }
int64_t edge_raw_php_read(int32_t h, void *buf, uint32_t limit) { return edge_raw_http_read(h, buf, limit); }
int32_t edge_raw_php_close(int32_t h) { return (void)h, 0; }

static inline int32_t edge_test_decide(const char *what, const char *s, uint32_t len) {
    return edge_test_line(edge_test_decisions, sizeof edge_test_decisions, what, s, len), 0;
}
int32_t edge_raw_route_to(const char *route, uint32_t len) { return edge_test_decide("to ", route, len); }
int32_t edge_raw_route_pool(const char *pool, uint32_t len) { return edge_test_decide("pool ", pool, len); }
int32_t edge_raw_route_rewrite(const char *uri, uint32_t len) { return edge_test_decide("rewrite ", uri, len); }
int32_t edge_raw_route_redirect(uint32_t status, const char *url, uint32_t len) {
    char what[32];
    return snprintf(what, sizeof what, "redirect %u ", status), edge_test_decide(what, url, len);
}
int32_t edge_raw_route_status(uint32_t code) {
    char what[32];
    return snprintf(what, sizeof what, "status %u", code), edge_test_decide(what, "", 0);
}
int32_t edge_raw_route_cache(const char *parts, uint32_t len, uint32_t ttl_ms) { return (void)ttl_ms, edge_test_decide("cache ", parts, len); }

int32_t edge_raw_metric_define(uint32_t kind, const char *name, uint32_t len) { return (void)kind, edge_test_number(name, len); }
int32_t edge_raw_metric_add(int32_t id, int64_t delta) { return edge_test_metrics[id] += delta, 0; }
int32_t edge_raw_metric_set(int32_t id, int64_t value) { return edge_test_metrics[id] = value, 0; }
int32_t edge_raw_metric_observe(int32_t id, int64_t value) { return edge_raw_metric_add(id, value); }
int32_t edge_raw_every(uint32_t ms) { return (void)ms, 0; }
int32_t edge_raw_queue_push(const void *bytes, uint32_t len) {
    if (edge_test_queued == EDGE_TEST_MOST) return EDGE_LIMIT;
    return edge_test_queue[edge_test_queued++] = edge_test_copy(bytes, len), 0;
}
int32_t edge_raw_queue_pop(void *buf, uint32_t limit) {
    if (!edge_test_queued) return EDGE_NOT_FOUND;
    uint32_t n = edge_test_give(edge_test_queue[0], (uint32_t)strlen(edge_test_queue[0]), buf, limit);
    if (n <= limit) memmove(edge_test_queue, edge_test_queue + 1, sizeof(char *) * (size_t)--edge_test_queued);
    return (int32_t)n;
}
int32_t edge_raw_ws_send(int64_t conn, uint32_t kind, const void *bytes, uint32_t len) {
    char what[32];
    (void)kind;
    return snprintf(what, sizeof what, "%lld: ", (long long)conn), edge_test_line(edge_test_sent, sizeof edge_test_sent, what, bytes, len), 0;
}
int32_t edge_raw_ws_publish(const char *topic, uint32_t topic_len, uint32_t kind, const void *bytes, uint32_t len) {
    char what[256];
    (void)kind;
    return snprintf(what, sizeof what, "%.*s: ", (int)topic_len, topic), edge_test_line(edge_test_sent, sizeof edge_test_sent, what, bytes, len), 0;
}
int32_t edge_raw_ws_subscribe(int64_t conn, const char *topic, uint32_t len) { return (void)conn, (void)topic, (void)len, 0; }
int32_t edge_raw_ws_unsubscribe(int64_t conn, const char *topic, uint32_t len) { return (void)conn, (void)topic, (void)len, 0; }
int32_t edge_raw_ws_close(int64_t conn, uint32_t code, const char *reason, uint32_t len) { return (void)conn, (void)code, (void)reason, (void)len, 0; }
int32_t edge_raw_ws_user(int64_t conn, void *buf, uint32_t limit) { return (void)conn, (void)buf, (void)limit, 0; }
int32_t edge_raw_ws_set_user(int64_t conn, const char *user, uint32_t len) { return (void)conn, (void)user, (void)len, 0; }
int32_t edge_raw_ws_get(int64_t conn, const char *name, uint32_t name_len, void *buf, uint32_t limit) {
    return (void)conn, (void)name, (void)name_len, (void)buf, (void)limit, EDGE_NOT_FOUND;
}
int32_t edge_raw_ws_set(int64_t conn, const char *name, uint32_t name_len, const char *value, uint32_t len) {
    return (void)conn, (void)name, (void)name_len, (void)value, (void)len, 0;
}

#endif
