//! hello says where an answer comes from.
const std = @import("std");
const edge = @import("edge");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

pub fn request(_: *edge.Request, res: *edge.Response) edge.Action {
    res.headers.set("x-hello", "from Zig");
    return edge.next;
}

test "says hello" {
    const t = edge.testing.start(.{});
    try std.testing.expectEqual(edge.next, request(t.request, t.response));
    try std.testing.expectEqualStrings("from Zig", t.response.headers.get("X-Hello").?);
}
