// The KV driver of sdk/conformance in C: a store in memory, as a list in the order of the keys.

#define EDGE_ARENA (512 * 1024)
#include "../edge.h"

enum { MOST = 128, KEY = 256, VALUE = 256 * 1024 };

static struct item {
    char key[KEY];
    uint32_t key_len;
    char *value; // of its own
    uint32_t len, room;
    int64_t ends, version; // ends 0: never
} items[MOST];
static uint32_t count;

static char heap[4 * 1024 * 1024];
static uint32_t used;

static int64_t end(int64_t ttl_ms) { return ttl_ms ? edge_operation_ms() + ttl_ms : 0; }

static int compare(edge_str a, edge_str b) {
    int d = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return d ? d : (int)a.len - (int)b.len;
}

static edge_str key_of(const struct item *it) { return (edge_str){it->key, it->key_len}; }

// place is where the key is, or belongs.
static uint32_t place(edge_str key) {
    uint32_t i = 0;
    while (i < count && compare(key_of(&items[i]), key) < 0) i++;
    return i;
}

static void take_out(uint32_t at) {
    for (count--; at < count; at++) items[at] = items[at + 1];
}

// live finds a key that has not ended.
static struct item *live(edge_str key) {
    uint32_t at = place(key);
    if (at == count || !edge_equal(key_of(&items[at]), key)) return 0;
    if (items[at].ends && items[at].ends <= edge_operation_ms()) return take_out(at), (struct item *)0;
    return &items[at];
}

static int put(edge_str key, edge_str value, int64_t ends, int64_t version) {
    struct item *it = live(key);
    if (!it) {
        if (count == MOST || key.len > KEY) return EDGE_LIMIT;
        uint32_t at = place(key);
        for (uint32_t i = count++; i > at; i--) items[i] = items[i - 1];
        it = &items[at];
        *it = (struct item){.key_len = key.len};
        memcpy(it->key, key.ptr, key.len);
    }
    if (value.len > it->room) { // nothing is given back: this is a test
        if (value.len > sizeof heap - used) return EDGE_TOO_LARGE;
        it->value = heap + used, it->room = value.len, used += value.len;
    }
    if (value.len) memcpy(it->value, value.ptr, value.len);
    it->len = value.len, it->ends = ends, it->version = version;
    return 0;
}

static int open(edge_str config) { return edge_prefix(&config, EDGE("{\"refuse\":")) ? EDGE_INVALID : 0; }

static int get(edge_str key, edge_found *found) {
    struct item *it = live(key);
    if (!it) return EDGE_NOT_FOUND;
    *found = (edge_found){{it->value, it->len}, it->ends ? it->ends - edge_operation_ms() : -1, it->version};
    return 0;
}

static int set(edge_str key, edge_str value, edge_how how, int64_t *version) {
    struct item *it = live(key);
    if (how.flags & EDGE_IF_ABSENT && it) return EDGE_EXISTS;
    if (how.flags & EDGE_IF_PRESENT && !it) return EDGE_CONDITION;
    if (how.flags & EDGE_IF_VERSION && (!it || it->version != how.version)) return EDGE_CONDITION;
    *version = it ? it->version + 1 : 1;
    return put(key, value, it && how.flags & EDGE_KEEP_TTL ? it->ends : end(how.ttl_ms), *version);
}

static int take(edge_str key, int64_t version) {
    struct item *it = live(key);
    if (!it) return EDGE_NOT_FOUND;
    if (version && version != it->version) return EDGE_CONDITION;
    return take_out((uint32_t)(it - items)), 0;
}

static int incr(edge_str key, int64_t delta, int64_t ttl_ms, int64_t *number) {
    struct item *it = live(key);
    *number = 0;
    if (it && !edge_number((edge_str){it->value, it->len}, number)) return EDGE_INVALID;
    *number += delta;
    return put(key, edge_decimal(*number), it ? it->ends : end(ttl_ms), it ? it->version + 1 : 1);
}

static int expire(edge_str key, int64_t ttl_ms) {
    struct item *it = live(key);
    if (!it) return EDGE_NOT_FOUND;
    return it->ends = end(ttl_ms), 0;
}

static int scan(edge_str prefix, edge_str cursor, uint32_t max, edge_str *page) {
    edge_str keys = EDGE(""), last = EDGE("");
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        edge_str key = key_of(&items[i]), rest = key;
        if (!edge_prefix(&rest, prefix) || (cursor.len && compare(key, cursor) <= 0)) continue;
        if (n++ == max) return *page = EDGE_JOIN(edge_page(EDGE(""), last), keys), 0;
        keys = edge_page(keys, key), last = key;
    }
    return *page = EDGE_JOIN(edge_page(EDGE(""), EDGE("")), keys), 0;
}

static int clear(void) { return count = 0, 0; }

static void tick(int64_t now_ms) { edge_log(EDGE_INFO, EDGE_JOIN(EDGE("ticked "), edge_decimal(now_ms))); }

static void closed(void) { edge_log(EDGE_INFO, EDGE("closed")); }

static const edge_driver memory = {
    .can = EDGE_CAN_TTL | EDGE_CAN_CAS | EDGE_CAN_INCR | EDGE_CAN_SCAN | EDGE_CAN_EVICT,
    .open = open, .get = get, .set = set, .remove = take, .incr = incr, .expire = expire, .scan = scan, .clear = clear,
    .tick = tick, .close = closed,
};

EDGE_DRIVER(memory)
