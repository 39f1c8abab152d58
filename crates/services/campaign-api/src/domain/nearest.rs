/// The known word that was probably meant: with the fewest slips, at most one in three characters.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if given.len() > LONGEST {
        return None;
    }
    let typed = given.to_lowercase();
    let slips = (typed.chars().count() / 3).max(1);
    known
        .map(|word| (strsim::damerau_levenshtein(&typed, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= slips)
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_whatever_its_case_and_a_far_one_is_not() {
        let known = ["name", "time_zone", "default_region"];
        assert_eq!(nearest("Nmae", known.into_iter()), Some("name"));
        assert_eq!(nearest("timezone", known.into_iter()), Some("time_zone"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
