//! An origin: it answers by itself, piece by piece.
//!
//!     http: {routes: [{match: {path: /numbers}, wasm: numbers}]}
const std = @import("std");
const edge = @import("edge");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

const max = 100_000;

pub fn request(req: *edge.Request, res: *edge.Response) !edge.Action {
    if (!std.mem.eql(u8, req.path(), "/numbers")) return res.send(404, "application/json", "{\"error\":\"not found\"}");
    const n = asked(req.query()) catch max + 1;
    if (n > max) return res.send(400, "application/json", "{\"error\":\"n is a number from 0 to 100000\"}");

    res.headers.set("content-type", "application/json");
    var piece: std.ArrayList(u8) = .empty;
    try piece.append(edge.arena(), '[');
    for (1..n + 1) |i| {
        var digits: [8]u8 = undefined;
        try piece.appendSlice(edge.arena(), try std.fmt.bufPrint(&digits, "{d}", .{i}));
        if (i < n) try piece.append(edge.arena(), ',');
        if (i % 1000 == 0) {
            res.body.write(piece.items);
            edge.flush() catch {}; // a client that is gone is no news here
            piece.clearRetainingCapacity();
        }
    }
    try piece.append(edge.arena(), ']');
    res.body.write(piece.items);
    return edge.answered;
}

fn asked(query: []const u8) !u32 {
    var pairs = std.mem.splitScalar(u8, query, '&');
    while (pairs.next()) |pair| {
        if (std.mem.startsWith(u8, pair, "n=")) return std.fmt.parseInt(u32, pair[2..], 10);
    }
    return 10;
}

test "streams" {
    for ([_]struct { []const u8, []const u8 }{ .{ "/numbers?n=3", "[1,2,3]" }, .{ "/numbers?n=0", "[]" }, .{ "/numbers", "[1,2,3,4,5,6,7,8,9,10]" } }) |case| {
        const t = edge.testing.start(.{ .uri = case[0] });
        try std.testing.expectEqual(edge.answered, try request(t.request, t.response));
        try std.testing.expectEqualStrings(case[1], edge.testing.written_body(.response));
    }
    const t = edge.testing.start(.{ .uri = "/numbers?n=-1" });
    _ = try request(t.request, t.response);
    try std.testing.expectEqual(400, t.response.status());
}
