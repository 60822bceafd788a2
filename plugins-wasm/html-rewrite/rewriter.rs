//! Rewrites HTML as it comes, in pieces of any size, without building a tree.

/// An element that a rule is about: `a.button[href]`. Every part has to fit.
#[derive(Debug, Default)]
pub struct Selector {
    pub tag: String,
    attributes: Vec<(String, Test)>,
}

#[derive(Debug)]
enum Test {
    There,
    Is(String),
    Has(String), // a word, of class
}

/// What happens to elements.
#[derive(Debug, Default)]
pub struct Rule {
    pub select: Selector,
    pub before: String,
    pub after: String,
    pub prepend: String,
    pub append: String,
    pub replace: Option<String>,
    pub remove: bool,
    pub set: Vec<(String, String)>,
    pub unset: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Rules {
    pub rules: Vec<Rule>,
    pub text: Vec<(String, String)>,
    pub links: Vec<(String, String)>,
}

/// Elements that have no end tag.
const VOID: [&str; 14] = ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];

/// Elements whose end tag may be missing, so that their end cannot be told without a tree.
const OPEN_ENDED: [&str; 17] = [
    "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup", "caption", "rp", "rt", "html",
];

/// Elements whose content is no markup.
const RAW: [&str; 9] = ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "noscript"];

/// So many elements are followed to their end at once; rules about more of them are not applied to their end.
const MOST_FOLLOWED: usize = 64;

impl Rule {
    fn is_ascii(&self) -> bool {
        let wanted = self.select.attributes.iter().all(|(_, test)| match test {
            Test::There => true,
            Test::Is(value) | Test::Has(value) => value.is_ascii(),
        });
        let texts = [&self.before, &self.after, &self.prepend, &self.append].iter().all(|text| text.is_ascii());
        wanted && texts && self.replace.iter().chain(self.set.iter().map(|(_, value)| value)).all(|text| text.is_ascii())
    }

    /// Whether the rule needs to know where an element ends.
    pub fn needs_end(&self) -> bool {
        self.remove || self.replace.is_some() || !self.append.is_empty() || !self.after.is_empty()
    }
}

pub fn is_void(tag: &str) -> bool {
    VOID.contains(&tag)
}

impl Rules {
    /// Whether all that they look for and write is ASCII, the same in nearly every charset.
    pub fn are_ascii(&self) -> bool {
        let pairs = self.text.iter().chain(&self.links).all(|(a, b)| a.is_ascii() && b.is_ascii());
        pairs && self.rules.iter().all(Rule::is_ascii)
    }
}

pub fn is_open_ended(tag: &str) -> bool {
    OPEN_ENDED.contains(&tag)
}

impl Selector {
    pub fn parse(text: &str) -> Result<Selector, String> {
        let mut selector = Selector::default();
        let mut rest = text;
        let no_selector = || format!("{:?} is no tag, #id, .class, [attr], [attr=value] or several of them together; there are no others", text);
        let word = |rest: &mut &str| {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == ':')).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            *rest = behind;
            match word {
                "" => Err(no_selector()),
                word => Ok(word.to_string()),
            }
        };
        if !rest.starts_with(['#', '.', '['].as_slice()) {
            selector.tag = word(&mut rest)?.to_ascii_lowercase();
        }
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            let test = match first {
                '#' => ("id".to_string(), Test::Is(word(&mut rest)?)),
                '.' => ("class".to_string(), Test::Has(word(&mut rest)?)),
                '[' => {
                    let end = rest.find(']').ok_or("a [ without a ]")?;
                    let (mut inner, behind) = (&rest[..end], &rest[end + 1..]);
                    rest = behind;
                    let name = word(&mut inner)?.to_ascii_lowercase();
                    match inner.strip_prefix('=') {
                        Some(value) => (name, Test::Is(value.trim_matches('"').to_string())),
                        None if inner.is_empty() => (name, Test::There),
                        None => return Err(no_selector()),
                    }
                }
                _ => return Err(no_selector()),
            };
            selector.attributes.push(test);
        }
        Ok(selector)
    }

    fn fits(&self, tag: &Tag) -> bool {
        (self.tag.is_empty() || same(tag.name, &self.tag))
            && self.attributes.iter().all(|(name, test)| {
                tag.attribute(name).map_or(false, |a| match test {
                    Test::There => true,
                    Test::Is(value) => a.value == value.as_bytes(),
                    Test::Has(word) => a.value.split(|b| b.is_ascii_whitespace()).any(|w| w == word.as_bytes()),
                })
            })
    }
}

/// A tag with its attributes, as places in its bytes.
struct Tag<'a> {
    name: &'a [u8],
    bytes: &'a [u8], // from < to >
    attributes: Vec<Attribute<'a>>,
    end: usize, // where another attribute can be put
}

struct Attribute<'a> {
    name: &'a [u8],
    value: &'a [u8],
    start: usize, // of the name
    value_start: usize,
    end: usize, // behind the value and its quote
}

impl Tag<'_> {
    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| same(a.name, name))
    }
}

/// An element that is followed to its end.
struct Followed {
    name: String,
    depth: usize, // of elements of this name inside of it
    append: Vec<u8>,
    after: Vec<u8>,
    hides: bool, // what is inside
    hides_end: bool,
}

pub struct Rewriter<'r> {
    rules: &'r Rules,
    pending: Vec<u8>, // the beginning of a token whose end has not come
    seen: usize,      // so much of it is text in which there is no <
    followed: Vec<Followed>,
    raw: Option<&'static str>, // the element whose content is no markup that is open
    out: Vec<u8>,
    changed: bool,
}

/// What stands at the beginning of the pending bytes.
enum Token {
    Text(usize),
    Other(usize), // a comment and the like
    Start(usize),
    End(usize),
    More, // bytes are missing
}

impl<'r> Rewriter<'r> {
    pub fn new(rules: &'r Rules) -> Rewriter<'r> {
        Rewriter { rules, pending: Vec::new(), seen: 0, followed: Vec::new(), raw: None, out: Vec::new(), changed: false }
    }

    /// Takes the next piece in and returns what is ready.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(piece);
        self.work(false)
    }

    /// Returns the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.work(true)
    }

    /// Whether anything is not as it came.
    pub fn changed(&self) -> bool {
        self.changed
    }

    fn work(&mut self, last: bool) -> Vec<u8> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        let mut seen = std::mem::take(&mut self.seen);
        while !rest.is_empty() {
            let token = match self.raw {
                Some(name) => raw_text(rest, name, last),
                None => token(rest, std::mem::take(&mut seen)),
            };
            let n = match token {
                Token::Text(n) => {
                    self.text(&rest[..n]);
                    n
                }
                Token::Other(n) => {
                    self.emit(&rest[..n]);
                    n
                }
                Token::Start(n) => {
                    self.start(&rest[..n]);
                    n
                }
                Token::End(n) => {
                    self.end(&rest[..n]);
                    n
                }
                Token::More if !last => {
                    self.seen = if self.raw.is_none() && rest[0] != b'<' { rest.len() } else { 0 };
                    break;
                }
                Token::More if rest[0] == b'<' => {
                    self.emit(rest); // broken off in the middle of a tag
                    rest.len()
                }
                Token::More => {
                    self.text(rest);
                    rest.len()
                }
            };
            rest = &rest[n..];
        }
        self.pending = rest.to_vec();
        std::mem::take(&mut self.out)
    }

    /// Writes what was not there.
    fn insert(&mut self, bytes: &[u8]) {
        self.changed |= !bytes.is_empty();
        self.emit(bytes)
    }

    fn hidden(&self) -> bool {
        self.followed.iter().any(|f| f.hides)
    }

    fn emit(&mut self, bytes: &[u8]) {
        if !self.hidden() {
            self.out.extend_from_slice(bytes);
        }
    }

    fn text(&mut self, text: &[u8]) {
        if self.rules.text.is_empty() || matches!(self.raw, Some(name) if name != "title") {
            return self.emit(text);
        }
        let mut new = None; // nearly all texts stay as they are
        for (what, by) in &self.rules.text {
            let now = new.as_deref().unwrap_or(text);
            if find(now, what.as_bytes()).is_some() {
                new = Some(replaced(now, what.as_bytes(), by.as_bytes()));
            }
        }
        match new {
            Some(new) => self.insert(&new),
            None => self.emit(text),
        }
    }

    fn start(&mut self, bytes: &[u8]) {
        let tag = parse_tag(bytes, 1);
        let void = one_of(tag.name, &VOID);
        if !void {
            self.followed.iter_mut().filter(|f| same(tag.name, &f.name)).for_each(|f| f.depth += 1);
        }
        if let Some(name) = RAW.iter().find(|name| same(tag.name, name)).filter(|_| !bytes.ends_with(b"/>")) {
            self.raw = Some(name);
        }
        let rules = self.rules;
        let mut inside = Vec::new();
        let mut follow = Followed { name: String::new(), depth: 1, append: Vec::new(), after: Vec::new(), hides: false, hides_end: false };
        let (mut gone, mut touched) = (false, Vec::new());
        let can_follow = !void && !one_of(tag.name, &OPEN_ENDED) && self.followed.len() < MOST_FOLLOWED;
        for rule in rules.rules.iter().filter(|rule| rule.select.fits(&tag)) {
            self.insert(rule.before.as_bytes());
            touched.push(rule);
            if void {
                follow.after.extend_from_slice(rule.after.as_bytes());
                gone |= rule.remove;
                continue;
            }
            inside.extend_from_slice(rule.prepend.as_bytes());
            if can_follow {
                follow.append.extend_from_slice(rule.append.as_bytes());
                follow.after.extend_from_slice(rule.after.as_bytes());
                if let Some(replace) = &rule.replace {
                    inside.extend_from_slice(replace.as_bytes());
                    follow.hides = true;
                }
                gone |= rule.remove;
            }
        }
        if !gone && touched.is_empty() && (tag.attributes.is_empty() || rules.links.is_empty()) {
            self.emit(bytes);
        } else if !gone {
            let edited = self.edited(&tag, &touched);
            self.changed |= edited != bytes;
            self.emit(&edited);
        }
        if void {
            self.changed |= gone;
            return self.insert(&follow.after);
        }
        if !gone {
            self.insert(&inside);
        }
        follow.hides |= gone;
        follow.hides_end = gone;
        self.changed |= follow.hides;
        if follow.hides || !follow.append.is_empty() || !follow.after.is_empty() {
            follow.name = String::from_utf8_lossy(tag.name).into_owned();
            self.followed.push(follow);
        }
    }

    /// The tag with its attributes changed; what is not touched stays as it was written.
    fn edited(&self, tag: &Tag, rules: &[&Rule]) -> Vec<u8> {
        let mut out = Vec::with_capacity(tag.bytes.len() + 64);
        let mut at = 0;
        for a in &tag.attributes {
            let set = rules.iter().flat_map(|r| &r.set).rfind(|(name, _)| same(a.name, name)).map(|(_, value)| value);
            if rules.iter().any(|r| r.unset.iter().any(|name| same(a.name, name))) {
                out.extend_from_slice(trim_end(&tag.bytes[at..a.start]));
                at = a.end;
            } else if let Some(value) = set {
                out.extend_from_slice(&tag.bytes[at..a.start]);
                out.extend_from_slice(&[a.name, b"=\"", &escaped(value), b"\""].concat());
                at = a.end;
            } else if let Some(value) = self.moved(a.name, a.value) {
                out.extend_from_slice(&tag.bytes[at..a.value_start]);
                out.extend_from_slice(&value);
                at = a.value_start + a.value.len();
            }
        }
        out.extend_from_slice(&tag.bytes[at..tag.end.max(at)]);
        for (name, value) in rules.iter().flat_map(|r| &r.set) {
            if tag.attribute(name).is_none() {
                out.extend_from_slice(&[b" ", name.as_bytes(), b"=\"", &escaped(value), b"\""].concat());
            }
        }
        out.extend_from_slice(&tag.bytes[tag.end.max(at)..]);
        out
    }

    /// The value of an attribute with other hosts in its links; None if there is nothing to change.
    fn moved(&self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        if self.rules.links.is_empty() {
            return None;
        }
        if same(name, "srcset") {
            let parts: Vec<(&[u8], Option<Vec<u8>>)> = value.split(|&b| b == b',').map(|part| (part, self.link(part))).collect();
            if parts.iter().all(|(_, moved)| moved.is_none()) {
                return None;
            }
            return Some(parts.into_iter().map(|(part, moved)| moved.unwrap_or_else(|| part.to_vec())).collect::<Vec<_>>().join(&b','));
        }
        self.link(value).filter(|_| one_of(name, &["href", "src", "action", "formaction", "poster", "data-src", "cite"]))
    }

    fn link(&self, value: &[u8]) -> Option<Vec<u8>> {
        let start = value.iter().position(|b| !b.is_ascii_whitespace())?;
        self.rules.links.iter().find_map(|(from, to)| {
            let rest = value[start..].strip_prefix(from.as_bytes())?;
            // http://a.example is not the beginning of http://a.example.org
            if !from.ends_with('/') && !matches!(rest.first(), None | Some(b'/' | b'?' | b'#' | b' ')) {
                return None;
            }
            Some([&value[..start], to.as_bytes(), rest].concat())
        })
    }

    fn end(&mut self, bytes: &[u8]) {
        let tag = parse_tag(bytes, 2);
        self.raw = None;
        self.followed.iter_mut().filter(|f| same(tag.name, &f.name)).for_each(|f| f.depth -= 1);
        let ended = match self.followed.iter().position(|f| f.depth == 0) {
            Some(at) => self.followed.split_off(at).swap_remove(0), // what was inside ends as well
            None => return self.emit(bytes),
        };
        self.insert(&ended.append);
        if !ended.hides_end {
            self.emit(bytes);
        }
        self.insert(&ended.after);
    }
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|b| !b.is_ascii_whitespace()).map_or(0, |at| at + 1)]
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let (first, rest) = what.split_first()?;
    let mut at = 0;
    loop {
        at += bytes[at..].iter().position(|b| b == first)?;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
}

fn token(b: &[u8], seen: usize) -> Token {
    if b[0] != b'<' {
        return b[seen..].iter().position(|&c| c == b'<').map_or(Token::More, |n| Token::Text(seen + n));
    }
    match (b.get(1), b.get(2)) {
        (None, _) | (Some(b'/'), None) => Token::More,
        (Some(b'!'), _) if b.starts_with(b"<!--") => find(&b[2..], b"-->").map_or(Token::More, |n| Token::Other(n + 5)),
        (Some(b'!'), _) if b.len() < 4 && b"<!--".starts_with(b) => Token::More,
        (Some(b'!' | b'?'), _) => until_close(b, Token::Other),
        (Some(b'/'), Some(c)) if c.is_ascii_alphabetic() => tag_end(b).map_or(Token::More, Token::End),
        (Some(b'/'), _) => until_close(b, Token::Other),
        (Some(c), _) if c.is_ascii_alphabetic() => tag_end(b).map_or(Token::More, Token::Start),
        _ => match b[1..].iter().position(|&c| c == b'<') { // a < that is text
            Some(n) => Token::Text(n + 1),
            None => Token::More,
        },
    }
}

fn until_close(b: &[u8], token: fn(usize) -> Token) -> Token {
    b.iter().position(|&c| c == b'>').map_or(Token::More, |n| token(n + 1))
}

/// The length of a tag, whose values may contain a > in quotes.
fn tag_end(b: &[u8]) -> Option<usize> {
    let (mut quote, mut after_equals) = (0u8, false);
    for (i, &c) in b.iter().enumerate() {
        match c {
            _ if quote != 0 => {
                if c == quote {
                    quote = 0;
                }
                continue;
            }
            b'>' => return Some(i + 1),
            b'"' | b'\'' if after_equals => quote = c,
            _ => {}
        }
        after_equals = c == b'=' || after_equals && c.is_ascii_whitespace();
    }
    None
}

/// Content of an element such as script: text until its end tag.
fn raw_text(b: &[u8], name: &str, last: bool) -> Token {
    let mut at = 0;
    while let Some(n) = find(&b[at..], b"</") {
        let start = at + n;
        let behind = &b[start + 2..];
        if behind.len() <= name.len() && !last {
            return Token::More;
        }
        let same = behind.get(..name.len()).map_or(false, |n| n.eq_ignore_ascii_case(name.as_bytes()));
        if same && matches!(behind.get(name.len()), Some(b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')) {
            return match start {
                0 => tag_end(b).map_or(Token::More, Token::End),
                start => Token::Text(start),
            };
        }
        at = start + 2;
    }
    Token::More
}

/// Whether a name of the page, in whatever case, is this one.
fn same(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

fn one_of(name: &[u8], known: &[&str]) -> bool {
    known.iter().any(|k| same(name, k))
}

/// Where the first byte is that stop wants, from at on.
fn skip(bytes: &[u8], at: usize, stop: impl Fn(u8) -> bool) -> usize {
    bytes.iter().skip(at).position(|&b| stop(b)).map_or(bytes.len(), |n| at + n)
}

fn parse_tag(bytes: &[u8], from: usize) -> Tag {
    let is_end = |c: u8| c.is_ascii_whitespace() || c == b'/' || c == b'>';
    let mut at = skip(bytes, from, is_end);
    let mut tag = Tag { name: &bytes[from..at], bytes, attributes: Vec::new(), end: at };
    loop {
        let start = skip(bytes, at, |c| !(c.is_ascii_whitespace() || c == b'/'));
        if start >= bytes.len() || bytes[start] == b'>' {
            return tag;
        }
        // A name may begin with =, and only there.
        let name_end = skip(bytes, start + 1, |c| is_end(c) || c == b'=');
        let equals = skip(bytes, name_end, |c| !c.is_ascii_whitespace());
        let (value_start, value_end, end);
        if bytes.get(equals) == Some(&b'=') {
            let first = skip(bytes, equals + 1, |c| !c.is_ascii_whitespace());
            match bytes.get(first) {
                Some(&quote @ (b'"' | b'\'')) => {
                    value_start = first + 1;
                    value_end = skip(bytes, first + 1, |c| c == quote);
                    end = (value_end + 1).min(bytes.len());
                }
                _ => {
                    value_start = first;
                    value_end = skip(bytes, first, |c| c.is_ascii_whitespace() || c == b'>');
                    end = value_end;
                }
            }
        } else {
            value_start = name_end;
            value_end = name_end;
            end = name_end;
        }
        tag.attributes.push(Attribute { name: &bytes[start..name_end], value: &bytes[value_start..value_end], start, value_start, end });
        tag.end = end;
        at = end;
    }
}

fn replaced(text: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = find(rest, what) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(by);
        rest = &rest[at + what.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn escaped(value: &str) -> Vec<u8> {
    value.replace('&', "&amp;").replace('"', "&quot;").into_bytes()
}
