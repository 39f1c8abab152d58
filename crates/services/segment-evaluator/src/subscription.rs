//! Subscriptions: who wants messages on which channel.

use carillon_contracts::{
    audience::v1::{
        ConfirmSubscriptionRequest, Customer, SetSubscriptionRequest, SetSubscriptionResponse,
        set_subscription_request::Customers,
    },
    ids::OrganisationId,
    jobs::v1::Channel,
};
use carillon_service_kit::status::{internal, invalid, refused};
use sea_orm::DbErr;
use tonic::Status;

use crate::{
    Evaluator,
    domain::{
        filter::Selection,
        record::{CHANNELS, Subscription},
    },
    store,
};

/// Customers changed in one transaction.
const CHUNK: i64 = 1_000;

/// The channels meant: SMS, e-mail.
type Meant = (bool, bool);

impl Evaluator {
    pub(crate) async fn set_subscription(
        &self,
        organisation: OrganisationId,
        request: SetSubscriptionRequest,
    ) -> Result<SetSubscriptionResponse, Status> {
        let channels = channels(&request.channels)?;
        let double_opt_in = self.organisation(organisation).await?.double_opt_in;
        let to = Subscription::No.asked(request.subscribed, double_opt_in);
        match request.customers {
            None => Err(invalid(
                "customers",
                "is missing; name a customer, give a filter, or write the filter 'everyone'",
            )),
            Some(Customers::Identifier(identifier)) => {
                let id = self.find(organisation, Some(identifier)).await?.external_id;
                let changed = self.subscribe(organisation, &[id], channels, to).await;
                Ok(SetSubscriptionResponse { changed: changed.map_err(internal)?, matched: 1 })
            }
            Some(Customers::Filter(filter)) => {
                let selection = selection(&filter)?;
                let changed = self.subscribe_all(organisation, &selection, channels, to).await;
                changed.map_err(internal)
            }
        }
    }

    pub(crate) async fn confirm_subscription(
        &self,
        organisation: OrganisationId,
        request: ConfirmSubscriptionRequest,
    ) -> Result<Customer, Status> {
        let channel = channel("channel", request.channel)?;
        let record = self.find(organisation, request.identifier).await?;
        let subscription = match channel {
            Channel::Email => record.subscribe_email,
            _ => record.subscribe_sms,
        };
        match subscription {
            Subscription::Yes => {}
            Subscription::Pending => {
                let ids = [record.external_id.clone()];
                let channels = (channel == Channel::Sms, channel == Channel::Email);
                let done = self.subscribe(organisation, &ids, channels, Subscription::Yes).await;
                done.map_err(internal)?;
            }
            Subscription::No => {
                return Err(refused(
                    "NOTHING_TO_CONFIRM",
                    "channel: no subscription waits for a second opt-in; subscribe the customer \
                     first",
                ));
            }
        }
        self.customer(organisation, &record.external_id).await
    }

    async fn subscribe(
        &self,
        organisation: OrganisationId,
        ids: &[String],
        channels: Meant,
        to: Subscription,
    ) -> Result<u64, DbErr> {
        let at = self.clock.now_ms();
        let tx = self.database.begin().await?;
        let changed =
            store::set_subscription(&tx, organisation, ids, channels, to as i32, at).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// In chunks, so that the one who writes is never long: doing it again is harmless.
    async fn subscribe_all(
        &self,
        organisation: OrganisationId,
        selection: &Selection,
        channels: Meant,
        to: Subscription,
    ) -> Result<SetSubscriptionResponse, DbErr> {
        let mut answer = SetSubscriptionResponse::default();
        let mut after = String::new();
        loop {
            let reader = self.database.reader();
            let ids = store::matched_ids(reader, organisation, selection, &after, CHUNK).await?;
            let Some(last) = ids.last() else { return Ok(answer) };
            after.clone_from(last);
            answer.matched += ids.len() as u64;
            answer.changed += self.subscribe(organisation, &ids, channels, to).await?;
        }
    }
}

/// The empty filter is refused: it could be a slip.
fn selection(filter: &str) -> Result<Selection, Status> {
    match filter.trim() {
        "" => Err(invalid("filter", "is empty; write 'everyone' to mean every customer")),
        "everyone" => Ok(Selection::Everyone),
        filter => Ok(Selection::of_filter("filter", filter)?),
    }
}

fn channel(field: &str, value: i32) -> Result<Channel, Status> {
    let channel = Channel::try_from(value).ok().filter(|channel| CHANNELS.contains(channel));
    channel.ok_or_else(|| invalid(field, format!("{value} is not a channel; give SMS or EMAIL")))
}

/// None named: every channel.
fn channels(values: &[i32]) -> Result<Meant, Status> {
    if values.is_empty() {
        return Ok((true, true));
    }
    let mut meant = (false, false);
    for value in values {
        match channel("channels", *value)? {
            Channel::Email => meant.1 = true,
            _ => meant.0 = true,
        }
    }
    Ok(meant)
}
