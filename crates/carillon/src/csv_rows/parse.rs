//! Fields of one record, by the csv crate; and whether a line leaves a quote open, by the same rules.

use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};

/// Where a line ends, as RFC 4180 reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// At the beginning of a field.
    Start,
    /// In a field, where a quote is a letter as any other.
    Field,
    Quoted,
    /// After a quote inside quotes: it closes the field, or is half of a doubled one.
    QuoteInQuoted,
}

/// The state after `text`, which ends with its line end. Only [`State::Quoted`] goes on in the next line.
pub fn scan(text: &[u8], delimiter: u8, mut state: State) -> State {
    for byte in text {
        state = match (state, *byte) {
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::Quoted, _) => State::Quoted,
            (State::QuoteInQuoted | State::Start, b'"') => State::Quoted,
            (_, byte) if byte == delimiter || byte == b'\n' => State::Start,
            (_, _) => State::Field,
        };
    }
    state
}

/// The column, from 0, where text follows a closing quote: `"a"b`. RFC 4180 has only the delimiter
/// or the line end there.
pub fn broken_quote(text: &[u8], delimiter: u8) -> Option<usize> {
    if !text.contains(&b'"') {
        return None;
    }
    let (mut state, mut column) = (State::Start, 0);
    for byte in text {
        let next = scan(&[*byte], delimiter, state);
        if state == State::QuoteInQuoted && next == State::Field {
            return Some(column);
        }
        column += usize::from(next == State::Start);
        state = next;
    }
    None
}

/// Parses one record after the other with one reader, so that nothing is set up for each.
pub struct Parser {
    reader: csv::Reader<Feed>,
    record: ByteRecord,
    delimiter: u8,
}

/// What the reader is fed with: the text of one record.
#[derive(Default)]
struct Feed {
    text: Vec<u8>,
    read: usize,
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = (&self.text[self.read..]).read(buffer)?;
        self.read += taken;
        Ok(taken)
    }
}

impl Parser {
    pub fn new(delimiter: u8) -> Self {
        Self { reader: reader(delimiter), record: ByteRecord::new(), delimiter }
    }

    /// The cells of a record without its line end; its quotes must be closed.
    pub fn parse(&mut self, text: &[u8]) -> ByteRecord {
        let feed = self.reader.get_mut();
        feed.text.clear();
        feed.text.extend_from_slice(text);
        feed.text.push(b'\n');
        feed.read = 0;
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => self.record.clone(),
            // Reading from memory and with any number of columns, nothing is left that can fail.
            Ok(false) | Err(_) => ByteRecord::new(),
        }
    }

    /// What can be read of a record that breaks off, perhaps within quotes.
    pub fn parse_open(&mut self, text: &[u8]) -> ByteRecord {
        let mut text = text.to_vec();
        if scan(&text, self.delimiter, State::Start) == State::Quoted {
            text.push(b'"');
        }
        // A line that was cut is never continued: a reader of its own, so that nothing is left over.
        let mut record = ByteRecord::new();
        let mut feed = reader(self.delimiter);
        feed.get_mut().text = text;
        match feed.read_byte_record(&mut record) {
            Ok(_) => record,
            Err(_) => ByteRecord::new(),
        }
    }
}

fn reader(delimiter: u8) -> csv::Reader<Feed> {
    ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .terminator(Terminator::Any(b'\n'))
        .from_reader(Feed::default())
}
