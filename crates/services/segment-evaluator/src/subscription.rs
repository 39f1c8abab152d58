//! Subscriptions: who wants messages on which channel.

use carillon_audit::acts;
use carillon_contracts::{
    audience::v1::{
        ConfirmSubscriptionRequest, Customer, SetSubscriptionRequest, SetSubscriptionResponse,
        set_subscription_request::Customers,
    },
    jobs::v1::Channel,
};
use carillon_service_kit::status::{invalid, refused};
use carillon_tenancy::Caller;
use tonic::Status;

use crate::{
    Evaluator,
    domain::{
        filter::Selection,
        record::{CHANNELS, Subscription},
        standing::Standing,
    },
    failure::Failure,
    standing::{Asked, Changed},
    store,
};

/// Customers changed in one transaction.
const CHUNK: i64 = 1_000;

/// What is asked of each customer.
#[derive(Clone)]
struct Wish {
    channels: Vec<Channel>,
    subscribed: bool,
    double_opt_in: bool,
}

impl Wish {
    fn apply(&self, standing: &mut Standing) {
        for channel in &self.channels {
            let subscription = standing.subscription_mut(*channel);
            *subscription = subscription.asked(self.subscribed, self.double_opt_in);
        }
    }
}

impl Evaluator {
    /// Answers once dispatchers have heard of it, or after 2 s.
    pub(crate) async fn set_subscription(
        &self,
        caller: &Caller,
        request: SetSubscriptionRequest,
    ) -> Result<SetSubscriptionResponse, Status> {
        let organisation = caller.organisation;
        let channels = channels(&request.channels)?;
        let double_opt_in = self.organisation(organisation).await?.double_opt_in;
        let wish = Wish { channels, subscribed: request.subscribed, double_opt_in };
        match request.customers {
            None => Err(invalid(
                "customers",
                "is missing; name a customer, give a filter, or write the filter 'everyone'",
            )),
            Some(Customers::Identifier(identifier)) => {
                let id = self.find(organisation, Some(identifier)).await?.external_id;
                let changed = self.subscribe(caller, &[id], &wish, false).await?;
                let in_effect = self.in_effect(changed.told).await;
                Ok(SetSubscriptionResponse { changed: changed.customers, matched: 1, in_effect })
            }
            Some(Customers::Filter(filter)) => {
                let selection = selection(&filter)?;
                let (answer, told) = self.subscribe_all(caller, &selection, &wish).await?;
                Ok(SetSubscriptionResponse { in_effect: self.in_effect(told).await, ..answer })
            }
        }
    }

    pub(crate) async fn confirm_subscription(
        &self,
        caller: &Caller,
        request: ConfirmSubscriptionRequest,
    ) -> Result<Customer, Status> {
        let organisation = caller.organisation;
        let channel = channel("channel", request.channel)?;
        let record = self.find(organisation, request.identifier).await?;
        match Standing::of(&record).subscription(channel) {
            Subscription::Yes => {}
            Subscription::Pending => {
                let ids = [record.external_id.clone()];
                // Somebody may have withdrawn it in the meantime: then there is nothing to confirm.
                let confirm = move |standing: &mut Standing| {
                    let subscription = standing.subscription_mut(channel);
                    if *subscription == Subscription::Pending {
                        *subscription = Subscription::Yes;
                    }
                };
                let act = acts::CUSTOMER_CONFIRMED;
                let asked = Asked { act, channels: &[channel], of_many: false };
                self.change_standings(caller, &ids, &asked, confirm).await?;
            }
            Subscription::No | Subscription::Left => {
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
        caller: &Caller,
        ids: &[String],
        wish: &Wish,
        of_many: bool,
    ) -> Result<Changed, Failure> {
        let act = match wish.subscribed {
            true => acts::CUSTOMER_SUBSCRIBED,
            false => acts::CUSTOMER_UNSUBSCRIBED,
        };
        let asked = Asked { act, channels: &wish.channels, of_many };
        self.change_standings(caller, ids, &asked, |standing| wish.apply(standing)).await
    }

    /// In chunks, so that the one who writes is never long: doing it again is harmless. Answers the
    /// rows of the events too.
    async fn subscribe_all(
        &self,
        caller: &Caller,
        selection: &Selection,
        wish: &Wish,
    ) -> Result<(SetSubscriptionResponse, Vec<i64>), Failure> {
        let organisation = caller.organisation;
        let mut answer = SetSubscriptionResponse::default();
        let (mut after, mut told) = (String::new(), Vec::new());
        loop {
            let reader = self.database.reader();
            let ids = store::matched_ids(reader, organisation, selection, &after, CHUNK).await?;
            let Some(last) = ids.last() else { return Ok((answer, told)) };
            after.clone_from(last);
            answer.matched += ids.len() as u64;
            let changed = self.subscribe(caller, &ids, wish, true).await?;
            answer.changed += changed.customers;
            told.extend(changed.told);
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

pub(crate) fn channel(field: &str, value: i32) -> Result<Channel, Status> {
    let channel = Channel::try_from(value).ok().filter(|channel| CHANNELS.contains(channel));
    channel.ok_or_else(|| invalid(field, format!("{value} is not a channel; give SMS or EMAIL")))
}

/// None named: every channel.
fn channels(values: &[i32]) -> Result<Vec<Channel>, Status> {
    if values.is_empty() {
        return Ok(CHANNELS.to_vec());
    }
    values.iter().map(|value| channel("channels", *value)).collect()
}
