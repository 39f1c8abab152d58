//! A column of figures a channel, written so that the sums can be followed with a finger.

use std::io;

use comfy_table::{Attribute, Cell};

use super::{Look, Out, align_right, table, thousands, write_table};

/// How a line takes part in the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Where the sum begins.
    Start,
    /// Taken away.
    Less,
    /// What is left, or what came together.
    Equals,
    /// Added up to the line above it.
    Part,
    /// Beside the sum.
    Note,
}

/// Figures of the channels, and of all together where there are several.
pub struct Sums {
    channels: Vec<&'static str>,
    lines: Vec<(Line, String, Vec<u64>)>,
}

impl Sums {
    pub fn new(channels: Vec<&'static str>) -> Self {
        Self { channels, lines: vec![] }
    }

    /// `figures` in the order of the channels.
    pub fn line(&mut self, line: Line, name: impl Into<String>, figures: Vec<u64>) {
        self.lines.push((line, name.into(), figures));
    }

    /// A line that is left out where every figure is 0.
    pub fn line_unless_zero(&mut self, line: Line, name: impl Into<String>, figures: Vec<u64>) {
        if figures.iter().any(|figure| *figure > 0) {
            self.line(line, name, figures);
        }
    }

    pub fn write(&self, out: Out<'_>, look: Look) -> io::Result<()> {
        let together = self.channels.len() > 1;
        let mut table = table(Look { width: None, ..look });
        let mut header = vec![String::new()];
        header.extend(self.channels.iter().map(|channel| (*channel).to_owned()));
        if together {
            header.push("together".to_owned());
        }
        table.set_header(header);
        for (line, name, figures) in &self.lines {
            let sign = match line {
                Line::Start | Line::Note => "  ",
                Line::Less => "− ",
                Line::Equals => "= ",
                Line::Part => "    ",
            };
            let mut cells = vec![format!("{sign}{name}")];
            cells.extend(figures.iter().map(|figure| text(*line, *figure)));
            if together {
                cells.push(text(*line, figures.iter().sum()));
            }
            let bold = *line == Line::Equals && look.colour;
            table.add_row(cells.into_iter().map(|text| {
                if bold { Cell::new(text).add_attribute(Attribute::Bold) } else { Cell::new(text) }
            }));
        }
        align_right(&mut table, 1..=self.channels.len() + 1);
        write_table(out, &mut table)
    }
}

fn text(line: Line, figure: u64) -> String {
    match (line, figure) {
        (Line::Equals | Line::Start, _) => thousands(figure),
        // A zero in between says nothing, and hides the figures beside it.
        (_, 0) => "·".to_owned(),
        _ => thousands(figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn several_channels_are_added_up() {
        let mut sums = Sums::new(vec!["sms", "email"]);
        sums.line(Line::Start, "matched", vec![1283, 1283]);
        sums.line_unless_zero(Line::Less, "capped", vec![0, 0]);
        sums.line_unless_zero(Line::Less, "no address", vec![1, 0]);
        sums.line(Line::Equals, "planned", vec![1282, 1283]);
        let mut out = Vec::new();
        sums.write(&mut out, Look::plain(Format::Table)).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("2,566") && text.contains("2,565"), "{text}");
        assert!(!text.contains("capped"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
