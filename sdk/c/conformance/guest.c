// The guest of sdk/conformance in C; the README there says what it does.

#define EDGE_ARENA (1024 * 1024)
#include "../edge.h"

// What a script works on.
enum on { ON_NOTHING, ON_REQUEST, ON_RESPONSE, ON_ROUTER, ON_CONNECT, ON_SOCKET };

static struct {
    enum on on;
    char out[128 * 1024];
    uint32_t len, results;
    edge_flow flow;
    uint32_t ctx;
    bool failed;
    int64_t conn;
    int refusal;
    uint32_t close_code;
    edge_str close_reason;
} run;

static bool origin;
static int64_t count;
static char started[4096];
static uint32_t started_len;

// ---- results ----

static void put(char c) {
    if (run.len == sizeof run.out) edge_panic(EDGE("the output is full"));
    run.out[run.len++] = c;
}

static void encode(edge_str s) {
    static const char digits[] = "0123456789ABCDEF";
    for (uint32_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x21 || c > 0x7e || c == '%' || c == ',' || c == ';') put('%'), put(digits[c >> 4]), put(digits[c & 15]);
        else put((char)c);
    }
}

static void result(void) {
    if (run.results++) put(';');
}

static void raw(edge_str s) {
    for (uint32_t i = 0; i < s.len; i++) put(s.ptr[i]);
}

static void text(edge_str s) { result(), encode(s); }
static void number(int64_t n) { text(edge_decimal(n)); }
static void error(int n) { result(), put('!'), raw(edge_error_name(n)); }
static void unit(int n) {
    if (n < 0) error(n);
}
static void text_or(int n, edge_str s) {
    if (n < 0) error(n);
    else text(s);
}
static void list(edge_list items) {
    edge_str item;
    result();
    for (bool first = true; edge_next(&items, &item); first = false) {
        if (!first) put(',');
        encode(item);
    }
}
static void items(const edge_str *all, uint32_t n) {
    result();
    for (uint32_t i = 0; i < n; i++) {
        if (i) put(',');
        encode(all[i]);
    }
}

// output takes what there is.
static edge_str output(void) {
    edge_str all = EDGE_JOIN(((edge_str){run.out, run.len}));
    run.len = run.results = 0;
    return all;
}

// ---- arguments ----

enum { MAX_ARGS = 16 };
static edge_str args[MAX_ARGS];
static uint32_t arg_count;

static int hex(char c) { return c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c - '0'; }

static edge_str decode(edge_str s) {
    char *to = edge_take(s.len);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '%' && i + 2 < s.len) to[n++] = (char)(hex(s.ptr[i + 1]) << 4 | hex(s.ptr[i + 2])), i += 2;
        else to[n++] = s.ptr[i];
    }
    return (edge_str){to, n};
}

static edge_str arg(uint32_t i) { return i < arg_count ? args[i] : EDGE(""); }
static int64_t num(uint32_t i) {
    int64_t n = 0;
    edge_number(arg(i), &n);
    return n;
}
static bool is(edge_str s, const char *name) { return edge_equal(s, edge_text(name)); }

static edge_kind kind(edge_str s) {
    if (is(s, "request")) return EDGE_REQUEST;
    if (is(s, "request-trailer")) return EDGE_REQUEST_TRAILER;
    if (is(s, "response-trailer")) return EDGE_RESPONSE_TRAILER;
    return EDGE_RESPONSE;
}

static edge_level level(edge_str s) { return is(s, "debug") ? EDGE_DEBUG : is(s, "warn") ? EDGE_WARN : is(s, "error") ? EDGE_ERROR : EDGE_INFO; }

// contains tells whether one of the words of all, parted by +, is word.
static bool contains(edge_str all, const char *word) {
    edge_str one;
    while (all.len) {
        edge_cut(&all, '+', &one);
        if (is(one, word)) return true;
    }
    return false;
}

// ---- operations of http_handler ----

static void sum(edge_kind k) {
    unsigned char piece[4096];
    uint32_t n, length = 0, total = 0;
    while ((n = edge_read(k, piece, sizeof piece))) {
        length += n;
        for (uint32_t i = 0; i < n; i++) total += piece[i];
    }
    text(EDGE_JOIN(edge_decimal(length), EDGE("-"), edge_decimal(total)));
}

static void enable(edge_str names) {
    static const struct { const char *name; uint32_t bit; } all[] = {
        {"request", EDGE_BUFFER_REQUEST}, {"response", EDGE_BUFFER_RESPONSE}, {"trailers", EDGE_TRAILERS}};
    uint32_t wanted = 0, n = 0;
    edge_str on[3];
    for (int i = 0; i < 3; i++) wanted |= contains(names, all[i].name) ? all[i].bit : 0;
    uint32_t have = edge_enable(wanted);
    for (int i = 0; i < 3; i++)
        if (have & all[i].bit) on[n++] = edge_text(all[i].name);
    items(on, n);
}

static bool message(edge_str op) {
    if (is(op, "method")) text(edge_method());
    else if (is(op, "set-method")) edge_set_method(arg(1));
    else if (is(op, "uri")) text(edge_uri());
    else if (is(op, "set-uri")) edge_set_uri(arg(1));
    else if (is(op, "proto")) text(edge_protocol());
    else if (is(op, "peer")) text(edge_source_addr());
    else if (is(op, "status")) number(edge_status());
    else if (is(op, "set-status")) edge_set_status((uint32_t)num(1));
    else if (is(op, "ctx")) number(run.ctx);
    else if (is(op, "failed")) number(run.failed);
    else return false;
    return true;
}

static bool fields(edge_str op) {
    edge_kind k = kind(arg(1));
    if (is(op, "names")) list(edge_header_names(k));
    else if (is(op, "get")) text(edge_header(k, arg(2)));
    else if (is(op, "has")) number(edge_header_has(k, arg(2)));
    else if (is(op, "values")) list(edge_header_values(k, arg(2)));
    else if (is(op, "set")) edge_header_set(k, arg(2), arg(3));
    else if (is(op, "add")) edge_header_add(k, arg(2), arg(3));
    else if (is(op, "del")) edge_header_remove(k, arg(2));
    else if (is(op, "put")) edge_header_set(k, arg(2), output());
    else return false;
    return true;
}

static bool bodies(edge_str op) {
    edge_kind k = kind(arg(1));
    if (is(op, "read")) {
        char *piece = edge_take((uint32_t)num(2));
        text((edge_str){piece, edge_read(k, piece, (uint32_t)num(2))});
    } else if (is(op, "read-all")) text(edge_read_all(k));
    else if (is(op, "sum")) sum(k);
    else if (is(op, "write")) edge_write(k, arg(2));
    else if (is(op, "fill"))
        for (int64_t n = num(3); n > 0; n--) edge_write(k, arg(2));
    else return false;
    return true;
}

static bool server(edge_str op) {
    if (is(op, "config")) text(edge_config());
    else if (is(op, "enable")) enable(arg(1));
    else if (is(op, "log")) edge_log(level(arg(1)), arg(2));
    else if (is(op, "say")) edge_log(level(arg(1)), output());
    else if (is(op, "log-enabled")) number(edge_log_enabled(level(arg(1))));
    else if (is(op, "count")) number(++count);
    else if (is(op, "started")) result(), raw((edge_str){started, started_len});
    else if (is(op, "panic")) edge_panic(arg(1));
    else return false;
    return true;
}

// ---- operations of Edge's own namespaces ----

static bool core(edge_str op) {
    edge_str value;
    if (is(op, "var")) text_or(edge_var(arg(1), &value), value);
    else if (is(op, "set-var")) unit(edge_set_var(arg(1), arg(2)));
    else if (is(op, "has-import")) number(edge_has(arg(1)));
    else if (is(op, "now")) number(edge_now_ms());
    else if (is(op, "deadline")) number(edge_deadline_ms());
    else if (is(op, "flush")) unit(edge_flush());
    else if (is(op, "last-error")) text(edge_last_error());
    else return false;
    return true;
}

static void batch(int store) {
    edge_op ops[MAX_ARGS] = {0};
    uint32_t n = 0;
    for (uint32_t i = 2; i < arg_count; i++, n++) {
        edge_str rest = arg(i), name, last;
        edge_cut(&rest, ' ', &name), edge_cut(&rest, ' ', &ops[n].key), edge_cut(&rest, ' ', &last);
        if (is(name, "get")) ops[n].op = EDGE_OP_GET;
        if (is(name, "delete")) ops[n].op = EDGE_OP_DELETE;
        if (is(name, "set")) ops[n].op = EDGE_OP_SET, ops[n].value = last;
        if (is(name, "incr")) ops[n].op = EDGE_OP_INCR, edge_number(last, &ops[n].delta);
    }
    int failure = edge_kv_batch(store, ops, n);
    if (failure) {
        error(failure);
        return;
    }
    edge_str all[MAX_ARGS];
    for (uint32_t i = 0; i < n; i++) {
        if (ops[i].error) all[i] = EDGE_JOIN(EDGE("!"), edge_error_name(ops[i].error));
        else if (ops[i].op == EDGE_OP_GET) all[i] = ops[i].result;
        else if (ops[i].op == EDGE_OP_INCR) all[i] = edge_decimal(ops[i].number);
        else all[i] = EDGE("ok");
    }
    items(all, n);
}

static int compare(edge_str a, edge_str b) {
    int d = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return d ? d : (int)a.len - (int)b.len;
}

static void scan(int store) {
    edge_str keys[256], key;
    uint32_t n = 0;
    edge_scan s = edge_kv_scan(store, arg(2), (uint32_t)num(3));
    int more;
    while ((more = edge_scan_next(&s, &key)) > 0 && n < 256) {
        uint32_t at = n++;
        for (; at && compare(keys[at - 1], key) > 0; at--) keys[at] = keys[at - 1];
        keys[at] = key;
    }
    if (more < 0) error(more);
    else items(keys, n);
}

static bool stores(edge_str op) {
    edge_str rest = op, value;
    if (!edge_prefix(&rest, EDGE("kv-"))) return false;
    int store = edge_kv_open(arg(1));
    int64_t n, version;
    if (store < 0) error(store);
    else if (is(rest, "get")) text_or(edge_kv_get(store, arg(2), &value), value);
    else if (is(rest, "entry")) {
        int failure = edge_kv_entry(store, arg(2), &value, &n, &version);
        if (failure) error(failure);
        else items((edge_str[]){value, edge_decimal(n), edge_decimal(version)}, 3);
    } else if (is(rest, "set")) {
        edge_how how = {num(4), 0, num(6)};
        if (contains(arg(5), "nx")) how.flags |= EDGE_IF_ABSENT;
        if (contains(arg(5), "xx")) how.flags |= EDGE_IF_PRESENT;
        if (contains(arg(5), "version")) how.flags |= EDGE_IF_VERSION;
        if (contains(arg(5), "keep-ttl")) how.flags |= EDGE_KEEP_TTL;
        unit(edge_kv_set(store, arg(2), arg(3), how));
    } else if (is(rest, "delete")) unit(edge_kv_delete(store, arg(2), num(3)));
    else if (is(rest, "expire")) {
        int there = edge_kv_expire(store, arg(2), num(3));
        if (there < 0) error(there);
        else number(there);
    } else if (is(rest, "incr")) {
        int failure = edge_kv_incr(store, arg(2), num(3), num(4), &n);
        if (failure) error(failure);
        else number(n);
    } else if (is(rest, "batch")) batch(store);
    else if (is(rest, "scan")) scan(store);
    else return false;
    return true;
}

static int http(edge_str *all) {
    edge_call c = edge_http(arg(1), arg(2));
    for (uint32_t i = 4; i < arg_count; i++) {
        edge_str value = arg(i), name;
        edge_cut(&value, ':', &name), edge_prefix(&value, EDGE(" "));
        edge_call_header(&c, name, value);
    }
    edge_answer a;
    int failure = edge_send_http(&c, arg(3), 0, &a);
    if (!failure) failure = edge_http_read_all(&a, &all[2]);
    if (!failure) all[0] = edge_decimal(edge_http_status(&a)), all[1] = edge_http_header_of(&a, EDGE("x-answer"));
    edge_http_close(&a);
    return failure;
}

static int php(edge_str *all) {
    edge_call c = edge_php(arg(1), arg(2), arg(3));
    edge_answer a;
    int failure = edge_send_php(&c, arg(4), 0, &a);
    if (!failure) failure = edge_php_read_all(&a, &all[1]);
    if (!failure) all[0] = edge_decimal(edge_php_status(&a));
    edge_php_close(&a);
    return failure;
}

static void names_and_values(edge_list names, edge_list values) {
    edge_str all[64], item;
    uint32_t n = 0;
    while (edge_next(&names, &item)) {
        edge_str name = item;
        if (n < 32 && edge_prefix(&item, EDGE("x-s"))) all[n++] = name;
    }
    while (n < 64 && edge_next(&values, &item)) all[n++] = item;
    items(all, n);
}

static void http_header(void) {
    edge_call c = edge_http(EDGE("GET"), arg(1));
    edge_answer a;
    int failure = edge_send_http(&c, EDGE(""), 0, &a);
    if (failure) error(failure);
    else names_and_values(edge_http_header_names(&a), edge_http_header_values(&a, EDGE("x-several")));
    edge_http_close(&a);
}

static void php_header(void) {
    edge_call c = edge_php(arg(1), EDGE("GET"), arg(2));
    edge_answer a;
    int failure = edge_send_php(&c, EDGE(""), 0, &a);
    if (failure) error(failure);
    else names_and_values(edge_php_header_names(&a), edge_php_header_values(&a, EDGE("x-several")));
    edge_php_close(&a);
}

static void tcp(void) {
    int conn = edge_dial(arg(1), 0, 0), n = conn;
    char *answer = edge_take(64 * 1024);
    uint32_t len = 0;
    if (conn >= 0) n = edge_tcp_write(conn, arg(2), 0);
    while (n >= 0 && (n = edge_tcp_read(conn, answer + len, 64 * 1024 - len, 0)) > 0) len += (uint32_t)n;
    if (conn >= 0) edge_tcp_close(conn);
    text_or(n, (edge_str){answer, len});
}

static bool elsewhere(edge_str op) {
    edge_str all[3];
    int failure;
    if (is(op, "http")) {
        if ((failure = http(all))) error(failure);
        else items(all, 3);
    } else if (is(op, "php")) {
        if ((failure = php(all))) error(failure);
        else items(all, 2);
    } else if (is(op, "http-header")) http_header();
    else if (is(op, "php-header")) php_header();
    else if (is(op, "tcp")) tcp();
    else return false;
    return true;
}

static bool rest(edge_str op) {
    edge_str item;
    if (is(op, "counter")) unit(edge_add(edge_counter(arg(1)), num(2)));
    else if (is(op, "gauge")) unit(edge_set(edge_gauge(arg(1)), num(2)));
    else if (is(op, "gauge-add")) unit(edge_add(edge_gauge(arg(1)), num(2)));
    else if (is(op, "histogram")) unit(edge_observe(edge_histogram(arg(1)), num(2)));
    else if (is(op, "every")) unit(edge_every((uint32_t)num(1)));
    else if (is(op, "push")) unit(edge_push(arg(1)));
    else if (is(op, "pop")) text_or(edge_pop(&item), item);
    else if (is(op, "publish")) unit(edge_publish(arg(1), EDGE_WS_TEXT, arg(2)));
    else return false;
    return true;
}

static bool routes(edge_str op) {
    if (run.on != ON_ROUTER) return false;
    if (is(op, "route-to")) unit(edge_route_to(arg(1)));
    else if (is(op, "route-pool")) unit(edge_route_pool(arg(1)));
    else if (is(op, "route-redirect")) unit(edge_route_redirect((uint32_t)num(1), arg(2)));
    else if (is(op, "route-status")) unit(edge_route_status((uint32_t)num(1)));
    else if (is(op, "route-rewrite")) unit(edge_route_rewrite(arg(1)));
    else if (is(op, "route-cache")) unit(edge_route_cache(arg(1), (uint32_t)num(2)));
    else return false;
    return true;
}

static bool sockets(edge_str op) {
    if (run.on != ON_CONNECT && run.on != ON_SOCKET) return false;
    edge_str value;
    if (is(op, "ws-user")) text_or(edge_ws_user(run.conn, &value), value);
    else if (is(op, "ws-set-user")) unit(edge_ws_set_user(run.conn, arg(1)));
    else if (is(op, "ws-get")) text_or(edge_ws_get(run.conn, arg(1), &value), value);
    else if (is(op, "ws-set")) unit(edge_ws_set(run.conn, arg(1), arg(2)));
    else if (is(op, "ws-send")) unit(edge_ws_send(run.conn, EDGE_WS_TEXT, arg(1)));
    else if (is(op, "ws-subscribe")) unit(edge_ws_subscribe(run.conn, arg(1)));
    else if (is(op, "ws-unsubscribe")) unit(edge_ws_unsubscribe(run.conn, arg(1)));
    else if (is(op, "ws-close")) run.close_code = (uint32_t)num(1), run.close_reason = arg(2);
    else return false;
    return true;
}

static bool edge(edge_str op) { return core(op) || stores(op) || elsewhere(op) || rest(op) || routes(op) || sockets(op); }

// ---- scripts ----

// end runs what ends a script.
static bool end(edge_str op) {
    if (is(op, "next")) run.flow = EDGE_NEXT_WITH(num(1));
    else if (is(op, "done")) run.flow = EDGE_DONE;
    else if (is(op, "reply")) run.flow = edge_reply((uint32_t)num(1), arg(2), output());
    else if (is(op, "refuse")) run.refusal = (int)num(1);
    else return false;
    return true;
}

static edge_flow script(enum on on, edge_str all) {
    edge_str operation, op, word;
    run.on = on, run.len = run.results = 0, run.flow = EDGE_NEXT, run.refusal = 0, run.close_code = 0;
    while (all.len) {
        edge_cut(&all, ';', &operation);
        edge_cut(&operation, ',', &op);
        const char *end_of_op = op.ptr + op.len;
        arg_count = 1;
        bool more = operation.ptr != end_of_op; // a comma was there
        while (more && arg_count < MAX_ARGS) {
            more = edge_cut(&operation, ',', &word);
            args[arg_count++] = decode(word);
        }
        if (end(op)) break;
        if (!message(op) && !fields(op) && !bodies(op) && !server(op) && !edge(op)) text(EDGE_JOIN(EDGE("?"), op));
    }
    return run.flow;
}

static void start(void) {
    edge_str config = edge_config();
    origin = is(config, "role=origin");
    if (!edge_prefix(&config, EDGE("start="))) return;
    script(ON_NOTHING, config);
    edge_str all = output();
    started_len = all.len < sizeof started ? all.len : sizeof started;
    memcpy(started, all.ptr, started_len);
}

static edge_flow handle(void) { return script(ON_REQUEST, edge_header(EDGE_REQUEST, origin ? EDGE("x-origin") : EDGE("x-request"))); }

static void answer(uint32_t ctx, bool failed) {
    run.ctx = ctx, run.failed = failed;
    script(ON_RESPONSE, edge_header(EDGE_REQUEST, origin ? EDGE("x-origin-response") : EDGE("x-response")));
}

EDGE_START(start)
EDGE_MIDDLEWARE2(handle, answer)

static bool check(edge_str config, edge_str *why) {
    if (!edge_prefix(&config, EDGE("refuse="))) return true;
    *why = config;
    return false;
}

static void route(void) { script(ON_ROUTER, edge_header(EDGE_REQUEST, EDGE("x-route"))); }

static void tick(int64_t now_ms) {
    edge_str item;
    (void)now_ms;
    while (edge_pop(&item) == 0) script(ON_NOTHING, item);
}

static int ws_open(int64_t conn) {
    run.conn = conn;
    script(ON_CONNECT, edge_header(EDGE_REQUEST, EDGE("x-open")));
    return run.refusal;
}

static int ws_message(int64_t conn, edge_ws_kind k, edge_str m) {
    if (k == EDGE_WS_BINARY) return edge_ws_send(conn, k, m) < 0 ? 1011 : 0;
    run.conn = conn;
    script(ON_SOCKET, m);
    if (run.len) edge_ws_send(conn, EDGE_WS_TEXT, output());
    if (run.close_code) edge_ws_close(conn, run.close_code, run.close_reason);
    return 0;
}

static void ws_closed(int64_t conn, uint32_t code) {
    (void)conn;
    edge_log(EDGE_INFO, EDGE_JOIN(EDGE("closed "), edge_decimal(code)));
}

EDGE_CONFIG(check)
EDGE_ROUTER(route)
EDGE_CRON(tick)
EDGE_WEBSOCKET(ws_open, ws_message, ws_closed)
