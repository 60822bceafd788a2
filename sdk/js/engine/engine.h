// What the files of the engine share: the host's functions, the state of the one script, and small helpers.
//
// The engine is an ordinary plugin. What makes it an engine is that it asks the host for the text of a script when it
// starts, and gives each of its exports to the function of the script that is meant.

#ifndef EDGE_ENGINE_H
#define EDGE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "quickjs.h"

#define HOST(module, function) __attribute__((import_module(module), import_name(function))) extern
#define EXPORT(function) __attribute__((export_name(function)))

// The script. fail does not come back: the host ends the call with this message.
HOST("edge_script_v1", "source") uint32_t host_source(void *buf, uint32_t limit);
HOST("edge_script_v1", "name") uint32_t host_name(void *buf, uint32_t limit);
HOST("edge_script_v1", "fail") _Noreturn void host_fail(const char *message, uint32_t len);

// docs/abi.md, "Functions of http_handler".
HOST("http_handler", "enable_features") uint32_t host_enable_features(uint32_t features);
HOST("http_handler", "get_config") uint32_t host_get_config(void *buf, uint32_t limit);
HOST("http_handler", "log") void host_log(int32_t level, const char *message, uint32_t len);
HOST("http_handler", "log_enabled") uint32_t host_log_enabled(int32_t level);
HOST("http_handler", "get_method") uint32_t host_get_method(void *buf, uint32_t limit);
HOST("http_handler", "set_method") void host_set_method(const char *method, uint32_t len);
HOST("http_handler", "get_uri") uint32_t host_get_uri(void *buf, uint32_t limit);
HOST("http_handler", "set_uri") void host_set_uri(const char *uri, uint32_t len);
HOST("http_handler", "get_protocol_version") uint32_t host_get_protocol_version(void *buf, uint32_t limit);
HOST("http_handler", "get_source_addr") uint32_t host_get_source_addr(void *buf, uint32_t limit);
HOST("http_handler", "get_header_names") uint64_t host_get_header_names(uint32_t kind, void *buf, uint32_t limit);
HOST("http_handler", "get_header_values") uint64_t host_get_header_values(uint32_t kind, const char *name, uint32_t name_len, void *buf, uint32_t limit);
HOST("http_handler", "set_header_value") void host_set_header_value(uint32_t kind, const char *name, uint32_t name_len, const char *value, uint32_t value_len);
HOST("http_handler", "add_header_value") void host_add_header_value(uint32_t kind, const char *name, uint32_t name_len, const char *value, uint32_t value_len);
HOST("http_handler", "remove_header") void host_remove_header(uint32_t kind, const char *name, uint32_t name_len);
HOST("http_handler", "read_body") uint64_t host_read_body(uint32_t kind, void *buf, uint32_t limit);
HOST("http_handler", "write_body") void host_write_body(uint32_t kind, const void *body, uint32_t len);
HOST("http_handler", "get_status_code") uint32_t host_get_status_code(void);
HOST("http_handler", "set_status_code") void host_set_status_code(uint32_t code);

enum { REQUEST_HEADERS, RESPONSE_HEADERS, REQUEST_TRAILERS, RESPONSE_TRAILERS };
enum { BUFFER_REQUEST = 1, BUFFER_RESPONSE = 2, TRAILERS = 4 };
enum { LOG_DEBUG = -1, LOG_INFO, LOG_WARN, LOG_ERROR };

// What the engine is in the middle of. Objects of a request work only while it is there: a script that keeps them for
// later gets an error and not the next visitor's request.
enum phase { IDLE, IN_REQUEST, IN_RESPONSE };

extern JSContext *js;
extern enum phase phase;
extern uint32_t features; // of all requests
extern char script_name[];

// engine.c
JSValue settle(JSValue result); // of a call: waits for its promise; does not come back if the script threw
_Noreturn void fail(void);      // with the exception that is pending
_Noreturn void fail_with(const char *format, ...) __attribute__((format(printf, 1, 2)));
JSValueConst plugin_self(void);              // what the script exports
JSValue plugin_member(const char *name);     // one of its properties
JSValue plugin_function(JSValueConst object, const char *prefix, const char *name); // a method of object, or undefined

// strings.c: text and bytes between the host, C and JavaScript
typedef struct {
	char *data;
	size_t len, cap;
} buffer;

extern char scratch[4096]; // for one host call at a time

void append(buffer *b, const void *data, size_t len);
char *reserve(buffer *b, size_t len); // room for len bytes past b->len
typedef uint32_t host_getter(void *buf, uint32_t limit);
JSValue host_string(host_getter *get);
JSValue host_text(host_getter *get); // the same in UTF-8
JSValue byte_string(const char *data, size_t len);
bool narrow(const char *text, size_t *len, char **copy);

// bytes_of takes a string, a typed array, an ArrayBuffer or a DataView. Give it back with bytes_free.
typedef struct {
	const char *data;
	size_t len;
	const char *text; // to be freed
} bytes;
bool bytes_of(bytes *b, JSValueConst value);
void bytes_free(bytes *b);

// http.c: the request and its response, Headers, Response
void http_init(void);
JSValueConst http_begin_request(void);
JSValueConst http_request(void);
JSValueConst http_response(void);
void http_answer(JSValueConst result, const char *function); // with what a function of the script returned
void http_end(void);
uint32_t http_enable(uint32_t wanted); // features, and which are on

JSValue headers_new(void);
void headers_append(JSValueConst headers, const char *name, size_t name_len, const char *value, size_t value_len);
bool headers_head(buffer *head, JSValueConst init); // appends "name: value\n" for each; false: an exception is pending
JSValue response_new(int status, JSValue headers, buffer body);

// web.c: console, fetch and the other globals
void web_init(void);

// services.c: the module "edge", and the exports of the other kinds
void services_init(void);
void services_loaded(void);
JSValue services_config(void);

#endif
