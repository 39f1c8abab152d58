//! Opt-out: a customer's own word, by a link or a reply. It holds for what is queued already, and is
//! logged beside the consents.

use carillon_contracts::{
    audience::v1::{OptOutRequest, OptOutResponse},
    ids::{CustomerId, OrganisationId},
    jobs::v1::Channel,
};
use carillon_service_kit::{
    database::is_transient,
    status::{internal, invalid, not_found},
};
use sea_orm::DbErr;
use tonic::Status;

use crate::{
    Evaluator, consent_log,
    standing::{TRIES, pause},
    store,
    subscription::channel,
};

/// Who changed it, in the log.
const BY: &str = "opt_out";

impl Evaluator {
    pub(crate) async fn opt_out(&self, request: OptOutRequest) -> Result<OptOutResponse, Status> {
        let organisation = OrganisationId::from_wire(&request.organisation_id)
            .map_err(|error| invalid("organisation_id", error.to_string()))?;
        let customer = CustomerId::from_wire(&request.customer_id)
            .map_err(|error| invalid("customer_id", error.to_string()))?;
        let channel = channel("channel", request.channel)?;
        for tries in 1.. {
            match self.try_opt_out(organisation, customer, channel).await {
                Err(error) if tries < TRIES && is_transient(&error) => pause(tries).await,
                Err(error) => return Err(internal(error)),
                Ok(None) => break,
                Ok(Some(told)) => {
                    self.outbox.wake();
                    let in_effect = self.in_effect([told]).await;
                    return Ok(OptOutResponse { in_effect });
                }
            }
        }
        Err(not_found(format!("customer_id: there is no customer {customer}; check the link")))
    }

    /// Answers the event's row. Who is out already is told of again, so that this answer too says
    /// when it holds.
    async fn try_opt_out(
        &self,
        organisation: OrganisationId,
        customer: CustomerId,
        channel: Channel,
    ) -> Result<Option<i64>, DbErr> {
        let found = store::resolve(self.database.reader(), organisation, &[customer]).await?;
        let ids: Vec<String> = found.into_iter().map(|(_, external_id)| external_id).collect();
        let tx = self.database.begin().await?;
        let Some((external_id, mut standing)) =
            store::standings(&tx, organisation, &ids).await?.pop()
        else {
            tx.rollback().await?;
            return Ok(None);
        };
        let subscription = standing.subscription_mut(channel);
        let left = subscription.left();
        if *subscription != left {
            *subscription = left;
            standing.version += 1;
            let at = self.clock.now_ms();
            store::set_standings(&tx, organisation, &[(&external_id, &standing)], at).await?;
            let change = consent_log::Change::unsubscribed(customer, channel);
            consent_log::append(&tx, organisation, BY, at, vec![change]).await?;
        }
        let told = vec![standing.suppression(channel)];
        let row = self.tell_suppressions(&tx, organisation, told).await?;
        tx.commit().await?;
        Ok(row)
    }
}
