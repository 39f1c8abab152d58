//! A value as a cell of a table or of a CSV file.

use serde_json::Value;

use super::{printable, thousands};

/// For people.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => thousands(number),
            (_, Some(number)) => thousands(number),
            _ => number.to_string(),
        },
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let pairs: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", printable(name), text(value)))
                .collect();
            pairs.join(", ")
        }
    }
}

/// Nothing to show.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// For CSV: lists are joined by semicolons, and formulas are defused.
pub fn csv(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => defuse(text),
        Value::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            defuse(&items.join(";"))
        }
        Value::Object(_) => value.to_string(),
    }
}

/// Puts an apostrophe before a cell that a spreadsheet would run as a formula (OWASP, CSV injection),
/// and before one that only looks as if that had been done, so that [`undefuse`] brings back every text.
pub fn defuse(text: &str) -> String {
    if is_formula(text.trim_start_matches('\'')) { format!("'{text}") } else { text.to_owned() }
}

/// Takes the apostrophe of [`defuse`] away again.
pub fn undefuse(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if is_formula(rest.trim_start_matches('\'')) => rest,
        _ => text,
    }
}

fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_plain_number(text)
}

/// `-12`, `+3.50`, `+15035550156`.
fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_defused_and_numbers_are_not() {
        for formula in ["=cmd()", "+cmd", "-1+1", "@SUM(A1)", "\tx", "\rx", "+", "-", "+1-2"] {
            assert_eq!(defuse(formula), format!("'{formula}"));
        }
        for plain in ["", "-12", "+3.50", "+15035550156", "a=b", "O'Brien", "'quoted'"] {
            assert_eq!(defuse(plain), plain);
        }
    }

    #[test]
    fn an_apostrophe_typed_before_a_number_stays() {
        assert_eq!(undefuse("'hello"), "'hello");
        assert_eq!(undefuse("'=x"), "=x");
    }

    proptest! {
        #[test]
        fn whatever_is_defused_comes_back(text in "['=+@a1\\-\\.\t]{0,6}") {
            let defused = defuse(&text);
            prop_assert_eq!(undefuse(&defused), text);
        }
    }
}
