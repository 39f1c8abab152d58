//! The command against a running server: settings, keys, halts and operators, as a script sees them.

mod campaigns;
mod results;

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// `carillon dev` on a port of its own, ended with the test.
struct Server {
    child: Child,
    folder: TempDir,
    url: String,
    platform_key: String,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let child = Command::new(env!("CARGO_BIN_EXE_carillon"))
            .args(["dev", "--port", "0", "--data"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let read = |name: &str| {
            let path = data.join(name);
            for _ in 0..12_000 {
                match std::fs::read_to_string(&path) {
                    Ok(text) if text.ends_with('\n') || name == "api-key" && !text.is_empty() => {
                        return text.trim().to_owned();
                    }
                    _ => std::thread::sleep(Duration::from_millis(10)),
                }
            }
            panic!("the server never wrote {}", path.display());
        };
        let (url, platform_key) = (read("server"), read("api-key"));
        Self { child, folder, url, platform_key }
    }

    fn run(&self, key: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_carillon"))
            .args(arguments)
            .env("CARILLON_SERVER", &self.url)
            .env("CARILLON_API_KEY", key)
            .stdin(Stdio::null())
            .output()
            .expect("the command runs")
    }

    /// The JSON that a command answers with exit code 0.
    fn json(&self, key: &str, arguments: &[&str]) -> Value {
        let output = self.run(key, &[arguments, &["-o", "json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// What a command that is refused says on standard error.
    fn refused(&self, key: &str, arguments: &[&str]) -> String {
        let output = self.run(key, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// A new organisation's key.
    fn organisation(&self) -> String {
        let words = ["org", "create", "Café Zoë", "--time-zone", "Europe/Amsterdam"];
        let created = self.json(&self.platform_key, &words);
        created["api_key"].as_str().expect("a key").to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a change answered, without its own word on being in effect: it must have one.
fn in_effect(mut changed: Value) -> Value {
    let said = changed.as_object_mut().and_then(|fields| fields.remove("in_effect"));
    assert_eq!(said, Some(Value::Bool(true)), "{changed}");
    changed
}

/// Nobody finds the secret in any file of the server.
fn assert_nowhere(folder: &Path, secret: &str) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_nowhere(&path, secret);
        } else {
            let bytes = std::fs::read(&path).expect("read");
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds it in clear", path.display());
        }
    }
}

#[test]
fn settings_are_set_shown_without_secrets_and_tested() {
    let server = Server::start();
    let key = server.organisation();
    let password = server.file("password", "correct horse\n");
    // A port that nothing listens on: reserved by IANA.
    let set = [
        "org",
        "smtp",
        "--host",
        "127.0.0.1",
        "--port",
        "1",
        "--tls",
        "none",
        "--user",
        "cafe",
        "--password-file",
        &password,
        "--from",
        "news@cafe.example",
        "--throttle-mails",
        "5",
        "--throttle-pause",
        "2s",
        "--throttle-gap",
        "0.1s",
        "--connections",
        "4",
    ];
    let set = server.json(&key, &set);
    assert_eq!((&set["smtp"]["port"], &set["smtp"]["user"]), (&1.into(), &"cafe".into()));
    assert_eq!(set["smtp"]["throttle"]["gap"], "100ms");
    assert_eq!(server.json(&key, &["org", "show"]), in_effect(set.clone()));
    assert!(!set.to_string().contains("correct horse"));
    assert_nowhere(&server.folder.path().join("data"), "correct horse");

    let error = server.refused(&key, &["org", "smtp", "test"]);
    assert!(error.starts_with("error: connection_refused: "), "{error}");
    let wrong = ["org", "smtp", "--host", "no host", "--from", "nobody"];
    let error = server.refused(&key, &wrong);
    assert!(error.contains("smtp.host: 'no host'") && error.contains("smtp.from: "), "{error}");

    let token = server.file("token", "tok-123\n");
    let set = [
        "org",
        "sms",
        "--kind",
        "http",
        "--url",
        "https://sms.example/send",
        "--header",
        "Authorization: Bearer {token}",
        "--token-file",
        &token,
        "--id-pointer",
        "/id",
        "--units-pointer",
        "/parts",
        "--from",
        "Cafe",
        "--rate",
        "50",
    ];
    let set = server.json(&key, &set);
    assert_eq!(set["sms"]["headers"]["Authorization"], "Bearer {token}");
    assert_eq!(server.json(&key, &["org", "show"])["sms"]["units_pointer"], "/parts");
    assert_eq!((&set["sms"]["kind"], &set["sms"]["rate"]), (&"http".into(), &50.into()));
    assert_nowhere(&server.folder.path().join("data"), "tok-123");
    let password = server.file("password", "hush1234\n");
    let set = "org sms --kind smpp --base-url smpp://127.0.0.1:9 --account cafe --window 20 \
               --from 1234";
    let mut set: Vec<&str> = set.split(' ').collect();
    let missing = server.refused(&key, &set);
    assert!(missing.contains("token: "), "{missing}");
    set.extend(["--token-file", &password]);
    let set = server.json(&key, &set);
    assert_eq!((&set["sms"]["kind"], &set["sms"]["account"]), (&"smpp".into(), &"cafe".into()));
    assert_eq!((&set["sms"]["window"], &set["sms"]["connections"]), (&20.into(), &1.into()));
    assert_eq!(server.json(&key, &["org", "show"]), in_effect(set));
    assert_nowhere(&server.folder.path().join("data"), "hush1234");
    let missing = server
        .refused(&key, &["org", "sms", "--kind", "twilio", "--account", "AC1", "--from", "Cafe"]);
    assert!(missing.contains("token: "), "{missing}");
}

#[test]
fn keys_are_made_shown_once_rotated_and_revoked() {
    let server = Server::start();
    let first = server.organisation();
    let made = server.json(&first, &["keys", "create", "--name", "till 3"]);
    let (id, second) =
        (made["id"].as_str().expect("an id"), made["api_key"].as_str().expect("a key"));
    assert_eq!(made["in_effect"], true);
    let listed = server.json(second, &["keys", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert_eq!(listed[1]["name"], "till 3");
    assert!(!listed.to_string().contains(second));
    let rotated = server.json(&first, &["keys", "rotate", id]);
    let third = rotated["api_key"].as_str().expect("a key");
    assert!(server.refused(second, &["balance", "show"]).contains("unknown or revoked"));
    server.json(third, &["balance", "show"]);
    let revoked = server.json(&first, &["keys", "revoke", rotated["id"].as_str().expect("an id")]);
    assert_eq!(revoked["in_effect"], true);
    for words in [&["balance", "show"][..], &["customers", "count"], &["campaign", "list"]] {
        assert!(server.refused(third, words).contains("unknown or revoked"), "{words:?}");
    }
    let last = server.json(&first, &["keys", "list"])[0]["id"].as_str().expect("an id").to_owned();
    let error = server.refused(&first, &["keys", "revoke", &last]);
    assert!(error.contains("rotate it instead"), "{error}");
}

#[test]
fn a_scheduled_campaign_is_shown_paused_resumed_and_cancelled() {
    let server = Server::start();
    let key = server.organisation();
    let file = server.file(
        "c.yaml",
        "name: New Year\nactive: true\naudience: { everyone: true }\n\
         schedule: { once: 2099-12-31T23:30 }\npending_period: 2h\n\
         content: { sms: { text: \"Happy new year\" } }\n",
    );
    let created = server.json(&key, &["campaign", "create", "-f", &file]);
    let id = created["id"].as_str().expect("an id");
    assert_eq!(created["schedule"]["once"], "2099-12-31T23:30");
    let next = server.json(&key, &["campaign", "next", id]);
    assert_eq!(next[0]["time"], "2099-12-31T22:30:00Z");
    assert_eq!(next[0]["deadline"], "2100-01-01T00:30:00Z");
    assert_eq!(next[0]["local_time"], "2099-12-31T23:30:00+01:00[Europe/Amsterdam]");
    let from = ["campaign", "next", id, "--from", "2100-01-01T00:00:00Z"];
    assert_eq!(server.json(&key, &from), serde_json::json!([]));
    let error = server.refused(&key, &["campaign", "pause", id]);
    assert!(error.contains("is a draft"), "{error}");

    assert_eq!(server.json(&key, &["campaign", "start", id])["state"], "scheduled");
    for (verb, state) in [("pause", "paused"), ("pause", "paused"), ("resume", "scheduled")] {
        let answer = server.json(&key, &["campaign", verb, id]);
        assert_eq!((&answer["state"], &answer["in_effect"]), (&state.into(), &true.into()));
    }
    let off =
        std::fs::read_to_string(&file).expect("read").replace("active: true", "active: false");
    let off = server.file("off.yaml", &off);
    let switched = server.json(&key, &["campaign", "update", id, "-f", &off]);
    assert_eq!((&switched["state"], &switched["active"]), (&"paused".into(), &false.into()));
    assert_eq!(switched["in_effect"], true);
    assert_eq!(server.json(&key, &["campaign", "cancel", id])["state"], "cancelled");
    assert_eq!(server.json(&key, &["campaign", "cancel", id])["state"], "cancelled");
    assert!(server.refused(&key, &["campaign", "resume", id]).contains("final"));
    let over = file.replace("c.yaml", "over.yaml");
    let text = std::fs::read_to_string(&file).expect("read").replace("2099", "1999");
    std::fs::write(&over, text).expect("written");
    let late = server.json(&key, &["campaign", "create", "-f", &over]);
    let error = server.refused(&key, &["campaign", "start", late["id"].as_str().expect("an id")]);
    assert!(error.contains("schedule.once: 1999-12-31T23:30 is over"), "{error}");
}

#[test]
fn operators_see_every_service_and_nobody_else_does() {
    let server = Server::start();
    let key = server.organisation();
    let status = server.json(&server.platform_key, &["ops", "status"]);
    let services = status["services"].as_array().expect("services");
    let mut names: Vec<&str> =
        services.iter().filter_map(|service| service["service"].as_str()).collect();
    names.sort_unstable();
    let mut all = carillon_broker::topology::SERVICES;
    all.sort_unstable();
    assert_eq!(names, all);
    for service in services {
        assert_eq!((&service["reachable"], &service["parked"]), (&true.into(), &0.into()));
        let stages = service["backlogs"].as_array().expect("backlogs");
        assert!(stages.iter().any(|stage| stage["stage"] == "outbox"), "{service}");
    }
    let parked = server.json(&server.platform_key, &["ops", "parked", "list"]);
    assert_eq!(parked, serde_json::json!([]));
    let error = server.refused(&key, &["ops", "status"]);
    assert!(error.contains("only the platform's operates the server"), "{error}");
    let error = server.refused(&server.platform_key, &["ops", "parked", "show", "campaign-api/7"]);
    assert!(error.contains("nothing is parked under 'campaign-api/7'"), "{error}");
}
