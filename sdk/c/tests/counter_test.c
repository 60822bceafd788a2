#include "../examples/counter.c"
#include "../edge_test.h"
EDGE_TEST_MIDDLEWARE

int main(void) {
    static const struct { const char *uri, *hits; } requests[] = {{"/a", "1"}, {"/a?q", "2"}, {"/b", "1"}, {"/a", "3"}};
    for (int i = 0; i < 4; i++) {
        edge_test_begin("GET", requests[i].uri);
        EDGE_EXPECT(edge_test_send());
        EDGE_EXPECT_STR(edge_test_answer("x-hits"), requests[i].hits);
    }
}
