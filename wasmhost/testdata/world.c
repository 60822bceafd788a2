// A guest that reads the file which the URI names below its first folder, or with /=NAME a variable of its environment, or with
// /+NAME tries to make a file. /-NAME closes the first folder, and leaves that file of the second one open in its place. /~TEXT
// prints, without an end of the line. It answers with the WASI errno, a space, and the content.
typedef unsigned int u32;
#define WASI(fn) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#fn))) u32 fn
WASI(path_open)(u32 fd, u32 dirflags, const char *path, u32 len, u32 oflags, long long rights, long long inherit, u32 fdflags, u32 *out);
WASI(fd_read)(u32 fd, void *iov, u32 n, u32 *read);
WASI(fd_close)(u32 fd);
WASI(fd_write)(u32 fd, void *iov, u32 n, u32 *written);
WASI(environ_sizes_get)(u32 *count, u32 *size);
WASI(environ_get)(char **list, char *buf);
__attribute__((import_module("http_handler"), import_name("get_uri"))) u32 get_uri(char *, u32);
__attribute__((import_module("http_handler"), import_name("write_body"))) void write_body(u32, const char *, u32);

static char uri[1024], out[4096], vars[4096];
static char *list[64];
static void say(u32 n, const char *data, u32 len) {
	char text[3] = {'0' + n / 10, '0' + n % 10, ' '};
	write_body(1, text, 3);
	if (len) write_body(1, data, len);
}
__attribute__((export_name("handle_request"))) long long handle_request(void) {
	u32 n = get_uri(uri, sizeof uri), count = 0, size = 0, fd = 0, got = 0;
	if (uri[1] == '=') {
		environ_sizes_get(&count, &size);
		if (count < 64 && size < sizeof vars) environ_get(list, vars);
		say(count, vars, size);
		return 0;
	}
	if (uri[1] == '-') {
		fd_close(3);
		say(path_open(4, 1, uri + 2, n - 2, 0, 2, 0, 0, &fd), 0, 0);
		return 0;
	}
	if (uri[1] == '~') {
		struct { char *buf; u32 len; } text = {uri + 2, n - 2};
		say(fd_write(2, &text, 1, &got), 0, 0);
		return 0;
	}
	u32 make = uri[1] == '+';
	u32 err = path_open(3, 1, uri + 1 + make, n - 1 - make, make, make ? 64 : 2, 0, 0, &fd);
	if (err) { say(err, 0, 0); return 0; }
	struct { char *buf; u32 len; } iov = {out, sizeof out};
	err = fd_read(fd, &iov, 1, &got);
	fd_close(fd);
	say(err, out, got);
	return 0;
}
__attribute__((export_name("handle_response"))) void handle_response(u32 ctx, u32 err) {}
