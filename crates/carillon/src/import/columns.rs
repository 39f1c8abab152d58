//! What a header may say, and how cells are read.

use csv::StringRecord;

use super::Refusal;
use crate::{
    error::Error,
    nearest::{hint, nearest},
};

/// Columns that begin so were added by an earlier import, and are passed over.
pub const REJECT_PREFIX: &str = "reject_";
/// Columns of free attributes begin so.
pub const ATTRIBUTE_PREFIX: &str = "attr.";
const ATTRIBUTE_NAME: usize = 40;

/// What a column of the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// By its position in the list of known ones.
    Known(usize),
    Attribute(String),
    PassedOver,
}

/// What a file of this kind may and must have.
pub struct Schema {
    pub known: &'static [&'static str],
    pub required: &'static [&'static str],
    /// Columns `attr.<name>` are allowed.
    pub attributes: bool,
}

impl Schema {
    /// Reads a header: unknown, repeated and missing columns are refused, all at once.
    pub fn read(&self, file: &str, header: &StringRecord) -> Result<Vec<Column>, Error> {
        let mut wrong = Vec::new();
        let mut columns = Vec::with_capacity(header.len());
        for (index, name) in header.iter().enumerate() {
            match self.column(name) {
                Ok(column) => {
                    if column != Column::PassedOver && columns.contains(&column) {
                        wrong.push(format!("column '{name}' comes twice; leave one of them out"));
                    }
                    columns.push(column);
                }
                Err(_) if name.is_empty() => {
                    let last = header.iter().skip(index).all(str::is_empty);
                    let remedy = if last {
                        "remove the trailing comma (or semicolon) from every line, or name the column"
                    } else {
                        "name it, or remove the column from every line"
                    };
                    wrong.push(format!("column {} has no name; {remedy}", index + 1));
                }
                Err(what) => wrong.push(format!("unknown column '{name}': {what}")),
            }
        }
        let has = |name: &str| header.iter().any(|given| given == name);
        for name in self.required.iter().filter(|name| !has(name)) {
            wrong.push(format!("column '{name}' is missing; it is required"));
        }
        if wrong.is_empty() {
            return Ok(columns);
        }
        let lines: Vec<String> = wrong.iter().map(|what| format!("{file}: {what}")).collect();
        Err(Error::failed(lines.join("\n")))
    }

    fn column(&self, name: &str) -> Result<Column, String> {
        if let Some(index) = self.known.iter().position(|known| *known == name) {
            return Ok(Column::Known(index));
        }
        if name.starts_with(REJECT_PREFIX) {
            return Ok(Column::PassedOver);
        }
        if !self.attributes {
            return Err(hint(name, self.known.iter().copied()));
        }
        match name.strip_prefix(ATTRIBUTE_PREFIX) {
            Some(attribute) if is_attribute_name(attribute) => {
                Ok(Column::Attribute(attribute.to_owned()))
            }
            Some(_) => Err(format!(
                "the name of an attribute is 1 to {ATTRIBUTE_NAME} letters, digits, - and _"
            )),
            None => Err(match nearest(name, self.known.iter().copied()) {
                Some(known) => format!("did you mean '{known}'?"),
                None => {
                    format!("known are {} and attr.<name> for anything else", self.known.join(", "))
                }
            }),
        }
    }
}

fn is_attribute_name(name: &str) -> bool {
    (1..=ATTRIBUTE_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// true, false, 1, 0, yes, no, in any case; `None` where the cell is empty.
pub fn boolean(
    cell: &str,
    field: &'static str,
    reason: &'static str,
) -> Result<Option<bool>, Refusal> {
    let word = cell.trim();
    let is = |words: [&str; 3]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    match word {
        "" => Ok(None),
        _ if is(["true", "yes", "1"]) => Ok(Some(true)),
        _ if is(["false", "no", "0"]) => Ok(Some(false)),
        _ => Err(Refusal {
            field,
            reason,
            message: "is not true or false; write true, false, yes, no, 1 or 0".to_owned(),
        }),
    }
}

/// `a;b`, without spaces around and without empty ones.
pub fn list(cell: &str) -> Vec<String> {
    cell.split(';').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
