//! Statement: the ledger's lines, page by page.

use carillon_contracts::{
    billing::v1::{Entry, ListEntriesRequest, ListEntriesResponse},
    ids::OrganisationId,
    time,
};
use carillon_service_kit::{page, status::internal};
use jiff::Timestamp;
use tonic::Status;

use crate::{
    Billing,
    domain::ledger::Kind,
    store::{self, EntryRow},
};

impl Billing {
    pub(crate) async fn statement(
        &self,
        organisation: OrganisationId,
        request: ListEntriesRequest,
    ) -> Result<ListEntriesResponse, Status> {
        let size = page::size(request.page_size)?;
        let after = page::place(&request.page_token, 0, |token| token.parse().ok())?;
        let mut rows = store::entries(self.database.reader(), organisation, after, size + 1)
            .await
            .map_err(internal)?;
        let more = page::cut(&mut rows, size);
        let next_page_token =
            rows.last().filter(|_| more).map_or_else(String::new, |row| row.number.to_string());
        let entries = rows.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(ListEntriesResponse { entries, next_page_token })
    }
}

fn entry(row: EntryRow) -> Result<Entry, Status> {
    let kind = Kind::of_word(&row.kind)
        .ok_or_else(|| internal(format!("line {} is a '{}'", row.number, row.kind)))?;
    let (source, target) = kind.places();
    let batch = row.batch_id.map(|id| id.to_string());
    Ok(Entry {
        number: row.number,
        create_time: Timestamp::from_millisecond(row.created_at).ok().map(time::to_wire),
        kind: row.kind,
        amount: row.amount,
        reference: row.request_id.or(batch).unwrap_or_default(),
        available: row.available,
        held: row.held,
        spent: row.spent,
        source: source.into(),
        target: target.into(),
        campaign_id: row.campaign_id.map(|id| id.to_string()).unwrap_or_default(),
    })
}
