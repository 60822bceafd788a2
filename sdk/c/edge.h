// edge.h: plugins for the Edge server in C, in one header, with or without libc. README.md is the tutorial.
//
//     #include "edge.h"
//
//     static edge_flow handle(void) {
//         if (!edge_header_has(EDGE_REQUEST, EDGE("authorization")))
//             return edge_reply(401, EDGE("text/plain"), EDGE("who are you?\n"));
//         edge_header_set(EDGE_REQUEST, EDGE("x-user"), EDGE("somebody"));
//         return EDGE_NEXT;
//     }
//     EDGE_MIDDLEWARE(handle)
//
//     clang --target=wasm32-unknown-unknown -O2 -nostdlib -Wl,--no-entry -Wl,--strip-all -o plugin.wasm plugin.c
//
// Texts are edge_str, pointer and length; EDGE("…") makes one of a literal. Whatever the server hands out lies in the arena,
// EDGE_ARENA bytes (60 KiB, define it before the #include), which is empty again when the server calls the next time: nothing
// is freed, nothing may be kept.
//
// Functions of Edge's own namespaces return 0 or more, or an error below 0 (EDGE_NOT_FOUND …); those of http_handler have no
// errors: what makes no sense ends the request, with a line in the log. What a plugin does not use it does not import.
//
// Include it in one file of a plugin.

#ifndef EDGE_H
#define EDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__wasi__) || !defined(__wasm__)
#include <string.h>
#define EDGE_LIBC 1
#endif

#ifndef EDGE_ARENA
#define EDGE_ARENA (60 * 1024) // with the stack and the data of a small plugin, two pages of memory
#endif

#ifdef __wasm__
#define EDGE_IMPORT(module, name) __attribute__((import_module(module), import_name(name))) extern
#define EDGE_EXPORT(name) __attribute__((export_name(name), used))
#else
#define EDGE_IMPORT(module, name) extern // edge_test.h has them
#define EDGE_EXPORT(name)
#endif
#define EDGE_API static inline __attribute__((unused))

#ifndef EDGE_LIBC
// Compilers turn loops and assignments into calls of these. Weak, so that a plugin may bring better ones.
#define EDGE_MEM __attribute__((weak, no_builtin))
EDGE_MEM void *memcpy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
    return to;
}
EDGE_MEM void *memmove(void *to, const void *from, size_t n) {
    if (to < from) return memcpy(to, from, n);
    while (n--) ((char *)to)[n] = ((const char *)from)[n];
    return to;
}
EDGE_MEM void *memset(void *to, int c, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)to)[i] = (char)c;
    return to;
}
EDGE_MEM int memcmp(const void *a, const void *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int d = ((const unsigned char *)a)[i] - ((const unsigned char *)b)[i];
        if (d) return d;
    }
    return 0;
}
EDGE_MEM size_t strlen(const char *s) {
    size_t n = 0;
    while (s[n]) n++;
    return n;
}
#endif

// ---- texts -----------------------------------------------------------------------------------------------------------------

typedef struct {
    const char *ptr; // not NUL-terminated
    uint32_t len;
} edge_str;

#define EDGE(literal) ((edge_str){"" literal, sizeof(literal) - 1})

EDGE_API edge_str edge_text(const char *s) { return (edge_str){s, (uint32_t)strlen(s)}; }

EDGE_API uint64_t edge_eight(const char *p) {
    uint64_t eight;
    __builtin_memcpy(&eight, p, 8);
    return eight;
}

EDGE_API bool edge_equal(edge_str a, edge_str b) {
    if (a.len != b.len) return false;
    uint32_t i = 0;
    for (; i + 8 <= a.len; i += 8)
        if (edge_eight(a.ptr + i) != edge_eight(b.ptr + i)) return false;
    if (a.len >= 8) return edge_eight(a.ptr + a.len - 8) == edge_eight(b.ptr + b.len - 8);
    for (; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i]) return false;
    return true;
}

// edge_equal_secret takes as long for a text that is wrong in its first byte as for one that is wrong in its last.
EDGE_API bool edge_equal_secret(edge_str a, edge_str b) {
    if (a.len != b.len) return false;
    volatile unsigned char diff = 0;
    for (uint32_t i = 0; i < a.len; i++) diff |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
    return diff == 0;
}

// edge_cut takes from *rest what is before the first c, and c. Without one it takes all. It reports whether c was there.
EDGE_API bool edge_cut(edge_str *rest, char c, edge_str *before) {
    for (uint32_t i = 0; i < rest->len; i++) {
        if (rest->ptr[i] != c) continue;
        *before = (edge_str){rest->ptr, i};
        *rest = (edge_str){rest->ptr + i + 1, rest->len - i - 1};
        return true;
    }
    *before = *rest;
    *rest = (edge_str){rest->ptr + rest->len, 0};
    return false;
}

// edge_prefix takes a prefix off *s, if it is there.
EDGE_API bool edge_prefix(edge_str *s, edge_str prefix) {
    if (s->len < prefix.len || (prefix.len && memcmp(s->ptr, prefix.ptr, prefix.len) != 0)) return false;
    *s = (edge_str){s->ptr + prefix.len, s->len - prefix.len};
    return true;
}

// edge_number reads a decimal number of at most 18 digits; it reports false for anything else.
EDGE_API bool edge_number(edge_str s, int64_t *n) {
    bool negative = s.len && s.ptr[0] == '-';
    if (negative) s = (edge_str){s.ptr + 1, s.len - 1};
    if (s.len == 0 || s.len > 18) return false;
    int64_t value = 0;
    for (uint32_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
        value = value * 10 + (s.ptr[i] - '0');
    }
    *n = negative ? -value : value;
    return true;
}

// ---- the server's functions, as docs/abi.md has them -----------------------------------------------------------------------

EDGE_IMPORT("http_handler", "enable_features") uint32_t edge_raw_enable_features(uint32_t features);
EDGE_IMPORT("http_handler", "get_config") uint32_t edge_raw_get_config(void *buf, uint32_t limit);
EDGE_IMPORT("http_handler", "log") void edge_raw_log(int32_t level, const char *text, uint32_t len);
EDGE_IMPORT("http_handler", "log_enabled") uint32_t edge_raw_log_enabled(int32_t level);
EDGE_IMPORT("http_handler", "get_method") uint32_t edge_raw_get_method(void *buf, uint32_t limit);
EDGE_IMPORT("http_handler", "set_method") void edge_raw_set_method(const char *text, uint32_t len);
EDGE_IMPORT("http_handler", "get_uri") uint32_t edge_raw_get_uri(void *buf, uint32_t limit);
EDGE_IMPORT("http_handler", "set_uri") void edge_raw_set_uri(const char *text, uint32_t len);
EDGE_IMPORT("http_handler", "get_protocol_version") uint32_t edge_raw_get_protocol_version(void *buf, uint32_t limit);
EDGE_IMPORT("http_handler", "get_source_addr") uint32_t edge_raw_get_source_addr(void *buf, uint32_t limit);
EDGE_IMPORT("http_handler", "get_header_names") uint64_t edge_raw_get_header_names(uint32_t kind, void *buf, uint32_t limit);
EDGE_IMPORT("http_handler", "get_header_values")
uint64_t edge_raw_get_header_values(uint32_t kind, const char *name, uint32_t name_len, void *buf, uint32_t limit);
EDGE_IMPORT("http_handler", "set_header_value")
void edge_raw_set_header_value(uint32_t kind, const char *name, uint32_t name_len, const char *value, uint32_t len);
EDGE_IMPORT("http_handler", "add_header_value")
void edge_raw_add_header_value(uint32_t kind, const char *name, uint32_t name_len, const char *value, uint32_t len);
EDGE_IMPORT("http_handler", "remove_header") void edge_raw_remove_header(uint32_t kind, const char *name, uint32_t name_len);
EDGE_IMPORT("http_handler", "read_body") uint64_t edge_raw_read_body(uint32_t kind, void *buf, uint32_t limit);
EDGE_IMPORT("http_handler", "write_body") void edge_raw_write_body(uint32_t kind, const void *body, uint32_t len);
EDGE_IMPORT("http_handler", "get_status_code") uint32_t edge_raw_get_status_code(void);
EDGE_IMPORT("http_handler", "set_status_code") void edge_raw_set_status_code(uint32_t code);

EDGE_IMPORT("edge_core_v1", "has") int32_t edge_raw_has(const char *name, uint32_t len);
EDGE_IMPORT("edge_core_v1", "now_ms") int64_t edge_raw_now_ms(void);
EDGE_IMPORT("edge_core_v1", "deadline_ms") int64_t edge_raw_deadline_ms(void);
EDGE_IMPORT("edge_core_v1", "var_get") int32_t edge_raw_var_get(const char *name, uint32_t name_len, void *buf, uint32_t limit);
EDGE_IMPORT("edge_core_v1", "var_set") int32_t edge_raw_var_set(const char *name, uint32_t name_len, const char *value, uint32_t len);
EDGE_IMPORT("edge_core_v1", "last_error") int32_t edge_raw_last_error(void *buf, uint32_t limit);
EDGE_IMPORT("edge_core_v1", "set_error") int32_t edge_raw_set_error(const char *text, uint32_t len);
EDGE_IMPORT("edge_core_v1", "flush") int32_t edge_raw_flush(void);

EDGE_IMPORT("edge_kv_v1", "open") int32_t edge_raw_kv_open(const char *store, uint32_t len);
EDGE_IMPORT("edge_kv_v1", "get")
int32_t edge_raw_kv_get(int32_t h, const char *key, uint32_t key_len, void *buf, uint32_t limit, int64_t *meta);
EDGE_IMPORT("edge_kv_v1", "set")
int32_t edge_raw_kv_set(int32_t h, const char *key, uint32_t key_len, const char *value, uint32_t len, int64_t ttl_ms, uint32_t flags, int64_t version);
EDGE_IMPORT("edge_kv_v1", "delete") int32_t edge_raw_kv_delete(int32_t h, const char *key, uint32_t key_len, int64_t version);
EDGE_IMPORT("edge_kv_v1", "expire") int32_t edge_raw_kv_expire(int32_t h, const char *key, uint32_t key_len, int64_t ttl_ms);
EDGE_IMPORT("edge_kv_v1", "incr")
int32_t edge_raw_kv_incr(int32_t h, const char *key, uint32_t key_len, int64_t delta, int64_t ttl_ms, int64_t *out);
EDGE_IMPORT("edge_kv_v1", "batch") int32_t edge_raw_kv_batch(int32_t h, const void *ops, uint32_t len, void *buf, uint32_t limit);
EDGE_IMPORT("edge_kv_v1", "scan")
int32_t edge_raw_kv_scan(int32_t h, const char *prefix, uint32_t prefix_len, const char *cursor, uint32_t cursor_len, uint32_t max, void *buf, uint32_t limit);

EDGE_IMPORT("edge_net_v1", "tcp_dial") int32_t edge_raw_tcp_dial(const char *address, uint32_t len, uint32_t flags, uint32_t timeout_ms);
EDGE_IMPORT("edge_net_v1", "tcp_read") int32_t edge_raw_tcp_read(int32_t h, void *buf, uint32_t limit, uint32_t timeout_ms);
EDGE_IMPORT("edge_net_v1", "tcp_write") int32_t edge_raw_tcp_write(int32_t h, const void *bytes, uint32_t len, uint32_t timeout_ms);
EDGE_IMPORT("edge_net_v1", "tcp_close") int32_t edge_raw_tcp_close(int32_t h);
EDGE_IMPORT("edge_net_v1", "http_do")
int32_t edge_raw_http_do(const char *head, uint32_t head_len, const char *body, uint32_t len, uint32_t timeout_ms);
EDGE_IMPORT("edge_net_v1", "http_status") int32_t edge_raw_http_status(int32_t h);
EDGE_IMPORT("edge_net_v1", "http_header") int64_t edge_raw_http_header(int32_t h, const char *name, uint32_t name_len, void *buf, uint32_t limit);
EDGE_IMPORT("edge_net_v1", "http_header_names") int64_t edge_raw_http_header_names(int32_t h, void *buf, uint32_t limit);
EDGE_IMPORT("edge_net_v1", "http_read") int64_t edge_raw_http_read(int32_t h, void *buf, uint32_t limit);
EDGE_IMPORT("edge_net_v1", "http_close") int32_t edge_raw_http_close(int32_t h);

EDGE_IMPORT("edge_php_v1", "call")
int32_t edge_raw_php_call(const char *pool, uint32_t pool_len, const char *head, uint32_t head_len, const char *body, uint32_t len, uint32_t timeout_ms);
EDGE_IMPORT("edge_php_v1", "status") int32_t edge_raw_php_status(int32_t h);
EDGE_IMPORT("edge_php_v1", "header") int64_t edge_raw_php_header(int32_t h, const char *name, uint32_t name_len, void *buf, uint32_t limit);
EDGE_IMPORT("edge_php_v1", "header_names") int64_t edge_raw_php_header_names(int32_t h, void *buf, uint32_t limit);
EDGE_IMPORT("edge_php_v1", "read") int64_t edge_raw_php_read(int32_t h, void *buf, uint32_t limit);
EDGE_IMPORT("edge_php_v1", "close") int32_t edge_raw_php_close(int32_t h);

EDGE_IMPORT("edge_route_v1", "to") int32_t edge_raw_route_to(const char *route, uint32_t len);
EDGE_IMPORT("edge_route_v1", "pool") int32_t edge_raw_route_pool(const char *pool, uint32_t len);
EDGE_IMPORT("edge_route_v1", "rewrite") int32_t edge_raw_route_rewrite(const char *uri, uint32_t len);
EDGE_IMPORT("edge_route_v1", "redirect") int32_t edge_raw_route_redirect(uint32_t status, const char *url, uint32_t len);
EDGE_IMPORT("edge_route_v1", "status") int32_t edge_raw_route_status(uint32_t code);
EDGE_IMPORT("edge_route_v1", "cache") int32_t edge_raw_route_cache(const char *parts, uint32_t len, uint32_t ttl_ms);

EDGE_IMPORT("edge_metrics_v1", "define") int32_t edge_raw_metric_define(uint32_t kind, const char *name, uint32_t len);
EDGE_IMPORT("edge_metrics_v1", "add") int32_t edge_raw_metric_add(int32_t id, int64_t delta);
EDGE_IMPORT("edge_metrics_v1", "set") int32_t edge_raw_metric_set(int32_t id, int64_t value);
EDGE_IMPORT("edge_metrics_v1", "observe") int32_t edge_raw_metric_observe(int32_t id, int64_t value);

EDGE_IMPORT("edge_sched_v1", "every") int32_t edge_raw_every(uint32_t ms);
EDGE_IMPORT("edge_sched_v1", "queue_push") int32_t edge_raw_queue_push(const void *bytes, uint32_t len);
EDGE_IMPORT("edge_sched_v1", "queue_pop") int32_t edge_raw_queue_pop(void *buf, uint32_t limit);

EDGE_IMPORT("edge_ws_v1", "send") int32_t edge_raw_ws_send(int64_t conn, uint32_t kind, const void *bytes, uint32_t len);
EDGE_IMPORT("edge_ws_v1", "publish")
int32_t edge_raw_ws_publish(const char *topic, uint32_t topic_len, uint32_t kind, const void *bytes, uint32_t len);
EDGE_IMPORT("edge_ws_v1", "subscribe") int32_t edge_raw_ws_subscribe(int64_t conn, const char *topic, uint32_t len);
EDGE_IMPORT("edge_ws_v1", "unsubscribe") int32_t edge_raw_ws_unsubscribe(int64_t conn, const char *topic, uint32_t len);
EDGE_IMPORT("edge_ws_v1", "close") int32_t edge_raw_ws_close(int64_t conn, uint32_t code, const char *reason, uint32_t len);
EDGE_IMPORT("edge_ws_v1", "user") int32_t edge_raw_ws_user(int64_t conn, void *buf, uint32_t limit);
EDGE_IMPORT("edge_ws_v1", "set_user") int32_t edge_raw_ws_set_user(int64_t conn, const char *user, uint32_t len);
EDGE_IMPORT("edge_ws_v1", "get") int32_t edge_raw_ws_get(int64_t conn, const char *name, uint32_t name_len, void *buf, uint32_t limit);
EDGE_IMPORT("edge_ws_v1", "set")
int32_t edge_raw_ws_set(int64_t conn, const char *name, uint32_t name_len, const char *value, uint32_t len);

// ---- log, panic, arena -----------------------------------------------------------------------------------------------------

typedef enum { EDGE_DEBUG = -1, EDGE_INFO = 0, EDGE_WARN = 1, EDGE_ERROR = 2 } edge_level;

EDGE_API void edge_log(edge_level level, edge_str text) { edge_raw_log(level, text.ptr, text.len); }
// edge_log_enabled tells whether lines of a level are kept: a reason not to put a text together.
EDGE_API bool edge_log_enabled(edge_level level) { return edge_raw_log_enabled(level) != 0; }

// edge_panic ends the request: the text goes to the log, the client gets 500 without a word of it.
EDGE_API __attribute__((noreturn)) void edge_panic(edge_str why) {
    edge_log(EDGE_ERROR, why);
    __builtin_trap();
}

static _Alignas(8) char edge_arena[EDGE_ARENA];
static uint32_t edge_arena_used;

// edge_take gives n bytes of the arena, aligned to 8.
EDGE_API void *edge_take(uint32_t n) {
    uint32_t at = (edge_arena_used + 7) & ~7u;
    if (at > EDGE_ARENA || n > EDGE_ARENA - at) edge_panic(EDGE("edge.h: the arena is full: define EDGE_ARENA larger"));
    edge_arena_used = at + n;
    return edge_arena + at;
}

EDGE_API uint32_t edge_arena_free(void) { return EDGE_ARENA - edge_arena_used; }

// edge_took makes a text of the next n bytes of the arena, which the server has written.
EDGE_API edge_str edge_took(uint32_t n) {
    if (n > edge_arena_free()) edge_panic(EDGE("edge.h: the arena is full: define EDGE_ARENA larger"));
    edge_str s = {edge_arena + edge_arena_used, n};
    edge_arena_used += n;
    return s;
}

EDGE_API char *edge_arena_end(void) { return edge_arena + edge_arena_used; }

// edge_join puts texts one behind the other: EDGE_JOIN(a, b, c).
EDGE_API edge_str edge_join(const edge_str *parts, uint32_t count) {
    uint32_t len = 0;
    for (uint32_t i = 0; i < count; i++) len += parts[i].len;
    char *to = edge_take(len);
    edge_str all = {to, len};
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i].len) memcpy(to, parts[i].ptr, parts[i].len);
        to += parts[i].len;
    }
    return all;
}
#define EDGE_JOIN(...) edge_join((const edge_str[]){__VA_ARGS__}, sizeof((const edge_str[]){__VA_ARGS__}) / sizeof(edge_str))

// edge_decimal writes a number.
EDGE_API edge_str edge_decimal(int64_t n) {
    char digits[20];
    uint32_t count = 0;
    uint64_t rest = n < 0 ? -(uint64_t)n : (uint64_t)n;
    do digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0) digits[count++] = '-';
    char *to = edge_take(count);
    for (uint32_t i = 0; i < count; i++) to[i] = digits[count - 1 - i];
    return (edge_str){to, count};
}

// ---- configuration and features --------------------------------------------------------------------------------------------

// edge_config is the plugin's configuration: a text of edge.yaml as it stands there, anything else as JSON.
EDGE_API edge_str edge_config(void) { return edge_took(edge_raw_get_config(edge_arena_end(), edge_arena_free())); }

enum {
    EDGE_BUFFER_REQUEST = 1,  // the server keeps what the plugin reads of a request's body for the rest of the chain
    EDGE_BUFFER_RESPONSE = 2, // the answer is held back until the plugin's second function returns
    EDGE_TRAILERS = 4,        // trailers can be changed
};
// edge_enable turns features on: at the start for all requests, in a handler for that one. It returns which are on.
EDGE_API uint32_t edge_enable(uint32_t features) { return edge_raw_enable_features(features); }

// ---- request and response --------------------------------------------------------------------------------------------------

typedef uint64_t edge_flow; // what a handler returns
#define EDGE_NEXT ((edge_flow)1) // the request goes on
#define EDGE_DONE ((edge_flow)0) // the plugin has answered
#define EDGE_NEXT_WITH(ctx) ((edge_flow)(uint32_t)(ctx) << 32 | 1) // it goes on, and the second function gets ctx

typedef enum { EDGE_REQUEST = 0, EDGE_RESPONSE = 1, EDGE_REQUEST_TRAILER = 2, EDGE_RESPONSE_TRAILER = 3 } edge_kind;

EDGE_API edge_str edge_method(void) { return edge_took(edge_raw_get_method(edge_arena_end(), edge_arena_free())); }
EDGE_API void edge_set_method(edge_str method) { edge_raw_set_method(method.ptr, method.len); }
// edge_uri is path and query, percent-encoded: /hi?name=panda.
EDGE_API edge_str edge_uri(void) { return edge_took(edge_raw_get_uri(edge_arena_end(), edge_arena_free())); }
EDGE_API void edge_set_uri(edge_str uri) { edge_raw_set_uri(uri.ptr, uri.len); }
EDGE_API edge_str edge_protocol(void) { return edge_took(edge_raw_get_protocol_version(edge_arena_end(), edge_arena_free())); }
EDGE_API edge_str edge_source_addr(void) { return edge_took(edge_raw_get_source_addr(edge_arena_end(), edge_arena_free())); }

// edge_list is a list of texts: while (edge_next(&list, &item)) …
typedef edge_str edge_list;
EDGE_API bool edge_next(edge_list *list, edge_str *item) { return list->len && edge_cut(list, 0, item); }

// The desk of docs/abi.md: headers that the server has laid into memory before it called, and changes that it finds there when
// the plugin returns or calls it. Neither costs a call. Only Edge asks for it; elsewhere it stays shut.
enum { EDGE_DESK_CHANGES = 8, EDGE_DESK_SLOTS = 4, EDGE_DESK_COPY = 256 };
static struct {
    uint32_t slots, changes;
    struct {
        uint32_t what, kind;
        edge_str name, value;
    } change[EDGE_DESK_CHANGES];
    struct {
        uint32_t len, used, name_len; // len: of the value; -1: there is none; -2: ask
        char name[36], value[208];
    } slot[EDGE_DESK_SLOTS];
} edge_desk;
static bool edge_desk_open;

// edge_on_desk finds the only value of a header of the request. It reports false if that has to be asked for.
EDGE_API bool edge_on_desk(edge_kind kind, edge_str name, edge_str *value) {
    if (kind != EDGE_REQUEST) return false;
    for (uint32_t i = 0; i < edge_desk.slots; i++) {
        if (!edge_equal((edge_str){edge_desk.slot[i].name, edge_desk.slot[i].name_len}, name)) continue;
        edge_desk.slot[i].used = 1;
        if (edge_desk.slot[i].len == (uint32_t)-2) return false;
        *value = (edge_str){edge_desk.slot[i].value, edge_desk.slot[i].len == (uint32_t)-1 ? 0 : edge_desk.slot[i].len};
        return true;
    }
    return false;
}

// edge_lasts reports whether a text stays as it is until the plugin returns: a literal, or the server's.
#define EDGE_LASTS(s)                                                                                                         \
    ((__builtin_constant_p((s).len) && __builtin_constant_p((s).len ? (s).ptr[0] : 0)) || (s).len == 0 ||                     \
     ((uintptr_t)(s).ptr >= (uintptr_t)&edge_desk && (uintptr_t)(s).ptr < (uintptr_t)(&edge_desk + 1)))
EDGE_API edge_str edge_copy(edge_str s) {
    char *to = (char *)edge_take(s.len);
    for (uint32_t i = 0; i < s.len; i++) to[i] = s.ptr[i];
    return (edge_str){to, s.len};
}

// edge_leave leaves a change on the desk. It reports false if there is no room, for the change has to be made by a call then.
EDGE_API bool edge_leave(uint32_t what, edge_kind kind, edge_str name, edge_str value) {
    if (kind == EDGE_REQUEST) edge_desk.slots = 0;
    uint32_t n = edge_desk.changes;
    if (!edge_desk_open || n >= EDGE_DESK_CHANGES || name.len > EDGE_DESK_COPY || value.len > EDGE_DESK_COPY ||
        edge_arena_free() < 2 * EDGE_DESK_COPY + 16)
        return false;
    edge_desk.change[n].what = what;
    edge_desk.change[n].kind = kind;
    edge_desk.change[n].name = EDGE_LASTS(name) ? name : edge_copy(name);
    edge_desk.change[n].value = EDGE_LASTS(value) ? value : edge_copy(value);
    edge_desk.changes = n + 1;
    return true;
}

#ifdef __wasm__
#define EDGE_DESK                                                                                                             \
    EDGE_EXPORT("edge_desk") uint32_t edge_export_desk(void) { return edge_desk_open = true, (uint32_t)(uintptr_t)&edge_desk; }
#else
#define EDGE_DESK
#endif

// edge_header_names are the names, in lower case, sorted.
EDGE_API edge_list edge_header_names(edge_kind kind) {
    return edge_took((uint32_t)edge_raw_get_header_names(kind, edge_arena_end(), edge_arena_free()));
}
// edge_header_values are all values of a name.
EDGE_API edge_list edge_header_values(edge_kind kind, edge_str name) {
    return edge_took((uint32_t)edge_raw_get_header_values(kind, name.ptr, name.len, edge_arena_end(), edge_arena_free()));
}
// edge_header is the first value of a name, an empty text if there is none.
EDGE_API edge_str edge_header(edge_kind kind, edge_str name) {
    edge_str value = {0, 0};
    if (edge_on_desk(kind, name, &value)) return value;
    edge_list values = edge_header_values(kind, name);
    edge_next(&values, &value);
    return value;
}
EDGE_API bool edge_header_has(edge_kind kind, edge_str name) { return edge_raw_get_header_values(kind, name.ptr, name.len, 0, 0) != 0; }
EDGE_API void edge_header_set(edge_kind kind, edge_str name, edge_str value) {
    if (!edge_leave(1, kind, name, value)) edge_raw_set_header_value(kind, name.ptr, name.len, value.ptr, value.len);
}
EDGE_API void edge_header_add(edge_kind kind, edge_str name, edge_str value) {
    if (!edge_leave(2, kind, name, value)) edge_raw_add_header_value(kind, name.ptr, name.len, value.ptr, value.len);
}
EDGE_API void edge_header_remove(edge_kind kind, edge_str name) {
    if (!edge_leave(3, kind, name, (edge_str){0, 0})) edge_raw_remove_header(kind, name.ptr, name.len);
}

// edge_read reads on in a body: fills buf unless the body ends before. 0 is the end.
EDGE_API uint32_t edge_read(edge_kind kind, void *buf, uint32_t size) {
    uint32_t filled = 0;
    while (filled < size) {
        uint64_t n = edge_raw_read_body(kind, (char *)buf + filled, size - filled);
        filled += (uint32_t)n;
        if (n >> 32) break;
    }
    return filled;
}
// edge_read_all reads what is left of a body into the arena.
EDGE_API edge_str edge_read_all(edge_kind kind) {
    uint32_t n = edge_read(kind, edge_arena_end(), edge_arena_free());
    if (n == edge_arena_free()) edge_panic(EDGE("edge.h: the body is larger than the arena: define EDGE_ARENA larger, or read in pieces"));
    return edge_took(n);
}
// edge_write replaces a body with the first call in a handler and appends with the next ones.
EDGE_API void edge_write(edge_kind kind, edge_str bytes) { edge_raw_write_body(kind, bytes.ptr, bytes.len); }

EDGE_API uint32_t edge_status(void) { return edge_raw_get_status_code(); }
EDGE_API void edge_set_status(uint32_t status) { edge_raw_set_status_code(status); }

// edge_reply answers: return edge_reply(…).
EDGE_API edge_flow edge_reply(uint32_t status, edge_str type, edge_str body) {
    edge_set_status(status);
    edge_header_set(EDGE_RESPONSE, EDGE("content-type"), type);
    edge_header_set(EDGE_RESPONSE, EDGE("content-length"), edge_decimal(body.len));
    edge_write(EDGE_RESPONSE, body);
    return EDGE_DONE;
}

// ---- errors, variables, time -----------------------------------------------------------------------------------------------

enum {
    EDGE_UNAVAILABLE = -1,
    EDGE_TIMEOUT = -2,
    EDGE_INVALID = -3,
    EDGE_TOO_LARGE = -4,
    EDGE_UNSUPPORTED = -5,
    EDGE_INTERNAL = -6,
    EDGE_DENIED = -7,
    EDGE_NOT_FOUND = -8,
    EDGE_CONDITION = -9,
    EDGE_EXISTS = -10,
    EDGE_CLOSED = -11,
    EDGE_LIMIT = -12,
    EDGE_PHASE = -13,
};

EDGE_API edge_str edge_error_name(int error) {
    switch (error) {
    case EDGE_UNAVAILABLE: return EDGE("unavailable");
    case EDGE_TIMEOUT: return EDGE("timeout");
    case EDGE_INVALID: return EDGE("invalid");
    case EDGE_TOO_LARGE: return EDGE("too-large");
    case EDGE_UNSUPPORTED: return EDGE("unsupported");
    case EDGE_DENIED: return EDGE("denied");
    case EDGE_NOT_FOUND: return EDGE("not-found");
    case EDGE_CONDITION: return EDGE("condition");
    case EDGE_EXISTS: return EDGE("exists");
    case EDGE_CLOSED: return EDGE("closed");
    case EDGE_LIMIT: return EDGE("limit");
    case EDGE_PHASE: return EDGE("phase");
    }
    return EDGE("internal");
}

// edge_got makes *s the next n bytes of the arena, or returns the error that n is.
EDGE_API int edge_got(int32_t n, edge_str *s) {
    *s = (edge_str){0, 0};
    if (n < 0) return n;
    *s = edge_took((uint32_t)n);
    return 0;
}

// edge_last_error is what the last call that failed would say in words.
EDGE_API edge_str edge_last_error(void) {
    edge_str s;
    edge_got(edge_raw_last_error(edge_arena_end(), edge_arena_free()), &s);
    return s;
}

// edge_var reads a variable of this request: one that a plugin set, or edge.route, edge.request_id.
EDGE_API int edge_var(edge_str name, edge_str *value) {
    return edge_got(edge_raw_var_get(name.ptr, name.len, edge_arena_end(), edge_arena_free()), value);
}
// edge_set_var sets one; later plugins, PHP and the access log see it.
EDGE_API int edge_set_var(edge_str name, edge_str value) { return edge_raw_var_set(name.ptr, name.len, value.ptr, value.len); }
// edge_has tells whether the plugin may import "edge_kv_v1", or "edge_kv_v1.get".
EDGE_API bool edge_has(edge_str import) { return edge_raw_has(import.ptr, import.len) == 1; }
EDGE_API int64_t edge_now_ms(void) { return edge_raw_now_ms(); }
// edge_deadline_ms is what this call has left, -1 without a bound.
EDGE_API int64_t edge_deadline_ms(void) { return edge_raw_deadline_ms(); }
// edge_flush sends to the client what was written of the answer so far.
EDGE_API int edge_flush(void) { return edge_raw_flush(); }

// ---- stores ----------------------------------------------------------------------------------------------------------------

// edge_kv_open opens a store of the kv section, which allow.kv must name. The result is good as long as the instance.
EDGE_API int edge_kv_open(edge_str store) { return edge_raw_kv_open(store.ptr, store.len); }

EDGE_API int edge_kv_get(int store, edge_str key, edge_str *value) {
    return edge_got(edge_raw_kv_get(store, key.ptr, key.len, edge_arena_end(), edge_arena_free(), 0), value);
}
// edge_kv_entry is edge_kv_get with milliseconds to live (-1 for ever) and version (0 if the store has none).
EDGE_API int edge_kv_entry(int store, edge_str key, edge_str *value, int64_t *ttl_ms, int64_t *version) {
    int64_t meta[2] = {-1, 0};
    int error = edge_got(edge_raw_kv_get(store, key.ptr, key.len, edge_arena_end(), edge_arena_free(), meta), value);
    *ttl_ms = meta[0], *version = meta[1];
    return error;
}

enum { EDGE_IF_ABSENT = 1, EDGE_IF_PRESENT = 2, EDGE_IF_VERSION = 4, EDGE_KEEP_TTL = 8 };
typedef struct {
    int64_t ttl_ms; // 0 for ever
    uint32_t flags;
    int64_t version; // with EDGE_IF_VERSION
} edge_how;

// edge_kv_set sets a key: edge_kv_set(store, key, value, (edge_how){.ttl_ms = 60000}).
EDGE_API int edge_kv_set(int store, edge_str key, edge_str value, edge_how how) {
    return edge_raw_kv_set(store, key.ptr, key.len, value.ptr, value.len, how.ttl_ms, how.flags, how.version);
}
// edge_kv_delete deletes a key, of a version, 0 for any. One that is not there is no error.
EDGE_API int edge_kv_delete(int store, edge_str key, int64_t version) { return edge_raw_kv_delete(store, key.ptr, key.len, version); }
// edge_kv_expire returns 1, or 0 if there is no such key.
EDGE_API int edge_kv_expire(int store, edge_str key, int64_t ttl_ms) { return edge_raw_kv_expire(store, key.ptr, key.len, ttl_ms); }
// edge_kv_incr adds to a number, 0 if the key is not there. A key that it makes lives for ttl_ms, 0 for ever.
EDGE_API int edge_kv_incr(int store, edge_str key, int64_t delta, int64_t ttl_ms, int64_t *number) {
    *number = 0;
    return edge_raw_kv_incr(store, key.ptr, key.len, delta, ttl_ms, number);
}

enum { EDGE_OP_GET = 1, EDGE_OP_SET = 2, EDGE_OP_DELETE = 3, EDGE_OP_INCR = 4, EDGE_OP_EXPIRE = 5 };
typedef struct {
    uint32_t op;
    edge_str key, value; // value of EDGE_OP_SET
    int64_t delta;       // of EDGE_OP_INCR
    edge_how how;        // of EDGE_OP_SET; ttl_ms of EDGE_OP_EXPIRE and EDGE_OP_INCR; version of EDGE_OP_DELETE
    // filled by edge_kv_batch:
    int error;
    edge_str result; // of EDGE_OP_GET
    int64_t number;  // of EDGE_OP_INCR
} edge_op;

// edge_kv_batch does several operations in one call. The answers lie in what is left of the arena: more than that is
// EDGE_TOO_LARGE, although the operations were done.
EDGE_API int edge_kv_batch(int store, edge_op *ops, uint32_t count) {
    struct head { uint32_t op, key_len, value_len, flags; int64_t ttl_ms, version; };
    struct result { int32_t status; uint32_t flags; int64_t ttl_ms, version; uint32_t ptr, len, err_ptr, err_len; };
    uint32_t len = 0;
    for (uint32_t i = 0; i < count; i++) len += sizeof(struct head) + ops[i].key.len + (ops[i].op == EDGE_OP_INCR ? 8 : ops[i].value.len);
    char *request = edge_take(len), *to = request;
    for (uint32_t i = 0; i < count; i++) {
        edge_op *o = &ops[i];
        edge_str value = o->op == EDGE_OP_INCR ? (edge_str){(const char *)&o->delta, 8} : o->value;
        struct head h = {o->op, o->key.len, value.len, o->how.flags, o->how.ttl_ms, o->how.version};
        memcpy(to, &h, sizeof h), to += sizeof h;
        if (o->key.len) memcpy(to, o->key.ptr, o->key.len);
        to += o->key.len;
        if (value.len) memcpy(to, value.ptr, value.len);
        to += value.len;
    }
    char *answer = edge_take(0);
    uint32_t room = edge_arena_free();
    int32_t n = edge_raw_kv_batch(store, request, len, answer, room);
    if (n < 0) return n;
    if ((uint32_t)n > room) return EDGE_TOO_LARGE;
    edge_took((uint32_t)n);
    for (uint32_t i = 0; i < count; i++) {
        struct result r;
        memcpy(&r, answer + 8 + i * sizeof r, sizeof r);
        ops[i].error = r.status == 1 ? EDGE_NOT_FOUND : r.status == 2 ? EDGE_CONDITION : r.status == 3 ? EDGE_EXISTS : r.status;
        if (r.status || !r.len) continue;
#ifdef __wasm__
        const char *value = (const char *)(uintptr_t)r.ptr;
#else
        const char *value = answer + r.ptr; // addresses do not fit
#endif
        ops[i].result = (edge_str){value, r.len};
        if (ops[i].op == EDGE_OP_INCR) memcpy(&ops[i].number, value, 8);
    }
    return 0;
}

// edge_scan is a walk over the keys that begin with a prefix.
typedef struct {
    int store;
    edge_str prefix;
    uint32_t max;    // keys a page
    edge_str cursor; // of the page to come
    edge_str page;
    bool last; // page is the last one
} edge_scan;

EDGE_API edge_scan edge_kv_scan(int store, edge_str prefix, uint32_t max) { return (edge_scan){store, prefix, max, {0, 0}, {0, 0}, false}; }

EDGE_API bool edge_scan_item(edge_str *page, edge_str *item) {
    uint32_t n;
    if (page->len < 4) return false;
    memcpy(&n, page->ptr, 4);
    if (n > page->len - 4) return false;
    *item = (edge_str){page->ptr + 4, n};
    *page = (edge_str){page->ptr + 4 + n, page->len - 4 - n};
    return true;
}
// edge_scan_next returns 1 and a key, 0 at the end, or an error.
EDGE_API int edge_scan_next(edge_scan *s, edge_str *key) {
    while (!edge_scan_item(&s->page, key)) {
        if (s->last) return 0;
        int32_t n = edge_raw_kv_scan(s->store, s->prefix.ptr, s->prefix.len, s->cursor.ptr, s->cursor.len, s->max, edge_arena_end(), edge_arena_free());
        int error = edge_got(n, &s->page);
        if (error) return error;
        if (!edge_scan_item(&s->page, &s->cursor)) return EDGE_INTERNAL;
        s->last = s->cursor.len == 0;
    }
    return 1;
}

// ---- elsewhere -------------------------------------------------------------------------------------------------------------

// A request to elsewhere (allow.net), or to a PHP pool of this server (allow.php):
//
//     edge_call c = edge_http(EDGE("GET"), EDGE("https://example.com/keys"));
//     edge_call_header(&c, EDGE("accept"), EDGE("application/json"));
//     edge_answer a;
//     int error = edge_send(&c, EDGE(""), 2000, &a);
//     if (!error) { … edge_answer_status(&a), edge_answer_read_all(&a, &body) … }
//     edge_answer_close(&a);
typedef struct {
    edge_str pool; // of PHP; without one the request goes elsewhere
    edge_str head;
    bool broken; // a line feed where none may be: a value from a client must not become two headers
} edge_call;

typedef struct {
    int handle; // 0: none
    bool php;
} edge_answer;

EDGE_API bool edge_one_line(edge_str s) {
    for (uint32_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\n' || s.ptr[i] == '\r') return false;
    return true;
}

EDGE_API edge_call edge_http(edge_str method, edge_str url) {
    bool sound = edge_one_line(method) && edge_one_line(url);
    return (edge_call){{0, 0}, EDGE_JOIN(method, EDGE(" "), url, EDGE("\n")), !sound};
}
EDGE_API edge_call edge_php(edge_str pool, edge_str method, edge_str path) {
    edge_call c = edge_http(method, path);
    c.pool = pool;
    return c;
}
EDGE_API void edge_call_header(edge_call *c, edge_str name, edge_str value) {
    c->broken |= !edge_one_line(name) || !edge_one_line(value);
    c->head = EDGE_JOIN(c->head, name, EDGE(": "), value, EDGE("\n"));
}
// edge_send waits for the header of the answer; timeout_ms (0: 30 s, for PHP 5 s) is for all of it. Redirects are not followed.
EDGE_API int edge_send_http(edge_call *c, edge_str body, uint32_t timeout_ms, edge_answer *a) {
    int h = c->broken ? EDGE_INVALID : edge_raw_http_do(c->head.ptr, c->head.len, body.ptr, body.len, timeout_ms);
    *a = (edge_answer){h > 0 ? h : 0, false};
    return h < 0 ? h : 0;
}
EDGE_API int edge_send_php(edge_call *c, edge_str body, uint32_t timeout_ms, edge_answer *a) {
    int h = c->broken ? EDGE_INVALID : edge_raw_php_call(c->pool.ptr, c->pool.len, c->head.ptr, c->head.len, body.ptr, body.len, timeout_ms);
    *a = (edge_answer){h > 0 ? h : 0, true};
    return h < 0 ? h : 0;
}

// Of an answer to edge_send_http; those with edge_php_ in front are the same for edge_send_php. Two sets, so that a plugin
// imports, and must be granted, only what it uses.
#define EDGE_ANSWER(prefix)                                                                                                   \
    EDGE_API int edge_##prefix##_status(const edge_answer *a) { return edge_raw_##prefix##_status(a->handle); }                \
    EDGE_API edge_list edge_##prefix##_header_names(const edge_answer *a) {                                                   \
        int64_t n = edge_raw_##prefix##_header_names(a->handle, edge_arena_end(), edge_arena_free());                         \
        return n > 0 ? edge_took((uint32_t)n) : (edge_list){0, 0};                                                            \
    }                                                                                                                         \
    EDGE_API edge_list edge_##prefix##_header_values(const edge_answer *a, edge_str name) {                                   \
        int64_t n = edge_raw_##prefix##_header(a->handle, name.ptr, name.len, edge_arena_end(), edge_arena_free());           \
        return n > 0 ? edge_took((uint32_t)n) : (edge_list){0, 0};                                                            \
    }                                                                                                                         \
    EDGE_API edge_str edge_##prefix##_header_of(const edge_answer *a, edge_str name) {                                        \
        edge_list values = edge_##prefix##_header_values(a, name);                                                            \
        edge_str value = {0, 0};                                                                                              \
        edge_next(&values, &value);                                                                                           \
        return value;                                                                                                         \
    }                                                                                                                         \
    EDGE_API int edge_##prefix##_read(const edge_answer *a, void *buf, uint32_t size, bool *end) {                            \
        int64_t n = edge_raw_##prefix##_read(a->handle, buf, size);                                                           \
        *end = n < 0 || n >> 32;                                                                                              \
        return n < 0 ? (int)n : (int)(uint32_t)n;                                                                             \
    }                                                                                                                         \
    EDGE_API int edge_##prefix##_read_all(const edge_answer *a, edge_str *body) {                                             \
        bool end;                                                                                                             \
        *body = (edge_str){0, 0};                                                                                             \
        int n = edge_##prefix##_read(a, edge_arena_end(), edge_arena_free(), &end);                                           \
        if (n < 0) return n;                                                                                                  \
        if (!end) return EDGE_TOO_LARGE;                                                                                      \
        *body = edge_took((uint32_t)n);                                                                                       \
        return 0;                                                                                                             \
    }                                                                                                                         \
    EDGE_API void edge_##prefix##_close(edge_answer *a) {                                                                     \
        if (a->handle) edge_raw_##prefix##_close(a->handle);                                                                  \
        a->handle = 0;                                                                                                        \
    }
EDGE_ANSWER(http)
EDGE_ANSWER(php)

// TCP: edge_dial returns a connection or an error; timeout_ms 0 is 5 s.
enum { EDGE_TLS = 1 };
EDGE_API int edge_dial(edge_str address, uint32_t flags, uint32_t timeout_ms) {
    return edge_raw_tcp_dial(address.ptr, address.len, flags, timeout_ms);
}
// edge_tcp_read waits for at least one byte; 0 is the end.
EDGE_API int edge_tcp_read(int conn, void *buf, uint32_t size, uint32_t timeout_ms) { return edge_raw_tcp_read(conn, buf, size, timeout_ms); }
EDGE_API int edge_tcp_write(int conn, edge_str bytes, uint32_t timeout_ms) {
    int n = edge_raw_tcp_write(conn, bytes.ptr, bytes.len, timeout_ms);
    return n < 0 ? n : 0;
}
EDGE_API void edge_tcp_close(int conn) { edge_raw_tcp_close(conn); }

// ---- metrics, clock, queue -------------------------------------------------------------------------------------------------

// Metrics are numbers: edge_add(edge_counter(EDGE("denied")), 1). The same name is the same metric in every instance; an error
// of defining one is passed on by what uses it.
EDGE_API int edge_counter(edge_str name) { return edge_raw_metric_define(0, name.ptr, name.len); }
EDGE_API int edge_gauge(edge_str name) { return edge_raw_metric_define(1, name.ptr, name.len); }
EDGE_API int edge_histogram(edge_str name) { return edge_raw_metric_define(2, name.ptr, name.len); }
EDGE_API int edge_add(int metric, int64_t delta) { return metric < 0 ? metric : edge_raw_metric_add(metric, delta); }
EDGE_API int edge_set(int metric, int64_t value) { return metric < 0 ? metric : edge_raw_metric_set(metric, value); }
EDGE_API int edge_observe(int metric, int64_t value) { return metric < 0 ? metric : edge_raw_metric_observe(metric, value); }

// edge_every lets the function of EDGE_CRON be called so often: 100 ms to 24 h; 0 stops.
EDGE_API int edge_every(uint32_t ms) { return edge_raw_every(ms); }
// The queue is shared by the plugin's instances: a request leaves work in it, the function of EDGE_CRON does it.
EDGE_API int edge_push(edge_str item) { return edge_raw_queue_push(item.ptr, item.len); }
EDGE_API int edge_pop(edge_str *item) { return edge_got(edge_raw_queue_pop(edge_arena_end(), edge_arena_free()), item); }

// ---- kinds -----------------------------------------------------------------------------------------------------------------

EDGE_API void edge_begin(void) { edge_arena_used = 0; }

// EDGE_START(function): void function(void), once in every instance, before anything else.
#define EDGE_START(function)                                                                                                  \
    EDGE_EXPORT("_initialize") void edge_export_initialize(void) { edge_begin(), function(); }

// EDGE_CONFIG(function): bool function(edge_str config, edge_str *why), whether the configuration will do.
#define EDGE_CONFIG(function)                                                                                                 \
    EDGE_EXPORT("edge_config") int32_t edge_export_config(uint32_t len) {                                                     \
        edge_str why = {0, 0};                                                                                                \
        (void)len, edge_begin();                                                                                              \
        if (function(edge_config(), &why)) return 0;                                                                          \
        edge_raw_set_error(why.ptr, why.len);                                                                                 \
        return EDGE_INVALID;                                                                                                  \
    }

// EDGE_MIDDLEWARE(handle): edge_flow handle(void). An origin is the same: the target of a route, which answers by itself.
#define EDGE_MIDDLEWARE(handle)                                                                                               \
    EDGE_DESK                                                                                                                 \
    EDGE_EXPORT("handle_request") uint64_t edge_export_request(void) { return edge_begin(), handle(); }                       \
    EDGE_EXPORT("handle_response") void edge_export_response(uint32_t ctx, uint32_t failed) { (void)ctx, (void)failed; }

// EDGE_MIDDLEWARE2(handle, answer): also void answer(uint32_t ctx, bool failed), when the rest of the chain has answered; failed
// says that it has not. Without EDGE_BUFFER_RESPONSE it can look at the header only.
#define EDGE_MIDDLEWARE2(handle, answer)                                                                                      \
    EDGE_DESK                                                                                                                 \
    EDGE_EXPORT("handle_request") uint64_t edge_export_request(void) { return edge_begin(), handle(); }                       \
    EDGE_EXPORT("handle_response") void edge_export_response(uint32_t ctx, uint32_t failed) { edge_begin(), answer(ctx, failed != 0); }

// EDGE_ROUTER(function): void function(void). It reads the request, may set its headers, and decides with these; of several
// decisions the last counts, without one the routes of edge.yaml decide.
static bool edge_decided;
EDGE_API int edge_decide(int n) { return edge_decided |= n >= 0, n; }
EDGE_API int edge_route_to(edge_str route) { return edge_decide(edge_raw_route_to(route.ptr, route.len)); }
EDGE_API int edge_route_pool(edge_str pool) { return edge_decide(edge_raw_route_pool(pool.ptr, pool.len)); }
EDGE_API int edge_route_redirect(uint32_t status, edge_str url) { return edge_decide(edge_raw_route_redirect(status, url.ptr, url.len)); }
EDGE_API int edge_route_status(uint32_t code) { return edge_decide(edge_raw_route_status(code)); }
EDGE_API int edge_route_rewrite(edge_str uri) { return edge_raw_route_rewrite(uri.ptr, uri.len); }
// edge_route_cache: for so long, requests that are equal in parts ("path,header:accept") get the same decision without a call.
EDGE_API int edge_route_cache(edge_str parts, uint32_t ttl_ms) { return edge_raw_route_cache(parts.ptr, parts.len, ttl_ms); }
#define EDGE_ROUTER(function)                                                                                                 \
    EDGE_EXPORT("route") int32_t edge_export_route(void) { return edge_begin(), edge_decided = false, function(), edge_decided; }

// EDGE_CRON(function): void function(int64_t now_ms), as often as edge_every said.
#define EDGE_CRON(function)                                                                                                   \
    EDGE_EXPORT("tick") void edge_export_tick(int64_t now_ms) { edge_begin(), function(now_ms); }

// The mailbox, where the server writes messages and arguments. EDGE_WEBSOCKET and EDGE_DRIVER bring it, a plugin with both
// uses EDGE_WEBSOCKET_ONLY for one of them.
static _Alignas(8) __attribute__((unused)) char edge_first_mailbox[4096];
static __attribute__((unused)) char *edge_mail = edge_first_mailbox;
#ifdef __wasm__
#define EDGE_MAILBOX                                                                                                          \
    EDGE_EXPORT("edge_mailbox") uint64_t edge_export_mailbox(uint32_t want) {                                                 \
        static uint32_t size = sizeof edge_first_mailbox;                                                                     \
        if (want > size) {                                                                                                    \
            uint32_t pages = want / 65536 + 1;                                                                                \
            size_t at = __builtin_wasm_memory_grow(0, pages);                                                                 \
            if (at == (size_t)-1) return 0;                                                                                   \
            edge_mail = (char *)(at * 65536), size = pages * 65536;                                                           \
        }                                                                                                                     \
        return (uint64_t)(uintptr_t)edge_mail << 32 | size;                                                                   \
    }
#else
#define EDGE_MAILBOX
#endif

typedef enum { EDGE_WS_TEXT = 1, EDGE_WS_BINARY = 2 } edge_ws_kind;
EDGE_API int edge_ws_send(int64_t conn, edge_ws_kind kind, edge_str m) { return edge_raw_ws_send(conn, kind, m.ptr, m.len); }
// edge_publish sends to all who subscribed to a topic; allow.publish must name it. Any kind of plugin may.
EDGE_API int edge_publish(edge_str topic, edge_ws_kind kind, edge_str m) { return edge_raw_ws_publish(topic.ptr, topic.len, kind, m.ptr, m.len); }
EDGE_API int edge_ws_subscribe(int64_t conn, edge_str topic) { return edge_raw_ws_subscribe(conn, topic.ptr, topic.len); }
EDGE_API int edge_ws_unsubscribe(int64_t conn, edge_str topic) { return edge_raw_ws_unsubscribe(conn, topic.ptr, topic.len); }
EDGE_API int edge_ws_close(int64_t conn, uint32_t code, edge_str reason) { return edge_raw_ws_close(conn, code, reason.ptr, reason.len); }
// edge_ws_user: whose the connection is; an empty text is nobody's. edge_ws_set_user makes it somebody's.
EDGE_API int edge_ws_user(int64_t conn, edge_str *user) { return edge_got(edge_raw_ws_user(conn, edge_arena_end(), edge_arena_free()), user); }
EDGE_API int edge_ws_set_user(int64_t conn, edge_str user) { return edge_raw_ws_set_user(conn, user.ptr, user.len); }
// edge_ws_get is an attribute of the connection: a claim of its token that edge.yaml names, or what edge_ws_set said.
EDGE_API int edge_ws_get(int64_t conn, edge_str name, edge_str *value) {
    return edge_got(edge_raw_ws_get(conn, name.ptr, name.len, edge_arena_end(), edge_arena_free()), value);
}
// edge_ws_set sets one; an empty value takes it away.
EDGE_API int edge_ws_set(int64_t conn, edge_str name, edge_str value) {
    return edge_raw_ws_set(conn, name.ptr, name.len, value.ptr, value.len);
}

// EDGE_WEBSOCKET(open, message, closed): int open(int64_t conn), 0 or the status that refuses it; int message(int64_t conn,
// edge_ws_kind kind, edge_str m), 0 or the code to close with; void closed(int64_t conn, uint32_t code).
#define EDGE_WEBSOCKET(open, message, closed) EDGE_MAILBOX EDGE_WEBSOCKET_ONLY(open, message, closed)
#define EDGE_WEBSOCKET_ONLY(open, message, closed)                                                                            \
    EDGE_EXPORT("ws_open") int32_t edge_export_ws_open(int64_t conn) { return edge_begin(), open(conn); }                     \
    EDGE_EXPORT("ws_message") int32_t edge_export_ws_message(int64_t conn, uint32_t kind, uint32_t len) {                     \
        return edge_begin(), message(conn, kind, (edge_str){edge_mail, len});                                                 \
    }                                                                                                                         \
    EDGE_EXPORT("ws_close") void edge_export_ws_close(int64_t conn, uint32_t code) { edge_begin(), closed(conn, code); }

// EDGE_DRIVER(driver): a key-value store, as a struct of functions. They return 0, or EDGE_NOT_FOUND, EDGE_CONDITION,
// EDGE_EXISTS, or another error. What is missing is left out of the struct, and of can.
enum { EDGE_CAN_TTL = 1, EDGE_CAN_CAS = 2, EDGE_CAN_INCR = 4, EDGE_CAN_SCAN = 16, EDGE_CAN_SHARED = 64, EDGE_CAN_EVICT = 128 };
typedef struct {
    edge_str value;  // valid until the next call
    int64_t ttl_ms;  // that are left; -1 for ever
    int64_t version; // 0 for none
} edge_found;
typedef struct {
    uint32_t can;
    int (*open)(edge_str config); // JSON
    int (*get)(edge_str key, edge_found *found);
    int (*set)(edge_str key, edge_str value, edge_how how, int64_t *version); // version: the new one
    int (*remove)(edge_str key, int64_t version);                             // version 0: any
    int (*incr)(edge_str key, int64_t delta, int64_t ttl_ms, int64_t *number);
    int (*expire)(edge_str key, int64_t ttl_ms); // 0: for ever
    int (*scan)(edge_str prefix, edge_str cursor, uint32_t max, edge_str *page); // of edge_page
    int (*clear)(void);
    void (*tick)(int64_t now_ms);
    void (*close)(void);
} edge_driver;

// edge_operation_ms is the time of a driver's operation that runs, as edge_now_ms, without a call of the server.
static volatile int64_t edge_clock; // the server keeps it once it is not 0
EDGE_API int64_t edge_operation_ms(void) {
    if (edge_clock) return edge_clock;
    int64_t now = edge_now_ms();
#ifdef __wasm__
    edge_clock = now;
#endif
    return now;
}

// edge_page begins a page of scan with the cursor of the next one (empty: this is the last), then takes its keys.
EDGE_API edge_str edge_page(edge_str page, edge_str item) {
    edge_str len = {(const char *)&item.len, 4};
    return EDGE_JOIN(page, len, item);
}

typedef struct {
    int32_t status;
    uint32_t flags;
    int64_t ttl_ms, version;
    uint32_t ptr, len, err_ptr, err_len;
} edge_result;

EDGE_API uint32_t edge_address(const void *p) { return (uint32_t)(uintptr_t)p; }

EDGE_API void edge_put_result(edge_result *r, int error, edge_found found) {
    int status = error == EDGE_NOT_FOUND ? 1 : error == EDGE_CONDITION ? 2 : error == EDGE_EXISTS ? 3 : error;
    *r = (edge_result){status, 0, found.ttl_ms, found.version, edge_address(found.value.ptr), found.value.len, 0, 0};
}

// edge_drive does one operation.
EDGE_API void edge_drive(const edge_driver *d, edge_result *r, uint32_t op, edge_str key, edge_str value, edge_how how, int64_t delta) {
    edge_found found = {{0, 0}, -1, 0};
    int error = EDGE_UNSUPPORTED;
    switch (op) {
    case EDGE_OP_GET: error = d->get(key, &found); break;
    case EDGE_OP_SET: error = d->set(key, value, how, &found.version); break;
    case EDGE_OP_DELETE: error = d->remove(key, how.version); break;
    case EDGE_OP_EXPIRE: error = d->expire ? d->expire(key, how.ttl_ms) : error; break;
    case EDGE_OP_INCR: {
        int64_t *number = edge_take(8);
        error = d->incr ? d->incr(key, delta, how.ttl_ms, number) : error;
        found.value = (edge_str){(const char *)number, 8};
    }
    }
    edge_put_result(r, error, found);
}

EDGE_API uint32_t edge_drive_batch(const edge_driver *d, edge_str ops) {
    struct head { uint32_t op, key_len, value_len, flags; int64_t ttl_ms, version; } h;
    uint32_t count = 0;
    for (edge_str rest = ops; rest.len >= sizeof h; count++) {
        memcpy(&h, rest.ptr, sizeof h);
        uint64_t size = sizeof h + (uint64_t)h.key_len + h.value_len;
        if (size > rest.len) return 0;
        rest = (edge_str){rest.ptr + size, rest.len - (uint32_t)size};
    }
    uint32_t *answer = edge_take(8 + count * sizeof(edge_result));
    answer[0] = count, answer[1] = 0;
    edge_result *results = (edge_result *)(answer + 2);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&h, ops.ptr, sizeof h);
        edge_str key = {ops.ptr + sizeof h, h.key_len}, value = {key.ptr + h.key_len, h.value_len};
        int64_t delta = 0;
        if (h.op == EDGE_OP_INCR && value.len == 8) memcpy(&delta, value.ptr, 8);
        edge_drive(d, &results[i], h.op, key, value, (edge_how){h.ttl_ms, h.flags, h.version}, delta);
        ops = (edge_str){value.ptr + value.len, ops.len - (uint32_t)sizeof h - h.key_len - h.value_len};
    }
    return edge_address(answer);
}

#define EDGE_DRIVER(driver)                                                                                                   \
    EDGE_MAILBOX                                                                                                              \
    static edge_result edge_answer_record;                                                                                    \
    static uint32_t edge_drive_one(uint32_t op, uint32_t key, uint32_t value, edge_how how, int64_t delta) {                  \
        edge_begin();                                                                                                         \
        edge_drive(&driver, &edge_answer_record, op, (edge_str){edge_mail, key}, (edge_str){edge_mail + key, value}, how, delta); \
        return edge_address(&edge_answer_record);                                                                             \
    }                                                                                                                         \
    EDGE_EXPORT("kv_abi") int32_t edge_export_kv_abi(void) { return 1 << 16 | (int32_t)driver.can | 8; }                      \
    EDGE_EXPORT("kv_open") int32_t edge_export_kv_open(uint32_t len) { return edge_begin(), driver.open((edge_str){edge_mail, len}); } \
    EDGE_EXPORT("kv_get") uint32_t edge_export_kv_get(uint32_t key) { return edge_drive_one(EDGE_OP_GET, key, 0, (edge_how){0}, 0); } \
    EDGE_EXPORT("kv_set") uint32_t edge_export_kv_set(uint32_t key, uint32_t value, int64_t ttl_ms, uint32_t flags, int64_t version) { \
        return edge_drive_one(EDGE_OP_SET, key, value, (edge_how){ttl_ms, flags, version}, 0);                                \
    }                                                                                                                         \
    EDGE_EXPORT("kv_delete") uint32_t edge_export_kv_delete(uint32_t key, int64_t version) {                                  \
        return edge_drive_one(EDGE_OP_DELETE, key, 0, (edge_how){0, 0, version}, 0);                                          \
    }                                                                                                                         \
    EDGE_EXPORT("kv_incr") uint32_t edge_export_kv_incr(uint32_t key, int64_t delta, int64_t ttl_ms) {                        \
        return edge_drive_one(EDGE_OP_INCR, key, 0, (edge_how){ttl_ms, 0, 0}, delta);                                         \
    }                                                                                                                         \
    EDGE_EXPORT("kv_expire") uint32_t edge_export_kv_expire(uint32_t key, int64_t ttl_ms) {                                   \
        return edge_drive_one(EDGE_OP_EXPIRE, key, 0, (edge_how){ttl_ms, 0, 0}, 0);                                           \
    }                                                                                                                         \
    EDGE_EXPORT("kv_batch") uint32_t edge_export_kv_batch(uint32_t len) {                                                     \
        return edge_begin(), edge_drive_batch(&driver, (edge_str){edge_mail, len});                                           \
    }                                                                                                                         \
    EDGE_EXPORT("kv_scan") uint32_t edge_export_kv_scan(uint32_t prefix, uint32_t cursor, uint32_t max) {                     \
        edge_found found = {{0, 0}, -1, 0};                                                                                   \
        edge_begin();                                                                                                         \
        int error = EDGE_UNSUPPORTED;                                                                                         \
        if (driver.scan) error = driver.scan((edge_str){edge_mail, prefix}, (edge_str){edge_mail + prefix, cursor}, max, &found.value); \
        edge_put_result(&edge_answer_record, error, found);                                                                   \
        return edge_address(&edge_answer_record);                                                                             \
    }                                                                                                                         \
    EDGE_EXPORT("kv_clear") uint32_t edge_export_kv_clear(void) {                                                             \
        edge_begin();                                                                                                         \
        edge_put_result(&edge_answer_record, driver.clear ? driver.clear() : EDGE_UNSUPPORTED, (edge_found){{0, 0}, -1, 0});  \
        return edge_address(&edge_answer_record);                                                                             \
    }                                                                                                                         \
    EDGE_EXPORT("kv_clock") uint32_t edge_export_kv_clock(void) { return edge_address((const void *)&edge_clock); }           \
    EDGE_EXPORT("kv_tick") void edge_export_kv_tick(int64_t now_ms) {                                                         \
        edge_begin();                                                                                                         \
        if (driver.tick) driver.tick(now_ms);                                                                                 \
    }                                                                                                                         \
    EDGE_EXPORT("kv_close") void edge_export_kv_close(void) {                                                                 \
        edge_begin();                                                                                                         \
        if (driver.close) driver.close();                                                                                     \
    }

#endif
