//! Wrong inputs, and what people are told: each answer names the field, the value and the rule.
//! `INSTA_UPDATE=always cargo test -p carillon-e2e --test wrong_inputs` writes them anew.

use std::fs;

use carillon_e2e::{Done, Server};

/// Paths, ids, addresses and the day differ between runs.
fn settled(server: &Server, text: &str) -> String {
    let folder = server.path("").display().to_string();
    let text = text.replace(folder.trim_end_matches('/'), "").replace(&server.url, "http://SERVER");
    let text = without_today(&text);
    let mut words = String::with_capacity(text.len());
    for line in text.lines() {
        let line: Vec<String> = line.split(' ').map(id_to_word).collect();
        words.push_str(&line.join(" "));
        words.push('\n');
    }
    words
}

/// "it is 2026-11-23": the rest of a message must not depend on when it was said.
fn without_today(text: &str) -> String {
    const SAID: &str = " it is 20";
    let Some(at) = text.find(SAID) else { return text.to_owned() };
    let day = at + SAID.len() - 2;
    format!("{}TODAY{}", &text[..day], &text[day + "2026-11-23".len()..])
}

fn id_to_word(word: &str) -> String {
    let bare = word.trim_matches(|letter: char| !letter.is_ascii_hexdigit());
    let is_id = bare.len() == 36 && bare.matches('-').count() == 4 && !bare.starts_with("00000000");
    if is_id { word.replace(bare, "ID") } else { word.to_owned() }
}

fn refused(server: &Server, name: &str, done: &Done) {
    assert_ne!(done.code, 0, "{name} was not refused: {}", done.out);
    let text = format!("exit {}\n{}", done.code, settled(server, &done.err));
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

/// What became of the rows of a file: those stored, and each reject with its reason.
fn imported(server: &Server, name: &str, what: &str, content: &[u8]) {
    let file = server.write("rows.csv", content);
    let rejects = server.path("rows.rejects.csv");
    let _ = fs::remove_file(&rejects);
    let rejects = rejects.display().to_string();
    let done = server.run(&[what, "import", &file, "--rejects", &rejects, "-o", "json"]);
    let mut text = format!("exit {}\n{}", done.code, settled(server, &done.err));
    for reject in rejected(&rejects) {
        text.push_str(&reject);
        text.push('\n');
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

fn rejected(path: &str) -> Vec<String> {
    let Ok(mut reader) = csv::ReaderBuilder::new().flexible(true).from_path(path) else {
        return Vec::new();
    };
    let headers = reader.byte_headers().expect("a header").clone();
    let column = |name: &str| headers.iter().position(|header| header == name.as_bytes());
    let columns = ["reject_line", "reject_field", "reject_reason", "reject_message"].map(column);
    let rows = reader.byte_records().map(|record| record.expect("a record"));
    rows.map(|record| {
        let cells = columns.iter().flatten().filter_map(|column| record.get(*column));
        let cells: Vec<_> = cells.map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
        format!("line {}", cells.join(" | "))
    })
    .collect()
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let server = Server::start(&[]);
    let customers = |name: &str, content: &[u8]| imported(&server, name, "customers", content);
    customers("csv_unknown_column", b"external_id,emial\nC1,a@example.org\n");
    customers("csv_no_external_id", b"first_name,email\nAnn,a@example.org\n");
    customers("csv_column_twice", b"external_id,email,email\nC1,a@example.org,b@example.org\n");
    customers("csv_empty", b"");
    customers("csv_binary", &[0xff, 0xfe, 0x00, 0x01, 0x02, 0x80]);
    customers("csv_broken_quote", b"external_id,first_name\nC1,\"Ann\nC2,Bob\nC3,Cid\n");
    customers("csv_text_after_a_quote", b"external_id,first_name\nC1,\"An\"n\nC2,Bob\n");
    customers("csv_excel_separator", b"sep=;\nexternal_id;first_name\nC1;Ann\n");
    let many: Vec<String> = (0..100_000).map(|n| format!("{n:x}")).collect();
    let many = format!("external_id,categories\nC1,{}\nC2,VIP\n", many.join(";"));
    customers("csv_100000_categories", many.as_bytes());
    let mut long = b"external_id,first_name\nC1,".to_vec();
    long.extend(std::iter::repeat_n(b'x', 10 * 1024 * 1024));
    long.extend_from_slice(b"\nC2,Bob\n");
    customers("csv_line_of_10_mb", &long);
    customers("csv_invalid_utf8", b"external_id,first_name\nC1,\xc3\x28\nC2,Bob\n");
    customers("csv_wrong_column_count", b"external_id,first_name\nC1,Ann,extra\nC2\nC3,Cid\n");
    refused(&server, "csv_not_there", &server.run(&["customers", "import", "nowhere.csv"]));
    refused(&server, "csv_a_folder", &server.run(&["customers", "import", "."]));
    let strict = server.write("strict.csv", "external_id,birthday\nC1,1990-02-30\nC2,\n");
    refused(&server, "csv_strict", &server.run(&["customers", "import", &strict, "--strict"]));
}

#[test]
fn rows_that_cannot_be_kept() {
    let server = Server::start(&[]);
    let customers = |name: &str, content: &str| {
        imported(&server, name, "customers", content.as_bytes());
    };
    customers("row_phone_without_country", "external_id,phone\nC1,07700 900123\n");
    customers(
        "row_email_with_line_break",
        "external_id,email\nC1,\"a@example.org\r\nBcc: b@c.d\"\n",
    );
    customers("row_birthday_30_february", "external_id,birthday\nC1,1990-02-30\n");
    customers(
        "row_withheld_with_personal_data",
        "external_id,first_name,consent\nC1,Ann,withheld\n",
    );
    customers("row_time_zone_unknown", "external_id,time_zone\nC1,Europe/Amsterdm\n");
    customers("row_id_with_a_blank", "external_id\n C7\n");
    customers("row_id_twice_in_file", "external_id\nC7\nC7\n");
    customers("row_points_not_a_number", "external_id,points\nC1,many\n");
    customers("row_consent_unknown", "external_id,consent\nC1,perhaps\n");
    customers("row_card_taken", "external_id,cards\nC8,4711\nC9,4711\n");
    let _ =
        server.run(&["customers", "import", &server.write("one.csv", "external_id\nK1\n")]).ok();
    let activity = |name: &str, content: &str| {
        imported(&server, name, "activity", content.as_bytes());
    };
    activity(
        "activity_in_the_future",
        "event_id,external_id,kind,at\nE1,K1,visit,2199-01-01T00:00:00Z\n",
    );
    activity(
        "activity_of_nobody",
        "event_id,external_id,kind,at\nE1,K9,visit,2026-01-01T00:00:00Z\n",
    );
    activity(
        "activity_kind_unknown",
        "event_id,external_id,kind,at\nE1,K1,vist,2026-01-01T00:00:00Z\n",
    );
    activity("activity_time_wrong", "event_id,external_id,kind,at\nE1,K1,visit,yesterday\n");
    activity(
        "activity_event_reused",
        "event_id,external_id,kind,at\nE2,K1,visit,2026-01-01T00:00:00Z\n\
         E2,K1,session,2026-01-01T00:00:00Z\n",
    );
    activity("activity_no_kind_column", "event_id,external_id,at\nE1,K1,2026-01-01T00:00:00Z\n");
    let listed = server.run(&["customers", "list", "-o", "csv"]).ok();
    let kept: Vec<&str> = listed.out.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
    assert_eq!(kept, ["C7", "C8", "K1"], "nothing of a bad row is stored");
}

/// The sandbox's record of the one message that went to an address.
fn accepted(server: &Server, channel: &str, to: &str) -> serde_json::Value {
    let path = server.data().join("outbox").join(format!("{channel}.jsonl"));
    let lines = fs::read_to_string(path).expect("the sandbox's record");
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("a whole line"));
    let mut found: Vec<serde_json::Value> =
        lines.filter(|line: &serde_json::Value| line["to"] == to).collect();
    assert_eq!(found.len(), 1, "{channel} to {to}: {found:?}");
    found.remove(0)
}

/// A campaign file that is right but for what replaces one of its lines.
fn campaign(replace: &str, with: &str) -> String {
    let right = "name: Monday\n\
        active: true\n\
        valid: { from: 2026-01-01, until: 2099-12-31 }\n\
        audience: { everyone: true }\n\
        schedule: now\n\
        pending_period: 12h\n\
        content:\n  \
          sms: { text: \"Hello {UserName|friend}\" }\n  \
          email: { subject: \"For you\", text: \"Hello\" }\n";
    assert!(right.contains(replace), "{replace}");
    right.replace(replace, with)
}

#[test]
fn campaigns_that_cannot_be() {
    let server = Server::start(&[]);
    let lint = |name: &str, yaml: &str| {
        let file = server.write("campaign.yaml", yaml);
        refused(&server, name, &server.run(&["campaign", "lint", "-f", &file]));
    };
    let file = server.write("campaign.yaml", campaign("Monday", "Tuesday"));
    let _ = server.run(&["campaign", "lint", "-f", &file]).ok();
    let text = |text: &str| campaign("Hello {UserName|friend}", text);
    lint("campaign_unknown_variable", &text("Hello {UserNam}"));
    lint("campaign_unclosed_brace", &text("Hello {UserName"));
    lint("campaign_641_characters", &text(&"x".repeat(641)));
    lint("campaign_variable_not_served_yet", &text("Code: {CouponCode}"));
    lint(
        "campaign_no_channel",
        "name: Monday\nactive: true\naudience: { everyone: true }\nschedule: now\ncontent: {}\n",
    );
    lint("campaign_ends_before_it_begins", &campaign("2099-12-31", "2025-12-31"));
    lint("campaign_date_of_no_day", &campaign("2099-12-31", "2099-02-30"));
    lint("campaign_unknown_key", &campaign("active:", "activ:"));
    lint(
        "campaign_schedule_unknown",
        &campaign("schedule: now", "schedule: { weekly: { days: [mon], at: \"09:00\" } }"),
    );
    lint("campaign_pending_period_too_long", &campaign("12h", "30d"));
    lint("campaign_pending_period_no_duration", &campaign("12h", "soon"));
    lint("campaign_audience_missing", &campaign("audience: { everyone: true }\n", ""));
    lint(
        "campaign_audience_filter_wrong",
        &campaign("{ everyone: true }", "{ filter: 'vip = maybe' }"),
    );
    lint(
        "campaign_audience_of_unknown_customers",
        &campaign("{ everyone: true }", "{ customers: [C1, C2] }"),
    );
    lint("campaign_subject_of_two_lines", &campaign("For you", "For\\nyou"));
    lint("campaign_no_name", &campaign("name: Monday", "name: ''"));
    lint(
        "campaign_html_file_not_there",
        &campaign("text: \"Hello\" }", "html_file: nowhere.html }"),
    );
    lint("campaign_not_yaml", "name: [unclosed\n");
    lint(
        "campaign_everything_wrong_at_once",
        "name: ''\nactive: true\nvalid: { from: 2026-02-01, until: 2026-01-01 }\n\
         audience: { everyone: false }\nschedule: now\ncontent: { sms: { text: \"{Nobody}\" } }\n",
    );
}

#[test]
fn requests_that_are_refused() {
    let server = Server::start(&[]);
    let run = |name: &str, args: &[&str]| refused(&server, name, &server.run(args));
    let draft = server.campaign(&campaign("active: true", "active: false"));
    run("start_inactive", &["campaign", "start", &draft, "--yes"]);
    run("report_not_started", &["report", &draft]);
    run("preview_of_nobody", &["campaign", "preview", &draft, "--customer", "C404"]);
    run("campaign_not_an_id", &["campaign", "show", "Monday"]);
    run("campaign_not_there", &["campaign", "show", "00000000-0000-7000-8000-000000000000"]);
    let past = server.campaign(&campaign("2099-12-31", "2026-01-02"));
    run("start_after_its_end", &["campaign", "start", &past, "--yes"]);
    run("credit_of_nothing", &["balance", "credit", "0", "--request-id", "r"]);
    run("credit_of_no_number", &["balance", "credit", "abc", "--request-id", "r"]);
    run(
        "holds_of_no_campaign",
        &["balance", "holds", "--campaign", "00000000-0000-7000-8000-000000000000"],
    );
    server.credit(100);
    run("credit_request_id_reused", &["balance", "credit", "200", "--request-id", "test"]);
    let file = server.write("a.yaml", campaign("Monday", "One"));
    let _ = server.run(&["campaign", "create", "-f", &file, "--request-id", "same"]).ok();
    let _ = server.run(&["campaign", "create", "-f", &file, "--request-id", "same"]).ok();
    let file = server.write("b.yaml", campaign("Monday", "Another"));
    run("campaign_request_id_reused", &["campaign", "create", "-f", &file, "--request-id", "same"]);
    run("customer_not_there", &["customers", "show", "C404"]);
    run("blacklist_nobody", &["customers", "blacklist", "--email", "nobody@example.org"]);
    run("filter_not_understood", &["customers", "count", "--filter", "age > 40"]);
    run("setting_unknown", &["org", "set", "timezone", "Europe/Paris"]);
    run("setting_value_wrong", &["org", "set", "time_zone", "Europe/Pariss"]);
    run("region_unknown", &["org", "set", "default_region", "Holland"]);
    run("organisation_with_an_organisations_key", &["org", "create", "X", "--time-zone", "UTC"]);
    let platform = server.platform_key();
    refused(&server, "platform_key_inside", &server.run_as(&platform, &["balance", "show"]));
    refused(&server, "key_unknown", &server.run_as("crl_nobody", &["customers", "list"]));
    refused(&server, "key_missing", &server.run_as("", &["customers", "list"]));
    let zone = ["org", "create", "X", "--time-zone", "Europe/Amsterdm"];
    refused(&server, "time_zone_unknown", &server.run_as(&platform, &zone));
    run("flag_unknown", &["customers", "import", "x.csv", "--reject", "y.csv"]);
    run("server_not_there", &["balance", "show", "--server", "http://127.0.0.1:1"]);
}

#[test]
fn another_tenants_things_are_not_there() {
    let server = Server::start(&[]);
    let _ = server.run(&["customers", "import", &server.write("c.csv", "external_id\nC1\n")]).ok();
    let id = server.campaign(&campaign("Monday", "Secret"));
    let other = server.new_organisation("Other", &[]);
    for (name, args) in [
        ("tenant_campaign", vec!["campaign", "show", &id]),
        ("tenant_start", vec!["campaign", "start", &id, "--yes"]),
        ("tenant_report", vec!["report", &id]),
        ("tenant_customer", vec!["customers", "show", "C1"]),
        ("tenant_preview", vec!["campaign", "preview", &id, "--customer", "C1"]),
    ] {
        refused(&server, name, &server.run_as(&other, &args));
    }
    let counted = server.run_as(&other, &["customers", "count", "-o", "json"]).ok().json();
    assert_eq!(counted["count"], 0);
}

#[test]
fn settings_that_nothing_reads() {
    let server = Server::start(&[]);
    for (name, variable, value) in [
        ("config_key_unknown", "CARILLON__SMS_DISPATCHER__SANDBOX__REFUSE_SHAER", "0.1"),
        ("config_share_wrong", "CARILLON__EMAIL_DISPATCHER__SANDBOX__FAIL_SHARE", "2"),
        ("config_not_a_number", "CARILLON__SMS_DISPATCHER__SANDBOX__LATENCY_MS", "soon"),
    ] {
        let done = server.run_with(&["dev", "--port", "0", "--data", "other"], variable, value);
        refused(&server, name, &done);
    }
    let file = server.write("carillon.toml", "[sms_dispatcher]\nsandbx = { refuse_share = 0.1 }\n");
    let done = server.run(&["dev", "--port", "0", "--data", "other", "--config", &file]);
    refused(&server, "config_file_key_unknown", &done);
}

#[test]
fn a_campaign_that_is_refused_leaves_nothing_behind() {
    let server = Server::start(&[]);
    let text = |text: &str| campaign("Hello {UserName|friend}", text);
    let nothing =
        "name: Monday\nactive: true\naudience: { everyone: true }\nschedule: now\ncontent: {}\n";
    for (name, yaml) in [
        ("campaign_unknown_variable", text("Hello {UserNam}")),
        ("campaign_unclosed_brace", text("Hello {UserName")),
        ("campaign_641_characters", text(&"x".repeat(641))),
        ("campaign_no_channel", nothing.to_owned()),
        ("campaign_ends_before_it_begins", campaign("2099-12-31", "2025-12-31")),
    ] {
        let file = server.write("campaign.yaml", yaml);
        // Told as `campaign lint` tells it.
        refused(&server, name, &server.run(&["campaign", "create", "-f", &file]));
        let listed = server.run(&["campaign", "list", "--all", "-o", "json"]).ok().json();
        assert_eq!(listed, serde_json::json!([]), "{name} stored something");
    }
}

/// Names that would do harm if anything evaluated them come out as they went in: in a preview, in
/// the SMS, and in the source of the mail, its subject, its text and its HTML.
#[test]
fn names_are_never_evaluated() {
    let server = Server::start(&[]);
    let rows = "external_id,display_name,phone,email,subscribe_sms,subscribe_email\n\
        C1,{{7*7}},+15555550101,a@example.org,true,true\n\
        C2,{UserName},+15555550102,b@example.org,true,true\n\
        C3,=cmd(),+15555550103,c@example.org,true,true\n";
    let _ = server.run(&["customers", "import", &server.write("n.csv", rows)]).ok();
    let yaml = campaign("Hello {UserName|friend}", "Hello {UserName}!").replace(
        "subject: \"For you\", text: \"Hello\"",
        "subject: \"For {UserName}\", text: \"Dear {UserName}.\", html: \"<p>Dear {UserName}.</p>\"",
    );
    let id = server.campaign(&yaml);
    server.credit(10);
    let _ = server.run(&["campaign", "start", &id, "--yes", "--wait"]).ok();
    for (customer, name, phone, address) in [
        ("C1", "{{7*7}}", "+15555550101", "a@example.org"),
        ("C2", "{UserName}", "+15555550102", "b@example.org"),
        ("C3", "=cmd()", "+15555550103", "c@example.org"),
    ] {
        let preview = ["campaign", "preview", &id, "--customer", customer, "-o", "json"];
        let text = format!("Hello {name}!");
        assert_eq!(server.run(&preview).ok().json()["sms"]["text"], text);
        assert_eq!(accepted(&server, "sms", phone)["text"], text);
        let mail = accepted(&server, "email", address);
        let source =
            server.data().join("outbox/email").join(mail["source"].as_str().expect("a file"));
        let source = fs::read_to_string(source).expect("the source");
        let lines: Vec<&str> = source.lines().collect();
        for line in [
            format!("Subject: For {name}"),
            format!("Dear {name}."),
            format!("<p>Dear {name}.</p>"),
        ] {
            assert!(lines.contains(&line.as_str()), "'{line}' is no line of:\n{source}");
        }
    }
    let exported = server.run(&["customers", "export"]).ok();
    assert!(exported.out.contains(",'=cmd(),"), "a spreadsheet must not run it: {}", exported.out);
}
