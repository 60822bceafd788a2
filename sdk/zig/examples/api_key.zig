//! Lets requests in that bring a key. The configuration is a text:
//!
//!     plugins: {modules: {api-key: {config: "s3cret alice\n0ther bob\n"}}}
const std = @import("std");
const edge = @import("edge");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

pub fn configure(config: []const u8) !void {
    var keys = Keys{ .lines = std.mem.splitScalar(u8, config, '\n') };
    if (keys.next() != null) return;
    edge.refuse("no keys: write a line \"KEY NAME\" for each");
    return error.NoKeys;
}

pub fn request(req: *edge.Request, res: *edge.Response) edge.Action {
    const given = req.headers.get("x-api-key") orelse "";
    req.headers.remove("x-client"); // what a client says of itself counts for nothing
    var keys = Keys{ .lines = std.mem.splitScalar(u8, edge.config(), '\n') };
    var client: ?[]const u8 = null;
    while (keys.next()) |k| { // all of them, so that the time tells nothing of which one matches
        if (equal(k.key, given)) client = k.name;
    }
    const name = client orelse {
        res.headers.set("www-authenticate", "ApiKey");
        return res.send(401, "text/plain", "an API key is needed\n");
    };
    req.headers.remove("x-api-key");
    req.headers.set("x-client", name);
    return edge.next;
}

/// The keys and names of the configuration.
const Keys = struct {
    lines: std.mem.SplitIterator(u8, .scalar),

    fn next(k: *Keys) ?struct { key: []const u8, name: []const u8 } {
        while (k.lines.next()) |line| {
            const space = std.mem.indexOfScalar(u8, line, ' ') orelse continue;
            if (space > 0 and space + 1 < line.len) return .{ .key = line[0..space], .name = line[space + 1 ..] };
        }
        return null;
    }
};

/// Takes as long for a key that is wrong in its first byte as for one that is wrong in its last.
fn equal(a: []const u8, b: []const u8) bool {
    if (a.len != b.len) return false;
    var different: u8 = 0;
    for (a, b) |x, y| different |= x ^ y;
    return different == 0;
}

test "only with a key" {
    const config = "one alice\n\ntwo bob\n";
    var t = edge.testing.start(.{ .config = config });
    try std.testing.expectEqual(edge.answered, request(t.request, t.response));
    try std.testing.expectEqual(401, t.response.status());

    t = edge.testing.start(.{ .config = config, .headers = &.{ .{ .name = "X-Api-Key", .value = "two" }, .{ .name = "X-Client", .value = "root" } } });
    try std.testing.expectEqual(edge.next, request(t.request, t.response));
    try std.testing.expectEqualStrings("bob", t.request.headers.get("x-client").?);
    try std.testing.expect(!t.request.headers.has("x-api-key"));
    try std.testing.expectError(error.NoKeys, configure("\n"));
}
