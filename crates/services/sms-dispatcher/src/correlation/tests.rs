use std::sync::Arc;

use carillon_contracts::ids::OrganisationId;
use carillon_dispatch::Says;
use uuid::Uuid;

use super::*;

fn account() -> Account {
    let organisation = OrganisationId::new(Uuid::from_u128(5));
    Account { organisation, name: Arc::from("smpp/smsc.example:2775/me") }
}

fn key(id: &str) -> Option<String> {
    account().key(id).map(|key| key.smsc_id)
}

#[test]
fn an_id_is_the_same_in_other_letters_and_with_zeroes_before_it() {
    for (id, expected) in [("00C449AB", "c449ab"), ("c449ab", "c449ab"), ("000", "0"), ("7", "7")] {
        assert_eq!(key(id).as_deref(), Some(expected), "{id}");
    }
    for nothing in ["", "two words", "7\n", "é", &"7".repeat(LONGEST_ID + 1)] {
        assert_eq!(key(nothing), None, "{nothing:?}");
    }
}

#[test]
fn an_id_that_is_a_number_has_other_digits_in_the_other_base() {
    let both = |hex: &str, decimal: &str| (hex.to_owned(), decimal.to_owned());
    assert_eq!(other_bases("4096"), both("1000", "16534"));
    assert_eq!(other_bases("c449ab"), both("", "12863915"));
    assert_eq!(other_bases("sms-7"), both("", ""));
    assert_eq!(other_bases(&"9".repeat(40)), both("", ""), "no number has so many");
}

#[tokio::test]
async fn what_nobody_stores_is_not_kept() {
    let (correlation, correlating) = Correlation::new();
    drop(correlating);
    let told = correlation.told(&account(), "7", Says::Delivered, String::new()).await;
    assert_eq!(told, Err(NotKept));
    // Nothing can be about it, now or later.
    let nothing = correlation.told(&account(), "", Says::Delivered, String::new()).await;
    assert_eq!(nothing, Ok(()));
}
