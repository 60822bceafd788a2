//! The KV driver of sdk/conformance in Zig: a store in memory.

const std = @import("std");
const edge = @import("edge");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

const Item = struct { value: []u8, ends: ?i64 = null, version: i64 = 0 };

var items: std.StringHashMapUnmanaged(Item) = .empty;

fn end(ttl: i64) ?i64 {
    return if (ttl > 0) edge.operationTime() + ttl else null;
}

/// The item of a key that has not ended.
fn live(key: []const u8) ?*Item {
    const item = items.getPtr(key) orelse return null;
    if ((item.ends orelse return item) > edge.operationTime()) return item;
    forget(key);
    return null;
}

fn forget(key: []const u8) void {
    const gone = items.fetchRemove(key) orelse return;
    edge.allocator.free(gone.value.value);
    edge.allocator.free(gone.key);
}

fn keep(key: []const u8, value: []const u8, ends: ?i64, version: i64) !void {
    const copy = try edge.allocator.dupe(u8, value);
    if (items.getPtr(key)) |item| {
        edge.allocator.free(item.value);
        item.* = .{ .value = copy, .ends = ends, .version = version };
        return;
    }
    try items.put(edge.allocator, try edge.allocator.dupe(u8, key), .{ .value = copy, .ends = ends, .version = version });
}

pub const kv = struct {
    pub const features: edge.DriverFeatures = .{ .ttl = true, .cas = true, .evict = true };

    pub fn open(config: []const u8) !void {
        if (std.mem.startsWith(u8, config, "{\"refuse\":")) return error.Invalid;
    }

    pub fn get(key: []const u8) !edge.Reply {
        const item = live(key) orelse return error.NotFound;
        return .{ .value = item.value, .version = item.version, .ttl = if (item.ends) |e| e - edge.operationTime() else null };
    }

    pub fn set(key: []const u8, value: []const u8, options: edge.SetOptions) !edge.Reply {
        const old = live(key);
        if (options.if_absent and old != null) return error.Exists;
        if (options.if_present and old == null) return error.Condition;
        const had: i64 = if (old) |item| item.version else 0;
        if (options.if_version) |v| if (v != had or old == null) return error.Condition;
        const ends = if (options.keep_ttl and old != null) old.?.ends else end(options.ttl);
        try keep(key, value, ends, had + 1);
        return .{ .version = had + 1 };
    }

    pub fn delete(key: []const u8, version: i64) !edge.Reply {
        const item = live(key) orelse return error.NotFound;
        if (version != 0 and version != item.version) return error.Condition;
        forget(key);
        return .{};
    }

    pub fn incr(key: []const u8, delta: i64, ttl: i64) !i64 {
        const old = live(key);
        const number = if (old) |item| std.fmt.parseInt(i64, item.value, 10) catch return error.Invalid else 0;
        const sum = number +% delta;
        const text = try std.fmt.allocPrint(edge.arena(), "{d}", .{sum});
        try keep(key, text, if (old) |item| item.ends else end(ttl), if (old) |item| item.version + 1 else 1);
        return sum;
    }

    pub fn expire(key: []const u8, ttl: i64) !edge.Reply {
        const item = live(key) orelse return error.NotFound;
        item.ends = end(ttl);
        return .{};
    }

    pub fn scan(prefix: []const u8, cursor: []const u8, max: u32) !edge.Page {
        var keys: std.ArrayList([]const u8) = .empty;
        var all = items.keyIterator();
        while (all.next()) |key| {
            if (std.mem.startsWith(u8, key.*, prefix) and std.mem.lessThan(u8, cursor, key.*)) try keys.append(edge.arena(), key.*);
        }
        std.mem.sort([]const u8, keys.items, {}, less);
        if (keys.items.len <= max) return .{ .keys = keys.items };
        return .{ .keys = keys.items[0..max], .cursor = keys.items[max - 1] };
    }

    pub fn clear() !edge.Reply {
        var all = items.keyIterator();
        var keys: std.ArrayList([]const u8) = .empty;
        while (all.next()) |key| try keys.append(edge.arena(), key.*);
        for (keys.items) |key| forget(key);
        return .{};
    }

    pub fn tick(now: i64) !void {
        edge.log.info(try std.fmt.allocPrint(edge.arena(), "ticked {d}", .{now}));
    }

    pub fn close() void {
        edge.log.info("closed");
    }
};

fn less(_: void, a: []const u8, b: []const u8) bool {
    return std.mem.lessThan(u8, a, b);
}
