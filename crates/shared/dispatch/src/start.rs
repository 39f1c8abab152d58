//! Builds a dispatcher from its parts.

use std::sync::Arc;

use carillon_broker::{Broker, topology};
use carillon_outbox::{Outbox, Subscriber};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Clock, Database, Stop};
use carillon_tenancy::Tenancy;
use sea_orm::DbErr;

use crate::{
    committer::Committer, funds::Funds, gateway::Gateway, in_hand::InHand, permits::Permits,
    raise::Raise, store::Store,
};

pub struct Parts<G> {
    /// The service's name in the topology.
    pub name: &'static str,
    pub database: Database,
    pub broker: Arc<dyn Broker>,
    pub clock: Clock,
    pub stop: Stop,
    pub key: WrappingKey,
    pub gateway: G,
    /// Absent for a channel that costs nothing.
    pub funds: Option<Arc<dyn Funds>>,
    /// Shared by all dispatchers of a process.
    pub permits: Permits,
}

pub(crate) struct Dispatcher<G: Gateway> {
    pub broker: Arc<dyn Broker>,
    pub store: Store,
    pub key: WrappingKey,
    pub gateway: Arc<G>,
    pub funds: Option<Arc<dyn Funds>>,
    pub permits: Permits,
    pub committer: Committer,
    pub in_hand: InHand,
}

impl<G: Gateway> Clone for Dispatcher<G> {
    fn clone(&self) -> Self {
        Self {
            broker: Arc::clone(&self.broker),
            store: self.store.clone(),
            key: self.key.clone(),
            gateway: Arc::clone(&self.gateway),
            funds: self.funds.clone(),
            permits: self.permits.clone(),
            committer: self.committer.clone(),
            in_hand: self.in_hand.clone(),
        }
    }
}

/// Takes over what an earlier worker left, and starts the tasks.
pub async fn start<G: Gateway>(parts: Parts<G>) -> Result<(), DbErr> {
    let Parts { name, database, broker, clock, stop, key, gateway, funds, permits } = parts;
    let outbox = Outbox::new(name, database.clone(), Arc::clone(&broker), clock.clone());
    let store = Store { database: database.clone(), outbox: outbox.clone(), clock: clock.clone() };
    let epoch = store.begin_epoch().await?;
    outbox.spawn(&stop);
    let tenancy = Tenancy::new(database.clone());
    let subscriber = Subscriber::new(name, database, Arc::clone(&broker), clock.clone());
    subscriber.spawn(topology::ORGANISATION_CHANGED, Arc::new(tenancy), &stop);
    subscriber.spawn(topology::BALANCE_RAISED, Arc::new(Raise { clock }), &stop);
    let dispatcher = Dispatcher {
        broker,
        committer: Committer::spawn(store.clone(), epoch, &stop),
        store,
        key,
        gateway: Arc::new(gateway),
        funds,
        permits,
        in_hand: InHand::default(),
    };
    for class in topology::CLASSES {
        stop.spawn("job consumer", dispatcher.clone().consume(class, stop.clone()));
    }
    let stopping = stop.clone();
    stop.keep("retry loop", move || dispatcher.clone().retry(stopping.clone()));
    Ok(())
}
