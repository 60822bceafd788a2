//! Names that robots give themselves in User-Agent, by what they are for.
const std = @import("std");

pub const List = struct { name: []const u8, agents: []const []const u8 };

pub const all = [_]List{
    // Collect texts for language models, or fetch them for one of their users.
    .{ .name = "ai", .agents = &.{
        "gptbot",             "chatgpt-user",         "oai-searchbot", "claudebot",         "claude-user",           "claude-web",   "anthropic-ai", "ccbot",
        "bytespider",         "perplexitybot",        "amazonbot",     "cohere-ai",         "diffbot",               "imagesiftbot", "omgili",       "youbot",
        "meta-externalagent", "meta-externalfetcher", "facebookbot",   "applebot-extended", "google-cloudvertexbot", "ai2bot",       "timpibot",     "petalbot",
    } },
    // Look for weak spots.
    .{ .name = "scanners", .agents = &.{
        "sqlmap", "nikto", "nmap", "masscan", "zgrab", "nuclei", "wpscan", "dirbuster", "gobuster", "feroxbuster", "acunetix", "nessus", "openvas", "arachni", "whatweb", "jaeles", "httpx",
    } },
    // Gather links for those who sell search positions.
    .{ .name = "seo", .agents = &.{ "ahrefsbot", "semrushbot", "mj12bot", "dotbot", "blexbot", "serpstatbot", "dataforseobot", "rogerbot", "seokicks", "megaindex" } },
    // Bring visitors.
    .{ .name = "search", .agents = &.{ "googlebot", "bingbot", "duckduckbot", "yandexbot", "baiduspider", "applebot", "slurp", "qwantbot", "seznambot", "mojeekbot" } },
    // Libraries and programs, as they come.
    .{ .name = "tools", .agents = &.{ "curl/*", "wget/*", "python-requests/*", "python-urllib/*", "aiohttp", "go-http-client/*", "java/*", "okhttp/*", "libwww-perl/*", "scrapy", "node-fetch", "axios/*", "headlesschrome", "phantomjs" } },
};

pub fn named(name: []const u8) ?[]const []const u8 {
    for (all) |list| {
        if (std.mem.eql(u8, list.name, name)) return list.agents;
    }
    return null;
}
