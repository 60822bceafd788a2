//! Answers everything with 503 and a page, except for some addresses and paths. See README.md.
const std = @import("std");
const edge = @import("edge");
const config = @import("config");
const network = @import("network.zig");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

var enabled = true;
var networks: []network.Network = &.{};
var paths: []const []const u8 = &.{};
var retry_after: []const u8 = "";
var status: u32 = 503;
var html: []const u8 = "";
var json: []const u8 = "";

pub fn configure(text: []const u8) !void {
    const c = try config.read(text, &.{ "enabled", "addresses", "paths", "retry_after", "status", "title", "message", "html" });
    enabled = try c.boolean("enabled", true);
    const addresses = try c.texts("addresses", 1000);
    networks = try config.keep().alloc(network.Network, addresses.len);
    for (addresses, networks) |address, *to| {
        to.* = network.Network.parse(address) orelse return config.refuse("config.addresses: \"{s}\" is neither an address nor a network such as 10.0.0.0/8", .{address});
    }
    paths = try c.texts("paths", 1000);
    for (paths) |path| {
        const star = std.mem.indexOfScalar(u8, path, '*') orelse path.len;
        if (path.len == 0 or path[0] != '/' or star + 1 < path.len or star < path.len and !std.mem.endsWith(u8, path, "/*")) {
            return config.refuse("config.paths: \"{s}\" is no path such as /health or /status/*", .{path});
        }
    }
    const seconds = try c.number("retry_after", 600, 0, 7 * 86400);
    retry_after = if (seconds == 0) "" else try std.fmt.allocPrint(config.keep(), "{d}", .{seconds});
    status = @intCast(try c.number("status", 503, 400, 599));
    try write(try c.text("title", "Down for maintenance"), try c.text("message", "We will be back soon."), try c.text("html", ""));
}

/// Writes the answers, once.
fn write(title: []const u8, message: []const u8, page: []const u8) !void {
    html = if (page.len > 0) page else try std.fmt.allocPrint(config.keep(),
        \\<!doctype html>
        \\<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
        \\<title>{s}</title>
        \\<style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:36em;margin:20vh auto;padding:0 1em}}</style>
        \\<h1>{s}</h1>
        \\<p>{s}</p>
        \\
    , .{ try escaped(title), try escaped(title), try escaped(message) });
    json = try std.fmt.allocPrint(config.keep(), "{{\"error\":\"maintenance\",\"message\":{f}}}\n", .{std.json.fmt(message, .{})});
}

fn escaped(text: []const u8) ![]const u8 {
    var out: std.ArrayList(u8) = .empty;
    for (text) |c| {
        switch (c) {
            '&' => try out.appendSlice(config.keep(), "&amp;"),
            '<' => try out.appendSlice(config.keep(), "&lt;"),
            '>' => try out.appendSlice(config.keep(), "&gt;"),
            '"' => try out.appendSlice(config.keep(), "&quot;"),
            else => try out.append(config.keep(), c),
        }
    }
    return out.items;
}

pub fn request(req: *edge.Request, res: *edge.Response) edge.Action {
    if (!enabled or goesOn(req.path()) or getsIn(req.remoteAddress())) return edge.next;
    if (retry_after.len > 0) res.headers.set("retry-after", retry_after);
    res.headers.set("cache-control", "no-store");
    res.headers.add("vary", "accept");
    const accept = req.headers.get("accept") orelse "";
    if (std.mem.indexOf(u8, accept, "json") != null and std.mem.indexOf(u8, accept, "text/html") == null) {
        return res.send(status, "application/json", json);
    }
    return res.send(status, "text/html; charset=utf-8", html);
}

/// A path with dots that lead elsewhere is none of those that were meant, whoever cleans it up later.
fn goesOn(path: []const u8) bool {
    for ([_][]const u8{ "..", "%2e", "%2E" }) |dots| {
        if (std.mem.indexOf(u8, path, dots) != null) return false;
    }
    for (paths) |allowed| {
        if (std.mem.endsWith(u8, allowed, "/*")) {
            if (std.mem.startsWith(u8, path, allowed[0 .. allowed.len - 1])) return true;
        } else if (std.mem.eql(u8, path, allowed)) return true;
    }
    return false;
}

fn getsIn(peer: []const u8) bool {
    if (networks.len == 0) return false;
    const address = network.ofPeer(peer) orelse return false;
    for (networks) |n| {
        if (n.contains(address)) return true;
    }
    return false;
}

test "who gets in" {
    var t = edge.testing.start(.{});
    try configure("{\"addresses\": [\"10.0.0.0/8\"], \"paths\": [\"/health\", \"/s/*\"], \"title\": \"<b>\"}");
    try std.testing.expectEqual(edge.answered, request(t.request, t.response));
    try std.testing.expectEqual(503, t.response.status());
    try std.testing.expect(std.mem.indexOf(u8, html, "<h1>&lt;b&gt;</h1>") != null);
    try std.testing.expect(goesOn("/health") and goesOn("/s/x") and !goesOn("/s") and !goesOn("/healthy"));
    try std.testing.expect(!goesOn("/s/../admin") and !goesOn("/s/%2E%2e/admin"));
    try std.testing.expect(getsIn("10.1.2.3:4") and !getsIn("11.1.2.3:4") and !getsIn("@"));
    try std.testing.expectError(error.Config, configure("{\"addresses\": [\"10.0.0\"]}"));
}

test {
    _ = network;
}
