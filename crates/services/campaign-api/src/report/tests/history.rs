//! Random histories of one run: what its planner and its dispatchers did, and the events that
//! told of it.

use std::collections::BTreeMap;

use carillon_contracts::{
    events::v1::{
        BatchPlanned, DeliveryChanged, Event, MessageChange, PlannedBatch, RunDue, RunPlanned,
        Skipped, Totals, event::Body,
    },
    ids::{BatchId, CampaignId, CustomerId, OrganisationId, RunId, pack_customers},
    jobs::v1::Channel,
    time,
    vocabulary::ChannelWord as _,
};
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

const OPEN: [&str; 2] = ["retrying", "throttled"];
const SETTLED: [&str; 4] = ["sent", "failed", "expired", "unknown"];
const SKIPS: [&str; 3] = ["no_address", "unsubscribed", "capped"];

/// A step of the plan: a batch of some size on a channel with its moves, and whom it skipped.
#[derive(Debug, Clone)]
pub(super) struct Step {
    channel: Channel,
    count: usize,
    /// Which message moves, and where to.
    moves: Vec<(usize, Move)>,
    skipped: Vec<(Channel, usize, usize)>,
    /// Whether everything still open settles at the end.
    ends: bool,
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Sending,
    Waiting(usize),
    Settled(usize),
}

#[derive(Debug, Clone)]
pub(super) struct History {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    steps: Vec<Step>,
}

/// What the report must say once everything was told.
#[derive(Default)]
pub(super) struct Truth {
    pub planned: u64,
    pub skipped: BTreeMap<String, u64>,
    pub states: BTreeMap<String, u64>,
    pub waiting: BTreeMap<String, u64>,
    pub parts: u64,
    pub credits: u64,
    /// Customer, channel and what became of the message; sorted.
    pub list: Vec<(Vec<u8>, String, String)>,
}

fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![Just(Channel::Sms), Just(Channel::Email)]
}

fn step() -> impl Strategy<Value = Step> {
    let moved = prop_oneof![
        Just(Move::Sending),
        (0..OPEN.len()).prop_map(Move::Waiting),
        (0..SETTLED.len()).prop_map(Move::Settled),
    ];
    let skipped = (channel(), 0..SKIPS.len(), 1..4_usize);
    (
        channel(),
        1..6_usize,
        proptest::collection::vec((0..6_usize, moved), 0..6),
        proptest::collection::vec(skipped, 0..4),
        any::<bool>(),
    )
        .prop_map(|(channel, count, moves, skipped, ends)| Step {
            channel,
            count,
            moves,
            skipped,
            ends,
        })
}

/// A history, and the order in which its events are told: each at least once, some again.
pub(super) fn histories() -> impl Strategy<Value = (History, Vec<usize>)> {
    proptest::collection::vec(step(), 0..4)
        .prop_map(|steps| History {
            organisation: OrganisationId::new(Uuid::nil()),
            campaign: CampaignId::new(Uuid::nil()),
            steps,
        })
        .prop_flat_map(|history| {
            let events = history.len();
            let again = proptest::collection::vec(0..events, 0..events);
            let order = again
                .prop_map(move |again| (0..events).chain(again).collect::<Vec<usize>>())
                .prop_shuffle();
            (Just(history), order)
        })
}

/// The last word on one message.
#[derive(Clone, Copy, PartialEq)]
enum Now {
    Planned,
    Sending,
    Waiting(usize),
    Settled(usize),
}

impl Now {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Planned => ("planned", ""),
            Self::Sending => ("sending", ""),
            Self::Waiting(reason) => ("queued", OPEN[reason]),
            Self::Settled(state) => (SETTLED[state], ""),
        }
    }

    fn parts(self) -> u64 {
        u64::from(matches!(self, Self::Settled(0 | 3))) * 2
    }

    fn units(self) -> u64 {
        self.parts() * 3
    }
}

fn totals(version: u64, now: &[Now]) -> Totals {
    let mut totals =
        Totals { version, count: u32::try_from(now.len()).expect("few"), ..Totals::default() };
    for message in now {
        let words = message.words();
        match message {
            Now::Planned => totals.unattempted += 1,
            Now::Sending => totals.sending += 1,
            Now::Waiting(_) => *totals.waiting.entry(words.1.into()).or_default() += 1,
            Now::Settled(_) => *totals.settled.entry(words.0.into()).or_default() += 1,
        }
        totals.posted_units += message.units();
        *totals.posted_parts.get_or_insert_default() += message.parts();
    }
    totals
}

impl Step {
    /// Each event of the step's batch: its totals, and the message that changed.
    fn told(&self) -> (Vec<(Totals, MessageChange)>, Vec<Now>) {
        let mut now = vec![Now::Planned; self.count];
        let mut told = Vec::new();
        let ending = (0..self.count).filter(|_| self.ends).map(|at| (at, Move::Settled(0)));
        for (at, moved) in self.moves.iter().copied().chain(ending) {
            let at = at % self.count;
            if matches!(now[at], Now::Settled(_)) {
                continue;
            }
            now[at] = match moved {
                Move::Sending => Now::Sending,
                Move::Waiting(reason) => Now::Waiting(reason),
                Move::Settled(state) => Now::Settled(state),
            };
            let version = told.len() as u64 + 1;
            let (state, reason) = now[at].words();
            let change = MessageChange {
                position: u32::try_from(at).expect("few"),
                state: state.into(),
                reason: reason.into(),
                units: u32::try_from(now[at].units()).expect("few"),
                parts: Some(u32::try_from(now[at].parts()).expect("few")),
                change_time: Some(time::to_wire(Timestamp::UNIX_EPOCH)),
                ..MessageChange::default()
            };
            told.push((totals(version, &now), change));
        }
        (told, now)
    }
}

impl History {
    /// Run due, one step with a batch of two that are both sent, and the plan's end.
    pub(super) fn of_one_batch() -> Self {
        let step = Step {
            channel: Channel::Sms,
            count: 2,
            moves: vec![(0, Move::Sending), (0, Move::Waiting(0))],
            skipped: vec![(Channel::Sms, 0, 1)],
            ends: true,
        };
        let (organisation, campaign) = (OrganisationId::random(), CampaignId::random());
        Self { organisation, campaign, steps: vec![step] }
    }

    pub(super) fn with_new_ids(self) -> Self {
        let (organisation, campaign) = (OrganisationId::random(), CampaignId::random());
        Self { organisation, campaign, ..self }
    }

    fn run(&self) -> RunId {
        RunId::of(self.campaign, "now")
    }

    fn batch(&self, step: usize) -> BatchId {
        let number = u32::try_from(step).expect("few");
        BatchId::of(self.run(), self.steps[step].channel, number)
    }

    fn customer(&self, step: usize, name: &str) -> CustomerId {
        CustomerId::of(self.organisation, &format!("{step}/{name}"))
    }

    fn customers(&self, step: usize) -> Vec<CustomerId> {
        (0..self.steps[step].count).map(|at| self.customer(step, &at.to_string())).collect()
    }

    fn skipped(&self, step: usize) -> Vec<(Channel, &'static str, Vec<CustomerId>)> {
        let entries = self.steps[step].skipped.iter().enumerate();
        entries
            .map(|(entry, (channel, reason, count))| {
                let name = |at| format!("skipped/{entry}/{at}");
                let customers = (0..*count).map(|at| self.customer(step, &name(at))).collect();
                (*channel, SKIPS[*reason], customers)
            })
            .collect()
    }

    /// Run due, run planned, the steps, and then what dispatchers told.
    pub(super) fn len(&self) -> usize {
        self.bodies().len()
    }

    pub(super) fn event(&self, index: usize) -> Event {
        self.wrap(self.bodies().swap_remove(index))
    }

    fn wrap(&self, body: Body) -> Event {
        let organisation_id = self.organisation.to_wire();
        Event { organisation_id, body: Some(body), ..Event::default() }
    }

    fn bodies(&self) -> Vec<Body> {
        let (campaign_id, run_id) = (self.campaign.to_wire(), self.run().to_wire());
        let at = Some(time::to_wire(Timestamp::UNIX_EPOCH));
        let truth = self.truth();
        let mut bodies = vec![
            Body::RunDue(RunDue {
                campaign_id: campaign_id.clone(),
                run_id: run_id.clone(),
                nominal_time: at,
                deadline: at,
                ..RunDue::default()
            }),
            Body::RunPlanned(RunPlanned {
                campaign_id: campaign_id.clone(),
                run_id: run_id.clone(),
                matched: truth.planned + truth.skipped.values().sum::<u64>(),
                planned: truth.planned,
                skipped: truth.skipped,
            }),
        ];
        for (index, step) in self.steps.iter().enumerate() {
            let skipped = self.skipped(index).into_iter().map(|(channel, reason, customers)| {
                let (channel, reason) = (channel.into(), reason.to_owned());
                Skipped { channel, reason, customer_ids: pack_customers(customers) }
            });
            bodies.push(Body::BatchPlanned(BatchPlanned {
                campaign_id: campaign_id.clone(),
                run_id: run_id.clone(),
                run_day: 0,
                step: u32::try_from(index).expect("few"),
                batches: vec![PlannedBatch {
                    batch_id: self.batch(index).to_wire(),
                    channel: step.channel.into(),
                    customer_ids: pack_customers(self.customers(index)),
                }],
                skipped: skipped.collect(),
            }));
        }
        for (index, step) in self.steps.iter().enumerate() {
            for (totals, change) in step.told().0 {
                bodies.push(self.delivery(index, totals, change));
            }
        }
        bodies
    }

    fn delivery(&self, step: usize, totals: Totals, change: MessageChange) -> Body {
        Body::DeliveryChanged(DeliveryChanged {
            campaign_id: self.campaign.to_wire(),
            run_id: self.run().to_wire(),
            batch_id: self.batch(step).to_wire(),
            run_day: 0,
            channel: self.steps[step].channel.into(),
            totals: Some(totals),
            changes: vec![change],
        })
    }

    pub(super) fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        for (index, step) in self.steps.iter().enumerate() {
            truth.planned += step.count as u64;
            for (now, customer) in step.told().1.into_iter().zip(self.customers(index)) {
                let (state, reason) = now.words();
                let (map, word) = match now {
                    Now::Waiting(_) => (Some(&mut truth.waiting), reason),
                    Now::Settled(_) => (Some(&mut truth.states), state),
                    Now::Planned | Now::Sending => (None, state),
                };
                if let Some(map) = map {
                    *map.entry(word.to_owned()).or_default() += 1;
                }
                if step.channel == Channel::Sms {
                    truth.parts += now.parts();
                    truth.credits += now.units();
                }
                let fate = match now {
                    Now::Planned => "planned".to_owned(),
                    _ => format!("{state}/{reason}"),
                };
                let channel = step.channel.word().to_owned();
                truth.list.push((customer.to_wire().to_vec(), channel, fate));
            }
            for (channel, reason, customers) in self.skipped(index) {
                *truth.skipped.entry(reason.to_owned()).or_default() += customers.len() as u64;
                truth.list.extend(customers.into_iter().map(|customer| {
                    let fate = format!("skipped/{reason}");
                    (customer.to_wire().to_vec(), channel.word().to_owned(), fate)
                }));
            }
        }
        truth.list.sort();
        truth
    }

    /// Events about the first batch that can't be true, and why.
    pub(super) fn contradictions(&self) -> Vec<(Event, String)> {
        let (told, _) = self.steps[0].told();
        let (totals, change) = told[0].clone();
        let torn = Totals { unattempted: 7, ..totals.clone() };
        let beyond = MessageChange { position: 2, ..change.clone() };
        let larger = Totals { count: 3, unattempted: 2, version: 9, ..totals.clone() };
        let known = self.delivery(0, totals.clone(), beyond);
        let mut silent = self.delivery(0, totals, change.clone());
        if let Body::DeliveryChanged(changed) = &mut silent {
            changed.totals = None;
        }
        let batch = self.batch(0);
        vec![
            (
                self.wrap(self.delivery(0, torn, change.clone())),
                "report: totals of 2 with 8 open and 0 settled".into(),
            ),
            (self.wrap(known), "report: position 2 of 2".into()),
            (
                self.wrap(self.delivery(0, larger, change)),
                format!("report: batch {batch} has 2 messages, and now 3"),
            ),
            (self.wrap(silent), "report: no totals".into()),
        ]
    }
}
