// The globals that JavaScript programmers expect of a server: console, TextEncoder and TextDecoder, crypto, atob and btoa.
// fetch is in services.c. There are no timers: nothing runs between two calls of the plugin.

#include <stdlib.h>
#include <unistd.h>

#include "engine.h"

// console

static const int levels[] = {LOG_INFO, LOG_INFO, LOG_DEBUG, LOG_WARN, LOG_ERROR};

static void describe(buffer *line, JSValueConst value) {
	bytes b;
	JSValue text = JS_UNDEFINED;
	if (JS_IsError(value)) {
		if (bytes_of(&b, value)) append(line, b.data, b.len), append(line, "\n", 1), bytes_free(&b);
		text = JS_GetPropertyStr(js, value, "stack");
	} else if (JS_IsObject(value) && !JS_IsFunction(js, value)) {
		text = JS_JSONStringify(js, value, JS_UNDEFINED, JS_UNDEFINED);
	}
	if (JS_IsException(text)) { // such as a circle
		JS_FreeValue(js, JS_GetException(js));
		text = JS_UNDEFINED;
	}
	if (bytes_of(&b, JS_IsUndefined(text) ? value : text)) {
		append(line, b.data, b.len);
		bytes_free(&b);
	} else {
		JS_FreeValue(js, JS_GetException(js));
	}
	JS_FreeValue(js, text);
}

static JSValue console_log(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int magic) {
	(void)ctx, (void)this;
	if (!host_log_enabled(levels[magic])) return JS_UNDEFINED;
	buffer line = {0};
	for (int i = 0; i < argc; i++) {
		if (i > 0) append(&line, " ", 1);
		describe(&line, argv[i]);
	}
	host_log(levels[magic], line.data, line.len);
	free(line.data);
	return JS_UNDEFINED;
}

static const JSCFunctionListEntry console_members[] = {
	JS_CFUNC_MAGIC_DEF("log", 1, console_log, 0),
	JS_CFUNC_MAGIC_DEF("info", 1, console_log, 1),
	JS_CFUNC_MAGIC_DEF("debug", 1, console_log, 2),
	JS_CFUNC_MAGIC_DEF("warn", 1, console_log, 3),
	JS_CFUNC_MAGIC_DEF("error", 1, console_log, 4),
};

// Randomness comes from the host each time it runs out, and not from a seed: instances are copies of one another.

static uint8_t random_bytes[256];
static size_t random_left;

static void random_fill(void *to, size_t len) {
	for (uint8_t *out = to; len > 0;) {
		if (random_left == 0) {
			if (getentropy(random_bytes, sizeof random_bytes) != 0) fail_with("the host has no random bytes");
			random_left = sizeof random_bytes;
		}
		size_t n = len < random_left ? len : random_left;
		random_left -= n;
		memcpy(out, random_bytes + random_left, n);
		memset(random_bytes + random_left, 0, n);
		out += n, len -= n;
	}
}

// The host calls this in an instance that was made as a copy of another one.
EXPORT("edge_after_clone") void edge_after_clone(void) { random_left = 0; }

static JSValue math_random(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)this, (void)argc, (void)argv;
	uint64_t bits;
	random_fill(&bits, sizeof bits);
	return JS_NewFloat64(js, (double)(bits >> 11) * 0x1p-53);
}

static JSValue get_random_values(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)this, (void)argc;
	bytes b;
	if (JS_GetTypedArrayType(argv[0]) < 0) return JS_ThrowTypeError(js, "crypto.getRandomValues: takes a typed array");
	if (!bytes_of(&b, argv[0])) return JS_EXCEPTION;
	if (b.len > 65536) return JS_ThrowRangeError(js, "crypto.getRandomValues: at most 65536 bytes at a time");
	random_fill((void *)b.data, b.len);
	return JS_DupValue(js, argv[0]);
}

static JSValue random_uuid(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)this, (void)argc, (void)argv;
	static const char hex[] = "0123456789abcdef";
	uint8_t id[16];
	char text[36], *out = text;
	random_fill(id, sizeof id);
	id[6] = (id[6] & 0x0f) | 0x40;
	id[8] = (id[8] & 0x3f) | 0x80;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
		*out++ = hex[id[i] >> 4];
		*out++ = hex[id[i] & 15];
	}
	return JS_NewStringLen(js, text, sizeof text);
}

static const JSCFunctionListEntry crypto_members[] = {
	JS_CFUNC_DEF("getRandomValues", 1, get_random_values),
	JS_CFUNC_DEF("randomUUID", 0, random_uuid),
};

// TextEncoder and TextDecoder, for UTF-8.

static JSValue encode(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)this, (void)argc;
	size_t len = 0;
	const char *text = JS_IsUndefined(argv[0]) ? NULL : JS_ToCStringLen(js, &len, argv[0]);
	if (text == NULL && !JS_IsUndefined(argv[0])) return JS_EXCEPTION;
	JSValue array = JS_NewUint8ArrayCopy(js, (const uint8_t *)(text == NULL ? "" : text), len);
	if (text != NULL) JS_FreeCString(js, text);
	return array;
}

static JSValue decode(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
	(void)ctx, (void)this, (void)argc;
	if (JS_IsUndefined(argv[0])) return JS_NewString(js, "");
	bytes b;
	if (!JS_IsArrayBuffer(argv[0]) && JS_GetTypedArrayType(argv[0]) < 0) return JS_ThrowTypeError(js, "TextDecoder.decode: takes bytes");
	return bytes_of(&b, argv[0]) ? JS_NewStringLen(js, b.data == NULL ? "" : b.data, b.len) : JS_EXCEPTION;
}

static JSValue construct_text(JSContext *ctx, JSValueConst target, int argc, JSValueConst *argv) {
	(void)argc, (void)argv;
	JSValue proto = JS_GetPropertyStr(ctx, target, "prototype"), object = JS_NewObjectProto(ctx, proto);
	JS_FreeValue(ctx, proto);
	return object;
}

static const JSCFunctionListEntry encoder_members[] = {JS_CFUNC_DEF("encode", 1, encode), JS_PROP_STRING_DEF("encoding", "utf-8", 0)};
static const JSCFunctionListEntry decoder_members[] = {JS_CFUNC_DEF("decode", 1, decode), JS_PROP_STRING_DEF("encoding", "utf-8", 0)};

static void define_class(JSValueConst global, const char *name, const JSCFunctionListEntry *members, int count) {
	JSValue function = JS_NewCFunction2(js, construct_text, name, 0, JS_CFUNC_constructor, 0), proto = JS_NewObject(js);
	JS_SetPropertyFunctionList(js, proto, members, count);
	JS_SetConstructor(js, function, proto);
	JS_FreeValue(js, proto);
	JS_DefinePropertyValueStr(js, global, name, function, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
}

static void define_object(JSValueConst global, const char *name, const JSCFunctionListEntry *members, int count) {
	JSValue object = JS_NewObject(js);
	JS_SetPropertyFunctionList(js, object, members, count);
	JS_DefinePropertyValueStr(js, global, name, object, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
}

#define COUNT(list) ((int)(sizeof list / sizeof *list))

void web_init(void) {
	JSValue global = JS_GetGlobalObject(js), math = JS_GetPropertyStr(js, global, "Math");
	JS_SetPropertyStr(js, math, "random", JS_NewCFunction(js, math_random, "random", 0));
	JS_FreeValue(js, math);
	define_object(global, "console", console_members, COUNT(console_members));
	define_object(global, "crypto", crypto_members, COUNT(crypto_members));
	define_class(global, "TextEncoder", encoder_members, COUNT(encoder_members));
	define_class(global, "TextDecoder", decoder_members, COUNT(decoder_members));
	JS_FreeValue(js, global);
}
