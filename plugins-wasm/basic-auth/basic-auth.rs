//! Lets requests in that bring name and password (RFC 7617). See README.md.

#[path = "../shared/config.rs"]
mod config;
#[path = "../shared/sha256.rs"]
mod sha256;

use std::cell::RefCell;

use edge_guest::{Flow, Request};
use sha256::Digest;

edge_guest::config!(check);
edge_guest::middleware!(handle);

/// A password takes less than half of what limits.fuel lets a request compute by default.
const MOST_ROUNDS: u32 = 20_000;

struct Guard {
    users: Vec<User>,
    slowest: usize, // the user whose password takes longest
    header: String,
    variable: String,
    forward: bool,
    challenge: String,
}

struct User {
    name: String,
    rounds: u32, // of PBKDF2; 0: a single SHA-256 of salt and password
    salt: Vec<u8>,
    hash: Digest,
    proved: Option<Digest>, // of the password that was right: the same one again costs one hash
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
        let mut users: Vec<User> = Vec::new();
        for mut u in c.sections("users", 1000)? {
            let name = u.required("name", "who this is")?;
            if name.len() > 256 || name.contains(':') || name.bytes().any(|b| b < 0x20 || b == 0x7f) {
                return u.wrong("name", "must have at most 256 bytes, no colon and no control characters");
            }
            if users.iter().any(|other| other.name == name) {
                return u.wrong("name", format!("{:?} is there twice", name));
            }
            let text = u.required("password", "pbkdf2-sha256:ROUNDS:SALT:HASH, see the README for how to make one")?;
            let user = match User::new(name, &text) {
                Ok(user) => user,
                Err(why) => return u.wrong("password", why),
            };
            u.end()?;
            users.push(user);
        }
        if users.is_empty() {
            return c.missing("users", "must have at least one entry {name: …, password: …}");
        }
        let slowest = (0..users.len()).max_by_key(|&i| users[i].rounds).unwrap_or(0);
        let guard = Guard {
            users,
            slowest,
            header: c.header("header", "x-remote-user")?,
            variable: c.variable("variable", "auth.user")?,
            forward: c.bool("forward", false)?,
            challenge: format!("Basic realm=\"{}\", charset=\"UTF-8\"", c.realm("restricted")?),
        };
        c.end().map(|()| guard)
    }

    /// The user whose password this is. A name that nobody has takes as long as one that somebody has.
    fn user(&mut self, name: &[u8], password: &[u8]) -> Option<&str> {
        let found = self.users.iter().position(|u| u.name.as_bytes() == name);
        let user = &mut self.users[found.unwrap_or(self.slowest)];
        let right = user.is_right(password);
        found.filter(|_| right).map(move |i| self.users[i].name.as_str())
    }
}

impl User {
    /// Reads pbkdf2-sha256:ROUNDS:SALT:HASH or sha256:SALT:HASH.
    fn new(name: String, text: &str) -> Result<User, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (rounds, salt, hash) = match parts[..] {
            ["pbkdf2-sha256", rounds, salt, hash] => match rounds.parse() {
                Ok(n) if (1000..=MOST_ROUNDS).contains(&n) => (n, salt, hash),
                _ => return Err(format!("ROUNDS must be a number from 1000 to {}", MOST_ROUNDS)),
            },
            ["sha256", salt, hash] => (0, salt, hash),
            _ if text.starts_with("$2") => return Err("bcrypt is not supported: the README says why, and how to make pbkdf2-sha256:ROUNDS:SALT:HASH".into()),
            _ => return Err("must be pbkdf2-sha256:ROUNDS:SALT:HASH or sha256:SALT:HASH; never the password itself".into()),
        };
        let salt = match sha256::unhex(salt) {
            Some(salt) if (8..=64).contains(&salt.len()) => salt,
            _ => return Err("SALT must be 16 to 128 hexadecimal digits".into()),
        };
        match sha256::unhex(hash).map(|h| h.try_into()) {
            Some(Ok(hash)) => Ok(User { name, rounds, salt, hash, proved: None }),
            _ => Err("HASH must be 64 hexadecimal digits".into()),
        }
    }

    fn is_right(&mut self, password: &[u8]) -> bool {
        let quick = sha256::sha256(&[&self.salt[..], password].concat());
        if self.rounds == 0 {
            return sha256::equal(&quick, &self.hash);
        }
        if matches!(&self.proved, Some(proved) if sha256::equal(proved, &quick)) {
            return true;
        }
        let right = sha256::equal(&sha256::pbkdf2(password, &self.salt, self.rounds), &self.hash);
        if right {
            self.proved = Some(quick);
        }
        right
    }
}

fn handle(r: &mut Request) -> Flow {
    GUARD.with(|g| match g.borrow_mut().as_mut() {
        Some(guard) => admit(guard, r),
        None => r.respond(500, "text/plain", "not configured\n"), // cannot be: without check there is no instance
    })
}

fn admit(g: &mut Guard, r: &mut Request) -> Flow {
    if !g.header.is_empty() {
        r.header().remove(&g.header); // what a client says of itself counts for nothing
    }
    let name = match r.header().get("authorization").and_then(|value| credentials(&value)) {
        Some((name, password)) => g.user(&name, &password).map(|name| name.to_string()),
        None => None,
    };
    let name = match name {
        Some(name) => name,
        None => {
            r.response().header().set("www-authenticate", &g.challenge);
            r.response().header().set("cache-control", "no-store");
            return r.respond(401, "text/plain", "name and password are needed\n");
        }
    };
    if !g.forward {
        r.header().remove("authorization");
    }
    if !g.header.is_empty() {
        r.header().set(&g.header, &name);
    }
    if !g.variable.is_empty() {
        let _ = edge_guest::set_var(&g.variable, &name); // fails where others filled all variables: no reason to refuse
    }
    Flow::Next
}

/// Name and password of an Authorization header; a password of more than 1 KiB is nobody's.
fn credentials(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = (value.get(..6)?, value.get(6..)?);
    if !scheme.eq_ignore_ascii_case(b"basic ") || rest.len() > 2048 {
        return None;
    }
    let text = unbase64(std::str::from_utf8(rest).ok()?.trim().as_bytes())?;
    let colon = text.iter().position(|&b| b == b':')?;
    Some((text[..colon].to_vec(), text[colon + 1..].to_vec())).filter(|(_, password)| password.len() <= 1024)
}

/// Base64 with or without its padding.
fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&b| b != b'=').map_or(0, |at| at + 1);
    if text.len() - end > 2 || end % 4 == 1 {
        return None;
    }
    let (mut out, mut bits, mut n) = (Vec::with_capacity(end), 0u32, 0);
    for &b in &text[..end] {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | value as u32;
        n += 6;
        if n >= 8 {
            n -= 8;
            out.push((bits >> n) as u8);
        }
    }
    Some(out)
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}

#[test]
fn base64() {
    for (text, want) in [("", Some("")), ("QQ==", Some("A")), ("QQ", Some("A")), ("QWxhZGRpbjpvcGVu", Some("Aladdin:open")), ("Q", None), ("QQ=Q", None), ("Q===", None), ("Q Q", None)] {
        assert_eq!(unbase64(text.as_bytes()).as_deref(), want.map(|w| w.as_bytes()), "{}", text);
    }
    assert_eq!(credentials(b"basic QWxhZGRpbjpvcGVu"), Some((b"Aladdin".to_vec(), b"open".to_vec())));
    assert_eq!(credentials(b"Basic QWxhZGRpbg=="), None);
    assert_eq!(credentials(b"Bearer x"), None);
}

#[test]
fn passwords() {
    let hash = sha256::hex(&sha256::pbkdf2(b"s3cret", b"saltsalt", 1000));
    let mut user = User::new("a".into(), &format!("pbkdf2-sha256:1000:{}:{}", sha256::hex(b"saltsalt"), hash)).unwrap();
    for (password, right) in [("", false), ("s3cret", true), ("s3cret", true), ("s3cre", false), ("s3cret ", false)] {
        assert_eq!(user.is_right(password.as_bytes()), right, "{}", password);
    }
}

#[test]
fn lets_users_in() {
    let host = edge_guest::test::Host::new();
    let salted = sha256::hex(&sha256::sha256(b"saltsaltopen"));
    check(format!(r#"{{"users": [{{"name": "Aladdin", "password": "sha256:{}:{}"}}]}}"#, sha256::hex(b"saltsalt"), salted).as_bytes()).unwrap();
    assert_eq!(host.get("/").send(handle).header("www-authenticate"), b"Basic realm=\"restricted\", charset=\"UTF-8\"");
    let a = host.get("/").header("authorization", "Basic QWxhZGRpbjpvcGVu").header("x-remote-user", "root").send(handle);
    assert_eq!((a.seen().header("x-remote-user"), a.seen().header("authorization")), (&b"Aladdin"[..], &b""[..]));
}
