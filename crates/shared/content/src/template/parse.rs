//! From text to pieces.

use super::variable::{self, ATTRIBUTE_PREFIX, Named};
use super::{Piece, Variable};
use std::ops::Range;

/// Why a text is refused. `column` is the place of the opening brace: its position in Unicode scalar
/// values from the start of the text, the first being 1, line breaks included. Names longer than 48
/// characters are cut short with an ellipsis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The form of a variable, with a name that is none. Names are case-sensitive.
    #[error("`{{{name}}}` at character {column} is not a variable; {}", remedy(.nearest.as_deref()))]
    Unknown {
        name: String,
        column: usize,
        /// The variable that was probably meant, without braces.
        nearest: Option<String>,
    },
    /// A name that is reserved, but that this version does not fill in.
    #[error(
        "`{{{name}}}` at character {column} is not available in this version of Carillon; leave it out"
    )]
    NotAvailable { name: String, column: usize },
    /// `attr.` with something that cannot name an attribute.
    #[error(
        "`{{{name}}}` at character {column} does not name an attribute: \
         after `attr.` come 1 to 40 letters (A-Z, a-z), digits, `_` or `-`"
    )]
    InvalidAttribute { name: String, column: usize },
    /// A variable, or a fallback, that lacks its closing brace.
    #[error("the variable opened by `{{{name}` at character {column} is not closed: {}", obstacle(*.found))]
    Unclosed {
        name: String,
        column: usize,
        /// What stands in the way of the `}`; `None` is the end of the text.
        found: Option<char>,
    },
}

impl TemplateError {
    /// The place of the opening brace, in Unicode scalar values from the start; the first is 1.
    #[must_use]
    pub fn column(&self) -> usize {
        match self {
            TemplateError::Unknown { column, .. }
            | TemplateError::NotAvailable { column, .. }
            | TemplateError::InvalidAttribute { column, .. }
            | TemplateError::Unclosed { column, .. } => *column,
        }
    }
}

fn remedy(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{{{nearest}}}`?"),
        None => "use UserName, FirstName, LastName, Points, Birthday, Organisation, UnsubscribeUrl or attr.<name>"
            .to_owned(),
    }
}

fn obstacle(found: Option<char>) -> String {
    match found {
        Some(found) => format!("{found:?} comes before its `}}`"),
        None => "the text ends before its `}`".to_owned(),
    }
}

/// `{Name}` or `{Name|fallback}`; offsets are bytes in the whole text.
struct Placeholder {
    variable: Variable,
    fallback: Range<usize>,
    end: usize,
}

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut literal_from = 0;
    let mut at = 0;
    while let Some(offset) = text[at..].find('{') {
        let open = at + offset;
        let Some(placeholder) = placeholder(text, open)? else {
            at = open + 1;
            continue;
        };
        if literal_from < open {
            pieces.push(Piece::Literal(literal_from..open));
        }
        pieces.push(Piece::Variable {
            variable: placeholder.variable,
            fallback: placeholder.fallback,
        });
        at = placeholder.end;
        literal_from = at;
    }
    if literal_from < text.len() {
        pieces.push(Piece::Literal(literal_from..text.len()));
    }
    Ok(pieces)
}

/// The placeholder that the brace at `open` begins, or `None` when that brace is literal.
fn placeholder(text: &str, open: usize) -> Result<Option<Placeholder>, TemplateError> {
    let name = leading_name(&text[open + 1..]);
    let name_end = open + 1 + name.len();
    let (fallback, end) = match text[name_end..].chars().next() {
        _ if name.is_empty() => return Ok(None),
        Some('}') => (name_end..name_end, name_end + 1),
        Some('|') => {
            let from = name_end + 1;
            let to = fallback_end(text, from).map_err(|found| unclosed(text, open, name, found))?;
            (from..to, to + 1)
        }
        _ => return literal_unless_known(text, open, name),
    };
    let column = || column(text, open);
    match variable::look_up(name) {
        Named::Variable(variable) => Ok(Some(Placeholder { variable, fallback, end })),
        Named::NotAvailable(name) => {
            Err(TemplateError::NotAvailable { name: name.to_owned(), column: column() })
        }
        Named::InvalidAttribute => {
            Err(TemplateError::InvalidAttribute { name: clipped(name), column: column() })
        }
        Named::Unknown => Err(TemplateError::Unknown {
            name: clipped(name),
            column: column(),
            nearest: variable::nearest(name),
        }),
    }
}

/// What could be a name: letters of any script, so that `{Имя}` is refused rather than sent.
fn leading_name(text: &str) -> &str {
    if !text.starts_with(char::is_alphabetic) {
        return "";
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'));
    &text[..end.unwrap_or(text.len())]
}

/// The place of the `}` that ends a fallback, or else what comes before any.
fn fallback_end(text: &str, from: usize) -> Result<usize, Option<char>> {
    match text[from..].find(['{', '}']) {
        Some(offset) if text[from + offset..].starts_with('}') => Ok(from + offset),
        Some(_) => Err(Some('{')),
        None => Err(None),
    }
}

/// For a name that neither `}` nor `|` follows: CSS or code, unless the name shows that a variable was meant.
fn literal_unless_known(
    text: &str,
    open: usize,
    name: &str,
) -> Result<Option<Placeholder>, TemplateError> {
    let known = if name.starts_with(ATTRIBUTE_PREFIX) {
        name
    } else {
        // `{UserName. Welcome` has run into the next sentence: only its start is the name.
        let end = name.find(|c: char| !c.is_ascii_alphanumeric());
        &name[..end.unwrap_or(name.len())]
    };
    match variable::look_up(known) {
        Named::Unknown => Ok(None),
        _ => {
            let found = text[open + 1 + known.len()..].chars().next();
            Err(unclosed(text, open, known, found))
        }
    }
}

fn unclosed(text: &str, open: usize, name: &str, found: Option<char>) -> TemplateError {
    TemplateError::Unclosed { name: clipped(name), column: column(text, open), found }
}

fn column(text: &str, open: usize) -> usize {
    text[..open].chars().count() + 1
}

fn clipped(name: &str) -> String {
    const SHOWN: usize = 48;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
