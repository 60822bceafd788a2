//! Counts requests by path in the store "counters", which all servers of a fleet can share.
//!
//!     kv: {counters: {}}
//!     plugins: {modules: {counter: {allow: {kv: [counters]}}}}
const std = @import("std");
const edge = @import("edge");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

pub fn request(req: *edge.Request, res: *edge.Response) !edge.Action {
    const path = req.path();
    const hits = count(path) catch {
        edge.log.warn(try std.mem.concat(edge.arena(), u8, &.{ "count ", path, ": ", edge.lastError() }));
        return edge.next; // no reason to fail the request
    };
    res.headers.set("x-hits", try std.fmt.allocPrint(edge.arena(), "{d}", .{hits}));
    return edge.next;
}

fn count(path: []const u8) !i64 {
    const store = try edge.Store.open("counters");
    return store.incr(try std.mem.concat(edge.arena(), u8, &.{ "hits:", path }), 1, 0);
}
