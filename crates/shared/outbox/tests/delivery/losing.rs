//! Whatever a broker loses comes back by the marks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use carillon_broker::{
    Broker, Consumer, Depth, Destination, Publication, PublishError, Unavailable, topology,
};
use carillon_contracts::{
    events::v1::{
        AuditRecorded, BalanceLow, BalanceRaised, BatchPlanned, CampaignHalted, CampaignPublished,
        DeliveryChanged, Event, GatewayChanged, OrganisationChanged, ReplyReceived, RunDue,
        RunMissed, RunPlanned, SuppressionChanged, event::Body,
    },
    ids::OrganisationId,
};
use carillon_outbox::{Handler, HandlerError, Outbox, Subscriber};
use carillon_service_kit::{Clock, Stop};
use carillon_testkit::eventually;
use sea_orm::DatabaseTransaction;

use crate::world::{MARK_EVERY, Migrator, PATIENCE, Pair, Seen};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wiped_broker_lost_comes_back_by_the_marks() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..20).await;
    eventually("published", || async { pair.sent().await == 20 }).await;
    pair.broker.wipe().await;
    pair.listen(&seen);
    eventually("all handled after the loss", || async { seen.all_once(20) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_loss_comes_back_piece_by_piece_through_any_replica() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..2_500).await;
    eventually("published", || async { pair.sent().await == 2_500 }).await;
    let stream = topology::stream(topology::CAMPAIGN_API, topology::CAMPAIGN_PUBLISHED);
    pair.broker.purge(&topology::event_queue(topology::SCHEDULER, &stream)).await;
    pair.another_outbox().await.spawn(&pair.stop);
    pair.listen(&seen);
    eventually("all handled after the loss", || async { seen.count() == 2_500 }).await;
    assert!(seen.all_once(2_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lost_in_the_middle_comes_back_though_later_ones_were_handled() {
    let pair = Pair::new().await;
    let (seen, outbox) = (Seen::default(), pair.outbox());
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..5).await;
    eventually("published", || async { pair.sent().await == 5 }).await;
    let stream = topology::stream(topology::CAMPAIGN_API, topology::CAMPAIGN_PUBLISHED);
    let queue = topology::event_queue(topology::SCHEDULER, &stream);
    let mut thief = pair.broker.broker.consume(&queue, 1).await.unwrap();
    thief.next().await.unwrap().ack();
    drop(thief);
    pair.listen(&seen);
    eventually("the lost one came again", || async { seen.all_once(5) }).await;
}

/// Confirms the first publication of each stream and delivers it to nobody.
struct Losing {
    broker: Arc<dyn Broker>,
    lost: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Broker for Losing {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        if let Destination::Event(stream) = &publication.to
            && self.lost.lock().unwrap().insert(stream.clone())
        {
            return Ok(());
        }
        self.broker.publish(publication).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, Unavailable> {
        self.broker.consume(queue, prefetch).await
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Unavailable> {
        self.broker.depth(queue).await
    }
}

/// How often each event, known by its organisation, was handled by each subscriber.
type Heard = Arc<Mutex<BTreeMap<(&'static str, Vec<u8>), u32>>>;

struct Record(&'static str, Heard);

#[async_trait]
impl Handler for Record {
    async fn handle(&self, _: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let key = (self.0, event.organisation_id.to_vec());
        *self.1.lock().unwrap().entry(key).or_default() += 1;
        Ok(())
    }
}

fn body(event: &str) -> Body {
    match event {
        topology::ORGANISATION_CHANGED => Body::OrganisationChanged(OrganisationChanged::default()),
        topology::CAMPAIGN_PUBLISHED => Body::CampaignPublished(CampaignPublished::default()),
        topology::RUN_DUE => Body::RunDue(RunDue::default()),
        topology::RUN_MISSED => Body::RunMissed(RunMissed::default()),
        topology::BATCH_PLANNED => Body::BatchPlanned(BatchPlanned::default()),
        topology::RUN_PLANNED => Body::RunPlanned(RunPlanned::default()),
        topology::DELIVERY_CHANGED => Body::DeliveryChanged(DeliveryChanged::default()),
        topology::BALANCE_LOW => Body::BalanceLow(BalanceLow::default()),
        topology::BALANCE_RAISED => Body::BalanceRaised(BalanceRaised::default()),
        topology::REPLY_RECEIVED => Body::ReplyReceived(ReplyReceived::default()),
        topology::AUDIT_RECORDED => Body::AuditRecorded(AuditRecorded::default()),
        topology::GATEWAY_CHANGED => Body::GatewayChanged(GatewayChanged::default()),
        topology::CAMPAIGN_HALTED => Body::CampaignHalted(CampaignHalted::default()),
        topology::SUPPRESSION_CHANGED => Body::SuppressionChanged(SuppressionChanged::default()),
        other => panic!("an event type that this test does not know: {other}"),
    }
}

/// Every service with its outbox and its subscriptions, on a broker that loses each stream's first.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_every_type_that_is_lost_once_comes_back() {
    let inner = carillon_testkit::broker().await;
    let lost = Mutex::default();
    let losing = Arc::new(Losing { broker: Arc::clone(&inner.broker), lost });
    let (stop, heard) = (Stop::new(), Heard::default());
    let mut expected = BTreeSet::new();
    let mut databases = Vec::new();
    for service in topology::SERVICES {
        let database = carillon_testkit::database::<Migrator>().await;
        let (own, clock) = (database.database.clone(), Clock::system());
        let outbox = Outbox::new(service, own.clone(), losing.clone(), clock.clone())
            .with_patience(PATIENCE);
        let tx = own.begin().await.unwrap();
        for event in topology::EVENTS {
            if !topology::producers(event).contains(&service) {
                continue;
            }
            for _ in 0..3 {
                let organisation = OrganisationId::random();
                outbox.append(&tx, organisation, body(event)).await.unwrap();
                for subscriber in topology::subscribers(event, service) {
                    expected.insert((*subscriber, organisation.to_wire().to_vec()));
                }
            }
        }
        tx.commit().await.unwrap();
        outbox.spawn(&stop);
        let subscriber =
            Subscriber::new(service, own, losing.clone(), clock).with_mark_every(MARK_EVERY);
        for event in topology::EVENTS {
            let record = Record(service, Arc::clone(&heard));
            subscriber.spawn(event, Arc::new(record), &stop);
        }
        databases.push(database);
    }
    eventually("every event has reached every subscriber", || async {
        heard.lock().unwrap().len() == expected.len()
    })
    .await;
    let streams: usize =
        topology::EVENTS.iter().map(|event| topology::producers(event).len()).sum();
    assert_eq!(losing.lost.lock().unwrap().len(), streams, "each stream lost one");
    let heard = heard.lock().unwrap().clone();
    assert!(heard.values().all(|times| *times == 1), "{heard:?}");
    assert_eq!(heard.into_keys().collect::<BTreeSet<_>>(), expected);
    stop.now();
}
