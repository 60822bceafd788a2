// Answers with the length of the body, which it reads into the arena as it is by default.
#include "../edge.h"

static edge_flow handle(void) {
    edge_str body = edge_read_all(EDGE_REQUEST);
    return edge_reply(200, EDGE("text/plain"), edge_decimal(body.len));
}

EDGE_MIDDLEWARE(handle)
