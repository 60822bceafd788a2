// json.h reads the configuration of plugins in C, which the server hands over as JSON: a value after the other, texts into the arena
// of edge.h. It is for what the server itself has written; what is no JSON sets bad, and from then on everything answers false.

#ifndef PLUGIN_JSON_H
#define PLUGIN_JSON_H

#include "../sdk/c/edge.h"

typedef struct {
    edge_str rest;
    bool bad;
} json;

EDGE_API char json_peek(json *j) {
    while (j->rest.len && (*j->rest.ptr == ' ' || *j->rest.ptr == '\n' || *j->rest.ptr == '\t' || *j->rest.ptr == '\r')) j->rest.ptr++, j->rest.len--;
    return j->rest.len && !j->bad ? *j->rest.ptr : 0;
}

// json_mark takes a mark, if it is the next one.
EDGE_API bool json_mark(json *j, char mark) {
    if (!mark || json_peek(j) != mark) return false;
    j->rest.ptr++, j->rest.len--;
    return true;
}

EDGE_API bool json_fail(json *j) { return j->bad = true, false; }

EDGE_API int json_hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

EDGE_API bool json_unicode(json *j, uint32_t *c) {
    *c = 0;
    if (j->rest.len < 4) return false;
    for (int i = 0; i < 4; i++, j->rest.ptr++, j->rest.len--) {
        int digit = json_hex(*j->rest.ptr);
        if (digit < 0) return false;
        *c = *c << 4 | (uint32_t)digit;
    }
    return true;
}

EDGE_API char *json_utf8(char *to, uint32_t c) {
    if (c < 0x80) return *to++ = (char)c, to;
    if (c < 0x800) return *to++ = (char)(0xc0 | c >> 6), *to++ = (char)(0x80 | (c & 63)), to;
    if (c < 0x10000) *to++ = (char)(0xe0 | c >> 12);
    else *to++ = (char)(0xf0 | c >> 18), *to++ = (char)(0x80 | (c >> 12 & 63));
    return *to++ = (char)(0x80 | (c >> 6 & 63)), *to++ = (char)(0x80 | (c & 63)), to;
}

// json_string reads a text. Escapes become shorter, never longer.
EDGE_API bool json_string(json *j, edge_str *s) {
    if (!json_mark(j, '"')) return json_fail(j);
    uint32_t room = 0;
    while (room < j->rest.len && j->rest.ptr[room] != '"') room += j->rest.ptr[room] == '\\' ? 2 : 1;
    char *start = edge_take(room), *to = start;
    while (j->rest.len) {
        char c = *j->rest.ptr++;
        j->rest.len--;
        if (c == '"') return *s = (edge_str){start, (uint32_t)(to - start)}, true;
        if (c != '\\') {
            *to++ = c;
            continue;
        }
        if (!j->rest.len) break;
        c = *j->rest.ptr++, j->rest.len--;
        switch (c) {
        case 'n': *to++ = '\n'; break;
        case 't': *to++ = '\t'; break;
        case 'r': *to++ = '\r'; break;
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'u': {
            uint32_t code, low;
            if (!json_unicode(j, &code)) return json_fail(j);
            if (code >= 0xd800 && code < 0xdc00 && edge_prefix(&j->rest, EDGE("\\u"))) {
                if (!json_unicode(j, &low)) return json_fail(j);
                code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
            }
            to = json_utf8(to, code);
            break;
        }
        default: *to++ = c;
        }
    }
    return json_fail(j);
}

// json_object begins an object, json_member takes the name of its next member: if (json_object(&j)) while (json_member(&j, &name)) …
EDGE_API bool json_object(json *j) { return json_mark(j, '{') || json_fail(j); }
EDGE_API bool json_member(json *j, edge_str *name) {
    if (json_mark(j, '}')) return false;
    json_mark(j, ',');
    return json_string(j, name) && (json_mark(j, ':') || json_fail(j));
}

// json_list begins a list; json_item tells whether there is another item.
EDGE_API bool json_list(json *j) { return json_mark(j, '[') || json_fail(j); }
EDGE_API bool json_item(json *j) {
    if (json_mark(j, ']')) return false;
    json_mark(j, ',');
    return json_peek(j) != 0 || json_fail(j);
}

EDGE_API bool json_bool(json *j, bool *b) {
    json_peek(j);
    *b = edge_prefix(&j->rest, EDGE("true"));
    return *b || edge_prefix(&j->rest, EDGE("false")) || json_fail(j);
}

// json_whole reads a whole number.
EDGE_API bool json_whole(json *j, int64_t *n) {
    edge_str digits = {(json_peek(j), j->rest.ptr), 0};
    while (digits.len < j->rest.len && (json_hex(digits.ptr[digits.len]) >= 0 || digits.ptr[digits.len] == '-' || digits.ptr[digits.len] == '.')) digits.len++;
    j->rest.ptr += digits.len, j->rest.len -= digits.len;
    return edge_number(digits, n) || json_fail(j);
}

#endif
