//! Header fields (RFC 5322), with what is not ASCII as encoded words (RFC 2047).

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Of a line with an encoded word in it.
const LINE: usize = 76;
const OPEN: &str = "=?utf-8?B?";
const CLOSE: &str = "?=";
const LONGEST_ADDRESS: usize = 254;

/// `Name: text`, folded, on lines of its own. Line breaks and other controls become spaces, so a
/// value never becomes a header.
pub(super) fn unstructured(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    if is_plain(text) {
        fold(out, name.len() + 2, text);
    } else {
        encode(out, name.len() + 2, text);
    }
    out.extend_from_slice(b"\r\n");
}

/// `Name: display name <address>`. The address must have come from [`address`].
pub(super) fn mailbox(out: &mut Vec<u8>, name: &str, display: &str, address: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let display = display.replace(char::is_control, " ");
    let display = display.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_word = |byte: u8| byte == b' ' || is_atom(byte);
    if display.bytes().all(is_word) && display.len() <= LINE {
        out.extend_from_slice(display.as_bytes());
    } else if display.is_ascii() && display.len() <= LINE && !display.contains("=?") {
        out.push(b'"');
        for byte in display.bytes() {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    } else {
        encode(out, name.len() + 2, &display);
    }
    out.extend_from_slice(if display.is_empty() { b"<" } else { b"\r\n <" });
    out.extend_from_slice(address.as_bytes());
    out.extend_from_slice(b">\r\n");
}

/// An address as it stands in an envelope: the local part quoted where it must be, the domain in
/// ASCII. `None` for what is none, or what could end the field that it stands in.
pub(crate) fn address(given: &str) -> Option<String> {
    let (local, domain) = given.trim().rsplit_once('@')?;
    let odd = |c: char| c.is_control() || (!c.is_ascii() && c.is_whitespace());
    if local.is_empty() || given.len() > LONGEST_ADDRESS || given.chars().any(odd) {
        return None;
    }
    let domain = ascii_domain(domain)?;
    let is_dot_atom = local
        .split('.')
        .all(|atom| !atom.is_empty() && atom.bytes().all(|byte| is_atom(byte) || !byte.is_ascii()));
    if is_dot_atom {
        return Some(format!("{local}@{domain}"));
    }
    let inner = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(local);
    let mut quoted = String::with_capacity(local.len() + 2);
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        // Inside quotes of its own an address has its escapes already.
        let literal = match character {
            '\\' if inner.len() != local.len() => characters.next()?,
            '"' if inner.len() != local.len() => return None,
            other => other,
        };
        if matches!(literal, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(literal);
    }
    Some(format!("\"{quoted}\"@{domain}"))
}

fn ascii_domain(domain: &str) -> Option<String> {
    let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(literal) = literal {
        let bare = literal.strip_prefix("IPv6:").unwrap_or(literal);
        return bare.parse::<std::net::IpAddr>().ok().map(|_| domain.to_owned());
    }
    let named = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        !name.is_empty() && name.bytes().all(allowed) && !name.starts_with('.')
    };
    if domain.is_ascii() {
        return named(domain).then(|| domain.to_owned());
    }
    match url::Host::parse(domain) {
        Ok(url::Host::Domain(ascii)) if named(&ascii) => Some(ascii),
        _ => None,
    }
}

fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// Whether it survives as it is: words with one space between, none too long to fold, none that
/// would be read as encoded.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !text.contains("=?")
        && text.split(' ').all(|word| !word.is_empty() && word.len() < LINE - 10)
}

fn fold(out: &mut Vec<u8>, mut column: usize, text: &str) {
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 && column + 1 + word.len() > LINE {
            out.extend_from_slice(b"\r\n ");
            column = 1;
        } else if index > 0 {
            out.push(b' ');
            column += 1;
        }
        out.extend_from_slice(word.as_bytes());
        column += word.len();
    }
}

/// Encoded words of whole characters, as many as are needed.
fn encode(out: &mut Vec<u8>, mut column: usize, text: &str) {
    let clean = text.replace(char::is_control, " ");
    let mut rest = clean.as_str();
    while !rest.is_empty() {
        let room = LINE.saturating_sub(column + OPEN.len() + CLOSE.len()) / 4 * 3;
        let mut end = rest.len().min(room);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (now, later) = rest.split_at(end);
        out.extend_from_slice(OPEN.as_bytes());
        out.extend_from_slice(STANDARD.encode(now).as_bytes());
        out.extend_from_slice(CLOSE.as_bytes());
        rest = later;
        if !rest.is_empty() {
            out.extend_from_slice(b"\r\n ");
            column = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn plain_subjects_stay_readable_and_are_folded() {
        let short = written(|out| unstructured(out, "Subject", "For you, Ann: 25 % off"));
        assert_eq!(short, "Subject: For you, Ann: 25 % off\r\n");
        let long = written(|out| unstructured(out, "Subject", "word ".repeat(60).trim_end()));
        assert!(long.lines().all(|line| line.len() <= 76), "{long}");
        assert_eq!(long.replace("\r\n ", " ").trim_end().len(), "Subject: ".len() + 299);
    }

    #[test]
    fn encoded_words_hold_whole_characters_and_fit_their_lines() {
        let text = "Zoë 💌 ".repeat(40);
        let subject = written(|out| unstructured(out, "Subject", &text));
        let mut decoded = String::new();
        for line in subject.trim_end().split("\r\n") {
            assert!(line.len() <= 76, "{line}");
            let word = line.trim_start_matches("Subject: ").trim_start();
            let word = word.strip_prefix(OPEN).and_then(|word| word.strip_suffix(CLOSE));
            let bytes = STANDARD.decode(word.expect("an encoded word")).expect("base64");
            decoded.push_str(std::str::from_utf8(&bytes).expect("whole characters"));
        }
        assert_eq!(decoded, text);
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        let from = |name: &str| written(|out| mailbox(out, "From", name, "a@b.example"));
        assert_eq!(from("Cafe Zoe"), "From: Cafe Zoe\r\n <a@b.example>\r\n");
        assert_eq!(from(""), "From: <a@b.example>\r\n");
        assert_eq!(from("Zoe, \"Inc\""), "From: \"Zoe, \\\"Inc\\\"\"\r\n <a@b.example>\r\n");
        assert_eq!(from("a\r\nBcc: x@y"), "From: \"a Bcc: x@y\"\r\n <a@b.example>\r\n");
        assert!(from("Café").starts_with("From: =?utf-8?B?"));
    }

    #[test]
    fn addresses_are_made_fit_for_an_envelope_or_refused() {
        let same = ["ann@example.com", "a.b+c@x.example", "o'neil@[192.0.2.1]", "zoë@x.example"];
        for given in same {
            assert_eq!(address(given).as_deref(), Some(given));
        }
        assert_eq!(address("zoe@bücher.example").as_deref(), Some("zoe@xn--bcher-kva.example"));
        assert_eq!(address("a..b@x.example").as_deref(), Some("\"a..b\"@x.example"));
        assert_eq!(address("a b@x.example").as_deref(), Some("\"a b\"@x.example"));
        assert_eq!(address("\"a\\\"b\"@x.example").as_deref(), Some("\"a\\\"b\"@x.example"));
        for refused in [
            "",
            "ann",
            "@x.example",
            "ann@",
            "a@b>\r\nRCPT TO:<c@d",
            "a\r\n@b",
            "a@b c",
            "a@b>",
            "\"a\"b\"@x",
            "\"a\\\"@x",
            "a\u{2028}b@x",
            "a\0@x",
            "a@[no]",
        ] {
            assert_eq!(address(refused), None, "{refused:?}");
        }
    }
}
