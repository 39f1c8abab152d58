//! The *never* lines of docs/architecture.md, held against manifests and sources.

use std::path::Path;

use carillon_house::{Source, member, members, root, sources};

const LONGEST_FILE: usize = 500;

fn below(folder: &str) -> Vec<Source> {
    sources(Path::new(folder))
}

fn product(folder: &str) -> Vec<Source> {
    let all = below(folder);
    all.into_iter().filter(|source| source.path.to_string_lossy().contains("/src/")).collect()
}

fn assert_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

fn depends(crate_name: &str, forbidden: &[&str]) -> Vec<String> {
    let member = member(crate_name);
    let hits = member.dependencies.iter().filter(|name| forbidden.contains(&name.as_str()));
    hits.map(|name| format!("{crate_name} depends on {name}")).collect()
}

fn uses(folder: &str, words: &[&str]) -> Vec<String> {
    product(folder).iter().flat_map(|source| source.uses(words)).collect()
}

#[test]
fn services_never_import_each_other() {
    let all = members();
    let is_service = |path: &Path| path.starts_with("crates/services");
    let services: Vec<&str> = all
        .iter()
        .filter(|member| is_service(&member.path))
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(services.len(), 6);
    let offences: Vec<String> = all
        .iter()
        .filter(|member| is_service(&member.path) || member.path.starts_with("crates/shared"))
        .flat_map(|member| depends(&member.name, &services))
        .collect();
    assert_none("services and shared crates never import a service", &offences);
}

#[test]
fn the_scheduler_never_knows_recipients_or_prices() {
    let words = ["CustomerId", "Recipient", "audience::v1", "billing", "credits"];
    assert_none("scheduler", &uses("crates/services/scheduler", &words));
}

#[test]
fn billing_never_knows_channels_or_floats() {
    let words = ["Channel", "f32", "f64", "sms", "email"];
    let sources = product("crates/services/billing");
    let offences: Vec<String> = sources.iter().flat_map(|source| source.uses(&words)).collect();
    assert_none("billing", &offences);
}

#[test]
fn contracts_never_do_io() {
    assert_none("contracts", &depends("carillon-contracts", &["tokio", "sea-orm", "hyper"]));
    let words = ["std::fs", "std::net", "std::io", "std::process"];
    assert_none("contracts", &uses("crates/shared/contracts", &words));
}

#[test]
fn a_described_gateway_is_only_described() {
    assert_none("http-gateway", &depends("carillon-http-gateway", &["tokio", "sea-orm", "hyper"]));
    let words = ["std::fs", "std::net", "std::io", "std::process"];
    assert_none("http-gateway", &uses("crates/shared/http-gateway", &words));
}

#[test]
fn dispatch_never_knows_a_gateways_library() {
    assert_none("dispatch", &depends("carillon-dispatch", &["lettre", "reqwest"]));
}

#[test]
fn the_broker_never_knows_a_payload() {
    let forbidden = ["carillon-contracts", "prost", "serde", "serde_json"];
    assert_none("broker", &depends("carillon-broker", &forbidden));
}

#[test]
fn the_outbox_never_has_business_tables() {
    let known = ["heard", "inbox", "marks", "outbox", "parked", "streams", "subscribers"];
    let mut tables = Vec::new();
    for source in product("crates/shared/outbox") {
        for (_, line) in source.code() {
            if let Some(rest) = line.trim().strip_prefix("CREATE TABLE ") {
                tables.push(rest.split([' ', '(']).next().unwrap_or_default().to_owned());
            }
        }
    }
    // Each is there twice, once for each kind of database.
    assert_eq!(tables.len(), 2 * known.len());
    tables.sort_unstable();
    tables.dedup();
    assert_eq!(tables, known);
}

#[test]
fn the_service_kit_never_knows_the_domain() {
    let ours: Vec<String> = members().into_iter().map(|member| member.name).collect();
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    assert_none("service-kit", &depends("carillon-service-kit", &ours));
}

#[test]
fn the_testkit_is_for_tests_only() {
    let all = members();
    let offences: Vec<String> = all
        .iter()
        .filter(|member| !member.path.starts_with("tests"))
        .flat_map(|member| depends(&member.name, &["carillon-testkit"]))
        .collect();
    assert_none("testkit", &offences);
    assert!(all.iter().any(|m| m.dev_dependencies.contains(&"carillon-testkit".to_owned())));
}

#[test]
fn a_shared_crate_serves_two_others_at_least() {
    let all = members();
    let shared = all.iter().filter(|member| member.path.starts_with("crates/shared"));
    let offences: Vec<String> = shared
        .filter(|shared| {
            let users = all.iter().filter(|member| {
                member.dependencies.contains(&shared.name)
                    || member.dev_dependencies.contains(&shared.name)
            });
            users.count() < 2
        })
        .map(|shared| shared.name.clone())
        .collect();
    assert_none("shared by fewer than two", &offences);
}

#[test]
fn domain_rooms_know_no_runtime_sql_or_broker() {
    let words = ["tokio", "sea_orm", "sqlx", "carillon_broker", "carillon_outbox"];
    let offences: Vec<String> = product("crates")
        .iter()
        .filter(|source| source.is_in_room("domain"))
        .flat_map(|source| source.uses(&words))
        .collect();
    assert_none("domain", &offences);
}

#[test]
fn statements_stand_in_store_rooms_only() {
    let words = ["SELECT", "INSERT INTO", "UPDATE", "DELETE FROM", "CREATE TABLE"];
    let offences: Vec<String> = product("crates/services")
        .iter()
        .chain(&product("crates/shared/dispatch"))
        .filter(|source| !source.is_in_room("store"))
        .flat_map(|source| source.uses(&words))
        .collect();
    assert_none("SQL outside store/", &offences);
}

#[test]
fn sql_never_asks_for_the_time() {
    let words = ["now()", "CURRENT_TIMESTAMP", "strftime", "unixepoch", "clock_timestamp"];
    let offences: Vec<String> = product("crates")
        .iter()
        .filter(|source| source.is_in_room("store"))
        .flat_map(|source| {
            let hits = source.code().filter(|(_, line)| {
                words.iter().any(|word| line.contains(word)) && !line.contains("clock.now()")
            });
            let path = source.path.display().to_string();
            hits.map(|(number, line)| format!("{path}:{number} {line}")).collect::<Vec<_>>()
        })
        .collect();
    assert_none("SQL takes its instants from the Clock", &offences);
}

#[test]
fn a_migration_is_done_whole_or_not_at_all() {
    let offences: Vec<String> = product("crates")
        .iter()
        .filter(|source| {
            let count = |what: &str| source.text.matches(what).count();
            count("impl MigrationTrait for") > count("fn use_transaction(&self) -> Option<bool> {")
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("a migration without use_transaction", &offences);
}

#[test]
fn no_hand_written_file_is_over_500_lines() {
    let offences: Vec<String> = below("crates")
        .iter()
        .chain(&below("tests"))
        .filter(|source| source.text.lines().count() > LONGEST_FILE)
        .map(|source| format!("{}: {}", source.path.display(), source.text.lines().count()))
        .collect();
    assert_none("usually two things in one room", &offences);
}

#[test]
fn no_test_is_skipped_and_nothing_is_left_to_do() {
    let marks = [concat!("#[", "ignore"), concat!("todo", "!("), concat!("unimpl", "emented!(")];
    let offences: Vec<String> = below("crates")
        .iter()
        .chain(&below("tests"))
        .filter(|source| marks.iter().any(|mark| source.text.contains(mark)))
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("skipped or unfinished", &offences);
}

#[test]
fn only_the_drills_ask_for_fault_points() {
    let offences: Vec<String> = members()
        .iter()
        .filter(|member| !["carillon-faults", "carillon-service-kit"].contains(&&*member.name))
        .filter(|member| {
            let manifest = root().join(&member.path).join("Cargo.toml");
            std::fs::read_to_string(manifest).expect("a manifest").contains("fail")
        })
        .map(|member| member.name.clone())
        .collect();
    assert_none("fault points in a build that is not a drill's", &offences);
    let kit = member("carillon-service-kit").path.join("Cargo.toml");
    let kit = std::fs::read_to_string(root().join(kit)).expect("a manifest");
    assert!(!kit.contains("default ="), "fault points are asked for, never there by default");
}
