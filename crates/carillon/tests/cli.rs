//! The command as a script sees it: exit codes, and what stands on which stream. No server runs.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use clap::CommandFactory as _;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
    command.args(arguments).env_remove("CARILLON_SERVER").env_remove("CARILLON_API_KEY");
    // A port that nothing listens on: reserved by IANA.
    command.env("CARILLON_SERVER", "http://127.0.0.1:1");
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().expect("the command runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Every command of this version, as words.
const COMMANDS: [&[&str]; 62] = [
    &["dev"],
    &["demo"],
    &["serve"],
    &["migrate"],
    &["org", "create"],
    &["org", "show"],
    &["org", "set"],
    &["customers", "import"],
    &["customers", "list"],
    &["customers", "count"],
    &["customers", "export"],
    &["customers", "show"],
    &["customers", "subscribe"],
    &["customers", "unsubscribe"],
    &["customers", "confirm"],
    &["customers", "blacklist"],
    &["customers", "unblacklist"],
    &["activity", "import"],
    &["campaign", "create"],
    &["campaign", "list"],
    &["campaign", "show"],
    &["campaign", "update"],
    &["campaign", "copy"],
    &["campaign", "archive"],
    &["campaign", "lint"],
    &["campaign", "start"],
    &["campaign", "preview"],
    &["campaign", "test"],
    &["campaign", "forecast"],
    &["campaign", "watch"],
    &["report"],
    &["org", "alerts"],
    &["org", "smtp"],
    &["org", "smtp", "test"],
    &["org", "sms"],
    &["keys", "create"],
    &["keys", "list"],
    &["keys", "rotate"],
    &["keys", "revoke"],
    &["campaign", "pause"],
    &["campaign", "resume"],
    &["campaign", "cancel"],
    &["campaign", "next"],
    &["ops", "status"],
    &["ops", "parked", "list"],
    &["ops", "parked", "show"],
    &["ops", "parked", "replay"],
    &["ops", "parked", "discard"],
    &["template", "create"],
    &["template", "list"],
    &["template", "show"],
    &["template", "update"],
    &["template", "versions"],
    &["template", "delete"],
    &["balance", "show"],
    &["balance", "credit"],
    &["balance", "packages"],
    &["balance", "holds"],
    &["balance", "spent"],
    &["balance", "statement"],
    &["org", "audit"],
    &["ops", "audit"],
];

/// Those that do something by themselves.
fn runnable(command: &clap::Command, above: &[String]) -> Vec<Vec<String>> {
    let children: Vec<&clap::Command> =
        command.get_subcommands().filter(|child| child.get_name() != "help").collect();
    let group = !children.is_empty() && command.is_arg_required_else_help_set();
    let mut found = if group || above.is_empty() { vec![] } else { vec![above.to_vec()] };
    for child in children {
        let words = [above, &[child.get_name().to_owned()]].concat();
        found.extend(runnable(child, &words));
    }
    found
}

#[test]
fn the_list_of_commands_is_whole() {
    let mut known: Vec<Vec<String>> = COMMANDS
        .iter()
        .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
        .collect();
    let mut there = runnable(&carillon::cli::Cli::command(), &[]);
    known.sort();
    there.sort();
    assert_eq!(known, there);
}

#[test]
fn every_command_has_help_with_an_example() {
    for words in COMMANDS {
        let output = run(&[words, &["--help"][..]].concat());
        assert_eq!(code(&output), 0, "{words:?}");
        let help = text(&output.stdout);
        assert!(help.contains("Example:\n  carillon "), "{words:?}: {help}");
        assert!(help.contains("--server") && help.contains("--output"), "{words:?}");
    }
}

#[test]
fn every_group_has_help_with_an_example() {
    for group in ["org", "keys", "customers", "activity", "campaign", "template", "balance", "ops"]
    {
        let output = run(&[group, "--help"]);
        assert_eq!(code(&output), 0, "{group}");
        let help = text(&output.stdout);
        assert!(help.contains(&format!("Example:\n  carillon {group} ")), "{group}: {help}");
    }
}

#[test]
fn the_help_of_filters_promises_only_what_is_understood() {
    for command in ["list", "count", "export"] {
        let help = text(&run(&["customers", command, "--help"]).stdout);
        assert!(help.contains("category:\"VIP\"") && !help.contains("points >"), "{help}");
    }
}

#[test]
fn the_help_of_settings_lists_the_keys() {
    let help = text(&run(&["org", "set", "--help"]).stdout);
    let arguments = help.split("Options:").next().expect("a part");
    for part in ["The setting: name", "double_opt_in", "Its new value"] {
        assert!(arguments.contains(part), "{help}");
    }
}

#[test]
fn an_unknown_flag_is_bad_usage_everywhere() {
    for words in COMMANDS {
        let output = run(&[words, &["--no-such-flag"][..]].concat());
        assert_eq!(code(&output), 2, "{words:?}");
        assert!(text(&output.stderr).contains("--no-such-flag"), "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn what_is_missing_or_said_twice_is_bad_usage() {
    for arguments in [
        &["org", "create", "Café"][..],
        &["customers", "show"],
        &["customers", "show", "C1", "--phone", "+15035550156"],
        &["customers", "subscribe"],
        &["customers", "unsubscribe", "C1", "--everyone"],
        &["customers", "confirm", "C1"],
        &["customers", "list", "--limit", "0"],
        &["campaign", "create"],
        &["campaign", "preview", "ID"],
        &["balance", "credit", "100"],
        &["balance", "credit", "ten", "--request-id", "X"],
        &["report", "ID", "-o", "picture"],
        &["org", "set", "timezone", "Europe/Paris"],
        &["org", "smtp"],
        &["org", "smtp", "--host", "h", "--from", "a@b.c", "--port", "65536"],
        &["org", "smtp", "--host", "h", "--from", "a@b.c", "--password-file", "p"],
        &["org", "smtp", "--host", "h", "--from", "a@b.c", "--throttle-mails", "5"],
        &["org", "smtp", "--host", "h", "--from", "a@b.c", "--throttle-gap", "soon"],
        &["org", "sms", "--kind", "pigeon"],
        &["org", "sms", "--kind", "twilio", "--from", "Cafe"],
        &["org", "sms", "--kind", "smpp", "--base-url", "smpp://smsc", "--from", "Cafe"],
        &["keys", "revoke"],
        &["org", "audit", "--limit", "3", "--verify"],
        &["campaign", "next", "ID", "-n", "0"],
        &["template", "show", "NAME", "--version", "0"],
        &["campaign", "next", "ID", "--from", "tomorrow"],
        &["ops", "parked"],
        &["no-such-command"],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_with_the_remedy() {
    let output = run(&["--api-key", "k", "balance", "show"]);
    assert_eq!(code(&output), 1);
    let error = text(&output.stderr);
    assert!(error.contains("http://127.0.0.1:1 refused the connection"), "{error}");
    assert!(error.contains("carillon dev"), "{error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_wrong_file_is_refused_before_anything_is_connected() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let missing = folder.path().join("missing.csv").display().to_string();
    let cases: [(Vec<String>, &str); 6] = [
        (vec![missing], "can't be read"),
        (vec![path("empty.csv", "")], "is empty"),
        (vec![path("typo.csv", "external_id,fone\n1,2\n")], "did you mean 'phone'?"),
        (vec![path("without.csv", "phone\n+1\n")], "'external_id' is missing"),
        (vec![folder.path().display().to_string()], "is a folder"),
        (vec![path("zip.csv", "PK\u{3}\u{4}")], "spreadsheet"),
    ];
    for (files, expected) in cases {
        let output = run(&["customers", "import", &files[0]]);
        assert_eq!(code(&output), 1, "{files:?}");
        let error = text(&output.stderr);
        assert!(error.contains(expected) && error.contains(&files[0]), "{error}");
    }
    let campaign = path("c.yaml", "name: A\nshedule: now\n");
    let output = run(&["campaign", "lint", "-f", &campaign]);
    assert_eq!(code(&output), 1);
    let error = text(&output.stderr);
    assert!(error.contains("c.yaml:2: unknown key 'shedule'"), "{error}");
}

#[test]
fn the_rejects_file_may_not_be_the_file_that_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "external_id\nC1\n").expect("written");
    let path = path.display().to_string();
    let output = run(&["customers", "import", &path, "--rejects", &path]);
    assert_eq!(code(&output), 2);
    assert_eq!(std::fs::read_to_string(&path).expect("kept"), "external_id\nC1\n");
}

#[test]
fn a_dash_reads_standard_input() {
    let mut child = command(&["customers", "import", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"external_id,telephone number\n").expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), 1);
    let error = text(&output.stderr);
    assert!(error.contains("standard input: unknown column 'telephone number'"), "{error}");
}

#[test]
fn the_help_names_the_variables() {
    let output = run(&["--help"]);
    assert_eq!(code(&output), 0);
    let help = text(&output.stdout);
    assert!(help.contains("CARILLON_API_KEY") && help.contains("CARILLON_SERVER"), "{help}");
}
