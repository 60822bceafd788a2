//! Limits the rate of requests, by a clock per client that all servers of a fleet share in a store (GCRA). See README.md.

#[path = "../shared/config.rs"]
mod config;
#[path = "../shared/sha256.rs"]
mod sha256;

use std::cell::RefCell;
use std::net::IpAddr;

use edge_guest::{log, now_ms, Error, Flow, Level, Request, Set, Store};

edge_guest::config!(check);
edge_guest::middleware!(handle);

/// How often a write is tried that other requests of the same client are in the way of.
const TRIES: usize = 16;

struct Limiter {
    store: Store,
    name: String,
    key: Key,
    without_key: &'static str,
    ipv6_prefix: u32,
    interval: i64, // microseconds from one request to the next, at the steady rate
    burst: i64,
    headers: bool,
    deny_on_error: bool,
}

#[derive(Debug, PartialEq)]
enum Key {
    Address,
    Header(String),
    Variable(String),
    All,
}

std::thread_local! {
    static LIMITER: RefCell<Option<Limiter>> = RefCell::new(None);
}

fn check(config: &[u8]) -> Result<(), String> {
    let limiter = Limiter::new(config)?;
    LIMITER.with(|l| *l.borrow_mut() = Some(limiter));
    Ok(())
}

impl Limiter {
    fn new(text: &[u8]) -> config::Result<Limiter> {
        let mut c = config::read(text)?;
        let store = c.required("store", "a store of the kv section, which allow.kv must name")?;
        let limit = match c.number("limit", 1..=1_000_000)? {
            Some(n) => n,
            None => return c.missing("limit", "is missing: how many requests per window"),
        };
        let window = c.duration("window", 1000..=86_400_000)?.unwrap_or(60_000);
        let burst = c.number("burst", 1..=1_000_000)?.unwrap_or(limit);
        let interval = window * 1000 / limit;
        if interval * burst > 7 * 86_400_000_000 {
            return c.wrong("burst", "takes longer than a week to fill at this limit");
        }
        let key = match c.text("key")?.as_deref() {
            None | Some("address") => Key::Address,
            Some("all") => Key::All,
            Some(text) => match text.split_once(':') {
                Some(("header", name)) if is_token(name) => Key::Header(name.to_string()),
                Some(("variable", name)) if is_token(name) => Key::Variable(name.to_string()),
                _ => return c.wrong("key", format!("{:?} is none of: address, header:NAME, variable:NAME, all", text)),
            },
        };
        let name = c.text("name")?.unwrap_or_else(|| "default".into());
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return c.wrong("name", format!("{:?} is not 1 to 64 of a-z A-Z 0-9 - _ .", name));
        }
        let limiter = Limiter {
            store: match Store::open(&store) {
                Ok(store) => store,
                Err(e) => return c.wrong("store", format!("{:?} cannot be opened ({}): {}", store, e, edge_guest::last_error())),
            },
            name,
            key,
            without_key: c.choice("without_key", &["address", "allow", "deny"])?,
            ipv6_prefix: c.number("ipv6_prefix", 32..=128)?.unwrap_or(64) as u32,
            interval,
            burst,
            headers: c.bool("headers", true)?,
            deny_on_error: c.choice("on_store_error", &["allow", "deny"])? == "deny",
        };
        c.end().map(|()| limiter)
    }

    /// What a request is counted under; None: nothing was found.
    fn subject(&self, r: &Request) -> Option<Vec<u8>> {
        let found = match &self.key {
            Key::All => return Some(b"*".to_vec()),
            Key::Address => return Some(self.address(r)),
            Key::Header(name) => r.header().get(name),
            Key::Variable(name) => edge_guest::var(name).ok(),
        };
        match found {
            Some(value) if !value.is_empty() => Some(value),
            _ if self.without_key == "address" => Some([b"address:", &self.address(r)[..]].concat()),
            _ => None,
        }
    }

    /// The client's address; of IPv6 the network, as one client has 2^64 addresses and more.
    fn address(&self, r: &Request) -> Vec<u8> {
        let source = String::from_utf8_lossy(&r.source_addr()).into_owned();
        network(&source, self.ipv6_prefix).into_bytes()
    }

    /// The key in the store. What clients choose is hashed where it is long: keys are bounded, and no client's prefixes another's.
    fn key_of(&self, subject: &[u8]) -> Vec<u8> {
        let prefix = format!("rate-limit:{}:", self.name).into_bytes();
        if subject.len() <= 64 {
            return [&prefix[..], subject].concat();
        }
        [&prefix[..], b"sha256:", sha256::hex(&sha256::sha256(subject)).as_bytes()].concat()
    }

    /// Moves the client's clock on by one request, in one step of the store. The clock is the time at which the client has no
    /// debt left (the theoretical arrival time), in microseconds.
    fn count(&self, key: &[u8]) -> edge_guest::Result<Verdict> {
        for _ in 0..TRIES {
            let entry = self.store.entry(key)?;
            let now = now_ms() * 1000;
            let before = entry.as_ref().and_then(|e| std::str::from_utf8(&e.value).ok()?.parse::<i64>().ok()).unwrap_or(0);
            let verdict = judge(now, before, self.interval, self.burst);
            if !verdict.allowed {
                return Ok(verdict);
            }
            let how = Set::for_ms((verdict.until_full / 1000 + 1000) as u32);
            let how = match &entry {
                Some(e) => how.if_version(e.version),
                None => how.if_absent(),
            };
            match self.store.set(key, (now + verdict.until_full).to_string(), how) {
                Err(Error::Condition) | Err(Error::Exists) => continue, // another request of this client was quicker
                done => return done.map(|()| verdict),
            }
        }
        Err(Error::Unavailable)
    }
}

/// What becomes of a request. Times in microseconds.
#[derive(Debug, PartialEq)]
struct Verdict {
    allowed: bool,
    left: i64,       // requests that may come at once
    until_full: i64, // until the burst is whole again
    retry: i64,      // until the next request is allowed
}

/// GCRA. A clock that is further in the future than a full burst comes from an older configuration or a server whose clock is
/// ahead: it counts as a full burst.
fn judge(now: i64, clock: i64, interval: i64, burst: i64) -> Verdict {
    let whole = interval * burst;
    let debt = (clock - now).clamp(0, whole);
    if debt + interval > whole {
        return Verdict { allowed: false, left: 0, until_full: debt, retry: debt + interval - whole };
    }
    let debt = debt + interval;
    Verdict { allowed: true, left: (whole - debt) / interval, until_full: debt, retry: 0 }
}

fn handle(r: &mut Request) -> Flow {
    LIMITER.with(|l| match l.borrow().as_ref() {
        Some(limiter) => limit(limiter, r),
        None => r.respond(500, "text/plain", "not configured\n"), // cannot be: without check there is no instance
    })
}

fn limit(l: &Limiter, r: &mut Request) -> Flow {
    let subject = match l.subject(r) {
        Some(subject) => subject,
        None if l.without_key == "allow" => return Flow::Next,
        None => return r.respond(403, "text/plain", "what this request is counted by is missing\n"),
    };
    let verdict = match l.count(&l.key_of(&subject)) {
        Ok(verdict) => verdict,
        Err(e) => {
            log(Level::Warn, format!("rate-limit {}: the store answers {}: {}", l.name, e, edge_guest::last_error()));
            if !l.deny_on_error {
                return Flow::Next;
            }
            r.response().header().set("retry-after", "1");
            return r.respond(503, "text/plain", "try again later\n");
        }
    };
    if l.headers {
        let policy = format!("\"{}\";q={};w={}", l.name, l.burst, seconds(l.interval * l.burst));
        r.response().header().set("ratelimit-policy", policy);
        r.response().header().set("ratelimit", format!("\"{}\";r={};t={}", l.name, verdict.left, seconds(verdict.until_full)));
    }
    if verdict.allowed {
        return Flow::Next;
    }
    r.response().header().set("retry-after", seconds(verdict.retry).to_string());
    r.respond(429, "text/plain", "too many requests\n")
}

/// Whole seconds, at least one.
fn seconds(us: i64) -> i64 {
    ((us + 999_999) / 1_000_000).max(1)
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The address without its port, an IPv6 one cut to its network.
fn network(source: &str, prefix: u32) -> String {
    let host = match source.rsplit_once(':') {
        Some((host, _)) if host.starts_with('[') || !host.contains(':') => host.trim_matches(|c| c == '[' || c == ']'),
        _ => source,
    };
    let host = host.split('%').next().unwrap_or(host); // a zone
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(a)) => match a.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => {
                let mask = u128::MAX << (128 - prefix);
                std::net::Ipv6Addr::from(u128::from(a) & mask).to_string()
            }
        },
        _ => host.to_string(),
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}

#[test]
fn gcra() {
    let second = 1_000_000;
    let mut clock = 0;
    for left in [2, 1, 0] {
        let v = judge(10 * second, clock, second, 3);
        assert_eq!((v.allowed, v.left), (true, left));
        clock = 10 * second + v.until_full;
    }
    assert_eq!(judge(10 * second, clock, second, 3), Verdict { allowed: false, left: 0, until_full: 3 * second, retry: second });
    assert!(judge(11 * second, clock, second, 3).allowed);
    assert!(!judge(11 * second - 1, clock, second, 3).allowed);
    assert_eq!(judge(10 * second, 99 * second, second, 3).retry, second); // a clock from elsewhere keeps nobody out for long
}

#[test]
fn addresses() {
    for (source, want) in [
        ("192.0.2.1:80", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::"),
        ("[fe80::1%eth0]:80", "fe80::"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("@", "@"),
    ] {
        assert_eq!(network(source, 64), want);
    }
    assert_eq!(network("[2001:db8::1]:1", 128), "2001:db8::1");
}

#[test]
fn counts_in_the_store() {
    let host = edge_guest::test::Host::new();
    check(br#"{"store": "limits", "limit": 2, "window": "1h", "key": "header:x-client"}"#).unwrap();
    for (client, status) in [("a", 200), ("a", 200), ("a", 429), ("b", 200)] {
        assert_eq!(host.get("/").header("x-client", client).send(handle).status, status);
    }
}

#[test]
fn refuses() {
    let _host = edge_guest::test::Host::new();
    for (config, want) in [
        ("", "config.store: is missing"),
        (r#"{"store": "s"}"#, "config.limit: is missing"),
        (r#"{"store": "s", "limit": 0}"#, "config.limit: must be a whole number from 1 to 1000000"),
        (r#"{"store": "s", "limit": 1, "window": "5"}"#, "config.window: \"5\" is no time"),
        (r#"{"store": "s", "limit": 1, "key": "cookie:x"}"#, "config.key: \"cookie:x\" is none of"),
        (r#"{"store": "s", "limit": 1, "limits": 2}"#, "config.limits: there is no such key"),
        ("store: s", "config: must be a map of keys"),
    ] {
        let error = check(config.as_bytes()).unwrap_err();
        assert!(error.contains(want), "{} does not say {}", error, want);
    }
}
