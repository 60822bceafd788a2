// Counts requests by path in the store "counters", which all servers of a fleet can share.
//
//     kv: {counters: {}}
//     plugins: {modules: {counter: {allow: {kv: [counters]}}}}

#include "../edge.h"

static edge_flow handle(void) {
    edge_str uri = edge_uri(), path;
    edge_cut(&uri, '?', &path);

    int64_t hits;
    int store = edge_kv_open(EDGE("counters"));
    int error = store < 0 ? store : edge_kv_incr(store, EDGE_JOIN(EDGE("hits:"), path), 1, 0, &hits);
    if (error < 0) // no reason to fail the request
        edge_log(EDGE_WARN, EDGE_JOIN(EDGE("count "), path, EDGE(": "), edge_error_name(error)));
    else
        edge_header_set(EDGE_RESPONSE, EDGE("x-hits"), edge_decimal(hits));
    return EDGE_NEXT;
}

EDGE_MIDDLEWARE(handle)
