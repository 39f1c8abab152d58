//! The log on a real database: what is written stays, and what was tampered with shows.

use carillon_audit::{
    Change, Checked, CreateAudit, Deed, PLATFORM, acts, append, entries, fields, take_turns,
    verify, write,
};
use carillon_contracts::{events::v1::AuditRecorded, ids::OrganisationId};
use carillon_service_kit::database::{Sql as _, Text, differs};
use carillon_tenancy::{Caller, Key};
use carillon_testkit::{TestDatabase, database};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use uuid::Uuid;

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateAudit)]
    }
}

struct World {
    at: TestDatabase,
    caller: Caller,
}

impl World {
    async fn new() -> Self {
        let key = Key { id: Some(Uuid::from_u128(7)), prefix: "crl_12345678".into(), test: false };
        let caller = Caller { organisation: OrganisationId::random(), key };
        Self { at: database::<Migrator>().await, caller }
    }

    /// With three entries.
    async fn written() -> Self {
        let world = Self::new().await;
        for amount in 1..=3 {
            world.write(amount).await;
        }
        world
    }

    async fn write(&self, amount: i64) {
        let change = Change::between(
            fields([("available", 0.into())]),
            fields([("available", amount.into())]),
        );
        let (by, act) = (&self.caller, acts::BALANCE_CREDITED);
        let deed = Deed { by, act, subject: "account".into(), change };
        let tx = self.at.database.begin().await.expect("begun");
        write(&tx, &deed, 1_000 + amount).await.expect("written");
        tx.commit().await.expect("committed");
    }

    async fn change<'a>(&self, sql: impl Into<Text<'a>>) {
        let tx = self.at.database.begin().await.expect("begun");
        tx.run(sql, []).await.expect("changed");
        tx.commit().await.expect("committed");
    }

    /// As somebody with the database's own rights could.
    async fn unlock(&self) {
        for trigger in ["audit_entries_kept", "audit_entries_whole"] {
            let dropped = format!("DROP TRIGGER {trigger}");
            let from_table = format!("{dropped} ON audit_entries");
            self.change(differs(&dropped, &from_table)).await;
        }
    }

    async fn checked(&self) -> Checked {
        verify(&self.at.database, self.caller.organisation).await.expect("checked")
    }
}

#[tokio::test]
async fn entries_are_read_newest_first_and_each_says_who_did_what() {
    let world = World::written().await;
    let reader = world.at.database.reader();
    let read = entries(reader, world.caller.organisation, i64::MAX, 2).await.expect("read");
    let numbers: Vec<i64> = read.iter().map(|logged| logged.entry.number).collect();
    assert_eq!(numbers, [3, 2]);
    let entry = &read[0].entry;
    assert_eq!((entry.at, entry.act.as_str()), (1_003, "balance.credited"));
    assert_eq!(
        (entry.key_id, entry.key_prefix.as_str()),
        (Some(Uuid::from_u128(7)), "crl_12345678")
    );
    assert_eq!((&*entry.before, &*entry.after), (r#"{"available":0}"#, r#"{"available":3}"#));
    assert_eq!(read[0].previous, read[1].hash);
    let older = entries(reader, world.caller.organisation, 2, 10).await.expect("read");
    assert_eq!(older.len(), 1);
    assert!(entries(reader, OrganisationId::random(), i64::MAX, 9).await.expect("read").is_empty());
    assert_eq!(world.checked().await, Checked::Whole(3, read[0].hash.clone()));
}

#[tokio::test]
async fn nothing_is_changed_or_removed() {
    let world = World::written().await;
    let update = "UPDATE audit_entries SET after = '' WHERE number = 2";
    for sql in [update, "DELETE FROM audit_entries WHERE number = 3", "DELETE FROM audit_entries"] {
        let tx = world.at.database.begin().await.expect("begun");
        let error = tx.run(sql, []).await.expect_err("refused").to_string();
        assert!(error.contains("the audit is append-only"), "{error}");
    }
    if world.at.database.is_shared() {
        let tx = world.at.database.begin().await.expect("begun");
        tx.run("TRUNCATE audit_entries", []).await.expect_err("refused");
    }
    assert!(matches!(world.checked().await, Checked::Whole(3, _)));
}

#[tokio::test]
async fn a_changed_entry_shows() {
    for column in ["key_prefix", "act", "subject", "before", "after"] {
        let world = World::written().await;
        world.unlock().await;
        world.change(&format!("UPDATE audit_entries SET {column} = 'x' WHERE number = 2")).await;
        assert_eq!(world.checked().await, Checked::Broken(2), "{column}");
    }
    let world = World::written().await;
    world.unlock().await;
    world.change("UPDATE audit_entries SET at = at + 1 WHERE number = 1").await;
    assert_eq!(world.checked().await, Checked::Broken(1));
}

#[tokio::test]
async fn a_removed_entry_shows_the_last_one_too() {
    for number in 1..=3 {
        let world = World::written().await;
        world.unlock().await;
        world.change(&format!("DELETE FROM audit_entries WHERE number = {number}")).await;
        assert_eq!(world.checked().await, Checked::Broken(number));
    }
    let world = World::written().await;
    world.unlock().await;
    world.change("UPDATE audit_heads SET hash = previous_hash FROM audit_entries").await;
    assert_eq!(world.checked().await, Checked::Broken(3), "the last was written anew");
    world.change("DELETE FROM audit_entries").await;
    assert_eq!(world.checked().await, Checked::Broken(1));
    world.change("DELETE FROM audit_heads").await;
    assert_eq!(
        world.checked().await,
        Checked::Whole(0, vec![0; 32]),
        "as if nothing was ever done"
    );
}

#[tokio::test]
async fn an_entry_that_nobody_wrote_shows() {
    let world = World::written().await;
    world
        .change(
            "INSERT INTO audit_entries SELECT organisation_id, 4, at, key_id, key_prefix, act, \
             subject, before, after, hash, hash FROM audit_entries WHERE number = 3",
        )
        .await;
    assert_eq!(world.checked().await, Checked::Broken(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_make_one_chain_each() {
    let world = World::new().await;
    let organisations = [OrganisationId::random(), OrganisationId::random()];
    let mut writers = Vec::new();
    for round in 0..20_i64 {
        let database = world.at.database.clone();
        // Every other one goes through the organisations the other way round.
        let order =
            if round % 2 == 0 { organisations } else { [organisations[1], organisations[0]] };
        writers.push(tokio::spawn(async move {
            let tx = database.begin().await.expect("begun");
            take_turns(&tx).await.expect("a turn");
            for id in order {
                let recorded = AuditRecorded { act: "x".into(), ..AuditRecorded::default() };
                append(&tx, id, round, &recorded).await.expect("written");
            }
            tx.commit().await.expect("committed");
        }));
    }
    for writer in writers {
        writer.await.expect("done");
    }
    for id in organisations {
        let checked = verify(&world.at.database, id).await.expect("checked");
        assert!(matches!(checked, Checked::Whole(20, _)), "{checked:?}");
    }
    let platform = verify(&world.at.database, PLATFORM).await.expect("checked");
    assert!(matches!(platform, Checked::Whole(0, _)));
}
