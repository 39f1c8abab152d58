//! Addresses that come to be shared while a run is being planned.

use std::collections::HashSet;

use carillon_contracts::{
    ids::{BatchId, CustomerId, OrganisationId, RunId, unpack_customers},
    jobs::v1::Channel,
};
use carillon_service_kit::database::{Sql as _, Text, differs, same};
use sea_orm::{DatabaseTransaction, DbErr};

use super::{bytes, json, listed::listed, runs::OpenRun};
use crate::{
    domain::{decide::AddressHash, record::CHANNELS},
    hex,
};

/// Who has an address.
pub(crate) struct Owner {
    pub customer: CustomerId,
    pub hash: AddressHash,
}

fn hexadecimal(hashes: &[AddressHash]) -> Vec<String> {
    hashes.iter().map(|hash| hex::encode(hash)).collect()
}

/// The organisation's runs that are not planned to their end.
pub(crate) async fn open_runs(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<Vec<OpenRun>, DbErr> {
    let rows = tx.rows(OPEN_RUNS_OF, [organisation.uuid().into()]).await?;
    rows.iter()
        .map(|row| Ok(OpenRun { organisation, run: RunId::new(row.try_get_by_index(0)?) }))
        .collect()
}

pub(super) const OPEN_RUNS_OF: Text =
    same("SELECT run_id FROM runs WHERE organisation_id = $1 AND NOT closed ORDER BY seq");

/// Tells the steps under way that addresses came to be shared. Until the transaction ends, no other
/// step is stored.
pub(crate) async fn count_late(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
) -> Result<(), DbErr> {
    tx.rows(LOCK_OPEN_RUNS, [organisation.uuid().into()]).await?;
    tx.run(COUNT_LATE, [organisation.uuid().into()]).await.map(|_| ())
}

/// In one order for all, so that nobody waits in a circle.
const LOCK_OPEN_RUNS: &str =
    "SELECT 1 FROM runs WHERE organisation_id = $1 AND NOT closed ORDER BY seq FOR UPDATE";

pub(super) const COUNT_LATE: Text =
    same("UPDATE runs SET late = late + 1 WHERE organisation_id = $1 AND NOT closed");

/// Those of the addresses that had one user before the differences and have several now, by
/// channel.
pub(crate) async fn newly_shared(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    raised: &[(i32, AddressHash, i64)],
) -> Result<Vec<(Channel, Vec<AddressHash>)>, DbErr> {
    let mut shared = Vec::new();
    for channel in CHANNELS {
        let of_channel = raised.iter().filter(|(of, _, by)| *of == i32::from(channel) && *by > 0);
        let rows: Vec<(String, i64)> =
            of_channel.map(|(_, hash, by)| (hex::encode(hash), *by)).collect();
        if rows.is_empty() {
            continue;
        }
        let values = [organisation.uuid().into(), i32::from(channel).into(), json(&rows)?.into()];
        let rows = tx.rows(NEWLY_SHARED, values).await?;
        let hashes: Vec<AddressHash> =
            rows.iter().map(|row| bytes(row.try_get_by_index(0)?)).collect::<Result<_, _>>()?;
        if !hashes.is_empty() {
            shared.push((channel, hashes));
        }
    }
    Ok(shared)
}

/// The organisation stands in the list, so that the list is walked and each address looked up.
pub(super) const NEWLY_SHARED: Text = differs(
    "
WITH raised AS MATERIALIZED (
    SELECT $1 AS organisation_id, unhex(value->>0) AS hash, value->>1 AS difference
    FROM json_each($3)
)
SELECT u.hash FROM raised r JOIN address_uses u
    ON u.organisation_id = r.organisation_id AND u.channel = $2 AND u.hash = r.hash
WHERE u.customers = r.difference + 1",
    "
SELECT u.hash FROM (
    SELECT decode(value->>0, 'hex') AS hash, (value->>1)::bigint AS difference
    FROM jsonb_array_elements($3::jsonb) AS l(value)
) AS r CROSS JOIN LATERAL (
    SELECT hash, customers FROM address_uses
    WHERE organisation_id = $1 AND channel = $2 AND hash = r.hash OFFSET 0
) AS u
WHERE u.customers = r.difference + 1",
);

/// Those of the addresses that several customers have.
pub(crate) async fn shared_of(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    channel: Channel,
    hashes: &[AddressHash],
) -> Result<Vec<AddressHash>, DbErr> {
    let values =
        [organisation.uuid().into(), i32::from(channel).into(), json(&hexadecimal(hashes))?.into()];
    let rows = tx.rows(SHARED_OF, values).await?;
    rows.iter().map(|row| bytes(row.try_get_by_index(0)?)).collect()
}

pub(super) const SHARED_OF: Text = listed!(
    "SELECT hash FROM address_uses WHERE organisation_id = $1 AND channel = $2 AND customers > 1
     AND hash", binary "$3", ""
);

/// Who has one of the addresses, among the customers up to an external id.
pub(crate) async fn owners_up_to(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    channel: Channel,
    hashes: &[AddressHash],
    position: &str,
) -> Result<Vec<Owner>, DbErr> {
    let sql = match channel {
        Channel::Email => OWNERS_BY_EMAIL,
        _ => OWNERS_BY_PHONE,
    };
    let values = [organisation.uuid().into(), json(&hexadecimal(hashes))?.into()];
    let mut owners = Vec::new();
    for row in tx.rows(sql, values).await? {
        // Asked in the statement, the order of external ids would choose the walk.
        let external_id: String = row.try_get_by_index(0)?;
        if external_id.as_str() <= position {
            let customer = CustomerId::of(organisation, &external_id);
            owners.push(Owner { customer, hash: bytes(row.try_get_by_index(1)?)? });
        }
    }
    Ok(owners)
}

/// The organisation stands in the list here too, and nothing is asked that the index does not hold.
macro_rules! owners_by {
    ($hash:literal) => {
        differs(
            concat!(
                "WITH shared AS MATERIALIZED (
                    SELECT $1 AS organisation_id, unhex(value) AS hash FROM json_each($2)
                )
                SELECT c.external_id, c.",
                $hash,
                " FROM shared s JOIN customers c
                    ON c.organisation_id = s.organisation_id AND s.hash = c.",
                $hash
            ),
            concat!(
                "SELECT external_id, ",
                $hash,
                " FROM customers WHERE organisation_id = $1 AND ",
                $hash,
                " = ANY(ARRAY(
                    SELECT decode(v, 'hex') FROM jsonb_array_elements_text($2::jsonb) AS l(v)))"
            ),
        )
    };
}

pub(super) const OWNERS_BY_PHONE: Text = owners_by!("phone_hash");
pub(super) const OWNERS_BY_EMAIL: Text = owners_by!("email_hash");

/// Everyone in the batches.
pub(crate) async fn recipients_of(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batches: &[BatchId],
) -> Result<HashSet<CustomerId>, DbErr> {
    let ids: Vec<String> =
        batches.iter().map(|batch| hex::encode(batch.uuid().as_bytes())).collect();
    let values = [organisation.uuid().into(), json(&ids)?.into()];
    let mut recipients = HashSet::new();
    for row in tx.rows(RECIPIENTS_OF, values).await? {
        let packed: Vec<u8> = row.try_get_by_index(0)?;
        let ids = unpack_customers(&packed).map_err(|error| DbErr::Type(error.to_string()))?;
        recipients.extend(ids);
    }
    Ok(recipients)
}

pub(super) const RECIPIENTS_OF: Text = listed!(
    "SELECT customer_ids FROM batches WHERE batch_id", ids "$2", " AND organisation_id = $1"
);

/// One that is claimed already stays so.
pub(crate) async fn claim_late(
    tx: &DatabaseTransaction,
    run: RunId,
    channel: Channel,
    hashes: &[AddressHash],
) -> Result<(), DbErr> {
    if hashes.is_empty() {
        return Ok(());
    }
    let values = [run.uuid().into(), i32::from(channel).into(), json(&hexadecimal(hashes))?.into()];
    tx.run(CLAIM_LATE, values).await.map(|_| ())
}

const CLAIM_LATE: Text = differs(
    "INSERT INTO run_addresses (run_id, channel, hash)
     SELECT $1, $2, unhex(value) FROM json_each($3) WHERE true
     ON CONFLICT (run_id, channel, hash) DO NOTHING",
    "INSERT INTO run_addresses (run_id, channel, hash)
     SELECT $1, $2, decode(v, 'hex') FROM jsonb_array_elements_text($3::jsonb) AS l(v)
     ON CONFLICT (run_id, channel, hash) DO NOTHING",
);
