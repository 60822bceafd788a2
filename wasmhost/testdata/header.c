// Reads one header and writes one, in both phases: what the benchmark measures.
#include "../../sdk/c/edge.h"
static uint32_t calls;
static edge_flow handle(void) {
    edge_header_set(EDGE_REQUEST, EDGE("x-seen"), edge_header(EDGE_REQUEST, EDGE("x-request-id")));
    return EDGE_NEXT;
}
static void answer(uint32_t ctx, bool failed) { *(volatile uint32_t *)&calls += 1; }
EDGE_MIDDLEWARE2(handle, answer)
