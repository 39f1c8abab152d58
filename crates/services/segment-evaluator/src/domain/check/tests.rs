use proptest::prelude::*;

use super::*;

fn rules() -> Rules {
    Rules::new("", "2026-11-23T12:00:00Z".parse().expect("valid"))
}

fn customer() -> Customer {
    Customer { external_id: "C1".into(), ..Customer::default() }
}

fn reason(customer: Customer) -> String {
    match check(customer, &Mask::default(), &rules()) {
        Ok(_) => "accepted".into(),
        Err(fault) => fault.reason.into_owned(),
    }
}

#[test]
fn each_fault_has_its_reason() {
    let long = "x".repeat(101);
    let faulty: [(&str, Customer); 18] = [
        ("external_id_missing", Customer { external_id: " ".into(), ..customer() }),
        ("external_id_too_long", Customer { external_id: "x".repeat(65), ..customer() }),
        ("external_id_invalid", Customer { external_id: "a\tb".into(), ..customer() }),
        ("external_id_invalid", Customer { external_id: " a".into(), ..customer() }),
        ("name_too_long", Customer { last_name: long, ..customer() }),
        ("name_control_character", Customer { first_name: "Bell\u{7}".into(), ..customer() }),
        ("birthday_bad_format", Customer { birthday: "30/02/1990".into(), ..customer() }),
        ("birthday_not_a_date", Customer { birthday: "1990-02-30".into(), ..customer() }),
        ("birthday_too_old", Customer { birthday: "1899-12-31".into(), ..customer() }),
        ("birthday_in_future", Customer { birthday: "2026-11-25".into(), ..customer() }),
        ("joined_at_not_a_date", Customer { joined_at: "2025-02-30".into(), ..customer() }),
        ("joined_at_in_future", Customer { joined_at: "2199-01-01".into(), ..customer() }),
        ("language_unknown", Customer { language: "klingonish!".into(), ..customer() }),
        ("time_zone_unknown", Customer { time_zone: "Mars/Olympus".into(), ..customer() }),
        ("points_out_of_range", Customer { points: 1_000_000_001, ..customer() }),
        ("consent_unknown", Customer { consent: 9, ..customer() }),
        ("category_too_long", Customer { categories: vec!["c".repeat(65)], ..customer() }),
        (
            "too_many_categories",
            Customer { categories: (0..21).map(|n| n.to_string()).collect(), ..customer() },
        ),
    ];
    for (expected, row) in faulty {
        assert_eq!(reason(row), expected);
    }
}

#[test]
fn an_attribute_is_named_in_its_fault() {
    let mut row = customer();
    row.attributes.insert("city".into(), "A".repeat(501));
    let fault = check(row, &Mask::default(), &rules()).expect_err("too long");
    assert_eq!((&*fault.field, &*fault.reason), ("attributes.city", "attribute_too_long"));
    let mut row = customer();
    row.attributes.insert("no spaces".into(), "a".into());
    assert_eq!(reason(row), "attribute_name_invalid");
}

#[test]
fn what_it_is_today_somewhere_is_not_the_future() {
    assert_eq!(reason(Customer { birthday: "2026-11-24".into(), ..customer() }), "accepted");
}

#[test]
fn names_come_out_as_they_went_in() {
    for name in ["{{7*7}}", "{UserName}", "O'Brien-\"Quote\"", "=cmd()", "🦊✨ Foxy 🎶", " x "]
    {
        let row = Customer { first_name: name.into(), ..customer() };
        let given = check(row, &Mask::default(), &rules()).expect("accepted");
        assert_eq!(given.profile.first_name, name);
    }
}

#[test]
fn fields_outside_the_mask_are_not_looked_at() {
    let mask = Mask::new(&["first_name".to_owned()]).expect("valid");
    let row =
        Customer { first_name: "Ann".into(), phone: "call me".into(), points: 7, ..customer() };
    let given = check(row, &mask, &rules()).expect("accepted");
    assert_eq!((given.profile.first_name.as_str(), given.points), ("Ann", 0));
}

#[test]
fn labels_are_trimmed_and_kept_once() {
    let row = Customer {
        categories: vec![" VIP ".into(), "VIP".into(), "".into(), "New".into()],
        ..customer()
    };
    let given = check(row, &Mask::default(), &rules()).expect("accepted");
    assert_eq!(given.categories, ["VIP", "New"]);
}

#[test]
fn a_time_zone_gets_its_own_spelling() {
    let row = Customer { time_zone: "europe/amsterdam".into(), ..customer() };
    let given = check(row, &Mask::default(), &rules()).expect("accepted");
    assert_eq!(given.time_zone, "Europe/Amsterdam");
}

proptest! {
    #[test]
    fn no_text_makes_a_check_panic_and_no_message_repeats_the_value(text in "\\PC{0,80}") {
        let row = Customer {
            external_id: text.clone(),
            phone: text.clone(),
            email: text.clone(),
            birthday: text.clone(),
            language: text.clone(),
            time_zone: text.clone(),
            joined_at: text.clone(),
            ..Customer::default()
        };
        if let Err(fault) = check(row, &Mask::default(), &rules()) {
            let long_enough_to_tell = text.chars().count() > 12;
            prop_assert!(!long_enough_to_tell || !fault.message.contains(&text));
        }
    }
}
