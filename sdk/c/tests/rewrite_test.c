#include "../examples/rewrite.c"
#include "../edge_test.h"
EDGE_TEST_ROUTER

int main(void) {
    static const struct { const char *uri, *decisions; } requests[] = {
        {"/old/a?b", "cache path,query\nredirect 308 /new/a?b\n"},
        {"/api/v1/users", "cache path,query\nrewrite /v1/users\nto api\n"},
        {"/teapot?short", "cache path,query\nstatus 418\n"},
        {"/else", "cache path,query\n"},
    };
    for (int i = 0; i < 4; i++) {
        edge_test_begin("GET", requests[i].uri);
        EDGE_EXPECT_STR(edge_test_route(), requests[i].decisions);
    }
}
