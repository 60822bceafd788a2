// An origin: it answers by itself, piece by piece.
//
//     http: {routes: [{match: {path: /numbers}, wasm: numbers}]}

#include "../edge.h"

enum { MAX = 100000, PIECE = 1000 };

static edge_flow numbers(int64_t n) {
    static char piece[PIECE * 7 + 2]; // 100000 and a comma
    uint32_t len = 0;
    edge_header_set(EDGE_RESPONSE, EDGE("content-type"), EDGE("application/json"));
    piece[len++] = '[';
    for (int64_t i = 1; i <= n; i++) {
        edge_str number = edge_decimal(i);
        memcpy(piece + len, number.ptr, number.len);
        len += number.len;
        if (i < n) piece[len++] = ',';
        if (i % PIECE == 0) {
            edge_write(EDGE_RESPONSE, (edge_str){piece, len});
            edge_flush(); // a client that is gone is no news here
            len = 0;
            edge_begin(); // what edge_decimal took of the arena is free again
        }
    }
    piece[len++] = ']';
    edge_write(EDGE_RESPONSE, (edge_str){piece, len});
    return EDGE_DONE;
}

static edge_flow handle(void) {
    edge_str query = edge_uri(), path, pair;
    edge_cut(&query, '?', &path);
    if (!edge_equal(path, EDGE("/numbers"))) return edge_reply(404, EDGE("application/json"), EDGE("{\"error\":\"not found\"}"));

    int64_t n = 10;
    while (query.len) {
        edge_cut(&query, '&', &pair);
        if (!edge_prefix(&pair, EDGE("n="))) continue;
        if (!edge_number(pair, &n) || n < 0 || n > MAX)
            return edge_reply(400, EDGE("application/json"), EDGE("{\"error\":\"n is a number from 0 to 100000\"}"));
        break;
    }
    return numbers(n);
}

EDGE_MIDDLEWARE(handle)
