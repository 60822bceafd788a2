//! Reads a plugin's configuration, which the server hands over as JSON. Every key that is read is known; what is left at the
//! end is refused, and so is what has the wrong type, with the path of the key and the reason.
#![allow(dead_code)] // each plugin uses its part

use std::ops::RangeInclusive;

/// A value of JSON.
#[derive(Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

pub type Result<T> = std::result::Result<T, String>;

/// A map of the configuration whose keys are taken out one by one.
#[derive(Debug)]
pub struct Section {
    path: String,
    fields: Vec<(String, Value)>,
    known: Vec<&'static str>,
}

/// Any text of JSON; None if it is none.
pub fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text, depth: 0 };
    let value = parser.value()?;
    Some(value).filter(|_| parser.rest.trim().is_empty())
}

/// The whole configuration; nothing at all is a map without keys.
pub fn read(config: &[u8]) -> Result<Section> {
    let text = std::str::from_utf8(config).map_err(|_| "config: not UTF-8")?;
    if text.trim().is_empty() {
        return Section::new("config", Value::Map(Vec::new()));
    }
    let mut parser = Parser { rest: text, depth: 0 };
    let value = parser.value().ok_or_else(|| format!("config: must be a map of keys, not the text {:?}", text.chars().take(40).collect::<String>()))?;
    if !parser.rest.trim().is_empty() {
        return Err(format!("config: {:?} is too much", parser.rest.chars().take(40).collect::<String>()));
    }
    Section::new("config", value)
}

impl Section {
    pub fn new(path: impl Into<String>, value: Value) -> Result<Section> {
        let path = path.into();
        match value {
            Value::Map(fields) => Ok(Section { path, fields, known: Vec::new() }),
            _ => Err(format!("{}: must be a map of keys", path)),
        }
    }

    /// The path of a key, for errors.
    pub fn at(&self, key: &str) -> String {
        format!("{}.{}", self.path, key)
    }

    pub fn wrong<T>(&self, key: &str, why: impl std::fmt::Display) -> Result<T> {
        Err(format!("{}: {}", self.at(key), why))
    }

    /// Takes a key out; null is as good as absent.
    pub fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        let at = self.fields.iter().position(|(name, _)| name == key)?;
        match self.fields.remove(at).1 {
            Value::Null => None,
            value => Some(value),
        }
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => self.wrong(key, "must be a text; put it into quotes"),
        }
    }

    /// A text that must be there and not be empty.
    pub fn required(&mut self, key: &'static str, what: &str) -> Result<String> {
        match self.text(key)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => self.missing(key, format!("is missing: {}", what)),
        }
    }

    /// An error for a key that must be there. Whoever has misspelled it finds it among the keys that nobody has asked for yet.
    pub fn missing<T>(&self, key: &str, why: impl std::fmt::Display) -> Result<T> {
        let others: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        let there = if others.is_empty() { String::new() } else { format!("; what is there: {}", others.join(", ")) };
        self.wrong(key, format!("{}{}", why, there))
    }

    pub fn bool(&mut self, key: &'static str, default: bool) -> Result<bool> {
        match self.take(key) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(b),
            Some(_) => self.wrong(key, "must be true or false"),
        }
    }

    pub fn number(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Number(n)) if n.fract() == 0.0 && n >= *range.start() as f64 && n <= *range.end() as f64 => Ok(Some(n as i64)),
            Some(_) => self.wrong(key, format!("must be a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// One of some words; the first is the default.
    pub fn choice(&mut self, key: &'static str, words: &[&'static str]) -> Result<&'static str> {
        let text = match self.text(key)? {
            None => return Ok(words[0]),
            Some(text) => text,
        };
        match words.iter().find(|w| **w == text) {
            Some(word) => Ok(word),
            None => self.wrong(key, format!("{:?} is none of: {}", text, words.join(", "))),
        }
    }

    /// A time such as 500ms, 10s, 1m30s or 24h, in milliseconds.
    pub fn duration(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let text = match self.text(key)? {
            None => return Ok(None),
            Some(text) => text,
        };
        match milliseconds(&text) {
            Some(ms) if range.contains(&ms) => Ok(Some(ms)),
            Some(_) => self.wrong(key, format!("{} is not between {} ms and {} s", text, range.start(), range.end() / 1000)),
            None => self.wrong(key, format!("{:?} is no time: write 500ms, 10s, 1m30s or 24h", text)),
        }
    }

    pub fn list(&mut self, key: &'static str, most: usize) -> Result<Vec<Value>> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::List(list)) if list.len() <= most => Ok(list),
            Some(Value::List(list)) => self.wrong(key, format!("has {} entries, at most {} are allowed", list.len(), most)),
            Some(_) => self.wrong(key, "must be a list"),
        }
    }

    /// A list of maps, each with its path.
    pub fn sections(&mut self, key: &'static str, most: usize) -> Result<Vec<Section>> {
        let path = self.at(key);
        self.list(key, most)?.into_iter().enumerate().map(|(i, v)| Section::new(format!("{}[{}]", path, i), v)).collect()
    }

    /// A list of texts that is either absent or has some.
    pub fn some_texts(&mut self, key: &'static str, most: usize) -> Result<Vec<String>> {
        let given = self.fields.iter().any(|(name, value)| name == key && !matches!(value, Value::Null));
        let texts = self.texts(key, most)?;
        if given && texts.is_empty() {
            return self.wrong(key, "is an empty list; leave the key out for what is usual");
        }
        Ok(texts)
    }

    pub fn texts(&mut self, key: &'static str, most: usize) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for value in self.list(key, most)? {
            match value {
                Value::Text(text) => texts.push(text),
                _ => return self.wrong(key, "must be a list of texts; put them into quotes"),
            }
        }
        Ok(texts)
    }

    /// The name of a header; empty: none.
    pub fn header(&mut self, key: &'static str, default: &str) -> Result<String> {
        let name = self.text(key)?.unwrap_or_else(|| default.into());
        if !name.is_empty() && !is_token(&name) {
            return self.wrong(key, format!("{:?} is no name of a header", name));
        }
        Ok(name)
    }

    /// The name of a variable that a plugin may set; empty: none.
    pub fn variable(&mut self, key: &'static str, default: &str) -> Result<String> {
        let name = self.text(key)?.unwrap_or_else(|| default.into());
        if name.starts_with("edge.") || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return self.wrong(key, format!("{:?} is not up to 64 of a-z A-Z 0-9 _ . -, and not edge.…", name));
        }
        Ok(name)
    }

    /// A realm, which goes into quotes.
    pub fn realm(&mut self, default: &str) -> Result<String> {
        let realm = self.text("realm")?.unwrap_or_else(|| default.into());
        if realm.len() > 256 || !realm.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
            return self.wrong("realm", "must be at most 256 printable ASCII characters without quotes and backslashes");
        }
        Ok(realm)
    }

    /// The keys that are left, with texts: a map of names.
    pub fn names(self) -> Result<Vec<(String, String)>> {
        let path = self.path;
        let pairs = self.fields.into_iter().map(|(name, value)| match value {
            Value::Text(text) => Ok((name, text)),
            _ => Err(format!("{}.{}: must be a text; put it into quotes", path, name)),
        });
        pairs.collect()
    }

    /// Refuses keys that nobody asked for.
    pub fn end(self) -> Result<()> {
        self.all_known()
    }

    /// The same, while there is more to say about the section.
    pub fn all_known(&self) -> Result<()> {
        match self.fields.first() {
            None => Ok(()),
            Some((name, _)) => self.wrong(name, format!("there is no such key; there are {}", self.known.join(", "))),
        }
    }
}

pub fn is_token(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn milliseconds(text: &str) -> Option<i64> {
    let (mut rest, mut total) = (text, 0i64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let n: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(n.checked_mul(factor)?)?;
        rest = &rest[unit..];
    }
    Some(total).filter(|_| !text.is_empty())
}

/// A parser of JSON that gives up at a depth of 32.
struct Parser<'a> {
    rest: &'a str,
    depth: u32,
}

impl Parser<'_> {
    fn skip(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > 32 {
            return None;
        }
        let value = self.inner();
        self.depth -= 1;
        value
    }

    fn inner(&mut self) -> Option<Value> {
        for (word, value) in [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.skip(word) {
                return Some(value);
            }
        }
        if self.skip("[") {
            let mut list = Vec::new();
            while !self.skip("]") {
                if !list.is_empty() && !self.skip(",") {
                    return None;
                }
                list.push(self.value()?);
            }
            return Some(Value::List(list));
        }
        if self.skip("{") {
            let mut fields = Vec::new();
            while !self.skip("}") {
                if !fields.is_empty() && !self.skip(",") {
                    return None;
                }
                let name = self.string()?;
                if !self.skip(":") {
                    return None;
                }
                fields.push((name, self.value()?));
            }
            return Some(Value::Map(fields));
        }
        if self.rest.starts_with('"') {
            return self.string().map(Value::Text);
        }
        let end = self.rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(self.rest.len());
        let number = self.rest[..end].parse().ok()?;
        self.rest = &self.rest[end..];
        Some(Value::Number(number))
    }

    fn string(&mut self) -> Option<String> {
        if !self.skip("\"") {
            return None;
        }
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'u' => text.push(escaped(&mut chars)?),
                    other => text.push(other),
                },
                c => text.push(c),
            }
        }
        None
    }
}

/// What follows \u: four digits, or a pair of surrogates.
fn escaped(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let mut unit = || (0..4).try_fold(0, |n, _| Some(n << 4 | chars.next()?.1.to_digit(16)?));
    let high = unit()?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high);
    }
    if chars.next()?.1 != '\\' || chars.next()?.1 != 'u' {
        return None;
    }
    let low = (0..4).try_fold(0, |n, _| Some(n << 4 | chars.next()?.1.to_digit(16)?))?;
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + low.checked_sub(0xdc00)?)
}
