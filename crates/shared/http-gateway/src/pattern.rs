//! Texts of a gateway's settings with places for values, compiled once.

use crate::escape::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    To,
    From,
    Text,
    MessageId,
    Deadline,
    ValiditySeconds,
    CallbackUrl,
    Token,
}

impl Field {
    const ALL: [(&'static str, Self); 8] = [
        ("to", Self::To),
        ("from", Self::From),
        ("text", Self::Text),
        ("message_id", Self::MessageId),
        ("deadline", Self::Deadline),
        ("validity_seconds", Self::ValiditySeconds),
        ("callback_url", Self::CallbackUrl),
        ("token", Self::Token),
    ];

    /// What a text may have in braces.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|(name, _)| name)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }
}

/// What the fields stand for in one message.
pub trait Fields {
    fn field(&self, field: Field) -> &str;
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    place: Place,
    pieces: Vec<Piece>,
}

impl Pattern {
    /// A brace that does not open `{word}` is literal, as in JSON; a word that is not a field's
    /// name is a mistake.
    pub(crate) fn parse(source: &str, place: Place) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = source;
        while let Some(open) = rest.find('{') {
            let (before, after) = (&rest[..open], &rest[open + 1..]);
            literal.push_str(before);
            match after.split_once('}') {
                Some((name, behind)) if is_word(name) => {
                    let field = Field::named(name).ok_or_else(|| unknown(name))?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Field(field));
                    rest = behind;
                }
                _ => {
                    literal.push('{');
                    rest = after;
                }
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { place, pieces })
    }

    pub fn render(&self, fields: &impl Fields) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(field) => self.place.write(&mut out, fields.field(*field)),
            }
        }
        out
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn unknown(name: &str) -> String {
    let known: Vec<String> = Field::names().map(|known| format!("{{{known}}}")).collect();
    format!("{{{name}}} is not known; use {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named;

    impl Fields for Named {
        fn field(&self, field: Field) -> &str {
            match field {
                Field::To => "+1",
                Field::Text => "a \"b\" & c",
                _ => "other",
            }
        }
    }

    #[test]
    fn fields_are_escaped_for_their_place_and_braces_of_json_stay() {
        let render =
            |source: &str, place| Pattern::parse(source, place).expect("a pattern").render(&Named);
        let json = r#"{"to":"{to}","n":{"text":"{text}"},"e":{}}"#;
        let expected = r#"{"to":"+1","n":{"text":"a \"b\" & c"},"e":{}}"#;
        assert_eq!(render(json, Place::Json), expected);
        let form = "to={to}&text={text}";
        assert_eq!(render(form, Place::Component), "to=%2B1&text=a%20%22b%22%20%26%20c");
        assert_eq!(render("<t>{text}</t>{", Place::Xml), "<t>a &quot;b&quot; &amp; c</t>{");
    }

    #[test]
    fn a_field_that_is_none_is_named() {
        let refused = Pattern::parse("to={too}", Place::Component).expect_err("refused");
        assert!(refused.starts_with("{too} is not known; use {to}, {from}"), "{refused}");
    }
}
