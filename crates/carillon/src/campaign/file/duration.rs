//! Durations as people write them: `12h`, `7d`, `30m`, `90s`, `1h30m`.

const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Seconds; the server bounds them.
pub fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("'{text}' is not a duration; write 12h, 7d, 30m or 90s");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let unit = tail.chars().next().ok_or_else(wrong)?;
        let (_, seconds) = UNITS.iter().find(|(letter, _)| *letter == unit).ok_or_else(wrong)?;
        total = number
            .checked_mul(*seconds)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = &tail[unit.len_utf8()..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, expected) in
            [("12h", 43_200), ("7d", 604_800), ("30m", 1_800), ("90s", 90), ("1h30m", 5_400)]
        {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in ["", "12", "12 hours", "h", "-1h", "12H", "1h30", "99999999999999999d", "1é"] {
            let error = seconds(text).expect_err("refused");
            assert!(error.contains("write 12h"), "{error}");
        }
    }
}
