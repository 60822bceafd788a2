//! Does in Zig what header.c does: it reads one header and writes one, in both phases.
const edge = @import("edge");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

var calls: u32 = 0;

pub fn request(req: *edge.Request, _: *edge.Response) edge.Action {
    req.headers.set("x-seen", req.headers.get("x-request-id") orelse "");
    return edge.next;
}

pub fn response(_: *edge.Request, _: *edge.Response) void {
    @as(*volatile u32, &calls).* += 1;
}
