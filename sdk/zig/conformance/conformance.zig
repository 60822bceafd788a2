//! The guest of sdk/conformance in Zig; the README there says what it does.

const std = @import("std");
const edge = @import("edge");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

var scripts: struct { request: []const u8, response: []const u8 } = .{ .request = "x-request", .response = "x-response" };
var count: u32 = 0;
var started: []const u8 = "";

pub fn init() !void {
    const config = edge.config();
    if (std.mem.eql(u8, config, "role=origin")) scripts = .{ .request = "x-origin", .response = "x-origin-response" };
    if (std.mem.startsWith(u8, config, "start=")) {
        var s = Script{};
        try s.run(config["start=".len..]);
        started = try edge.allocator.dupe(u8, try s.output());
    }
}

pub fn configure(config: []const u8) !void {
    if (!std.mem.startsWith(u8, config, "refuse=")) return;
    edge.refuse(config["refuse=".len..]);
    return error.Refused;
}

pub fn request(req: *edge.Request, res: *edge.Response) !edge.Action {
    var s = Script{ .req = req, .res = res };
    try s.run(req.headers.get(scripts.request) orelse "");
    return s.action;
}

pub fn response(req: *edge.Request, res: *edge.Response) !void {
    var s = Script{ .req = req, .res = res };
    try s.run(req.headers.get(scripts.response) orelse "");
}

pub fn route(req: *edge.Request, router: edge.Router) !bool {
    var s = Script{ .req = req, .router = router };
    try s.run(req.headers.get("x-route") orelse "");
    return s.decided;
}

pub fn tick(_: i64) !void {
    while (try edge.queue.pop()) |item| {
        var s = Script{};
        try s.run(item);
    }
}

pub const websocket = struct {
    pub fn open(conn: edge.Connection, req: *edge.Request) !u32 {
        var s = Script{ .req = req, .conn = conn };
        try s.run(req.headers.get("x-open") orelse "");
        return s.refused;
    }
    pub fn message(conn: edge.Connection, m: edge.Message) !u32 {
        if (!m.is_text) {
            try conn.sendBytes(m.data);
            return 0;
        }
        var s = Script{ .conn = conn };
        try s.run(try edge.arena().dupe(u8, m.data));
        const output = try s.output();
        if (output.len > 0) try conn.send(output);
        if (s.closing) |c| try conn.close(c.code, c.reason);
        return 0;
    }
    pub fn close(_: edge.Connection, code: u32) void {
        edge.log.info(std.fmt.allocPrint(edge.arena(), "closed {d}", .{code}) catch "closed");
    }
};

const Operation = enum {
    next,
    done,
    reply,
    refuse,
    method,
    @"set-method",
    uri,
    @"set-uri",
    proto,
    peer,
    status,
    @"set-status",
    ctx,
    failed,
    names,
    get,
    has,
    values,
    set,
    add,
    del,
    put,
    read,
    @"read-all",
    sum,
    write,
    fill,
    config,
    enable,
    log,
    say,
    @"log-enabled",
    count,
    started,
    panic,
    @"var",
    @"set-var",
    @"has-import",
    now,
    deadline,
    flush,
    @"last-error",
    @"kv-get",
    @"kv-entry",
    @"kv-set",
    @"kv-delete",
    @"kv-expire",
    @"kv-incr",
    @"kv-batch",
    @"kv-scan",
    http,
    @"http-header",
    tcp,
    php,
    @"php-header",
    counter,
    gauge,
    @"gauge-add",
    histogram,
    every,
    push,
    pop,
    publish,
    @"route-to",
    @"route-pool",
    @"route-redirect",
    @"route-status",
    @"route-rewrite",
    @"route-cache",
    @"ws-send",
    @"ws-subscribe",
    @"ws-unsubscribe",
    @"ws-user",
    @"ws-set-user",
    @"ws-get",
    @"ws-set",
    @"ws-close",
};

const Words = struct {
    list: []const []const u8,

    /// at is an argument, decoded; empty if there is none.
    fn at(w: Words, i: usize) []const u8 {
        return if (i < w.list.len) decode(w.list[i]) else "";
    }
    fn number(w: Words, i: usize) i64 {
        return std.fmt.parseInt(i64, w.at(i), 10) catch 0;
    }
    fn natural(w: Words, i: usize) u32 {
        return std.fmt.parseInt(u32, w.at(i), 10) catch 0;
    }
    fn is(w: Words, i: usize, text: []const u8) bool {
        return std.mem.eql(u8, w.at(i), text);
    }
};

/// One that runs.
const Script = struct {
    req: *edge.Request = undefined,
    res: *edge.Response = undefined,
    router: edge.Router = .{},
    conn: edge.Connection = .{ .id = 0 },
    action: edge.Action = edge.next,
    decided: bool = false,
    refused: u32 = 0,
    closing: ?struct { code: u32, reason: []const u8 } = null,
    results: std.ArrayList([]const u8) = .empty,
    ended: bool = false,

    fn output(s: *Script) ![]const u8 {
        const all = try std.mem.join(edge.arena(), ";", s.results.items);
        s.results = .empty;
        return all;
    }

    fn run(s: *Script, script: []const u8) !void {
        if (script.len == 0) return;
        var operations = std.mem.splitScalar(u8, script, ';');
        while (operations.next()) |operation| {
            var parts: std.ArrayList([]const u8) = .empty;
            var words = std.mem.splitScalar(u8, operation, ',');
            while (words.next()) |word| try parts.append(edge.arena(), word);
            s.do(.{ .list = parts.items }) catch |e| try s.raw(try errorName(e));
            if (s.ended) return;
        }
    }

    fn do(s: *Script, w: Words) !void {
        const operation = std.meta.stringToEnum(Operation, w.list[0]) orelse
            return s.text(try std.mem.concat(edge.arena(), u8, &.{ "?", w.list[0] }));
        switch (operation) {
            .next => s.end(edge.nextWith(w.natural(1))),
            .done => s.end(edge.answered),
            .reply => s.end(s.res.send(w.natural(1), w.at(2), try s.output())),
            .refuse => {
                s.refused = w.natural(1);
                s.ended = true;
            },

            .method => try s.text(s.req.method()),
            .@"set-method" => s.req.setMethod(w.at(1)),
            .uri => try s.text(s.req.uri()),
            .@"set-uri" => s.req.setUri(w.at(1)),
            .proto => try s.text(s.req.protocol()),
            .peer => try s.text(s.req.remoteAddress()),
            .status => try s.integer(s.res.status()),
            .@"set-status" => s.res.setStatus(w.natural(1)),
            .ctx => try s.integer(s.res.ctx),
            .failed => try s.truth(s.res.failed),

            .names => try s.list(s.headers(w).names()),
            .get => try s.text(s.headers(w).get(w.at(2)) orelse ""),
            .has => try s.truth(s.headers(w).has(w.at(2))),
            .values => try s.list(s.headers(w).values(w.at(2))),
            .set => s.headers(w).set(w.at(2), w.at(3)),
            .add => s.headers(w).add(w.at(2), w.at(3)),
            .del => s.headers(w).remove(w.at(2)),
            .put => s.headers(w).set(w.at(2), try s.output()),

            .read => {
                const to = try edge.arena().alloc(u8, w.natural(2));
                try s.text(to[0..s.body(w).read(to)]);
            },
            .@"read-all" => try s.text(s.body(w).readAll()),
            .sum => try s.sum(s.body(w)),
            .write => s.body(w).write(w.at(2)),
            .fill => {
                const piece = w.at(2);
                for (0..w.natural(3)) |_| s.body(w).write(piece);
            },

            .config => try s.text(edge.config()),
            .enable => try s.enable(w.at(1)),
            .log => edge.log.write(level(w.at(1)), w.at(2)),
            .say => edge.log.write(level(w.at(1)), try s.output()),
            .@"log-enabled" => try s.truth(edge.log.enabled(level(w.at(1)))),
            .count => {
                count += 1;
                try s.integer(count);
            },
            .started => try s.raw(started),
            .panic => @panic(w.at(1)),

            .@"var" => try s.text(try edge.vars.get(w.at(1))),
            .@"set-var" => try edge.vars.set(w.at(1), w.at(2)),
            .@"has-import" => try s.truth(edge.has(w.at(1))),
            .now => try s.integer(edge.now()),
            .deadline => try s.integer(edge.deadline() orelse -1),
            .flush => try edge.flush(),
            .@"last-error" => try s.text(edge.lastError()),

            .@"kv-get" => try s.text(try (try edge.Store.open(w.at(1))).get(w.at(2))),
            .@"kv-entry" => {
                const e = try (try edge.Store.open(w.at(1))).entry(w.at(2));
                try s.list(&.{ e.value, try decimal(e.ttl orelse -1), try decimal(e.version) });
            },
            .@"kv-set" => try (try edge.Store.open(w.at(1))).set(w.at(2), w.at(3), .{
                .ttl = w.number(4),
                .if_absent = has(w.at(5), "nx"),
                .if_present = has(w.at(5), "xx"),
                .keep_ttl = has(w.at(5), "keep-ttl"),
                .if_version = if (has(w.at(5), "version")) w.number(6) else null,
            }),
            .@"kv-delete" => try (try edge.Store.open(w.at(1))).delete(w.at(2), w.number(3)),
            .@"kv-expire" => try s.truth(try (try edge.Store.open(w.at(1))).expire(w.at(2), w.number(3))),
            .@"kv-incr" => try s.integer(try (try edge.Store.open(w.at(1))).incr(w.at(2), w.number(3), w.number(4))),
            .@"kv-batch" => try s.batch(w),
            .@"kv-scan" => {
                const keys = try edge.arena().dupe([]const u8, try (try edge.Store.open(w.at(1))).keys(w.at(2), w.natural(3)));
                std.mem.sort([]const u8, keys, {}, less);
                try s.list(keys);
            },

            .http => try s.http(w),
            .@"http-header" => try s.header(try edge.fetch("GET", w.at(1), .{})),
            .@"php-header" => try s.header(try edge.php(w.at(1), "GET", w.at(2), .{})),
            .tcp => {
                const socket = try edge.Socket.connect(w.at(1), .{});
                defer socket.close();
                try socket.write(w.at(2), 0);
                var all: std.ArrayList(u8) = .empty;
                while (true) {
                    var piece: [4096]u8 = undefined;
                    const n = try socket.read(&piece, 0);
                    if (n == 0) break;
                    try all.appendSlice(edge.arena(), piece[0..n]);
                }
                try s.text(all.items);
            },
            .php => {
                const answer = try edge.php(w.at(1), w.at(2), w.at(3), .{ .body = w.at(4) });
                defer answer.close();
                try s.list(&.{ try decimal(answer.status()), try answer.readAll() });
            },

            .counter => try (try edge.Counter.define(w.at(1))).add(w.number(2)),
            .gauge => try (try edge.Gauge.define(w.at(1))).set(w.number(2)),
            .@"gauge-add" => try (try edge.Gauge.define(w.at(1))).add(w.number(2)),
            .histogram => try (try edge.Histogram.define(w.at(1))).observe(w.number(2)),
            .every => try edge.every(w.natural(1)),
            .push => try edge.queue.push(w.at(1)),
            .pop => try s.text(try edge.queue.pop() orelse return error.NotFound),
            .publish => try edge.publish(w.at(1), w.at(2)),

            .@"route-to" => {
                try s.router.to(w.at(1));
                s.decided = true;
            },
            .@"route-pool" => {
                try s.router.pool(w.at(1));
                s.decided = true;
            },
            .@"route-redirect" => {
                try s.router.redirect(w.natural(1), w.at(2));
                s.decided = true;
            },
            .@"route-status" => {
                try s.router.status(w.natural(1));
                s.decided = true;
            },
            .@"route-rewrite" => try s.router.rewrite(w.at(1)),
            .@"route-cache" => try s.router.cache(w.at(1), w.natural(2)),

            .@"ws-send" => try s.conn.send(w.at(1)),
            .@"ws-subscribe" => try s.conn.subscribe(w.at(1)),
            .@"ws-unsubscribe" => try s.conn.unsubscribe(w.at(1)),
            .@"ws-user" => try s.text(try s.conn.user()),
            .@"ws-set-user" => try s.conn.setUser(w.at(1)),
            .@"ws-get" => try s.text(try s.conn.get(w.at(1))),
            .@"ws-set" => try s.conn.set(w.at(1), w.at(2)),
            .@"ws-close" => s.closing = .{ .code = w.natural(1), .reason = w.at(2) },
        }
    }

    fn end(s: *Script, action: edge.Action) void {
        s.action = action;
        s.ended = true;
    }

    fn headers(s: *Script, w: Words) edge.Headers {
        if (w.is(1, "request")) return s.req.headers;
        if (w.is(1, "request-trailer")) return s.req.trailers;
        if (w.is(1, "response-trailer")) return s.res.trailers;
        return s.res.headers;
    }

    fn body(s: *Script, w: Words) edge.Body {
        return if (w.is(1, "request")) s.req.body else s.res.body;
    }

    fn sum(s: *Script, from: edge.Body) !void {
        var piece: [4096]u8 = undefined;
        var total: u32 = 0;
        var length: usize = 0;
        while (true) {
            const n = from.read(&piece);
            if (n == 0) break;
            for (piece[0..n]) |b| total +%= b;
            length += n;
        }
        try s.raw(try std.fmt.allocPrint(edge.arena(), "{d}-{d}", .{ length, total }));
    }

    fn enable(s: *Script, names: []const u8) !void {
        const on = edge.enable(.{ .buffer_request = has(names, "request"), .buffer_response = has(names, "response"), .trailers = has(names, "trailers") });
        var list_: std.ArrayList([]const u8) = .empty;
        if (on.buffer_request) try list_.append(edge.arena(), "request");
        if (on.buffer_response) try list_.append(edge.arena(), "response");
        if (on.trailers) try list_.append(edge.arena(), "trailers");
        try s.list(list_.items);
    }

    fn batch(s: *Script, w: Words) !void {
        const store = try edge.Store.open(w.at(1));
        var b = edge.Batch{};
        var kinds: std.ArrayList(u8) = .empty;
        for (2..w.list.len) |i| {
            var parts = std.mem.splitScalar(u8, w.at(i), ' ');
            const op = parts.next() orelse "";
            const key = parts.next() orelse "";
            const value = parts.next() orelse "";
            try kinds.append(edge.arena(), op[0]);
            switch (op[0]) {
                'g' => b.get(key),
                's' => b.set(key, value, .{}),
                'd' => b.delete(key),
                else => b.incr(key, std.fmt.parseInt(i64, value, 10) catch 0, 0),
            }
        }
        var texts: std.ArrayList([]const u8) = .empty;
        for (try store.batch(&b), kinds.items) |item, kind| try texts.append(edge.arena(), switch (item) {
            .failed => |e| try errorName(e),
            .value => |v| if (kind == 'g') try encode(v) else if (kind == 'i') try decimal(try item.number()) else "ok",
        });
        try s.raw(try std.mem.join(edge.arena(), ",", texts.items));
    }

    fn http(s: *Script, w: Words) !void {
        var list_: std.ArrayList(edge.Header) = .empty;
        for (4..@max(4, w.list.len)) |i| {
            const line = w.at(i);
            const colon = std.mem.indexOf(u8, line, ": ") orelse continue;
            try list_.append(edge.arena(), .{ .name = line[0..colon], .value = line[colon + 2 ..] });
        }
        const answer = try edge.fetch(w.at(1), w.at(2), .{ .body = w.at(3), .headers = list_.items });
        defer answer.close();
        try s.list(&.{ try decimal(answer.status()), answer.header("x-answer") orelse "", try answer.readAll() });
    }

    fn header(s: *Script, answer: edge.Answer) !void {
        defer answer.close();
        var all: std.ArrayList([]const u8) = .empty;
        for (answer.headerNames()) |name| if (std.mem.startsWith(u8, name, "x-s")) try all.append(edge.arena(), name);
        try all.appendSlice(edge.arena(), answer.headerValues("x-several"));
        try s.list(all.items);
    }

    fn raw(s: *Script, result: []const u8) !void {
        try s.results.append(edge.arena(), result);
    }
    fn text(s: *Script, result: []const u8) !void {
        try s.raw(try encode(result));
    }
    fn truth(s: *Script, result: bool) !void {
        try s.raw(if (result) "1" else "0");
    }
    fn integer(s: *Script, result: anytype) !void {
        try s.raw(try decimal(result));
    }
    fn list(s: *Script, all: []const []const u8) !void {
        var encoded: std.ArrayList([]const u8) = .empty;
        for (all) |item| try encoded.append(edge.arena(), try encode(item));
        try s.raw(try std.mem.join(edge.arena(), ",", encoded.items));
    }
};

fn less(_: void, a: []const u8, b: []const u8) bool {
    return std.mem.lessThan(u8, a, b);
}

fn has(list: []const u8, name: []const u8) bool {
    var all = std.mem.splitScalar(u8, list, '+');
    while (all.next()) |one| if (std.mem.eql(u8, one, name)) return true;
    return false;
}

fn level(name: []const u8) edge.log.Level {
    return if (name[0] == 'd') .debug else if (name[0] == 'i') .info else if (name[0] == 'w') .warn else .err;
}

fn decimal(n: anytype) ![]const u8 {
    return std.fmt.allocPrint(edge.arena(), "{d}", .{n});
}

/// The names of docs/abi.md: error.TooLarge is "!too-large".
fn errorName(e: anyerror) ![]const u8 {
    var name: std.ArrayList(u8) = .empty;
    try name.append(edge.arena(), '!');
    for (@errorName(e), 0..) |c, i| {
        if (i > 0 and std.ascii.isUpper(c)) try name.append(edge.arena(), '-');
        try name.append(edge.arena(), std.ascii.toLower(c));
    }
    return name.items;
}

fn encode(bytes: []const u8) ![]const u8 {
    var out: std.ArrayList(u8) = .empty;
    for (bytes) |c| {
        if (c < 0x21 or c > 0x7e or c == '%' or c == ',' or c == ';') {
            try out.appendSlice(edge.arena(), &.{ '%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15] });
        } else try out.append(edge.arena(), c);
    }
    return out.items;
}

fn decode(text: []const u8) []const u8 {
    const out = edge.arena().alloc(u8, text.len) catch @panic("out of memory");
    var n: usize = 0;
    var i: usize = 0;
    while (i < text.len) : (i += 1) {
        out[n] = text[i];
        if (text[i] == '%' and i + 2 < text.len) {
            out[n] = std.fmt.parseInt(u8, text[i + 1 .. i + 3], 16) catch '?';
            i += 2;
        }
        n += 1;
    }
    return out[0..n];
}
