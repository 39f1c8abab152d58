//! Credit: adds credits once per request id.

use carillon_contracts::{
    billing::v1::{Account, CreditAccountRequest},
    ids::OrganisationId,
};
use carillon_service_kit::status::{already_exists, internal, invalid};
use tonic::Status;

use crate::{
    Billing,
    domain::ledger::Kind,
    low_balance::low_balance,
    store::{self, Reference},
};

const MOST: i64 = 1_000_000_000;
const REQUEST_ID_LENGTH: usize = 100;

impl Billing {
    pub(crate) async fn credit(
        &self,
        organisation: OrganisationId,
        request: CreditAccountRequest,
    ) -> Result<Account, Status> {
        let CreditAccountRequest { amount, request_id } = request;
        if !(1..=MOST).contains(&amount) {
            let rule = format!("{amount} is not from 1 to {MOST}; give a whole number of credits");
            return Err(invalid("amount", rule));
        }
        if request_id.is_empty() || request_id.chars().count() > REQUEST_ID_LENGTH {
            return Err(invalid(
                "request_id",
                "must have 1 to 100 characters; choose one for each payment, such as the invoice \
                 number, so that a repeated call credits once",
            ));
        }
        let tx = self.database.begin().await.map_err(internal)?;
        let mut ledger = store::lock_account(&tx, organisation).await.map_err(internal)?;
        let low_balance = low_balance(&tx, organisation).await.map_err(internal)?;
        let known = store::credited_by_request(&tx, organisation, &request_id).await;
        match known.map_err(internal)? {
            Some(before) if before == amount => {}
            Some(before) => {
                return Err(already_exists(
                    "REQUEST_ID_REUSED",
                    format!(
                        "request_id: '{request_id}' already credited {before}, not {amount}; use \
                         another request_id for another payment"
                    ),
                ));
            }
            None => {
                store::keep_request(&tx, organisation, &request_id, amount)
                    .await
                    .map_err(internal)?;
                ledger.post(Kind::Credit, amount);
                ledger.lift(low_balance);
                let (reference, at_ms) = (Reference::Request(&request_id), self.clock.now_ms());
                store::save(&tx, organisation, ledger, reference, at_ms).await.map_err(internal)?;
                self.tell_raised(&tx, organisation).await.map_err(internal)?;
            }
        }
        let account = store::account(&tx, organisation).await.map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        self.outbox.wake();
        Ok(Account { low_balance, ..account })
    }
}
