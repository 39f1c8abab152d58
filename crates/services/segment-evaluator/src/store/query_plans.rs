//! How SQLite walks the statements that run often or over many rows.

use carillon_service_kit::{Database, database::Sql as _};

use super::{
    Migrator, activities, batches, customers::Lookup, figures, late, overtaken, places, replies,
    runs, standing, write,
};

/// The lines of the plan that touch a table of the service.
async fn plan(sql: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plans.db");
    let database = Database::open_sqlite::<Migrator>(&path).await.expect("opened");
    let explained = format!("EXPLAIN QUERY PLAN {sql}");
    let rows = database.reader().rows(&explained, []).await.expect(sql);
    let lines = rows.iter().map(|row| row.try_get::<String>("", "detail").expect("a line"));
    lines.filter(|line| line.starts_with("SEARCH") || line.starts_with("SCAN")).collect()
}

/// Every row is found by its whole key or by an index made for it.
#[tokio::test]
async fn hot_statements_find_their_rows_by_a_key() {
    let [phone, email, name] = [Lookup::Phone, Lookup::Email, Lookup::Name].map(|lookup| {
        let [sqlite, _] = lookup.sql();
        sqlite
    });
    let statements: [(&str, &str, &[&str]); 19] = [
        (activities::ADD_POINTS.sqlite(), "customers", &["external_id=?"]),
        (write::FORGET_UNUSED.sqlite(), "address_uses", &["hash=?"]),
        (&phone, "c", &["external_id=?"]),
        (&phone, "customers", &["phone_hash=?"]),
        (&email, "customers", &["email_hash=?"]),
        (&name, "customers", &["name_hash=?", "display_name_hash=?"]),
        (late::OWNERS_BY_PHONE.sqlite(), "c", &["phone_hash=?"]),
        (late::OWNERS_BY_EMAIL.sqlite(), "c", &["email_hash=?"]),
        (late::NEWLY_SHARED.sqlite(), "u", &["hash=?"]),
        (late::SHARED_OF.sqlite(), "address_uses", &["hash=?"]),
        (late::RECIPIENTS_OF.sqlite(), "batches", &["batch_id=?"]),
        (late::OPEN_RUNS_OF.sqlite(), "runs", &["runs_open"]),
        (late::COUNT_LATE.sqlite(), "runs", &["runs_open"]),
        (batches::RECORD_TOTALS.sqlite(), "batches", &["batch_id=?"]),
        (batches::UNPARK.sqlite(), "batches", &["batch_id=?"]),
        (standing::SET.sqlite(), "customers", &["external_id=?"]),
        (replies::REPLIERS.sqlite(), "c", &["external_id=?"]),
        (replies::REPLIERS.sqlite(), "customers", &["phone_hash=?"]),
        (replies::REPLIERS.sqlite(), "r", &["external_id=?"]),
    ];
    for (sql, table, expected) in statements {
        let lines = plan(sql).await;
        let of_table: Vec<&String> =
            lines.iter().filter(|line| line.split(' ').nth(1) == Some(table)).collect();
        assert_eq!(of_table.len(), expected.len(), "{sql}\n{lines:#?}");
        for (line, part) in of_table.iter().zip(expected) {
            assert!(line.starts_with("SEARCH") && line.contains(part), "{sql}\n{line}");
        }
    }
}

/// What works across all organisations walks an index that holds only what is open.
#[tokio::test]
async fn the_loops_read_only_what_is_open() {
    let [_, waiting, released, parked] = figures::STAGES.map(|(.., sql)| sql);
    for (sql, index) in [
        (runs::OPEN_RUNS, "runs_open"),
        (batches::UNSENT, "batches_unsent"),
        (batches::TAKE, "batches_unsent"),
        (batches::FORGET_SENT, "batches_placed"),
        (batches::FORGET_PARKED, "batches_parked"),
        (places::RELEASE, "batches_waiting"),
        (overtaken::OUT, "batches_out"),
        (overtaken::OVERTAKE, "batches_out"),
        (overtaken::PROGRESSED, "batches_progressed"),
        (overtaken::AGAIN_WHEN_ENDED, "batches_parked"),
        (overtaken::PARKED, "batches_parked"),
        (waiting, "batches_waiting"),
        (released, "batches_placed"),
        (parked, "batches_parked"),
    ] {
        let sql = sql.sqlite();
        let lines = plan(sql).await;
        assert!(lines.iter().any(|line| line.contains(index)), "{sql}\n{lines:#?}");
        let whole = ["SCAN runs", "SCAN batches", "SCAN p", "SCAN w"];
        assert!(!lines.iter().any(|line| whole.contains(&&**line)), "{sql}");
    }
    let lines = plan(places::LANES.sqlite()).await;
    let covering = "SEARCH p USING COVERING INDEX batches_placed";
    assert!(lines.iter().any(|line| line.starts_with(covering)), "{lines:#?}");
}
