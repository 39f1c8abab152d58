//! Physical lines, each kept only up to a bound.

use std::io::{self, BufRead};

/// Bytes of a line, at most; what is longer is passed over.
pub const LINE_BYTES: usize = 1024 * 1024;
/// Bytes that are kept of a line that is too long.
const KEPT: usize = 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// With its line end.
    pub text: Vec<u8>,
    /// It was longer than [`LINE_BYTES`], and `text` is only its beginning.
    pub cut: bool,
    /// Bytes of the file up to the end of this line.
    pub end: u64,
}

impl Line {
    /// Without its line end.
    pub fn content(&self) -> &[u8] {
        without_end(&self.text)
    }

    pub fn is_blank(&self) -> bool {
        !self.cut && self.content().is_empty()
    }
}

/// The text before LF or CR LF. A CR at the very end of the file counts as a line end too.
pub fn without_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

pub struct Lines<R> {
    reader: R,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, number: 0, bytes: 0 }
    }

    /// Read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[allow(clippy::should_implement_trait, reason = "reading can fail")]
    pub fn next(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        let mut cut = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                if text.is_empty() && !cut {
                    return Ok(None);
                }
                break;
            }
            let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(buffer.len());
            if !cut && text.len() + taken > LINE_BYTES {
                text.extend_from_slice(&buffer[..taken.min(KEPT)]);
                text.truncate(KEPT);
                text.shrink_to_fit();
                cut = true;
            } else if !cut {
                text.extend_from_slice(&buffer[..taken]);
            }
            self.reader.consume(taken);
            self.bytes += taken as u64;
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        if self.number == 1 && text.starts_with(BOM) {
            text.drain(..BOM.len());
        }
        Ok(Some(Line { number: self.number, text, cut, end: self.bytes }))
    }
}
