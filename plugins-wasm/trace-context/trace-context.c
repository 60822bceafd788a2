//go:build ignore

// (The line above is for Go's tools: the Go files beside this one are its tests.)
//
// Gives every request an identifier and a trace: X-Request-Id and W3C Trace Context. Valid ones are kept, others are replaced by new
// ones. README.md has the configuration.

#include "../json.h"

EDGE_IMPORT("wasi_snapshot_preview1", "random_get") int32_t random_get(void *buf, uint32_t len);

// The configuration, read once, before the first request.
static struct {
    char id_header[64];  // small letters; empty: no request identifier
    uint32_t id_header_len;
    bool trust;          // keep what clients send
    bool respond;        // tell the client
    int64_t sample;      // percent of the new traces that are sampled
} settings;

static bool read_header(json *j, edge_str *why) {
    edge_str name = {0, 0};
    *why = EDGE("config.request_id: the name of a header, such as x-request-id, of at most 64 characters, or \"\" for none");
    if (!json_string(j, &name) || name.len > sizeof settings.id_header) return false;
    for (uint32_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
        settings.id_header[i] = c;
    }
    settings.id_header_len = name.len;
    return true;
}

static bool configure(edge_str config, edge_str *why) {
    json j = {config, false};
    edge_str name;
    settings.trust = settings.respond = true, settings.sample = 100;
    memcpy(settings.id_header, "x-request-id", settings.id_header_len = 12);
    if (!config.len) return true;
    *why = EDGE("config: it must be an object; README.md of trace-context has the keys");
    if (!json_object(&j)) return false;
    while (json_member(&j, &name)) {
        if (edge_equal(name, EDGE("request_id"))) {
            if (!read_header(&j, why)) return false;
        } else if (edge_equal(name, EDGE("trust"))) {
            *why = EDGE("config.trust: true or false");
            if (!json_bool(&j, &settings.trust)) return false;
        } else if (edge_equal(name, EDGE("response"))) {
            *why = EDGE("config.response: true or false");
            if (!json_bool(&j, &settings.respond)) return false;
        } else if (edge_equal(name, EDGE("sample"))) {
            *why = EDGE("config.sample: a whole number from 0 to 100, percent");
            if (!json_whole(&j, &settings.sample) || settings.sample < 0 || settings.sample > 100) return false;
        } else {
            *why = EDGE_JOIN(EDGE("config."), name, EDGE(": this key is not known: request_id, trust, response, sample"));
            return false;
        }
    }
    *why = EDGE("config: it is not JSON");
    return !j.bad;
}

// hex writes bytes as small hexadecimal digits.
static edge_str hex(const uint8_t *bytes, uint32_t n) {
    char *to = edge_take(2 * n);
    for (uint32_t i = 0; i < n; i++) to[2 * i] = "0123456789abcdef"[bytes[i] >> 4], to[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    return (edge_str){to, 2 * n};
}

// random fills bytes; the server's own source, so that two instances never make the same identifier.
static void random(uint8_t *bytes, uint32_t n) {
    if (random_get(bytes, n)) edge_panic(EDGE("there are no random numbers"));
    bytes[0] |= !bytes[0]; // an identifier of zeros alone is none
}

// single is the value of a header that is there once; an empty text otherwise.
static edge_str single(edge_str name) {
    edge_list values = edge_header_values(EDGE_REQUEST, name);
    edge_str value = {0, 0}, second;
    if (!edge_next(&values, &value) || edge_next(&values, &second)) return (edge_str){0, 0};
    return value;
}

// valid_id: one that can go into a log and into a header as it is.
static bool valid_id(edge_str id) {
    for (uint32_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
            bool mark = false;
            for (const char *m = "-_.:/+=@~"; *m; m++) mark |= *m == c;
            if (!mark) return false;
        }
    }
    return id.len > 0 && id.len <= 128;
}

static void identify(void) {
    edge_str header = {settings.id_header, settings.id_header_len}, id = {0, 0};
    if (!header.len) return;
    if (settings.trust) id = single(header);
    if (!valid_id(id)) {
        uint8_t bytes[16];
        random(bytes, sizeof bytes);
        id = hex(bytes, sizeof bytes);
        edge_header_set(EDGE_REQUEST, header, id);
    }
    edge_set_var(EDGE("request_id"), id);
    if (settings.respond) edge_header_set(EDGE_RESPONSE, header, id);
}

// hex_field tells whether s has n small hexadecimal digits at *at that are not all zero, and a - behind them unless they end it.
static bool hex_field(edge_str s, uint32_t at, uint32_t n, bool zero) {
    for (uint32_t i = at; i < at + n; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
        zero |= c != '0';
    }
    return zero;
}

// valid_parent: W3C Trace Context, 3.2. A version to come may have more behind a -.
static bool valid_parent(edge_str p) {
    if (p.len < 55 || p.ptr[2] != '-' || p.ptr[35] != '-' || p.ptr[52] != '-') return false;
    if (!hex_field(p, 0, 2, true) || !hex_field(p, 3, 32, false) || !hex_field(p, 36, 16, false) || !hex_field(p, 53, 2, true)) return false;
    edge_str version = {p.ptr, 2};
    if (edge_equal(version, EDGE("ff"))) return false;
    if (edge_equal(version, EDGE("00"))) return p.len == 55;
    return p.len <= 512 && (p.len == 55 || p.ptr[55] == '-');
}

static bool state_key(edge_str key) {
    for (uint32_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        bool first = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!first && (!i || !(c == '_' || c == '-' || c == '*' || c == '/' || c == '@'))) return false;
    }
    return key.len > 0 && key.len <= 256;
}

// valid_state: tracestate (3.3) is a list of at most 32 members, each of another key; one that is wrong spoils all.
static bool valid_state(void) {
    edge_list values = edge_header_values(EDGE_REQUEST, EDGE("tracestate"));
    edge_str value, member, key, keys[32];
    uint32_t members = 0, size = 0;
    while (edge_next(&values, &value)) {
        size += value.len;
        while (value.len) {
            edge_cut(&value, ',', &member);
            while (member.len && (*member.ptr == ' ' || *member.ptr == '\t')) member.ptr++, member.len--;
            while (member.len && (member.ptr[member.len - 1] == ' ' || member.ptr[member.len - 1] == '\t')) member.len--;
            if (!member.len) continue; // empty ones are allowed
            if (members == 32 || !edge_cut(&member, '=', &key) || !state_key(key) || !member.len || member.len > 256) return false;
            for (uint32_t i = 0; i < members; i++)
                if (edge_equal(keys[i], key)) return false;
            keys[members++] = key;
            for (uint32_t i = 0; i < member.len; i++)
                if (member.ptr[i] < 0x20 || member.ptr[i] > 0x7e || member.ptr[i] == '=') return false;
        }
    }
    return size <= 4096;
}

// new_parent is the root of a trace. Flag 2 says that its identifier is random (Level 2), flag 1 that it is sampled.
static edge_str new_parent(void) {
    uint8_t bytes[26];
    random(bytes, sizeof bytes);
    bytes[16] |= !bytes[16]; // the identifier of the span begins here
    uint32_t dice = (uint32_t)(bytes[24] << 8 | bytes[25]); // 0 to 65535
    uint8_t flags = 2 | (dice * 100 < (uint64_t)settings.sample * 65536);
    return EDGE_JOIN(EDGE("00-"), hex(bytes, 16), EDGE("-"), hex(bytes + 16, 8), EDGE("-"), hex(&flags, 1));
}

static void trace(void) {
    edge_str parent = {0, 0};
    if (settings.trust) parent = single(EDGE("traceparent"));
    if (!valid_parent(parent)) {
        parent = new_parent();
        edge_header_set(EDGE_REQUEST, EDGE("traceparent"), parent);
        edge_header_remove(EDGE_REQUEST, EDGE("tracestate")); // it belongs to the trace that is not continued
    } else if (!valid_state()) {
        edge_header_remove(EDGE_REQUEST, EDGE("tracestate"));
    }
    edge_set_var(EDGE("trace_id"), (edge_str){parent.ptr + 3, 32});
    edge_set_var(EDGE("parent_id"), (edge_str){parent.ptr + 36, 16});
    if (settings.respond) edge_header_set(EDGE_RESPONSE, EDGE("traceresponse"), parent);
}

static edge_flow handle(void) {
    identify();
    trace();
    return EDGE_NEXT;
}

EDGE_CONFIG(configure)
EDGE_MIDDLEWARE(handle)
