//! What can happen next, in words for the traces.

use std::fmt;

use crate::state::{BILLING, Fate, Order};

type Slot = usize;
type Batch = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Plan,
    /// A second planner reads the cursor before it has the run; and then stores its step.
    ReadCursor,
    PlanLate,
    /// An order is given, and stands at this place among them; the dispatchers' database handles its event.
    Give(usize, Order),
    Hear(usize, Order),
    /// The last order was answered "in effect", and two seconds pass.
    InEffect,
    Release(Batch),
    Receive(Slot, Batch),
    Hold(Slot, Batch),
    /// The flag: the commit's answer is late, and may never come.
    Claim(Slot, bool),
    Retry(Slot, Batch, bool),
    /// A worker calls for the claim at this place in its memory; the flag: the provider took the message.
    Call(Slot, usize, Fate, bool),
    GiveBack(Slot, usize),
    /// The late answer to a claim comes, or the worker gives it up.
    Arrive(Slot),
    GiveUp(Slot),
    /// The flag: the commit's answer is lost, so it is recorded again.
    Record(Slot, bool),
    ReadBack(Slot),
    StoreBlock(Slot),
    Ack(Slot),
    NewEpoch(Slot),
    Takeover(Batch),
    Sweep(Batch),
    Restart(Slot),
    Publish(usize),
    Handle(usize, usize),
    /// Evidence: a receipt for what the provider took, or its proof that it took nothing.
    Evidence(usize),
    Credit,
    Deadline,
    Kill(Slot),
    DeclareDead(Slot),
    Lapse(Slot, usize),
    Wipe,
    RepeatJob(Batch),
    CutConnection(Slot),
    RepeatEvent(usize, usize),
}

impl Action {
    /// Faults and the provider's whims are spent from a budget; everything else is the protocol at work.
    pub fn is_fault(self) -> bool {
        match self {
            Action::Claim(_, lost) | Action::Retry(_, _, lost) | Action::Record(_, lost) => lost,
            Action::Call(_, _, fate, _) => fate != Fate::Sent,
            // A first order may come; whoever gave it goes on to give the next.
            Action::Give(place, _) => place == 0,
            Action::Evidence(_)
            | Action::Kill(_)
            | Action::DeclareDead(_)
            | Action::Lapse(..)
            | Action::Wipe
            | Action::RepeatJob(_)
            | Action::CutConnection(_)
            | Action::RepeatEvent(..) => true,
            _ => false,
        }
    }
}

fn name(slot: Slot) -> char {
    if slot == 0 { 'A' } else { 'B' }
}

fn late(flag: bool) -> &'static str {
    if flag { ", and the answer is late" } else { "" }
}

fn lost(flag: bool) -> &'static str {
    if flag { ", and the answer is lost" } else { "" }
}

fn subscriber(number: usize) -> &'static str {
    if number == BILLING { "billing" } else { "the report" }
}

fn outcome(fate: Fate, taken: bool) -> &'static str {
    match (fate, taken) {
        (Fate::Sent, _) => "the provider takes it and says so",
        (Fate::Doubt, true) => "the provider takes it, the answer is lost",
        (Fate::Doubt, false) => "the call is lost, in doubt",
        (Fate::Transient, _) => "not taken, try later",
        (Fate::Permanent, _) => "refused for good",
        (Fate::OnTheWay | Fate::NotYetCalled | Fate::GivenBack, _) => "nothing happens",
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Action::Plan => write!(f, "the next step of the plan is stored"),
            Action::ReadCursor => write!(f, "a second planner reads the cursor, and is held up"),
            Action::PlanLate => write!(f, "the second planner stores the step that it read for"),
            Action::Give(_, order) => write!(f, "somebody orders: {order:?}"),
            Action::Hear(_, order) => write!(f, "the dispatchers' database handles: {order:?}"),
            Action::InEffect => write!(f, "\"in effect\" is answered, and two seconds pass"),
            Action::Release(batch) => {
                write!(f, "the job of batch {batch} is released to the broker")
            }
            Action::Takeover(batch) => {
                write!(f, "rows of dead epochs in batch {batch} are taken over")
            }
            Action::Sweep(batch) => {
                write!(f, "the sweep settles what may not be sent of batch {batch}")
            }
            Action::Publish(place) => write!(f, "the relay publishes outbox row {place}"),
            Action::Handle(who, place) => {
                write!(f, "{} handles the event of outbox row {place}", subscriber(who))
            }
            Action::Evidence(message) => {
                write!(f, "the provider tells what became of message {message}")
            }
            Action::Credit => write!(f, "a credit is added"),
            Action::Deadline => write!(f, "the deadline passes"),
            Action::Wipe => write!(f, "WIPE the broker"),
            Action::RepeatJob(batch) => write!(f, "REPEAT: the broker holds batch {batch} twice"),
            Action::RepeatEvent(who, place) => {
                write!(f, "REPEAT: {} is sent outbox row {place} again", subscriber(who))
            }
            _ => self.fmt_of_a_worker(f),
        }
    }
}

impl Action {
    fn fmt_of_a_worker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, does) = match *self {
            Action::Receive(slot, batch) => (slot, format!("receives batch {batch}")),
            Action::Hold(slot, batch) => (slot, format!("asks billing to hold for batch {batch}")),
            Action::Claim(slot, gone) => (slot, format!("claims from its delivery{}", late(gone))),
            Action::Retry(slot, batch, gone) => {
                (slot, format!("claims due rows of batch {batch} again{}", late(gone)))
            }
            Action::Arrive(slot) => (slot, "hears the answer to its claim".to_owned()),
            Action::GiveUp(slot) => {
                (slot, "gives up waiting for the answer to its claim".to_owned())
            }
            Action::Call(slot, place, fate, taken) => {
                (slot, format!("calls for its claim {place}: {}", outcome(fate, taken)))
            }
            Action::GiveBack(slot, place) => (slot, format!("may not call for its claim {place}")),
            Action::Record(slot, gone) => (slot, format!("records what finished{}", lost(gone))),
            Action::ReadBack(slot) => (slot, "reads back rows it does not hold".to_owned()),
            Action::StoreBlock(slot) => (slot, "stores its delivery's sealed block".to_owned()),
            Action::Ack(slot) => (slot, "acks its delivery".to_owned()),
            Action::NewEpoch(slot) => (slot, "finds its epoch dead and takes a new one".to_owned()),
            Action::Restart(slot) => (slot, "starts again".to_owned()),
            Action::Kill(slot) => (slot, "is KILLED".to_owned()),
            Action::DeclareDead(slot) => {
                (slot, "is declared dead while it runs: a ZOMBIE".to_owned())
            }
            Action::Lapse(slot, place) => {
                (slot, format!("LAPSES: its checks fail for claim {place}"))
            }
            Action::CutConnection(slot) => {
                (slot, "is CUT off: its delivery goes back to the queue".to_owned())
            }
            _ => return write!(f, "{self:?}"),
        };
        write!(f, "worker {} {does}", name(slot))
    }
}
