//! The text of a part in the transfer encoding that suits it (RFC 2045).

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// RFC 5322 allows 998; some relays count the line's end or add a dot.
const LONGEST_LINE: usize = 990;
const QUOTED_LINE: usize = 76;
/// Octets that make 76 characters of base64.
const BASE64_LINE: usize = 57;

/// Writes the part's headers, an empty line and the text, ending with a line's end. Lines end as
/// CRLF whatever they ended as.
pub(super) fn part(out: &mut Vec<u8>, subtype: &str, text: &str) {
    out.reserve(text.len() + text.len() / 8 + 128);
    out.extend_from_slice(b"Content-Type: text/");
    out.extend_from_slice(subtype.as_bytes());
    out.extend_from_slice(b"; charset=utf-8\r\nContent-Transfer-Encoding: ");
    match suited(text) {
        Encoding::SevenBit => {
            out.extend_from_slice(b"7bit\r\n\r\n");
            for line in lines(text) {
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        Encoding::QuotedPrintable => {
            out.extend_from_slice(b"quoted-printable\r\n\r\n");
            for line in lines(text) {
                quote(out, line.as_bytes());
            }
        }
        Encoding::Base64 => {
            out.extend_from_slice(b"base64\r\n\r\n");
            let mut whole = String::with_capacity(text.len() + 64);
            for (index, line) in lines(text).enumerate() {
                if index > 0 {
                    whole.push_str("\r\n");
                }
                whole.push_str(line);
            }
            for chunk in whole.as_bytes().chunks(BASE64_LINE) {
                out.extend_from_slice(STANDARD.encode(chunk).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

enum Encoding {
    SevenBit,
    QuotedPrintable,
    Base64,
}

/// As it is where every relay lets it pass; else what is shorter.
fn suited(text: &str) -> Encoding {
    let (mut high, mut odd, mut longest, mut line) = (0_usize, false, 0_usize, 0_usize);
    for byte in text.bytes() {
        line += 1;
        match byte {
            b'\n' => {
                longest = longest.max(line);
                line = 0;
            }
            b'\t' | b'\r' | b' '..=b'~' => {}
            0x80.. => high += 1,
            _ => odd = true,
        }
    }
    longest = longest.max(line);
    if high == 0 && !odd && longest <= LONGEST_LINE {
        Encoding::SevenBit
    } else if high > text.len() / 6 {
        Encoding::Base64
    } else {
        Encoding::QuotedPrintable
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split("\r\n").flat_map(|lines| lines.split(['\n', '\r']))
}

fn quote(out: &mut Vec<u8>, line: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut column = 0;
    for (index, &byte) in line.iter().enumerate() {
        let is_last = index + 1 == line.len();
        let literal = match byte {
            b' ' | b'\t' => !is_last,
            b'=' => false,
            b'!'..=b'~' => true,
            _ => false,
        };
        let width = if literal { 1 } else { 3 };
        // The soft break itself takes a column; a line's last character needs none.
        if column + width > QUOTED_LINE - usize::from(!is_last) {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if literal {
            out.push(byte);
        } else {
            out.extend_from_slice(&[
                b'=',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
        column += width;
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        part(&mut out, "plain", text);
        String::from_utf8(out).expect("ASCII")
    }

    fn encoding_of(text: &str) -> String {
        let written = written(text);
        let (_, rest) = written.split_once("Encoding: ").expect("named");
        rest.split("\r\n").next().expect("a line").to_owned()
    }

    #[test]
    fn the_encoding_suits_the_text() {
        assert_eq!(encoding_of("Hello,\nplain text."), "7bit");
        assert_eq!(encoding_of(&format!("{}\r\n{}", "a".repeat(980), "b".repeat(980))), "7bit");
        assert_eq!(encoding_of(&"a".repeat(999)), "quoted-printable");
        assert_eq!(encoding_of("Hi Zoë, your coffee is ready"), "quoted-printable");
        assert_eq!(encoding_of("nul \0"), "quoted-printable");
        assert_eq!(encoding_of("Привет, Зоя"), "base64");
    }

    #[test]
    fn line_ends_are_made_one() {
        assert!(written("a\nb\r\nc\rd").ends_with("\r\n\r\na\r\nb\r\nc\r\nd\r\n"));
    }

    #[test]
    fn quoted_lines_are_short_and_keep_their_trailing_spaces() {
        let mut out = Vec::new();
        quote(&mut out, format!("{}é= ", "x".repeat(200)).as_bytes());
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.split("\r\n").all(|line| line.len() <= 76), "{text}");
        assert_eq!(text.replace("=\r\n", ""), format!("{}=C3=A9=3D=20\r\n", "x".repeat(200)));
    }
}
