//! The words by which a customer stops SMS, or takes that back. A reply is a keyword or it is none:
//! "please stop" is for people to read.

use std::{collections::HashMap, sync::LazyLock};

use carillon_contracts::events::v1::Keyword;

/// No keyword is longer, in bytes.
const LONGEST: usize = 64;

/// The language (BCP 47 primary subtag; `mul`: all of them), the words that stop, and those that take
/// it back.
type Words = (&'static str, &'static [&'static str], &'static [&'static str]);

/// All hold for every organisation, for who is written to in one language may answer in another. A
/// word that is a likely answer to something else is left out: YES, which some providers take for
/// START; DUR (Turkish; French "hard"), RET (Turkish; Danish "right"), ALTA (Spanish; "high").
const WORDS: [Words; 14] = [
    // CTIA, Messaging Principles and Best Practices, and every provider after it.
    ("mul", &["STOP"], &["START"]),
    // Twilio's defaults (twilio.com/docs/messaging/tutorials/advanced-opt-out); with a blank, Telnyx's
    // (developers.telnyx.com, advanced-opt-in-out); REMOVE and OPT-OUT, AWS's (docs.aws.amazon.com,
    // sms-voice, keywords-required).
    (
        "en",
        &[
            "STOPALL",
            "STOP ALL",
            "UNSUBSCRIBE",
            "CANCEL",
            "END",
            "QUIT",
            "REVOKE",
            "OPTOUT",
            "OPT OUT",
            "OPT-OUT",
            "REMOVE",
        ],
        &["UNSTOP"],
    ),
    // For Canada, where both languages must be understood (AWS, as above).
    ("fr", &["ARRET", "ARRÊT"], &[]),
    // From here on no provider publishes a list of its own: the languages' words for stopping, and for
    // leaving a list, as senders there give them.
    ("es", &["BAJA", "CANCELAR", "PARAR", "ALTO"], &[]),
    ("pt", &["SAIR", "PARAR", "CANCELAR"], &[]),
    ("it", &["FERMA"], &[]),
    ("de", &["STOPP", "ABMELDEN"], &[]),
    ("nl", &["AFMELDEN"], &[]),
    ("sv", &["STOPP"], &[]),
    ("pl", &["KONIEC"], &[]),
    ("ru", &["СТОП"], &["СТАРТ"]),
    ("uk", &["СТОП"], &["СТАРТ"]),
    // The second is the first as GSM 7 bit has it: its Τ and Ο are the Latin ones.
    ("el", &["ΣΤΟΠ", "ΣTOΠ"], &[]),
    ("tr", &["İPTAL", "IPTAL"], &[]),
];

static KNOWN: LazyLock<HashMap<String, Keyword>> = LazyLock::new(|| {
    let pairs = |words: &'static [&'static str], keyword| {
        words.iter().map(move |word| (folded(word), keyword))
    };
    let known = WORDS.iter().flat_map(|(_, stop, start)| {
        pairs(stop, Keyword::Stop).chain(pairs(start, Keyword::Start))
    });
    known.collect()
});

/// The keyword that the whole text is, whatever its case, the blanks around it, and full stops and
/// exclamation marks behind it.
pub(crate) fn of(text: &str) -> Option<Keyword> {
    let behind = |c: char| c.is_whitespace() || matches!(c, '.' | '!');
    let word = text.trim_start().trim_end_matches(behind);
    if word.len() > LONGEST {
        return None;
    }
    KNOWN.get(&folded(word)).copied()
}

/// Case folded as Unicode's full folding does (by way of capitals: ß is SS, ς is Σ), and without
/// combining marks: some phones write Ê as two characters, and a capital İ folds to i with a dot.
fn folded(word: &str) -> String {
    let capitals = word.chars().flat_map(char::to_uppercase);
    let small = capitals.flat_map(char::to_lowercase);
    small.filter(|c| !('\u{300}'..='\u{36f}').contains(c)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STOP: Option<Keyword> = Some(Keyword::Stop);
    const START: Option<Keyword> = Some(Keyword::Start);

    #[test]
    fn no_word_both_stops_and_starts() {
        let folded_of = |words: fn(&Words) -> &'static [&'static str]| -> Vec<String> {
            WORDS.iter().flat_map(words).map(|word| folded(word)).collect()
        };
        let (stop, start) = (folded_of(|words| words.1), folded_of(|words| words.2));
        assert!(stop.iter().all(|word| !start.contains(word)));
        assert!(stop.iter().chain(&start).all(|word| !word.is_empty() && word.len() <= LONGEST));
    }

    #[test]
    fn every_word_is_a_keyword_however_it_is_written() {
        for (language, stop, start) in &WORDS {
            assert!((2..=3).contains(&language.len()), "{language}");
            for (words, keyword) in [(stop, STOP), (start, START)] {
                for word in *words {
                    for text in [
                        (*word).to_owned(),
                        word.to_lowercase(),
                        word.to_uppercase(),
                        format!(" \n{word}\t"),
                        format!("{word}."),
                        format!("{word} !\r\n"),
                        format!("\u{a0}{word}!!!"),
                    ] {
                        assert_eq!(of(&text), keyword, "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn case_is_folded_in_every_script() {
        for text in ["Стоп", "στοπ", "Στοπ", "iptal", "ıptal", "İptal", "ARRE\u{302}T", "Arrêt."]
        {
            assert_eq!(of(text), STOP, "{text}");
        }
        assert_eq!(folded("STRAßE"), folded("strasse"));
        assert_eq!(folded("ΤΕΛΟΣ"), folded("τελος"));
    }

    #[test]
    fn anything_else_is_no_keyword() {
        for text in [
            "",
            " .!",
            "please stop",
            "STOP it",
            "STOP, please",
            "don't stop",
            "stops",
            "S T O P",
            ".stop",
            "\"STOP\"",
            "STOP?",
            "yes",
            "no",
            "start now",
            &"stop ".repeat(1_000),
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = of(&text);
        }
    }
}
