use std::collections::BTreeSet;

use carillon_contracts::ids::{CampaignId, OrganisationId, RunId};
use carillon_service_kit::database::{Sql, differs, list};
use sea_orm::{DatabaseTransaction, DbErr, QueryResult, Value};

use crate::report::sums::Plan;

/// A run that was found within its organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunKey(i64);

impl RunKey {
    pub(crate) fn number(self) -> i64 {
        self.0
    }

    pub(super) fn read(row: &QueryResult, column: &str) -> Result<Self, DbErr> {
        row.try_get("", column).map(Self)
    }
}

impl From<RunKey> for Value {
    fn from(key: RunKey) -> Self {
        key.0.into()
    }
}

/// What was heard of a run.
pub(crate) struct RunRow {
    pub key: RunKey,
    pub run: RunId,
    /// `None` before `run.due` or `run.missed` was heard.
    pub nominal_ms: Option<i64>,
    /// `None` before `run.planned` or `run.missed` was heard.
    pub plan: Option<Plan>,
    pub updated_ms: i64,
}

fn read(row: &QueryResult) -> Result<RunRow, DbErr> {
    Ok(RunRow {
        key: RunKey::read(row, "number")?,
        run: RunId::new(row.try_get("", "run_id")?),
        nominal_ms: row.try_get("", "nominal_at")?,
        plan: read_plan(row)?,
        updated_ms: row.try_get("", "updated_at")?,
    })
}

fn read_plan(row: &QueryResult) -> Result<Option<Plan>, DbErr> {
    let Some(skipped) = row.try_get::<Option<String>>("", "plan_skipped")? else {
        return Ok(None);
    };
    Ok(Some(Plan {
        matched: row.try_get::<i64>("", "plan_matched")?.cast_unsigned(),
        planned: row.try_get::<i64>("", "plan_planned")?.cast_unsigned(),
        skipped: serde_json::from_str(&skipped).map_err(|error| DbErr::Json(error.to_string()))?,
    }))
}

const COLUMNS: &str =
    "number, run_id, nominal_at, plan_matched, plan_planned, plan_skipped, updated_at";

/// Until the transaction ends nobody else changes what the projection has of these campaigns. One
/// transaction hears of many in any order, so it locks all of them first, in one order: row by row
/// two of them would wait for each other.
pub(crate) async fn lock_campaigns(
    tx: &DatabaseTransaction,
    campaigns: impl Iterator<Item = CampaignId>,
) -> Result<(), DbErr> {
    let sql = differs(
        "SELECT $1",
        "SELECT COUNT(pg_advisory_xact_lock(7101, turn)) FROM (
             SELECT value::int AS turn FROM jsonb_array_elements_text($1::jsonb) AS given(value)
             ORDER BY 1
         ) AS ordered",
    );
    let turns: BTreeSet<i32> = campaigns.map(turn).collect();
    tx.row(sql, [list::numbers(turns).into()]).await.map(|_| ())
}

/// Campaigns whose numbers meet only wait for each other needlessly.
fn turn(campaign: CampaignId) -> i32 {
    let bytes = campaign.uuid().into_bytes();
    bytes
        .chunks_exact(4)
        .fold(0, |turn, part| turn ^ i32::from_be_bytes([part[0], part[1], part[2], part[3]]))
}

/// The run's row, made if this is the first word of it; `None` if it is another organisation's.
pub(crate) async fn open_run(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    campaign: CampaignId,
    run: RunId,
    now_ms: i64,
) -> Result<Option<RunKey>, DbErr> {
    let find = "SELECT number FROM report_runs WHERE run_id = $1 AND organisation_id = $2";
    let values = || [run.uuid().into(), organisation.uuid().into()];
    if let Some(row) = tx.row(find, values()).await? {
        return RunKey::read(&row, "number").map(Some);
    }
    tx.run(
        "INSERT INTO report_runs (run_id, organisation_id, campaign_id, updated_at)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        [run.uuid().into(), organisation.uuid().into(), campaign.uuid().into(), now_ms.into()],
    )
    .await?;
    let row = tx.row(find, values()).await?;
    row.map(|row| RunKey::read(&row, "number")).transpose()
}

pub(crate) async fn run(
    connection: &impl Sql,
    organisation: OrganisationId,
    campaign: CampaignId,
    run: RunId,
) -> Result<Option<RunRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM report_runs
         WHERE run_id = $1 AND campaign_id = $2 AND organisation_id = $3"
    );
    let values = [run.uuid().into(), campaign.uuid().into(), organisation.uuid().into()];
    connection.row(&sql, values).await?.as_ref().map(read).transpose()
}

/// Whether anything was heard of any of the campaign's runs.
pub(crate) async fn has_begun(
    connection: &impl Sql,
    organisation: OrganisationId,
    campaign: CampaignId,
) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM report_runs WHERE organisation_id = $1 AND campaign_id = $2 LIMIT 1";
    let row = connection.row(sql, [organisation.uuid().into(), campaign.uuid().into()]).await?;
    Ok(row.is_some())
}

pub(crate) async fn newest_run(
    connection: &impl Sql,
    organisation: OrganisationId,
    campaign: CampaignId,
) -> Result<Option<RunRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM report_runs WHERE organisation_id = $1 AND campaign_id = $2
         ORDER BY COALESCE(nominal_at, 0) DESC, number DESC LIMIT 1"
    );
    let values = [organisation.uuid().into(), campaign.uuid().into()];
    connection.row(&sql, values).await?.as_ref().map(read).transpose()
}

/// A missed run tells of no deadline.
pub(crate) async fn set_due(
    tx: &DatabaseTransaction,
    run: RunKey,
    nominal_ms: i64,
    deadline_ms: Option<i64>,
    now_ms: i64,
) -> Result<(), DbErr> {
    let sql = "UPDATE report_runs SET nominal_at = $2, deadline_at = $3, updated_at = $4
               WHERE number = $1";
    tx.run(sql, [run.into(), nominal_ms.into(), deadline_ms.into(), now_ms.into()])
        .await
        .map(|_| ())
}

/// Something of the run changed.
pub(crate) async fn touch(tx: &DatabaseTransaction, run: RunKey, now_ms: i64) -> Result<(), DbErr> {
    let sql = "UPDATE report_runs SET updated_at = $2 WHERE number = $1";
    tx.run(sql, [run.into(), now_ms.into()]).await.map(|_| ())
}

pub(crate) async fn close_plan(
    tx: &DatabaseTransaction,
    run: RunKey,
    plan: &Plan,
    now_ms: i64,
) -> Result<(), DbErr> {
    let skipped =
        serde_json::to_string(&plan.skipped).map_err(|error| DbErr::Json(error.to_string()))?;
    tx.run(
        "UPDATE report_runs SET plan_matched = $2, plan_planned = $3, plan_skipped = $4,
            updated_at = $5
         WHERE number = $1",
        [
            run.into(),
            plan.matched.cast_signed().into(),
            plan.planned.cast_signed().into(),
            skipped.into(),
            now_ms.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// The planner's totals, once the plan is closed.
pub(crate) async fn closed_plan(
    tx: &DatabaseTransaction,
    run: RunKey,
) -> Result<Option<Plan>, DbErr> {
    let sql = "SELECT plan_matched, plan_planned, plan_skipped FROM report_runs WHERE number = $1";
    let row = tx.row(sql, [run.into()]).await?;
    row.map_or(Ok(None), |row| read_plan(&row))
}
