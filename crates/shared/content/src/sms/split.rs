//! A text cut into its parts, and each part as octets: exactly the parts that [`count`] counts.

use super::{
    Encoding,
    alphabet::{self, ESCAPE, Septets},
    count,
};

/// One part of a text, in the alphabet of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub text: &'a str,
    pub encoding: Encoding,
}

/// The parts of a text that is ready to be sent, as many as [`count`] says. No escape sequence and
/// no surrogate pair stands in two of them. None for an empty text.
#[must_use]
pub fn split(text: &str) -> Vec<Part<'_>> {
    let counted = count(text);
    let encoding = counted.encoding;
    let room = match counted.parts {
        0 => return Vec::new(),
        1 => encoding.units_in_single(),
        _ => encoding.units_in_part(),
    };
    let mut parts = Vec::with_capacity(counted.parts as usize);
    let (mut begin, mut filled) = (0, 0);
    for (at, character) in text.char_indices() {
        let cost = encoding.units_of(character);
        if filled + cost > room {
            parts.push(Part { text: &text[begin..at], encoding });
            (begin, filled) = (at, 0);
        }
        filled += cost;
    }
    parts.push(Part { text: &text[begin..], encoding });
    parts
}

impl Part<'_> {
    /// GSM 7 bit: a septet an octet, not packed. UCS-2: two octets a unit, the higher one first.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        match self.encoding {
            Encoding::Gsm7 => self.septets(),
            Encoding::Ucs2 => self.text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }

    fn septets(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.text.len());
        for character in self.text.chars() {
            match alphabet::septets(character) {
                Some(Septets::One(code)) => octets.push(code),
                Some(Septets::Two(code)) => octets.extend([ESCAPE, code]),
                // The alphabet has every character of a text in this encoding.
                None => {}
            }
        }
        octets
    }
}

/// The text that octets as [`Part::octets`] makes them say. What says nothing becomes U+FFFD.
#[must_use]
pub fn read(octets: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Gsm7 => alphabet::read(octets),
        Encoding::Ucs2 => {
            let (units, rest) = octets.as_chunks::<2>();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            let text = char::decode_utf16(units);
            let odd = (!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            text.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).chain(odd).collect()
        }
    }
}
