//! Gateways that were used, with what proves that they speak: they report for days after others have
//! taken their place.

use carillon_contracts::{campaign::v1::SmsGateway, events::v1::SealedSecret, ids::OrganisationId};
use carillon_service_kit::{Database, database::Sql as _};
use prost::Message as _;
use sea_orm::DbErr;
use sha2::{Digest as _, Sha256};

/// Often enough to know when it was used last.
const NOTED_AGAIN_MS: i64 = 30 * 60_000;

/// Settings of a gateway, and its token as it is sealed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UsedGateway {
    pub settings: SmsGateway,
    pub token: SealedSecret,
    /// What the token is called in settings: it opens under this name alone.
    pub secret: String,
    pub used_at_ms: i64,
}

impl UsedGateway {
    fn digest(&self) -> Vec<u8> {
        Sha256::new()
            .chain_update(self.settings.encode_to_vec())
            .chain_update(self.token.encode_to_vec())
            .chain_update(&self.secret)
            .finalize()
            .to_vec()
    }
}

/// Those used since then, the latest first.
pub(crate) async fn used_gateways(
    database: &Database,
    organisation: OrganisationId,
    since_ms: i64,
) -> Result<Vec<UsedGateway>, DbErr> {
    let sql = "SELECT settings, token, secret, used_at FROM gateways_used
               WHERE organisation_id = $1 AND used_at >= $2 ORDER BY used_at DESC, digest";
    let values = [organisation.uuid().into(), since_ms.into()];
    let rows = database.reader().rows(sql, values).await?;
    let damaged = |error: prost::DecodeError| DbErr::Custom(format!("gateways_used: {error}"));
    rows.iter()
        .map(|row| {
            let (settings, token): (Vec<u8>, Vec<u8>) =
                (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            Ok(UsedGateway {
                settings: SmsGateway::decode(settings.as_slice()).map_err(damaged)?,
                token: SealedSecret::decode(token.as_slice()).map_err(damaged)?,
                secret: row.try_get_by_index(2)?,
                used_at_ms: row.try_get_by_index(3)?,
            })
        })
        .collect()
}

/// Notes that these are used; whoever notes it again does nothing for a while.
pub(crate) async fn note_used_gateways(
    database: &Database,
    organisation: OrganisationId,
    gateways: &[UsedGateway],
) -> Result<(), DbErr> {
    let sql = "INSERT INTO gateways_used
                   (organisation_id, digest, settings, token, secret, used_at)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (organisation_id, digest) DO UPDATE SET used_at = excluded.used_at
               WHERE gateways_used.used_at < excluded.used_at - $7";
    let tx = database.begin().await?;
    for gateway in gateways {
        let values = [
            organisation.uuid().into(),
            gateway.digest().into(),
            gateway.settings.encode_to_vec().into(),
            gateway.token.encode_to_vec().into(),
            gateway.secret.as_str().into(),
            gateway.used_at_ms.into(),
            NOTED_AGAIN_MS.into(),
        ];
        tx.run(sql, values).await?;
    }
    tx.commit().await
}

/// Those used last before then.
pub(crate) async fn forget_gateways_of_all_organisations(
    database: &Database,
    before_ms: i64,
) -> Result<(), DbErr> {
    // Looked at first: nobody takes a writer's turn for nothing.
    let old = "SELECT 1 FROM gateways_used WHERE used_at < $1 LIMIT 1";
    if database.reader().row(old, [before_ms.into()]).await?.is_none() {
        return Ok(());
    }
    let tx = database.begin().await?;
    tx.run("DELETE FROM gateways_used WHERE used_at < $1", [before_ms.into()]).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_is_known_until_it_was_not_used_for_long() {
        let at = carillon_testkit::database::<crate::Migrator>().await;
        let id = |number| OrganisationId::new(uuid::Uuid::from_u128(number));
        let gateway = |from: &str, used_at_ms| UsedGateway {
            settings: SmsGateway { from: from.into(), ..SmsGateway::default() },
            token: SealedSecret { key_id: "k".into(), ..SealedSecret::default() },
            secret: "sms.token".into(),
            used_at_ms,
        };
        let hour = 3_600_000;
        let note = async |of, gateways: &[UsedGateway]| {
            note_used_gateways(&at.database, id(of), gateways).await.expect("noted");
        };
        note(1, &[gateway("a", hour), gateway("b", hour)]).await;
        note(1, &[gateway("a", hour + 1)]).await;
        note(2, &[gateway("a", hour)]).await;
        let used = async |since| used_gateways(&at.database, id(1), since).await.expect("readable");
        assert_eq!(used(hour).await.len(), 2);
        assert_eq!(used(hour + 1).await, [], "noted again so soon it is as it was");
        note(1, &[gateway("b", 3 * hour)]).await;
        assert_eq!(used(hour).await[0], gateway("b", 3 * hour));
        forget_gateways_of_all_organisations(&at.database, 2 * hour).await.expect("forgotten");
        assert_eq!(used(0).await, [gateway("b", 3 * hour)]);
    }
}
