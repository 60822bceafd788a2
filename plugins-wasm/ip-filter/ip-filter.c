//go:build ignore

// (The line above is for Go's tools: the Go files beside this one are its tests.)
//
// Lets requests in, or keeps them out, by the address that they come from: networks of the configuration, of a file, and of
// countries. README.md has the configuration.
//
// All addresses are IPv6 here: an IPv4 address is the mapped one, ::ffff:a.b.c.d. A list of networks is a table of ranges, sorted, that do
// not overlap, so that one search finds the range of an address.

#define EDGE_ARENA (1 << 20) // for long lists in edge.yaml; pages that nobody writes to cost nothing
#include "../json.h"

// ---- addresses -------------------------------------------------------------------------------------------------------------

typedef struct {
    uint64_t hi, lo;
} addr;

#define MAPPED 0xffff00000000ull // lo of ::ffff:0.0.0.0; hi is 0

static int compare(addr a, addr b) { return a.hi != b.hi ? (a.hi < b.hi ? -1 : 1) : a.lo != b.lo ? (a.lo < b.lo ? -1 : 1) : 0; }

static addr before(addr a) { return a.lo-- == 0 ? (addr){a.hi - 1, a.lo} : a; }
static addr after(addr a) { return ++a.lo == 0 ? (addr){a.hi + 1, a.lo} : a; }

static bool parse_v4(edge_str s, addr *a) {
    uint32_t value = 0;
    for (int part = 0; part < 4; part++) {
        edge_str digits;
        if (edge_cut(&s, '.', &digits) != (part < 3)) return false;
        int64_t n;
        if (digits.len > 3 || !edge_number(digits, &n) || n < 0 || n > 255 || (digits.len > 1 && *digits.ptr == '0')) return false;
        value = value << 8 | (uint32_t)n;
    }
    *a = (addr){0, MAPPED | value};
    return true;
}

static bool parse_v6(edge_str s, addr *a) {
    uint16_t groups[8] = {0};
    int count = 0, gap = -1;
    if (s.len >= 2 && s.ptr[0] == ':' && s.ptr[1] == ':') gap = 0, s.ptr += 2, s.len -= 2;
    while (s.len) {
        uint32_t value = 0, n = 0;
        if (count == 8) return false;
        while (n < s.len && n < 5 && json_hex(s.ptr[n]) >= 0) value = value << 4 | (uint32_t)json_hex(s.ptr[n++]);
        if (n < s.len && s.ptr[n] == '.') { // the end may be written like IPv4
            addr v4;
            if (count > 6 || !parse_v4(s, &v4)) return false;
            groups[count++] = (uint16_t)(v4.lo >> 16), groups[count++] = (uint16_t)v4.lo;
            break;
        }
        if (n == 0 || n > 4) return false;
        groups[count++] = (uint16_t)value;
        s.ptr += n, s.len -= n;
        if (!s.len) break;
        if (*s.ptr != ':') return false;
        s.ptr++, s.len--;
        if (!s.len) return false; // a colon at the end
        if (*s.ptr == ':') {
            if (gap >= 0) return false;
            gap = count, s.ptr++, s.len--;
        }
    }
    if (gap < 0 ? count != 8 : count == 8) return false;
    uint16_t all[8] = {0};
    for (int i = 0; i < count; i++) all[i < gap || gap < 0 ? i : 8 - count + i] = groups[i];
    *a = (addr){0, 0};
    for (int i = 0; i < 4; i++) a->hi = a->hi << 16 | all[i], a->lo = a->lo << 16 | all[4 + i];
    return true;
}

static bool parse_addr(edge_str s, addr *a, bool *v4) {
    *v4 = parse_v4(s, a);
    return *v4 || parse_v6(s, a);
}

// source is the address that the request comes from, as the server says: host:port, or [host%zone]:port.
static bool source(addr *a) {
    edge_str s = edge_source_addr(), host;
    bool v4;
    if (s.len && *s.ptr == '[') {
        s.ptr++, s.len--;
        if (!edge_cut(&s, ']', &host)) return false;
        edge_cut(&host, '%', &s);
        return parse_addr(s, a, &v4);
    }
    edge_cut(&s, ':', &host);
    return parse_v4(host, a);
}

// ---- tables ----------------------------------------------------------------------------------------------------------------

typedef struct {
    addr first, last;
    uint32_t country; // two letters, or 0
} range;

typedef struct {
    range *at;
    char *end; // of the memory that it has
    uint32_t count;
} table;

// pages takes at least so many bytes from the server, behind all that was taken before.
static char *pages(size_t bytes, char **end) {
    size_t n = bytes / 65536 + 1, at = __builtin_wasm_memory_grow(0, n);
    if (at == (size_t)-1) return 0;
    *end = (char *)((at + n) * 65536);
    return (char *)(at * 65536);
}

// grow makes room for another range. The table that was grown last, such as the one that a file is read into, grows where it is;
// another one moves, and what it leaves is lost.
static bool grow(table *t) {
    if (t->at && (char *)(t->at + t->count + 1) <= t->end) return true;
    size_t used = t->count * sizeof(range);
    char *end, *start = pages(used / 2, &end);
    if (!start) return false;
    if (start != t->end) {
        if (used && !pages(used, &end)) return false;
        if (used) memcpy(start, t->at, used);
        t->at = (range *)start;
    }
    t->end = end;
    return true;
}

static bool add(table *t, addr first, addr last, uint32_t country) {
    if (!grow(t)) return false;
    t->at[t->count++] = (range){first, last, country};
    return true;
}

// add_range adds a range; one of IPv6 around the mapped addresses is not meant to have IPv4 in it.
static bool add_range(table *t, addr first, addr last, bool v4, uint32_t country) {
    addr from = {0, MAPPED}, to = {0, MAPPED | 0xffffffff};
    if (v4 || compare(first, from) >= 0 || compare(last, to) <= 0) return add(t, first, last, country);
    return add(t, first, before(from), country) && add(t, after(to), last, country);
}

static void sift(range *r, uint32_t at, uint32_t count) {
    range moved = r[at];
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && compare(r[child].first, r[child + 1].first) < 0) child++;
        if (compare(moved.first, r[child].first) >= 0) break;
        r[at] = r[child];
    }
    r[at] = moved;
}

// sort is a heap sort: as fast for a list that somebody has prepared. Lists of countries usually are sorted.
static void sort(table *t) {
    uint32_t sorted = 1;
    while (sorted < t->count && compare(t->at[sorted - 1].first, t->at[sorted].first) <= 0) sorted++;
    if (sorted >= t->count) return;
    for (uint32_t i = t->count / 2; i-- > 0;) sift(t->at, i, t->count);
    for (uint32_t i = t->count; i-- > 1;) {
        range largest = t->at[0];
        t->at[0] = t->at[i], t->at[i] = largest;
        sift(t->at, 0, i);
    }
}

// settle sorts a table and joins what overlaps; it reports false if that is of different countries.
static bool settle(table *t) {
    sort(t);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        range *r = &t->at[i], *last = kept ? &t->at[kept - 1] : 0;
        if (last && compare(r->first, last->last) <= 0) {
            if (r->country != last->country) return false;
            if (compare(r->last, last->last) > 0) last->last = r->last;
            continue;
        }
        t->at[kept++] = *r;
    }
    t->count = kept;
    return true;
}

static const range *find(const table *t, addr a) {
    uint32_t low = 0, high = t->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(t->at[middle].first, a) <= 0) low = middle + 1;
        else high = middle;
    }
    return low && compare(a, t->at[low - 1].last) <= 0 ? &t->at[low - 1] : 0;
}

// ---- what is written of networks -------------------------------------------------------------------------------------------

static edge_str trim(edge_str s) {
    while (s.len && (*s.ptr == ' ' || *s.ptr == '\t' || *s.ptr == '"')) s.ptr++, s.len--;
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t' || s.ptr[s.len - 1] == '\r' || s.ptr[s.len - 1] == '"')) s.len--;
    return s;
}

// parse_network reads 192.0.2.0/24, 2001:db8::/32 or an address.
static bool parse_network(edge_str s, addr *first, addr *last, bool *v4, edge_str *why) {
    edge_str text;
    int64_t bits = 128;
    bool prefix = edge_cut(&s, '/', &text);
    *why = EDGE("it is no network such as 192.0.2.0/24 or 2001:db8::/32, and no address");
    if (!parse_addr(text, first, v4)) return false;
    if (prefix && (!edge_number(s, &bits) || bits < 0 || bits > (*v4 ? 32 : 128))) return false;
    if (prefix && *v4) bits += 96;
    addr host = {bits >= 64 ? 0 : ~0ull >> bits, bits >= 128 ? 0 : bits > 64 ? ~0ull >> (bits - 64) : ~0ull};
    *why = EDGE("it has bits behind its prefix: 10.0.0.0/8, not 10.1.2.3/8");
    if ((first->hi & host.hi) || (first->lo & host.lo)) return false;
    *last = (addr){first->hi | host.hi, first->lo | host.lo};
    return true;
}

static bool add_network(table *t, edge_str s, uint32_t country, edge_str *why) {
    addr first, last;
    bool v4;
    if (!parse_network(s, &first, &last, &v4, why)) return false;
    *why = EDGE("there is no memory left: raise limits.memory of this plugin");
    return add_range(t, first, last, v4, country);
}

// ---- files -----------------------------------------------------------------------------------------------------------------

#define WASI(name) EDGE_IMPORT("wasi_snapshot_preview1", #name) int32_t name
WASI(fd_prestat_get)(int32_t fd, void *prestat);
WASI(fd_prestat_dir_name)(int32_t fd, char *name, uint32_t len);
WASI(path_open)(int32_t dir, uint32_t follow, const char *path, uint32_t len, uint32_t create, uint64_t rights, uint64_t inherited, uint32_t flags, int32_t *fd);
WASI(path_filestat_get)(int32_t dir, uint32_t follow, const char *path, uint32_t len, uint64_t stat[8]);
WASI(fd_read)(int32_t fd, const void *vectors, uint32_t count, uint32_t *got);
WASI(fd_close)(int32_t fd);

// locate finds the granted folder that a path begins with.
static bool locate(edge_str *path, int32_t *dir) {
    static char name[256];
    struct { uint32_t tag, len; } folder;
    for (int32_t fd = 3; fd < 64 && fd_prestat_get(fd, &folder) == 0; fd++) {
        edge_str rest = *path;
        if (folder.len >= sizeof name || fd_prestat_dir_name(fd, name, folder.len)) continue;
        if (edge_prefix(&rest, (edge_str){name, folder.len}) && edge_prefix(&rest, EDGE("/")) && rest.len) return *path = rest, *dir = fd, true;
    }
    return false;
}

typedef struct {
    int32_t fd;
    uint32_t from, to; // of buffer
    uint32_t line;
    bool ended, failed;
} reader;

static char buffer[64 * 1024];

// next_line is the next line, without its end; it lies in buffer.
static bool next_line(reader *r, edge_str *line) {
    for (uint32_t i = r->from;; i++) {
        if (i == r->to && !r->ended) {
            memmove(buffer, buffer + r->from, r->to - r->from);
            i -= r->from, r->to -= r->from, r->from = 0;
            struct { char *at; uint32_t len; } into = {buffer + r->to, sizeof buffer - r->to};
            uint32_t got = 0;
            if (!into.len || fd_read(r->fd, &into, 1, &got)) return r->failed = true, false;
            r->ended = got == 0, r->to += got;
        }
        if (i == r->to && i == r->from) return false;
        if (i == r->to || buffer[i] == '\n') {
            *line = (edge_str){buffer + r->from, i - r->from};
            r->from = i == r->to ? i : i + 1, r->line++;
            return true;
        }
    }
}

// A list is a file of networks, with what it led to.
typedef struct {
    char path[256];
    uint32_t path_len;
    bool geo;         // lines are CSV: first,last,country or network,country
    table now, spare; // spare is what was before, to be filled the next time
    uint64_t size, changed;
} list;

static list networks, countries = {.geo = true};

// The settings, made once, before the first request.
static struct {
    bool allow;
    table listed, exempt;
    uint32_t wanted[256], wanted_count; // countries
    char variable[64];
    uint32_t variable_len;
    int64_t status, refresh_ms, next_look;
    char message[512];
    uint32_t message_len;
} settings;

static bool wanted(uint32_t country) {
    for (uint32_t i = 0; i < settings.wanted_count; i++)
        if (settings.wanted[i] == country) return true;
    return false;
}

static bool country_code(edge_str s, uint32_t *code) {
    if (s.len != 2) return false;
    char a = s.ptr[0] & ~0x20, b = s.ptr[1] & ~0x20;
    *code = (uint32_t)(a << 8 | b);
    return a >= 'A' && a <= 'Z' && b >= 'A' && b <= 'Z';
}

// add_geo takes a line of CSV.
static bool add_geo(table *t, edge_str line, edge_str *why) {
    edge_str field[3] = {{0, 0}, {0, 0}, {0, 0}};
    for (int i = 0; i < 3; i++) edge_cut(&line, ',', &field[i]), field[i] = trim(field[i]);
    addr first, last;
    bool v4, v4_last;
    uint32_t country;
    if (parse_addr(field[0], &first, &v4) && parse_addr(field[1], &last, &v4_last)) {
        *why = EDGE("the first address is behind the last one, or of another family");
        if (v4 != v4_last || compare(first, last) > 0) return false;
        field[1] = field[2];
    } else if (!parse_network(field[0], &first, &last, &v4, why)) {
        return false;
    }
    if (edge_equal(field[1], EDGE("-"))) return true; // of no country
    *why = EDGE("it is not FIRST,LAST,COUNTRY or NETWORK,COUNTRY, with a country of two letters");
    if (!country_code(field[1], &country)) return false;
    *why = EDGE("there is no memory left: raise limits.memory of this plugin");
    return (!settings.variable_len && !wanted(country)) || add_range(t, first, last, v4, country);
}

static bool read_lines(list *l, reader *r, table *t, edge_str *why) {
    edge_str line, text, comment;
    while (next_line(r, &line)) {
        comment = line;
        edge_cut(&comment, '#', &text);
        text = trim(text);
        if (!text.len) continue;
        if (l->geo ? !add_geo(t, text, why) : !add_network(t, text, 0, why)) {
            addr a;
            bool v4;
            edge_str head = text, name;
            edge_cut(&head, ',', &name);
            edge_cut(&name, '/', &head);
            if (l->geo && r->line == 1 && !parse_addr(trim(head), &a, &v4)) continue; // names of the columns
            if (text.len > 64) text.len = 64;
            *why = EDGE_JOIN(EDGE("line "), edge_decimal(r->line), EDGE(": "), text, EDGE(": "), *why);
            return false;
        }
    }
    *why = EDGE("it cannot be read, or a line has more than 65536 bytes");
    return !r->failed;
}

// load reads a file into the spare table and takes that; if something is wrong the old one stays.
static bool load(list *l, edge_str *why) {
    edge_str path = {l->path, l->path_len};
    int32_t dir;
    reader r = {0};
    uint64_t stat[8];
    *why = EDGE("it is in no folder of allow.folders: allow: {folders: [data/geo]} makes data/geo this plugin's /geo");
    if (!locate(&path, &dir)) return false;
    *why = EDGE("it cannot be opened");
    if (path_filestat_get(dir, 1, path.ptr, path.len, stat) || path_open(dir, 1, path.ptr, path.len, 0, 2, 0, 0, &r.fd)) return false;
    l->spare.count = 0;
    bool good = read_lines(l, &r, &l->spare, why);
    fd_close(r.fd);
    if (good && !settle(&l->spare)) *why = EDGE("ranges of different countries overlap"), good = false;
    l->size = stat[4], l->changed = stat[6]; // also of what was wrong, which is said once
    if (!good) return false;
    table old = l->now;
    l->now = l->spare, l->spare = old;
    return true;
}

static void look(list *l) {
    edge_str path = {l->path, l->path_len}, why;
    int32_t dir;
    uint64_t stat[8];
    if (!l->path_len) return;
    bool there = locate(&path, &dir) && path_filestat_get(dir, 1, path.ptr, path.len, stat) == 0;
    if (there && stat[4] == l->size && stat[6] == l->changed) return;
    if (!there) why = EDGE("it is gone");
    else if (load(l, &why)) return;
    path = (edge_str){l->path, l->path_len};
    edge_log(EDGE_WARN, EDGE_JOIN(EDGE("the list "), path, EDGE(" cannot be had, the old one serves on: "), why));
}

// refresh looks at the files, now and then.
static void refresh(void) {
    if (!settings.refresh_ms || !(networks.path_len | countries.path_len)) return;
    int64_t now = edge_now_ms();
    if (now < settings.next_look) return;
    settings.next_look = now + settings.refresh_ms;
    look(&networks), look(&countries);
}

// ---- configuration ---------------------------------------------------------------------------------------------------------

static bool read_table(json *j, table *t, edge_str key, edge_str *why) {
    edge_str entry;
    *why = EDGE_JOIN(key, EDGE(": a list of networks and addresses"));
    if (!json_list(j)) return false;
    for (uint32_t n = 0; json_item(j); n++) {
        if (!json_string(j, &entry)) return false;
        if (add_network(t, entry, 0, why)) continue;
        *why = EDGE_JOIN(key, EDGE("["), edge_decimal(n), EDGE("]: "), entry, EDGE(": "), *why);
        return false;
    }
    return settle(t);
}

// read_text reads a text into a buffer that stays.
static bool read_text(json *j, char *to, uint32_t room, uint32_t *len) {
    edge_str s;
    if (!json_string(j, &s) || s.len > room) return false;
    memcpy(to, s.ptr, s.len);
    *len = s.len;
    return true;
}

static bool read_path(json *j, list *l, edge_str key, edge_str *why) {
    *why = EDGE_JOIN(key, EDGE(": a path in a folder of allow.folders, such as /geo/list.txt, of at most 256 bytes"));
    return read_text(j, l->path, sizeof l->path, &l->path_len) && l->path_len && l->path[0] == '/';
}

static bool read_geo(json *j, edge_str *why) {
    edge_str name, code;
    *why = EDGE("config.geo: an object with file, and countries or variable");
    if (!json_object(j)) return false;
    while (json_member(j, &name)) {
        if (edge_equal(name, EDGE("file"))) {
            if (!read_path(j, &countries, EDGE("config.geo.file"), why)) return false;
        } else if (edge_equal(name, EDGE("countries"))) {
            *why = EDGE("config.geo.countries: a list of at most 256 countries of two letters, such as DE");
            if (!json_list(j)) return false;
            while (json_item(j))
                if (settings.wanted_count == 256 || !json_string(j, &code) || !country_code(code, &settings.wanted[settings.wanted_count++])) return false;
        } else if (edge_equal(name, EDGE("variable"))) {
            *why = EDGE("config.geo.variable: the name of a variable, such as geo.country: letters, digits and _.-, not beginning with edge.");
            if (!read_text(j, settings.variable, sizeof settings.variable, &settings.variable_len) || !settings.variable_len) return false;
            edge_str variable = {settings.variable, settings.variable_len};
            if (edge_prefix(&variable, EDGE("edge."))) return false;
            for (uint32_t i = 0; i < variable.len; i++) {
                char c = variable.ptr[i] | 0x20;
                if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || variable.ptr[i] == '_' || c == '.' || c == '-')) return false;
            }
        } else {
            return *why = EDGE_JOIN(EDGE("config.geo."), name, EDGE(": this key is not known: file, countries, variable")), false;
        }
    }
    *why = EDGE("config.geo: it needs file, and countries or variable");
    return countries.path_len && (settings.wanted_count || settings.variable_len);
}

static bool read_mode(json *j, bool *given, edge_str *why) {
    edge_str mode;
    *why = EDGE("config.mode: deny (what is listed is kept out) or allow (nothing else is let in)");
    if (!json_string(j, &mode)) return false;
    settings.allow = edge_equal(mode, EDGE("allow"));
    return *given = true, settings.allow || edge_equal(mode, EDGE("deny"));
}

static bool read_key(json *j, edge_str name, bool *mode, edge_str *why) {
    int64_t seconds;
    if (edge_equal(name, EDGE("mode"))) return read_mode(j, mode, why);
    if (edge_equal(name, EDGE("list"))) return read_table(j, &settings.listed, EDGE("config.list"), why);
    if (edge_equal(name, EDGE("exempt"))) return read_table(j, &settings.exempt, EDGE("config.exempt"), why);
    if (edge_equal(name, EDGE("file"))) return read_path(j, &networks, EDGE("config.file"), why);
    if (edge_equal(name, EDGE("geo"))) return read_geo(j, why);
    if (edge_equal(name, EDGE("status"))) {
        *why = EDGE("config.status: a number from 400 to 599");
        return json_whole(j, &settings.status) && settings.status >= 400 && settings.status <= 599;
    }
    if (edge_equal(name, EDGE("message"))) {
        *why = EDGE("config.message: a text of at most 512 bytes");
        return read_text(j, settings.message, sizeof settings.message, &settings.message_len);
    }
    if (edge_equal(name, EDGE("refresh_seconds"))) {
        *why = EDGE("config.refresh_seconds: a whole number from 0 (never) to 86400");
        if (!json_whole(j, &seconds) || seconds < 0 || seconds > 86400) return false;
        return settings.refresh_ms = seconds * 1000, true;
    }
    *why = EDGE_JOIN(EDGE("config."), name, EDGE(": this key is not known: mode, list, file, geo, exempt, status, message, refresh_seconds"));
    return false;
}

static bool load_named(list *l, edge_str key, edge_str *why) {
    if (!l->path_len || load(l, why)) return true;
    *why = EDGE_JOIN(key, EDGE(": "), (edge_str){l->path, l->path_len}, EDGE(": "), *why);
    return false;
}

static bool configure(edge_str config, edge_str *why) {
    json j = {config, false};
    edge_str name;
    bool mode = false;
    settings.status = 403, settings.refresh_ms = 60000;
    memcpy(settings.message, "Forbidden\n", settings.message_len = 10);
    *why = EDGE("config: it must be an object; README.md of ip-filter has the keys");
    if (!json_object(&j)) return false;
    while (json_member(&j, &name))
        if (!read_key(&j, name, &mode, why)) return false;
    *why = EDGE("config: it is not JSON");
    if (j.bad) return false;
    *why = EDGE("config.mode: it is missing: deny (what is listed is kept out) or allow (nothing else is let in)");
    if (!mode) return false;
    *why = EDGE("config: it needs list, file or geo: nothing is listed");
    if (!settings.listed.count && !networks.path_len && !countries.path_len) return false;
    return load_named(&networks, EDGE("config.file"), why) && load_named(&countries, EDGE("config.geo.file"), why);
}

// ---- requests --------------------------------------------------------------------------------------------------------------

static bool admitted(void) {
    addr a;
    if (!source(&a)) return false; // who has no address is on no list that lets in, and might be on one that does not
    bool listed = find(&settings.listed, a) || find(&networks.now, a);
    const range *home = find(&countries.now, a);
    if (home) {
        char code[2] = {(char)(home->country >> 8), (char)home->country};
        if (settings.variable_len) edge_set_var((edge_str){settings.variable, settings.variable_len}, (edge_str){code, 2});
        listed |= wanted(home->country);
    }
    return listed == settings.allow || find(&settings.exempt, a);
}

static edge_flow handle(void) {
    refresh();
    if (admitted()) return EDGE_NEXT;
    edge_add(edge_counter(EDGE("denied")), 1);
    edge_header_set(EDGE_RESPONSE, EDGE("cache-control"), EDGE("no-store"));
    return edge_reply((uint32_t)settings.status, EDGE("text/plain; charset=utf-8"), (edge_str){settings.message, settings.message_len});
}

EDGE_CONFIG(configure)
EDGE_MIDDLEWARE(handle)
