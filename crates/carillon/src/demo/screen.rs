//! How the demo looks: numbered steps, indented lines; plain text in a pipe.

use std::io::{self, Stdout, Write as _};

use crate::output::{Format, Look, printable};

const INDENT: &str = "     ";

pub(super) struct Screen {
    pub look: Look,
    out: Stdout,
    steps: u32,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { look: Look::of_stdout(Format::Table), out: io::stdout(), steps: 0 }
    }

    pub(super) fn title(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "\n{}", self.look.bold(text))
    }

    pub(super) fn step(&mut self, name: &str) -> io::Result<()> {
        self.steps += 1;
        writeln!(self.out, "\n {:>2}  {}", self.steps, self.look.bold(name))
    }

    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", format!("{INDENT}{text}").trim_end())
    }

    /// What another command prints, indented.
    pub(super) fn block(
        &mut self,
        print: impl FnOnce(&mut Vec<u8>, Look) -> Result<(), crate::error::Error>,
    ) -> Result<(), crate::error::Error> {
        let mut printed = Vec::new();
        print(&mut printed, self.look)?;
        for line in String::from_utf8_lossy(&printed).lines() {
            self.line(line)?;
        }
        Ok(())
    }

    /// A message in a frame, as on the screen of whoever gets it.
    pub(super) fn framed(&mut self, heading: &str, text: &str) -> io::Result<()> {
        let heading = self.look.bold(&printable(heading));
        self.line(&heading)?;
        for line in text.lines().flat_map(|line| wrap(line, 84)) {
            self.line(&format!("│ {}", printable(&line)))?;
        }
        Ok(())
    }
}

/// Breaks a line at spaces, so that none is longer than `width` characters where it can be.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().expect("never empty");
        let long = last.chars().count() + 1 + word.chars().count() > width;
        if long && !last.is_empty() {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_lose_no_word() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 4), ["unbreakable"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
