//! Which campaigns are halted, and which customers may not be sent to.

use std::collections::{BTreeMap, BTreeSet};

use carillon_contracts::{
    events::v1::{Halt, Suppression},
    ids::{CampaignId, CustomerId, OrganisationId},
};
use carillon_service_kit::database::{Sql, Text, differs, list};
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use super::{Store, fence};
use crate::domain::addressee::Heard;

const PAUSED: &str = "paused";
const CANCELLED: &str = "cancelled";

fn word(halt: Halt) -> &'static str {
    match halt {
        Halt::Paused => PAUSED,
        Halt::Cancelled => CANCELLED,
        Halt::Running | Halt::Unspecified => "running",
    }
}

pub(super) fn of_word(word: &str) -> Halt {
    match word {
        PAUSED => Halt::Paused,
        CANCELLED => Halt::Cancelled,
        _ => Halt::Running,
    }
}

/// Keeps the newest; claims obey it from the commit on. What waits already is gone through
/// afterwards, so that nobody waits for that to hear that it is in effect.
pub(crate) async fn keep_halt(
    tx: &DatabaseTransaction,
    campaign: CampaignId,
    halt: Halt,
    version: i64,
) -> Result<(), DbErr> {
    fence::alone(tx, campaign).await?;
    let pending = halt != Halt::Paused;
    tx.run(
        "INSERT INTO halts (campaign_id, halt, version, pending) VALUES ($1, $2, $3, $4)
         ON CONFLICT (campaign_id) DO UPDATE SET
             halt = excluded.halt, version = excluded.version, pending = excluded.pending
         WHERE halts.version < excluded.version",
        [campaign.uuid().into(), word(halt).into(), version.into(), pending.into()],
    )
    .await
    .map(|_| ())
}

impl Store {
    /// Makes due what waits in campaigns that were resumed, to be sent, or cancelled, to be
    /// settled. A batch at a time: each is locked for a moment only.
    pub(crate) async fn wake_halted(&self) -> Result<(), DbErr> {
        let pending = "SELECT campaign_id, halt, version FROM halts WHERE pending";
        for row in self.database.reader().rows(pending, []).await? {
            let campaign: Uuid = row.try_get("", "campaign_id")?;
            let halt: String = row.try_get("", "halt")?;
            let version: i64 = row.try_get("", "version")?;
            let open = "SELECT run_day, id FROM batches WHERE campaign_id = $1 AND NOT closed
                        ORDER BY run_day, id";
            for batch in self.database.reader().rows(open, [campaign.into()]).await? {
                let day: i64 = batch.try_get("", "run_day")?;
                self.wake_batch(day, batch.try_get("", "id")?, &halt).await?;
            }
            let tx = self.database.begin().await?;
            let done = "UPDATE halts SET pending = FALSE WHERE campaign_id = $1 AND version = $2";
            tx.run(done, [campaign.into(), version.into()]).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn wake_batch(&self, run_day: i64, batch: Uuid, halt: &str) -> Result<(), DbErr> {
        let now_ms = self.clock.now_ms();
        let tx = self.database.begin().await?;
        let lock = "SELECT 1 FROM batches WHERE run_day = $1 AND id = $2 FOR UPDATE";
        tx.row(lock, [run_day.into(), batch.into()]).await?;
        let waiting = if halt == CANCELLED { "" } else { PAUSED };
        tx.run(WAKE, [run_day.into(), batch.into(), now_ms.into(), waiting.into()]).await?;
        tx.run(
            "UPDATE batches SET next_due_at = $3
             WHERE run_day = $1 AND id = $2 AND next_due_at > $3",
            [run_day.into(), batch.into(), now_ms.into()],
        )
        .await?;
        tx.commit().await
    }
}

/// Queued rows of a batch: all of them, or those that wait for the reason given.
const WAKE: Text = differs(
    "UPDATE messages SET next_attempt_at = $3
     WHERE batch_id = $2 AND +run_day = $1 AND state = 'queued' AND next_attempt_at > $3
         AND ($4 = '' OR reason = $4)",
    "UPDATE messages SET next_attempt_at = $3
     WHERE run_day = $1 AND batch_id = $2 AND state = 'queued' AND next_attempt_at > $3
         AND ($4 = '' OR reason = $4)",
);

/// The newest of each counts.
pub(crate) async fn keep_suppressions(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    suppressions: &[(CustomerId, &Suppression)],
) -> Result<(), DbErr> {
    for (customer, suppression) in suppressions {
        tx.run(
            "INSERT INTO suppressions (organisation_id, customer_id, version, suppressed,
                 without_consent)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (organisation_id, customer_id) DO UPDATE SET
                 version = excluded.version, suppressed = excluded.suppressed,
                 without_consent = excluded.without_consent
             WHERE suppressions.version < excluded.version",
            [
                organisation.uuid().into(),
                customer.uuid().into(),
                suppression.version.cast_signed().into(),
                suppression.suppressed.into(),
                suppression.without_consent.into(),
            ],
        )
        .await?;
    }
    Ok(())
}

/// What stands in a campaign's way; `Running` where nothing does.
pub(crate) async fn halt(connection: &impl Sql, campaign: CampaignId) -> Result<Halt, DbErr> {
    let sql = "SELECT halt FROM halts WHERE campaign_id = $1";
    let row = connection.row(sql, [campaign.uuid().into()]).await?;
    let halt: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(halt.as_deref().map_or(Halt::Running, of_word))
}

/// What was heard of the customers. Where consent is not required, those alone who may not be sent
/// to.
pub(crate) async fn heard(
    connection: &impl Sql,
    organisation: OrganisationId,
    customers: impl Iterator<Item = CustomerId>,
    require_consent: bool,
) -> Result<BTreeMap<CustomerId, Heard>, DbErr> {
    let ids = list::ids(customers.map(CustomerId::uuid));
    let sql = differs(
        "WITH given AS MATERIALIZED (SELECT unhex(value) AS id FROM json_each($2))
         SELECT s.customer_id, s.suppressed, s.without_consent FROM given
         JOIN suppressions s ON s.organisation_id = $1 AND s.customer_id = given.id
         WHERE s.suppressed OR $3",
        "SELECT s.customer_id, s.suppressed, s.without_consent FROM suppressions s
         WHERE s.organisation_id = $1 AND (s.suppressed OR $3) AND s.customer_id IN (
             SELECT value::uuid FROM jsonb_array_elements_text($2::jsonb) AS given(value))",
    );
    let values = [organisation.uuid().into(), ids.into(), require_consent.into()];
    let rows = connection.rows(sql, values).await?;
    rows.iter()
        .map(|row| {
            let (suppressed, without_consent) =
                (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
            let customer = CustomerId::new(row.try_get_by_index(0)?);
            Ok((customer, Heard { suppressed, without_consent }))
        })
        .collect()
}

/// What in hand may not be sent any more.
#[derive(Default)]
pub(crate) struct Barred {
    pub campaigns: BTreeSet<CampaignId>,
    pub customers: BTreeSet<(OrganisationId, CustomerId)>,
    /// Barred where their organisation requires consent.
    pub without_consent: BTreeSet<(OrganisationId, CustomerId)>,
}

/// One question for everything in hand.
pub(crate) async fn barred_of_all_organisations(
    connection: &impl Sql,
    campaigns: impl Iterator<Item = CampaignId>,
    customers: impl Iterator<Item = (OrganisationId, CustomerId)>,
) -> Result<Barred, DbErr> {
    let campaigns = list::ids(campaigns.map(CampaignId::uuid));
    let (organisations, customers): (Vec<Uuid>, Vec<Uuid>) =
        customers.map(|(organisation, id)| (organisation.uuid(), id.uuid())).unzip();
    let values = [campaigns.into(), list::ids(organisations).into(), list::ids(customers).into()];
    let mut barred = Barred::default();
    for row in connection.rows(BARRED, values).await? {
        let (organisation, id, suppressed): (Option<Uuid>, Uuid, bool) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        match organisation {
            Some(organisation) => {
                let customer = (OrganisationId::new(organisation), CustomerId::new(id));
                match suppressed {
                    true => barred.customers.insert(customer),
                    false => barred.without_consent.insert(customer),
                };
            }
            None => {
                barred.campaigns.insert(CampaignId::new(id));
            }
        }
    }
    Ok(barred)
}

const BARRED: Text = differs(
    "WITH campaigns AS MATERIALIZED (SELECT unhex(value) AS id FROM json_each($1)),
     customers AS MATERIALIZED (
         SELECT unhex(o.value) AS organisation_id, unhex(c.value) AS id
         FROM json_each($2) AS o JOIN json_each($3) AS c ON c.key = o.key
     )
     SELECT NULL, h.campaign_id, TRUE FROM campaigns
     JOIN halts h ON h.campaign_id = campaigns.id WHERE h.halt <> 'running'
     UNION ALL
     SELECT s.organisation_id, s.customer_id, s.suppressed FROM customers
     JOIN suppressions s
         ON s.organisation_id = customers.organisation_id AND s.customer_id = customers.id
     WHERE s.suppressed OR s.without_consent",
    "SELECT NULL::uuid, h.campaign_id, TRUE FROM halts h
     WHERE h.halt <> 'running' AND h.campaign_id = ANY(ARRAY(
         SELECT value::uuid FROM jsonb_array_elements_text($1::jsonb) AS given(value)))
     UNION ALL
     SELECT s.organisation_id, s.customer_id, s.suppressed
     FROM ROWS FROM (jsonb_array_elements_text($2::jsonb), jsonb_array_elements_text($3::jsonb))
         AS given(organisation_id, id)
     JOIN suppressions s ON s.organisation_id = given.organisation_id::uuid
         AND s.customer_id = given.id::uuid
     WHERE s.suppressed OR s.without_consent",
);
