//! `carillon demo`, as somebody sees it who has just arrived.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use carillon_e2e::{binary, root};

#[test]
fn the_demo_ends_by_itself_and_is_plain_text_in_a_pipe() {
    let shown = Command::new(binary())
        .args(["demo", "--examples", "examples"])
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .expect("the demo runs");
    let out = String::from_utf8(shown.stdout).expect("UTF-8");
    let err = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{out}{err}");
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "no escape codes in a pipe");
    let holds_a_path =
        |line: &str| line.split_whitespace().any(|word| Path::new(word).is_absolute());
    let wide: Vec<&str> =
        out.lines().filter(|line| line.chars().count() > 100 && !holds_a_path(line)).collect();
    assert!(wide.is_empty(), "wider than 100 columns: {wide:?}");
    for shows in [
        "2,357 stored",
        "5,000 credits",
        "duplicate address",
        "messages/s",
        "finished",
        "SMS to +",
        "E-mail to ",
        "Where everything was kept",
        "What to try next",
    ] {
        assert!(out.contains(shows), "the demo shows '{shows}':\n{out}");
    }
    assert_adds_up(&out);
}

/// The figures of the report's table, as printed.
fn assert_adds_up(out: &str) {
    let report = out.split("Report\n").nth(1).expect("the report");
    let together = |name: &str| -> u64 {
        let line =
            report.lines().find(|line| line.trim_start_matches([' ', '−', '=']).starts_with(name));
        let figure = line.and_then(|line| line.split_whitespace().last()).unwrap_or("0");
        figure.replace(',', "").parse().unwrap_or_default()
    };
    let skipped: u64 = ["no consent", "unsubscribed", "no address", "duplicate address"]
        .into_iter()
        .map(together)
        .sum();
    assert!(together("planned") > 300, "{report}");
    assert_eq!(together("matched"), together("planned") + skipped, "{report}");
    assert_eq!(together("planned"), together("sent") + together("failed"), "{report}");
}
