//! The known word that was probably meant.

/// The word of `known` that is the same but for case, `_`, `-` and spaces, or that few slips make
/// of `typed`: one in two characters, three at most.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| -> String {
        word.chars()
            .filter(|letter| !matches!(letter, '_' | '-' | ' '))
            .flat_map(char::to_lowercase)
            .collect()
    };
    // Edit distance grows with the length, and no known word is longer.
    if typed.len() > 100 {
        return None;
    }
    let typed = plain(typed);
    let slips = (typed.chars().count() / 2).clamp(1, 3);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(&typed, &plain(word)), word))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// ` (did you mean 'x'?)`, or the list of what is known.
pub fn hint<'a>(typed: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(typed, known.clone()) {
        Some(word) => format!("did you mean '{word}'?"),
        None => {
            format!("known are {}", known.into_iter().collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 3] = ["external_id", "first_name", "phone"];

    #[test]
    fn a_slip_and_another_spelling_are_recognised() {
        assert_eq!(nearest("phon", WORDS), Some("phone"));
        assert_eq!(nearest("External ID", WORDS), Some("external_id"));
        assert_eq!(nearest("fist_name", WORDS), Some("first_name"));
        assert_eq!(nearest("fone", WORDS), Some("phone"));
        assert_eq!(nearest("shoe size", WORDS), None);
    }

    #[test]
    fn without_a_near_word_all_are_listed() {
        assert_eq!(hint("zzzzzz", WORDS), "known are external_id, first_name, phone");
    }
}
