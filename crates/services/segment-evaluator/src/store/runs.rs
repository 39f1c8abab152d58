//! Runs: what is pinned when they fall due, and how far their plans are.

use std::collections::{BTreeMap, HashSet};

use carillon_contracts::{
    ids::{OrganisationId, RunId},
    jobs::v1::Channel,
};
use carillon_service_kit::database::{Sql, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};
use uuid::Uuid;

use super::{bytes, json, listed::listed, narrow};
use crate::{domain::decide::AddressHash, hex};

/// A run as it is pinned when it falls due.
pub(crate) struct NewRun {
    pub run: RunId,
    pub organisation: OrganisationId,
    pub campaign: Uuid,
    pub run_day: i32,
    /// Milliseconds since 1970.
    pub deadline: i64,
    pub audience: Vec<u8>,
    pub content: Vec<u8>,
    /// W3C trace context of what made it due; may be empty.
    pub traceparent: String,
    pub created_at: i64,
}

/// A run that is known stays as it is.
pub(crate) async fn add_run(tx: &DatabaseTransaction, new: NewRun) -> Result<(), DbErr> {
    tx.run(
        "INSERT INTO runs (run_id, organisation_id, campaign_id, run_day, deadline, audience,
            content, position, step, sms_batches, email_batches, matched, planned, skipped, closed,
            traceparent, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, 0, 0, 0, 0, '{}', FALSE, $8, $9)
         ON CONFLICT (run_id) DO NOTHING",
        [
            new.run.uuid().into(),
            new.organisation.uuid().into(),
            new.campaign.into(),
            new.run_day.into(),
            new.deadline.into(),
            new.audience.into(),
            new.content.into(),
            new.traceparent.into(),
            new.created_at.into(),
        ],
    )
    .await
    .map(|_| ())
}

pub(crate) struct OpenRun {
    pub organisation: OrganisationId,
    pub run: RunId,
}

/// Every run that is not planned to its end, the oldest first.
pub(crate) async fn open_runs_of_all_organisations(
    connection: &impl Sql,
) -> Result<Vec<OpenRun>, DbErr> {
    let rows = connection.rows(OPEN_RUNS, []).await?;
    rows.iter()
        .map(|row| {
            Ok(OpenRun {
                organisation: OrganisationId::new(row.try_get_by_index(0)?),
                run: RunId::new(row.try_get_by_index(1)?),
            })
        })
        .collect()
}

/// `+` keeps the order from choosing the walk: the index of open runs is to be read, not the table.
pub(super) const OPEN_RUNS: Text = differs(
    "SELECT organisation_id, run_id FROM runs WHERE NOT closed ORDER BY +seq",
    "SELECT organisation_id, run_id FROM runs WHERE NOT closed ORDER BY seq",
);

pub(crate) struct RunRow {
    pub campaign: Uuid,
    pub run_day: i32,
    pub deadline: i64,
    pub audience: Vec<u8>,
    pub content: Vec<u8>,
    pub traceparent: String,
}

pub(crate) async fn run(
    connection: &impl Sql,
    organisation: OrganisationId,
    run: RunId,
) -> Result<Option<RunRow>, DbErr> {
    let sql = "SELECT campaign_id, run_day, deadline, audience, content, traceparent FROM runs
               WHERE run_id = $1 AND organisation_id = $2";
    let row = connection.row(sql, [run.uuid().into(), organisation.uuid().into()]).await?;
    row.map(|row| {
        Ok(RunRow {
            campaign: row.try_get_by_index(0)?,
            run_day: narrow(&row, 1)?,
            deadline: row.try_get_by_index(2)?,
            audience: row.try_get_by_index(3)?,
            content: row.try_get_by_index(4)?,
            traceparent: row.try_get_by_index(5)?,
        })
    })
    .transpose()
}

/// How far a plan is, and its totals so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunProgress {
    /// The external id of the last customer decided.
    pub position: String,
    /// Of the next step.
    pub step: u32,
    /// Batches cut so far, by channel.
    pub sms_batches: u32,
    pub email_batches: u32,
    pub matched: i64,
    pub planned: i64,
    /// By reason.
    pub skipped: BTreeMap<String, u64>,
    pub closed: bool,
    /// How often customers came to share an address since the run fell due.
    pub late: i64,
}

impl RunProgress {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let skipped: String = row.try_get_by_index(6)?;
        Ok(Self {
            position: row.try_get_by_index(0)?,
            step: narrow(row, 1)?,
            sms_batches: narrow(row, 2)?,
            email_batches: narrow(row, 3)?,
            matched: row.try_get_by_index(4)?,
            planned: row.try_get_by_index(5)?,
            skipped: serde_json::from_str(&skipped)
                .map_err(|error| DbErr::Json(error.to_string()))?,
            closed: row.try_get_by_index(7)?,
            late: row.try_get_by_index(8)?,
        })
    }

    /// Nobody planned a step since: sharing an address is no step.
    pub(crate) fn stands_at(&self, other: &Self) -> bool {
        *self == Self { late: self.late, ..other.clone() }
    }

    pub(crate) fn batches(&mut self, channel: Channel) -> &mut u32 {
        match channel {
            Channel::Email => &mut self.email_batches,
            _ => &mut self.sms_batches,
        }
    }
}

pub(crate) async fn run_progress(
    connection: &impl Sql,
    organisation: OrganisationId,
    run: RunId,
) -> Result<Option<RunProgress>, DbErr> {
    let sql = "SELECT position, step, sms_batches, email_batches, matched, planned, skipped,
                   closed, late
               FROM runs WHERE run_id = $1 AND organisation_id = $2";
    let row = connection.row(sql, [run.uuid().into(), organisation.uuid().into()]).await?;
    row.as_ref().map(RunProgress::read).transpose()
}

/// Takes an open run until the transaction ends; answers `false` where another replica has it or it
/// is closed.
pub(crate) async fn take_run(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    run: RunId,
) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM runs WHERE run_id = $1 AND organisation_id = $2 AND NOT closed
               FOR UPDATE SKIP LOCKED";
    let row = tx.row(sql, [run.uuid().into(), organisation.uuid().into()]).await?;
    Ok(row.is_some())
}

pub(crate) async fn save_progress(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    run: RunId,
    progress: &RunProgress,
) -> Result<(), DbErr> {
    tx.run(
        "UPDATE runs SET position = $3, step = $4, sms_batches = $5, email_batches = $6,
            matched = $7, planned = $8, skipped = $9, closed = $10
         WHERE run_id = $1 AND organisation_id = $2",
        [
            run.uuid().into(),
            organisation.uuid().into(),
            progress.position.as_str().into(),
            i64::from(progress.step).into(),
            i64::from(progress.sms_batches).into(),
            i64::from(progress.email_batches).into(),
            progress.matched.into(),
            progress.planned.into(),
            json(&progress.skipped)?.into(),
            progress.closed.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// Those of the shared addresses that got their message in this run.
pub(crate) async fn claimed_addresses(
    connection: &impl Sql,
    run: RunId,
    channel: Channel,
    hashes: &[AddressHash],
) -> Result<HashSet<AddressHash>, DbErr> {
    let hashes: Vec<String> = hashes.iter().map(|hash| hex::encode(hash)).collect();
    let sql = listed!(
        "SELECT hash FROM run_addresses WHERE run_id = $1 AND channel = $2
         AND hash", binary "$3", ""
    );
    let values = [run.uuid().into(), i32::from(channel).into(), json(&hashes)?.into()];
    let rows = connection.rows(sql, values).await?;
    rows.iter().map(|row| bytes(row.try_get_by_index(0)?)).collect()
}

/// Fails where one is claimed already: the caller must have looked.
pub(crate) async fn claim_addresses(
    tx: &DatabaseTransaction,
    run: RunId,
    channel: Channel,
    hashes: &[AddressHash],
) -> Result<(), DbErr> {
    if hashes.is_empty() {
        return Ok(());
    }
    let hashes: Vec<String> = hashes.iter().map(|hash| hex::encode(hash)).collect();
    let sql = differs(
        "INSERT INTO run_addresses (run_id, channel, hash)
         SELECT $1, $2, unhex(value) FROM json_each($3)",
        "INSERT INTO run_addresses (run_id, channel, hash)
         SELECT $1, $2, decode(v, 'hex') FROM jsonb_array_elements_text($3::jsonb) AS l(v)",
    );
    let values = [run.uuid().into(), i32::from(channel).into(), json(&hashes)?.into()];
    tx.run(sql, values).await.map(|_| ())
}

/// Once the plan is closed nobody asks for them.
pub(crate) async fn forget_addresses(tx: &DatabaseTransaction, run: RunId) -> Result<(), DbErr> {
    tx.run("DELETE FROM run_addresses WHERE run_id = $1", [run.uuid().into()]).await.map(|_| ())
}
