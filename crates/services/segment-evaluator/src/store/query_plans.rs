//! How SQLite walks the statements that run often or over many rows.

use carillon_service_kit::database::Sql as _;
use carillon_testkit::database;

use super::{Migrator, activities, batches, customers::Lookup, late, places, runs, write};

/// The lines of the plan that touch a table of the service.
async fn plan(sql: &str) -> Vec<String> {
    let file = database::<Migrator>().await;
    let explained = format!("EXPLAIN QUERY PLAN {sql}");
    let rows = file.database.reader().rows(&explained, []).await.expect(sql);
    let lines = rows.iter().map(|row| row.try_get::<String>("", "detail").expect("a line"));
    lines.filter(|line| line.starts_with("SEARCH") || line.starts_with("SCAN")).collect()
}

/// Every row is found by its whole key or by an index made for it.
#[tokio::test]
async fn hot_statements_find_their_rows_by_a_key() {
    let [phone, email, name] = [Lookup::Phone, Lookup::Email, Lookup::Name].map(Lookup::sql);
    let statements: [(&str, &str, &[&str]); 15] = [
        (activities::ADD_POINTS, "customers", &["external_id=?"]),
        (write::FEWER_USES, "address_uses", &["hash=?"]),
        (write::FORGET_UNUSED, "address_uses", &["hash=?"]),
        (&phone, "c", &["external_id=?"]),
        (&phone, "customers", &["phone_hash=?"]),
        (&email, "customers", &["email_hash=?"]),
        (&name, "customers", &["name_hash=?", "display_name_hash=?"]),
        (late::OWNERS_BY_PHONE, "c", &["phone_hash=?"]),
        (late::OWNERS_BY_EMAIL, "c", &["email_hash=?"]),
        (late::NEWLY_SHARED, "u", &["hash=?"]),
        (late::SHARED_OF, "address_uses", &["hash=?"]),
        (late::RECIPIENTS_OF, "batches", &["batch_id=?"]),
        (late::OPEN_RUNS_OF, "runs", &["runs_open"]),
        (late::COUNT_LATE, "runs", &["runs_open"]),
        (batches::RECORD_TOTALS, "batches", &["batch_id=?"]),
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
    for (sql, index) in [
        (runs::OPEN_RUNS, "runs_open"),
        (batches::UNSENT, "batches_unsent"),
        (batches::FORGET_SENT, "batches_placed"),
        (places::RELEASE, "batches_waiting"),
    ] {
        let lines = plan(sql).await;
        assert!(lines.iter().any(|line| line.contains(index)), "{sql}\n{lines:#?}");
        assert!(
            !lines.iter().any(|line| ["SCAN runs", "SCAN batches"].contains(&&**line)),
            "{sql}"
        );
    }
    let lines = plan(places::LANES).await;
    let covering = "SEARCH p USING COVERING INDEX batches_placed";
    assert!(lines.iter().any(|line| line.starts_with(covering)), "{lines:#?}");
}
