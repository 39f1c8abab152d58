use carillon_calendar::Occurrence;
use carillon_contracts::{
    ids::{CampaignId, OrganisationId, RunId},
    schedule::v1::Run,
    time,
};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult, Value};
use uuid::Uuid;

/// A run to be stored.
pub(crate) struct NewRun<'a> {
    pub run: RunId,
    pub campaign: CampaignId,
    pub occurrence: &'a Occurrence,
    pub missed: bool,
    pub now: Timestamp,
}

#[derive(FromQueryResult)]
pub(crate) struct RunRow {
    run_id: Uuid,
    campaign_id: Uuid,
    occurrence_key: String,
    nominal_at: i64,
    deadline_at: i64,
    missed: bool,
}

impl NewRun<'_> {
    /// Answers whether it is new: a campaign has each occurrence once.
    pub(crate) async fn insert(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
    ) -> Result<bool, DbErr> {
        let inserted = tx
            .run(
                "INSERT INTO runs (run_id, organisation_id, campaign_id, occurrence_key,
                    nominal_at, deadline_at, missed, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT DO NOTHING",
                [
                    self.run.uuid().into(),
                    organisation.uuid().into(),
                    self.campaign.uuid().into(),
                    self.occurrence.key.as_str().into(),
                    self.occurrence.nominal.as_millisecond().into(),
                    self.occurrence.deadline.as_millisecond().into(),
                    self.missed.into(),
                    self.now.as_millisecond().into(),
                ],
            )
            .await?;
        Ok(inserted.rows_affected() > 0)
    }
}

pub(crate) async fn has_run(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    campaign: CampaignId,
    key: &str,
) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM runs
               WHERE campaign_id = $1 AND occurrence_key = $2 AND organisation_id = $3";
    let values = [campaign.uuid().into(), key.into(), organisation.uuid().into()];
    Ok(tx.row(sql, values).await?.is_some())
}

/// Newest first, from just after a place in the list.
pub(crate) async fn runs(
    connection: &impl Sql,
    organisation: OrganisationId,
    campaign: Option<CampaignId>,
    after: Option<(i64, RunId)>,
    limit: i64,
) -> Result<Vec<RunRow>, DbErr> {
    let sql = "SELECT run_id, campaign_id, occurrence_key, nominal_at, deadline_at, missed
               FROM runs WHERE organisation_id = $1 AND ($2 IS NULL OR campaign_id = $2)
               AND ($3 IS NULL OR (nominal_at, run_id) < ($3, $4))
               ORDER BY nominal_at DESC, run_id DESC LIMIT $5";
    let campaign: Value = campaign.map(CampaignId::uuid).into();
    let (nominal, run): (Value, Value) =
        (after.map(|(at, _)| at).into(), after.map(|(_, run)| run.uuid()).into());
    let rows =
        connection.rows(sql, [organisation.uuid().into(), campaign, nominal, run, limit.into()]);
    rows.await?.iter().map(|row| RunRow::from_query_result(row, "")).collect()
}

impl RunRow {
    /// This row's place in the list.
    pub(crate) fn token(&self) -> String {
        format!("{}.{}", self.nominal_at, self.run_id)
    }
}

impl From<RunRow> for Run {
    fn from(row: RunRow) -> Self {
        let instant = |ms| Timestamp::from_millisecond(ms).ok().map(time::to_wire);
        Self {
            id: row.run_id.to_string(),
            campaign_id: row.campaign_id.to_string(),
            occurrence_key: row.occurrence_key,
            nominal_time: instant(row.nominal_at),
            deadline: instant(row.deadline_at),
            missed: row.missed,
        }
    }
}
