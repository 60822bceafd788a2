// Text and bytes between the host, C and JavaScript.

#include <stdlib.h>

#include "engine.h"

char scratch[4096];

char *reserve(buffer *b, size_t len) {
	if (b->cap - b->len < len) {
		size_t cap = b->cap * 2 > b->len + len ? b->cap * 2 : b->len + len;
		char *data = realloc(b->data, cap);
		if (data == NULL) fail_with("out of memory: limits.memory of the plugin is used up");
		b->data = data;
		b->cap = cap;
	}
	return b->data + b->len;
}

void append(buffer *b, const void *data, size_t len) {
	memcpy(reserve(b, len), data, len);
	b->len += len;
}

// host_string is what a host function of the form (buf, limit) -> len has to say, which is about HTTP: bytes.
JSValue host_string(host_getter *get) {
	uint32_t len = get(scratch, sizeof scratch);
	if (len <= sizeof scratch) return byte_string(scratch, len);
	buffer b = {0};
	get(reserve(&b, len), len);
	JSValue s = byte_string(b.data, len);
	free(b.data);
	return s;
}

JSValue host_text(host_getter *get) {
	buffer b = {0};
	uint32_t len = get(scratch, sizeof scratch);
	if (len > sizeof scratch) get(reserve(&b, len), len);
	JSValue s = JS_NewStringLen(js, b.data == NULL ? scratch : b.data, len);
	free(b.data);
	return s;
}

bool bytes_of(bytes *b, JSValueConst value) {
	*b = (bytes){0};
	if (JS_IsObject(value)) {
		size_t size, offset, length, each;
		uint8_t *data;
		if (JS_IsArrayBuffer(value)) {
			data = JS_GetArrayBuffer(js, &size, value);
			if (data == NULL && size != 0) return false;
			b->data = (const char *)data, b->len = size;
			return true;
		}
		if (JS_GetTypedArrayType(value) >= 0) {
			JSValue array = JS_GetTypedArrayBuffer(js, value, &offset, &length, &each);
			if (JS_IsException(array)) return false;
			data = JS_GetArrayBuffer(js, &size, array);
			JS_FreeValue(js, array); // the typed array keeps it
			if (data != NULL) b->data = (const char *)data + offset, b->len = length;
			return true;
		}
	}
	b->text = JS_ToCStringLen(js, &b->len, value);
	b->data = b->text;
	return b->text != NULL;
}

void bytes_free(bytes *b) {
	if (b->text != NULL) JS_FreeCString(js, b->text);
}

// Header values are bytes. As fetch has it, each byte is a character of its own in JavaScript, U+0000 to U+00FF, so that nothing
// is lost in either direction.

static bool is_ascii(const char *data, size_t len) {
	unsigned char all = 0;
	for (size_t i = 0; i < len; i++) all |= data[i];
	return all < 0x80;
}

JSValue byte_string(const char *data, size_t len) {
	if (is_ascii(data, len)) return JS_NewStringLen(js, data, len);
	buffer b = {0};
	uint16_t *wide = (uint16_t *)reserve(&b, 2 * len);
	for (size_t i = 0; i < len; i++) wide[i] = (unsigned char)data[i];
	JSValue s = JS_NewStringUTF16(js, wide, len);
	free(b.data);
	return s;
}

// narrow turns UTF-8 of such characters into bytes, in a copy that is to be freed; *copy is NULL if there is nothing to do. False: there
// is a character past U+00FF.
bool narrow(const char *text, size_t *len, char **copy) {
	*copy = NULL;
	if (is_ascii(text, *len)) return true;
	buffer b = {0};
	char *out = *copy = reserve(&b, *len);
	size_t n = 0;
	for (size_t i = 0; i < *len; i++) {
		unsigned char c = text[i];
		if (c >= 0x80) {
			if (c > 0xc3) {
				free(b.data);
				*copy = NULL;
				return false;
			}
			c = (c & 3) << 6 | (text[++i] & 0x3f);
		}
		out[n++] = c;
	}
	*len = n;
	return true;
}
