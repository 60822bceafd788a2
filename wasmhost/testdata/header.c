// Reads one header and writes one, in both phases: what the benchmark measures.
typedef unsigned int u32;
typedef unsigned long long u64;

#define IMPORT(name) __attribute__((import_module("http_handler"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("get_header_values") u64 get_header_values(u32 kind, const char *name, u32 name_len, char *buf, u32 limit);
IMPORT("set_header_value") void set_header_value(u32 kind, const char *name, u32 name_len, const char *value, u32 value_len);

static char buf[256];
static u32 calls;

EXPORT("handle_request") u64 handle_request(void) {
    u32 len = (u32)get_header_values(0, "x-request-id", 12, buf, sizeof buf);
    set_header_value(0, "x-seen", 6, buf, len ? len - 1 : 0);
    return 1;
}

EXPORT("handle_response") void handle_response(u32 ctx, u32 is_error) {
    *(volatile u32 *)&calls += 1;
}
