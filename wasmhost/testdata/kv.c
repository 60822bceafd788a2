// A KV driver that keeps its data in its memory: a small hash table with open addressing. -DSHARED says that it does not.
typedef unsigned int u32;
typedef unsigned char u8;
typedef long long i64;
#define EXPORT(fn) __attribute__((export_name(#fn)))
__attribute__((import_module("edge_core_v1"), import_name("set_error"))) int set_error(const char *, u32);
__attribute__((import_module("http_handler"), import_name("log"))) void say(int, const char *, u32);

void *memset(void *p, int c, unsigned long n) { for (volatile u8 *b = p; n--;) *b++ = c; return p; }
void *memcpy(void *d, const void *s, unsigned long n) { u8 *a = d; const u8 *b = s; while (n--) *a++ = *b++; return d; }

#define SLOTS 4096
struct entry { u32 key_len, value_len, used; i64 version, expires; u8 key[64], value[128]; };
static struct entry table[SLOTS];
static u8 box[65536];
static i64 clock_ms, number;
static u32 ticks, grown;
static struct { int status; u32 flags; i64 ttl, version; u32 ptr, len, err_ptr, err_len; } result, *many = (void *)(box + 32768);

EXPORT(edge_mailbox) i64 edge_mailbox(u32 want) { return want > sizeof box ? 0 : (i64)(u32)box << 32 | sizeof box; }
EXPORT(kv_abi) u32 kv_abi(void) {
#ifdef NOSCAN
	return 1 << 16 | 1 | 2 | 4 | 8;
#elif defined(SHARED)
	return 1 << 16 | 1 | 2 | 4 | 8 | 16 | 64;
#else
	return 1 << 16 | 1 | 2 | 4 | 8 | 16;
#endif
}
EXPORT(kv_open) int kv_open(u32 n) {
	if (n > 2 && box[2] == 'x') { set_error("x is no setting", 15); return -3; }
	return 0;
}
static int same(const u8 *a, const u8 *b, u32 n) { while (n--) if (*a++ != *b++) return 0; return 1; }
static struct entry *find(const u8 *key, u32 n, int make) {
	u32 h = 2166136261u;
	for (u32 i = 0; i < n; i++) h = (h ^ key[i]) * 16777619u;
	for (u32 i = 0; i < SLOTS; i++) {
		struct entry *e = &table[(h + i) % SLOTS];
		if (!e->used) {
			if (!make) return 0;
			e->used = 1; e->key_len = n; memcpy(e->key, key, n); return e;
		}
		if (e->key_len == n && same(e->key, key, n)) return e->version || make ? e : 0;
	}
	return 0;
}
static void *answer(int status, struct entry *e) {
	result.status = status; result.ttl = -1; result.version = 0; result.ptr = result.len = result.err_ptr = result.err_len = 0;
	if (status < 0) { result.err_ptr = (u32)"no room"; result.err_len = 7; }
	if (e && status == 0) { result.version = e->version; result.ttl = e->expires ? e->expires : -1; result.ptr = (u32)e->value; result.len = e->value_len; }
	return &result;
}
EXPORT(kv_get) void *kv_get(u32 n) {
	if (n == 4 && same(box, (u8 *)"trap", 4)) __builtin_trap();
	if (n == 3 && same(box, (u8 *)"bad", 3)) return (void *)0xfffffff0;
	if (n == 4 && same(box, (u8 *)"spin", 4)) for (volatile int on = 1; on;) {}
	struct entry *e = find(box, n, 0);
	return e ? answer(0, e) : answer(1, 0);
}
EXPORT(kv_set) void *kv_set(u32 n, u32 v, i64 ttl, u32 flags, i64 version) {
	if (n > 64 || v > 128) return answer(-4, 0);
	struct entry *e = find(box, n, 0);
	if (flags & 1 && e) return answer(3, 0);
	if (flags & 2 && !e || flags & 4 && (!e || e->version != version)) return answer(2, 0);
	if (!e) e = find(box, n, 1);
	if (!e) return answer(-1, 0);
	memcpy(e->value, box + n, v); e->value_len = v; e->version++;
	if (!(flags & 8)) e->expires = ttl;
	return answer(0, e);
}
EXPORT(kv_delete) void *kv_delete(u32 n, i64 version) {
	struct entry *e = find(box, n, 0);
	if (!e) return answer(1, 0);
	if (version && e->version != version) return answer(2, 0);
	e->version = 0;
	return answer(0, 0);
}
EXPORT(kv_incr) void *kv_incr(u32 n, i64 delta, i64 ttl) {
	number += delta;
	answer(0, 0); result.ptr = (u32)&number; result.len = 8;
	return &result;
}
EXPORT(kv_expire) void *kv_expire(u32 n, i64 ttl) {
	struct entry *e = find(box, n, 0);
	if (!e) return answer(1, 0);
	e->expires = ttl;
	return answer(0, e);
}
EXPORT(kv_batch) void *kv_batch(u32 n) { // gets only
	u8 *p = box; u32 count = 0, *head = (u32 *)many;
	while (p < box + n) {
		u32 klen, vlen; memcpy(&klen, p + 4, 4); memcpy(&vlen, p + 8, 4);
		struct entry *e = find(p + 32, klen, 0);
		answer(e ? 0 : 1, e);
		memcpy((u8 *)many + 8 + 40 * count++, &result, 40);
		p += 32 + klen + vlen;
	}
	head[0] = count; head[1] = 0;
	return many;
}
EXPORT(kv_scan) void *kv_scan(u32 p, u32 c, u32 max) { // the cursor is the next slot
	u8 *out = box + 1024; u32 at = 0, n = 0, len = 4; u8 prefix[64];
	memcpy(prefix, box, p);
	if (c == 4) memcpy(&at, box + p, 4);
	out += 8;
	for (; at < SLOTS && n < max; at++) {
		struct entry *e = &table[at];
		if (!e->version || e->key_len < p || !same(e->key, prefix, p)) continue;
		memcpy(out, &e->key_len, 4); memcpy(out + 4, e->key, e->key_len); out += 4 + e->key_len; n++;
	}
	answer(0, 0);
	u32 cursor = at < SLOTS ? 4 : 0; u8 *start = box + 1024 + (cursor ? 0 : 4);
	memcpy(start, &cursor, 4);
	if (cursor) memcpy(start + 4, &at, 4);
	result.ptr = (u32)start; result.len = out - start;
	return &result;
}
EXPORT(kv_tick) void kv_tick(i64 now) { say(0, "kv_tick", 7); }
EXPORT(kv_close) void kv_close(void) { say(0, "kv_close", 8); }
