use super::*;

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn report() -> Report {
    let sms = ChannelReport {
        channel: 1,
        matched: 1283,
        planned: 1260,
        skipped: counts(&[("unsubscribed", 20), ("no_address", 3), ("capped", 0)]),
        states: counts(&[("delivered", 1200), ("failed", 10), ("expired", 0)]),
        waiting: counts(&[("insufficient_balance", 40)]),
        in_flight: 50,
        parts: 1230,
        credits: 2460,
    };
    let email = ChannelReport {
        channel: 2,
        matched: 1283,
        planned: 1283,
        states: counts(&[("sent", 1280), ("unknown", 3)]),
        ..ChannelReport::default()
    };
    Report {
        campaign: "c".to_owned(),
        run: "r".to_owned(),
        campaign_name: "Members' Monday".to_owned(),
        matched: 2566,
        planned: 2543,
        skipped: sms.skipped.clone(),
        states: counts(&[("delivered", 1200), ("failed", 10), ("sent", 1280), ("unknown", 3)]),
        waiting: sms.waiting.clone(),
        in_flight: 50,
        plan_complete: true,
        channels: vec![sms, email],
        ..Report::default()
    }
}

fn printed(format: Format) -> String {
    let mut out = Vec::new();
    print(&mut out, Look::plain(format), &report()).expect("printed");
    String::from_utf8(out).expect("text")
}

#[test]
fn json_holds_what_scripts_rely_on() {
    let value: Value = serde_json::from_str(&printed(Format::Json)).expect("JSON");
    for key in [
        "campaign",
        "run",
        "matched",
        "planned",
        "skipped",
        "states",
        "waiting",
        "in_flight",
        "channels",
        "plan_complete",
    ] {
        assert!(!value[key].is_null(), "{key}");
    }
    assert_eq!(value["states"]["sent"], json!(1280));
    assert_eq!(value["channels"][0]["channel"], json!("sms"));
}

#[test]
fn the_table_fits_a_hundred_columns_and_hides_zeros() {
    let text = printed(Format::Table);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(!text.contains("capped") && !text.contains("expired"), "{text}");
    assert!(text.contains("2,493 of 2,543 settled, 50 in flight"), "{text}");
    assert!(text.contains("insufficient balance"), "{text}");
}

#[test]
fn states_stand_in_the_vocabularys_order() {
    assert_eq!(state_list(&report()), "sent 1,280, delivered 1,200, failed 10, unknown 3");
    let with_new = counts(&[("zonked", 1), ("failed", 1), ("sent", 1)]);
    assert_eq!(settled_states([&with_new]), ["sent", "failed", "zonked"]);
}

#[test]
fn csv_has_a_row_for_each_figure() {
    let text = printed(Format::Csv);
    assert!(text.starts_with("channel,measure,name,count\n"), "{text}");
    assert!(text.contains("sms,skipped,unsubscribed,20\n"), "{text}");
    assert!(text.contains("email,states,sent,1280\n"), "{text}");
}

#[test]
fn a_report_before_the_plan_says_that_nothing_is_planned_yet() {
    let planless = Report { campaign_name: "Monday".to_owned(), ..Report::default() };
    let mut out = Vec::new();
    print(&mut out, Look::plain(Format::Table), &planless).expect("printed");
    assert_eq!(String::from_utf8(out).expect("text"), "Monday\nnothing is planned yet\n");

    let missed = Report { plan_complete: true, ..planless };
    let mut out = Vec::new();
    print(&mut out, Look::plain(Format::Table), &missed).expect("printed");
    let text = String::from_utf8(out).expect("text");
    assert!(text.starts_with("Monday\nall 0 settled") && !text.contains("matched"), "{text}");
}
