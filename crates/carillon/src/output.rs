//! How results look: tables for people, JSON and CSV for scripts.

pub mod cell;
pub mod file;
pub mod rows;
pub mod sums;

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

/// Where results are written.
pub type Out<'a> = &'a mut (dyn Write + Send);

/// A table for people, one JSON document, or CSV with a header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Csv,
}

/// The form of a result.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub format: Format,
    /// Only on a terminal, and never where `NO_COLOR` is set (no-color.org).
    pub colour: bool,
    /// Columns of the terminal; wider tables are wrapped. `None`: no terminal, no wrapping.
    pub width: Option<u16>,
}

impl Look {
    /// A look for standard output as it is.
    pub fn of_stdout(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            format,
            colour: terminal && colour_wanted(),
            width: if terminal { Table::new().width() } else { None },
        }
    }

    /// A table for standard error, beside a prompt.
    pub fn of_stderr() -> Self {
        let colour = io::stderr().is_terminal() && colour_wanted();
        Self { format: Format::Table, colour, width: None }
    }

    /// Without colours and wrapping.
    pub const fn plain(format: Format) -> Self {
        Self { format, colour: false, width: None }
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// To the second for people, exact for scripts.
    pub fn instant(self, at: Option<&prost_types::Timestamp>) -> Value {
        match self.format {
            Format::Table => Value::String(instant_text(at)),
            Format::Json | Format::Csv => instant(at),
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// no-color.org: set and not empty.
fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A line under the header, and nothing else.
pub(crate) const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

pub(crate) fn table(look: Look) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).force_no_tty();
    if look.colour {
        table.enforce_styling();
    }
    if let Some(width) = look.width {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// Writes the table without the spaces before its first column and after its last.
pub(crate) fn write_table(out: Out<'_>, table: &mut Table) -> io::Result<()> {
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

pub(crate) fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The text on one line, without anything that a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if is_command(letter) { '\u{fffd}' } else { letter }).collect()
}

/// Like [`printable`], but line breaks stay.
pub fn printable_lines(text: &str) -> String {
    text.chars()
        .filter(|letter| *letter != '\r')
        .map(|letter| if letter != '\n' && is_command(letter) { '\u{fffd}' } else { letter })
        .collect()
}

/// Control characters, and those that turn the direction of the text around.
fn is_command(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// An instant of the wire as RFC 3339; `null` where there is none.
pub fn instant(at: Option<&prost_types::Timestamp>) -> Value {
    at.and_then(carillon_contracts::time::from_wire)
        .map_or(Value::Null, |at| Value::String(at.to_string()))
}

/// An instant for people, in UTC, to the second.
pub fn instant_text(at: Option<&prost_types::Timestamp>) -> String {
    at.and_then(carillon_contracts::time::from_wire).map_or_else(String::new, |at: Timestamp| {
        at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%SZ").to_string()
    })
}

/// A JSON object whose keys stay in the order given.
pub struct Ordered<'a, K>(pub &'a [(K, Value)]);

impl<K: AsRef<str>> Serialize for Ordered<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key.as_ref(), value)?;
        }
        map.end()
    }
}

/// One JSON document, pretty, with a line break at its end.
pub fn write_json(out: Out<'_>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)
}

/// The fault beneath, so that a closed pipe is still known as one.
pub fn csv_fault(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// One thing: a line a field, an object, or a header and a row.
pub fn write_record(out: Out<'_>, look: Look, fields: &[(&str, Value)]) -> io::Result<()> {
    match look.format {
        Format::Json => write_json(out, &Ordered(fields)),
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(out);
            writer.write_record(fields.iter().map(|(name, _)| *name)).map_err(csv_fault)?;
            writer
                .write_record(fields.iter().map(|(_, value)| cell::csv(value)))
                .map_err(csv_fault)?;
            writer.flush()
        }
        Format::Table => {
            let mut table = table(look);
            for (name, value) in fields.iter().filter(|(_, value)| !cell::is_empty(value)) {
                // A text may stand on several lines here: nothing stands beside it.
                let text = value.as_str().map_or_else(|| cell::text(value), printable_lines);
                table.add_row([name.replace('_', " "), text.trim_end().to_owned()]);
            }
            write_table(out, &mut table)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_have_thousands_separators() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(2357), "2,357");
        assert_eq!(thousands(-1_234_567), "-1,234,567");
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_terminal_is_sent_no_commands() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(printable_lines("a\r\nb\u{7}"), "a\nb\u{fffd}");
    }

    #[test]
    fn a_record_keeps_the_order_of_its_fields() {
        let fields = [("zebra", json!(1)), ("ape", json!("=x")), ("none", Value::Null)];
        let mut out = Vec::new();
        write_record(&mut out, Look::plain(Format::Json), &fields).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(text.find("zebra") < text.find("ape"), "{text}");

        let mut out = Vec::new();
        write_record(&mut out, Look::plain(Format::Csv), &fields).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "zebra,ape,none\n1,'=x,\n");
    }

    #[test]
    fn a_closed_pipe_is_known_through_csv() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(csv_fault(csv::Error::from(closed)).kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn colours_only_where_wanted() {
        assert_eq!(Look::plain(Format::Table).bold("x"), "x");
        let look = Look { format: Format::Table, colour: true, width: None };
        assert_eq!(look.bold("x"), "\u{1b}[1mx\u{1b}[0m");
    }
}
