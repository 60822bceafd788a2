//! A router: old addresses are redirected, an API moves, the rest is left to the routes of edge.yaml.
const std = @import("std");
const edge = @import("edge");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

pub fn route(req: *edge.Request, router: edge.Router) bool {
    return decide(req, router) catch |e| {
        edge.log.warn(@errorName(e));
        return false;
    };
}

fn decide(req: *edge.Request, router: edge.Router) !bool {
    try router.cache("path,query", 60_000); // the same address gets the same decision without a call
    const uri = req.uri();
    if (std.mem.startsWith(u8, uri, "/old/")) {
        try router.redirect(308, try std.mem.concat(edge.arena(), u8, &.{ "/new/", uri["/old/".len..] }));
        return true;
    }
    if (std.mem.startsWith(u8, uri, "/api/v1/")) {
        try router.rewrite(uri["/api".len..]);
        try router.to("api");
        return true;
    }
    if (std.mem.eql(u8, req.path(), "/teapot")) {
        try router.status(418);
        return true;
    }
    return false;
}
