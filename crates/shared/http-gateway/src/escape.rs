//! Writes values so that they mean themselves where they stand.

use std::fmt::Write as _;

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A component of a URL, or a value of a form.
    Component,
    /// A header: one line.
    Header,
    /// Inside the quotes of a JSON string.
    Json,
    /// Text or an attribute of XML.
    Xml,
    Plain,
}

impl Place {
    pub(crate) fn write(self, out: &mut String, value: &str) {
        match self {
            Self::Component => push_component(out, value),
            Self::Header => out.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c })),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Self::Xml => push_xml(out, value),
            Self::Plain => out.push_str(value),
        }
    }
}

/// RFC 3986: all but the unreserved characters become percent signs and digits.
pub fn component(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + value.len() / 2);
    push_component(&mut out, value);
    out
}

fn push_component(out: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("a String takes everything"),
        }
    }
}

/// Control characters that XML 1.0 cannot hold become spaces.
fn push_xml(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(place: Place, value: &str) -> String {
        let mut out = String::new();
        place.write(&mut out, value);
        out
    }

    proptest! {
        #[test]
        fn a_form_value_comes_back(value in ".*") {
            let form = format!("a=1&text={}&z=2", write(Place::Component, &value));
            let fields: Vec<_> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
            prop_assert_eq!(fields.len(), 3);
            prop_assert_eq!(&fields[1].1, &value);
        }

        #[test]
        fn a_url_component_comes_back(value in ".*") {
            let text = format!("http://h/{}?q={0}", write(Place::Component, &value));
            let url = url::Url::parse(&text).expect("a URL");
            let found: Vec<_> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(found, [("q".to_owned(), value)]);
        }

        #[test]
        fn a_json_string_comes_back(value in ".*") {
            let json = format!(r#"{{"text":"{}","x":1}}"#, write(Place::Json, &value));
            let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            prop_assert_eq!(read["text"].as_str(), Some(value.as_str()));
            prop_assert_eq!(read.as_object().map(serde_json::Map::len), Some(2));
        }

        #[test]
        fn a_header_stays_one_line(value in any::<String>()) {
            let header = write(Place::Header, &value);
            prop_assert!(http::HeaderValue::from_bytes(header.as_bytes()).is_ok());
        }

        #[test]
        fn xml_text_opens_nothing(value in any::<String>()) {
            let xml = write(Place::Xml, &value);
            let opens = |c: char| matches!(c, '<' | '>' | '"' | '\'');
            prop_assert!(!xml.contains(opens));
        }
    }
}
