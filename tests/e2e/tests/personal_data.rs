//! Addresses stand in the sandbox's outbox alone: nowhere else in the data folder or the logs,
//! in no encoding, while a run is under way and after it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aho_corasick::AhoCorasick;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use carillon_e2e::{Server, customers, root};

/// Every spelling that a careless line of code might leave behind.
fn spellings(address: &str) -> Vec<Vec<u8>> {
    let mut all = vec![address.to_owned(), address.replace('@', "%40").replace('+', "%2B")];
    all.push(address.replace('=', "=3D").replace('@', "=40"));
    all.push(address.replace('+', "=2B"));
    if let Some(plain) = address.strip_prefix('+') {
        all.push(plain.to_owned());
        all.push(STANDARD.encode(plain).trim_end_matches('=').to_owned());
    }
    all.push(STANDARD.encode(address).trim_end_matches('=').to_owned());
    all.into_iter().map(String::into_bytes).collect()
}

/// Finds any of many needles in one pass.
struct Needles(AhoCorasick);

impl Needles {
    fn of(addresses: &[String]) -> Self {
        let needles = addresses.iter().flat_map(|address| spellings(address));
        Self(AhoCorasick::new(needles).expect("few enough needles"))
    }

    fn found_in(&self, haystack: &[u8]) -> Vec<String> {
        let hits = self.0.find_iter(haystack);
        hits.map(|hit| String::from_utf8_lossy(&haystack[hit.range()]).into_owned()).collect()
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("outbox") => {}
            _ if path.is_dir() => files(&path, found),
            _ => found.push(path),
        }
    }
}

fn assert_clean(server: &Server, needles: &Needles, when: &str) {
    let mut all = vec![server.log()];
    files(&server.data(), &mut all);
    let databases = all.iter().filter(|path| path.extension().is_some_and(|kind| kind == "db"));
    assert_eq!(databases.count(), 6, "{all:?}");
    assert!(all.iter().any(|path| path.to_string_lossy().ends_with("-wal")), "{all:?}");
    for path in all {
        let bytes =
            fs::read(&path).unwrap_or_else(|error| panic!("{when}: {}: {error}", path.display()));
        let hits = needles.found_in(&bytes);
        assert!(
            hits.is_empty(),
            "{when}: {} holds {:?}",
            path.display(),
            &hits[..hits.len().min(5)]
        );
    }
}

#[test]
fn addresses_stand_nowhere_but_in_the_outbox() {
    let server = Server::start(&[
        ("CARILLON__LOG__FILTER", "debug"),
        ("CARILLON__SMS_DISPATCHER__SANDBOX__LATENCY_MS", "200"),
        ("CARILLON__EMAIL_DISPATCHER__SANDBOX__LATENCY_MS", "200"),
        ("CARILLON__SMS_DISPATCHER__SANDBOX__FAIL_SHARE", "0.05"),
    ]);
    let examples = root().join("examples/customers.csv");
    let rejects = server.path("rejects.csv").display().to_string();
    let file = examples.display().to_string();
    let _ = server.run(&["customers", "import", &file, "--rejects", &rejects]).ok();
    let file = server.write("more.csv", customers::csv(500));
    let _ = server.run(&["customers", "import", &file]).ok();
    let mut addresses: Vec<String> =
        (0..500).flat_map(|n| [customers::phone(n), customers::email(n)]).collect();
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(&examples).expect("opened");
    let headers = reader.headers().expect("a header").clone();
    for column in ["phone", "email"] {
        let index = headers.iter().position(|name| name == column).expect("the column");
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).from_path(&examples).expect("opened");
        let cells = reader.records().filter_map(Result::ok);
        let cells = cells.filter_map(|record| record.get(index).map(str::to_owned));
        addresses.extend(cells.filter(|cell| cell.len() > 9));
    }
    addresses.sort();
    addresses.dedup();
    assert!(addresses.len() > 4_000, "{}", addresses.len());
    let needles = Needles::of(&addresses);
    let planted = format!("to={}", addresses[0]);
    assert!(!needles.found_in(planted.as_bytes()).is_empty(), "the search finds what is there");
    let planted = STANDARD.encode(&addresses[1]);
    assert!(!needles.found_in(planted.as_bytes()).is_empty(), "base64 too");

    server.credit(5_000);
    let id = server.campaign(customers::CAMPAIGN);
    let _ = server.run(&["campaign", "start", &id, "--yes"]).ok();
    while server.accepted("sms").is_empty() || server.accepted("email").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_clean(&server, &needles, "during the run");
    assert!(server.report(&id)["in_flight"].as_u64() > Some(0), "it was still under way");
    let _ = server.run(&["campaign", "start", &id, "--yes", "--wait"]).ok();
    assert_clean(&server, &needles, "after the run");
}
