//! The GSM 7 bit default alphabet (3GPP TS 23.038 §6.2.1) with its extension table (§6.2.1.1): what
//! counts a text and what writes it read the same two tables.

/// By code. 0x1B is the escape to the extension table, which is no character.
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', //
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', NONE, 'Æ', 'æ', 'ß', 'É', //
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', //
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', //
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', //
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', //
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', //
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

pub(super) const ESCAPE: u8 = 0x1B;
/// Stands where the table has no character; no text is looked up for it.
const NONE: char = '\u{FFFF}';
const ABSENT: u16 = u16::MAX;
const ESCAPED: u16 = 0x100;

/// The code of every character below U+0100, with [`ESCAPED`] where it is one of the extension.
const LATIN: [u16; 256] = {
    let mut table = [ABSENT; 256];
    let mut code = 0;
    while code < DEFAULT.len() {
        if (DEFAULT[code] as usize) < table.len() {
            table[DEFAULT[code] as usize] = code as u16;
        }
        code += 1;
    }
    let mut at = 0;
    while at < EXTENSION.len() {
        let (code, character) = EXTENSION[at];
        if (character as usize) < table.len() {
            table[character as usize] = ESCAPED | code as u16;
        }
        at += 1;
    }
    table
};

/// How a character stands in the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Septets {
    One(u8),
    /// After an escape.
    Two(u8),
}

/// None where the alphabet does not have it.
pub(super) fn septets(character: char) -> Option<Septets> {
    if let Some(code) = LATIN.get(character as usize) {
        return match *code {
            ABSENT => None,
            code if code & ESCAPED != 0 => Some(Septets::Two(code as u8)),
            code => Some(Septets::One(code as u8)),
        };
    }
    match character {
        '€' => Some(Septets::Two(0x65)),
        // The Greek capitals are the only others.
        'Γ'..='Ω' => {
            let code = DEFAULT[..0x20].iter().position(|known| *known == character)?;
            Some(Septets::One(code as u8))
        }
        _ => None,
    }
}

/// What septets say, one an octet. What the tables do not have becomes U+FFFD.
pub(super) fn read(octets: &[u8]) -> String {
    let mut octets = octets.iter().copied();
    let mut text = String::new();
    while let Some(code) = octets.next() {
        let character = match code {
            ESCAPE => {
                let code = octets.next();
                let known = EXTENSION.iter().find(|(known, _)| Some(*known) == code);
                known.map(|(_, character)| *character)
            }
            code => DEFAULT.get(usize::from(code)).copied(),
        };
        text.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    text
}
