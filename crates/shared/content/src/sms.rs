//! How many parts a text takes as an SMS, and why.
//!
//! Alphabet: 3GPP TS 23.038 §6.2.1 (GSM 7 bit default alphabet) with §6.2.1.1 (its extension table).
//! Part sizes: 3GPP TS 23.040 §9.2.3.24.1 (concatenated short messages, 8-bit reference). National
//! language shift tables are not used.

mod alphabet;
mod downgrade;
mod split;
mod text;

use alphabet::Septets;
pub use downgrade::downgraded;
pub use split::{Part, read, split};
pub use text::SmsText;

/// The longest SMS text accepted, in Unicode scalar values, substitution done.
pub const MAX_CHARACTERS: usize = 640;

/// The alphabet a text is sent in: GSM 7 bit unless one of its characters is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Units are septets: 160 in a single part, 153 in each part of several.
    Gsm7,
    /// Units are 16-bit (UTF-16 code units): 70 in a single part, 67 in each part of several.
    Ucs2,
}

impl Encoding {
    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Gsm7 => "GSM-7",
            Encoding::Ucs2 => "UCS-2",
        }
    }

    /// Units that a text of one part holds.
    #[must_use]
    pub const fn units_in_single(self) -> u32 {
        match self {
            Encoding::Gsm7 => 160,
            Encoding::Ucs2 => 70,
        }
    }

    /// Units that each part holds when there are several: the concatenation header takes 6 octets.
    #[must_use]
    pub const fn units_in_part(self) -> u32 {
        match self {
            Encoding::Gsm7 => 153,
            Encoding::Ucs2 => 67,
        }
    }

    /// Units of a character that the encoding has.
    fn units_of(self, character: char) -> u32 {
        match self {
            Encoding::Gsm7 => septets(character),
            Encoding::Ucs2 => 1 + u32::from(character > '\u{FFFF}'),
        }
    }
}

/// The size of one SMS text. See [`count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmsCount {
    pub encoding: Encoding,
    /// Unicode scalar values, the unit of [`MAX_CHARACTERS`].
    pub characters: u32,
    /// Septets (GSM 7 bit) or 16-bit units (UCS-2).
    pub units: u32,
    /// Parts sent and charged; 0 for an empty text.
    pub parts: u32,
    /// The first character that is not in the GSM 7 bit alphabet; none exactly when the encoding
    /// is [`Encoding::Gsm7`].
    pub forced_by: Option<char>,
    /// Units left in the last part before one more part is needed.
    pub left_in_part: u32,
    /// LF, CR and CR LF each count once; some phones do not show them.
    pub line_breaks: u32,
}

/// Counts a text that is ready to be sent, variables substituted.
///
/// Parts are filled one after the other: an escape sequence or a surrogate pair that does not fit at
/// the end of a part moves whole to the next, so a text may take more parts than its units divided
/// by the part's size. An empty text takes no part, since nothing is sent. Any length is counted;
/// comparing with [`MAX_CHARACTERS`] is the caller's. One pass, no allocation.
#[must_use]
pub fn count(text: &str) -> SmsCount {
    let mut filled = Filled::with_units(Encoding::Gsm7, 0);
    let mut forced_by = None;
    let mut characters = 0;
    let mut line_breaks = 0;
    let mut previous = '\0';
    for character in text.chars() {
        line_breaks += u32::from(character == '\r' || (character == '\n' && previous != '\r'));
        previous = character;
        if forced_by.is_none() {
            match septets(character) {
                0 => {
                    forced_by = Some(character);
                    // Every character so far is in the GSM alphabet, so it is one 16-bit unit.
                    filled = Filled::with_units(Encoding::Ucs2, characters);
                }
                cost => filled.push(cost),
            }
        }
        if forced_by.is_some() {
            filled.push(Encoding::Ucs2.units_of(character));
        }
        characters += 1;
    }
    let (parts, left_in_part) = filled.parts_and_left();
    SmsCount {
        encoding: filled.encoding,
        characters,
        units: filled.units,
        parts,
        forced_by,
        left_in_part,
        line_breaks,
    }
}

/// Why a text is never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// Nothing but blanks.
    Empty,
    /// More than [`MAX_CHARACTERS`], variables substituted.
    TooLong { characters: u32 },
}

/// [`count`] of a text that may be sent.
pub fn sendable(text: &str) -> Result<SmsCount, Unsendable> {
    let counted = count(text);
    if text.trim().is_empty() {
        return Err(Unsendable::Empty);
    }
    if counted.characters as usize > MAX_CHARACTERS {
        return Err(Unsendable::TooLong { characters: counted.characters });
    }
    Ok(counted)
}

/// A text laid out over the parts of a concatenated message.
struct Filled {
    encoding: Encoding,
    units: u32,
    parts: u32,
    in_last: u32,
}

impl Filled {
    /// `units` characters of one unit each.
    fn with_units(encoding: Encoding, units: u32) -> Self {
        let parts = units.div_ceil(encoding.units_in_part()).max(1);
        Filled { encoding, units, parts, in_last: units - (parts - 1) * encoding.units_in_part() }
    }

    fn push(&mut self, cost: u32) {
        self.units += cost;
        self.in_last += cost;
        if self.in_last > self.encoding.units_in_part() {
            self.parts += 1;
            self.in_last = cost;
        }
    }

    fn parts_and_left(&self) -> (u32, u32) {
        let single = self.encoding.units_in_single();
        if self.units <= single {
            (u32::from(self.units > 0), single - self.units)
        } else {
            (self.parts, self.encoding.units_in_part() - self.in_last)
        }
    }
}

/// Septets a character takes in the GSM 7 bit alphabet: 1, or 2 from the extension table; 0 when it
/// is in neither.
fn septets(character: char) -> u32 {
    match alphabet::septets(character) {
        Some(Septets::One(_)) => 1,
        Some(Septets::Two(_)) => 2,
        None => 0,
    }
}

#[cfg(test)]
mod tests;
