//! Many things of one kind, written as they come: memory does not grow with their number.

use std::io;

use comfy_table::{ColumnConstraint, Width};
use serde_json::Value;

use super::{Format, Look, Ordered, Out, align_right, cell, csv_fault, table, write_table};

/// Rows of a table or a CSV file that are written at once.
const CHUNK: usize = 500;

/// Writes rows in the look's format; [`Rows::finish`] closes the document.
pub struct Rows<'a> {
    out: Out<'a>,
    look: Look,
    columns: Vec<String>,
    waiting: Vec<Vec<Value>>,
    written: u64,
    /// Of the table's chunks so far, so that later ones stand under the first.
    widths: Vec<u16>,
    numeric: Vec<bool>,
}

impl<'a> Rows<'a> {
    /// `columns` are the keys of the JSON objects and the header of the others.
    pub fn new(out: Out<'a>, look: Look, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Self { out, look, columns, waiting: vec![], written: 0, widths: vec![], numeric: vec![] }
    }

    /// Writes a row of as many values as there are columns.
    pub fn row(&mut self, values: Vec<Value>) -> io::Result<()> {
        debug_assert_eq!(values.len(), self.columns.len(), "a value for each column");
        self.waiting.push(values);
        if self.waiting.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Answers how many rows were written.
    pub fn finish(mut self) -> io::Result<u64> {
        if !self.waiting.is_empty() || (self.written == 0 && self.look.format == Format::Csv) {
            self.flush()?;
        }
        if self.look.format == Format::Json {
            self.out.write_all(if self.written == 0 { b"[]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()?;
        Ok(self.written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        match self.look.format {
            Format::Json => self.json(&rows)?,
            Format::Csv => self.csv(&rows)?,
            Format::Table => self.table(&rows)?,
        }
        self.written += rows.len() as u64;
        Ok(())
    }

    fn json(&mut self, rows: &[Vec<Value>]) -> io::Result<()> {
        let mut first = self.written == 0;
        for row in rows {
            let fields: Vec<(&String, Value)> =
                self.columns.iter().zip(row.iter().cloned()).collect();
            let text = serde_json::to_string_pretty(&Ordered(&fields)).map_err(io::Error::from)?;
            self.out.write_all(if first { b"[\n  " } else { b",\n  " })?;
            self.out.write_all(text.replace('\n', "\n  ").as_bytes())?;
            first = false;
        }
        Ok(())
    }

    fn csv(&mut self, rows: &[Vec<Value>]) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(&mut self.out);
        if self.written == 0 {
            writer.write_record(&self.columns).map_err(csv_fault)?;
        }
        for row in rows {
            writer.write_record(row.iter().map(cell::csv)).map_err(csv_fault)?;
        }
        writer.flush()
    }

    fn table(&mut self, rows: &[Vec<Value>]) -> io::Result<()> {
        let mut table = table(self.look);
        if self.written == 0 {
            table.set_header(self.columns.iter().map(|name| name.replace('_', " ")));
            self.numeric = (0..self.columns.len())
                .map(|column| {
                    rows.iter().all(|row| row[column].is_number() || row[column].is_null())
                })
                .collect();
        }
        for row in rows {
            table.add_row(row.iter().map(cell::text));
        }
        table.set_constraints(
            self.widths.iter().map(|width| ColumnConstraint::LowerBoundary(Width::Fixed(*width))),
        );
        let numeric = self.numeric.iter().enumerate().filter(|(_, numeric)| **numeric);
        align_right(&mut table, numeric.map(|(column, _)| column));
        self.widths = (table.column_max_content_widths().iter().enumerate())
            .map(|(column, width)| {
                // Padding counts into a constraint, but not into the content's width.
                let padding = if column == 0 { 1 } else { 2 };
                (width + padding).max(self.widths.get(column).copied().unwrap_or(0))
            })
            .collect();
        write_table(self.out, &mut table)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(format: Format, rows: Vec<Vec<Value>>) -> String {
        let mut out = Vec::new();
        let mut writer = Rows::new(&mut out, Look::plain(format), &["external_id", "points"]);
        for row in rows {
            writer.row(row).expect("written");
        }
        writer.finish().expect("finished");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn json_is_one_document_however_many_rows() {
        for count in [0, 1, CHUNK, CHUNK + 1] {
            let rows = (0..count).map(|n| vec![json!(format!("C{n}")), json!(n)]).collect();
            let text = written(Format::Json, rows);
            let parsed: Vec<Value> = serde_json::from_str(&text).expect("JSON");
            assert_eq!(parsed.len(), count);
        }
    }

    #[test]
    fn csv_has_its_header_even_without_rows() {
        assert_eq!(written(Format::Csv, vec![]), "external_id,points\n");
        assert_eq!(
            written(Format::Csv, vec![vec![json!("=x"), json!(1234)]]),
            "external_id,points\n'=x,1234\n"
        );
    }

    #[test]
    fn a_table_has_numbers_on_the_right() {
        let text = written(
            Format::Table,
            vec![vec![json!("C1"), json!(1_234_567)], vec![json!("C2"), json!(7)]],
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[2].ends_with("1,234,567") && lines[3].ends_with("        7"), "{text}");
    }

    #[test]
    fn later_chunks_stand_under_the_first() {
        let mut rows: Vec<Vec<Value>> = vec![vec![json!("a".repeat(30)), json!(1)]];
        rows.extend((0..CHUNK).map(|_| vec![json!("b"), json!(1)]));
        let text = written(Format::Table, rows);
        let last = text.lines().last().expect("a line");
        assert_eq!(last.len(), text.lines().nth(3).expect("a line").len(), "{last:?}");
    }
}
