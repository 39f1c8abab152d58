use carillon_service_kit::status::{FieldError, invalid_fields};

use super::*;

const GOOD: &str = r#"
name: Members' Monday
active: true
valid: { from: 2026-11-01, until: 2026-12-31 }      # local dates, both included
audience: { filter: 'category:"VIP"' }
schedule: now
pending_period: 12h
at_most_once_in: 7d
content:
  sms: { text: "Hi {UserName|friend}, 25 % off hot drinks today." }
  email: { subject: "For you, {FirstName}", text: "Hello", html: "<p>Hello</p>" }
"#;

fn parse(text: &str) -> Result<CampaignFile, Error> {
    Campaign::parse("c.yaml", text, Path::new("."))
}

fn refused(text: &str) -> String {
    parse(text).expect_err("refused").to_string()
}

#[test]
fn the_example_of_the_design_is_read() {
    let campaign = parse(GOOD).expect("good").it;
    assert_eq!(campaign.name, "Members' Monday");
    assert!(campaign.active);
    let valid = campaign.valid.expect("valid");
    assert_eq!((valid.from.as_str(), valid.until.as_str()), ("2026-11-01", "2026-12-31"));
    let audience = campaign.audience.and_then(|audience| audience.selection);
    assert_eq!(audience, Some(Selection::Filter("category:\"VIP\"".to_owned())));
    assert_eq!(campaign.schedule.and_then(|schedule| schedule.when), Some(When::Now(true)));
    assert_eq!(campaign.pending_period.map(|duration| duration.seconds), Some(43_200));
    assert_eq!(campaign.at_most_once_in.map(|duration| duration.seconds), Some(604_800));
    let content = campaign.content.expect("content");
    assert_eq!(content.email.map(|email| email.html), Some("<p>Hello</p>".to_owned()));
}

#[test]
fn the_example_file_and_its_html_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/campaign.yaml");
    let campaign = CampaignFile::read(&path).expect("good").it;
    let email = campaign.content.and_then(|content| content.email).expect("an e-mail");
    assert!(email.html.contains("<!DOCTYPE html>"));
}

#[test]
fn an_unknown_key_names_file_line_and_the_nearest() {
    let text = GOOD.replace("schedule:", "shedule:");
    assert_eq!(refused(&text), "c.yaml:6: unknown key 'shedule': did you mean 'schedule'?");
    let text = GOOD.replace("{ text: \"Hi", "{ txt: \"Hi");
    assert_eq!(refused(&text), "c.yaml:10: unknown key 'txt': did you mean 'text'?");
}

#[test]
fn a_value_of_the_wrong_kind_names_its_key() {
    let error = refused(&GOOD.replace("active: true", "active: perhaps"));
    assert!(error.starts_with("c.yaml:3: active: "), "{error}");
    let error = refused(&GOOD.replace("{ filter: 'category:\"VIP\"' }", "everyone"));
    assert!(error.starts_with("c.yaml:5: audience: "), "{error}");
}

#[test]
fn every_wrong_value_is_told_at_once() {
    let text = GOOD
        .replace("12h", "12 hours")
        .replace("schedule: now", "schedule: { daily: { at: \"09:00\" } }")
        .replace("{ filter: 'category:\"VIP\"' }", "{ everyone: true, customers: [C1] }")
        .replace("html: \"<p>Hello</p>\"", "html_file: missing.html");
    let error = refused(&text);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 4, "{error}");
    assert!(lines[0].starts_with("c.yaml:5: audience: must hold exactly one"), "{error}");
    assert!(lines[1].starts_with("c.yaml:6: schedule: 'daily' is not served"), "{error}");
    assert!(lines[2].starts_with("c.yaml:7: pending_period: '12 hours'"), "{error}");
    assert!(lines[3].starts_with("c.yaml:11: content.email.html_file: "), "{error}");
    assert!(lines[3].contains("missing.html"), "{error}");
}

#[test]
fn a_set_time_is_read_as_it_is_written() {
    for written in ["{ once: 2026-12-01T09:00 }", "{ once: \"2026-12-01T09:00\" }"] {
        let text = GOOD.replace("schedule: now", &format!("schedule: {written}"));
        let schedule = parse(&text).expect("good").it.schedule;
        let expected = When::Once("2026-12-01T09:00".to_owned());
        assert_eq!(schedule.and_then(|schedule| schedule.when), Some(expected));
    }
    let error = refused(&GOOD.replace("schedule: now", "schedule: { once: 1, daily: { at: 1 } }"));
    assert!(error.contains("'daily' is not served"), "{error}");
}

#[test]
fn a_word_that_is_no_schedule_is_refused() {
    let error = refused(&GOOD.replace("schedule: now", "schedule: tomorrow"));
    assert!(error.contains("c.yaml:6: schedule: 'tomorrow' is not a schedule"), "{error}");
}

#[test]
fn yaml_that_is_broken_or_empty_says_where() {
    assert!(refused("").contains("empty"));
    for broken in ["name: [a\nactive: true\n", "name: [unclosed\n", "name: \"a\nactive: true\n"] {
        let error = refused(broken);
        assert!(error.starts_with("c.yaml:") && error.contains(": is not YAML: "), "{error}");
    }
    let error = refused("name: a\nname: b\n");
    assert!(error.starts_with("c.yaml:2:") && error.contains("name"), "{error}");
}

#[test]
fn ids_that_look_like_numbers_stay_as_they_are_written() {
    let text = GOOD.replace("{ filter: 'category:\"VIP\"' }", "{ customers: [C1, 0042] }");
    let audience = parse(&text).expect("good").it.audience.and_then(|a| a.selection);
    let Some(Selection::Customers(list)) = audience else { panic!("customers") };
    assert_eq!(list.external_ids, ["C1", "0042"]);
}

#[test]
fn what_the_server_refuses_is_told_with_its_line() {
    let file = parse(GOOD).expect("good");
    let status = invalid_fields(vec![
        FieldError::new("campaign.content.sms.text", "'{Usrname}' is unknown"),
        FieldError::new("valid.until", "lies before valid.from"),
        FieldError::new("name", "is too long"),
    ]);
    assert_eq!(
        file.explain(status).to_string(),
        "c.yaml:10: content.sms.text: '{Usrname}' is unknown\n\
         c.yaml:4: valid.until: lies before valid.from\n\
         c.yaml:2: name: is too long"
    );
}

#[test]
fn saved_texts_are_named_in_the_place_of_texts() {
    let named = |content: &str| {
        let (before, _) = GOOD.split_once("content:").expect("a content");
        parse(&format!("{before}content: {content}\n")).map(|file| {
            let template = file.it.content.and_then(|content| content.template);
            template.map(|template| (template.template, template.version))
        })
    };
    let welcome = |version| Some(("Welcome back".to_owned(), version));
    assert_eq!(named("{ template: Welcome back }").expect("good"), welcome(0));
    assert_eq!(named("{ template: Welcome back@12 }").expect("good"), welcome(12));
    for wrong in ["a@", "a@0", "a@b", "'@3'"] {
        let error = named(&format!("{{ template: {wrong} }}")).expect_err("refused").to_string();
        assert!(error.starts_with("c.yaml:9: content.template: '"), "{error}");
    }
    let error = named("{ template: a, sms: { text: b } }").expect_err("refused").to_string();
    assert!(error.contains("content.template: stands beside sms or email"), "{error}");
}

#[test]
fn an_sms_may_be_downgraded() {
    let text = GOOD.replace("hot drinks today.\" }", "hot drinks today.\", downgrade: true }");
    let sms = parse(&text).expect("good").it.content.and_then(|content| content.sms);
    assert!(sms.expect("an SMS").downgrade);
    let error = refused(&text.replace("downgrade: true", "downgrade: often"));
    assert!(error.starts_with("c.yaml:10: downgrade: must be true or false"), "{error}");
}

#[test]
fn the_example_of_saved_texts_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/template.yaml");
    let template = TemplateFile::read(&path).expect("good").it;
    assert_eq!(template.name, "members-monday");
    assert!(template.content.and_then(|content| content.sms).is_some());
    let error = Template::parse("t.yaml", "name: a\nschedule: now\n", Path::new("."));
    let error = error.expect_err("refused").to_string();
    assert!(error.starts_with("t.yaml:2: unknown key 'schedule'"), "{error}");
}
