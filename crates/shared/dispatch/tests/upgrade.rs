//! Tables of an earlier version, with rows in them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use carillon_dispatch::Migrator;
use carillon_service_kit::{
    Database,
    database::{Postgres, Sql as _},
};
use carillon_testkit::{create_postgres, is_distributed};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// As it was before providers' counts were kept.
struct WithoutCounts;

#[async_trait::async_trait]
impl MigratorTrait for WithoutCounts {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = Migrator::migrations();
        let at = all.iter().position(|one| one.name() == "m0106_add_provider_parts");
        all.truncate(at.unwrap());
        all
    }
}

enum Place {
    File(tempfile::TempDir),
    Server(Postgres),
}

impl Place {
    async fn new() -> Self {
        match is_distributed() {
            true => Self::Server(Postgres { url: create_postgres().await, connections: 2 }),
            false => Self::File(tempfile::tempdir().unwrap()),
        }
    }

    async fn open<M: MigratorTrait>(&self) -> Database {
        match self {
            Self::File(folder) => {
                Database::open_sqlite::<M>(&folder.path().join("test.db")).await.unwrap()
            }
            Self::Server(at) => {
                Database::migrate_postgres::<M>(at).await.unwrap();
                Database::connect_postgres(at).await.unwrap()
            }
        }
    }
}

async fn run(database: &Database, sql: &str) {
    let tx = database.begin().await.unwrap();
    tx.run(sql, []).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn messages_from_before_have_no_count_of_their_provider_and_can_get_one() {
    let place = Place::new().await;
    let before = place.open::<WithoutCounts>().await;
    let (id, no) = match is_distributed() {
        true => ("'00000000-0000-0000-0000-000000000001'", "FALSE"),
        false => ("X'00000000000000000000000000000001'", "0"),
    };
    if is_distributed() {
        run(&before, "CREATE TABLE messages_1 PARTITION OF messages FOR VALUES IN (1)").await;
    }
    let row = format!(
        "INSERT INTO messages (run_day, id, batch_id, position, state, reason, attempt, units,
             worker_epoch, claim, idempotent, account, changed_at, parts)
         VALUES (1, {id}, {id}, 0, 'sent', '', 1, 2, 1, 1, {no}, '', 1, 2)"
    );
    run(&before, &row).await;
    before.close().await.unwrap();
    let after = place.open::<Migrator>().await;
    let unknown = "SELECT COUNT(*) FROM messages WHERE provider_parts IS NULL AND parts = 2";
    let counted = "SELECT COUNT(*) FROM messages WHERE provider_parts = 3 AND parts = 2";
    let count = async |sql| {
        let row = after.reader().row(sql, []).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    assert_eq!(count(unknown).await, 1);
    run(&after, "UPDATE messages SET provider_parts = 3").await;
    assert_eq!(count(counted).await, 1);
}
