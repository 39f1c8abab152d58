//! The audit of this service's own deeds and of what others tell of theirs; its list and its check.

use async_trait::async_trait;
use carillon_audit::{Change, Checked, Deed, Entry, Logged, PLATFORM};
use carillon_contracts::{
    campaign::v1::{
        AuditEntry, ListAuditEntriesRequest, ListAuditEntriesResponse, VerifyAuditEntriesResponse,
    },
    events::v1::{Event, event::Body},
    ids::OrganisationId,
    time,
};
use carillon_outbox::{Handler, HandlerError};
use carillon_service_kit::{page, status::internal};
use carillon_tenancy::Caller;
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};
use tonic::{Status, metadata::MetadataMap};

use crate::CampaignApi;

/// Copies into the log what other services tell of.
pub(crate) struct Recorded;

#[async_trait]
impl Handler for Recorded {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let wrong = |what: &str| HandlerError::Event(format!("audit.recorded: {what}"));
        let Some(Body::AuditRecorded(recorded)) = &event.body else {
            return Err(wrong("without its entry"));
        };
        let organisation = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| wrong(&error.to_string()))?;
        let at = event.occur_time.as_ref().and_then(time::from_wire);
        let at = at.ok_or_else(|| wrong("without a time"))?;
        carillon_audit::take_turns(tx).await?;
        Ok(carillon_audit::append(tx, organisation, at.as_millisecond(), recorded).await?)
    }
}

impl CampaignApi {
    /// Writes down what is done in the transaction; just before its commit, so that nobody waits
    /// for the log longer than that takes. A change of nothing is none.
    pub(crate) async fn record(
        &self,
        tx: &DatabaseTransaction,
        by: &Caller,
        act: &'static str,
        subject: String,
        change: Change,
    ) -> Result<(), DbErr> {
        if change.is_empty() {
            return Ok(());
        }
        let deed = Deed { by, act, subject, change };
        carillon_audit::write(tx, &deed, self.clock.now_ms()).await
    }

    /// Whose entries the caller may read.
    pub(crate) async fn audited(
        &self,
        metadata: &MetadataMap,
        platform: bool,
    ) -> Result<OrganisationId, Status> {
        if platform {
            self.platform_caller(metadata, "reads what was done with it").await?;
            return Ok(PLATFORM);
        }
        Ok(self.tenancy.caller(metadata).await?.organisation)
    }

    pub(crate) async fn list_audit_entries(
        &self,
        organisation: OrganisationId,
        request: ListAuditEntriesRequest,
    ) -> Result<ListAuditEntriesResponse, Status> {
        let size = page::size(request.page_size)?;
        let before = page::place(&request.page_token, i64::MAX, |token| token.parse().ok())?;
        let reader = self.database.reader();
        let read = carillon_audit::entries(reader, organisation, before, size + 1).await;
        let mut rows = read.map_err(internal)?;
        let more = page::cut(&mut rows, size);
        let last = rows.last().filter(|_| more);
        let next_page_token = last.map_or_else(String::new, |row| row.entry.number.to_string());
        let entries = rows.into_iter().map(to_wire).collect();
        Ok(ListAuditEntriesResponse { entries, next_page_token })
    }

    pub(crate) async fn verify_audit_entries(
        &self,
        organisation: OrganisationId,
    ) -> Result<VerifyAuditEntriesResponse, Status> {
        let checked = carillon_audit::verify(&self.database, organisation).await;
        Ok(match checked.map_err(internal)? {
            Checked::Whole(entries, hash) => {
                VerifyAuditEntriesResponse { entries, broken: 0, hash: hex(&hash) }
            }
            Checked::Broken(broken) => {
                tracing::error!(%organisation, entry = broken, "the audit is not as it was written");
                VerifyAuditEntriesResponse { broken, ..VerifyAuditEntriesResponse::default() }
            }
        })
    }
}

fn to_wire(logged: Logged) -> AuditEntry {
    let Logged { entry, hash, .. } = logged;
    let Entry { number, at, key_id, key_prefix, act, subject, before, after } = entry;
    AuditEntry {
        number,
        time: Timestamp::from_millisecond(at).ok().map(time::to_wire),
        key_id: key_id.map_or_else(String::new, |id| id.to_string()),
        key_prefix,
        act,
        subject,
        before,
        after,
        hash: hex(&hash),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
