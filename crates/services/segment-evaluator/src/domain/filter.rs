//! Recipient filters: expressions of AIP-160 over the audience's fields. So far one term is
//! understood: `category:"VIP"`.

use carillon_contracts::campaign::v1::{Audience, audience::Selection as Wire};
use carillon_service_kit::status::FieldError;

const SUPPORTED: &str = "supported are the empty filter (everybody) and category:\"NAME\"";
const MOST_LISTED: usize = 10_000;

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    Everyone,
    Category(String),
    /// External ids, sorted, each once.
    Customers(Vec<String>),
}

impl Selection {
    /// `field` is named in errors.
    pub(crate) fn of_filter(field: &str, text: &str) -> Result<Self, FieldError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Everyone);
        }
        let category = text.strip_prefix("category").map(str::trim_start);
        let value = category.and_then(|rest| rest.strip_prefix(':')).map(str::trim);
        match value.and_then(value_of) {
            // No stored label holds a control character, and PostgreSQL refuses to look for NUL.
            Some(value) if !value.contains(char::is_control) => Ok(Self::Category(value)),
            _ => {
                let shown: String = text.chars().take(100).collect();
                Err(FieldError::new(field, format!("'{shown}' is not understood; {SUPPORTED}")))
            }
        }
    }

    pub(crate) fn of_audience(audience: Option<&Audience>) -> Result<Self, FieldError> {
        let error = |field, description: &str| Err(FieldError::new(field, description));
        match audience.and_then(|audience| audience.selection.as_ref()) {
            None => error(
                "audience",
                "says nothing; give everyone: true, a filter, or a list of customers",
            ),
            Some(Wire::Everyone(true)) => Ok(Self::Everyone),
            Some(Wire::Everyone(false)) => {
                error("audience.everyone", "is false; write true, or give a filter or customers")
            }
            Some(Wire::Filter(filter)) => Self::of_filter("audience.filter", filter),
            Some(Wire::Customers(list)) => match list.external_ids.len() {
                1..=MOST_LISTED if list.external_ids.iter().any(|id| id.contains('\0')) => {
                    error("audience.customers", "holds an id with a NUL character; remove it")
                }
                1..=MOST_LISTED => {
                    let mut ids = list.external_ids.clone();
                    ids.sort_unstable();
                    ids.dedup();
                    Ok(Self::Customers(ids))
                }
                _ => error("audience.customers", "must name 1 to 10,000 customers"),
            },
        }
    }
}

/// The next of sorted ids after one of them, `most` at most.
pub(crate) fn next_of<'a>(ids: &'a [String], after: &str, most: usize) -> &'a [String] {
    let from = ids.partition_point(|id| id.as_str() <= after);
    &ids[from..ids.len().min(from.saturating_add(most))]
}

/// A quoted string with `\"` and `\\`, or a bare word.
fn value_of(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let keyword = matches!(text, "AND" | "OR" | "NOT");
        return (!text.is_empty() && !keyword && text.chars().all(is_word))
            .then(|| text.to_owned());
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => value.push(escaped),
                _ => return None,
            },
            other => value.push(other),
        }
    }
    (characters.as_str().is_empty() && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use carillon_contracts::campaign::v1::CustomerList;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Selection, FieldError> {
        Selection::of_filter("filter", text)
    }

    #[test]
    fn nothing_means_everybody() {
        assert_eq!(read("  "), Ok(Selection::Everyone));
    }

    #[test]
    fn a_category_may_be_quoted_or_bare() {
        let vip = || Ok(Selection::Category("VIP".into()));
        assert_eq!(read("category:\"VIP\""), vip());
        assert_eq!(read(" category : VIP "), vip());
        let odd = Ok(Selection::Category("a \"b\" \\".into()));
        assert_eq!(read(r#"category:"a \"b\" \\""#), odd);
    }

    #[test]
    fn anything_else_is_refused_with_what_is_supported() {
        let wrong = [
            "points > 5",
            "category:",
            "category:\"\"",
            "category:\"VIP",
            "category:VIP AND category:New",
            "categoryVIP",
            "category:\"VIP\" OR x",
            r#"category:"\n""#,
            "category:\"a\u{0}\"",
        ];
        for text in wrong {
            let error = read(text).expect_err(text);
            assert!(error.description.contains("category:\"NAME\""), "{error}");
        }
    }

    #[test]
    fn an_audience_says_who_in_one_way() {
        let audience = |selection| Audience { selection };
        let of = |selection| Selection::of_audience(Some(&audience(Some(selection))));
        assert_eq!(of(Wire::Everyone(true)), Ok(Selection::Everyone));
        assert!(of(Wire::Everyone(false)).is_err());
        assert!(Selection::of_audience(None).is_err());
        assert!(Selection::of_audience(Some(&audience(None))).is_err());
        let list = |ids: &[&str]| {
            of(Wire::Customers(CustomerList {
                external_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            }))
        };
        let sorted = Selection::Customers(vec!["C1".into(), "C2".into()]);
        assert_eq!(list(&["C2", "C1", "C2"]), Ok(sorted));
        assert!(list(&[]).is_err());
    }

    proptest! {
        #[test]
        fn every_category_can_be_asked_for_in_quotes(name in "\\PC{1,64}") {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(read(&format!("category:\"{quoted}\"")), Ok(Selection::Category(name)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = read(&text);
        }
    }
}
