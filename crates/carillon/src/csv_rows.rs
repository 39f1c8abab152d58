//! Reads the records of a CSV file (RFC 4180), one fault costing one record: no line, however
//! broken, takes its neighbours with it, and memory does not grow with the file or with a line.

pub mod lines;
mod parse;

use std::{collections::VecDeque, io::BufRead};

use csv::{ByteRecord, StringRecord};

use self::{
    lines::{Line, Lines},
    parse::{Parser, State, broken_quote, scan},
};
use crate::error::Error;

/// Bytes of a record that spans several lines, at most.
const RECORD_BYTES: usize = 64 * 1024;
/// Lines of a record, at most.
const RECORD_LINES: usize = 100;

/// The reason of a line whose quote never closes.
pub const UNCLOSED_QUOTE: &str = "unclosed_quote";

/// What stands at a line of the file.
#[derive(Debug)]
pub enum Item {
    Record(Record),
    Fault(Fault),
}

/// A record with as many cells as the header.
#[derive(Debug)]
pub struct Record {
    /// The first line that it stands on; the header is on line 1.
    pub line: u64,
    pub lines: u64,
    pub cells: StringRecord,
}

/// A record, or a line, that can't be read or is refused.
#[derive(Debug)]
pub struct Fault {
    pub line: u64,
    pub lines: u64,
    /// The column, where one is to blame.
    pub field: String,
    /// A stable snake_case code.
    pub reason: String,
    pub message: String,
    /// What could be read of it, as many cells as the header has.
    pub cells: StringRecord,
}

/// Reads a file with a header line.
pub struct Rows<R> {
    lines: Lines<R>,
    /// Read ahead for a quote that never closed.
    ahead: VecDeque<Line>,
    parser: Parser,
    header: StringRecord,
    delimiter: u8,
    blank: u64,
    bytes: u64,
}

impl<R: BufRead> Rows<R> {
    /// Reads the header. `file` is for messages.
    pub fn open(file: &str, reader: R) -> Result<Self, Error> {
        let mut lines = Lines::new(reader);
        let mut blank = 0;
        let first = loop {
            match lines.next().map_err(|error| unreadable(file, &error))? {
                None => {
                    return Err(Error::failed(format!(
                        "{file}: the file is empty; its first line must name the columns"
                    )));
                }
                Some(line) if line.is_blank() => blank += 1,
                Some(line) => break line,
            }
        };
        let text = header_text(file, &first)?;
        let delimiter = delimiter(text);
        let mut parser = Parser::new(delimiter);
        if scan(text.as_bytes(), delimiter, State::Start) == State::Quoted {
            return Err(Error::failed(format!(
                "{file}:{}: a quote in the header never closes; each column's name must stand on the first line",
                first.number
            )));
        }
        let header = StringRecord::from_byte_record_lossy(parser.parse(text.as_bytes()));
        let header = header.iter().map(str::trim).collect();
        let bytes = lines.bytes();
        Ok(Self { lines, ahead: VecDeque::new(), parser, header, delimiter, blank, bytes })
    }

    /// The names of the columns, without spaces around them.
    pub fn header(&self) -> &StringRecord {
        &self.header
    }

    /// Comma, semicolon or tab.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// Bytes of the file up to the end of the last item.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines without any text, so far: they are passed over.
    pub fn blank_lines(&self) -> u64 {
        self.blank
    }

    /// The next record or fault; `None` at the end. Only reading itself can fail.
    pub fn next_item(&mut self) -> std::io::Result<Option<Item>> {
        loop {
            let Some(line) = self.next_line()? else { return Ok(None) };
            self.bytes = line.end;
            if line.is_blank() {
                self.blank += 1;
                continue;
            }
            return self.item(line).map(Some);
        }
    }

    fn next_line(&mut self) -> std::io::Result<Option<Line>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next(),
        }
    }

    fn item(&mut self, first: Line) -> std::io::Result<Item> {
        if first.cut {
            return Ok(self.too_long(&first));
        }
        let mut state = scan(&first.text, self.delimiter, State::Start);
        if state != State::Quoted {
            return Ok(self.record(first.number, 1, first.content()));
        }
        let mut text = first.text.clone();
        let mut taken = Vec::new();
        while state == State::Quoted && taken.len() + 1 < RECORD_LINES && text.len() <= RECORD_BYTES
        {
            let Some(line) = self.next_line()? else { break };
            if line.cut {
                self.ahead.push_front(line);
                break;
            }
            state = scan(&line.text, self.delimiter, state);
            text.extend_from_slice(&line.text);
            taken.push(line);
        }
        if state == State::Quoted || text.len() > RECORD_BYTES {
            for line in taken.into_iter().rev() {
                self.ahead.push_front(line);
            }
            return Ok(self.unclosed(&first));
        }
        self.bytes = taken.last().map_or(first.end, |line| line.end);
        let lines = 1 + taken.len() as u64;
        Ok(self.record(first.number, lines, lines::without_end(&text)))
    }

    fn record(&mut self, line: u64, lines: u64, text: &[u8]) -> Item {
        let expected = self.header.len();
        let bytes = self.parser.parse(text);
        if let Some(column) = broken_quote(text, self.delimiter) {
            return self.broken(line, lines, column, bytes);
        }
        let found = bytes.len();
        match StringRecord::from_byte_record(bytes) {
            Ok(cells) if found == expected => Item::Record(Record { line, lines, cells }),
            Ok(cells) => Item::Fault(Fault {
                line,
                lines,
                field: String::new(),
                reason: "wrong_column_count".to_owned(),
                message: format!(
                    "expected {expected} columns, as the header has, and found {found}; a cell that holds the delimiter or a quote must stand in quotes"
                ),
                cells: self.fit(&cells),
            }),
            Err(error) => {
                let column = error.utf8_error().field();
                let field = self.header.get(column).unwrap_or_default().to_owned();
                let cells = StringRecord::from_byte_record_lossy(error.into_byte_record());
                Item::Fault(Fault {
                    line,
                    lines,
                    message: format!(
                        "column {} is not UTF-8; save the file as UTF-8",
                        if field.is_empty() { (column + 1).to_string() } else { field.clone() }
                    ),
                    field,
                    reason: "invalid_utf8".to_owned(),
                    cells: self.fit(&cells),
                })
            }
        }
    }

    fn broken(&self, line: u64, lines: u64, column: usize, bytes: ByteRecord) -> Item {
        let field = self.header.get(column).unwrap_or_default().to_owned();
        Item::Fault(Fault {
            line,
            lines,
            message: format!(
                "column {}: only the delimiter or the line end may follow a closing quote; remove what follows it, or double a quote that belongs to the text",
                if field.is_empty() { (column + 1).to_string() } else { field.clone() }
            ),
            field,
            reason: "broken_quote".to_owned(),
            cells: self.fit(&StringRecord::from_byte_record_lossy(bytes)),
        })
    }

    fn unclosed(&mut self, first: &Line) -> Item {
        let cells = self.parser.parse_open(first.content());
        Item::Fault(Fault {
            line: first.number,
            lines: 1,
            field: String::new(),
            reason: UNCLOSED_QUOTE.to_owned(),
            message: format!(
                "a quote opens on this line and does not close within {RECORD_LINES} lines or {} KiB; close it, or double a quote that belongs to the text; the next line was read as a record of its own",
                RECORD_BYTES / 1024
            ),
            cells: self.fit(&StringRecord::from_byte_record_lossy(cells)),
        })
    }

    fn too_long(&mut self, line: &Line) -> Item {
        let cells = self.parser.parse_open(line.content());
        Item::Fault(Fault {
            line: line.number,
            lines: 1,
            field: String::new(),
            reason: "line_too_long".to_owned(),
            message: format!(
                "the line is longer than {} KiB; only its beginning is kept here",
                lines::LINE_BYTES / 1024
            ),
            cells: self.fit(&StringRecord::from_byte_record_lossy(cells)),
        })
    }

    /// As many cells as the header has.
    fn fit(&self, cells: &StringRecord) -> StringRecord {
        (0..self.header.len()).map(|column| cells.get(column).unwrap_or_default()).collect()
    }
}

/// What to tell of a file that can't be read any further.
pub fn unreadable(file: &str, error: &std::io::Error) -> Error {
    Error::failed(format!("{file}: can't be read: {error}"))
}

fn header_text<'a>(file: &str, first: &'a Line) -> Result<&'a str, Error> {
    let line = first.number;
    let bytes = first.content();
    let wrong = |what: &str| Err(Error::failed(format!("{file}:{line}: {what}")));
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0x1f, 0x8b]) {
        return wrong("the file is a spreadsheet or an archive; save it as CSV in UTF-8");
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return wrong("the file is not UTF-8 (it looks like UTF-16); save it as CSV in UTF-8");
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return wrong(&format!(
            "byte {} is NUL, so the file is no text, or UTF-16; save it as CSV in UTF-8",
            at + 1
        ));
    }
    if first.cut {
        return wrong("the header line is longer than 1 MiB; its first line must name the columns");
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return wrong("the header is not UTF-8; save the file as CSV in UTF-8");
    };
    if text.contains('\r') {
        return wrong("the lines end in CR alone; save the file with LF or CR LF line ends");
    }
    if let Some(hint) = separator_hint(text) {
        return wrong(&format!(
            "'{hint}' is a hint for Excel, and the first line must name the columns; remove the line `{hint}`"
        ));
    }
    Ok(text)
}

/// `sep=;`, by which Excel is told the delimiter, perhaps in quotes.
fn separator_hint(text: &str) -> Option<String> {
    let text = text.trim_matches('"');
    let (key, delimiter) = text.split_once('=')?;
    let hint = key.eq_ignore_ascii_case("sep") && delimiter.chars().count() == 1;
    hint.then(|| format!("{key}={}", delimiter.escape_debug()))
}

/// The most frequent of comma, semicolon and tab outside quotes; a comma if there is none.
fn delimiter(header: &str) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0u32), (b';', 0), (b'\t', 0)];
    for byte in header.bytes() {
        quoted ^= byte == b'"';
        if let Some(count) = counts.iter_mut().find(|(known, _)| *known == byte && !quoted) {
            count.1 += 1;
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    counts.iter().find(|(_, count)| *count == most).map_or(b',', |(delimiter, _)| *delimiter)
}

#[cfg(test)]
mod tests;
