//! What SMSCs call our messages, and what they told of them: a receipt and the answer that it
//! belongs to are joined whichever comes first, and at whichever replica.

use std::collections::{BTreeMap, BTreeSet};

use carillon_contracts::ids::{MessageId, OrganisationId};
use carillon_dispatch::{Evidence, EvidenceInbox, Says};
use carillon_service_kit::{
    Clock, Database,
    database::{Sql as _, Text, differs, list},
};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// Receipts joined in one transaction, at most.
const AT_ONCE: i64 = 500;
/// Rows deleted in one transaction, at most.
const FORGOTTEN_AT_ONCE: i64 = 5_000;
/// A receipt under an id in another base is taken for ours after so long: until then the answer
/// with the very id may still be stored.
const OTHER_BASE_AFTER_MS: i64 = 10_000;

/// An id is one SMSC account's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub organisation: OrganisationId,
    pub account: String,
    pub smsc_id: String,
}

/// A part of a message that an SMSC has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub key: Key,
    pub run_day: i32,
    pub message: MessageId,
    /// Counts from 1.
    pub part: u32,
    pub parts: u32,
}

/// What became of what has this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub key: Key,
    /// The same id in the other base, where it could be one.
    pub as_hex: String,
    pub as_decimal: String,
    pub says: Says,
    pub code: String,
}

#[derive(Clone)]
pub(crate) struct SmscStore {
    pub database: Database,
    pub clock: Clock,
    pub evidence: EvidenceInbox,
}

impl SmscStore {
    /// Returns once it is on disk.
    pub(crate) async fn keep(&self, accepted: &[Accepted], told: &[Told]) -> Result<(), DbErr> {
        let now_ms = self.clock.now_ms();
        let tx = self.database.begin().await?;
        if !accepted.is_empty() {
            let mut newest = BTreeMap::new();
            for one in accepted {
                newest.insert(&one.key, one);
            }
            let rows: Vec<Json> = newest.into_values().map(row_of_accepted).collect();
            let rows = Json::Array(rows).to_string();
            tx.run(KEEP_ACCEPTED, [rows.as_str().into(), now_ms.into()]).await?;
            let seen: BTreeSet<Uuid> =
                accepted.iter().map(|one| one.key.organisation.uuid()).collect();
            tx.run(KEEP_ACCOUNTS, [list::ids(seen).into(), now_ms.into()]).await?;
        }
        if !told.is_empty() {
            let rows = Json::Array(told.iter().map(row_of_told).collect()).to_string();
            tx.run(KEEP_TOLD, [rows.into(), now_ms.into()]).await?;
        }
        tx.commit().await
    }

    /// Makes evidence of the receipts under these ids whose parts are known. To be called when what
    /// was kept is committed: of two that commit at the same time the later sees both.
    pub(crate) async fn join(&self, keys: &BTreeSet<Key>) -> Result<(), DbErr> {
        let keys: Vec<Json> = keys
            .iter()
            .map(|key| json!([id(key.organisation.uuid()), key.account, key.smsc_id]))
            .collect();
        let keys = Json::Array(keys).to_string();
        while self.join_some(JOINED_BY_KEY, vec![keys.as_str().into()]).await? {}
        Ok(())
    }

    /// The same for receipts kept since then, also by their ids in another base.
    pub(crate) async fn join_all_organisations(&self, since_ms: i64) -> Result<(), DbErr> {
        while self.join_some(JOINED_SINCE, vec![since_ms.into()]).await? {}
        let before = self.clock.now_ms() - OTHER_BASE_AFTER_MS;
        let values = || vec![since_ms.into(), before.into()];
        while self.join_some(JOINED_BY_OTHER_BASE, values()).await? {}
        Ok(())
    }

    /// Answers whether there may be more.
    async fn join_some(
        &self,
        joined: Text<'static>,
        values: Vec<sea_orm::Value>,
    ) -> Result<bool, DbErr> {
        // Looked at first: nobody takes a writer's turn for nothing.
        if self.database.reader().row(joined, values.clone()).await?.is_none() {
            return Ok(false);
        }
        let tx = self.database.begin().await?;
        // Replicas take others.
        let locked = format!("{} FOR UPDATE OF r SKIP LOCKED", joined.postgres());
        let receipts = receipts(&tx, differs(joined.sqlite(), &locked), values).await?;
        let messages = parts_of(&tx, receipts.values().map(|one| one.message)).await?;
        let evidence = weigh(&receipts, messages);
        let said: Vec<Json> = receipts.values().map(row_of_joined).collect();
        tx.run(SAY, [Json::Array(said).to_string().into()]).await?;
        tx.run(DELETE_TOLD, [list::numbers(receipts.keys()).into()]).await?;
        self.evidence.keep_within(&tx, &evidence).await?;
        tx.commit().await?;
        Ok(i64::try_from(receipts.len()).is_ok_and(|count| count == AT_ONCE))
    }

    /// Those that an SMSC took a message of since then: their receipts may still come.
    pub(crate) async fn awaiting_of_all_organisations(
        &self,
        since_ms: i64,
    ) -> Result<Vec<OrganisationId>, DbErr> {
        let sql = "SELECT organisation_id FROM smsc_accounts WHERE accepted_at >= $1";
        let rows = self.database.reader().rows(sql, [since_ms.into()]).await?;
        rows.iter().map(|row| row.try_get_by_index(0).map(OrganisationId::new)).collect()
    }

    /// Deletes what was kept before then.
    pub(crate) async fn forget_of_all_organisations(&self, before_ms: i64) -> Result<(), DbErr> {
        for sql in [FORGET_PARTS, FORGET_RECEIPTS] {
            loop {
                let values = [before_ms.into(), FORGOTTEN_AT_ONCE.into()];
                let tx = self.database.begin().await?;
                let gone = tx.run(sql, values).await?.rows_affected();
                tx.commit().await?;
                if i64::try_from(gone).is_ok_and(|gone| gone < FORGOTTEN_AT_ONCE) {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn id(id: Uuid) -> String {
    id.simple().to_string()
}

fn row_of_accepted(one: &Accepted) -> Json {
    json!({
        "organisation": id(one.key.organisation.uuid()),
        "account": one.key.account,
        "smsc": one.key.smsc_id,
        "day": one.run_day,
        "message": id(one.message.uuid()),
        "part": one.part,
        "parts": one.parts,
    })
}

fn row_of_told(one: &Told) -> Json {
    json!({
        "organisation": id(one.key.organisation.uuid()),
        "account": one.key.account,
        "smsc": one.key.smsc_id,
        "hex": one.as_hex,
        "decimal": one.as_decimal,
        "says": word(one.says),
        "code": one.code,
    })
}

fn row_of_joined(one: &Joined) -> Json {
    let key = &one.part;
    json!([id(key.organisation.uuid()), key.account, key.smsc_id, word(one.says)])
}

/// The two that a part can be told of.
const fn word(says: Says) -> &'static str {
    match says {
        Says::Delivered => "delivered",
        _ => "undelivered",
    }
}

fn says_of(word: &str) -> Option<Says> {
    match word {
        "delivered" => Some(Says::Delivered),
        "undelivered" => Some(Says::Undelivered),
        _ => None,
    }
}

/// A receipt whose part is known.
struct Joined {
    part: Key,
    message: MessageId,
    says: Says,
    code: String,
}

async fn receipts(
    tx: &DatabaseTransaction,
    joined: Text<'_>,
    values: Vec<sea_orm::Value>,
) -> Result<BTreeMap<i64, Joined>, DbErr> {
    let mut receipts = BTreeMap::new();
    for row in tx.rows(joined, values).await? {
        let says: String = row.try_get("", "says")?;
        let one = Joined {
            part: Key {
                organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
                account: row.try_get("", "account")?,
                smsc_id: row.try_get("", "smsc_id")?,
            },
            message: MessageId::new(row.try_get("", "message_id")?),
            says: says_of(&says).ok_or_else(|| unknown("says", &says))?,
            code: row.try_get("", "provider_code")?,
        };
        receipts.insert(row.try_get("", "id")?, one);
    }
    Ok(receipts)
}

fn unknown(column: &str, value: &str) -> DbErr {
    DbErr::Custom(format!("smsc_receipts.{column}: '{value}' is not known"))
}

/// All that is known of a message's parts.
struct Parts {
    organisation: OrganisationId,
    run_day: i32,
    parts: i64,
    /// By number: the best that was said of it, at whichever attempt.
    said: BTreeMap<i64, Option<Says>>,
    number_of: BTreeMap<Key, i64>,
}

/// Locked in order: of two receipts for one message the later sees what the earlier said.
async fn parts_of(
    tx: &DatabaseTransaction,
    messages: impl Iterator<Item = MessageId>,
) -> Result<BTreeMap<MessageId, Parts>, DbErr> {
    let messages: BTreeSet<Uuid> = messages.map(|message| message.uuid()).collect();
    let mut found: BTreeMap<MessageId, Parts> = BTreeMap::new();
    for row in tx.rows(PARTS_OF, [list::ids(messages).into()]).await? {
        let key = Key {
            organisation: OrganisationId::new(row.try_get("", "organisation_id")?),
            account: row.try_get("", "account")?,
            smsc_id: row.try_get("", "smsc_id")?,
        };
        let said: String = row.try_get("", "said")?;
        let (part, parts) = (row.try_get("", "part")?, row.try_get("", "parts")?);
        let message =
            found.entry(MessageId::new(row.try_get("", "message_id")?)).or_insert(Parts {
                organisation: key.organisation,
                run_day: day_of(&row)?,
                parts,
                said: BTreeMap::new(),
                number_of: BTreeMap::new(),
            });
        message.number_of.insert(key, part);
        raise(message.said.entry(part).or_default(), says_of(&said));
    }
    Ok(found)
}

fn day_of(row: &QueryResult) -> Result<i32, DbErr> {
    let day: i64 = row.try_get("", "run_day")?;
    i32::try_from(day).map_err(|_| DbErr::Custom(format!("run_day: {day} is no day")))
}

fn raise(said: &mut Option<Says>, says: Option<Says>) {
    if *said != Some(Says::Delivered) && says.is_some() {
        *said = says;
    }
}

/// A message is delivered when all of its parts are, and undelivered as soon as one is.
fn weigh(
    receipts: &BTreeMap<i64, Joined>,
    mut messages: BTreeMap<MessageId, Parts>,
) -> Vec<Evidence> {
    let mut codes: BTreeMap<MessageId, &str> = BTreeMap::new();
    for one in receipts.values() {
        let Some(message) = messages.get_mut(&one.message) else { continue };
        let Some(number) = message.number_of.get(&one.part) else { continue };
        raise(message.said.entry(*number).or_default(), Some(one.says));
        let code = codes.entry(one.message).or_default();
        if !one.code.is_empty() {
            *code = &one.code;
        }
    }
    let says = |parts: &Parts| {
        let count = |says| parts.said.values().filter(|said| **said == Some(says)).count();
        if i64::try_from(count(Says::Delivered)).is_ok_and(|count| count == parts.parts) {
            Some(Says::Delivered)
        } else {
            (count(Says::Undelivered) > 0).then_some(Says::Undelivered)
        }
    };
    let each = messages.iter().filter_map(|(message, parts)| {
        Some(Evidence {
            organisation: parts.organisation,
            run_day: parts.run_day,
            message: *message,
            says: says(parts)?,
            provider_code: codes.get(message).copied().unwrap_or_default().to_owned(),
        })
    });
    each.collect()
}

/// An id that the SMSC uses again stands for its newest message.
macro_rules! keep_accepted {
    () => {
        " ON CONFLICT (organisation_id, account, smsc_id) DO UPDATE SET
             run_day = excluded.run_day, message_id = excluded.message_id, part = excluded.part,
             parts = excluded.parts, said = '', kept_at = excluded.kept_at"
    };
}

const KEEP_ACCEPTED: Text<'static> = differs(
    concat!(
        "INSERT INTO smsc_parts
             (organisation_id, account, smsc_id, run_day, message_id, part, parts, kept_at)
         SELECT unhex(value ->> 'organisation'), value ->> 'account', value ->> 'smsc',
             value ->> 'day', unhex(value ->> 'message'), value ->> 'part', value ->> 'parts', $2
         FROM json_each($1) WHERE TRUE",
        keep_accepted!()
    ),
    concat!(
        "INSERT INTO smsc_parts
             (organisation_id, account, smsc_id, run_day, message_id, part, parts, kept_at)
         SELECT organisation, account, smsc, day, message, part, parts, $2
         FROM jsonb_to_recordset($1::jsonb) AS given(organisation uuid, account text, smsc text,
             day bigint, message uuid, part bigint, parts bigint)",
        keep_accepted!()
    ),
);

/// Once a minute is often enough to know that receipts may come.
macro_rules! keep_accounts {
    () => {
        " ON CONFLICT (organisation_id) DO UPDATE SET accepted_at = excluded.accepted_at
         WHERE smsc_accounts.accepted_at < excluded.accepted_at - 60000"
    };
}

const KEEP_ACCOUNTS: Text<'static> = differs(
    concat!(
        "INSERT INTO smsc_accounts (organisation_id, accepted_at)
         SELECT unhex(value), $2 FROM json_each($1) WHERE TRUE",
        keep_accounts!()
    ),
    concat!(
        "INSERT INTO smsc_accounts (organisation_id, accepted_at)
         SELECT value::uuid, $2 FROM jsonb_array_elements_text($1::jsonb) AS given(value)
         ORDER BY value",
        keep_accounts!()
    ),
);

const KEEP_TOLD: Text<'static> = differs(
    "INSERT INTO smsc_receipts (organisation_id, account, smsc_id, as_hex, as_decimal, says,
         provider_code, kept_at)
     SELECT unhex(value ->> 'organisation'), value ->> 'account', value ->> 'smsc',
         value ->> 'hex', value ->> 'decimal', value ->> 'says', value ->> 'code', $2
     FROM json_each($1)",
    "INSERT INTO smsc_receipts (organisation_id, account, smsc_id, as_hex, as_decimal, says,
         provider_code, kept_at)
     SELECT organisation, account, smsc, hex, \"decimal\", says, code, $2
     FROM jsonb_to_recordset($1::jsonb) AS given(organisation uuid, account text, smsc text,
         hex text, \"decimal\" text, says text, code text)",
);

macro_rules! joined {
    ($which:expr, $parts:expr) => {
        concat!(
            "SELECT r.id, r.says, r.provider_code, p.organisation_id, p.account, p.smsc_id,
                 p.message_id
             FROM smsc_receipts r
             JOIN smsc_parts p ON p.organisation_id = r.organisation_id
                 AND p.account = r.account AND ",
            $parts,
            " WHERE ",
            $which,
            " ORDER BY r.id LIMIT 500"
        )
    };
}

const JOINED_BY_KEY: Text<'static> = differs(
    joined!(
        "(r.organisation_id, r.account, r.smsc_id) IN (
             SELECT unhex(value ->> 0), value ->> 1, value ->> 2 FROM json_each($1))",
        "p.smsc_id = r.smsc_id"
    ),
    joined!(
        "(r.organisation_id, r.account, r.smsc_id) IN (
             SELECT (value ->> 0)::uuid, value ->> 1, value ->> 2
             FROM jsonb_array_elements($1::jsonb) AS given(value))",
        "p.smsc_id = r.smsc_id"
    ),
);

const JOINED_SINCE: Text<'static> = differs(
    joined!("r.kept_at >= $1", "p.smsc_id = r.smsc_id"),
    joined!("r.kept_at >= $1", "p.smsc_id = r.smsc_id"),
);

const JOINED_BY_OTHER_BASE: Text<'static> = differs(
    joined!(
        "r.kept_at >= $1 AND r.kept_at <= $2 AND p.said = ''",
        "p.smsc_id IN (r.as_hex, r.as_decimal)"
    ),
    joined!(
        "r.kept_at >= $1 AND r.kept_at <= $2 AND p.said = ''",
        "p.smsc_id IN (r.as_hex, r.as_decimal)"
    ),
);

const PARTS_OF: Text<'static> = differs(
    "SELECT organisation_id, account, smsc_id, run_day, message_id, part, parts, said
     FROM smsc_parts WHERE message_id IN (SELECT unhex(value) FROM json_each($1))",
    "SELECT organisation_id, account, smsc_id, run_day, message_id, part, parts, said
     FROM smsc_parts WHERE message_id = ANY(ARRAY(
         SELECT value::uuid FROM jsonb_array_elements_text($1::jsonb) AS given(value)))
     ORDER BY message_id, part, account, smsc_id FOR UPDATE",
);

/// The best of them stays, in whatever order they came.
macro_rules! say {
    () => {
        " UPDATE smsc_parts SET said = given.says FROM given
         WHERE smsc_parts.organisation_id = given.organisation
             AND smsc_parts.account = given.account AND smsc_parts.smsc_id = given.smsc
             AND smsc_parts.said <> 'delivered'"
    };
}

const SAY: Text<'static> = differs(
    concat!(
        "WITH given AS MATERIALIZED (
             SELECT unhex(value ->> 0) AS organisation, value ->> 1 AS account,
                 value ->> 2 AS smsc, min(value ->> 3) AS says
             FROM json_each($1) GROUP BY 1, 2, 3
         )",
        say!()
    ),
    concat!(
        "WITH given AS MATERIALIZED (
             SELECT (value ->> 0)::uuid AS organisation, value ->> 1 AS account,
                 value ->> 2 AS smsc, min(value ->> 3) AS says
             FROM jsonb_array_elements($1::jsonb) AS given(value) GROUP BY 1, 2, 3
         )",
        say!()
    ),
);

const DELETE_TOLD: Text<'static> = differs(
    "DELETE FROM smsc_receipts WHERE id IN (SELECT value FROM json_each($1))",
    "DELETE FROM smsc_receipts WHERE id = ANY(ARRAY(
         SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS given(value)))",
);

const FORGET_PARTS: &str = "DELETE FROM smsc_parts
     WHERE (organisation_id, account, smsc_id) IN (
         SELECT organisation_id, account, smsc_id FROM smsc_parts WHERE kept_at < $1 LIMIT $2)";

const FORGET_RECEIPTS: &str = "DELETE FROM smsc_receipts
     WHERE id IN (SELECT id FROM smsc_receipts WHERE kept_at < $1 LIMIT $2)";
