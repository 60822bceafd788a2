//! Lets requests in that bring a key, and says whose it is. See README.md.

#[path = "../shared/config.rs"]
mod config;
#[path = "../shared/sha256.rs"]
mod sha256;

use std::cell::RefCell;

use config::is_token;
use edge_guest::{Flow, Request};
use sha256::Digest;

edge_guest::config!(check);
edge_guest::middleware!(handle);

struct Guard {
    keys: Vec<(Digest, String)>,
    from: Vec<Place>,
    header: String,
    variable: String,
    optional: bool,
    forward: bool,
    challenge: String,
}

/// Where a key may be.
enum Place {
    Header(String),
    Query(String),
    Cookie(String),
    Bearer,
}

std::thread_local! {
    static GUARD: RefCell<Option<Guard>> = RefCell::new(None);
}

fn check(config: &[u8]) -> Result<(), String> {
    let guard = Guard::new(config)?;
    GUARD.with(|g| *g.borrow_mut() = Some(guard));
    Ok(())
}

impl Guard {
    fn new(text: &[u8]) -> config::Result<Guard> {
        let mut c = config::read(text)?;
        let mut keys = Vec::new();
        for mut k in c.sections("keys", 1000)? {
            let name = k.required("name", "who brings this key")?;
            if name.bytes().any(|b| b < 0x20 || b == 0x7f) || name.len() > 256 {
                return k.wrong("name", "must have at most 256 bytes and no control characters");
            }
            let text = k.required("sha256", "printf %s KEY | sha256sum")?;
            let digest: Digest = match sha256::unhex(&text).map(|d| d.try_into()) {
                Some(Ok(digest)) => digest,
                _ => return k.wrong("sha256", "must be the SHA-256 of the key, 64 hexadecimal digits: printf %s KEY | sha256sum"),
            };
            if keys.iter().any(|(other, _)| *other == digest) {
                return k.wrong("sha256", "is the same as that of an earlier key");
            }
            k.end()?;
            keys.push((digest, name));
        }
        if keys.is_empty() {
            return c.missing("keys", "must have at least one entry {name: …, sha256: …}");
        }
        let mut from = Vec::new();
        for text in c.some_texts("from", 16)? {
            from.push(match text.split_once(':') {
                Some(("header", name)) if is_token(name) => Place::Header(name.to_string()),
                Some(("query", name)) if is_token(name) => Place::Query(name.to_string()),
                Some(("cookie", name)) if is_token(name) => Place::Cookie(name.to_string()),
                None if text == "bearer" => Place::Bearer,
                _ => return c.wrong("from", format!("{:?} is none of: header:NAME, query:NAME, cookie:NAME, bearer", text)),
            });
        }
        if from.is_empty() {
            from.push(Place::Header("x-api-key".into()));
        }
        let (header, variable, realm) = (c.header("header", "x-api-client")?, c.variable("variable", "api.client")?, c.realm("api")?);
        let scheme = if from.iter().any(|p| matches!(p, Place::Bearer)) { "Bearer" } else { "ApiKey" };
        let guard = Guard {
            keys,
            from,
            header,
            variable,
            optional: c.bool("optional", false)?,
            forward: c.bool("forward", false)?,
            challenge: format!("{} realm=\"{}\"", scheme, realm),
        };
        c.end().map(|()| guard)
    }

    /// Whose key this is. All keys are looked at, so that the time tells nothing of which one matches, or how far.
    fn owner(&self, key: &[u8]) -> Option<&str> {
        let digest = sha256::sha256(key);
        self.keys.iter().fold(None, |found, (known, name)| if sha256::equal(known, &digest) { Some(name.as_str()) } else { found })
    }
}

impl Place {
    fn key(&self, r: &Request) -> Option<Vec<u8>> {
        let key = match self {
            Place::Header(name) => r.header().get(name),
            Place::Bearer => bearer(&r.header().get("authorization")?).map(|token| token.to_vec()),
            Place::Query(name) => query(&r.uri()).find(|(n, _)| n == name.as_bytes()).map(|(_, value)| value),
            Place::Cookie(name) => {
                let lines = r.header().values("cookie");
                let mut all = lines.iter().flat_map(|line| cookies(line));
                let found = all.find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value.to_vec());
                found
            }
        };
        key.filter(|key| !key.is_empty())
    }

    /// Takes the key out of the request. What is nobody's key goes as well: it may be one of tomorrow.
    fn remove(&self, r: &mut Request) {
        match self {
            Place::Header(name) => r.header().remove(name),
            Place::Bearer => {
                if r.header().get("authorization").map_or(false, |value| bearer(&value).is_some()) {
                    r.header().remove("authorization");
                }
            }
            Place::Query(name) => {
                let uri = r.uri();
                if query(&uri).any(|(n, _)| n == name.as_bytes()) {
                    r.set_uri(without(&uri, name.as_bytes()));
                }
            }
            Place::Cookie(name) => {
                let lines = r.header().values("cookie");
                if !lines.iter().flat_map(|line| cookies(line)).any(|(n, _)| n == name.as_bytes()) {
                    return;
                }
                let kept: Vec<Vec<u8>> = lines
                    .iter()
                    .flat_map(|line| cookies(line))
                    .filter(|(n, _)| *n != name.as_bytes())
                    .map(|(n, value)| [n, b"=", value].concat())
                    .collect();
                match kept.is_empty() {
                    true => r.header().remove("cookie"),
                    false => r.header().set("cookie", kept.join(&b"; "[..])),
                }
            }
        }
    }
}

fn handle(r: &mut Request) -> Flow {
    GUARD.with(|g| match g.borrow().as_ref() {
        Some(guard) => admit(guard, r),
        None => r.respond(500, "text/plain", "not configured\n"), // cannot be: without check there is no instance
    })
}

fn admit(g: &Guard, r: &mut Request) -> Flow {
    if !g.header.is_empty() {
        r.header().remove(&g.header); // what a client says of itself counts for nothing
    }
    let name = match g.from.iter().find_map(|place| place.key(r)) {
        None if g.optional => return Flow::Next,
        None => None,
        Some(key) => g.owner(&key),
    };
    let name = match name {
        Some(name) => name,
        None => {
            r.response().header().set("www-authenticate", &g.challenge);
            r.response().header().set("cache-control", "no-store");
            return r.respond(401, "text/plain", "an API key is needed\n");
        }
    };
    if !g.forward {
        g.from.iter().for_each(|place| place.remove(r));
    }
    if !g.header.is_empty() {
        r.header().set(&g.header, name);
    }
    if !g.variable.is_empty() {
        let _ = edge_guest::set_var(&g.variable, name); // fails where others filled all variables: no reason to refuse
    }
    Flow::Next
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = (value.get(..7)?, value.get(7..)?);
    Some(token).filter(|_| scheme.eq_ignore_ascii_case(b"bearer "))
}

/// Names and values of a query, decoded.
fn query(uri: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    let start = uri.iter().position(|&b| b == b'?').map_or(uri.len(), |at| at + 1);
    uri[start..].split(|&b| b == b'&').map(pair)
}

fn pair(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut parts = text.splitn(2, |&b| b == b'=');
    let mut next = || decoded(parts.next().unwrap_or_default());
    (next(), next())
}

/// The URI without the pairs of that name; the others stay as they were written.
fn without(uri: &[u8], name: &[u8]) -> Vec<u8> {
    let start = uri.iter().position(|&b| b == b'?').unwrap_or(uri.len());
    let rest = uri.get(start + 1..).unwrap_or_default();
    let kept: Vec<&[u8]> = rest.split(|&b| b == b'&').filter(|text| pair(text).0 != name).collect();
    match kept.is_empty() {
        true => uri[..start].to_vec(),
        false => [&uri[..start], b"?", &kept.join(&b"&"[..])].concat(),
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| (*b as char).to_digit(16)).map(|d| d as u8);
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        match (text[at], digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (b, ..) => out.push(b),
        }
        at += 1;
    }
    out
}

/// Names and values of a Cookie header.
fn cookies(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|&b| b == b';').filter_map(|part| {
        let start = part.iter().position(|b| !b.is_ascii_whitespace())?;
        let part = &part[start..];
        let at = part.iter().position(|&b| b == b'=')?;
        Some((&part[..at], &part[at + 1..]))
    })
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}

#[cfg(test)]
const ALICE: &str = r#""keys": [{"name": "alice", "sha256": "2BD806C97F0E00AF1A1FC3328FA763A9269723C8DB8FAC4F93AF71DB186D6E90"}]"#; // "alice"

#[test]
fn finds_and_hides_keys() {
    let host = edge_guest::test::Host::new();
    check(format!(r#"{{{}, "from": ["header:x-api-key", "query:key", "cookie:key", "bearer"]}}"#, ALICE).as_bytes()).unwrap();
    assert_eq!(host.get("/").send(handle).status, 401);
    assert_eq!(host.get("/?key=bob").send(handle).status, 401);
    let a = host.get("/a?b=1&key=al%69ce&c").header("x-api-client", "root").send(handle);
    assert_eq!((a.seen().uri(), a.seen().header("x-api-client")), (&b"/a?b=1&c"[..], &b"alice"[..]));
    let a = host.get("/?key=alice").send(handle);
    assert_eq!(a.seen().uri(), b"/");
    let a = host.get("/").header("cookie", "a=1; key=alice; b=2").send(handle);
    assert_eq!(a.seen().header("cookie"), b"a=1; b=2");
    let a = host.get("/").header("authorization", "bearer alice").send(handle);
    assert_eq!((a.status, a.seen().header("authorization").len()), (200, 0));
    assert_eq!(host.get("/").header("x-api-key", "bob").header("cookie", "key=alice").send(handle).status, 401); // the first place counts
}

#[test]
fn refuses() {
    for (config, want) in [
        ("{}".into(), "config.keys: must have at least one entry"),
        (r#"{"keys": [{"name": "a", "sha256": "abc"}]}"#.into(), "config.keys[0].sha256: must be the SHA-256"),
        (r#"{"keys": [{"name": "a", "sha256": 1}]}"#.into(), "config.keys[0].sha256: must be a text"),
        (r#"{"keys": [{"sha256": ""}]}"#.into(), "config.keys[0].name: is missing"),
        (format!(r#"{{{}, "from": ["body:x"]}}"#, ALICE), "config.from: \"body:x\" is none of"),
        (format!(r#"{{{}, "variable": "edge.x"}}"#, ALICE), "config.variable: \"edge.x\" is not"),
        (format!(r#"{{{}, "key": 1}}"#, ALICE), "config.key: there is no such key; there are keys, from,"),
    ] {
        let error = check(config.as_bytes()).unwrap_err();
        assert!(error.contains(want), "{} does not say {}", error, want);
    }
}
