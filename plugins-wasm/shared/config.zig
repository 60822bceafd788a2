//! Reads a plugin's configuration, JSON as the server hands it over, and refuses what is wrong with the key and the reason.
const std = @import("std");
const edge = @import("edge");

pub const Wrong = error{Config};
pub const Value = std.json.Value;

/// What the plugin keeps of its configuration lives as long as the instance.
var kept = std.heap.ArenaAllocator.init(edge.allocator);

pub fn keep() std.mem.Allocator {
    return kept.allocator();
}

pub fn refuse(comptime format: []const u8, arguments: anytype) Wrong {
    edge.refuse(std.fmt.allocPrint(keep(), format, arguments) catch "config: no memory for the reason");
    return Wrong.Config;
}

/// A map of the configuration.
pub const Section = struct {
    path: []const u8,
    map: std.json.ObjectMap,

    /// The value of a key; null is as good as absent.
    pub fn get(s: Section, key: []const u8) ?Value {
        const value = s.map.get(key) orelse return null;
        return if (value == .null) null else value;
    }

    pub fn wrong(s: Section, key: []const u8, why: []const u8) Wrong {
        return refuse("{s}.{s}: {s}", .{ s.path, key, why });
    }

    pub fn text(s: Section, key: []const u8, default: []const u8) Wrong![]const u8 {
        const value = s.get(key) orelse return default;
        return if (value == .string) value.string else s.wrong(key, "must be a text; put it into quotes");
    }

    pub fn boolean(s: Section, key: []const u8, default: bool) Wrong!bool {
        const value = s.get(key) orelse return default;
        return if (value == .bool) value.bool else s.wrong(key, "must be true or false");
    }

    pub fn number(s: Section, key: []const u8, default: i64, least: i64, most: i64) Wrong!i64 {
        const value = s.get(key) orelse return default;
        if (value == .integer and value.integer >= least and value.integer <= most) return value.integer;
        return refuse("{s}.{s}: must be a whole number from {d} to {d}", .{ s.path, key, least, most });
    }

    pub fn list(s: Section, key: []const u8, most: usize) Wrong![]const Value {
        const value = s.get(key) orelse return &.{};
        if (value != .array) return s.wrong(key, "must be a list");
        if (value.array.items.len > most) return refuse("{s}.{s}: has {d} entries, at most {d} are allowed", .{ s.path, key, value.array.items.len, most });
        return value.array.items;
    }

    pub fn texts(s: Section, key: []const u8, most: usize) Wrong![]const []const u8 {
        const values = try s.list(key, most);
        const out = keep().alloc([]const u8, values.len) catch return s.wrong(key, "no memory");
        for (values, out) |value, *to| {
            if (value != .string) return s.wrong(key, "must be a list of texts; put them into quotes");
            to.* = value.string;
        }
        return out;
    }
};

/// The whole configuration with these keys; nothing at all is a map without any.
pub fn read(json: []const u8, known: []const []const u8) Wrong!Section {
    const trimmed = std.mem.trim(u8, json, " \r\n\t");
    const text = keep().dupe(u8, if (trimmed.len == 0) "{}" else trimmed) catch return refuse("config: no memory", .{});
    const value = std.json.parseFromSliceLeaky(Value, keep(), text, .{}) catch {
        return refuse("config: must be a map of keys, not the text \"{s}\"", .{text[0..@min(text.len, 40)]});
    };
    return section("config", value, known);
}

pub fn section(path: []const u8, value: Value, known: []const []const u8) Wrong!Section {
    if (value != .object) return refuse("{s}: must be a map of keys", .{path});
    for (value.object.keys()) |key| {
        for (known) |name| {
            if (std.mem.eql(u8, key, name)) break;
        } else {
            const names = std.mem.join(keep(), ", ", known) catch "others";
            return refuse("{s}.{s}: there is no such key; there are {s}", .{ path, key, names });
        }
    }
    return .{ .path = path, .map = value.object };
}
