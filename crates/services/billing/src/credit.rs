//! Credit: adds credits once per request id.

use carillon_audit::{Change, Deed, acts, fields, tell};
use carillon_contracts::billing::v1::{Account, CreditAccountRequest};
use carillon_service_kit::{
    request_id,
    status::{already_exists, internal, invalid},
};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    Billing,
    domain::ledger::Kind,
    low_balance::low_balance,
    store::{self, Reference},
};

const MOST: i64 = 1_000_000_000;

impl Billing {
    pub(crate) async fn credit(
        &self,
        caller: &Caller,
        request: CreditAccountRequest,
    ) -> Result<Account, Status> {
        let organisation = caller.organisation;
        let CreditAccountRequest { amount, request_id } = request;
        if !(1..=MOST).contains(&amount) {
            let rule = format!("{amount} is not from 1 to {MOST}; give a whole number of credits");
            return Err(invalid("amount", rule));
        }
        if request_id.is_empty() {
            return Err(invalid(
                "request_id",
                "is missing; choose one for each payment, such as the invoice number, so that a \
                 repeated call credits once",
            ));
        }
        request_id::check(&request_id)?;
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
                let before = ledger.account.available;
                ledger.post(Kind::Credit, amount);
                let change = credited(before, ledger.account.available, amount, &request_id);
                ledger.lift(low_balance);
                let (reference, at_ms) = (Reference::Request(&request_id), self.clock.now_ms());
                store::save(&tx, organisation, ledger, reference, at_ms).await.map_err(internal)?;
                self.tell_raised(&tx, organisation).await.map_err(internal)?;
                let (by, act, subject) = (caller, acts::BALANCE_CREDITED, "account".to_owned());
                let deed = Deed { by, act, subject, change };
                tell(&self.outbox, &tx, &deed).await.map_err(internal)?;
            }
        }
        let account = store::account(&tx, organisation).await.map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        self.outbox.wake();
        Ok(Account { low_balance, ..account })
    }
}

fn credited(before: i64, available: i64, amount: i64, request_id: &str) -> Change {
    Change::between(
        fields([("available", before.into())]),
        fields([
            ("available", available.into()),
            ("amount", amount.into()),
            ("request_id", request_id.into()),
        ]),
    )
}
