//! Bytes as text. JSON has only text, so bytes that are none are written as %xx, and with them % itself; all else stays as it is.

/// Bytes as text; decode reads it.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (valid, broken) = match std::str::from_utf8(rest) {
            Ok(text) => (text, 0),
            Err(e) => {
                let valid = std::str::from_utf8(&rest[..e.valid_up_to()]).unwrap_or_default();
                (valid, e.error_len().unwrap_or(rest.len() - e.valid_up_to()))
            }
        };
        for c in valid.chars() {
            if c == '%' || c < ' ' || c == '\x7f' {
                escape(&mut out, c as u8);
            } else {
                out.push(c);
            }
        }
        for &b in &rest[valid.len()..valid.len() + broken] {
            escape(&mut out, b);
        }
        rest = &rest[valid.len() + broken..];
    }
    out
}

fn escape(out: &mut String, b: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push('%');
    out.push(DIGITS[b as usize >> 4] as char);
    out.push(DIGITS[b as usize & 15] as char);
}

/// The bytes of a text. What somebody else has written without knowing of %xx comes as it is.
pub fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|d| Some(digit(d[0])? << 4 | digit(d[1])?));
        match (bytes[at], digits) {
            (b'%', Some(b)) => {
                out.push(b);
                at += 3;
            }
            (b, _) => {
                out.push(b);
                at += 1;
            }
        }
    }
    out
}

fn digit(c: u8) -> Option<u8> {
    (c as char).to_digit(16).map(|d| d as u8)
}

/// Bytes without a character at the end that is not whole.
pub fn whole(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(e) if e.error_len().is_none() => &bytes[..e.valid_up_to()],
        _ => bytes,
    }
}

/// The pattern of SCAN for what begins with a text.
pub fn pattern(prefix: &str) -> String {
    let mut out = String::new();
    for c in prefix.chars() {
        if "*?[]\\^-".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('*');
    out
}

/// A list of texts as JSON.
pub fn json(texts: &[&str]) -> String {
    let mut out = String::from("[");
    for (i, text) in texts.iter().enumerate() {
        out.push_str(if i == 0 { "\"" } else { ",\"" });
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).chain("héllo 🗝 %41 100%".bytes()).chain([0xf0, 0x9f]).collect();
        assert_eq!(decode(&encode(&all)), all);
        assert_eq!(encode("héllo".as_bytes()), "héllo");
        assert_eq!(encode(b"100%\n\xff"), "100%25%0a%ff");
        assert_eq!(decode("100% %zz %4"), b"100% %zz %4");
    }

    #[test]
    fn a_prefix_that_cuts_a_character() {
        let key = "a🗝".as_bytes();
        for n in 0..=key.len() {
            assert!(encode(key).starts_with(&encode(whole(&key[..n]))), "{}", n);
        }
    }

    #[test]
    fn texts() {
        assert_eq!(json(&["a\"b\\", "c\n"]), "[\"a\\\"b\\\\\",\"c\\u000a\"]");
        assert_eq!(pattern("a*[b"), "a\\*\\[b*");
    }
}
