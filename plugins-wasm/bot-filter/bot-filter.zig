//! Blocks or tags robots by what they call themselves. See README.md.
const std = @import("std");
const edge = @import("edge");
const config = @import("config");
const lists = @import("lists.zig");

pub const panic = edge.panic;
comptime {
    edge.plugin(@This());
}

const Action = enum { block, tag, allow };

const Rule = struct {
    name: []const u8,
    action: Action,
    agents: []const []const u8, // in lower case
    list: []const []const u8,
    empty: bool,

    fn matches(r: Rule, agent: []const u8) bool {
        if (agent.len == 0) return r.empty;
        for ([_][]const []const u8{ r.agents, r.list }) |patterns| {
            for (patterns) |pattern| {
                if (fits(pattern, agent)) return true;
            }
        }
        return false;
    }
};

/// What is looked at of a User-Agent: with so much of it, at most 200 patterns cost a bounded time.
const most_agent = 512;
const most_pattern = 128;
const most_patterns = 200;

var rules: []Rule = &.{};
var status: u32 = 403;
var header: []const u8 = "x-bot";
var variable: []const u8 = "bot";

pub fn configure(text: []const u8) !void {
    const c = try config.read(text, &.{ "rules", "status", "header", "variable" });
    const values = try c.list("rules", 50);
    if (values.len == 0) return c.wrong("rules", "must have at least one rule {name: …, action: …, agents: […]}");
    rules = try config.keep().alloc(Rule, values.len);
    var patterns: usize = 0;
    for (values, rules, 0..) |value, *rule, i| {
        const path = try std.fmt.allocPrint(config.keep(), "config.rules[{d}]", .{i});
        rule.* = try readRule(try config.section(path, value, &.{ "name", "action", "agents", "list", "empty" }));
        patterns += rule.agents.len;
    }
    if (patterns > most_patterns) return config.refuse("config.rules: have {d} patterns, at most {d} are allowed", .{ patterns, most_patterns });
    status = @intCast(try c.number("status", 403, 400, 599));
    header = try c.text("header", "x-bot");
    if (header.len > 0 and !isName(header, false)) return c.wrong("header", "is no name of a header: letters, digits, - and _");
    variable = try c.text("variable", "bot");
    if (variable.len > 0 and (!isName(variable, true) or std.mem.startsWith(u8, variable, "edge."))) return c.wrong("variable", "is no name of a variable: letters, digits, - _ and ., not edge.…");
}

fn readRule(s: config.Section) !Rule {
    var rule = Rule{ .name = try s.text("name", ""), .action = .allow, .agents = &.{}, .list = &.{}, .empty = try s.boolean("empty", false) };
    if (!isName(rule.name, true)) return s.wrong("name", "must be 1 to 64 of a-z A-Z 0-9 - _ .");
    rule.action = std.meta.stringToEnum(Action, try s.text("action", "")) orelse return s.wrong("action", "must be block, tag or allow");
    const agents = try s.texts("agents", most_patterns);
    const lower = try config.keep().alloc([]const u8, agents.len);
    for (agents, lower) |agent, *to| {
        if (agent.len == 0 or agent.len > most_pattern) return s.wrong("agents", "a pattern must have 1 to 128 bytes");
        to.* = try std.ascii.allocLowerString(config.keep(), agent);
    }
    rule.agents = lower;
    const list = try s.text("list", "");
    if (list.len > 0) rule.list = lists.named(list) orelse return s.wrong("list", "must be ai, scanners, seo, search or tools");
    if (rule.agents.len == 0 and rule.list.len == 0 and !rule.empty) return config.refuse("{s}: needs agents, a list, or empty: true", .{s.path});
    return rule;
}

fn isName(text: []const u8, dots: bool) bool {
    for (text) |c| {
        if (!std.ascii.isAlphanumeric(c) and c != '-' and c != '_' and !(dots and c == '.')) return false;
    }
    return text.len > 0 and text.len <= 64;
}

pub fn request(req: *edge.Request, res: *edge.Response) edge.Action {
    if (header.len > 0) req.headers.remove(header); // what a client says of itself counts for nothing
    const given = req.headers.get("user-agent") orelse "";
    var buffer: [most_agent]u8 = undefined;
    const agent = std.ascii.lowerString(&buffer, std.mem.trim(u8, given[0..@min(given.len, most_agent)], " "));
    for (rules) |rule| {
        if (!rule.matches(agent)) continue;
        if (rule.action == .allow) return edge.next;
        if (variable.len > 0) edge.vars.set(variable, rule.name) catch {}; // others filled all variables: no reason to fail
        if (rule.action == .block) {
            res.headers.set("cache-control", "no-store");
            return res.send(status, "text/plain", "robots of this kind are not welcome here\n");
        }
        if (header.len > 0) req.headers.set(header, rule.name);
        return edge.next;
    }
    return edge.next;
}

/// Whether the text contains the pattern, or, of a pattern with stars, whether all of the text is as it says. A failure goes
/// back to the last star alone, which takes at most the product of both lengths.
fn fits(pattern: []const u8, text: []const u8) bool {
    if (std.mem.indexOfScalar(u8, pattern, '*') == null) return std.mem.indexOf(u8, text, pattern) != null;
    var p: usize = 0;
    var t: usize = 0;
    var star: ?usize = null;
    var from: usize = 0;
    while (t < text.len) {
        if (p < pattern.len and pattern[p] == '*') {
            star = p;
            from = t;
            p += 1;
        } else if (p < pattern.len and pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if (star) |at| {
            from += 1;
            t = from;
            p = at + 1;
        } else return false;
    }
    while (p < pattern.len and pattern[p] == '*') p += 1;
    return p == pattern.len;
}

test "patterns" {
    const cases = [_]struct { []const u8, []const u8, bool }{
        .{ "bot", "a bot", true },     .{ "bot", "robots", true },        .{ "bot", "bo", false },
        .{ "curl/*", "curl/8", true }, .{ "curl/*", "libcurl/8", false }, .{ "*", "", true },
        .{ "a*b*c", "aXbYbZc", true }, .{ "a*b*c", "aXbYcZ", false },     .{ "*x", "xyx", true },
        .{ "**a**", "bab", true },
    };
    for (cases) |c| try std.testing.expectEqual(c[2], fits(c[0], c[1]));
}

test "rules" {
    const bot = [_]edge.Header{.{ .name = "User-Agent", .value = "Mozilla/5.0 (compatible; GPTBot/1.2)" }};
    var t = edge.testing.start(.{ .headers = &bot });
    try configure("{\"rules\": [{\"name\": \"ai\", \"list\": \"ai\", \"action\": \"block\"}]}");
    try std.testing.expectEqual(edge.answered, request(t.request, t.response));
    t = edge.testing.start(.{ .headers = &bot });
    try configure("{\"rules\": [{\"name\": \"ai\", \"agents\": [\"*GPTBot*\"], \"action\": \"tag\"}]}");
    try std.testing.expectEqual(edge.next, request(t.request, t.response));
    try std.testing.expectEqualStrings("ai", t.request.headers.get("x-bot").?);
    try std.testing.expectError(error.Config, configure("{}"));
}
