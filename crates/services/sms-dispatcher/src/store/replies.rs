//! Replies that were heard, by their fingerprints: providers repeat their calls.

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::{Database, database::Sql as _};
use sea_orm::{DatabaseTransaction, DbErr};

/// Answers whether it is the first time.
pub(crate) async fn note_reply(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    fingerprint: &[u8; 32],
    at: i64,
) -> Result<bool, DbErr> {
    let sql = "INSERT INTO replies (organisation_id, fingerprint, heard_at) VALUES ($1, $2, $3)
               ON CONFLICT (organisation_id, fingerprint) DO NOTHING";
    let values = [organisation.uuid().into(), fingerprint.to_vec().into(), at.into()];
    Ok(tx.run(sql, values).await?.rows_affected() > 0)
}

/// Those that were heard before.
pub(crate) async fn forget_replies_of_all_organisations(
    database: &Database,
    before: i64,
) -> Result<(), DbErr> {
    // Looked at first: nobody takes a writer's turn for nothing.
    let old = "SELECT 1 FROM replies WHERE heard_at < $1 LIMIT 1";
    if database.reader().row(old, [before.into()]).await?.is_none() {
        return Ok(());
    }
    let tx = database.begin().await?;
    tx.run("DELETE FROM replies WHERE heard_at < $1", [before.into()]).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reply_is_known_until_it_is_old() {
        let at = carillon_testkit::database::<crate::Migrator>().await;
        let organisation = |number| OrganisationId::new(uuid::Uuid::from_u128(number));
        let note = async |of, fingerprint, heard_at| {
            let tx = at.database.begin().await.expect("begun");
            let new = note_reply(&tx, organisation(of), &[fingerprint; 32], heard_at).await;
            tx.commit().await.expect("committed");
            new.expect("noted")
        };
        assert!(note(1, 7, 1_000).await);
        assert!(!note(1, 7, 2_000).await, "it is the same");
        assert!(note(1, 8, 2_000).await && note(2, 7, 2_000).await, "these are others");
        let forget = |before| forget_replies_of_all_organisations(&at.database, before);
        forget(1_000).await.expect("nothing is so old");
        assert!(!note(1, 7, 3_000).await);
        forget(1_001).await.expect("forgotten");
        assert!(note(1, 7, 3_000).await);
        assert!(!note(1, 8, 3_000).await);
    }
}
