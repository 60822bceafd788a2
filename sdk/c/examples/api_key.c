// Lets requests in that bring a key. The configuration is a text:
//
//     plugins: {modules: {api-key: {config: "s3cret alice\n0ther bob\n"}}}

#include "../edge.h"

// next_key takes a line KEY NAME off the configuration; others are left out.
static bool next_key(edge_str *config, edge_str *key, edge_str *name) {
    while (config->len) {
        edge_cut(config, '\n', name);
        if (edge_cut(name, ' ', key) && key->len && name->len) return true;
    }
    return false;
}

static bool check(edge_str config, edge_str *why) {
    edge_str key, name;
    *why = EDGE("no keys: write a line \"KEY NAME\" for each");
    return next_key(&config, &key, &name);
}

static edge_flow handle(void) {
    edge_str config = edge_config(), given = edge_header(EDGE_REQUEST, EDGE("x-api-key"));
    edge_str key, name, client = EDGE("");
    edge_header_remove(EDGE_REQUEST, EDGE("x-client")); // what a client says of itself counts for nothing

    // All keys are looked at, so that the time tells nothing of which one matches.
    while (next_key(&config, &key, &name))
        if (edge_equal_secret(key, given)) client = name;

    if (!client.len) {
        edge_header_set(EDGE_RESPONSE, EDGE("www-authenticate"), EDGE("ApiKey"));
        return edge_reply(401, EDGE("text/plain"), EDGE("an API key is needed\n"));
    }
    edge_header_remove(EDGE_REQUEST, EDGE("x-api-key"));
    edge_header_set(EDGE_REQUEST, EDGE("x-client"), client);
    return EDGE_NEXT;
}

EDGE_CONFIG(check)
EDGE_MIDDLEWARE(handle)
