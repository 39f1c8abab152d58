//! Writing many customers with few statements.

use std::collections::HashMap;

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::{Sql as _, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr, SqlErr};
use serde::Serialize;

use super::{bytes, json, listed::listed};
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
    pub favourite: bool,
    pub consent: i32,
    pub subscribe_sms: i32,
    pub subscribe_email: i32,
    pub blacklisted: bool,
    pub joined_on: &'a str,
    pub programmes: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

/// Answers whether all were written; if not, somebody else has just created one of them, and the
/// transaction is of no more use. PostgreSQL may then also find the other's row by its id, of which
/// `ON CONFLICT` does not speak: two insert the same customer at once, and both keys are looked at
/// one after the other.
pub(crate) async fn write_customers(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    rows: &[CustomerWrite<'_>],
) -> Result<bool, DbErr> {
    match tx.run(WRITE, [organisation.uuid().into(), json(&rows)?.into()]).await {
        Ok(written) => Ok(written.rows_affected() == rows.len() as u64),
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

macro_rules! upsert {
    ($select:literal) => {
        concat!(
            "
INSERT INTO customers (organisation_id, external_id, id, profile, phone_hash, email_hash,
    name_hash, display_name_hash, birth_mmdd, language, time_zone, categories, points, favourite,
    consent, subscribe_sms, subscribe_email, blacklisted, joined_on, programmes, created_at,
    updated_at, version)
SELECT ",
            $select,
            "
ON CONFLICT (organisation_id, external_id) DO UPDATE SET
    profile = excluded.profile, phone_hash = excluded.phone_hash,
    email_hash = excluded.email_hash, name_hash = excluded.name_hash,
    display_name_hash = excluded.display_name_hash, birth_mmdd = excluded.birth_mmdd,
    language = excluded.language, time_zone = excluded.time_zone,
    categories = excluded.categories, points = excluded.points, favourite = excluded.favourite,
    consent = excluded.consent, subscribe_sms = excluded.subscribe_sms,
    subscribe_email = excluded.subscribe_email, blacklisted = excluded.blacklisted,
    joined_on = excluded.joined_on, programmes = excluded.programmes,
    updated_at = excluded.updated_at, version = excluded.version
WHERE customers.version = excluded.version - 1"
        )
    };
}

const WRITE: Text = differs(
    upsert!(
        "$1, value->>'external_id', unhex(value->>'id'), unhex(value->>'profile'),
    unhex(value->>'phone_hash'), unhex(value->>'email_hash'), unhex(value->>'name_hash'),
    unhex(value->>'display_name_hash'), value->>'birth_mmdd', value->>'language',
    value->>'time_zone', value->>'categories', value->>'points', value->>'favourite',
    value->>'consent', value->>'subscribe_sms', value->>'subscribe_email', value->>'blacklisted',
    value->>'joined_on', value->>'programmes', value->>'created_at', value->>'updated_at',
    value->>'version'
FROM json_each($2) WHERE true"
    ),
    upsert!(
        "$1, external_id, id, decode(profile, 'hex'), decode(phone_hash, 'hex'),
    decode(email_hash, 'hex'), decode(name_hash, 'hex'), decode(display_name_hash, 'hex'),
    birth_mmdd, language, time_zone, categories, points, favourite, consent, subscribe_sms,
    subscribe_email, blacklisted, joined_on, programmes, created_at, updated_at, version
FROM json_to_recordset($2::json) AS given(external_id text, id uuid, profile text,
    phone_hash text, email_hash text, name_hash text, display_name_hash text, birth_mmdd bigint,
    language text, time_zone text, categories text, points bigint, favourite boolean,
    consent bigint, subscribe_sms bigint, subscribe_email bigint, blacklisted boolean,
    joined_on text, programmes text, created_at bigint, updated_at bigint, version bigint)"
    ),
);

/// Replaces the categories of the customers named.
pub(crate) async fn replace_categories(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    customers: &[&str],
    categories: &[(&str, &str)],
) -> Result<(), DbErr> {
    if !customers.is_empty() {
        let sql = listed!(
            "DELETE FROM customer_categories WHERE organisation_id = $1
             AND external_id", texts "$2", ""
        );
        tx.run(sql, [organisation.uuid().into(), json(&customers)?.into()]).await?;
    }
    if !categories.is_empty() {
        let sql = differs(
            "INSERT INTO customer_categories (organisation_id, category, external_id)
             SELECT $1, value->>1, value->>0 FROM json_each($2)",
            "INSERT INTO customer_categories (organisation_id, category, external_id)
             SELECT $1, value->>1, value->>0 FROM jsonb_array_elements($2::jsonb) AS l(value)",
        );
        tx.run(sql, [organisation.uuid().into(), json(&categories)?.into()]).await?;
    }
    Ok(())
}

/// Who has the cards now. Until the transaction ends nobody else takes one of them away.
pub(crate) async fn card_owners(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    hashes: &[[u8; 32]],
) -> Result<HashMap<[u8; 32], String>, DbErr> {
    if hashes.is_empty() {
        return Ok(HashMap::new());
    }
    let hashes: Vec<String> = hashes.iter().map(|hash| hex::encode(hash)).collect();
    let sql = listed!(
        "SELECT hash, external_id FROM cards WHERE organisation_id = $1
         AND hash", binary "$2", " ORDER BY hash FOR UPDATE"
    );
    let rows = tx.rows(sql, [organisation.uuid().into(), json(&hashes)?.into()]).await?;
    rows.iter()
        .map(|row| Ok((bytes(row.try_get_by_index(0)?)?, row.try_get_by_index(1)?)))
        .collect()
}

/// Answers whether every card was free; if not, somebody else has just taken one.
pub(crate) async fn replace_cards(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    customers: &[&str],
    cards: &[(&str, String)],
) -> Result<bool, DbErr> {
    if !customers.is_empty() {
        let sql = listed!(
            "DELETE FROM cards WHERE organisation_id = $1
             AND external_id", texts "$2", ""
        );
        tx.run(sql, [organisation.uuid().into(), json(&customers)?.into()]).await?;
    }
    if cards.is_empty() {
        return Ok(true);
    }
    let sql = differs(
        "INSERT INTO cards (organisation_id, external_id, hash)
         SELECT $1, value->>0, unhex(value->>1) FROM json_each($2) WHERE true
         ON CONFLICT DO NOTHING",
        "INSERT INTO cards (organisation_id, external_id, hash)
         SELECT $1, value->>0, decode(value->>1, 'hex')
         FROM jsonb_array_elements($2::jsonb) AS l(value)
         ON CONFLICT DO NOTHING",
    );
    let given = tx.run(sql, [organisation.uuid().into(), json(&cards)?.into()]).await?;
    Ok(given.rows_affected() == cards.len() as u64)
}

/// Counts who uses an address: `(channel, hash, difference)`, each address once, in order: replicas
/// that count the same addresses wait for each other, not in a circle.
pub(crate) async fn use_addresses(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    differences: &[(i32, [u8; 32], i64)],
) -> Result<(), DbErr> {
    let chosen = |wanted: fn(i64) -> bool| {
        let chosen = differences.iter().filter(move |(_, _, by)| wanted(*by));
        chosen
            .map(|(channel, hash, by)| (*channel, hex::encode(hash), by.abs()))
            .collect::<Vec<_>>()
    };
    let organisation = || organisation.uuid().into();
    let all = chosen(|by| by != 0);
    if all.is_empty() {
        return Ok(());
    }
    tx.rows(LOCK_USES, [organisation(), json(&all)?.into()]).await?;
    let (more, fewer) = (chosen(|by| by > 0), chosen(|by| by < 0));
    if !more.is_empty() {
        tx.run(MORE_USES, [organisation(), json(&more)?.into()]).await?;
    }
    if !fewer.is_empty() {
        tx.run(FEWER_USES, [organisation(), json(&fewer)?.into()]).await?;
        for channel in CHANNELS.map(i32::from) {
            let of_channel = fewer.iter().filter(|(of, ..)| *of == channel);
            let hashes: Vec<&str> = of_channel.map(|(_, hash, _)| hash.as_str()).collect();
            tx.run(FORGET_UNUSED, [organisation(), json(&hashes)?.into(), channel.into()]).await?;
        }
    }
    Ok(())
}

/// On SQLite a transaction that writes is alone.
const LOCK_USES: Text = differs(
    "SELECT $1, $2",
    "SELECT 1 FROM (
        SELECT (value->>0)::bigint AS channel, decode(value->>1, 'hex') AS hash
        FROM jsonb_array_elements($2::jsonb) AS l(value) ORDER BY 1, 2
     ) AS l CROSS JOIN LATERAL (
        SELECT 1 FROM address_uses u
        WHERE u.organisation_id = $1 AND u.channel = l.channel AND u.hash = l.hash FOR UPDATE
     ) AS locked",
);

macro_rules! count_uses {
    ($sign:literal) => {
        differs(
            concat!(
                "INSERT INTO address_uses (organisation_id, channel, hash, customers)
     SELECT $1, value->>0, unhex(value->>1), value->>2 FROM json_each($2) WHERE true
     ON CONFLICT (organisation_id, channel, hash)
        DO UPDATE SET customers = address_uses.customers ",
                $sign,
                " excluded.customers"
            ),
            concat!(
                "INSERT INTO address_uses (organisation_id, channel, hash, customers)
     SELECT $1, (value->>0)::bigint, decode(value->>1, 'hex'), (value->>2)::bigint
     FROM jsonb_array_elements($2::jsonb) AS l(value)
     ON CONFLICT (organisation_id, channel, hash)
        DO UPDATE SET customers = address_uses.customers ",
                $sign,
                " excluded.customers"
            ),
        )
    };
}

const MORE_USES: Text = count_uses!("+");
/// An address that is used less is there: nothing is inserted.
const FEWER_USES: Text = count_uses!("-");

/// A list for one channel: a pair is not looked up by the whole key.
pub(super) const FORGET_UNUSED: Text = listed!(
    "DELETE FROM address_uses WHERE organisation_id = $1 AND channel = $3 AND customers = 0
     AND hash", binary "$2", ""
);
