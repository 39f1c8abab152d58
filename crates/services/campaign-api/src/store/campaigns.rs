use carillon_contracts::{
    campaign::v1::{Campaign, CampaignState},
    ids::{CampaignId, OrganisationId, RunId},
    time,
};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult, Value};
use uuid::Uuid;

use crate::{
    domain::{lifecycle::word, schedule},
    request::Request,
};

/// A campaign as it is stored: what was set, and what became of it.
#[derive(Clone)]
pub(crate) struct CampaignRow {
    pub id: CampaignId,
    /// What the organisation set, and nothing else.
    pub document: Campaign,
    pub state: CampaignState,
    pub version: u64,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub started_ms: Option<i64>,
    /// The event that last told of a pause, a resumption or a cancellation.
    pub halt_told: Option<i64>,
    pub archived_ms: Option<i64>,
}

/// Whether a change of a campaign took place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    Yes,
    /// It is not what it was when it was read.
    Changed,
}

const COLUMNS: &str = "campaign_id, version, state, document, created_at, updated_at, started_at,
    halt_told, archived_at";

impl CampaignRow {
    /// A new one that sends nothing.
    pub(crate) fn draft(document: Campaign, now_ms: i64) -> Self {
        Self {
            id: CampaignId::random(),
            document,
            state: CampaignState::Draft,
            version: 1,
            created_ms: now_ms,
            updated_ms: now_ms,
            started_ms: None,
            halt_told: None,
            archived_ms: None,
        }
    }

    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let wrong = |error: &dyn std::fmt::Display| DbErr::Type(error.to_string());
        let document: Vec<u8> = row.try_get("", "document")?;
        let state: String = row.try_get("", "state")?;
        Ok(Self {
            id: CampaignId::new(row.try_get("", "campaign_id")?),
            document: Campaign::decode(document.as_slice()).map_err(|error| wrong(&error))?,
            state: state_of(&state).ok_or_else(|| wrong(&format!("campaign state '{state}'")))?,
            version: row.try_get::<i64>("", "version")?.cast_unsigned(),
            created_ms: row.try_get("", "created_at")?,
            updated_ms: row.try_get("", "updated_at")?,
            started_ms: row.try_get("", "started_at")?,
            halt_told: row.try_get("", "halt_told")?,
            archived_ms: row.try_get("", "archived_at")?,
        })
    }

    /// Its first run, once it was started.
    pub(crate) fn first_run(&self) -> Option<RunId> {
        self.started_ms.map(|_| RunId::of(self.id, &schedule::occurrence_key(&self.document)))
    }

    /// As the audit names it.
    pub(crate) fn subject(&self) -> String {
        format!("campaigns/{}", self.id)
    }

    /// What starting it makes of a draft.
    pub(crate) fn started_state(&self) -> CampaignState {
        if self.is_scheduled() { CampaignState::Scheduled } else { CampaignState::Running }
    }

    /// It runs at a time of its own, not when it is started.
    pub(crate) fn is_scheduled(&self) -> bool {
        schedule::once(&self.document).is_some()
    }

    pub(crate) fn into_campaign(self) -> Campaign {
        let instant = |ms| Timestamp::from_millisecond(ms).ok().map(time::to_wire);
        Campaign {
            id: self.id.to_string(),
            state: self.state.into(),
            create_time: instant(self.created_ms),
            update_time: instant(self.updated_ms),
            run_id: self.first_run().map_or_else(String::new, |run| run.to_string()),
            version: self.version,
            archive_time: self.archived_ms.and_then(instant),
            ..self.document
        }
    }
}

fn state_of(text: &str) -> Option<CampaignState> {
    use CampaignState::{Cancelled, Draft, Finished, Paused, Running, Scheduled};
    let all = [Draft, Scheduled, Running, Paused, Cancelled, Finished];
    all.into_iter().find(|state| word(*state) == text)
}

pub(crate) async fn campaign(
    connection: &impl Sql,
    organisation: OrganisationId,
    id: CampaignId,
) -> Result<Option<CampaignRow>, DbErr> {
    let sql =
        format!("SELECT {COLUMNS} FROM campaigns WHERE campaign_id = $1 AND organisation_id = $2");
    let row = connection.row(&sql, [id.uuid().into(), organisation.uuid().into()]).await?;
    row.as_ref().map(CampaignRow::read).transpose()
}

/// To change it: nobody else does until the transaction ends.
pub(crate) async fn locked_campaign(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    id: CampaignId,
) -> Result<Option<CampaignRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM campaigns WHERE campaign_id = $1 AND organisation_id = $2
         FOR UPDATE"
    );
    let row = tx.row(&sql, [id.uuid().into(), organisation.uuid().into()]).await?;
    row.as_ref().map(CampaignRow::read).transpose()
}

/// The campaign that a request created, and the hash of its body.
pub(crate) async fn campaign_by_request(
    connection: &impl Sql,
    organisation: OrganisationId,
    request_id: &str,
) -> Result<Option<(CampaignRow, Vec<u8>)>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS}, request_hash FROM campaigns
         WHERE organisation_id = $1 AND request_id = $2"
    );
    let row = connection.row(&sql, [organisation.uuid().into(), request_id.into()]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((CampaignRow::read(&row)?, row.try_get("", "request_hash")?)))
}

/// Those paused or cancelled, by their ids, from just after one.
pub(crate) async fn halted_of_all_organisations(
    connection: &impl Sql,
    after: Uuid,
    limit: i64,
) -> Result<Vec<(OrganisationId, CampaignRow)>, DbErr> {
    let sql = format!(
        "SELECT organisation_id, {COLUMNS} FROM campaigns
         WHERE campaign_id > $1 AND state IN ('paused', 'cancelled')
         ORDER BY campaign_id LIMIT $2"
    );
    let rows = connection.rows(&sql, [after.into(), limit.into()]).await?;
    let read = |row: &QueryResult| {
        let organisation = OrganisationId::new(row.try_get("", "organisation_id")?);
        Ok((organisation, CampaignRow::read(row)?))
    };
    rows.iter().map(read).collect()
}

/// Newest first, from just after a place in the list; tests are left out, and so are archived ones
/// unless they are asked for.
pub(crate) async fn campaigns(
    connection: &impl Sql,
    organisation: OrganisationId,
    after: Option<(i64, CampaignId)>,
    archived: bool,
    limit: i64,
) -> Result<Vec<CampaignRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM campaigns WHERE organisation_id = $1 AND NOT is_test
         AND ($2 IS NULL OR (created_at, campaign_id) < ($2, $3))
         AND ($4 OR archived_at IS NULL)
         ORDER BY created_at DESC, campaign_id DESC LIMIT $5"
    );
    let (created, id): (Value, Value) =
        (after.map(|(at, _)| at).into(), after.map(|(_, id)| id.uuid()).into());
    let values = [organisation.uuid().into(), created, id, archived.into(), limit.into()];
    connection.rows(&sql, values).await?.iter().map(CampaignRow::read).collect()
}

/// Answers whether it was new: the same request may just have been carried out elsewhere.
pub(crate) async fn insert_campaign(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    row: &CampaignRow,
    request: Option<&Request>,
) -> Result<bool, DbErr> {
    let inserted = tx
        .run(
            "INSERT INTO campaigns (campaign_id, organisation_id, version, state, document,
                created_at, updated_at, request_id, request_hash, is_test)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (organisation_id, request_id) DO NOTHING",
            [
                row.id.uuid().into(),
                organisation.uuid().into(),
                row.version.cast_signed().into(),
                word(row.state).into(),
                row.document.encode_to_vec().into(),
                row.created_ms.into(),
                row.updated_ms.into(),
                request.map(|request| request.id.clone()).into(),
                request.map(|request| request.body_hash.to_vec()).into(),
                (!row.document.test_of.is_empty()).into(),
            ],
        )
        .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Writes a campaign over the one that was read: `row.version` is the new version, one above that.
pub(crate) async fn save_campaign(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    row: &CampaignRow,
) -> Result<Saved, DbErr> {
    let changed = tx
        .run(
            "UPDATE campaigns SET version = $3, state = $4, document = $5, updated_at = $6,
                started_at = $7, halt_told = $8, archived_at = $9
             WHERE campaign_id = $1 AND organisation_id = $2 AND version = $3 - 1",
            [
                row.id.uuid().into(),
                organisation.uuid().into(),
                row.version.cast_signed().into(),
                word(row.state).into(),
                row.document.encode_to_vec().into(),
                row.updated_ms.into(),
                row.started_ms.into(),
                row.halt_told.into(),
                row.archived_ms.into(),
            ],
        )
        .await?;
    Ok(if changed.rows_affected() > 0 { Saved::Yes } else { Saved::Changed })
}

/// The campaign's state once one of its runs began, or all are settled, if that changes it.
pub(crate) async fn change_state(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    id: CampaignId,
    next: fn(CampaignState) -> Option<CampaignState>,
    now_ms: i64,
) -> Result<(), DbErr> {
    let Some(row) = locked_campaign(tx, organisation, id).await? else { return Ok(()) };
    let Some(state) = next(row.state) else { return Ok(()) };
    let row = CampaignRow { state, version: row.version + 1, updated_ms: now_ms, ..row };
    save_campaign(tx, organisation, &row).await.map(|_| ())
}
