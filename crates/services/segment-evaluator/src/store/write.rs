//! Writing many customers with few statements.

use std::collections::HashMap;

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::Sql as _;
use sea_orm::{DatabaseTransaction, DbErr};
use serde::Serialize;

use super::{bytes, json};
use crate::{domain::record::CHANNELS, hex};

/// A customer to write. Binary values are hexadecimal.
#[derive(Serialize)]
pub(crate) struct CustomerWrite<'a> {
    pub external_id: &'a str,
    pub id: String,
    pub profile: String,
    pub phone_hash: Option<String>,
    pub email_hash: Option<String>,
    pub name_hash: Option<String>,
    pub display_name_hash: Option<String>,
    pub birth_mmdd: Option<i32>,
    pub language: &'a str,
    pub time_zone: &'a str,
    pub categories: String,
    pub points: i64,
    pub favourite: i32,
    pub consent: i32,
    pub subscribe_sms: i32,
    pub subscribe_email: i32,
    pub blacklisted: i32,
    pub joined_on: &'a str,
    pub programmes: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

pub(crate) async fn write_customers(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    rows: &[CustomerWrite<'_>],
) -> Result<(), DbErr> {
    tx.run(WRITE, [organisation.uuid().into(), json(&rows)?.into()]).await.map(|_| ())
}

const WRITE: &str = "
INSERT INTO customers (organisation_id, external_id, id, profile, phone_hash, email_hash,
    name_hash, display_name_hash, birth_mmdd, language, time_zone, categories, points, favourite,
    consent, subscribe_sms, subscribe_email, blacklisted, joined_on, programmes, created_at,
    updated_at, version)
SELECT $1, value->>'external_id', unhex(value->>'id'), unhex(value->>'profile'),
    unhex(value->>'phone_hash'), unhex(value->>'email_hash'), unhex(value->>'name_hash'),
    unhex(value->>'display_name_hash'), value->>'birth_mmdd', value->>'language',
    value->>'time_zone', value->>'categories', value->>'points', value->>'favourite',
    value->>'consent', value->>'subscribe_sms', value->>'subscribe_email', value->>'blacklisted',
    value->>'joined_on', value->>'programmes', value->>'created_at', value->>'updated_at',
    value->>'version'
FROM json_each($2) WHERE true
ON CONFLICT (organisation_id, external_id) DO UPDATE SET
    profile = excluded.profile, phone_hash = excluded.phone_hash,
    email_hash = excluded.email_hash, name_hash = excluded.name_hash,
    display_name_hash = excluded.display_name_hash, birth_mmdd = excluded.birth_mmdd,
    language = excluded.language, time_zone = excluded.time_zone,
    categories = excluded.categories, points = excluded.points, favourite = excluded.favourite,
    consent = excluded.consent, subscribe_sms = excluded.subscribe_sms,
    subscribe_email = excluded.subscribe_email, blacklisted = excluded.blacklisted,
    joined_on = excluded.joined_on, programmes = excluded.programmes,
    updated_at = excluded.updated_at, version = excluded.version";

/// Replaces the categories of the customers named.
pub(crate) async fn replace_categories(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    customers: &[&str],
    categories: &[(&str, &str)],
) -> Result<(), DbErr> {
    if !customers.is_empty() {
        tx.run(
            "DELETE FROM customer_categories WHERE organisation_id = $1
             AND external_id IN (SELECT value FROM json_each($2))",
            [organisation.uuid().into(), json(&customers)?.into()],
        )
        .await?;
    }
    if !categories.is_empty() {
        tx.run(
            "INSERT INTO customer_categories (organisation_id, category, external_id)
             SELECT $1, value->>1, value->>0 FROM json_each($2)",
            [organisation.uuid().into(), json(&categories)?.into()],
        )
        .await?;
    }
    Ok(())
}

/// Who has the cards now.
pub(crate) async fn card_owners(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    hashes: &[[u8; 32]],
) -> Result<HashMap<[u8; 32], String>, DbErr> {
    if hashes.is_empty() {
        return Ok(HashMap::new());
    }
    let hashes: Vec<String> = hashes.iter().map(|hash| hex::encode(hash)).collect();
    let sql = "SELECT hash, external_id FROM cards WHERE organisation_id = $1
               AND hash IN (SELECT unhex(value) FROM json_each($2))";
    let rows = tx.rows(sql, [organisation.uuid().into(), json(&hashes)?.into()]).await?;
    rows.iter()
        .map(|row| Ok((bytes(row.try_get_by_index(0)?)?, row.try_get_by_index(1)?)))
        .collect()
}

pub(crate) async fn replace_cards(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    customers: &[&str],
    cards: &[(&str, String)],
) -> Result<(), DbErr> {
    if !customers.is_empty() {
        tx.run(
            "DELETE FROM cards WHERE organisation_id = $1
             AND external_id IN (SELECT value FROM json_each($2))",
            [organisation.uuid().into(), json(&customers)?.into()],
        )
        .await?;
    }
    if !cards.is_empty() {
        tx.run(
            "INSERT INTO cards (organisation_id, external_id, hash)
             SELECT $1, value->>0, unhex(value->>1) FROM json_each($2)",
            [organisation.uuid().into(), json(&cards)?.into()],
        )
        .await?;
    }
    Ok(())
}

/// Counts who uses an address: `(channel, hash, difference)`, each address once.
pub(crate) async fn use_addresses(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    differences: &[(i32, [u8; 32], i64)],
) -> Result<(), DbErr> {
    let of_sign = |positive: bool| {
        let chosen = differences.iter().filter(move |(_, _, by)| *by != 0 && (*by > 0) == positive);
        chosen.map(|(channel, hash, by)| (*channel, hex::encode(hash), *by)).collect::<Vec<_>>()
    };
    let (more, fewer) = (of_sign(true), of_sign(false));
    if !more.is_empty() {
        tx.run(
            "INSERT INTO address_uses (organisation_id, channel, hash, customers)
             SELECT $1, value->>0, unhex(value->>1), value->>2 FROM json_each($2) WHERE true
             ON CONFLICT (organisation_id, channel, hash)
                DO UPDATE SET customers = customers + excluded.customers",
            [organisation.uuid().into(), json(&more)?.into()],
        )
        .await?;
    }
    if !fewer.is_empty() {
        tx.run(FEWER_USES, [organisation.uuid().into(), json(&fewer)?.into()]).await?;
        for channel in CHANNELS.map(i32::from) {
            let hashes: Vec<&str> = fewer
                .iter()
                .filter(|(of, ..)| *of == channel)
                .map(|(_, hash, _)| hash.as_str())
                .collect();
            let values = [organisation.uuid().into(), json(&hashes)?.into(), channel.into()];
            tx.run(FORGET_UNUSED, values).await?;
        }
    }
    Ok(())
}

/// The organisation stands in the list, so that the list is walked and each address looked up.
pub(super) const FEWER_USES: &str = "
WITH fewer AS MATERIALIZED (
    SELECT $1 AS organisation_id, value->>0 AS channel, unhex(value->>1) AS hash,
        value->>2 AS difference
    FROM json_each($2)
)
UPDATE address_uses SET customers = customers + fewer.difference
FROM fewer
WHERE address_uses.organisation_id = fewer.organisation_id
AND address_uses.channel = fewer.channel
AND address_uses.hash = fewer.hash";

/// A list for one channel: a pair is not looked up by the whole key.
pub(super) const FORGET_UNUSED: &str = "
DELETE FROM address_uses WHERE organisation_id = $1 AND channel = $3 AND customers = 0
AND hash IN (SELECT unhex(value) FROM json_each($2))";
