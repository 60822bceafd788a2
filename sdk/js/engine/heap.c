// The memory of the engine: malloc and its kin, in place of the C library's.
//
// With `isolation: request` an instance whose memory grows in a request is given up, since a memory cannot shrink. So edge_warm_up
// makes room, and what is free has to serve for whatever is asked next. Zig's C library has a list for each power of two and
// moves nothing from one to another, so that room of one size is of no use for another, and the first allocation of a size
// that a script had not had before takes 64 KiB more. Here free chunks that touch become one, and any of them is split.
//
//	before │ size │ payload …   the next chunk …   end
//
// A chunk knows its size and the chunk before it. Free ones are in lists by their size, eight for each power of two.

#include <stdlib.h>

#include "engine.h"

#define WASM_PAGE 65536
#define ALIGN     16
#define HEADER    offsetof(chunk, next)
#define LARGEST   (1u << 31)
#define BINS      256

typedef struct chunk {
	struct chunk *before;      // in memory; NULL for the first
	uint32_t size;             // header included, a multiple of ALIGN, and 1 more while it is in use
	struct chunk *next, *prev; // in its list, while it is free
} chunk;

static chunk *bins[BINS];
static uint64_t filled[BINS / 64]; // which of them have chunks
static chunk *end;                 // behind the last chunk, always in use

static bool in_use(const chunk *c) { return c->size & 1; }
static uint32_t size_of(const chunk *c) { return c->size & ~1u; }
static chunk *after(const chunk *c) { return (chunk *)((char *)c + size_of(c)); }
static void *payload(chunk *c) { return (char *)c + HEADER; }
static chunk *chunk_of(const void *payload) { return (chunk *)((char *)payload - HEADER); }

// bin_of a chunk of n times ALIGN is n below 8, and then one of the eight parts of n's power of two.
static uint32_t bin_of(uint32_t size) {
	uint32_t n = size / ALIGN;
	if (n < 8) return n;
	uint32_t log = 31 - __builtin_clz(n);
	return (log - 2) * 8 + (n >> (log - 3) & 7);
}

// bin_above is the first bin whose chunks are all large enough.
static uint32_t bin_above(uint32_t size) {
	uint32_t n = size / ALIGN;
	if (n < 8) return n;
	uint32_t part = (1u << (31 - __builtin_clz(n))) / 8;
	return bin_of(size) + (n % part != 0);
}

static void enlist(chunk *c) {
	uint32_t bin = bin_of(c->size);
	c->prev = NULL;
	c->next = bins[bin];
	if (c->next != NULL) c->next->prev = c;
	bins[bin] = c;
	filled[bin / 64] |= 1ull << bin % 64;
}

static void delist(chunk *c) {
	if (c->next != NULL) c->next->prev = c->prev;
	if (c->prev != NULL) {
		c->prev->next = c->next;
		return;
	}
	uint32_t bin = bin_of(c->size);
	bins[bin] = c->next;
	if (c->next == NULL) filled[bin / 64] &= ~(1ull << bin % 64);
}

// release makes a chunk that is in no list a free one, together with its neighbours that are.
static void release(chunk *c) {
	c->size = size_of(c);
	if (!in_use(after(c))) {
		delist(after(c));
		c->size += after(c)->size;
	}
	if (c->before != NULL && !in_use(c->before)) {
		delist(c->before);
		c->before->size += c->size;
		c = c->before;
	}
	after(c)->before = c;
	enlist(c);
}

// use takes so much of a chunk that is in no list, and releases the rest if it is good for something.
static void *use(chunk *c, uint32_t size) {
	uint32_t rest = size_of(c) - size;
	if (rest < 2 * ALIGN) size += rest, rest = 0;
	c->size = size | 1;
	after(c)->before = c;
	if (rest > 0) {
		after(c)->size = rest;
		release(after(c));
	}
	return payload(c);
}

// find takes a free chunk that is large enough off its list.
static chunk *find(uint32_t size) {
	uint32_t bin = bin_above(size);
	uint64_t fit = filled[bin / 64] & ~0ull << bin % 64;
	for (bin /= 64; fit == 0 && ++bin < BINS / 64;) fit = filled[bin];
	chunk *c;
	if (fit != 0) {
		c = bins[bin * 64 + __builtin_ctzll(fit)];
	} else { // some of those in its own bin may be
		for (c = bins[bin_of(size)]; c != NULL && c->size < size; c = c->next);
		if (c == NULL) return NULL;
	}
	delist(c);
	return c;
}

// add makes memory from a page's end on, or from the beginning of the heap, a free chunk.
static void add(uintptr_t from, uintptr_t to) {
	chunk *c = end;
	if (c == NULL || (uintptr_t)payload(c) != from) {
		c = (chunk *)(((from + HEADER - 1) & -(uintptr_t)ALIGN) + HEADER); // so that payloads are aligned
		c->before = NULL;
	}
	end = chunk_of((void *)to);
	end->size = 1;
	c->size = (uintptr_t)end - (uintptr_t)c;
	release(c);
}

static bool grow(uint32_t size) {
	if (end == NULL) {
		extern char __heap_base;
		add((uintptr_t)&__heap_base, __builtin_wasm_memory_size(0) * WASM_PAGE);
		return true;
	}
	chunk *last = end->before;
	if (!in_use(last)) size -= last->size;
	size_t pages = (size + WASM_PAGE - 1) / WASM_PAGE, first = __builtin_wasm_memory_grow(0, pages);
	if (first == SIZE_MAX) return false;
	add(first * WASM_PAGE, (first + pages) * WASM_PAGE);
	return true;
}

static uint32_t chunk_for(size_t len) { return len < ALIGN - HEADER ? ALIGN : (len + HEADER + ALIGN - 1) & -ALIGN; }

// take is malloc under a name that the compiler has no ideas about: of malloc and memset it makes calloc.
static void *take(size_t len) {
	if (len > LARGEST) return NULL;
	uint32_t size = chunk_for(len);
	chunk *c;
	while ((c = find(size)) == NULL) {
		if (!grow(size)) return NULL;
	}
	return use(c, size);
}

void *malloc(size_t len) { return take(len); }

void free(void *p) {
	if (p != NULL) release(chunk_of(p));
}

void *calloc(size_t count, size_t each) {
	size_t len;
	if (__builtin_mul_overflow(count, each, &len)) return NULL;
	void *p = take(len);
	return p == NULL ? NULL : memset(p, 0, len);
}

void *realloc(void *p, size_t len) {
	if (p == NULL) return take(len);
	if (len > LARGEST) return NULL;
	chunk *c = chunk_of(p), *next = after(c);
	uint32_t size = chunk_for(len), have = size_of(c);
	if (have < size && !in_use(next) && have + next->size >= size) {
		delist(next);
		c->size += next->size;
	}
	if (size_of(c) >= size) return use(c, size);
	void *moved = take(len);
	if (moved == NULL) return NULL;
	memcpy(moved, p, have - HEADER);
	release(c);
	return moved;
}

size_t malloc_usable_size(void *p) { return p == NULL ? 0 : size_of(chunk_of(p)) - HEADER; }
