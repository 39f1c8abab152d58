//! Builds a dispatcher from its parts.

use std::{sync::Arc, time::Duration};

use carillon_broker::{Broker, topology};
use carillon_contracts::vocabulary::ChannelWord as _;
use carillon_operator::Operator;
use carillon_outbox::{Outbox, Subscriber};
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Clock, Database, Stop};
use carillon_tenancy::Tenancy;
use sea_orm::DbErr;
use tokio::sync::Notify;

use crate::{
    clearance::{Alive, Watch},
    committer::Committer,
    evidence::{self, EvidenceInbox},
    figures,
    funds::Funds,
    gateway::Gateway,
    halts::{self, Halts, Suppressions},
    heartbeat::{BEAT, Heartbeat},
    in_hand::InHand,
    part_counts::PartCounts,
    permits::Permits,
    raise::Raise,
    store::{Partitions, Store},
    throttle::Leases,
    traces::Traces,
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
    pub leases: Leases,
    pub committer: Committer,
    pub watch: Arc<Watch>,
    pub in_hand: InHand,
    pub part_counts: PartCounts,
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
            leases: self.leases.clone(),
            committer: self.committer.clone(),
            watch: Arc::clone(&self.watch),
            in_hand: self.in_hand.clone(),
            part_counts: self.part_counts.clone(),
        }
    }
}

/// What a running dispatcher offers to its service.
pub struct Dispatching {
    pub evidence: EvidenceInbox,
    /// For what the service itself tells of.
    pub outbox: Outbox,
    /// For the service's internal address.
    pub operator: Operator,
}

/// Takes over what an earlier worker left, and starts the tasks.
pub async fn start<G: Gateway>(parts: Parts<G>) -> Result<Dispatching, DbErr> {
    start_beating(parts, BEAT).await
}

/// With another time between heartbeats, in which all that is said of them is counted: for tests.
pub async fn start_beating<G: Gateway>(
    parts: Parts<G>,
    beat: Duration,
) -> Result<Dispatching, DbErr> {
    let Parts { name, database, broker, clock, stop, key, gateway, funds, permits } = parts;
    let outbox = Outbox::new(name, database.clone(), Arc::clone(&broker), clock.clone());
    let store = Store {
        database: database.clone(),
        outbox: outbox.clone(),
        clock: clock.clone(),
        partitions: Partitions::default(),
        traces: Traces::default(),
    };
    let heartbeat = Heartbeat::begin(store.clone(), beat).await?;
    outbox.spawn(&stop);
    let tenancy = Tenancy::new(database.clone());
    let subscriber = Subscriber::new(name, database, Arc::clone(&broker), clock.clone());
    subscriber.spawn(topology::ORGANISATION_CHANGED, Arc::new(tenancy), &stop);
    subscriber.spawn(topology::BALANCE_RAISED, Arc::new(Raise), &stop);
    let soon = Arc::<Notify>::default();
    let heard = Halts { soon: Arc::clone(&soon) };
    let (waking, stopping) = (store.clone(), stop.clone());
    stop.keep("halts", move || {
        halts::wake_all(waking.clone(), Arc::clone(&soon), stopping.clone())
    });
    subscriber.spawn(topology::CAMPAIGN_HALTED, Arc::new(heard), &stop);
    let suppressions = Suppressions { channel: gateway.channel() };
    subscriber.spawn(topology::SUPPRESSION_CHANGED, Arc::new(suppressions), &stop);
    let beating = heartbeat.clone();
    let watch = Watch::new(clock, Alive::told_by(move |claim| beating.covers(claim)), stop.clone());
    let (watching, sweeping, stopping) = (Arc::clone(&watch), store.clone(), stop.clone());
    stop.keep("clearance", move || Arc::clone(&watching).sweep(sweeping.clone(), stopping.clone()));
    let (applying, stopping) = (store.clone(), stop.clone());
    let channel = gateway.channel().word();
    stop.keep("evidence", move || evidence::apply_all(applying.clone(), channel, stopping.clone()));
    let figures = store.database.clone();
    let operator = Operator::new(name, store.database.clone(), subscriber)
        .with_backlogs(move || figures::backlogs(figures.clone()));
    figures::measure(&permits);
    let offered = Dispatching { evidence: EvidenceInbox(store.clone()), outbox, operator };
    let committer = Committer::spawn(store.clone(), heartbeat.clone(), gateway.channel(), &stop);
    heartbeat.spawn(&committer, &stop);
    let dispatcher = Dispatcher {
        broker,
        committer,
        store,
        key,
        gateway: Arc::new(gateway),
        funds,
        permits,
        leases: Leases::default(),
        watch,
        in_hand: InHand::default(),
        part_counts: PartCounts::new(channel),
    };
    for class in topology::CLASSES {
        stop.spawn("job consumer", dispatcher.clone().consume(class, stop.clone()));
    }
    let stopping = stop.clone();
    stop.keep("retry loop", move || dispatcher.clone().retry(stopping.clone()));
    Ok(offered)
}
