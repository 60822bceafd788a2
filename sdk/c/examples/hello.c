// Sets a header on every answer.

#include "../edge.h"

static edge_flow handle(void) {
    edge_header_set(EDGE_RESPONSE, EDGE("x-hello"), EDGE("from C"));
    return EDGE_NEXT;
}

EDGE_MIDDLEWARE(handle)
