//! What cannot be handled is set aside, and replayed or discarded by an operator.

use std::sync::atomic::Ordering;

use carillon_broker::{Destination, Publication, topology};
use carillon_contracts::{
    events::v1::{CampaignPublished, Event, event::Body},
    ids::OrganisationId,
};
use carillon_outbox::{
    figures,
    parked::{self, ReplayError},
};
use carillon_service_kit::Clock;
use carillon_testkit::eventually;
use prost::Message as _;

use crate::world::{NOTHING, Pair, Seen, number};

async fn poisoned(pair: &Pair, seen: &Seen) -> carillon_outbox::Subscriber {
    seen.poison.store(3, Ordering::SeqCst);
    let outbox = pair.outbox();
    let subscriber = pair.listen(seen);
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..8).await;
    // Those before it are tried twice: their first transaction failed with it.
    eventually("the others are handled", || async { seen.count() == 7 }).await;
    eventually("parked", || async { parked::count(&pair.consumer.database).await.unwrap() == 1 })
        .await;
    subscriber
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_is_parked_and_the_rest_flows() {
    let (pair, seen) = (Pair::new().await, Seen::default());
    poisoned(&pair, &seen).await;
    eventually("passed", || async { pair.mark().await == 8 }).await;
    eventually("the outbox empties", || async { pair.kept().await == 0 }).await;
    let listed = parked::list(&pair.consumer.database, 10).await.unwrap();
    assert_eq!(listed[0].source, "campaign-api/campaign.published");
    assert_eq!((listed[0].error.as_str(), listed[0].is_job()), ("poisoned", false));
    assert_eq!(figures(&pair.consumer.database).await.unwrap().parked, 1);
    let (found, body) = parked::get(&pair.consumer.database, listed[0].id).await.unwrap().unwrap();
    assert_eq!(found, listed[0]);
    assert!(parked::in_words(&found, &body).unwrap().contains("version: 3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_event_is_handled_when_it_is_replayed_and_can_be() {
    let (pair, seen) = (Pair::new().await, Seen::default());
    let subscriber = poisoned(&pair, &seen).await;
    let id = parked::list(&pair.consumer.database, 10).await.unwrap()[0].id;
    let failed = subscriber.replay(id).await.unwrap_err();
    assert!(matches!(failed, ReplayError::Failed(error) if error == "poisoned"));
    assert_eq!(parked::count(&pair.consumer.database).await.unwrap(), 1, "it stays");
    seen.poison.store(NOTHING, Ordering::SeqCst);
    subscriber.replay(id).await.unwrap();
    assert_eq!(seen.handled.lock().unwrap()[&3], 1);
    assert_eq!(parked::count(&pair.consumer.database).await.unwrap(), 0);
    assert!(matches!(subscriber.replay(id).await, Err(ReplayError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_at_which_its_handler_panics_is_parked_alone_and_the_service_goes_on() {
    let (pair, seen) = (Pair::new().await, Seen { panics: true, ..Seen::default() });
    let subscriber = poisoned(&pair, &seen).await;
    eventually("passed", || async { pair.mark().await == 8 }).await;
    let listed = parked::list(&pair.consumer.database, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].error.as_str()), (1, "it panicked: poisoned"));
    assert!(!pair.stop.is_stopping());
    let failed = subscriber.replay(listed[0].id).await.unwrap_err();
    assert!(matches!(failed, ReplayError::Failed(error) if error == "it panicked: poisoned"));
    pair.append(&pair.outbox(), 8..10).await;
    eventually("later events are handled", || async { seen.count() == 9 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_event_is_gone() {
    let (pair, seen) = (Pair::new().await, Seen::default());
    poisoned(&pair, &seen).await;
    let id = parked::list(&pair.consumer.database, 10).await.unwrap()[0].id;
    assert!(parked::discard(&pair.consumer.database, id).await.unwrap());
    assert!(!parked::discard(&pair.consumer.database, id).await.unwrap());
    assert_eq!(parked::get(&pair.consumer.database, id).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_job_goes_to_its_queue_again() {
    let (pair, seen) = (Pair::new().await, Seen::default());
    let subscriber = pair.listen(&seen);
    let (database, queue) = (&pair.consumer.database, topology::job_queue("sms", "bulk"));
    parked::park_unnumbered(database, &Clock::system(), &queue, b"\xff", "not a batch")
        .await
        .unwrap();
    let job = parked::list(database, 10).await.unwrap().remove(0);
    assert_eq!((job.source.as_str(), job.is_job()), (queue.as_str(), true));
    assert_eq!(parked::in_words(&job, b"\xff"), None);
    subscriber.replay(job.id).await.unwrap();
    assert_eq!(parked::count(database).await.unwrap(), 0);
    let mut consumer = pair.broker.broker.consume(&queue, 1).await.unwrap();
    let again = consumer.next().await.unwrap();
    assert_eq!(&again.body[..], b"\xff");
    again.ack();
}

/// An event that nobody can decode is parked as it came, and passed.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_decoded_is_parked_as_it_came() {
    use carillon_service_kit::database::Sql as _;
    let (pair, seen) = (Pair::new().await, Seen::default());
    let outbox = pair.outbox();
    let published = Body::CampaignPublished(CampaignPublished::default());
    let tx = pair.producer.database.begin().await.unwrap();
    let row = outbox.append(&tx, OrganisationId::random(), published).await.unwrap();
    let torn = Event::default().encode_to_vec().into_iter().chain([0xff]).collect::<Vec<_>>();
    let sql = "UPDATE outbox SET body = $2 WHERE id = $1";
    tx.run(sql, [row.into(), torn.clone().into()]).await.unwrap();
    tx.commit().await.unwrap();
    pair.listen(&seen);
    outbox.spawn(&pair.stop);
    eventually("passed", || async { pair.mark().await == 1 }).await;
    let stored = "SELECT COUNT(*) FROM parked WHERE seq = 1";
    assert_eq!(number(&pair.consumer.database, stored).await, 1);
    let id = parked::list(&pair.consumer.database, 1).await.unwrap()[0].id;
    assert_eq!(parked::get(&pair.consumer.database, id).await.unwrap().unwrap().1, torn);
}

/// It has no number that a mark could pass; only an operator can tell where it came from.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_its_number_is_parked_and_never_handled() {
    let (pair, seen) = (Pair::new().await, Seen::default());
    let outbox = pair.outbox();
    let subscriber = pair.listen(&seen);
    let stream = topology::stream(topology::CAMPAIGN_API, topology::CAMPAIGN_PUBLISHED);
    let published = Body::CampaignPublished(CampaignPublished { version: 9, ..Default::default() });
    let body = Event { body: Some(published), ..Event::default() }.encode_to_vec();
    let to = Destination::Queue(topology::event_queue(topology::SCHEDULER, &stream));
    let publication = Publication { to, headers: Vec::new(), body: body.clone().into() };
    pair.broker.broker.publish(publication).await.unwrap();
    outbox.spawn(&pair.stop);
    pair.append(&outbox, 0..3).await;
    eventually("the others are handled", || async { seen.all_once(3) }).await;
    let database = &pair.consumer.database;
    eventually("parked", || async { parked::count(database).await.unwrap() == 1 }).await;
    let one = parked::list(database, 10).await.unwrap().remove(0);
    assert_eq!((one.source.as_str(), one.seq, one.is_job()), (stream.as_str(), None, false));
    assert!(one.error.contains("carillon-seq") && one.error.contains("discard"), "{}", one.error);
    let (_, kept) = parked::get(database, one.id).await.unwrap().unwrap();
    assert_eq!(kept, body);
    assert!(matches!(subscriber.replay(one.id).await, Err(ReplayError::Failed(_))));
    assert!(seen.all_once(3), "nothing tells whether it was handled before");
    assert!(parked::discard(database, one.id).await.unwrap());
}
