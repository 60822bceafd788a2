//! Changes pages on their way out. See README.md.

#[path = "../shared/config.rs"]
mod config;
mod rewriter;

use std::cell::RefCell;

use config::Section;
use edge_guest::{Features, Flow, Request, Response};
use rewriter::{is_open_ended, is_void, Rewriter, Rule, Rules, Selector};

edge_guest::config!(check);
edge_guest::middleware!(handle, answer);

// What was asked for, between request and answer.
const PAGE: u32 = 1;
const HEAD: u32 = 2;

const MOST_TEXT: usize = 64 << 10;

std::thread_local! {
    static RULES: RefCell<Rules> = RefCell::new(Rules::default());
}

fn check(config: &[u8]) -> Result<(), String> {
    let rules = read(config)?;
    RULES.with(|r| *r.borrow_mut() = rules);
    Ok(())
}

fn read(text: &[u8]) -> config::Result<Rules> {
    let mut c = config::read(text)?;
    let mut rules = Rules::default();
    for section in c.sections("rules", 100)? {
        rules.rules.push(read_rule(section)?);
    }
    for mut section in c.sections("text", 100)? {
        let find = section.required("find", "the text to replace")?;
        if find.contains('<') {
            return section.wrong("find", "has a <: text is what stands between tags");
        }
        let replace = match limited(&mut section, "replace")? {
            Some(text) => text,
            None => return section.missing("replace", "is missing: the text to put there, \"\" for none"),
        };
        rules.text.push((find, replace));
        section.end()?;
    }
    for mut section in c.sections("links", 100)? {
        let (from, to) = (section.required("from", "what links begin with")?, section.required("to", "what they are to begin with")?);
        for (key, value) in [("from", &from), ("to", &to)] {
            if !value.bytes().all(|b| (0x21..0x7f).contains(&b) && !b"\"'<>`,".contains(&b)) {
                return section.wrong(key, "must be the beginning of a URL: printable ASCII without quotes, spaces, commas, < and >");
            }
        }
        section.end()?;
        rules.links.push((from, to));
    }
    if rules.rules.is_empty() && rules.text.is_empty() && rules.links.is_empty() {
        return c.missing("rules", "is missing, and so are text and links: there is nothing to do");
    }
    c.end().map(|()| rules)
}

fn read_rule(mut s: Section) -> config::Result<Rule> {
    let select = s.required("select", "the elements it is about")?;
    let select = match Selector::parse(&select) {
        Ok(select) => select,
        Err(why) => return s.wrong("select", why),
    };
    let mut rule = Rule {
        select,
        before: limited(&mut s, "before")?.unwrap_or_default(),
        after: limited(&mut s, "after")?.unwrap_or_default(),
        prepend: limited(&mut s, "prepend")?.unwrap_or_default(),
        append: limited(&mut s, "append")?.unwrap_or_default(),
        replace: limited(&mut s, "replace")?,
        remove: s.bool("remove", false)?,
        set: Vec::new(),
        unset: s.texts("unset", 20)?.into_iter().map(|name| name.to_ascii_lowercase()).collect(),
    };
    if let Some(set) = s.take("set") {
        rule.set = Section::new(s.at("set"), set)?.names()?.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    }
    if let Some((name, _)) = rule.set.iter().find(|(name, _)| !is_name(name)) {
        return s.wrong("set", format!("{:?} is no name of an attribute", name));
    }
    if let Some(n) = rule.unset.iter().position(|name| !is_name(name)) {
        return s.wrong(&format!("unset[{}]", n), format!("{:?} is no name of an attribute; write one such as target, or leave it out", rule.unset[n]));
    }
    if is_void(&rule.select.tag) {
        for (key, given) in [("prepend", !rule.prepend.is_empty()), ("append", !rule.append.is_empty()), ("replace", rule.replace.is_some())] {
            if given {
                return s.wrong(key, format!("{} has nothing inside, not even an end tag: write before or after, which put it beside", rule.select.tag));
            }
        }
    }
    if rule.needs_end() && is_open_ended(&rule.select.tag) {
        return s.wrong("select", format!("the end tag of {} may be missing: after, append, replace and remove cannot find its end", rule.select.tag));
    }
    s.all_known()?;
    if !rule.needs_end() && rule.before.is_empty() && rule.prepend.is_empty() && rule.set.is_empty() && rule.unset.is_empty() {
        return s.wrong("select", "there is nothing to do with it: before, after, prepend, append, replace, remove, set or unset");
    }
    Ok(rule)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:.@".contains(&b))
}

fn limited(s: &mut Section, key: &'static str) -> config::Result<Option<String>> {
    match s.text(key)? {
        Some(text) if text.len() > MOST_TEXT => s.wrong(key, "must have at most 64 KiB"),
        text => Ok(text),
    }
}

/// Holds the answer back if it may be a page, so that downloads stream.
fn handle(r: &mut Request) -> Flow {
    if !may_be_page(r) {
        return Flow::Next;
    }
    edge_guest::enable(Features::BUFFER_RESPONSE);
    Flow::NextWith(if r.method() == b"HEAD" { HEAD } else { PAGE })
}

fn may_be_page(r: &Request) -> bool {
    if r.header().has("range") {
        return false;
    }
    let dest = r.header().get("sec-fetch-dest").unwrap_or_default();
    if !matches!(&dest[..], b"" | b"document" | b"iframe" | b"frame" | b"fencedframe" | b"empty") {
        return false;
    }
    let accept = r.header().get("accept").unwrap_or_default();
    if !accept.is_empty() && !has(&accept, b"text/html") && !has(&accept, b"*/*") {
        return false;
    }
    let uri = r.uri();
    let path = uri.split(|&b| b == b'?').next().unwrap_or_default();
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    match name.iter().rposition(|&b| b == b'.') {
        Some(dot) => matches!(name[dot + 1..].to_ascii_lowercase().as_slice(), b"html" | b"htm" | b"php" | b"phtml" | b""),
        None => true,
    }
}

fn has(text: &[u8], what: &[u8]) -> bool {
    text.to_ascii_lowercase().windows(what.len()).any(|w| w == what)
}

fn answer(r: &mut Response) {
    if r.ctx() == 0 || r.failed() || matches!(r.status(), 204 | 206 | 304) || !is_page(r) {
        return;
    }
    if r.ctx() == HEAD {
        r.header().remove("content-length"); // whether the page would change shows its body alone, and how long it would become
        return forget(r);
    }
    let kind = r.header().get("content-type").unwrap_or_default();
    let out = RULES.with(|rules| {
        let rules = rules.borrow();
        let (mut rewriter, mut piece, mut out, mut first) = (Rewriter::new(&rules), vec![0; 64 << 10], Vec::new(), true);
        loop {
            let n = r.body().read(&mut piece);
            if first && !rules.are_ascii() && !is_utf8(&kind, &piece[..n]) {
                return None; // the rules' letters would be others there
            }
            first = false;
            out.extend(rewriter.feed(&piece[..n]));
            if n < piece.len() {
                out.extend(rewriter.finish());
                return Some(out).filter(|_| rewriter.changed());
            }
        }
    });
    let out = match out {
        Some(out) => out,
        None => return, // the answer goes out as it came
    };
    forget(r);
    r.body().write(out);
}

/// Removes what was said of other bytes.
fn forget(r: &mut Response) {
    for name in ["etag", "content-md5", "digest", "repr-digest", "content-digest", "accept-ranges"] {
        r.header().remove(name);
    }
}

/// Whether a page is UTF-8: a byte order mark counts, then the header, then what the page says of itself near its beginning, where
/// browsers look for it. One that says nothing is.
fn is_utf8(kind: &[u8], page: &[u8]) -> bool {
    if page.starts_with(b"\xef\xbb\xbf") {
        return true;
    }
    let charset = charset(&kind.to_ascii_lowercase()).or_else(|| charset(&page[..page.len().min(1024)].to_ascii_lowercase()));
    charset.map_or(true, |name| matches!(&name[..], b"utf-8" | b"utf8"))
}

/// What stands behind charset=.
fn charset(text: &[u8]) -> Option<Vec<u8>> {
    let at = text.windows(7).position(|w| w == b"charset")? + 7;
    let skip = |b: &u8| b.is_ascii_whitespace() || b"=\"'".contains(b);
    let name: Vec<u8> = text[at..].iter().skip_while(|b| skip(b)).take_while(|b| b.is_ascii_alphanumeric() || b"-_:.".contains(b)).copied().collect();
    Some(name).filter(|name| !name.is_empty())
}

/// HTML that is not compressed, in a charset that agrees with ASCII.
fn is_page(r: &Response) -> bool {
    let kind = r.header().get("content-type").unwrap_or_default().to_ascii_lowercase();
    let encoding = r.header().get("content-encoding").unwrap_or_default();
    kind.starts_with(b"text/html") && !has(&kind, b"utf-16") && !has(&kind, b"utf-32") && matches!(&encoding[..], b"" | b"identity")
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}

#[cfg(test)]
fn rewrite(config: &str, page: &str) -> String {
    let rules = read(config.as_bytes()).unwrap();
    let mut whole = Rewriter::new(&rules);
    let mut out = whole.feed(page.as_bytes());
    out.extend(whole.finish());
    assert!(whole.changed() || out == page.as_bytes(), "{} is not the same", page);
    // In pieces of any size it is the same.
    for size in [1, 2, 3, 7] {
        let mut rewriter = Rewriter::new(&rules);
        let mut pieces: Vec<u8> = page.as_bytes().chunks(size).flat_map(|piece| rewriter.feed(piece)).collect();
        pieces.extend(rewriter.finish());
        assert_eq!(String::from_utf8_lossy(&pieces), String::from_utf8_lossy(&out), "in pieces of {}", size);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn elements() {
    for (rule, page, want) in [
        (r#""select": "head", "append": "<x>""#, "<HEAD><title></head></title></HEAD><body>", "<HEAD><title></head></title><x></HEAD><body>"),
        (r#""select": "body", "prepend": "<x>""#, "<body class='a>b'>y", "<body class='a>b'><x>y"),
        (r#""select": "div.ad", "remove": true"#, "1<div class='big ad'>2<div>3</div>4</div>5<div class=adx>6</div>", "15<div class=adx>6</div>"),
        (r#""select": "div#a", "replace": "<b>""#, "<div id=a>1<div>2</div></div>3", "<div id=a><b></div>3"),
        (r#""select": "div#a", "replace": "n", "before": "[", "after": "]", "prepend": "(", "append": ")""#, "<div id=a>1</div>", "[<div id=a>(n)</div>]"),
        (r#""select": "img", "set": {"loading": "lazy"}, "after": "!""#, "<img src=a.png><img LOADING=eager /><br>", "<img src=a.png loading=\"lazy\">!<img LOADING=\"lazy\" />!<br>"),
        (r#""select": "a[target=_blank]", "set": {"rel": "a\"b"}, "unset": ["target"]"#, "<a href=x target='_blank'>y</a><a target=z>", "<a href=x rel=\"a&quot;b\">y</a><a target=z>"),
        (r#""select": "[data-x]", "before": "!""#, "<p data-x><p><!-- <p data-x> --><script>'<p data-x>'</script>", "!<p data-x><p><!-- <p data-x> --><script>'<p data-x>'</script>"),
        (r#""select": ".x", "remove": true"#, "<p class=x>1<p>2</p>", "<p class=x>1<p>2</p>"), // where a p ends cannot be told
        (r#""select": "p", "set": {"a": "1"}"#, "a < b <p", "a < b <p"),
        (r#""select": "span", "remove": true"#, "1<span>2", "1"),
    ] {
        assert_eq!(rewrite(&format!(r#"{{"rules": [{{{}}}]}}"#, rule), page), want, "{}", rule);
    }
}

#[test]
fn charsets() {
    for (kind, page, want) in [
        ("text/html; charset=UTF-8", "<meta charset=latin1>", true),
        ("text/html; charset=\"utf8\"", "", true),
        ("text/html;charset=iso-8859-1", "<meta charset=utf-8>", false),
        ("text/html; Charset=windows-1252", "", false),
        ("text/html", "<p>", true),
        ("text/html", "<head><META CHARSET = 'ISO-8859-1'>", false),
        ("text/html", "<meta http-equiv=content-type content=\"text/html; charset=windows-1252\">", false),
        ("text/html; charset=", "<meta charset=utf-8>", true),
        ("text/html; charset=iso-8859-1", "\u{feff}<p>", true),
    ] {
        assert_eq!(is_utf8(kind.as_bytes(), page.as_bytes()), want, "{} {}", kind, page);
    }
}

#[test]
fn texts_and_links() {
    let text = r#"{"text": [{"find": "old", "replace": "new"}]}"#;
    assert_eq!(rewrite(text, "old<title>old</title><a old=old>bold</a><script>old</script><!--old-->o<b>ld"), "new<title>new</title><a old=old>bnew</a><script>old</script><!--old-->o<b>ld");
    let links = r#"{"links": [{"from": "http://a.example", "to": "https://b.example"}]}"#;
    for (page, want) in [
        ("<a href=http://a.example>", "<a href=https://b.example>"),
        ("<a href='http://a.example/x?y'>", "<a href='https://b.example/x?y'>"),
        ("<a href=\"http://a.example.org/\" title=\"http://a.example\">", "<a href=\"http://a.example.org/\" title=\"http://a.example\">"),
        ("<img srcset=\"http://a.example/1 1x, http://a.example/2 2x, /3\">", "<img srcset=\"https://b.example/1 1x, https://b.example/2 2x, /3\">"),
    ] {
        assert_eq!(rewrite(links, page), want);
    }
}

/// Whatever comes, in whatever pieces, nothing panics, and without a rule that fits all stays as it is.
#[test]
fn any_bytes() {
    let mut seed = 1u32;
    let words = ["<", ">", "</", "<!--", "-->", "div", "script", "p", " ", "=", "\"", "'", "/", "a", "<div>", "</div>", "<script>", "</script>", "<!", "\u{e4}"];
    for _ in 0..3000 {
        let page: String = (0..20)
            .map(|_| {
                seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
                words[(seed >> 16) as usize % words.len()]
            })
            .collect();
        assert_eq!(rewrite(r#"{"rules": [{"select": "no-such", "remove": true}]}"#, &page), page);
        rewrite(r#"{"rules": [{"select": "div", "remove": true}, {"select": "[a]", "unset": ["a"], "set": {"b": "c"}}], "text": [{"find": "a", "replace": "b"}]}"#, &page);
    }
}

#[test]
fn pages_alone() {
    let host = edge_guest::test::Host::new();
    check(br#"{"rules": [{"select": "body", "prepend": "!"}]}"#).unwrap();
    let send = |uri: &str, accept: &str| host.get(uri).header("accept", accept).next(|_| (200, b"<body>".to_vec())).send_both(handle, answer).body;
    assert_eq!(send("/a.zip", "text/html"), b"<body>");
    assert_eq!(send("/", "image/png"), b"<body>");
    assert_eq!(send("/", "text/html"), b"<body>"); // of no type
}
