use super::*;
use proptest::prelude::*;

// 3GPP TS 23.038 §6.2.1, codes 00 to 7F in order, without 1B (escape).
const DEFAULT_ALPHABET: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
    ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
// 3GPP TS 23.038 §6.2.1.1: codes 0A, 14, 28, 29, 2F, 3C, 3D, 3E, 40, 65.
const EXTENSION_TABLE: &str = "\u{C}^{}\\[~]|€";

fn digits(from: u32, count: usize) -> String {
    (from..).map(|n| char::from_digit(n % 10, 10).unwrap_or('?')).take(count).collect()
}

#[track_caller]
fn check(text: &str, encoding: Encoding, units: u32, parts: u32, left: u32) {
    let counted = count(text);
    assert_eq!(
        (counted.encoding, counted.units, counted.parts, counted.left_in_part),
        (encoding, units, parts, left)
    );
}

#[test]
fn every_character_costs_what_the_standard_says() {
    assert_eq!(DEFAULT_ALPHABET.chars().count(), 127);
    assert_eq!(EXTENSION_TABLE.chars().count(), 10);
    for character in '\0'..=char::MAX {
        let expected = if DEFAULT_ALPHABET.contains(character) {
            1
        } else if EXTENSION_TABLE.contains(character) {
            2
        } else {
            0
        };
        assert_eq!(septets(character), expected, "{character:?}");
    }
}

#[test]
fn codes_are_those_of_the_standard() {
    let octets = |text: &str| split(text)[0].octets();
    assert_eq!(octets("@£Δ_Ξ É\n aà"), b"\x00\x01\x10\x11\x1A \x1F\n a\x7F");
    let extended =
        b"\x1B\x0A\x1B\x14\x1B\x28\x1B\x29\x1B\x2F\x1B\x3C\x1B\x3D\x1B\x3E\x1B\x40\x1B\x65";
    assert_eq!(octets("\u{C}^{}\\[~]|€"), extended);
    let codes: Vec<u8> = (0..0x80).filter(|code| *code != 0x1B).collect();
    assert_eq!(octets(DEFAULT_ALPHABET), codes);
    assert_eq!(octets("я😜"), b"\x04\x4F\xD8\x3D\xDE\x1C");
}

#[test]
fn octets_that_say_nothing_are_shown_as_such() {
    assert_eq!(read(b"a\x1B\x41\x80\x1B", Encoding::Gsm7), "a\u{FFFD}\u{FFFD}\u{FFFD}");
    assert_eq!(read(b"\xD8\x3D\x00a\x00", Encoding::Ucs2), "\u{FFFD}a\u{FFFD}");
}

#[test]
fn an_empty_text_takes_no_part() {
    // Firefox OS, dom/mobilemessage/tests/marionette/test_getsegmentinfofortext.js: "" is 0 segments, 160 left.
    check("", Encoding::Gsm7, 0, 0, 160);
    assert_eq!(split(""), []);
}

#[test]
fn published_examples_of_one_part() {
    // Firefox OS, same file: "undefined", and "[object Object]" whose brackets take two septets each.
    check("undefined", Encoding::Gsm7, 9, 1, 151);
    check("[object Object]", Encoding::Gsm7, 17, 1, 143);
}

#[test]
fn published_examples_around_the_single_part_limit() {
    // Twilio message-segment-calculator, tests/index.test.js ("messageSize" is 7 or 16 bits a unit).
    check(&format!("{{{}", digits(2, 158)), Encoding::Gsm7, 1120 / 7, 1, 0);
    check(&format!("{{{}", digits(2, 159)), Encoding::Gsm7, 1127 / 7, 2, 145);
    check(&format!("😜{}", digits(2, 68)), Encoding::Ucs2, 1120 / 16, 1, 0);
    check(&format!("😜{}", digits(2, 69)), Encoding::Ucs2, 1136 / 16, 2, 63);
}

#[test]
fn published_examples_of_several_parts() {
    // Twilio message-segment-calculator, tests/segments.test.js: the third segment holds one character.
    check(&digits(1, 307), Encoding::Gsm7, 307, 3, 152);
    check(&format!("😜{}", digits(2, 133)), Encoding::Ucs2, 135, 3, 66);
    // Sinch, "How will I be charged for concatenated SMS": 306 are two messages, 459 three;
    // in Unicode 134 are two, 201 three.
    check(&"a".repeat(306), Encoding::Gsm7, 306, 2, 0);
    check(&"a".repeat(459), Encoding::Gsm7, 459, 3, 0);
    check(&"я".repeat(134), Encoding::Ucs2, 134, 2, 0);
    check(&"я".repeat(201), Encoding::Ucs2, 201, 3, 0);
    // cardboardfish, "Concatenated and long SMS": at most 255 messages, 39,015 characters.
    check(&"a".repeat(39_015), Encoding::Gsm7, 39_015, 255, 0);
}

#[test]
fn an_escape_sequence_is_not_split_over_parts() {
    let text = format!("{}€{}", "a".repeat(152), "a".repeat(152));
    check(&text, Encoding::Gsm7, 306, 3, 152);
}

#[test]
fn a_surrogate_pair_is_not_split_over_parts() {
    let text = format!("{}😜{}", "я".repeat(66), "я".repeat(66));
    check(&text, Encoding::Ucs2, 134, 3, 66);
}

#[test]
fn the_first_foreign_character_is_named() {
    let counted = count("Prix: 5 € — ça va `ok`");
    assert_eq!(counted.forced_by, Some('—'));
    assert_eq!(counted.encoding, Encoding::Ucs2);
    assert_eq!(counted.characters, 22);
    // TS 23.038 has the capital Ç only.
    assert_eq!(count("Ç").forced_by, None);
    assert_eq!(count("ç").forced_by, Some('ç'));
    // U+2126 (ohm sign) is not U+03A9 (capital omega).
    assert_eq!(count("\u{2126}").forced_by, Some('\u{2126}'));
    assert_eq!(count("a\tb").forced_by, Some('\t'));
}

#[test]
fn characters_are_scalar_values() {
    // One family emoji: seven scalar values (three of them joiners, one pair each for the rest).
    let counted = count("👨‍👩‍👧‍👦");
    assert_eq!((counted.characters, counted.units), (7, 11));
}

#[test]
fn line_breaks_count_once_each() {
    assert_eq!(count("a\nb\r\nc\rd\n\ne\r\r\n").line_breaks, 7);
    assert_eq!(count("none\u{C}here").line_breaks, 0);
}

/// Parts by laying the text out in slices, as a gateway would.
fn parts_by_slicing(text: &str, encoding: Encoding) -> Vec<u32> {
    let cost = |character: char| match encoding {
        Encoding::Gsm7 => 1 + u32::from(EXTENSION_TABLE.contains(character)),
        Encoding::Ucs2 => character.len_utf16() as u32,
    };
    let total: u32 = text.chars().map(cost).sum();
    if total <= encoding.units_in_single() {
        return if total == 0 { vec![] } else { vec![total] };
    }
    let mut parts = vec![0];
    for character in text.chars() {
        let last = parts.len() - 1;
        if parts[last] + cost(character) > encoding.units_in_part() {
            parts.push(cost(character));
        } else {
            parts[last] += cost(character);
        }
    }
    parts
}

fn gsm_text() -> impl Strategy<Value = String> {
    let alphabet: Vec<char> = DEFAULT_ALPHABET.chars().chain(EXTENSION_TABLE.chars()).collect();
    prop::collection::vec(prop::sample::select(alphabet), 0..700).prop_map(String::from_iter)
}

fn any_text() -> impl Strategy<Value = String> {
    let character =
        prop_oneof![8 => prop::sample::select(vec!['a', '€', '[', 'я', '😜']), 1 => any::<char>()];
    prop_oneof![gsm_text(), prop::collection::vec(character, 0..700).prop_map(String::from_iter)]
}

proptest! {
    #[test]
    fn parts_are_those_of_the_sliced_text(text in any_text()) {
        let counted = count(&text);
        let parts = parts_by_slicing(&text, counted.encoding);
        prop_assert_eq!(counted.parts as usize, parts.len());
        prop_assert_eq!(counted.units, parts.iter().sum::<u32>());
        prop_assert_eq!(counted.characters as usize, text.chars().count());
        let size = if parts.len() > 1 { counted.encoding.units_in_part() } else { counted.encoding.units_in_single() };
        prop_assert!(parts.iter().all(|part| *part <= size));
        prop_assert_eq!(counted.left_in_part, size - parts.last().unwrap_or(&0));
        prop_assert!(counted.units <= counted.encoding.units_in_single()
            || counted.parts >= counted.units.div_ceil(counted.encoding.units_in_part()));
    }

    #[test]
    fn a_text_is_split_as_it_is_counted(text in any_text()) {
        let counted = count(&text);
        let parts = split(&text);
        prop_assert_eq!(parts.len(), counted.parts as usize);
        prop_assert_eq!(parts.iter().map(|part| part.text).collect::<String>(), text.as_str());
        let size = if parts.len() > 1 { counted.encoding.units_in_part() } else { counted.encoding.units_in_single() };
        for part in &parts {
            prop_assert_eq!(part.encoding, counted.encoding);
            let octets = part.octets();
            let units = match part.encoding {
                Encoding::Gsm7 => octets.len(),
                Encoding::Ucs2 => octets.len() / 2,
            };
            prop_assert!(units <= size as usize);
            // Alone it says the same: nothing was cut in half.
            prop_assert_eq!(read(&octets, part.encoding), part.text);
        }
        let units: u32 = parts.iter().map(|part| part.text.chars().map(|c| part.encoding.units_of(c)).sum::<u32>()).sum();
        prop_assert_eq!(units, counted.units);
    }

    #[test]
    fn more_text_never_takes_fewer_parts(text in any_text(), more in any_text()) {
        let longer = format!("{text}{more}");
        prop_assert!(count(&longer).parts >= count(&text).parts);
    }

    #[test]
    fn a_text_of_the_alphabet_stays_in_it(text in gsm_text()) {
        let counted = count(&text);
        prop_assert_eq!(counted.forced_by, None);
        prop_assert_eq!(counted.encoding, Encoding::Gsm7);
    }

    #[test]
    fn ucs2_units_are_those_of_utf16(text in any_text(), foreign in prop::sample::select(vec!['ё', '`', '🦀'])) {
        let text = format!("{foreign}{text}");
        let counted = count(&text);
        prop_assert_eq!(counted.forced_by, Some(foreign));
        prop_assert_eq!(counted.units as usize, text.encode_utf16().count());
    }
}
