//! List and count: customers by external id, page by page.

use carillon_contracts::{
    audience::v1::{ListCustomersRequest, ListCustomersResponse},
    ids::OrganisationId,
};
use carillon_service_kit::{
    page,
    status::{internal, invalid},
};
use sha2::{Digest as _, Sha256};
use tonic::Status;

use crate::{Evaluator, domain::filter::Selection, find::to_wire, hex, store};

/// Bytes of the filter's hash that a page token begins with.
const MARK: usize = 8;

impl Evaluator {
    pub(crate) async fn list_customers(
        &self,
        organisation: OrganisationId,
        request: ListCustomersRequest,
    ) -> Result<ListCustomersResponse, Status> {
        let selection = Selection::of_filter("filter", &request.filter)?;
        let size = page::size(request.page_size)?;
        let after = read_token(&request.filter, &request.page_token)?;
        let reader = self.database.reader();
        let mut rows = store::page(reader, organisation, &selection, &after, size + 1)
            .await
            .map_err(internal)?;
        let more = page::cut(&mut rows, size);
        let next_page_token = match rows.last() {
            Some(last) if more => token(&request.filter, &last.external_id),
            _ => String::new(),
        };
        let keeper = self.vault.keeper(organisation).await?;
        let mut customers = Vec::with_capacity(rows.len());
        for row in rows {
            customers.push(to_wire(keeper.record(row)?));
        }
        Ok(ListCustomersResponse { customers, next_page_token })
    }

    pub(crate) async fn count_customers(
        &self,
        organisation: OrganisationId,
        filter: &str,
    ) -> Result<u64, Status> {
        let selection = Selection::of_filter("filter", filter)?;
        store::count(self.database.reader(), organisation, &selection).await.map_err(internal)
    }
}

fn mark(filter: &str) -> [u8; MARK] {
    let digest = Sha256::digest(filter.trim().as_bytes());
    let mut mark = [0; MARK];
    mark.copy_from_slice(&digest[..MARK]);
    mark
}

/// Opaque to the caller, and good for the same filter only.
fn token(filter: &str, last: &str) -> String {
    hex::encode(&[&mark(filter), last.as_bytes()].concat())
}

fn read_token(filter: &str, token: &str) -> Result<String, Status> {
    if token.is_empty() {
        return Ok(String::new());
    }
    let read = || {
        let bytes = hex::decode(token)?;
        let last = bytes.strip_prefix(&mark(filter)[..])?;
        String::from_utf8(last.to_vec()).ok().filter(|last| !last.contains('\0'))
    };
    read().ok_or_else(|| {
        let rule = "is not one that this method gave for this filter; start without it";
        invalid("page_token", rule)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_filter() {
        let token = token("category:VIP", "C-é-1");
        assert_eq!(read_token("category:VIP", &token).expect("its own"), "C-é-1");
        assert!(read_token("", &token).is_err());
        assert!(read_token("category:VIP", "zz").is_err());
        assert_eq!(read_token("", "").expect("the first page"), "");
    }
}
