// The engine: starts QuickJS, loads the one script, and hands each export to the script's function of that name.

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

// Room for the C stack, which the script's recursion takes too, less what a host call needs at its end. The linker is given
// the same number.
#ifndef STACK_SIZE
#define STACK_SIZE (512 * 1024)
#endif
#define STACK_RESERVE (48 * 1024)

JSContext *js;
enum phase phase;
uint32_t features;
char script_name[160];

static JSRuntime *runtime;

// What the script exports: the default export, or the module itself.
static JSValue plugin;
static struct {
	JSValue configure, request, response;
} on;

// Failing.

// location finds "file:line:column" in the first line of a stack, which looks like "    at f (file:line:column)".
static void location(buffer *out, const char *stack) {
	size_t name = strlen(script_name);
	for (const char *at = strstr(stack, script_name); at != NULL; at = strstr(at + name, script_name)) {
		size_t digits = strspn(at + name, ":0123456789");
		if (digits < 2) continue;
		append(out, at, name + digits);
		append(out, ": ", 2);
		return;
	}
}

static void append_text(buffer *out, JSValueConst value) {
	size_t len;
	const char *text = JS_ToCStringLen(js, &len, value);
	if (text == NULL) { // its own toString throws
		JS_FreeValue(js, JS_GetException(js));
		append(out, "something that cannot be printed", 32);
		return;
	}
	append(out, text, len);
	JS_FreeCString(js, text);
}

// explain is "file:line:column: TypeError: text" and the stack below it.
static void explain(buffer *out, JSValueConst error) {
	JSValue stack = JS_IsError(error) ? JS_GetPropertyStr(js, error, "stack") : JS_UNDEFINED;
	const char *trace = JS_IsString(stack) ? JS_ToCString(js, stack) : NULL;
	if (trace != NULL) location(out, trace);
	if (out->len == 0) {
		append(out, script_name, strlen(script_name));
		append(out, ": ", 2);
	}
	if (!JS_IsError(error)) append(out, "thrown: ", 8);
	append_text(out, error);
	if (trace != NULL) {
		size_t len = strlen(trace);
		while (len > 0 && trace[len - 1] == '\n') len--;
		if (len > 0) {
			append(out, "\n", 1);
			append(out, trace, len);
		}
		JS_FreeCString(js, trace);
	}
	if (JS_IsException(stack)) JS_FreeValue(js, JS_GetException(js));
	JS_FreeValue(js, stack);
}

_Noreturn void fail(void) {
	JSValue error = JS_GetException(js);
	buffer message = {0};
	explain(&message, error);
	host_fail(message.data, message.len);
}

_Noreturn void fail_with(const char *format, ...) {
	va_list args;
	va_start(args, format);
	int len = vsnprintf(scratch, sizeof scratch, format, args);
	va_end(args);
	host_fail(scratch, len < (int)sizeof scratch ? (uint32_t)len : sizeof scratch - 1);
}

// Promises. Nothing in here waits for anything outside: what a promise waits for has happened once no job is left.

static void run_jobs(void) {
	JSContext *context;
	while (JS_IsJobPending(runtime)) {
		if (JS_ExecutePendingJob(runtime, &context) < 0) fail();
	}
}

// rejections tells of promises that nobody looks at; their errors would be lost.
static JSValue rejected;

static void rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool handled, void *opaque) {
	(void)promise, (void)opaque;
	JS_FreeValue(ctx, rejected);
	rejected = handled ? JS_UNDEFINED : JS_DupValue(ctx, reason);
}

JSValue settle(JSValue result) {
	if (JS_IsException(result)) fail();
	if (JS_IsJobPending(runtime)) run_jobs();
	if (JS_IsObject(result) && JS_IsPromise(result)) {
		JSPromiseStateEnum state = JS_PromiseState(js, result);
		if (state == JS_PROMISE_PENDING)
			fail_with("%s: the promise of an async function never settles: it awaits something that does not happen", script_name);
		JSValue value = JS_PromiseResult(js, result);
		JS_FreeValue(js, result);
		if (state == JS_PROMISE_REJECTED) {
			JS_Throw(js, value);
			fail();
		}
		return value;
	}
	if (!JS_IsUndefined(rejected)) {
		JSValue reason = rejected;
		rejected = JS_UNDEFINED;
		buffer message = {0};
		explain(&message, reason);
		host_log(LOG_ERROR, message.data, message.len);
		free(message.data);
		JS_FreeValue(js, reason);
	}
	return result;
}

// The script.

static JSValue member(JSValueConst object, const char *name) {
	JSValue value = JS_GetPropertyStr(js, object, name);
	if (JS_IsException(value)) fail();
	return value;
}

static JSValue function(JSValueConst object, const char *prefix, const char *name) {
	JSValue value = member(object, name);
	if (JS_IsNull(value)) value = JS_UNDEFINED;
	if (!JS_IsUndefined(value) && !JS_IsFunction(js, value))
		fail_with("%s: the export %s%s is not a function", script_name, prefix, name);
	return value;
}

static bool flag(const char *name) {
	JSValue value = member(plugin, name);
	bool on = JS_ToBool(js, value) == 1;
	JS_FreeValue(js, value);
	return on;
}

static JSModuleDef *only_builtin(JSContext *ctx, const char *name, void *opaque) {
	(void)opaque;
	JS_ThrowReferenceError(ctx, "cannot import \"%s\": a plugin is one file and imports only \"edge\"; put its parts together with a bundler", name);
	return NULL;
}

static char *same_name(JSContext *ctx, const char *base, const char *name, void *opaque) {
	(void)base, (void)opaque;
	return js_strdup(ctx, name);
}

static void load_name(void) {
	uint32_t len = host_name(script_name, sizeof script_name - 1);
	if (len >= sizeof script_name) len = sizeof "script" - 1, memcpy(script_name, "script", len);
	script_name[len] = 0;
}

static void load(void) {
	uint32_t len = host_source(NULL, 0);
	char *source = malloc((size_t)len + 1);
	if (source == NULL) fail_with("%s: has %u bytes, more than limits.memory has room for", script_name, len);
	host_source(source, len);
	source[len] = 0;

	JSValue module = JS_Eval(js, source, len, script_name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
	free(source);
	if (JS_IsException(module)) fail();
	JSModuleDef *definition = JS_VALUE_GET_PTR(module);
	JS_FreeValue(js, settle(JS_EvalFunction(js, module)));

	plugin = JS_GetModuleNamespace(js, definition);
	if (JS_IsException(plugin)) fail();
	JSValue main = member(plugin, "default");
	if (JS_IsObject(main)) {
		JS_FreeValue(js, plugin);
		plugin = main;
	} else if (!JS_IsUndefined(main)) {
		fail_with("%s: the default export is not an object; it is one with the functions of the plugin, as in export default { request(req, res) {} }", script_name);
	}
}

// The kinds of a plugin, by the functions that a script has. The numbers are the host's, in wasmhost/script.go.
static const struct {
	uint32_t bit;
	const char *name;
} kinds[] = {
	{1, "request"}, {2, "response"}, {4, "route"}, {8, "tick"}, {16, "websocket"}, {32, "kv"},
};

EXPORT("edge_script_kinds") uint32_t edge_script_kinds(void) {
	uint32_t found = 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		JSValue value = member(plugin, kinds[i].name);
		if (!JS_IsUndefined(value) && !JS_IsNull(value)) found |= kinds[i].bit;
		JS_FreeValue(js, value);
	}
	return found;
}

JSValue plugin_member(const char *name) { return member(plugin, name); }
JSValueConst plugin_self(void) { return plugin; }
JSValue plugin_function(JSValueConst object, const char *prefix, const char *name) { return function(object, prefix, name); }

// start runs in _initialize, which is the C library's.
__attribute__((constructor)) static void start(void) {
	rejected = JS_UNDEFINED;
	load_name();
	runtime = JS_NewRuntime();
	js = runtime == NULL ? NULL : JS_NewContext(runtime);
	if (js == NULL) {
		static const char message[] = "no memory for the JavaScript engine: it needs 1 MiB, see limits.memory";
		host_fail(message, sizeof message - 1);
	}
	JS_SetMaxStackSize(runtime, STACK_SIZE - STACK_RESERVE);
	JS_SetModuleLoaderFunc(runtime, same_name, only_builtin, NULL);
	JS_SetHostPromiseRejectionTracker(runtime, rejection, NULL);
	http_init();
	web_init();
	services_init();
	load();

	on.configure = function(plugin, "", "configure");
	on.request = function(plugin, "", "request");
	on.response = function(plugin, "", "response");
	if (flag("bufferRequest")) features |= BUFFER_REQUEST;
	if (flag("bufferResponse")) features |= BUFFER_RESPONSE;
	if (flag("trailers")) features |= TRAILERS;
	if (features != 0) host_enable_features(features);
	if (edge_script_kinds() == 0)
		fail_with("%s: exports none of the functions of a plugin, which are request, response, route, tick, websocket and kv: "
			"export default { request(req, res) {} }", script_name);
	services_loaded();
}

// Requests.

// What every request finds with `isolation: request`: room, since an instance whose memory grows in one is not used for another (the
// text of an answer is two or three times in memory while it goes out), and no garbage, which each of them would collect anew.
#define ROOM (512 * 1024)

EXPORT("edge_warm_up") void edge_warm_up(void) {
	JS_RunGC(runtime);
	JSMemoryUsage used;
	JS_ComputeMemoryUsage(runtime, &used);
	JS_SetGCThreshold(runtime, used.malloc_size + ROOM / 2);
	volatile char *room = malloc(ROOM);
	if (room == NULL) return;
	*room = 1; // else the compiler leaves all of it out
	free((void *)room);
}

EXPORT("edge_no_response") uint32_t edge_no_response(void) { return JS_IsUndefined(on.response); }

EXPORT("handle_request") uint64_t handle_request(void) {
	phase = IN_REQUEST;
	uint64_t next = 1;
	JSValueConst request = http_begin_request();
	if (!JS_IsUndefined(on.request)) {
		JSValueConst arguments[] = {request, http_response()};
		JSValue result = settle(JS_Call(js, on.request, plugin, 2, arguments));
		if (!JS_IsUndefined(result) && !JS_IsNull(result)) {
			http_answer(result, "request");
			next = 0;
		}
		JS_FreeValue(js, result);
	}
	if (next == 0 || JS_IsUndefined(on.response)) http_end();
	phase = IDLE;
	return next;
}

EXPORT("handle_response") void handle_response(uint32_t context, uint32_t is_error) {
	(void)context;
	if (JS_IsUndefined(on.response)) return;
	phase = IN_RESPONSE;
	JSValueConst arguments[] = {http_request(), http_response(), JS_NewBool(js, is_error)};
	JSValue result = settle(JS_Call(js, on.response, plugin, 3, arguments));
	if (!JS_IsUndefined(result) && !JS_IsNull(result)) http_answer(result, "response");
	JS_FreeValue(js, result);
	http_end();
	phase = IDLE;
}

EXPORT("edge_config") int32_t edge_config(uint32_t len) {
	(void)len;
	if (JS_IsUndefined(on.configure)) return 0;
	JSValue config = services_config();
	JSValueConst arguments[] = {config};
	JS_FreeValue(js, settle(JS_Call(js, on.configure, plugin, 1, arguments)));
	JS_FreeValue(js, config);
	return 0;
}
