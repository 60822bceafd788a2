//! Addresses and networks. IPv4 is kept as IPv6 has it, ::ffff:a.b.c.d.
const std = @import("std");

pub const Address = [16]u8;

pub const Network = struct {
    address: Address,
    bits: u8,

    pub fn contains(n: Network, a: Address) bool {
        const whole = n.bits / 8;
        if (!std.mem.eql(u8, n.address[0..whole], a[0..whole])) return false;
        const rest: u3 = @intCast(n.bits % 8);
        if (rest == 0) return true;
        const shift: u3 = @intCast(8 - @as(u8, rest));
        return n.address[whole] >> shift == a[whole] >> shift;
    }

    /// An address, or a network such as 10.0.0.0/8.
    pub fn parse(text: []const u8) ?Network {
        const slash = std.mem.indexOfScalar(u8, text, '/');
        const address = parseAddress(text[0 .. slash orelse text.len]) orelse return null;
        const is4 = std.mem.indexOfScalar(u8, text, ':') == null;
        var bits: u8 = 128;
        if (slash) |at| {
            const most: u8 = if (is4) 32 else 128;
            const n = std.fmt.parseInt(u8, text[at + 1 ..], 10) catch return null;
            if (n > most) return null;
            bits = n + 128 - most;
        }
        return .{ .address = address, .bits = bits };
    }
};

pub fn parseAddress(text: []const u8) ?Address {
    var a: Address = @splat(0);
    if (std.mem.indexOfScalar(u8, text, ':') == null) {
        a[10] = 0xff;
        a[11] = 0xff;
        return if (four(text, a[12..16])) a else null;
    }
    // Groups before and behind the ::, which stands for as many zeros as are missing.
    const gap = std.mem.indexOf(u8, text, "::");
    var head: [16]u8 = @splat(0);
    var tail: [16]u8 = @splat(0);
    const before = groups(text[0 .. gap orelse text.len], &head) orelse return null;
    const behind = if (gap) |at| groups(text[at + 2 ..], &tail) orelse return null else 0;
    if (gap == null and before != 16 or gap != null and before + behind > 14) return null;
    @memcpy(a[0..before], head[0..before]);
    @memcpy(a[16 - behind ..], tail[0..behind]);
    return a;
}

/// Reads 1:2:3 or 1:2:1.2.3.4 and returns how many bytes that is.
fn groups(text: []const u8, into: *[16]u8) ?usize {
    if (text.len == 0) return 0;
    var n: usize = 0;
    var parts = std.mem.splitScalar(u8, text, ':');
    while (parts.next()) |part| {
        if (parts.peek() == null and std.mem.indexOfScalar(u8, part, '.') != null) {
            if (n > 12 or !four(part, into[n..][0..4])) return null;
            return n + 4;
        }
        if (n > 14 or part.len == 0 or part.len > 4) return null;
        const group = std.fmt.parseInt(u16, part, 16) catch return null;
        into[n] = @intCast(group >> 8);
        into[n + 1] = @truncate(group);
        n += 2;
    }
    return n;
}

fn four(text: []const u8, into: *[4]u8) bool {
    var parts = std.mem.splitScalar(u8, text, '.');
    for (into) |*byte| {
        const part = parts.next() orelse return false;
        if (part.len == 0 or part.len > 3) return false;
        byte.* = std.fmt.parseInt(u8, part, 10) catch return false;
    }
    return parts.next() == null;
}

/// The address of "1.2.3.4:80" or "[::1%eth0]:80".
pub fn ofPeer(peer: []const u8) ?Address {
    const colon = std.mem.lastIndexOfScalar(u8, peer, ':') orelse return null;
    const host = std.mem.trim(u8, peer[0..colon], "[]");
    return parseAddress(host[0 .. std.mem.indexOfScalar(u8, host, '%') orelse host.len]);
}

test "networks" {
    const expect = std.testing.expect;
    const cases = [_]struct { []const u8, []const u8, bool }{
        .{ "10.0.0.0/8", "10.255.0.1:1", true },          .{ "10.0.0.0/8", "11.0.0.1:1", false },
        .{ "192.0.2.128/25", "192.0.2.127:1", false },    .{ "192.0.2.128/25", "192.0.2.200:1", true },
        .{ "192.0.2.1", "[::ffff:192.0.2.1]:1", true },   .{ "0.0.0.0/0", "[2001:db8::1]:1", false },
        .{ "2001:db8::/32", "[2001:db8:1::2]:80", true }, .{ "2001:db8::/32", "[2001:db9::]:80", false },
        .{ "::1", "[::1%lo]:80", true },                  .{ "::/0", "[1:2:3:4:5:6:7:8]:80", true },
    };
    for (cases) |c| try expect(Network.parse(c[0]).?.contains(ofPeer(c[1]).?) == c[2]);
    for ([_][]const u8{ "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4/33", "::/129", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", ":1", "12345::", "a.b.c.d" }) |text| {
        try expect(Network.parse(text) == null);
    }
}
