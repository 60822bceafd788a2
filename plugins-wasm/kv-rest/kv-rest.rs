//! A store behind a REST interface like Upstash's: commands of Redis as JSON, over HTTP. See README.md.

#[path = "../shared/config.rs"]
mod config;
mod text;

use config::Value;
use edge_guest::driver::{Can, Driver, Found, Page, SetRequest};
use edge_guest::{http, set_error, Error, Result};
use text::{decode, encode, json, whole};

edge_guest::driver!(Rest);

struct Rest {
    url: String,
    bearer: String,
    prefix: Vec<u8>,
    timeout_ms: u32,
}

/// Sets a key if it still holds a value.
const SET_IF: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[1], unpack(ARGV, 2)) return 1";

const DELETE_IF: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[1]) return 1";

/// Removes the keys of one page.
const CLEAR: &str = "local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000) \
    if #page[2] > 0 then redis.call('UNLINK', unpack(page[2])) end return page[1]";

fn settings(text: &[u8]) -> config::Result<Rest> {
    let mut c = config::read(text)?;
    let url = c.required("url", "where the store is, such as https://eu1-example.upstash.io")?;
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default().split('/').next().unwrap_or_default();
    if host.is_empty() || url.bytes().any(|b| b <= 0x20 || b == 0x7f) {
        return c.wrong("url", format!("{:?} is not https://HOST or http://HOST", url));
    }
    let token = c.required("token", "what goes into the header Authorization behind Bearer")?;
    if !token.bytes().all(|b| (0x21..0x7f).contains(&b)) {
        return c.wrong("token", "has characters that a header cannot have");
    }
    let prefix = c.text("prefix")?.unwrap_or_default().into_bytes();
    let timeout_ms = c.duration("timeout", 1..=60_000)?.unwrap_or(5_000) as u32;
    c.end()?;
    Ok(Rest { url: url.trim_end_matches('/').into(), bearer: format!("Bearer {}", token), prefix, timeout_ms })
}

/// An error, with words for the log.
fn fail<T>(error: Error, why: impl AsRef<str>) -> Result<T> {
    set_error(why.as_ref());
    Err(error)
}

/// What the server says is wrong.
fn refused<T>(why: &str) -> Result<T> {
    let error = match why.split(' ').next().unwrap_or_default() {
        "OOM" => Error::Limit,
        "WRONGTYPE" => Error::Invalid,
        "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" => Error::Unavailable,
        "NOPERM" | "NOAUTH" | "WRONGPASS" => Error::Denied,
        _ if why.contains("not an integer") || why.contains("would overflow") => Error::Invalid,
        _ => Error::Internal,
    };
    fail(error, format!("the store says: {}", why))
}

impl Rest {
    fn key(&self, key: &[u8]) -> String {
        encode(&[&self.prefix[..], key].concat())
    }

    /// Sends a body to a path and returns the answer.
    fn post(&self, path: &str, body: &str) -> Result<String> {
        let call = http::post(format!("{}{}", self.url, path), body).header("authorization", &self.bearer);
        let sent = call.header("content-type", "application/json").timeout_ms(self.timeout_ms).send();
        let read = sent.and_then(|mut answer| Ok((answer.status(), answer.read_all()?)));
        let (status, body) = match read {
            Ok(answer) => answer,
            Err(e) => return fail(e, format!("POST {}{}: {}", self.url, path, edge_guest::last_error())),
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        match status {
            200 => Ok(body),
            400 => match error_of(config::parse(&body).as_ref()) {
                Some(why) => refused(why),
                None => fail(Error::Internal, format!("the store answers 400: {:.200}", body)),
            },
            401 | 403 => fail(Error::Denied, "the store does not take the token"),
            413 => fail(Error::TooLarge, "the store answers 413: the request is too large for it"),
            status => fail(Error::Unavailable, format!("the store answers {}", status)),
        }
    }

    /// One command.
    fn command(&self, args: &[&str]) -> Result<Value> {
        let body = self.post("/", &json(args))?;
        match config::parse(&body) {
            Some(Value::Map(fields)) => result_of(fields),
            _ => no_answer(&body),
        }
    }

    /// Several commands in one request; each may fail.
    fn commands(&self, path: &str, all: &[&[&str]]) -> Result<(Vec<Result<Value>>, String)> {
        let list: Vec<String> = all.iter().map(|args| json(args)).collect();
        let body = self.post(path, &format!("[{}]", list.join(",")))?;
        match config::parse(&body) {
            Some(Value::List(answers)) if answers.len() == all.len() => {
                let mut results = Vec::new();
                for answer in answers {
                    match answer {
                        Value::Map(fields) => results.push(result_of(fields)),
                        _ => return no_answer(&body),
                    }
                }
                Ok((results, body))
            }
            _ => no_answer(&body),
        }
    }

    /// The value that a key holds, as the server has it.
    fn raw(&self, key: &str) -> Result<Option<String>> {
        match self.command(&["GET", key])? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => no_answer("GET"),
        }
    }

    /// What a key holds, if that is still the version.
    fn expected(&self, key: &str, version: i64) -> Result<String> {
        match self.raw(key)? {
            Some(text) if version_of(&text) == version => Ok(text),
            _ => Err(Error::Condition),
        }
    }
}

fn no_answer<T>(body: &str) -> Result<T> {
    fail(Error::Unavailable, format!("what answers is no store with a REST interface: {:.100}", body))
}

fn error_of(answer: Option<&Value>) -> Option<&str> {
    match answer? {
        Value::Map(fields) => fields.iter().find_map(|(name, value)| match value {
            Value::Text(why) if name == "error" => Some(&why[..]),
            _ => None,
        }),
        _ => None,
    }
}

fn result_of(fields: Vec<(String, Value)>) -> Result<Value> {
    for (name, value) in fields {
        match (&name[..], value) {
            ("result", value) => return Ok(value),
            ("error", Value::Text(why)) => return refused(&why),
            _ => {}
        }
    }
    no_answer("neither result nor error")
}

fn number(value: Value) -> Result<i64> {
    match value {
        Value::Number(n) => Ok(n as i64),
        _ => no_answer("a number was expected"),
    }
}

/// The last result of an answer as a number of 64 bits, which JSON's numbers are not to all who read them.
fn exact(body: &str) -> Result<i64> {
    let from = body.rfind("\"result\":").map_or(body.len(), |at| at + 9);
    let digits = body[from..].trim_start();
    let end = digits.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().or_else(|_| no_answer(body))
}

/// Tells contents apart, never 0.
fn version_of(text: &str) -> i64 {
    let mut h = text.len() as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for chunk in text.as_bytes().chunks(8) {
        let word = chunk.iter().rev().fold(0u64, |n, &b| n << 8 | b as u64);
        h = (h ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    ((h ^ h >> 32) >> 1).max(1) as i64
}

/// The options of SET.
fn options(how: &SetRequest) -> Vec<String> {
    let mut args = Vec::new();
    match how.ttl_ms {
        _ if how.keep_ttl => args.push("KEEPTTL".into()),
        Some(ms) => args.extend(["PX".into(), ms.to_string()]),
        None => {}
    }
    if how.if_absent {
        args.push("NX".into());
    } else if how.if_present {
        args.push("XX".into());
    }
    args
}

impl Driver for Rest {
    const CAN: Can = Can::TTL.and(Can::CAS).and(Can::INCREMENT).and(Can::SCAN).and(Can::SHARED);

    fn open(config: &[u8]) -> Result<Rest> {
        settings(config).or_else(|why| fail(Error::Invalid, why))
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Found<'_>>> {
        let key = self.key(key);
        let (results, _) = self.commands("/pipeline", &[&["GET", &key], &["PTTL", &key]])?;
        let mut results = results.into_iter();
        let (value, ttl) = match (results.next(), results.next()) {
            (Some(Err(Error::Invalid)), _) => return Ok(None), // a list or a set of somebody else is no value
            (Some(value), Some(ttl)) => (value?, number(ttl?)?),
            _ => return no_answer("GET"),
        };
        match value {
            Value::Text(text) if ttl != -2 => {
                // With 0, less than a millisecond is left: to SET NX and INCR the key is still there.
                let ttl_ms = if ttl < 0 { None } else { Some(ttl.max(1) as u64) };
                Ok(Some(Found { ttl_ms, version: version_of(&text), ..Found::from(decode(&text)) }))
            }
            _ => Ok(None),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], how: SetRequest) -> Result<i64> {
        let (key, value, options) = (self.key(key), encode(value), options(&how));
        let options: Vec<&str> = options.iter().map(|o| &o[..]).collect();
        if let Some(version) = how.if_version {
            let old = self.expected(&key, version)?;
            let done = self.command(&[&["EVAL", SET_IF, "1", &key, &old, &value], &options[..]].concat())?;
            return if number(done)? == 1 { Ok(version_of(&value)) } else { Err(Error::Condition) };
        }
        match self.command(&[&["SET", &key, &value], &options[..]].concat())? {
            Value::Null if how.if_absent => Err(Error::Exists),
            Value::Null => Err(Error::Condition),
            _ => Ok(version_of(&value)),
        }
    }

    fn delete(&mut self, key: &[u8], if_version: Option<i64>) -> Result<bool> {
        let key = self.key(key);
        if let Some(version) = if_version {
            let old = self.expected(&key, version)?;
            let done = self.command(&["EVAL", DELETE_IF, "1", &key, &old])?;
            return if number(done)? == 1 { Ok(true) } else { Err(Error::Condition) };
        }
        Ok(number(self.command(&["DEL", &key])?)? > 0)
    }

    fn increment(&mut self, key: &[u8], delta: i64, ttl_ms: Option<u64>) -> Result<i64> {
        let (key, delta) = (self.key(key), delta.to_string());
        let body = match ttl_ms {
            None => self.post("/", &json(&["INCRBY", &key, &delta]))?,
            Some(ms) => {
                let ms = ms.to_string();
                let (results, body) = self.commands("/multi-exec", &[&["SET", &key, "0", "PX", &ms, "NX"], &["INCRBY", &key, &delta]])?;
                for result in results {
                    result?;
                }
                body
            }
        };
        let answer = match config::parse(&body) {
            Some(answer) => answer,
            None => return no_answer(&body),
        };
        match error_of(Some(&answer)) {
            Some(why) => refused(why),
            None => exact(&body),
        }
    }

    fn expire(&mut self, key: &[u8], ttl_ms: Option<u64>) -> Result<bool> {
        let key = self.key(key);
        if let Some(ms) = ttl_ms {
            return Ok(number(self.command(&["PEXPIRE", &key, &ms.to_string()])?)? == 1);
        }
        let (results, _) = self.commands("/pipeline", &[&["PERSIST", &key], &["EXISTS", &key]])?;
        match results.into_iter().last() {
            Some(there) => Ok(number(there?)? == 1),
            None => no_answer("EXISTS"),
        }
    }

    fn scan(&mut self, prefix: &[u8], cursor: &[u8], max: usize) -> Result<Page> {
        // A character that is cut in two is written in another way than a whole one.
        let pattern = text::pattern(&encode(whole(&[&self.prefix[..], prefix].concat())));
        let cursor = if cursor.is_empty() { "0".into() } else { String::from_utf8_lossy(cursor) };
        let (next, keys) = match self.command(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", &max.to_string()])? {
            Value::List(mut page) if page.len() == 2 => (page.remove(0), page.remove(0)),
            _ => return no_answer("SCAN"),
        };
        let next = match next {
            Value::Text(next) => next,
            other => number(other)?.to_string(),
        };
        let mut page = Page { cursor: if next == "0" { Vec::new() } else { next.into_bytes() }, ..Page::default() };
        if let Value::List(keys) = keys {
            for key in keys {
                if let Value::Text(key) = key {
                    let key = decode(&key);
                    let key = key.strip_prefix(&self.prefix[..]).unwrap_or(&key);
                    if key.starts_with(prefix) {
                        page.keys.push(key.to_vec());
                    }
                }
            }
        }
        Ok(page)
    }

    fn clear(&mut self) -> Result<()> {
        let pattern = text::pattern(&encode(whole(&self.prefix)));
        let mut cursor = String::from("0");
        loop {
            cursor = match self.command(&["EVAL", CLEAR, "0", &cursor, &pattern])? {
                Value::Text(next) => next,
                other => number(other)?.to_string(),
            };
            if cursor == "0" {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_guest::test::Host;

    fn open(config: &str) -> Result<Rest> {
        Rest::open(config.as_bytes())
    }

    #[test]
    fn configuration() {
        assert!(open("{\"url\": \"https://a.example/\", \"token\": \"t\"}").is_ok());
        for config in ["{}", "{\"url\": \"a.example\", \"token\": \"t\"}", "{\"url\": \"http://a\", \"token\": \"a\\nb\"}", "{\"url\": \"http://a\", \"token\": \"a\", \"x\": 1}"] {
            assert_eq!(open(config).err(), Some(Error::Invalid), "{}", config);
        }
    }

    #[test]
    fn errors_have_their_kind() {
        for (status, body, want) in [
            (500, "", Error::Unavailable),
            (401, "", Error::Denied),
            (200, "<html>", Error::Unavailable),
            (200, "{\"result\": 1", Error::Unavailable),
            (400, "{\"error\": \"OOM command not allowed\"}", Error::Limit),
            (400, "{\"error\": \"ERR value is not an integer or out of range\"}", Error::Invalid),
            (400, "{\"error\": \"ERR unknown command\"}", Error::Internal),
        ] {
            let got = Host::new().http(move |_| (status, body.into())).run(|| {
                let mut rest = open("{\"url\": \"http://a.example\", \"token\": \"t\"}")?;
                rest.increment(b"k", 1, None)
            });
            assert_eq!(got, Err(want), "{} {}", status, body);
        }
    }

    #[test]
    fn numbers_are_exact() {
        assert_eq!(exact("{\"result\":9223372036854775807}"), Ok(i64::MAX));
        assert_eq!(exact("[{\"result\":\"OK\"},{\"result\": -9223372036854775808 }]"), Ok(i64::MIN));
    }
}
