//! Plugins for Edge in Zig. A plugin is a file whose public functions are what it can do; edge.plugin exports them:
//!
//!     const edge = @import("edge");
//!     pub const panic = edge.panic;
//!     comptime {
//!         edge.plugin(@This());
//!     }
//!
//!     pub fn request(req: *edge.Request, res: *edge.Response) edge.Action {
//!         res.headers.set("x-hello", req.headers.get("user-agent") orelse "nobody");
//!         return edge.next;
//!     }
//!
//! The functions are init, configure, request, response, route, tick, websocket.{open,message,close} and kv (see Driver). Each may
//! return an error, which ends the call as a trap does, with its name in the log.
//!
//! Slices that this library returns live until the next call of the host into the plugin. README.md has the rest.

const std = @import("std");
const builtin = @import("builtin");

const raw = if (builtin.cpu.arch == .wasm32) imports else testing.host;

// Errors.

/// What a function of the host can end with; the names of docs/abi.md.
pub const Error = error{ Unavailable, Timeout, Invalid, TooLarge, Unsupported, Internal, Denied, NotFound, Condition, Exists, Closed, Limit, Phase };

const numbered = [_]Error{
    error.Unavailable, error.Timeout, error.Invalid, error.TooLarge, error.Unsupported, error.Internal, error.Denied, error.NotFound,
    error.Condition,   error.Exists,  error.Closed,  error.Limit,    error.Phase,
};

fn check(result: i64) Error!u32 {
    if (result >= 0) return @intCast(result & 0xffffffff);
    const number: usize = @intCast(-result);
    return if (number <= numbered.len) numbered[number - 1] else error.Internal;
}

fn done(result: i32) Error!void {
    _ = try check(result);
}

fn numberOf(err: anyerror) i32 {
    for (numbered, 1..) |e, n| if (e == err) return -@as(i32, @intCast(n));
    return -6;
}

/// What the last call that failed would say in words.
pub fn lastError() []const u8 {
    return receive(raw.last_error, .{}) catch "";
}

// Memory. What belongs to one call of the host comes out of an arena that is emptied with the next.

const pages = if (builtin.cpu.arch == .wasm32) std.heap.wasm_allocator else std.heap.page_allocator;
var arena_state = std.heap.ArenaAllocator.init(pages);

/// For what is needed until the end of this call.
pub fn arena() std.mem.Allocator {
    arena_used = true;
    return arena_state.allocator();
}
var arena_used = false;

/// For what is kept.
pub const allocator = pages;

fn begin() void {
    if (!arena_used) return;
    arena_used = false;
    _ = arena_state.reset(.{ .retain_with_limit = 1 << 16 });
}

fn copy(bytes: []const u8) []u8 {
    return arena().dupe(u8, bytes) catch @panic("out of memory (limits.memory)");
}

fn alloc(n: usize) []u8 {
    return arena().alloc(u8, n) catch @panic("out of memory (limits.memory)");
}

var scratch: [4096]u8 = undefined;

/// receive calls a host function that writes into a buffer and returns a length, or an error below zero.
fn receive(f: anytype, args: anytype) Error![]u8 {
    const n = try check(@call(.auto, f, args ++ .{ @as([*]u8, &scratch), @as(u32, scratch.len) }));
    if (n <= scratch.len) return copy(scratch[0..n]);
    const more = alloc(n);
    _ = try check(@call(.auto, f, args ++ .{ more.ptr, n }));
    return more;
}

/// received is receive for functions that cannot fail.
fn received(f: anytype) []u8 {
    const n: u32 = f(&scratch, scratch.len);
    if (n <= scratch.len) return copy(scratch[0..n]);
    const more = alloc(n);
    _ = f(more.ptr, n);
    return more;
}

const List = struct { count: u32, bytes: []const u8 };

/// receiveList calls a host function that writes items with a NUL behind each.
fn receiveList(f: anytype, args: anytype) Error!List {
    const n = @call(.auto, f, args ++ .{ @as([*]u8, &scratch), @as(u32, scratch.len) });
    if (@TypeOf(n) == i64 and n < 0) {
        _ = try check(n);
    }
    const bits: u64 = @bitCast(n);
    const len: u32 = @truncate(bits);
    const count: u32 = @truncate(bits >> 32);
    if (len <= scratch.len) return .{ .count = count, .bytes = scratch[0..len] };
    const more = alloc(len);
    _ = @call(.auto, f, args ++ .{ more.ptr, len });
    return .{ .count = count, .bytes = more };
}

fn items(list: List) []const []const u8 {
    const all = arena().alloc([]const u8, list.count) catch @panic("out of memory (limits.memory)");
    var at: usize = 0;
    const bytes = copy(list.bytes);
    for (all) |*item| {
        const end = std.mem.indexOfScalarPos(u8, bytes, at, 0) orelse bytes.len;
        item.* = bytes[at..end];
        at = end + 1;
    }
    return all;
}

// Requests and responses.

/// What a handler returns: next, nextWith(ctx) or answered.
pub const Action = enum(u64) { answered = 0, next = 1, _ };
pub const next = Action.next;
pub const answered = Action.answered;

/// Passes the request on; Response.ctx of the same request is ctx.
pub fn nextWith(ctx: u32) Action {
    return @fromBackingInt(@intCast(@as(u64, ctx) << 32 | 1));
}

/// The header of a message, or its trailer. The case of names does not matter.
pub const Headers = struct {
    kind: u32,

    /// The first value.
    pub fn get(h: Headers, name: []const u8) ?[]const u8 {
        if (h.kind == 0) if (desk.look(name)) |known| return known;
        const found = receiveList(raw.get_header_values, .{ h.kind, name.ptr, len32(name) }) catch return null;
        if (found.count == 0) return null;
        return copy(std.mem.sliceTo(found.bytes, 0));
    }

    pub fn has(h: Headers, name: []const u8) bool {
        return raw.get_header_values(h.kind, name.ptr, len32(name), &scratch, 0) != 0;
    }

    /// All values.
    pub fn values(h: Headers, name: []const u8) []const []const u8 {
        return items(receiveList(raw.get_header_values, .{ h.kind, name.ptr, len32(name) }) catch return &.{});
    }

    /// In lower case.
    pub fn names(h: Headers) []const []const u8 {
        return items(receiveList(raw.get_header_names, .{h.kind}) catch return &.{});
    }

    /// Replaces all values.
    pub fn set(h: Headers, name: []const u8, value: []const u8) void {
        if (!desk.leave(1, h.kind, name, value)) raw.set_header_value(h.kind, name.ptr, len32(name), value.ptr, len32(value));
    }

    pub fn add(h: Headers, name: []const u8, value: []const u8) void {
        if (!desk.leave(2, h.kind, name, value)) raw.add_header_value(h.kind, name.ptr, len32(name), value.ptr, len32(value));
    }

    pub fn remove(h: Headers, name: []const u8) void {
        if (!desk.leave(3, h.kind, name, "")) raw.remove_header(h.kind, name.ptr, len32(name));
    }
};

/// The desk of docs/abi.md: headers of the request that the host has laid there before it called, and changes that it finds there
/// when the plugin returns or calls it. Neither costs a call. Only Edge asks for the desk; elsewhere it stays shut.
const Desk = extern struct {
    slots: u32 = 0,
    changes: u32 = 0,
    change: [8]Change = undefined,
    slot: [4]Slot = undefined,
    // What follows is of this SDK.
    is_open: bool = false,
    used: u32 = 0,
    text: [2048]u8 = undefined, // what changes point to

    const Change = extern struct { what: u32, kind: u32, name: [*]const u8, name_len: u32, value: [*]const u8, len: u32 };
    const Slot = extern struct { len: u32, used: u32, name_len: u32, name: [36]u8, value: [208]u8 };
    const absent = 0xffff_ffff;

    /// The only value of a header of the request, null if there is none. Null of all: ask.
    fn look(d: *Desk, name: []const u8) ??[]const u8 {
        for (d.slot[0..@min(d.slots, 4)]) |*slot| {
            if (slot.name_len != name.len or name.len > slot.name.len or !same(&slot.name, name)) continue;
            slot.used = 1;
            if (slot.len == absent) return @as(?[]const u8, null);
            if (slot.len > slot.value.len) return null;
            return slot.value[0..slot.len];
        }
        return null;
    }

    fn same(at: [*]const u8, name: []const u8) bool {
        if (name.len < 8) {
            for (name, 0..) |c, i| if (at[i] != c) return false;
            return true;
        }
        var i: usize = 0;
        while (i + 8 < name.len) : (i += 8) if (eight(at + i) != eight(name.ptr + i)) return false;
        return eight(at + name.len - 8) == eight(name.ptr + name.len - 8);
    }

    fn eight(at: [*]const u8) u64 {
        return @as(*align(1) const u64, @ptrCast(at)).*; // readInt is a loop in ReleaseSmall
    }

    /// Leaves a change. False: it has to be made by a call.
    fn leave(d: *Desk, what: u32, kind: u32, name: []const u8, value: []const u8) bool {
        if (kind == 0) d.slots = 0; // of the request as it was
        const n = d.changes;
        if (n == 0) d.used = 0;
        if (!d.is_open or n >= d.change.len or name.len + value.len > d.text.len - d.used) return false;
        const c = &d.change[n];
        c.what = what;
        c.kind = kind;
        c.name = d.keep(name);
        c.name_len = len32(name);
        c.value = d.keep(value);
        c.len = len32(value);
        d.changes = n + 1;
        return true;
    }

    fn keep(d: *Desk, text: []const u8) [*]const u8 {
        const at = @intFromPtr(text.ptr);
        if (at >= @intFromPtr(&d.slot) and at < @intFromPtr(&d.slot) + @sizeOf(@TypeOf(d.slot))) return text.ptr; // the host's
        const to = d.text[d.used..].ptr;
        var i: usize = 0;
        while (i + 8 <= text.len) : (i += 8) @as(*align(1) u64, @ptrCast(to + i)).* = eight(text.ptr + i);
        while (i < text.len) : (i += 1) to[i] = text[i];
        d.used += len32(text);
        return to;
    }

    fn open() callconv(.c) *Desk {
        desk.is_open = true;
        return &desk;
    }
};

var desk: Desk = .{};

/// The body of a message.
pub const Body = struct {
    kind: u32,

    /// Fills to, but for the end of the body; 0 is the end.
    pub fn read(b: Body, to: []u8) usize {
        if (to.len == 0) return 0;
        return @as(u32, @truncate(raw.read_body(b.kind, to.ptr, len32(to))));
    }

    /// What is left.
    pub fn readAll(b: Body) []u8 {
        var all: std.ArrayList(u8) = .empty;
        var piece: usize = 4096;
        while (true) {
            const to = all.addManyAsSlice(arena(), piece) catch @panic("out of memory (limits.memory)");
            const result = raw.read_body(b.kind, to.ptr, len32(to));
            all.items.len -= piece - @as(u32, @truncate(result));
            if (result >> 32 != 0) return all.items;
            piece = @min(piece * 2, 1 << 20);
        }
    }

    /// Replaces the body with the first call and appends with the next ones.
    pub fn write(b: Body, bytes: []const u8) void {
        raw.write_body(b.kind, bytes.ptr, len32(bytes));
    }
};

pub const Request = struct {
    headers: Headers = .{ .kind = 0 },
    trailers: Headers = .{ .kind = 2 },
    body: Body = .{ .kind = 0 },

    pub fn method(_: *const Request) []const u8 {
        return received(raw.get_method);
    }
    pub fn setMethod(_: *Request, name: []const u8) void {
        raw.set_method(name.ptr, len32(name));
    }
    /// Path and query, percent-encoded as on the wire.
    pub fn uri(_: *const Request) []const u8 {
        return received(raw.get_uri);
    }
    pub fn setUri(_: *Request, to: []const u8) void {
        raw.set_uri(to.ptr, len32(to));
    }
    /// The URI up to the question mark.
    pub fn path(r: *const Request) []const u8 {
        return std.mem.sliceTo(r.uri(), '?');
    }
    /// What follows the question mark.
    pub fn query(r: *const Request) []const u8 {
        const all = r.uri();
        const at = std.mem.indexOfScalar(u8, all, '?') orelse return "";
        return all[at + 1 ..];
    }
    /// "HTTP/1.1", "HTTP/2.0" or "HTTP/3.0".
    pub fn protocol(_: *const Request) []const u8 {
        return received(raw.get_protocol_version);
    }
    /// The client's "203.0.113.9:51234".
    pub fn remoteAddress(_: *const Request) []const u8 {
        return received(raw.get_source_addr);
    }
};

pub const Response = struct {
    headers: Headers = .{ .kind = 1 },
    trailers: Headers = .{ .kind = 3 },
    body: Body = .{ .kind = 1 },
    /// In response(): what nextWith gave.
    ctx: u32 = 0,
    /// In response(): there is no answer. A handler panicked, or the answer was larger than limits.body.
    failed: bool = false,

    pub fn status(_: *const Response) u32 {
        return raw.get_status_code();
    }
    pub fn setStatus(_: *Response, code: u32) void {
        raw.set_status_code(code);
    }

    /// Answers: `return res.send(404, "text/plain", "not here");`
    pub fn send(r: *Response, code: u32, content_type: []const u8, bytes: []const u8) Action {
        var digits: [10]u8 = undefined;
        r.setStatus(code);
        r.headers.set("content-type", content_type);
        r.headers.set("content-length", decimal(&digits, bytes.len));
        r.body.write(bytes);
        return answered;
    }
};

fn decimal(buf: []u8, n: usize) []const u8 {
    var at = buf.len;
    var rest = n;
    while (true) {
        at -= 1;
        buf[at] = '0' + @as(u8, @intCast(rest % 10));
        rest /= 10;
        if (rest == 0) return buf[at..];
    }
}

fn len32(bytes: []const u8) u32 {
    return @intCast(bytes.len);
}

// The plugin itself.

/// The configuration: a text of edge.yaml as it stands there, anything else as JSON.
pub fn config() []const u8 {
    return received(raw.get_config);
}

pub const Features = packed struct(u32) { buffer_request: bool = false, buffer_response: bool = false, trailers: bool = false, _: u29 = 0 };

/// Turns features on: in init for all requests, in request for that one. The result is what is on.
pub fn enable(features: Features) Features {
    return @bitCast(raw.enable_features(@bitCast(features)));
}

/// Lines for the server's log.
pub const log = struct {
    pub const Level = enum(i32) { debug = -1, info = 0, warn = 1, err = 2 };
    pub fn write(level: Level, message: []const u8) void {
        raw.log(@backingInt(level), message.ptr, len32(message));
    }
    pub fn enabled(level: Level) bool {
        return raw.log_enabled(@backingInt(level)) != 0;
    }
    pub fn debug(message: []const u8) void {
        write(.debug, message);
    }
    pub fn info(message: []const u8) void {
        write(.info, message);
    }
    pub fn warn(message: []const u8) void {
        write(.warn, message);
    }
    pub fn err(message: []const u8) void {
        write(.err, message);
    }
};

/// Unix time in milliseconds.
pub fn now() i64 {
    return raw.now_ms();
}

/// Milliseconds that this call has left; null without a bound.
pub fn deadline() ?i64 {
    const left = raw.deadline_ms();
    return if (left < 0) null else left;
}

/// Whether this plugin may import "namespace" or "namespace.function".
pub fn has(name: []const u8) bool {
    return raw.has(name.ptr, len32(name)) == 1;
}

/// Sends what was written of the answer so far.
pub fn flush() Error!void {
    return done(raw.flush());
}

/// Variables of the request, which later plugins, PHP and the access log see.
pub const vars = struct {
    pub fn get(name: []const u8) Error![]const u8 {
        return receive(raw.var_get, .{ name.ptr, len32(name) });
    }
    pub fn set(name: []const u8, value: []const u8) Error!void {
        return done(raw.var_set(name.ptr, len32(name), value.ptr, len32(value)));
    }
};

// Stores.

pub const SetOptions = struct {
    /// Milliseconds; 0 is for ever.
    ttl: i64 = 0,
    if_absent: bool = false,
    if_present: bool = false,
    keep_ttl: bool = false,
    if_version: ?i64 = null,

    fn flags(o: SetOptions) u32 {
        return @as(u32, @intFromBool(o.if_absent)) | @as(u32, @intFromBool(o.if_present)) << 1 |
            @as(u32, @intFromBool(o.if_version != null)) << 2 | @as(u32, @intFromBool(o.keep_ttl)) << 3;
    }
};

pub const Entry = struct { value: []const u8, ttl: ?i64, version: i64 };

/// A store of edge.yaml's kv section; allow.kv of the plugin must name it.
pub const Store = struct {
    handle: i32,

    pub fn open(name: []const u8) Error!Store {
        return .{ .handle = @intCast(try check(raw.kv_open(name.ptr, len32(name)))) };
    }

    pub fn get(s: Store, key: []const u8) Error![]const u8 {
        return (try s.entryOf(key, null)).value;
    }

    pub fn entry(s: Store, key: []const u8) Error!Entry {
        var meta: [2]i64 = .{ -1, 0 };
        return s.entryOf(key, &meta);
    }

    fn entryOf(s: Store, key: []const u8, meta: ?*[2]i64) Error!Entry {
        var to: []u8 = &scratch;
        var n = try check(raw.kv_get(s.handle, key.ptr, len32(key), to.ptr, len32(to), meta));
        while (n > to.len) { // a value may grow between two calls
            to = alloc(n);
            n = try check(raw.kv_get(s.handle, key.ptr, len32(key), to.ptr, len32(to), meta));
        }
        const value = if (to.ptr == &scratch) copy(to[0..n]) else to[0..n];
        const m = meta orelse return .{ .value = value, .ttl = null, .version = 0 };
        return .{ .value = value, .ttl = if (m[0] < 0) null else m[0], .version = m[1] };
    }

    pub fn set(s: Store, key: []const u8, value: []const u8, options: SetOptions) Error!void {
        return done(raw.kv_set(s.handle, key.ptr, len32(key), value.ptr, len32(value), options.ttl, options.flags(), options.if_version orelse 0));
    }

    /// version 0 is any.
    pub fn delete(s: Store, key: []const u8, version: i64) Error!void {
        return done(raw.kv_delete(s.handle, key.ptr, len32(key), version));
    }

    /// Whether there is such a key.
    pub fn expire(s: Store, key: []const u8, ttl: i64) Error!bool {
        return try check(raw.kv_expire(s.handle, key.ptr, len32(key), ttl)) == 1;
    }

    pub fn incr(s: Store, key: []const u8, delta: i64, ttl: i64) Error!i64 {
        var sum: i64 = 0;
        try done(raw.kv_incr(s.handle, key.ptr, len32(key), delta, ttl, &sum));
        return sum;
    }

    /// All keys with a prefix, asked for in pages.
    pub fn keys(s: Store, prefix: []const u8, page: u32) Error![]const []const u8 {
        var all: std.ArrayList([]const u8) = .empty;
        var cursor: []const u8 = "";
        while (true) {
            const answer = try receive(raw.kv_scan, .{ s.handle, prefix.ptr, len32(prefix), cursor.ptr, len32(cursor), page });
            var at: usize = 0;
            cursor = taken(answer, &at);
            while (at + 4 <= answer.len) all.append(arena(), taken(answer, &at)) catch @panic("out of memory (limits.memory)");
            if (cursor.len == 0) return all.items;
        }
    }

    /// Carries a batch out; its answer has at most 1 MiB.
    pub fn batch(s: Store, b: *const Batch) Error![]const Item {
        const out = alloc(1 << 20);
        const n = try check(raw.kv_batch(s.handle, b.ops.items.ptr, len32(b.ops.items), out.ptr, len32(out)));
        if (n > out.len) return error.TooLarge;
        const count = std.mem.readInt(u32, out[0..4], .little);
        const results = arena().alloc(Item, count) catch @panic("out of memory (limits.memory)");
        for (results, 0..) |*item, i| {
            const r = out[8 + 40 * i ..][0..40];
            const from = std.mem.readInt(u32, r[24..28], .little) -% @as(u32, @truncate(@intFromPtr(out.ptr)));
            const value = out[from..][0..std.mem.readInt(u32, r[28..32], .little)];
            item.* = switch (std.mem.readInt(i32, r[0..4], .little)) {
                0 => .{ .value = value },
                1 => .{ .failed = error.NotFound },
                2 => .{ .failed = error.Condition },
                3 => .{ .failed = error.Exists },
                else => |status| .{ .failed = if (done(status)) |_| error.Internal else |e| e },
            };
        }
        return results;
    }
};

fn taken(page: []const u8, at: *usize) []const u8 {
    if (at.* + 4 > page.len) return "";
    const n = std.mem.readInt(u32, page[at.*..][0..4], .little);
    const item = page[at.* + 4 ..][0..n];
    at.* += 4 + n;
    return item;
}

/// One result of a batch: the value of get, the sum of incr in 8 bytes, or an error.
pub const Item = union(enum) {
    value: []const u8,
    failed: Error,

    pub fn number(i: Item) Error!i64 {
        switch (i) {
            .failed => |e| return e,
            .value => |v| return if (v.len == 8) std.mem.readInt(i64, v[0..8], .little) else error.Invalid,
        }
    }
};

/// Operations that go to a store in one call.
pub const Batch = struct {
    ops: std.ArrayList(u8) = .empty,

    pub fn get(b: *Batch, key: []const u8) void {
        b.add(1, key, "", .{});
    }
    pub fn set(b: *Batch, key: []const u8, value: []const u8, options: SetOptions) void {
        b.add(2, key, value, options);
    }
    pub fn delete(b: *Batch, key: []const u8) void {
        b.add(3, key, "", .{});
    }
    pub fn incr(b: *Batch, key: []const u8, delta: i64, ttl: i64) void {
        var bytes: [8]u8 = undefined;
        std.mem.writeInt(i64, &bytes, delta, .little);
        b.add(4, key, &bytes, .{ .ttl = ttl });
    }
    pub fn expire(b: *Batch, key: []const u8, ttl: i64) void {
        b.add(5, key, "", .{ .ttl = ttl });
    }

    fn add(b: *Batch, op: u32, key: []const u8, value: []const u8, options: SetOptions) void {
        var head: [32]u8 = undefined;
        std.mem.writeInt(u32, head[0..4], op, .little);
        std.mem.writeInt(u32, head[4..8], len32(key), .little);
        std.mem.writeInt(u32, head[8..12], len32(value), .little);
        std.mem.writeInt(u32, head[12..16], options.flags(), .little);
        std.mem.writeInt(i64, head[16..24], options.ttl, .little);
        std.mem.writeInt(i64, head[24..32], options.if_version orelse 0, .little);
        for ([_][]const u8{ &head, key, value }) |part| b.ops.appendSlice(arena(), part) catch @panic("out of memory (limits.memory)");
    }
};

// Network.

/// A TCP connection; allow.net must name the address. timeout in milliseconds, 0 is 5 seconds.
pub const Socket = struct {
    handle: i32,

    pub const Options = struct { tls: bool = false, timeout: u32 = 0 };

    /// "host:port"
    pub fn connect(address: []const u8, options: Options) Error!Socket {
        return .{ .handle = @intCast(try check(raw.tcp_dial(address.ptr, len32(address), @intFromBool(options.tls), options.timeout))) };
    }
    /// At least one byte; 0 is the end.
    pub fn read(s: Socket, to: []u8, timeout: u32) Error!usize {
        return check(raw.tcp_read(s.handle, to.ptr, len32(to), timeout));
    }
    pub fn write(s: Socket, bytes: []const u8, timeout: u32) Error!void {
        return done(raw.tcp_write(s.handle, bytes.ptr, len32(bytes), timeout));
    }
    pub fn close(s: Socket) void {
        _ = raw.tcp_close(s.handle);
    }
};

pub const Header = struct { name: []const u8, value: []const u8 };

pub const Outgoing = struct { headers: []const Header = &.{}, body: []const u8 = "", timeout: u32 = 0 };

/// The answer of another server, or of PHP. Close it.
pub const Answer = struct {
    handle: i32,
    php: bool,

    pub fn status(a: Answer) u32 {
        return check(if (a.php) raw.php_status(a.handle) else raw.http_status(a.handle)) catch 0;
    }
    /// The first value.
    pub fn header(a: Answer, name: []const u8) ?[]const u8 {
        const args = .{ a.handle, name.ptr, len32(name) };
        const found = (if (a.php) receiveList(raw.php_header, args) else receiveList(raw.http_header, args)) catch return null;
        return if (found.count == 0) null else copy(std.mem.sliceTo(found.bytes, 0));
    }
    /// All values.
    pub fn headerValues(a: Answer, name: []const u8) []const []const u8 {
        const args = .{ a.handle, name.ptr, len32(name) };
        return items((if (a.php) receiveList(raw.php_header, args) else receiveList(raw.http_header, args)) catch return &.{});
    }
    /// The names, in lower case, sorted.
    pub fn headerNames(a: Answer) []const []const u8 {
        return items((if (a.php) receiveList(raw.php_header_names, .{a.handle}) else receiveList(raw.http_header_names, .{a.handle})) catch return &.{});
    }
    /// 0 is the end.
    pub fn read(a: Answer, to: []u8) Error!usize {
        return check(a.piece(to));
    }
    fn piece(a: Answer, to: []u8) i64 {
        const result = if (a.php) raw.php_read(a.handle, to.ptr, len32(to)) else raw.http_read(a.handle, to.ptr, len32(to));
        return if (result < 0) result else result & 0xffffffff;
    }
    pub fn readAll(a: Answer) Error![]u8 {
        var all: std.ArrayList(u8) = .empty;
        while (true) {
            const to = all.addManyAsSlice(arena(), 16384) catch @panic("out of memory (limits.memory)");
            const n = try a.read(to);
            all.items.len -= to.len - n;
            if (n == 0) return all.items;
        }
    }
    pub fn close(a: Answer) void {
        _ = if (a.php) raw.php_close(a.handle) else raw.http_close(a.handle);
    }
};

fn headOf(method: []const u8, target: []const u8, headers: []const Header) Error![]const u8 {
    var head: std.ArrayList(u8) = .empty;
    const parts = [_][]const u8{ method, " ", target, "\n" };
    for (parts) |part| head.appendSlice(arena(), part) catch @panic("out of memory (limits.memory)");
    for (headers) |h| {
        for ([_][]const u8{ h.name, ": ", h.value, "\n" }) |part| head.appendSlice(arena(), part) catch @panic("out of memory (limits.memory)");
    }
    if (std.mem.count(u8, head.items, "\n") != headers.len + 1) return error.Invalid; // a line break in one of them
    return head.items;
}

/// A request to another server; allow.net must name it.
pub fn fetch(method: []const u8, url: []const u8, options: Outgoing) Error!Answer {
    const head = try headOf(method, url, options.headers);
    return .{ .php = false, .handle = @intCast(try check(raw.http_do(head.ptr, len32(head), options.body.ptr, len32(options.body), options.timeout))) };
}

/// A request to a PHP pool; allow.php must name it.
pub fn php(pool: []const u8, method: []const u8, path: []const u8, options: Outgoing) Error!Answer {
    const head = try headOf(method, path, options.headers);
    return .{ .php = true, .handle = @intCast(try check(raw.php_call(pool.ptr, len32(pool), head.ptr, len32(head), options.body.ptr, len32(options.body), options.timeout))) };
}

// Metrics: the same name is the same metric in all instances.

pub const Counter = struct {
    id: i32,
    pub fn define(name: []const u8) Error!Counter {
        return .{ .id = @intCast(try check(raw.metrics_define(0, name.ptr, len32(name)))) };
    }
    pub fn add(m: Counter, n: i64) Error!void {
        return done(raw.metrics_add(m.id, n));
    }
};

pub const Gauge = struct {
    id: i32,
    pub fn define(name: []const u8) Error!Gauge {
        return .{ .id = @intCast(try check(raw.metrics_define(1, name.ptr, len32(name)))) };
    }
    pub fn add(m: Gauge, n: i64) Error!void {
        return done(raw.metrics_add(m.id, n));
    }
    pub fn set(m: Gauge, n: i64) Error!void {
        return done(raw.metrics_set(m.id, n));
    }
};

pub const Histogram = struct {
    id: i32,
    pub fn define(name: []const u8) Error!Histogram {
        return .{ .id = @intCast(try check(raw.metrics_define(2, name.ptr, len32(name)))) };
    }
    pub fn observe(m: Histogram, n: i64) Error!void {
        return done(raw.metrics_observe(m.id, n));
    }
};

// The clock and the queue.

/// From now on tick is called so often; 0 stops.
pub fn every(ms: u32) Error!void {
    return done(raw.every(ms));
}

/// The plugin's queue, which its instances share.
pub const queue = struct {
    pub fn push(item: []const u8) Error!void {
        return done(raw.queue_push(item.ptr, len32(item)));
    }
    pub fn pop() Error!?[]const u8 {
        return receive(raw.queue_pop, .{}) catch |e| if (e == error.NotFound) null else e;
    }
};

// Routers.

/// What route() can decide. The last of to, pool, redirect and status counts.
pub const Router = struct {
    pub fn to(_: Router, route: []const u8) Error!void {
        return done(raw.route_to(route.ptr, len32(route)));
    }
    pub fn pool(_: Router, name: []const u8) Error!void {
        return done(raw.route_pool(name.ptr, len32(name)));
    }
    pub fn rewrite(_: Router, uri: []const u8) Error!void {
        return done(raw.route_rewrite(uri.ptr, len32(uri)));
    }
    pub fn redirect(_: Router, code: u32, url: []const u8) Error!void {
        return done(raw.route_redirect(code, url.ptr, len32(url)));
    }
    pub fn status(_: Router, code: u32) Error!void {
        return done(raw.route_status(code));
    }
    /// Keeps the decision for requests that are equal in parts: "path,query,header:accept".
    pub fn cache(_: Router, parts: []const u8, ttl: u32) Error!void {
        return done(raw.route_cache(parts.ptr, len32(parts), ttl));
    }
};

// WebSockets.

/// A connection. Its messages may come to any instance of the plugin, so what belongs to it goes into a store.
pub const Connection = struct {
    id: i64,

    pub fn send(c: Connection, message: []const u8) Error!void {
        return done(raw.ws_send(c.id, 1, message.ptr, len32(message)));
    }
    pub fn sendBytes(c: Connection, message: []const u8) Error!void {
        return done(raw.ws_send(c.id, 2, message.ptr, len32(message)));
    }
    pub fn subscribe(c: Connection, topic: []const u8) Error!void {
        return done(raw.ws_subscribe(c.id, topic.ptr, len32(topic)));
    }
    pub fn unsubscribe(c: Connection, topic: []const u8) Error!void {
        return done(raw.ws_unsubscribe(c.id, topic.ptr, len32(topic)));
    }
    pub fn close(c: Connection, code: u32, reason: []const u8) Error!void {
        return done(raw.ws_disconnect(c.id, code, reason.ptr, len32(reason)));
    }
    /// Whose the connection is; "" is nobody's.
    pub fn user(c: Connection) Error![]const u8 {
        return receive(raw.ws_user, .{c.id});
    }
    pub fn setUser(c: Connection, name: []const u8) Error!void {
        return done(raw.ws_set_user(c.id, name.ptr, len32(name)));
    }
    /// An attribute: a claim of its token that edge.yaml names, or what set said. error.NotFound without it.
    pub fn get(c: Connection, name: []const u8) Error![]const u8 {
        return receive(raw.ws_get, .{ c.id, name.ptr, len32(name) });
    }
    /// An empty value takes the attribute away.
    pub fn set(c: Connection, name: []const u8, value: []const u8) Error!void {
        return done(raw.ws_set(c.id, name.ptr, len32(name), value.ptr, len32(value)));
    }
};

pub const Message = struct { data: []const u8, is_text: bool };

/// Sends a text to all that subscribed to a topic of allow.publish.
pub fn publish(topic: []const u8, message: []const u8) Error!void {
    return done(raw.ws_publish(topic.ptr, len32(topic), 1, message.ptr, len32(message)));
}

// KV drivers.

/// The time of a driver's operation that runs, as now, without a call of the host.
pub fn operationTime() i64 {
    const clock: *volatile i64 = &kv_clock;
    if (clock.* != 0) return clock.*;
    const at = now();
    if (builtin.cpu.arch == .wasm32) clock.* = at; // from now on the host keeps it
    return at;
}
var kv_clock: i64 = 0;
fn kvClock() callconv(.c) *i64 {
    return &kv_clock;
}

/// What an operation of a driver answers with. Slices must stay valid until the next call; arena() does.
pub const Reply = struct { value: []const u8 = "", ttl: ?i64 = null, version: i64 = 0 };

pub const Page = struct { keys: []const []const u8, cursor: []const u8 = "" };

/// A plugin with `pub const kv = struct {…}` is a KV driver. That has
///
///     pub const features: edge.DriverFeatures = .{ .ttl = true };
///     pub fn get(key: []const u8) !Reply                          error.NotFound without such a key
///     pub fn set(key, value: []const u8, options: edge.SetOptions) !Reply        error.Exists, error.Condition
///     pub fn delete(key: []const u8, version: i64) !Reply
///
/// and may have open(config), incr(key, delta, ttl), expire(key, ttl), scan(prefix, cursor, max) !Page, clear(), tick(now), close().
/// With `shared` the data is elsewhere, and there may be many instances; with `evict` keys may go before their end to make room.
pub const DriverFeatures = struct { ttl: bool = false, cas: bool = false, shared: bool = false, evict: bool = false };

const Record = extern struct {
    status: i32 = 0,
    flags: u32 = 0,
    ttl: i64 = -1,
    version: i64 = 0,
    ptr: u32 = 0,
    len: u32 = 0,
    err_ptr: u32 = 0,
    err_len: u32 = 0,
};

var record: Record = .{};

fn recordOf(reply: anyerror!Reply) Record {
    const r = reply catch |e| {
        const status: i32 = switch (e) {
            error.NotFound => 1,
            error.Condition => 2,
            error.Exists => 3,
            else => numberOf(e),
        };
        const name = @errorName(e);
        return .{ .status = status, .err_ptr = @truncate(@intFromPtr(name.ptr)), .err_len = len32(name) };
    };
    return .{ .ttl = r.ttl orelse -1, .version = r.version, .ptr = if (r.value.len == 0) 0 else @truncate(@intFromPtr(r.value.ptr)), .len = len32(r.value) };
}

fn Driver(comptime D: type) type {
    return struct {
        fn answer(reply: anyerror!Reply) *Record {
            record = recordOf(reply);
            return &record;
        }
        fn abi() callconv(.c) u32 {
            const f: DriverFeatures = D.features;
            return 1 << 16 | 8 | @as(u32, @intFromBool(f.ttl)) | @as(u32, @intFromBool(f.cas)) << 1 | @as(u32, @intFromBool(@hasDecl(D, "incr"))) << 2 |
                @as(u32, @intFromBool(@hasDecl(D, "scan"))) << 4 | @as(u32, @intFromBool(f.shared)) << 6 | @as(u32, @intFromBool(f.evict)) << 7;
        }
        fn open(len: u32) callconv(.c) i32 {
            begin();
            if (!@hasDecl(D, "open")) return 0;
            @as(anyerror!void, D.open(mailbox[0..len])) catch |e| return numberOf(e);
            return 0;
        }
        fn get(key: u32) callconv(.c) *Record {
            begin();
            return answer(D.get(mailbox[0..key]));
        }
        fn options(ttl: i64, flags: u32, version: i64) SetOptions {
            return .{
                .ttl = ttl,
                .if_absent = flags & 1 != 0,
                .if_present = flags & 2 != 0,
                .if_version = if (flags & 4 != 0) version else null,
                .keep_ttl = flags & 8 != 0,
            };
        }
        fn set(key: u32, value: u32, ttl: i64, flags: u32, version: i64) callconv(.c) *Record {
            begin();
            return answer(D.set(mailbox[0..key], mailbox[key..][0..value], options(ttl, flags, version)));
        }
        fn delete(key: u32, version: i64) callconv(.c) *Record {
            begin();
            return answer(D.delete(mailbox[0..key], version));
        }
        fn incr(key: u32, delta: i64, ttl: i64) callconv(.c) *Record {
            begin();
            return answer(number(D.incr(mailbox[0..key], delta, ttl)));
        }
        fn number(sum: anyerror!i64) anyerror!Reply {
            const bytes = alloc(8);
            std.mem.writeInt(i64, bytes[0..8], try sum, .little);
            return .{ .value = bytes };
        }
        fn expire(key: u32, ttl: i64) callconv(.c) *Record {
            begin();
            return answer(D.expire(mailbox[0..key], ttl));
        }
        fn clear() callconv(.c) *Record {
            begin();
            return answer(D.clear());
        }
        fn scan(prefix: u32, cursor: u32, max: u32) callconv(.c) *Record {
            begin();
            return answer(pageOf(D.scan(mailbox[0..prefix], mailbox[prefix..][0..cursor], max)));
        }
        fn pageOf(found: anyerror!Page) anyerror!Reply {
            const page = try found;
            var bytes: std.ArrayList(u8) = .empty;
            try appendItem(&bytes, page.cursor);
            for (page.keys) |key| try appendItem(&bytes, key);
            return .{ .value = bytes.items };
        }
        fn appendItem(bytes: *std.ArrayList(u8), item: []const u8) !void {
            var size: [4]u8 = undefined;
            std.mem.writeInt(u32, &size, len32(item), .little);
            try bytes.appendSlice(arena(), &size);
            try bytes.appendSlice(arena(), item);
        }
        fn batch(len: u32) callconv(.c) [*]u8 {
            begin();
            var records: std.ArrayList(u8) = .empty;
            records.appendNTimes(arena(), 0, 8) catch @panic("out of memory (limits.memory)");
            var rest = mailbox[0..len];
            var count: u32 = 0;
            while (rest.len >= 32) : (count += 1) {
                const k = std.mem.readInt(u32, rest[4..8], .little);
                const v = std.mem.readInt(u32, rest[8..12], .little);
                const r = recordOf(run(rest[0..32], rest[32..][0..k], rest[32 + k ..][0..v]));
                records.appendSlice(arena(), std.mem.asBytes(&r)) catch @panic("out of memory (limits.memory)");
                rest = rest[32 + k + v ..];
            }
            std.mem.writeInt(u32, records.items[0..4], count, .little);
            return records.items.ptr;
        }
        fn run(op: []const u8, key: []const u8, value: []const u8) anyerror!Reply {
            const ttl = std.mem.readInt(i64, op[16..24], .little);
            const version = std.mem.readInt(i64, op[24..32], .little);
            switch (std.mem.readInt(u32, op[0..4], .little)) {
                1 => return D.get(key),
                2 => return D.set(key, value, options(ttl, std.mem.readInt(u32, op[12..16], .little), version)),
                3 => return D.delete(key, version),
                4 => if (@hasDecl(D, "incr") and value.len == 8) return number(D.incr(key, std.mem.readInt(i64, value[0..8], .little), ttl)),
                5 => if (@hasDecl(D, "expire")) return D.expire(key, ttl),
                else => {},
            }
            return error.Unsupported;
        }
        fn tick(at: i64) callconv(.c) void {
            begin();
            ended("kv.tick", D.tick(at));
        }
        fn close() callconv(.c) void {
            begin();
            ended("kv.close", D.close());
        }
    };
}

// Exports.

var mailbox: []u8 = &.{};

fn edgeMailbox(want: u32) callconv(.c) u64 {
    if (mailbox.len < want or mailbox.len == 0) {
        if (mailbox.len > 0) allocator.free(mailbox);
        mailbox = allocator.alloc(u8, @max(want, 4096)) catch {
            mailbox = &.{};
            return 0;
        };
    }
    return @as(u64, @truncate(@intFromPtr(mailbox.ptr))) << 32 | mailbox.len;
}

/// Exports what the public functions of P say that the plugin can do. Call it in a comptime block.
pub fn plugin(comptime P: type) void {
    if (builtin.cpu.arch != .wasm32) return;
    const E = Exports(P);
    if (@hasDecl(P, "init")) @export(&E.initialize, .{ .name = "_initialize" });
    if (@hasDecl(P, "configure")) @export(&E.configure, .{ .name = "edge_config" });
    if (@hasDecl(P, "request") or @hasDecl(P, "response")) {
        @export(&E.handleRequest, .{ .name = "handle_request" });
        @export(&E.handleResponse, .{ .name = "handle_response" });
        @export(&E.warmUp, .{ .name = "edge_warm_up" });
        @export(&E.noResponse, .{ .name = "edge_no_response" });
        @export(&Desk.open, .{ .name = "edge_desk" });
    }
    if (@hasDecl(P, "route")) @export(&E.route, .{ .name = "route" });
    if (@hasDecl(P, "tick")) @export(&E.tick, .{ .name = "tick" });
    if (@hasDecl(P, "websocket") or @hasDecl(P, "kv")) @export(&edgeMailbox, .{ .name = "edge_mailbox" });
    if (@hasDecl(P, "websocket")) {
        @export(&E.wsOpen, .{ .name = "ws_open" });
        @export(&E.wsMessage, .{ .name = "ws_message" });
        @export(&E.wsClose, .{ .name = "ws_close" });
    }
    if (@hasDecl(P, "kv")) {
        const D = Driver(P.kv);
        @export(&D.abi, .{ .name = "kv_abi" });
        @export(&D.open, .{ .name = "kv_open" });
        @export(&D.get, .{ .name = "kv_get" });
        @export(&D.set, .{ .name = "kv_set" });
        @export(&D.delete, .{ .name = "kv_delete" });
        @export(&D.batch, .{ .name = "kv_batch" });
        if (@hasDecl(P.kv, "incr")) @export(&D.incr, .{ .name = "kv_incr" });
        if (@hasDecl(P.kv, "expire")) @export(&D.expire, .{ .name = "kv_expire" });
        if (@hasDecl(P.kv, "scan")) @export(&D.scan, .{ .name = "kv_scan" });
        if (@hasDecl(P.kv, "clear")) @export(&D.clear, .{ .name = "kv_clear" });
        @export(&kvClock, .{ .name = "kv_clock" });
        if (@hasDecl(P.kv, "tick")) @export(&D.tick, .{ .name = "kv_tick" });
        if (@hasDecl(P.kv, "close")) @export(&D.close, .{ .name = "kv_close" });
    }
}

var current: struct { request: Request = .{}, response: Response = .{} } = .{};

/// ended makes a panic of an error that a function of the plugin returned.
fn ended(comptime function: []const u8, result: anytype) void {
    if (@typeInfo(@TypeOf(result)) == .error_union) {
        result catch |e| explained(function, e);
    }
}

fn explained(comptime function: []const u8, e: anyerror) noreturn {
    const message = std.mem.concat(arena(), u8, &.{ function, " returned error.", @errorName(e) }) catch function;
    @panic(message);
}

fn Exports(comptime P: type) type {
    return struct {
        fn initialize() callconv(.c) void {
            begin();
            ended("init", P.init());
        }
        fn configure(_: u32) callconv(.c) i32 {
            begin();
            @as(anyerror!void, P.configure(config())) catch |e| {
                if (refusal.len == 0) refuse(@errorName(e));
                _ = raw.set_error(refusal.ptr, len32(refusal));
                return -3;
            };
            return 0;
        }
        /// A request that has to make room first grows the memory, and with isolation: request such an instance is not used again.
        fn warmUp() callconv(.c) void {
            _ = alloc(32 * 1024);
            begin();
        }
        fn handleRequest() callconv(.c) u64 {
            begin();
            if (!@hasDecl(P, "request")) return 1;
            const action = @as(anyerror!Action, P.request(&current.request, &current.response)) catch |e| explained("request", e);
            return @backingInt(action);
        }
        fn handleResponse(ctx: u32, is_error: u32) callconv(.c) void {
            if (!@hasDecl(P, "response")) return;
            current.response.ctx = ctx;
            current.response.failed = is_error != 0;
            ended("response", P.response(&current.request, &current.response));
        }
        fn noResponse() callconv(.c) u32 {
            return @intFromBool(!@hasDecl(P, "response"));
        }
        fn route() callconv(.c) i32 {
            begin();
            const decided = @as(anyerror!bool, P.route(&current.request, Router{})) catch |e| explained("route", e);
            return @intFromBool(decided);
        }
        fn tick(at: i64) callconv(.c) void {
            begin();
            ended("tick", P.tick(at));
        }
        fn wsOpen(conn: i64) callconv(.c) i32 {
            begin();
            return code("websocket.open", P.websocket.open(Connection{ .id = conn }, &current.request));
        }
        fn wsMessage(conn: i64, kind: u32, len: u32) callconv(.c) i32 {
            begin();
            return code("websocket.message", P.websocket.message(Connection{ .id = conn }, Message{ .data = mailbox[0..len], .is_text = kind == 1 }));
        }
        fn wsClose(conn: i64, reason: u32) callconv(.c) void {
            begin();
            if (@hasDecl(P.websocket, "close")) ended("websocket.close", P.websocket.close(Connection{ .id = conn }, reason));
        }
        /// code is the status or the close code that the plugin returned, 0 for none.
        fn code(comptime function: []const u8, result: anyerror!u32) i32 {
            return @intCast(result catch |e| explained(function, e));
        }
    };
}

var refusal: []const u8 = "";

/// Says why configure is about to return an error.
pub fn refuse(reason: []const u8) void {
    refusal = reason;
}

/// `pub const panic = edge.panic;` in the plugin's file sends the text of a panic to the server's log.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(message: []const u8, _: ?usize) noreturn {
    log.err(message);
    @trap();
}

// The host's functions as they are.

const imports = struct {
    extern "http_handler" fn enable_features(features: u32) u32;
    extern "http_handler" fn get_config(buf: [*]u8, limit: u32) u32;
    extern "http_handler" fn log(level: i32, message: [*]const u8, len: u32) void;
    extern "http_handler" fn log_enabled(level: i32) u32;
    extern "http_handler" fn get_method(buf: [*]u8, limit: u32) u32;
    extern "http_handler" fn set_method(method: [*]const u8, len: u32) void;
    extern "http_handler" fn get_uri(buf: [*]u8, limit: u32) u32;
    extern "http_handler" fn set_uri(uri: [*]const u8, len: u32) void;
    extern "http_handler" fn get_protocol_version(buf: [*]u8, limit: u32) u32;
    extern "http_handler" fn get_source_addr(buf: [*]u8, limit: u32) u32;
    extern "http_handler" fn get_header_names(kind: u32, buf: [*]u8, limit: u32) u64;
    extern "http_handler" fn get_header_values(kind: u32, name: [*]const u8, name_len: u32, buf: [*]u8, limit: u32) u64;
    extern "http_handler" fn set_header_value(kind: u32, name: [*]const u8, name_len: u32, value: [*]const u8, len: u32) void;
    extern "http_handler" fn add_header_value(kind: u32, name: [*]const u8, name_len: u32, value: [*]const u8, len: u32) void;
    extern "http_handler" fn remove_header(kind: u32, name: [*]const u8, name_len: u32) void;
    extern "http_handler" fn read_body(kind: u32, buf: [*]u8, limit: u32) u64;
    extern "http_handler" fn write_body(kind: u32, body: [*]const u8, len: u32) void;
    extern "http_handler" fn get_status_code() u32;
    extern "http_handler" fn set_status_code(code: u32) void;

    extern "edge_core_v1" fn has(name: [*]const u8, len: u32) i32;
    extern "edge_core_v1" fn now_ms() i64;
    extern "edge_core_v1" fn deadline_ms() i64;
    extern "edge_core_v1" fn var_get(name: [*]const u8, len: u32, buf: [*]u8, limit: u32) i32;
    extern "edge_core_v1" fn var_set(name: [*]const u8, len: u32, value: [*]const u8, value_len: u32) i32;
    extern "edge_core_v1" fn last_error(buf: [*]u8, limit: u32) i32;
    extern "edge_core_v1" fn set_error(text: [*]const u8, len: u32) i32;
    extern "edge_core_v1" fn flush() i32;

    // Functions of several namespaces have the same name, so these are named when they are linked.
    const kv_open = @extern(*const fn ([*]const u8, u32) callconv(.c) i32, .{ .name = "open", .library_name = "edge_kv_v1" });
    const kv_get = @extern(*const fn (i32, [*]const u8, u32, [*]u8, u32, ?*[2]i64) callconv(.c) i32, .{ .name = "get", .library_name = "edge_kv_v1" });
    const kv_set = @extern(*const fn (i32, [*]const u8, u32, [*]const u8, u32, i64, u32, i64) callconv(.c) i32, .{ .name = "set", .library_name = "edge_kv_v1" });
    const kv_delete = @extern(*const fn (i32, [*]const u8, u32, i64) callconv(.c) i32, .{ .name = "delete", .library_name = "edge_kv_v1" });
    const kv_expire = @extern(*const fn (i32, [*]const u8, u32, i64) callconv(.c) i32, .{ .name = "expire", .library_name = "edge_kv_v1" });
    const kv_incr = @extern(*const fn (i32, [*]const u8, u32, i64, i64, *i64) callconv(.c) i32, .{ .name = "incr", .library_name = "edge_kv_v1" });
    const kv_batch = @extern(*const fn (i32, [*]const u8, u32, [*]u8, u32) callconv(.c) i32, .{ .name = "batch", .library_name = "edge_kv_v1" });
    const kv_scan = @extern(*const fn (i32, [*]const u8, u32, [*]const u8, u32, u32, [*]u8, u32) callconv(.c) i32, .{ .name = "scan", .library_name = "edge_kv_v1" });

    extern "edge_net_v1" fn tcp_dial(address: [*]const u8, len: u32, flags: u32, timeout: u32) i32;
    extern "edge_net_v1" fn tcp_read(h: i32, buf: [*]u8, limit: u32, timeout: u32) i32;
    extern "edge_net_v1" fn tcp_write(h: i32, data: [*]const u8, len: u32, timeout: u32) i32;
    extern "edge_net_v1" fn tcp_close(h: i32) i32;
    extern "edge_net_v1" fn http_do(head: [*]const u8, len: u32, body: [*]const u8, body_len: u32, timeout: u32) i32;
    extern "edge_net_v1" fn http_status(h: i32) i32;
    extern "edge_net_v1" fn http_header(h: i32, name: [*]const u8, len: u32, buf: [*]u8, limit: u32) i64;
    extern "edge_net_v1" fn http_header_names(h: i32, buf: [*]u8, limit: u32) i64;
    extern "edge_net_v1" fn http_read(h: i32, buf: [*]u8, limit: u32) i64;
    extern "edge_net_v1" fn http_close(h: i32) i32;

    const php_call = @extern(*const fn ([*]const u8, u32, [*]const u8, u32, [*]const u8, u32, u32) callconv(.c) i32, .{ .name = "call", .library_name = "edge_php_v1" });
    const php_status = @extern(*const fn (i32) callconv(.c) i32, .{ .name = "status", .library_name = "edge_php_v1" });
    const php_header = @extern(*const fn (i32, [*]const u8, u32, [*]u8, u32) callconv(.c) i64, .{ .name = "header", .library_name = "edge_php_v1" });
    const php_header_names = @extern(*const fn (i32, [*]u8, u32) callconv(.c) i64, .{ .name = "header_names", .library_name = "edge_php_v1" });
    const php_read = @extern(*const fn (i32, [*]u8, u32) callconv(.c) i64, .{ .name = "read", .library_name = "edge_php_v1" });
    const php_close = @extern(*const fn (i32) callconv(.c) i32, .{ .name = "close", .library_name = "edge_php_v1" });

    const ws_send = @extern(*const fn (i64, u32, [*]const u8, u32) callconv(.c) i32, .{ .name = "send", .library_name = "edge_ws_v1" });
    const ws_publish = @extern(*const fn ([*]const u8, u32, u32, [*]const u8, u32) callconv(.c) i32, .{ .name = "publish", .library_name = "edge_ws_v1" });
    const ws_subscribe = @extern(*const fn (i64, [*]const u8, u32) callconv(.c) i32, .{ .name = "subscribe", .library_name = "edge_ws_v1" });
    const ws_unsubscribe = @extern(*const fn (i64, [*]const u8, u32) callconv(.c) i32, .{ .name = "unsubscribe", .library_name = "edge_ws_v1" });
    const ws_user = @extern(*const fn (i64, [*]u8, u32) callconv(.c) i32, .{ .name = "user", .library_name = "edge_ws_v1" });
    const ws_set_user = @extern(*const fn (i64, [*]const u8, u32) callconv(.c) i32, .{ .name = "set_user", .library_name = "edge_ws_v1" });
    const ws_get = @extern(*const fn (i64, [*]const u8, u32, [*]u8, u32) callconv(.c) i32, .{ .name = "get", .library_name = "edge_ws_v1" });
    const ws_set = @extern(*const fn (i64, [*]const u8, u32, [*]const u8, u32) callconv(.c) i32, .{ .name = "set", .library_name = "edge_ws_v1" });
    const ws_disconnect = @extern(*const fn (i64, u32, [*]const u8, u32) callconv(.c) i32, .{ .name = "close", .library_name = "edge_ws_v1" });

    const route_to = @extern(*const fn ([*]const u8, u32) callconv(.c) i32, .{ .name = "to", .library_name = "edge_route_v1" });
    const route_pool = @extern(*const fn ([*]const u8, u32) callconv(.c) i32, .{ .name = "pool", .library_name = "edge_route_v1" });
    const route_rewrite = @extern(*const fn ([*]const u8, u32) callconv(.c) i32, .{ .name = "rewrite", .library_name = "edge_route_v1" });
    const route_redirect = @extern(*const fn (u32, [*]const u8, u32) callconv(.c) i32, .{ .name = "redirect", .library_name = "edge_route_v1" });
    const route_status = @extern(*const fn (u32) callconv(.c) i32, .{ .name = "status", .library_name = "edge_route_v1" });
    const route_cache = @extern(*const fn ([*]const u8, u32, u32) callconv(.c) i32, .{ .name = "cache", .library_name = "edge_route_v1" });

    const metrics_define = @extern(*const fn (u32, [*]const u8, u32) callconv(.c) i32, .{ .name = "define", .library_name = "edge_metrics_v1" });
    const metrics_add = @extern(*const fn (i32, i64) callconv(.c) i32, .{ .name = "add", .library_name = "edge_metrics_v1" });
    const metrics_set = @extern(*const fn (i32, i64) callconv(.c) i32, .{ .name = "set", .library_name = "edge_metrics_v1" });
    const metrics_observe = @extern(*const fn (i32, i64) callconv(.c) i32, .{ .name = "observe", .library_name = "edge_metrics_v1" });

    extern "edge_sched_v1" fn every(ms: u32) i32;
    extern "edge_sched_v1" fn queue_push(data: [*]const u8, len: u32) i32;
    extern "edge_sched_v1" fn queue_pop(buf: [*]u8, limit: u32) i32;
};

/// A host for `zig test`, in this process: set what a request is like, call the plugin's functions, look at what they did.
///
///     test "says hello" {
///         const t = edge.testing.start(.{ .headers = &.{.{ .name = "user-agent", .value = "zig" }} });
///         _ = @import("hello.zig").request(t.request, t.response);
///         try std.testing.expectEqualStrings("zig", t.response.headers.get("x-hello").?);
///     }
///
/// What it does not have (stores, network, PHP, WebSockets) is error.Unsupported.
pub const testing = struct {
    pub const Setup = struct {
        method: []const u8 = "GET",
        uri: []const u8 = "/",
        headers: []const Header = &.{},
        body: []const u8 = "",
        config: []const u8 = "",
    };

    pub const Host = struct { request: *Request, response: *Response };

    const Field = struct { kind: u32, name: []const u8, value: []const u8 };

    var memory = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    var setup: Setup = .{};
    var fields: std.ArrayList(Field) = .empty;
    var bodies: [2]std.ArrayList(u8) = .{ .empty, .empty };
    var written: [2]bool = .{ false, false };
    var read_to: usize = 0;
    var code: u32 = 200;
    var lines: std.ArrayList(u8) = .empty;
    var request_vars: std.ArrayList(Header) = .empty;

    /// Begins a request and forgets the one before.
    pub fn start(s: Setup) Host {
        begin();
        _ = memory.reset(.retain_capacity);
        setup = s;
        fields = .empty;
        bodies = .{ .empty, .empty };
        written = .{ false, false };
        read_to = 0;
        code = 200;
        lines = .empty;
        request_vars = .empty;
        for (s.headers) |h| push(0, h.name, h.value);
        appendTo(&bodies[0], s.body);
        current = .{};
        return .{ .request = &current.request, .response = &current.response };
    }

    /// The body of the answer, or of the request after a change.
    pub fn written_body(kind: enum { request, response }) []const u8 {
        return bodies[@backingInt(kind)].items;
    }

    /// What was logged, a line each.
    pub fn logged() []const u8 {
        return lines.items;
    }

    fn appendTo(list: *std.ArrayList(u8), bytes: []const u8) void {
        list.appendSlice(memory.allocator(), bytes) catch @panic("out of memory");
    }

    fn push(kind: u32, name: []const u8, value: []const u8) void {
        const lower = std.ascii.allocLowerString(memory.allocator(), name) catch @panic("out of memory");
        const kept = memory.allocator().dupe(u8, value) catch @panic("out of memory");
        fields.append(memory.allocator(), .{ .kind = kind, .name = lower, .value = kept }) catch @panic("out of memory");
    }

    fn give(text: []const u8, buf: [*]u8, limit: u32) u32 {
        if (text.len <= limit) @memcpy(buf[0..text.len], text);
        return @intCast(text.len);
    }

    fn giveList(kind: u32, name: ?[]const u8, buf: [*]u8, limit: u32) u64 {
        var list: std.ArrayList(u8) = .empty;
        var count: u64 = 0;
        for (fields.items, 0..) |f, i| {
            if (f.kind != kind) continue;
            if (name) |n| {
                if (!std.ascii.eqlIgnoreCase(f.name, n)) continue;
                appendTo(&list, f.value);
            } else {
                const seen = for (fields.items[0..i]) |g| {
                    if (g.kind == kind and std.mem.eql(u8, g.name, f.name)) break true;
                } else false;
                if (seen) continue;
                appendTo(&list, f.name);
            }
            appendTo(&list, "\x00");
            count += 1;
        }
        return count << 32 | give(list.items, buf, limit);
    }

    fn drop(kind: u32, name: []const u8) void {
        var kept: usize = 0;
        for (fields.items) |f| {
            if (f.kind == kind and std.ascii.eqlIgnoreCase(f.name, name)) continue;
            fields.items[kept] = f;
            kept += 1;
        }
        fields.items.len = kept;
    }

    /// The functions that take the place of the host's.
    const host = struct {
        fn enable_features(features: u32) u32 {
            return features & 7;
        }
        fn get_config(buf: [*]u8, limit: u32) u32 {
            return give(setup.config, buf, limit);
        }
        fn log(_: i32, message: [*]const u8, len: u32) void {
            appendTo(&lines, message[0..len]);
            appendTo(&lines, "\n");
        }
        fn log_enabled(level: i32) u32 {
            return @intFromBool(level >= 0);
        }
        fn get_method(buf: [*]u8, limit: u32) u32 {
            return give(setup.method, buf, limit);
        }
        fn set_method(method: [*]const u8, len: u32) void {
            setup.method = memory.allocator().dupe(u8, method[0..len]) catch @panic("out of memory");
        }
        fn get_uri(buf: [*]u8, limit: u32) u32 {
            return give(setup.uri, buf, limit);
        }
        fn set_uri(uri: [*]const u8, len: u32) void {
            setup.uri = memory.allocator().dupe(u8, uri[0..len]) catch @panic("out of memory");
        }
        fn get_protocol_version(buf: [*]u8, limit: u32) u32 {
            return give("HTTP/1.1", buf, limit);
        }
        fn get_source_addr(buf: [*]u8, limit: u32) u32 {
            return give("192.0.2.1:1234", buf, limit);
        }
        fn get_header_names(kind: u32, buf: [*]u8, limit: u32) u64 {
            return giveList(kind, null, buf, limit);
        }
        fn get_header_values(kind: u32, name: [*]const u8, name_len: u32, buf: [*]u8, limit: u32) u64 {
            return giveList(kind, name[0..name_len], buf, limit);
        }
        fn set_header_value(kind: u32, name: [*]const u8, name_len: u32, value: [*]const u8, len: u32) void {
            drop(kind, name[0..name_len]);
            push(kind, name[0..name_len], value[0..len]);
        }
        fn add_header_value(kind: u32, name: [*]const u8, name_len: u32, value: [*]const u8, len: u32) void {
            push(kind, name[0..name_len], value[0..len]);
        }
        fn remove_header(kind: u32, name: [*]const u8, name_len: u32) void {
            drop(kind, name[0..name_len]);
        }
        fn read_body(kind: u32, buf: [*]u8, limit: u32) u64 {
            const left = bodies[kind].items[read_to..];
            const n = @min(left.len, limit);
            @memcpy(buf[0..n], left[0..n]);
            read_to += n;
            return @as(u64, @intFromBool(n == left.len)) << 32 | n;
        }
        fn write_body(kind: u32, body: [*]const u8, len: u32) void {
            if (!written[kind]) bodies[kind] = .empty;
            written[kind] = true;
            appendTo(&bodies[kind], body[0..len]);
        }
        fn get_status_code() u32 {
            return code;
        }
        fn set_status_code(status: u32) void {
            code = status;
        }
        fn has(_: [*]const u8, _: u32) i32 {
            return 0;
        }
        fn now_ms() i64 {
            return 1_700_000_000_000;
        }
        fn deadline_ms() i64 {
            return -1;
        }
        fn var_get(name: [*]const u8, len: u32, buf: [*]u8, limit: u32) i32 {
            for (request_vars.items) |v| {
                if (std.mem.eql(u8, v.name, name[0..len])) return @intCast(give(v.value, buf, limit));
            }
            return -8;
        }
        fn var_set(name: [*]const u8, len: u32, value: [*]const u8, value_len: u32) i32 {
            const a = memory.allocator();
            const v = Header{ .name = a.dupe(u8, name[0..len]) catch return -6, .value = a.dupe(u8, value[0..value_len]) catch return -6 };
            request_vars.insert(a, 0, v) catch return -6;
            return 0;
        }
        fn last_error(buf: [*]u8, limit: u32) i32 {
            return @intCast(give("edge.testing does not have this", buf, limit));
        }
        fn set_error(_: [*]const u8, _: u32) i32 {
            return 0;
        }
        fn flush() i32 {
            return 0;
        }

        // What there is not.
        fn kv_open(_: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn kv_get(_: i32, _: [*]const u8, _: u32, _: [*]u8, _: u32, _: ?*[2]i64) i32 {
            return -5;
        }
        fn kv_set(_: i32, _: [*]const u8, _: u32, _: [*]const u8, _: u32, _: i64, _: u32, _: i64) i32 {
            return -5;
        }
        fn kv_delete(_: i32, _: [*]const u8, _: u32, _: i64) i32 {
            return -5;
        }
        fn kv_expire(_: i32, _: [*]const u8, _: u32, _: i64) i32 {
            return -5;
        }
        fn kv_incr(_: i32, _: [*]const u8, _: u32, _: i64, _: i64, _: *i64) i32 {
            return -5;
        }
        fn kv_batch(_: i32, _: [*]const u8, _: u32, _: [*]u8, _: u32) i32 {
            return -5;
        }
        fn kv_scan(_: i32, _: [*]const u8, _: u32, _: [*]const u8, _: u32, _: u32, _: [*]u8, _: u32) i32 {
            return -5;
        }
        fn php_call(_: [*]const u8, _: u32, _: [*]const u8, _: u32, _: [*]const u8, _: u32, _: u32) i32 {
            return -5;
        }
        fn php_status(_: i32) i32 {
            return -5;
        }
        fn php_header(_: i32, _: [*]const u8, _: u32, _: [*]u8, _: u32) i64 {
            return -5;
        }
        fn php_header_names(_: i32, _: [*]u8, _: u32) i64 {
            return -5;
        }
        fn php_read(_: i32, _: [*]u8, _: u32) i64 {
            return -5;
        }
        fn php_close(_: i32) i32 {
            return -5;
        }
        fn ws_send(_: i64, _: u32, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn ws_publish(_: [*]const u8, _: u32, _: u32, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn ws_subscribe(_: i64, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn ws_unsubscribe(_: i64, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn ws_disconnect(_: i64, _: u32, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn ws_user(_: i64, _: [*]u8, _: u32) i32 {
            return -5;
        }
        fn ws_set_user(_: i64, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn ws_get(_: i64, _: [*]const u8, _: u32, _: [*]u8, _: u32) i32 {
            return -5;
        }
        fn ws_set(_: i64, _: [*]const u8, _: u32, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn route_to(_: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn route_pool(_: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn route_rewrite(_: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn route_redirect(_: u32, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn route_status(_: u32) i32 {
            return -5;
        }
        fn route_cache(_: [*]const u8, _: u32, _: u32) i32 {
            return -5;
        }
        fn metrics_define(_: u32, _: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn metrics_add(_: i32, _: i64) i32 {
            return -5;
        }
        fn metrics_set(_: i32, _: i64) i32 {
            return -5;
        }
        fn metrics_observe(_: i32, _: i64) i32 {
            return -5;
        }
        fn tcp_dial(_: [*]const u8, _: u32, _: u32, _: u32) i32 {
            return -5;
        }
        fn tcp_read(_: i32, _: [*]u8, _: u32, _: u32) i32 {
            return -5;
        }
        fn tcp_write(_: i32, _: [*]const u8, _: u32, _: u32) i32 {
            return -5;
        }
        fn tcp_close(_: i32) i32 {
            return -5;
        }
        fn http_do(_: [*]const u8, _: u32, _: [*]const u8, _: u32, _: u32) i32 {
            return -5;
        }
        fn http_status(_: i32) i32 {
            return -5;
        }
        fn http_header(_: i32, _: [*]const u8, _: u32, _: [*]u8, _: u32) i64 {
            return -5;
        }
        fn http_header_names(_: i32, _: [*]u8, _: u32) i64 {
            return -5;
        }
        fn http_read(_: i32, _: [*]u8, _: u32) i64 {
            return -5;
        }
        fn http_close(_: i32) i32 {
            return -5;
        }
        fn every(_: u32) i32 {
            return -5;
        }
        fn queue_push(_: [*]const u8, _: u32) i32 {
            return -5;
        }
        fn queue_pop(_: [*]u8, _: u32) i32 {
            return -5;
        }
    };
};
