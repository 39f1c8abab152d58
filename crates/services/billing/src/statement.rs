//! Statement: the ledger's entries, page by page.

use carillon_contracts::{
    billing::v1::{Entry, ListEntriesRequest, ListEntriesResponse},
    ids::OrganisationId,
    time,
};
use carillon_service_kit::{
    page,
    status::{internal, invalid},
};
use jiff::Timestamp;
use tonic::Status;

use crate::{Billing, store};

impl Billing {
    pub(crate) async fn statement(
        &self,
        organisation: OrganisationId,
        request: ListEntriesRequest,
    ) -> Result<ListEntriesResponse, Status> {
        let size = page::size(request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| {
                invalid("page_token", "is not one that this method gave; start without it")
            })?,
        };
        let mut rows = store::entries(self.database.reader(), organisation, after, size + 1)
            .await
            .map_err(internal)?;
        let more = page::cut(&mut rows, size);
        let next_page_token =
            rows.last().filter(|_| more).map_or_else(String::new, |row| row.number.to_string());
        let entries = rows
            .into_iter()
            .map(|row| Entry {
                number: row.number,
                create_time: Timestamp::from_millisecond(row.created_at).ok().map(time::to_wire),
                kind: row.kind,
                amount: row.amount,
                reference: row.reference,
                available: row.available,
            })
            .collect();
        Ok(ListEntriesResponse { entries, next_page_token })
    }
}
