#include "../examples/api_key.c"
#include "../edge_test.h"
EDGE_TEST_MIDDLEWARE

int main(void) {
    edge_str why;
    edge_test_config = "one alice\n\ntwo bob\n";
    EDGE_EXPECT(check(edge_text(edge_test_config), &why));
    EDGE_EXPECT(!check(EDGE("\n"), &why));

    edge_test_begin("GET", "/");
    edge_test_header("X-API-Key", "onE");
    EDGE_EXPECT(!edge_test_send());
    EDGE_EXPECT(edge_test_status == 401);
    EDGE_EXPECT_STR(edge_test_answer("www-authenticate"), "ApiKey");
    EDGE_EXPECT_STR(edge_test_text(), "an API key is needed\n");

    edge_test_begin("GET", "/");
    edge_test_header("X-API-Key", "two");
    edge_test_header("X-Client", "root");
    EDGE_EXPECT(edge_test_send());
    EDGE_EXPECT_STR(edge_test_seen("x-client"), "bob");
    EDGE_EXPECT_STR(edge_test_seen("x-api-key"), "");
}
