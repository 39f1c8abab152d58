//! Texts with variables: `{Name}` and `{Name|fallback}`.
//!
//! A fallback is plain text up to the next `}`. A brace that does not open this form is literal, so
//! CSS (`{color:red}`), `{}` and `{ }` need no escaping, and `{{FirstName}}` gives `{Ann}`. The form
//! with a name that is not a [`Variable`] is refused, never sent as it stands.

mod parse;
mod variable;

use std::collections::BTreeSet;
use std::ops::Range;

pub use parse::TemplateError;
pub use variable::Variable;

/// A parsed text. Parse it once and render it for every recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    pieces: Vec<Piece>,
}

/// Ranges are byte offsets in the template's source.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Range<usize>),
    Variable {
        variable: Variable,
        /// Empty when there is none: an empty fallback and no fallback render alike.
        fallback: Range<usize>,
    },
}

/// What one recipient's variables stand for.
pub trait Values {
    /// The value to insert as it is, already formatted for the recipient. `None` and `Some("")` both
    /// mean that there is none: the fallback takes its place, or nothing.
    fn value(&self, variable: &Variable) -> Option<&str>;
}

/// How values and fallbacks are written. Literal text is the author's markup and never escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As they are: SMS, plain text, subjects.
    None,
    /// `& < > " '` become character references, which is right in element content and in quoted
    /// attribute values; it does not make a value safe inside a script, a style or an unquoted
    /// attribute. A fallback is plain text too, so it is escaped like the value it stands for.
    Html,
}

impl Template {
    /// Parses a text of any length.
    ///
    /// # Errors
    ///
    /// The first mistake in the text, with its place: see [`TemplateError`].
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Ok(Template { source: text.into(), pieces: parse::pieces(text)? })
    }

    /// The variables the text uses, each once.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<Variable> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Literal(_) => None,
                Piece::Variable { variable, .. } => Some(variable.clone()),
            })
            .collect()
    }

    /// Appends the text for one recipient to `out`; clear `out` first to reuse it. Allocates only
    /// when `out` has to grow. What a value contains is never evaluated again.
    pub fn render_into(&self, out: &mut String, values: &(impl Values + ?Sized), escape: Escape) {
        out.reserve(self.source.len());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(range) => out.push_str(&self.source[range.clone()]),
                Piece::Variable { variable, fallback } => {
                    let value = values.value(variable).filter(|value| !value.is_empty());
                    let text = value.unwrap_or_else(|| &self.source[fallback.clone()]);
                    match escape {
                        Escape::None => out.push_str(text),
                        Escape::Html => push_html(out, text),
                    }
                }
            }
        }
    }

    /// [`Template::render_into`] a new `String`.
    #[must_use]
    pub fn render(&self, values: &(impl Values + ?Sized), escape: Escape) -> String {
        let mut out = String::new();
        self.render_into(&mut out, values, escape);
        out
    }
}

fn push_html(out: &mut String, text: &str) {
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        let reference = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        out.push_str(&text[written..at]);
        out.push_str(reference);
        written = at + 1;
    }
    out.push_str(&text[written..]);
}

#[cfg(test)]
mod tests;
