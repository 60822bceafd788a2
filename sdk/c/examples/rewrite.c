// A router: old addresses are redirected, an API moves, the rest is left to the routes of edge.yaml.

#include "../edge.h"

static int decide(void) {
    edge_str uri = edge_uri(), rest = uri, path;
    int error = edge_route_cache(EDGE("path,query"), 60000); // the same address gets the same decision without a call
    if (error < 0) return error;
    if (edge_prefix(&rest, EDGE("/old/"))) return edge_route_redirect(308, EDGE_JOIN(EDGE("/new/"), rest));
    if (edge_prefix(&rest, EDGE("/api/v1/"))) {
        error = edge_route_rewrite(EDGE_JOIN(EDGE("/v1/"), rest));
        return error < 0 ? error : edge_route_to(EDGE("api"));
    }
    edge_cut(&rest, '?', &path);
    return edge_equal(path, EDGE("/teapot")) ? edge_route_status(418) : 0;
}

static void route(void) {
    int error = decide();
    if (error < 0) edge_log(EDGE_WARN, EDGE_JOIN(edge_error_name(error), EDGE(": "), edge_last_error()));
}

EDGE_ROUTER(route)
