// Rewrites and redirects by rules, as a router or as middleware. See README.md.
import { Action, Next, Request, log, onConfig, onRequest, onRoute } from "@edge-server/guest";
import { Json, Kind, parse } from "../shared/json";
import { Captures, Pattern, fill, namesOf } from "./pattern";

export * from "@edge-server/guest/config";
export * from "@edge-server/guest/middleware";
export * from "@edge-server/guest/router";

class Rule {
  path: Pattern | null = null;
  host: Pattern | null = null;
  methods: string[] = [];
  target: string = "";
  redirect: bool = false;
  status: i32 = 302;
  keepQuery: bool = true;
}

let rules: Rule[] = [];

onConfig((text) => {
  const all = parse(text);
  if (all === null || all.kind != Kind.Map) return "config: must be a map with rules: […]";
  const unknown = all.unknown(["rules"]);
  if (unknown !== null) return "config." + unknown + ": there is no such key; there is rules";
  const list = all.get("rules");
  if (list === null || list.kind != Kind.List || list.items.length == 0) return "config.rules: must be a list of at least one rule";
  if (list.items.length > 500) return "config.rules: has " + list.items.length.toString() + " rules, at most 500 are allowed";
  rules = [];
  for (let i = 0; i < list.items.length; i++) {
    const rule = new Rule(), problem = read(list.items[i], rule);
    if (problem !== null) return "config.rules[" + i.toString() + "]" + problem;
    rules.push(rule);
  }
  return null;
});

/** Reads a rule; what is wrong begins with the key. */
function read(from: Json, rule: Rule): string | null {
  if (from.kind != Kind.Map) return ": must be a map of keys";
  const known = ["path", "host", "methods", "rewrite", "redirect", "status", "query"], unknown = from.unknown(known);
  if (unknown !== null) return "." + unknown + ": there is no such key; there are " + known.join(", ");
  const texts = ["path", "host", "rewrite", "redirect", "query"];
  for (let i = 0; i < texts.length; i++) {
    const value = from.get(texts[i]);
    if (value !== null && (value.kind != Kind.Text || value.text.length > 1024 || value.text.length == 0)) {
      return "." + texts[i] + ": must be a text of 1 to 1024 characters";
    }
  }

  const names: string[] = [], hostNames: string[] = [];
  const path = from.get("path");
  if (path !== null) {
    const pattern = new Pattern(path.text, "/");
    if (!path.text.startsWith("/")) return ".path: \"" + path.text + "\" does not begin with /";
    if (pattern.error !== null) return ".path: " + pattern.error!;
    rule.path = pattern;
    names.push("path");
    for (let i = 0, all = pattern.names(); i < all.length; i++) names.push(all[i]);
  }
  const host = from.get("host");
  if (host !== null) {
    const pattern = new Pattern(host.text.toLowerCase(), ".");
    if (pattern.error !== null) return ".host: " + pattern.error!;
    rule.host = pattern;
    for (let i = 0, all = pattern.names(); i < all.length; i++) {
      if (names.includes(all[i])) return ".host: {" + all[i] + "} is in the path as well";
      names.push(all[i]);
      hostNames.push(all[i]);
    }
  }
  if (rule.path === null && rule.host === null) return ": needs a path or a host";
  names.push("path");

  const methods = from.get("methods");
  if (methods !== null) {
    if (methods.kind != Kind.List || methods.items.length == 0) return ".methods: must be a list such as [GET, HEAD]; leave the key out for all";
    for (let i = 0; i < methods.items.length; i++) {
      if (methods.items[i].kind != Kind.Text || !isMethod(methods.items[i].text)) return ".methods[" + i.toString() + "]: must be a method such as GET";
      rule.methods.push(methods.items[i].text.toUpperCase());
    }
  }

  const rewrite = from.get("rewrite"), redirect = from.get("redirect"), status = from.get("status");
  if ((rewrite === null) == (redirect === null)) return ": needs either rewrite or redirect";
  rule.redirect = redirect !== null;
  const key = rule.redirect ? ".redirect: " : ".rewrite: ";
  rule.target = rule.redirect ? redirect!.text : rewrite!.text;
  const used = namesOf(rule.target);
  if (used === null) return key + "a { without a }";
  for (let i = 0; i < used.length; i++) {
    if (!names.includes(used[i])) return key + "{" + used[i] + "} is captured by neither path nor host";
  }
  if (!plain(rule.target)) return key + "must be printable ASCII without spaces: encode the rest as %XX";
  const wrong = checkTarget(rule, hostNames);
  if (wrong !== null) return key + wrong;

  if (status !== null) {
    if (!rule.redirect) return ".status: belongs to a redirect";
    const codes: f64[] = [301, 302, 307, 308];
    if (status.kind != Kind.Number || !codes.includes(status.number)) return ".status: must be 301, 302, 307 or 308";
    rule.status = <i32>status.number;
  }
  const query = from.get("query");
  if (query !== null) {
    if (query.text != "keep" && query.text != "drop") return ".query: must be keep or drop";
    rule.keepQuery = query.text == "keep";
  }
  return null;
}

function isMethod(text: string): bool {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i) | 0x20;
    if ((c < 0x61 || c > 0x7a) && c != 0x2d) return false;
  }
  return text.length > 0;
}

/** No path of a client may choose the host it is sent to. */
function checkTarget(rule: Rule, hostNames: string[]): string | null {
  const target = rule.target;
  if (target.startsWith("/") && !target.startsWith("//")) return null;
  if (target == "{path}" || target.startsWith("{path}?")) return null;
  if (!rule.redirect) return "must begin with /";
  if (!target.startsWith("http://") && !target.startsWith("https://")) return "must begin with /, http:// or https://";
  const start = target.indexOf("://") + 3, slash = target.indexOf("/", start);
  const authority = target.substring(start, slash < 0 ? target.length : slash), used = namesOf(authority);
  for (let i = 0; used !== null && i < used.length; i++) {
    if (used[i] == "path" && slash < 0 && authority.endsWith("{path}")) continue; // begins with a /
    if (!hostNames.includes(used[i])) return "{" + used[i] + "} would let the path choose the host: put a / in front of it";
  }
  return null;
}

function plain(text: string): bool {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c <= 0x20 || c >= 0x7f) return false;
  }
  return true;
}

let uri = ""; // what the rule that was found made of the request's

/** The first rule that matches. */
function find(req: Request): Rule | null {
  const path = req.path, method = req.method, given = req.headers.get("host"), host = hostname(given === null ? "" : given);
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i], captures = new Captures();
    if (rule.methods.length > 0 && !rule.methods.includes(method)) continue;
    const onPath = rule.path, onHost = rule.host;
    if (onPath !== null && !onPath.match(path, captures)) continue;
    if (onHost !== null && !onHost.match(host, captures)) continue;
    captures.names.push("path");
    captures.values.push(path);
    uri = local(fill(rule.target, captures));
    if (rule.keepQuery && req.query.length > 0) uri += (uri.includes("?") ? "&" : "?") + req.query;
    if (rule.redirect && uri == req.uri) return null; // it is there already
    return rule;
  }
  return null;
}

/** A path of the client's must not become //elsewhere.example, which browsers take for another host. */
function local(target: string): string {
  if (target.startsWith("http://") || target.startsWith("https://")) return target;
  let at = 0;
  while (at < target.length && (target.charCodeAt(at) == 0x2f || target.charCodeAt(at) == 0x5c)) at++;
  return "/" + target.substring(at);
}

/** Of a Host header, what comes before the port. */
function hostname(host: string): string {
  const colon = host.lastIndexOf(":");
  return (colon > host.lastIndexOf("]") ? host.substring(0, colon) : host).toLowerCase();
}

onRoute((req, router) => {
  const rule = find(req);
  if (rule === null) return false;
  const done = rule.redirect ? router.redirect(rule.status, uri) : router.rewrite(uri);
  if (!done.ok) log.warn(done.message);
  return rule.redirect && done.ok;
});

onRequest((req, res): Action => {
  const rule = find(req);
  if (rule === null) return Next;
  if (!rule.redirect) {
    req.uri = uri;
    return Next;
  }
  res.headers.set("location", uri);
  return res.send(rule.status, "text/plain", "");
});
