// The request and its response as the script sees them, and the classes Headers and Response.
//
// The request and the response are new objects for each request, so that what a script puts on them is gone afterwards. Their
// Headers have no state and are made once.

#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

static JSClassID request_class, answer_class, headers_class, response_class;
static JSValue headers_proto, response_proto;
static JSValue host_headers[4]; // by kind

// What belongs to the request at hand. serial tells its objects from those of requests that are over.
static uintptr_t serial;
static JSValue request, answer;
static buffer request_body, answer_body;
static bool request_read, answer_read, answer_written;
static uint32_t request_features;

JSValueConst http_begin_request(void) {
	serial++;
	request_features = features;
	request = JS_NewObjectClass(js, request_class);
	answer = JS_NewObjectClass(js, answer_class);
	if (JS_IsException(request) || JS_IsException(answer)) fail();
	JS_SetOpaque(request, (void *)serial);
	JS_SetOpaque(answer, (void *)serial);
	return request;
}

JSValueConst http_request(void) { return request; }
JSValueConst http_response(void) { return answer; }

void http_end(void) {
	JS_FreeValue(js, request);
	JS_FreeValue(js, answer);
	request = answer = JS_UNDEFINED;
	if (request_body.data != NULL) free(request_body.data), request_body = (buffer){0};
	if (answer_body.data != NULL) free(answer_body.data), answer_body = (buffer){0};
	request_read = answer_read = answer_written = false;
	serial++;
}

uint32_t http_enable(uint32_t wanted) {
	uint32_t have = host_enable_features(wanted);
	if (phase == IDLE) features = have;
	request_features = have;
	return have;
}

// check tells whether object is that of the request at hand.
static bool check(JSValueConst object, JSClassID class) {
	if (JS_GetOpaque(object, class) == (void *)serial && phase != IDLE) return true;
	JS_ThrowTypeError(js, "the request that this object belongs to is over");
	return false;
}

static bool check_before_next(const char *what) {
	if (phase == IN_REQUEST) return true;
	JS_ThrowTypeError(js, "%s: the request has gone on to the next handler; do this in request()", what);
	return false;
}

// check_held tells whether the answer is still there to be read or changed.
static bool check_held(const char *what) {
	if (phase == IN_REQUEST || (request_features & BUFFER_RESPONSE)) return true;
	JS_ThrowTypeError(js, "%s: the answer is with the client already; bufferResponse: true in the default export holds it back", what);
	return false;
}

// Header names and values, checked here because the host would end the whole call.

static bool is_token(const char *name, size_t len) {
	for (size_t i = 0; i < len; i++) {
		unsigned char c = name[i];
		if (c >= 'a' && c <= 'z') continue;
		if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL)) continue;
		return false;
	}
	return len > 0;
}

static bool is_value(const char *value, size_t len) {
	for (size_t i = 0; i < len; i++) {
		unsigned char c = value[i];
		if ((c < ' ' && c != '\t') || c == 0x7f) return false;
	}
	return true;
}

typedef struct {
	const char *name, *value;
	size_t name_len, value_len;
	const char *text; // that value is a part of, or NULL if value is to be freed
} field;

static void field_free(field *f) {
	if (f->name != NULL) JS_FreeCString(js, f->name);
	if (f->text != NULL) JS_FreeCString(js, f->text);
	else free((char *)f->value);
}

static bool field_of(field *f, JSValueConst name, const JSValueConst *value) {
	*f = (field){0};
	f->name = JS_ToCStringLen(js, &f->name_len, name);
	if (f->name == NULL) return false;
	if (!is_token(f->name, f->name_len)) {
		JS_ThrowTypeError(js, "\"%.60s\" is not the name of a header", f->name);
		field_free(f);
		return false;
	}
	if (value == NULL) return true;
	f->text = f->value = JS_ToCStringLen(js, &f->value_len, *value);
	if (f->value != NULL) {
		char *bytes;
		bool ok = narrow(f->text, &f->value_len, &bytes);
		if (bytes != NULL) {
			JS_FreeCString(js, f->text);
			f->text = NULL;
			f->value = bytes;
		}
		if (ok && is_value(f->value, f->value_len)) return true;
		if (!ok) JS_ThrowTypeError(js, "the value of header \"%.60s\" has a character past U+00FF, and a header has bytes; encode it", f->name);
		else JS_ThrowTypeError(js, "the value of header \"%.60s\" has a line break or another control character", f->name);
	}
	field_free(f);
	return false;
}

// Headers: those of the message at hand, or a list of the script's own.

typedef struct {
	int kind; // of the host; -1 for a list
	size_t count, cap;
	char **fields; // name and value by turns
} headers;

static void headers_finalizer(JSRuntime *rt, JSValueConst value) {
	(void)rt;
	headers *h = JS_GetOpaque(value, headers_class);
	if (h == NULL) return;
	for (size_t i = 0; i < 2 * h->count; i++) free(h->fields[i]);
	free(h->fields);
	free(h);
}

static JSValue headers_make(int kind) {
	headers *h = calloc(1, sizeof *h);
	JSValue object = JS_NewObjectClass(js, headers_class);
	if (h == NULL || JS_IsException(object)) fail_with("out of memory: limits.memory of the plugin is used up");
	h->kind = kind;
	JS_SetOpaque(object, h);
	return object;
}

JSValue headers_new(void) { return headers_make(-1); }

static char *copy(const char *text, size_t len) {
	char *c = malloc(len + 1);
	if (c == NULL) fail_with("out of memory: limits.memory of the plugin is used up");
	memcpy(c, text, len);
	c[len] = 0;
	return c;
}

static void list_append(headers *h, const char *name, size_t name_len, const char *value, size_t value_len) {
	if (h->count == h->cap) {
		h->cap = h->cap * 2 + 4;
		h->fields = realloc(h->fields, 2 * h->cap * sizeof *h->fields);
		if (h->fields == NULL) fail_with("out of memory: limits.memory of the plugin is used up");
	}
	char *lower = copy(name, name_len);
	for (char *c = lower; *c; c++) {
		if (*c >= 'A' && *c <= 'Z') *c += 'a' - 'A';
	}
	h->fields[2 * h->count] = lower;
	h->fields[2 * h->count + 1] = copy(value, value_len);
	h->count++;
}

void headers_append(JSValueConst object, const char *name, size_t name_len, const char *value, size_t value_len) {
	list_append(JS_GetOpaque(object, headers_class), name, name_len, value, value_len);
}

static bool same_header(const char *lower, const char *name, size_t len) {
	for (size_t i = 0; i < len; i++) {
		char c = name[i];
		if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
		if (lower[i] != c) return false;
	}
	return lower[len] == 0;
}

static void list_remove(headers *h, const char *name, size_t len) {
	size_t kept = 0;
	for (size_t i = 0; i < h->count; i++) {
		if (same_header(h->fields[2 * i], name, len)) {
			free(h->fields[2 * i]);
			free(h->fields[2 * i + 1]);
			continue;
		}
		h->fields[2 * kept] = h->fields[2 * i];
		h->fields[2 * kept + 1] = h->fields[2 * i + 1];
		kept++;
	}
	h->count = kept;
}

static headers *headers_of(JSValueConst this) {
	headers *h = JS_GetOpaque2(js, this, headers_class);
	if (h != NULL && h->kind >= 0 && phase == IDLE) {
		JS_ThrowTypeError(js, "there is no request at the moment");
		return NULL;
	}
	return h;
}

// headers_changing is headers_of for what changes them.
static headers *headers_changing(JSValueConst this) {
	headers *h = headers_of(this);
	if (h == NULL || h->kind < 0) return h;
	bool of_request = h->kind == REQUEST_HEADERS || h->kind == REQUEST_TRAILERS;
	if (of_request ? !check_before_next("req.headers") : !check_held("res.headers")) return NULL;
	if (h->kind >= REQUEST_TRAILERS && !(request_features & TRAILERS)) {
		JS_ThrowTypeError(js, "trailers can be changed with trailers: true in the default export");
		return NULL;
	}
	return h;
}

// host_list gets a packed list from the host, in scratch or in *more, which is to be freed.
static const char *host_list(int kind, const field *f, uint32_t *count, uint32_t *len, char **more) {
	*more = NULL;
	char *to = scratch;
	uint32_t limit = sizeof scratch;
	for (;;) {
		uint64_t result = f == NULL ? host_get_header_names(kind, to, limit)
			: host_get_header_values(kind, f->name, f->name_len, to, limit);
		*count = result >> 32;
		*len = (uint32_t)result;
		if (*len <= limit) return to;
		limit = *len;
		*more = to = realloc(*more, limit);
		if (to == NULL) fail_with("out of memory: limits.memory of the plugin is used up");
	}
}

static JSValue headers_values(headers *h, const field *f, bool joined) {
	JSValue array = joined ? JS_NULL : JS_NewArray(js);
	uint32_t found = 0;
	buffer line = {0};
	uint32_t count, len;
	char *more = NULL;
	const char *item = NULL;
	if (h->kind >= 0) {
		item = host_list(h->kind, f, &count, &len, &more);
		if (joined && count == 1) { // nearly always
			JSValue value = byte_string(item, len - 1);
			free(more);
			return value;
		}
	} else {
		count = h->count;
	}
	for (uint32_t i = 0; i < count; i++) {
		const char *value = item;
		if (h->kind >= 0) item += strlen(item) + 1;
		else if (same_header(h->fields[2 * i], f->name, f->name_len)) value = h->fields[2 * i + 1];
		else continue;
		if (joined) {
			if (found > 0) append(&line, ", ", 2);
			append(&line, value, strlen(value));
		} else {
			JS_SetPropertyUint32(js, array, found, byte_string(value, strlen(value)));
		}
		found++;
	}
	free(more);
	if (!joined) return array;
	JSValue text = found == 0 ? JS_NULL : byte_string(line.len == 0 ? "" : line.data, line.len);
	free(line.data);
	return text;
}

enum { GET, HAS, SET, APPEND, DELETE, GET_ALL, SET_COOKIES };

static JSValue headers_call(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int magic) {
	(void)ctx, (void)argc;
	bool changes = magic == SET || magic == APPEND || magic == DELETE;
	headers *h = changes ? headers_changing(this) : headers_of(this);
	if (h == NULL) return JS_EXCEPTION;
	field f;
	if (magic == SET_COOKIES) {
		f = (field){.name = "set-cookie", .name_len = 10};
		return headers_values(h, &f, false);
	}
	if (!field_of(&f, argv[0], magic == SET || magic == APPEND ? &argv[1] : NULL)) return JS_EXCEPTION;
	JSValue result = JS_UNDEFINED;
	switch (magic) {
	case GET: result = headers_values(h, &f, true); break;
	case GET_ALL: result = headers_values(h, &f, false); break;
	case HAS: {
		JSValue value = headers_values(h, &f, true);
		result = JS_NewBool(js, !JS_IsNull(value));
		JS_FreeValue(js, value);
		break;
	}
	case SET:
		if (h->kind >= 0) {
			host_set_header_value(h->kind, f.name, f.name_len, f.value, f.value_len);
			break;
		}
		list_remove(h, f.name, f.name_len);
		list_append(h, f.name, f.name_len, f.value, f.value_len);
		break;
	case APPEND:
		if (h->kind >= 0) host_add_header_value(h->kind, f.name, f.name_len, f.value, f.value_len);
		else list_append(h, f.name, f.name_len, f.value, f.value_len);
		break;
	case DELETE:
		if (h->kind >= 0) host_remove_header(h->kind, f.name, f.name_len);
		else list_remove(h, f.name, f.name_len);
	}
	field_free(&f);
	return result;
}

// headers_pairs is [[name, value], …], values of one name joined, names sorted as fetch has it.
static JSValue headers_pairs(JSValueConst this) {
	headers *h = headers_of(this);
	if (h == NULL) return JS_EXCEPTION;
	JSValue pairs = JS_NewArray(js);
	uint32_t count, len, out = 0;
	char *more = NULL;
	const char *names = NULL;
	if (h->kind >= 0) {
		const char *list = host_list(h->kind, NULL, &count, &len, &more);
		if (more == NULL) more = memcpy(malloc(len + 1), list, len); // scratch is needed for the values
		names = more;
	} else {
		count = h->count;
	}
	for (uint32_t i = 0; i < count; i++) {
		const char *name = h->kind >= 0 ? names : h->fields[2 * i];
		if (h->kind >= 0) names += strlen(names) + 1;
		bool again = false;
		for (uint32_t k = 0; h->kind < 0 && k < i && !again; k++) again = strcmp(h->fields[2 * k], name) == 0;
		if (again) continue;
		field f = {.name = name, .name_len = strlen(name)};
		JSValue pair = JS_NewArray(js);
		JS_SetPropertyUint32(js, pair, 0, JS_NewString(js, name));
		JS_SetPropertyUint32(js, pair, 1, headers_values(h, &f, true));
		JS_SetPropertyUint32(js, pairs, out++, pair);
	}
	free(more);
	return pairs;
}

static JSValue call_method(JSValue object, const char *name, int argc, JSValueConst *argv) {
	JSAtom atom = JS_NewAtom(js, name);
	JSValue result = JS_Invoke(js, object, atom, argc, argv);
	JS_FreeAtom(js, atom);
	JS_FreeValue(js, object);
	return result;
}

enum { ENTRIES = -1, KEYS, VALUES, FOR_EACH };

static JSValue headers_iterate(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int magic) {
	(void)ctx, (void)argc;
	JSValue pairs = headers_pairs(this);
	if (JS_IsException(pairs) || magic == ENTRIES) return JS_IsException(pairs) ? pairs : call_method(pairs, "values", 0, NULL);
	JSValue column = JS_NewArray(js);
	for (uint32_t i = 0;; i++) {
		JSValue pair = JS_GetPropertyUint32(js, pairs, i);
		if (JS_IsUndefined(pair)) break;
		JSValue name = JS_GetPropertyUint32(js, pair, 0), value = JS_GetPropertyUint32(js, pair, 1);
		JS_FreeValue(js, pair);
		if (magic == FOR_EACH) {
			JSValueConst arguments[] = {value, name, this};
			JSValue result = JS_Call(js, argv[0], JS_UNDEFINED, 3, arguments);
			JS_FreeValue(js, name);
			JS_FreeValue(js, value);
			if (JS_IsException(result)) {
				JS_FreeValue(js, column);
				column = result;
				break;
			}
			JS_FreeValue(js, result);
			continue;
		}
		JS_SetPropertyUint32(js, column, i, magic == KEYS ? name : value);
		JS_FreeValue(js, magic == KEYS ? value : name);
	}
	JS_FreeValue(js, pairs);
	if (JS_IsException(column)) return column;
	if (magic == FOR_EACH) {
		JS_FreeValue(js, column);
		return JS_UNDEFINED;
	}
	return call_method(column, "values", 0, NULL);
}

// each_field calls visit for what can stand for headers: Headers, an array of pairs, an object.
typedef bool field_visitor(void *context, const field *f);

static bool each_field(JSValueConst init, field_visitor *visit, void *context) {
	if (JS_IsUndefined(init) || JS_IsNull(init)) return true;
	if (!JS_IsObject(init)) {
		JS_ThrowTypeError(js, "headers are given as an object, an array of pairs or Headers");
		return false;
	}
	headers *own = JS_GetOpaque(init, headers_class);
	if (own != NULL && own->kind < 0) { // with repeated names, such as set-cookie, kept apart
		for (size_t i = 0; i < own->count; i++) {
			field f = {.name = own->fields[2 * i], .value = own->fields[2 * i + 1], .name_len = strlen(own->fields[2 * i]), .value_len = strlen(own->fields[2 * i + 1])};
			if (!visit(context, &f)) return false;
		}
		return true;
	}
	JSValue pairs;
	if (own != NULL) {
		pairs = headers_pairs(init);
	} else if (JS_IsArray(init)) {
		pairs = JS_DupValue(js, init);
	} else {
		JSValue global = JS_GetGlobalObject(js), object = JS_GetPropertyStr(js, global, "Object");
		JS_FreeValue(js, global);
		pairs = call_method(object, "entries", 1, &init);
	}
	if (JS_IsException(pairs)) return false;
	bool ok = true;
	for (uint32_t i = 0; ok; i++) {
		JSValue pair = JS_GetPropertyUint32(js, pairs, i);
		if (JS_IsUndefined(pair)) break;
		JSValue name = JS_GetPropertyUint32(js, pair, 0), value = JS_GetPropertyUint32(js, pair, 1);
		field f;
		JSValueConst text = value;
		ok = !JS_IsException(pair) && field_of(&f, name, &text);
		if (ok) {
			ok = visit(context, &f);
			field_free(&f);
		}
		JS_FreeValue(js, name);
		JS_FreeValue(js, value);
		JS_FreeValue(js, pair);
	}
	JS_FreeValue(js, pairs);
	return ok;
}

static bool visit_append(void *context, const field *f) {
	list_append(context, f->name, f->name_len, f->value, f->value_len);
	return true;
}

static bool visit_head(void *context, const field *f) {
	append(context, f->name, f->name_len);
	append(context, ": ", 2);
	append(context, f->value, f->value_len);
	append(context, "\n", 1);
	return true;
}

bool headers_head(buffer *head, JSValueConst init) { return each_field(init, visit_head, head); }

static JSValue headers_constructor(JSContext *ctx, JSValueConst target, int argc, JSValueConst *argv) {
	(void)ctx, (void)target, (void)argc;
	JSValue object = headers_new();
	if (each_field(argv[0], visit_append, JS_GetOpaque(object, headers_class))) return object;
	JS_FreeValue(js, object);
	return JS_EXCEPTION;
}

static const JSCFunctionListEntry headers_members[] = {
	JS_CFUNC_MAGIC_DEF("get", 1, headers_call, GET),
	JS_CFUNC_MAGIC_DEF("getAll", 1, headers_call, GET_ALL),
	JS_CFUNC_MAGIC_DEF("getSetCookie", 0, headers_call, SET_COOKIES),
	JS_CFUNC_MAGIC_DEF("has", 1, headers_call, HAS),
	JS_CFUNC_MAGIC_DEF("set", 2, headers_call, SET),
	JS_CFUNC_MAGIC_DEF("append", 2, headers_call, APPEND),
	JS_CFUNC_MAGIC_DEF("delete", 1, headers_call, DELETE),
	JS_CFUNC_MAGIC_DEF("forEach", 1, headers_iterate, FOR_EACH),
	JS_CFUNC_MAGIC_DEF("keys", 0, headers_iterate, KEYS),
	JS_CFUNC_MAGIC_DEF("values", 0, headers_iterate, VALUES),
	JS_CFUNC_MAGIC_DEF("entries", 0, headers_iterate, ENTRIES),
	JS_ALIAS_DEF("[Symbol.iterator]", "entries"),
	JS_PROP_STRING_DEF("[Symbol.toStringTag]", "Headers", JS_PROP_CONFIGURABLE),
};

// Bodies.

enum { TEXT, JSON, BYTES, ARRAY_BUFFER };

static JSValue body_as(const buffer *b, int form) {
	const char *data = b->data == NULL ? "" : b->data;
	switch (form) {
	case TEXT: return JS_NewStringLen(js, data, b->len);
	case BYTES: return JS_NewUint8ArrayCopy(js, (const uint8_t *)data, b->len);
	case ARRAY_BUFFER: return JS_NewArrayBufferCopy(js, (const uint8_t *)data, b->len);
	}
	buffer text = {0}; // the parser wants a NUL behind it
	append(&text, data, b->len);
	append(&text, "", 1);
	JSValue value = JS_ParseJSON(js, text.data, b->len, "body");
	free(text.data);
	return value;
}

static void read_all(uint32_t kind, buffer *b) {
	uint64_t result;
	uint32_t piece = 4096;
	do {
		result = host_read_body(kind, reserve(b, piece), piece);
		b->len += (uint32_t)result;
		piece = piece < 1 << 20 ? piece * 2 : piece;
	} while (result >> 32 == 0);
}

// read_some is for bodies that should not be in memory as a whole: a Uint8Array, or null at the end.
static JSValue read_some(uint32_t kind, bool *ended, JSValueConst limit) {
	uint32_t max = 65536;
	if (!JS_IsUndefined(limit) && JS_ToUint32(js, &max, limit)) return JS_EXCEPTION;
	if (max == 0 || max > 1 << 24) return JS_ThrowRangeError(js, "read: takes 1 to 16777216 bytes at a time");
	if (*ended) return JS_NULL;
	buffer b = {0};
	uint64_t result = host_read_body(kind, reserve(&b, max), max);
	b.len = (uint32_t)result;
	*ended = result >> 32 != 0;
	JSValue chunk = b.len == 0 && *ended ? JS_NULL : body_as(&b, BYTES);
	free(b.data);
	return chunk;
}

// The request.

enum { METHOD, URI, PATH, QUERY, PROTOCOL, ADDRESS, HEADERS, REQ_TRAILERS };

static JSValue request_get(JSContext *ctx, JSValueConst this, int magic) {
	(void)ctx;
	if (!check(this, request_class)) return JS_EXCEPTION;
	switch (magic) {
	case METHOD: return host_string(host_get_method);
	case URI: return host_string(host_get_uri);
	case PROTOCOL: return host_string(host_get_protocol_version);
	case ADDRESS: return host_string(host_get_source_addr);
	case HEADERS: return JS_DupValue(js, host_headers[REQUEST_HEADERS]);
	case REQ_TRAILERS: return JS_DupValue(js, host_headers[REQUEST_TRAILERS]);
	}
	char *uri = scratch, *more = NULL;
	uint32_t len = host_get_uri(scratch, sizeof scratch);
	if (len > sizeof scratch) {
		buffer b = {0};
		more = uri = reserve(&b, len);
		host_get_uri(uri, len);
	}
	char *question = memchr(uri, '?', len);
	uint32_t path = question == NULL ? len : (uint32_t)(question - uri);
	JSValue part = magic == PATH ? byte_string(uri, path)
		: question == NULL ? JS_NewString(js, "") : byte_string(question + 1, len - path - 1);
	free(more);
	return part;
}

static JSValue request_set(JSContext *ctx, JSValueConst this, JSValueConst value, int magic) {
	(void)ctx;
	const char *name = magic == METHOD ? "req.method" : "req.uri";
	if (!check(this, request_class) || !check_before_next(name)) return JS_EXCEPTION;
	size_t len;
	const char *text = JS_ToCStringLen(js, &len, value);
	if (text == NULL) return JS_EXCEPTION;
	JSValue result = JS_UNDEFINED;
	if (magic == METHOD && !is_token(text, len)) result = JS_ThrowTypeError(js, "req.method: \"%.40s\" is not a method", text);
	else if (magic == METHOD) host_set_method(text, len);
	else if (len > 0 && text[0] != '/' && strcmp(text, "*") != 0)
		result = JS_ThrowTypeError(js, "req.uri: \"%.80s\" is not path and query: it begins with \"/\"", text);
	else host_set_uri(text, len);
	JS_FreeCString(js, text);
	return result;
}

static JSValue request_body_as(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int magic) {
	(void)ctx, (void)argc, (void)argv;
	if (!check(this, request_class)) return JS_EXCEPTION;
	if (!request_read) {
		if (!check_before_next("the body of the request")) return JS_EXCEPTION;
		if (!(request_features & BUFFER_REQUEST)) request_features = host_enable_features(BUFFER_REQUEST);
		read_all(0, &request_body);
		request_read = true;
	}
	return body_as(&request_body, magic);
}

static JSValue request_read_some(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)argc;
	if (!check(this, request_class) || !check_before_next("req.read")) return JS_EXCEPTION;
	return read_some(0, &request_read, argv[0]);
}

static JSValue request_write(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)argc;
	bytes b;
	if (!check(this, request_class) || !check_before_next("req.write") || !bytes_of(&b, argv[0])) return JS_EXCEPTION;
	host_write_body(0, b.data, b.len);
	bytes_free(&b);
	return JS_UNDEFINED;
}

static const JSCFunctionListEntry request_members[] = {
	JS_CGETSET_MAGIC_DEF("method", request_get, request_set, METHOD),
	JS_CGETSET_MAGIC_DEF("uri", request_get, request_set, URI),
	JS_CGETSET_MAGIC_DEF("path", request_get, NULL, PATH),
	JS_CGETSET_MAGIC_DEF("query", request_get, NULL, QUERY),
	JS_CGETSET_MAGIC_DEF("protocol", request_get, NULL, PROTOCOL),
	JS_CGETSET_MAGIC_DEF("remoteAddress", request_get, NULL, ADDRESS),
	JS_CGETSET_MAGIC_DEF("headers", request_get, NULL, HEADERS),
	JS_CGETSET_MAGIC_DEF("trailers", request_get, NULL, REQ_TRAILERS),
	JS_CFUNC_MAGIC_DEF("text", 0, request_body_as, TEXT),
	JS_CFUNC_MAGIC_DEF("json", 0, request_body_as, JSON),
	JS_CFUNC_MAGIC_DEF("bytes", 0, request_body_as, BYTES),
	JS_CFUNC_MAGIC_DEF("arrayBuffer", 0, request_body_as, ARRAY_BUFFER),
	JS_CFUNC_DEF("read", 1, request_read_some),
	JS_CFUNC_DEF("write", 1, request_write),
	JS_PROP_STRING_DEF("[Symbol.toStringTag]", "Request", JS_PROP_CONFIGURABLE),
};

// The answer that is on its way to the client.

static JSValue answer_get(JSContext *ctx, JSValueConst this, int magic) {
	(void)ctx;
	if (!check(this, answer_class)) return JS_EXCEPTION;
	switch (magic) {
	case HEADERS: return JS_DupValue(js, host_headers[RESPONSE_HEADERS]);
	case REQ_TRAILERS: return JS_DupValue(js, host_headers[RESPONSE_TRAILERS]);
	}
	if (!check_held("res.status")) return JS_EXCEPTION;
	return JS_NewUint32(js, host_get_status_code());
}

static bool set_status(int32_t status) {
	if (status < 200 || status > 999) {
		JS_ThrowRangeError(js, "%d is not a status: 200 to 999", status);
		return false;
	}
	host_set_status_code(status);
	return true;
}

static JSValue answer_set_status(JSContext *ctx, JSValueConst this, JSValueConst value, int magic) {
	(void)ctx, (void)magic;
	int32_t status;
	if (!check(this, answer_class) || !check_held("res.status") || JS_ToInt32(js, &status, value)) return JS_EXCEPTION;
	return set_status(status) ? JS_UNDEFINED : JS_EXCEPTION;
}

static JSValue answer_body_as(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int magic) {
	(void)ctx, (void)argc, (void)argv;
	if (!check(this, answer_class)) return JS_EXCEPTION;
	if (phase == IN_REQUEST) return JS_ThrowTypeError(js, "there is no body of the answer yet; it can be read in response()");
	if (!check_held("the body of the answer")) return JS_EXCEPTION;
	if (!answer_read) read_all(1, &answer_body);
	answer_read = true;
	return body_as(&answer_body, magic);
}

static JSValue answer_read_some(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)argc;
	if (!check(this, answer_class)) return JS_EXCEPTION;
	if (phase == IN_REQUEST) return JS_ThrowTypeError(js, "there is no body of the answer yet; it can be read in response()");
	return check_held("res.read") ? read_some(1, &answer_read, argv[0]) : JS_EXCEPTION;
}

static JSValue answer_write(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)argc;
	bytes b;
	if (!check(this, answer_class) || !check_held("res.write") || !bytes_of(&b, argv[0])) return JS_EXCEPTION;
	host_write_body(1, b.data, b.len);
	answer_written = true;
	bytes_free(&b);
	return JS_UNDEFINED;
}

static const JSCFunctionListEntry answer_members[] = {
	JS_CGETSET_MAGIC_DEF("status", answer_get, answer_set_status, 0),
	JS_CGETSET_MAGIC_DEF("headers", answer_get, NULL, HEADERS),
	JS_CGETSET_MAGIC_DEF("trailers", answer_get, NULL, REQ_TRAILERS),
	JS_CFUNC_MAGIC_DEF("text", 0, answer_body_as, TEXT),
	JS_CFUNC_MAGIC_DEF("json", 0, answer_body_as, JSON),
	JS_CFUNC_MAGIC_DEF("bytes", 0, answer_body_as, BYTES),
	JS_CFUNC_MAGIC_DEF("arrayBuffer", 0, answer_body_as, ARRAY_BUFFER),
	JS_CFUNC_DEF("read", 1, answer_read_some),
	JS_CFUNC_DEF("write", 1, answer_write),
	JS_PROP_STRING_DEF("[Symbol.toStringTag]", "ServerResponse", JS_PROP_CONFIGURABLE),
};

// Response: what fetch gives, and what a handler returns to answer.

typedef struct {
	int status;
	JSValue headers;
	buffer body;
} response;

static void response_finalizer(JSRuntime *rt, JSValueConst value) {
	response *r = JS_GetOpaque(value, response_class);
	if (r == NULL) return;
	JS_FreeValueRT(rt, r->headers);
	free(r->body.data);
	free(r);
}

static void response_mark(JSRuntime *rt, JSValueConst value, JS_MarkFunc *mark) {
	response *r = JS_GetOpaque(value, response_class);
	if (r != NULL) JS_MarkValue(rt, r->headers, mark);
}

JSValue response_new(int status, JSValue fields, buffer body) {
	response *r = calloc(1, sizeof *r);
	JSValue object = JS_NewObjectClass(js, response_class);
	if (r == NULL || JS_IsException(object)) fail_with("out of memory: limits.memory of the plugin is used up");
	*r = (response){status, fields, body};
	JS_SetOpaque(object, r);
	return object;
}

// response_init reads {status, headers}.
static bool response_init(JSValueConst init, int32_t *status, JSValue fields) {
	if (JS_IsUndefined(init) || JS_IsNull(init)) return true;
	JSValue value = JS_GetPropertyStr(js, init, "status");
	bool ok = !JS_IsException(value) && (JS_IsUndefined(value) || JS_ToInt32(js, status, value) == 0);
	JS_FreeValue(js, value);
	if (ok && (*status < 200 || *status > 999)) {
		JS_ThrowRangeError(js, "%d is not a status: 200 to 999", *status);
		ok = false;
	}
	if (!ok) return false;
	value = JS_GetPropertyStr(js, init, "headers");
	ok = !JS_IsException(value) && each_field(value, visit_append, JS_GetOpaque(fields, headers_class));
	JS_FreeValue(js, value);
	return ok;
}

static void default_type(JSValueConst fields, const char *type) {
	headers *h = JS_GetOpaque(fields, headers_class);
	for (size_t i = 0; i < h->count; i++) {
		if (strcmp(h->fields[2 * i], "content-type") == 0) return;
	}
	list_append(h, "content-type", 12, type, strlen(type));
}

static bool is_bytes(JSValueConst value) { return JS_IsArrayBuffer(value) || JS_GetTypedArrayType(value) >= 0; }

static JSValue response_constructor(JSContext *ctx, JSValueConst target, int argc, JSValueConst *argv) {
	(void)ctx, (void)target, (void)argc;
	if (JS_IsObject(argv[0]) && !is_bytes(argv[0]))
		return JS_ThrowTypeError(js, "the body of a Response is a string or bytes; Response.json(value) takes objects");
	int32_t status = 200;
	buffer body = {0};
	JSValue fields = headers_new();
	if (!response_init(argv[1], &status, fields)) goto failed;
	if (!JS_IsUndefined(argv[0]) && !JS_IsNull(argv[0])) {
		bytes b;
		if (!bytes_of(&b, argv[0])) goto failed;
		append(&body, b.data, b.len);
		if (b.text != NULL) default_type(fields, "text/plain;charset=UTF-8");
		bytes_free(&b);
	}
	return response_new(status, fields, body);
failed:
	JS_FreeValue(js, fields);
	return JS_EXCEPTION;
}

static JSValue response_json(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)this, (void)argc;
	JSValue text = JS_JSONStringify(js, argv[0], JS_UNDEFINED, JS_UNDEFINED);
	if (JS_IsException(text)) return text;
	JSValueConst arguments[] = {text, argv[1]};
	int32_t status = 200;
	JSValue fields = headers_new(), result = JS_EXCEPTION;
	bytes b;
	if (response_init(arguments[1], &status, fields) && bytes_of(&b, text)) {
		buffer body = {0};
		append(&body, b.data, b.len);
		bytes_free(&b);
		default_type(fields, "application/json");
		result = response_new(status, fields, body);
	} else {
		JS_FreeValue(js, fields);
	}
	JS_FreeValue(js, text);
	return result;
}

static JSValue response_redirect(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)this, (void)argc;
	int32_t status = 302;
	if (!JS_IsUndefined(argv[1]) && JS_ToInt32(js, &status, argv[1])) return JS_EXCEPTION;
	if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308)
		return JS_ThrowRangeError(js, "%d is not the status of a redirect: 301, 302, 303, 307 or 308", status);
	JSValue name = JS_NewString(js, "location");
	field f;
	bool ok = field_of(&f, name, &argv[0]);
	JS_FreeValue(js, name);
	if (!ok) return JS_EXCEPTION;
	JSValue fields = headers_new();
	visit_append(JS_GetOpaque(fields, headers_class), &f);
	field_free(&f);
	return response_new(status, fields, (buffer){0});
}

enum { STATUS, OK, RESPONSE_HEADER_OBJECT };

static JSValue response_get(JSContext *ctx, JSValueConst this, int magic) {
	(void)ctx;
	response *r = JS_GetOpaque2(js, this, response_class);
	if (r == NULL) return JS_EXCEPTION;
	switch (magic) {
	case STATUS: return JS_NewInt32(js, r->status);
	case OK: return JS_NewBool(js, r->status >= 200 && r->status < 300);
	}
	return JS_DupValue(js, r->headers);
}

static JSValue response_body_as(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int magic) {
	(void)ctx, (void)argc, (void)argv;
	response *r = JS_GetOpaque2(js, this, response_class);
	return r == NULL ? JS_EXCEPTION : body_as(&r->body, magic);
}

static const JSCFunctionListEntry response_members[] = {
	JS_CGETSET_MAGIC_DEF("status", response_get, NULL, STATUS),
	JS_CGETSET_MAGIC_DEF("ok", response_get, NULL, OK),
	JS_CGETSET_MAGIC_DEF("headers", response_get, NULL, RESPONSE_HEADER_OBJECT),
	JS_CFUNC_MAGIC_DEF("text", 0, response_body_as, TEXT),
	JS_CFUNC_MAGIC_DEF("json", 0, response_body_as, JSON),
	JS_CFUNC_MAGIC_DEF("bytes", 0, response_body_as, BYTES),
	JS_CFUNC_MAGIC_DEF("arrayBuffer", 0, response_body_as, ARRAY_BUFFER),
	JS_PROP_STRING_DEF("[Symbol.toStringTag]", "Response", JS_PROP_CONFIGURABLE),
};

static const JSCFunctionListEntry response_statics[] = {
	JS_CFUNC_DEF("json", 2, response_json),
	JS_CFUNC_DEF("redirect", 2, response_redirect),
};

// http_answer sends what a handler returned: a Response, or res if the script wrote to that.
void http_answer(JSValueConst result, const char *function) {
	if (JS_GetOpaque(result, answer_class) == (void *)serial) return;
	response *r = JS_GetOpaque(result, response_class);
	if (r == NULL) {
		JS_ThrowTypeError(js, "%s() returned something that is not a Response: return nothing to go on, or new Response(body, {status, headers})", function);
		fail();
	}
	if (!check_held("the Response that was returned")) fail();
	if (answer_written) {
		JS_ThrowTypeError(js, "%s() returned a Response after res.write; return res to answer with what was written", function);
		fail();
	}
	host_set_status_code(r->status);
	headers *h = JS_GetOpaque(r->headers, headers_class);
	for (size_t i = 0; i < h->count; i++) { // the first of a name replaces what is there, the next ones are added
		const char *name = h->fields[2 * i], *value = h->fields[2 * i + 1];
		bool again = false;
		for (size_t k = 0; k < i && !again; k++) again = strcmp(h->fields[2 * k], name) == 0;
		(again ? host_add_header_value : host_set_header_value)(RESPONSE_HEADERS, name, strlen(name), value, strlen(value));
	}
	if (phase == IN_REQUEST && r->status != 204 && r->status != 304) {
		char length[24];
		int n = snprintf(length, sizeof length, "%zu", r->body.len);
		host_set_header_value(RESPONSE_HEADERS, "content-length", 14, length, n);
	}
	host_write_body(1, r->body.data, r->body.len);
}

// Setting up.

static JSClassID new_class(const char *name, JSClassDef definition) {
	JSClassID id = 0;
	definition.class_name = name;
	JS_NewClassID(JS_GetRuntime(js), &id);
	if (JS_NewClass(JS_GetRuntime(js), id, &definition) < 0) fail_with("out of memory");
	return id;
}

static JSValue prototype(JSClassID id, const JSCFunctionListEntry *members, int count) {
	JSValue proto = JS_NewObject(js);
	JS_SetPropertyFunctionList(js, proto, members, count);
	JS_SetClassProto(js, id, JS_DupValue(js, proto));
	return proto;
}

#define COUNT(list) ((int)(sizeof list / sizeof *list))

static JSValue constructor(const char *name, JSCFunction *make, int length, JSValueConst proto) {
	JSValue function = JS_NewCFunction2(js, make, name, length, JS_CFUNC_constructor, 0), global = JS_GetGlobalObject(js);
	JS_SetConstructor(js, function, proto);
	JS_DefinePropertyValueStr(js, global, name, JS_DupValue(js, function), JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
	JS_FreeValue(js, global);
	return function;
}

void http_init(void) {
	request = answer = JS_UNDEFINED;
	request_class = new_class("Request", (JSClassDef){0});
	answer_class = new_class("ServerResponse", (JSClassDef){0});
	headers_class = new_class("Headers", (JSClassDef){.finalizer = headers_finalizer});
	response_class = new_class("Response", (JSClassDef){.finalizer = response_finalizer, .gc_mark = response_mark});

	JS_FreeValue(js, prototype(request_class, request_members, COUNT(request_members)));
	JS_FreeValue(js, prototype(answer_class, answer_members, COUNT(answer_members)));
	headers_proto = prototype(headers_class, headers_members, COUNT(headers_members));
	response_proto = prototype(response_class, response_members, COUNT(response_members));
	JS_FreeValue(js, constructor("Headers", headers_constructor, 1, headers_proto));
	JSValue function = constructor("Response", response_constructor, 2, response_proto);
	JS_SetPropertyFunctionList(js, function, response_statics, COUNT(response_statics));
	JS_FreeValue(js, function);
	for (int kind = 0; kind < 4; kind++) {
		host_headers[kind] = headers_make(kind);
		JS_PreventExtensions(js, host_headers[kind]); // they outlive the request
	}
}
