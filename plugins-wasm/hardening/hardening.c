// Hardening adds security headers to every response, and its stamp to the request:
//
//     X-Edge-Stamp: plugin=hardening; lang=C; spent=1.4
//
// One file, no libc, no SDK: this is all of what a plugin needs. The imports are those of docs/abi.md; clang turns the
// attributes into the import and export sections of the module.
//
//     clang --target=wasm32-unknown-unknown -O2 -nostdlib -Wl,--no-entry -Wl,--strip-all -o hardening.wasm hardening.c

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

enum { REQUEST = 0, RESPONSE = 1 }; // header kinds
enum { CLOCK_MONOTONIC = 1 };

IMPORT("http_handler", "get_config") u32 get_config(void *buf, u32 limit);
IMPORT("http_handler", "add_header_value")
void add_header_value(u32 kind, const char *name, u32 name_len, const char *value, u32 value_len);
IMPORT("http_handler", "set_header_value")
void set_header_value(u32 kind, const char *name, u32 name_len, const char *value, u32 value_len);
IMPORT("http_handler", "remove_header") void remove_header(u32 kind, const char *name, u32 name_len);
IMPORT("edge_core_v1", "set_error") u32 set_error(const char *text, u32 len);
IMPORT("wasi_snapshot_preview1", "clock_time_get") u32 clock_time_get(u32 clock, u64 precision, u64 *time);

#define LENGTH(literal) (sizeof(literal) - 1)
#define SET(name, value) set_header_value(RESPONSE, name, LENGTH(name), value, LENGTH(value))

static const char STAMP[] = "X-Edge-Stamp";
static const char PREFIX[] = "plugin=hardening; lang=C; spent=";

static u8 strip; // config "first": nothing in front of this plugin removes stamps that clients send

static u64 now(void) {
    u64 time = 0;
    clock_time_get(CLOCK_MONOTONIC, 1, &time);
    return time;
}

// put_number writes n in decimal and returns where it ends.
static char *put_number(char *to, u64 n) {
    char digits[20];
    int count = 0;
    do {
        digits[count++] = '0' + n % 10;
        n /= 10;
    } while (n);
    while (count) *to++ = digits[--count];
    return to;
}

// Without the attribute, compilers may turn the loop into a call of memcpy, which nobody provides here.
__attribute__((no_builtin("memcpy"))) static void stamp(u64 nanoseconds) {
    static char line[LENGTH(PREFIX) + 24];
    char *end = line;
    for (u32 i = 0; i < LENGTH(PREFIX); i++) *end++ = PREFIX[i];
    end = put_number(end, nanoseconds / 1000);
    *end++ = '.';
    *end++ = '0' + nanoseconds / 100 % 10;
    add_header_value(REQUEST, STAMP, LENGTH(STAMP), line, end - line);
}

// The host calls this once, before anything else. Not 0 refuses the configuration.
EXPORT("edge_config") u32 configure(u32 len) {
    static const char FIRST[] = "first", WRONG[] = "config: must be the text first, or nothing; README.md of hardening has the two";
    char config[LENGTH(FIRST)];
    strip = get_config(config, sizeof config) == LENGTH(FIRST); // which writes nothing if there is no room for all
    for (u32 i = 0; strip && i < LENGTH(FIRST); i++) strip = config[i] == FIRST[i];
    return strip || len == 0 ? 0 : (set_error(WRONG, LENGTH(WRONG)), 1);
}

EXPORT("handle_request") u64 handle_request(void) {
    u64 began = now();

    // Before the request goes on: a target of the server overwrites these, PHP adds to them.
    SET("X-Content-Type-Options", "nosniff");
    SET("X-Frame-Options", "SAMEORIGIN");
    SET("Referrer-Policy", "strict-origin-when-cross-origin");
    SET("Cross-Origin-Opener-Policy", "same-origin");
    SET("Permissions-Policy", "camera=(), geolocation=(), microphone=()");

    if (strip) remove_header(REQUEST, STAMP, LENGTH(STAMP));
    stamp(now() - began);
    return 1; // pass on
}

// Nothing to do; the host sees that the body is empty and does not keep the instance waiting for the response.
EXPORT("handle_response") void handle_response(u32 ctx, u32 is_error) {}
