#include "../examples/numbers.c"
#include "../edge_test.h"
EDGE_TEST_MIDDLEWARE

int main(void) {
    edge_test_begin("GET", "/numbers?n=3");
    EDGE_EXPECT(!edge_test_send());
    EDGE_EXPECT_STR(edge_test_text(), "[1,2,3]");

    edge_test_begin("GET", "/numbers?n=many");
    EDGE_EXPECT(!edge_test_send());
    EDGE_EXPECT(edge_test_status == 400);
}
