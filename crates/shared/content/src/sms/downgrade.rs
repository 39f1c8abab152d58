//! Characters that look like one of the GSM alphabet: a text that has only such foreign ones can be
//! sent in GSM 7 bit, at 160 characters a part instead of 70.

use super::{count, septets};

/// The text in the GSM alphabet, if every foreign character of it has a look-alike there. One that
/// would still need UCS-2 gains nothing, so it stays as it is: nothing is answered.
pub fn downgraded(text: &str) -> Option<String> {
    count(text).forced_by?;
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if septets(character) > 0 {
            plain.push(character);
        } else {
            plain.push_str(look_alike(character)?);
        }
    }
    Some(plain)
}

/// Made of the GSM alphabet; empty for what is not seen at all.
fn look_alike(character: char) -> Option<&'static str> {
    Some(match character {
        '\t' | '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => " ",
        '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}' => "",
        '‘' | '’' | '‚' | '‛' | '′' | '´' | '`' | 'ʼ' | '‹' | '›' => "'",
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' => "\"",
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => "-",
        '…' => "...",
        '•' | '·' | '∙' => "*",
        '⁄' | '∕' => "/",
        '×' => "x",
        '™' => "TM",
        '©' => "(c)",
        '®' => "(r)",
        '№' => "No",
        '\u{2126}' => "Ω",
        'À' | 'Á' | 'Â' | 'Ã' | 'Ā' | 'Ă' | 'Ą' => "A",
        'á' | 'â' | 'ã' | 'ā' | 'ă' | 'ą' => "a",
        'Ć' | 'Č' | 'Ĉ' | 'Ċ' => "C",
        'ç' | 'ć' | 'č' | 'ĉ' | 'ċ' => "c",
        'Ď' | 'Đ' => "D",
        'ď' | 'đ' => "d",
        'È' | 'Ê' | 'Ë' | 'Ē' | 'Ė' | 'Ę' | 'Ě' => "E",
        'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'Ğ' | 'Ģ' => "G",
        'ğ' | 'ģ' => "g",
        'Ì' | 'Í' | 'Î' | 'Ï' | 'Ī' | 'Į' | 'İ' => "I",
        'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => "i",
        'Ķ' => "K",
        'ķ' => "k",
        'Ĺ' | 'Ļ' | 'Ľ' | 'Ł' => "L",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'Ń' | 'Ņ' | 'Ň' => "N",
        'ń' | 'ņ' | 'ň' => "n",
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ō' | 'Ő' => "O",
        'ó' | 'ô' | 'õ' | 'ō' | 'ő' => "o",
        'Œ' => "OE",
        'œ' => "oe",
        'Ŕ' | 'Ř' => "R",
        'ŕ' | 'ř' => "r",
        'Ś' | 'Ş' | 'Š' | 'Ș' => "S",
        'ś' | 'ş' | 'š' | 'ș' => "s",
        'Ţ' | 'Ť' | 'Ț' => "T",
        'ţ' | 'ť' | 'ț' => "t",
        'Ù' | 'Ú' | 'Û' | 'Ū' | 'Ů' | 'Ű' | 'Ų' => "U",
        'ú' | 'û' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'Ŵ' => "W",
        'ŵ' => "w",
        'Ý' | 'Ÿ' | 'Ŷ' => "Y",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'Ź' | 'Ż' | 'Ž' => "Z",
        'ź' | 'ż' | 'ž' => "z",
        // Greek and Cyrillic capitals of the same shape as Latin ones.
        'Α' | 'А' => "A",
        'Β' | 'В' => "B",
        'С' => "C",
        'Ε' | 'Е' => "E",
        'Ζ' => "Z",
        'Η' | 'Н' => "H",
        'Ι' | 'І' => "I",
        'Κ' | 'К' => "K",
        'Μ' | 'М' => "M",
        'Ν' => "N",
        'Ο' | 'О' => "O",
        'Ρ' | 'Р' => "P",
        'Τ' | 'Т' => "T",
        'Υ' => "Y",
        'Χ' | 'Х' => "X",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Encoding, count},
        *,
    };

    #[test]
    fn every_look_alike_is_of_the_alphabet_and_stands_for_a_foreign_character() {
        for character in '\0'..=char::MAX {
            if let Some(plain) = look_alike(character) {
                assert_eq!(septets(character), 0, "{character:?} needs none");
                assert!(plain.chars().all(|c| septets(c) > 0), "{character:?} → {plain:?}");
            }
        }
    }

    #[test]
    fn a_text_is_downgraded_whole_or_not_at_all() {
        let downgraded = |text| downgraded(text).as_deref().map(str::to_owned);
        assert_eq!(
            downgraded("“Ça va” — dès l’été…\u{A0}50 €").as_deref(),
            Some("\"Ça va\" - dès l'été... 50 €")
        );
        assert_eq!(downgraded("ΑΘΗΝΑ").as_deref(), Some("AΘHNA"));
        assert_eq!(downgraded("“Привет”"), None, "it needs UCS-2 whatever becomes of the quotes");
        assert_eq!(downgraded("“Hi” 😜"), None);
        assert_eq!(downgraded("plain"), None, "nothing to do");
    }

    proptest! {
        #[test]
        fn what_is_downgraded_is_gsm_and_stays_as_it_is(
            text in prop::collection::vec(
                prop::sample::select(vec!['a', 'é', '—', '“', '…', 'ł', 'А', '€', 'я', '\u{200B}']),
                0..80,
            ).prop_map(String::from_iter)
        ) {
            match downgraded(&text) {
                Some(plain) => {
                    prop_assert_eq!(count(&plain).encoding, Encoding::Gsm7);
                    prop_assert_eq!(downgraded(&plain), None);
                }
                None => prop_assert!(count(&text).forced_by.is_none() || text.contains('я')),
            }
        }
    }
}
