//! Whatever comes in whatever order, the account's sum and the ledger hold, and no credit lies
//! where no message can use it.

use std::sync::Arc;

use carillon_broker::memory::MemoryBroker;
use carillon_contracts::events::v1::Totals;
use proptest::{prelude::*, sample::Index};

use crate::world::{Billing, totals};

const BATCHES: usize = 4;

#[derive(Debug, Clone)]
enum Act {
    Credit(i64),
    /// The dispatcher asks for what the batch has still to pay for.
    Hold(usize),
    /// An earlier question arrives again, out of date by now.
    HoldAgain(Index),
    /// The dispatcher sends what it was granted, as far as `sends` goes; some are refused.
    Send {
        batch: usize,
        sends: usize,
        refused: usize,
    },
    /// Late proof that a message was never accepted.
    Disproved(usize),
    /// Totals of any time so far arrive, perhaps for the second time.
    Hear(Vec<Index>),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let batch = 0..BATCHES;
    let act = prop_oneof![
        2 => (1_i64..60).prop_map(Act::Credit),
        4 => batch.clone().prop_map(Act::Hold),
        2 => any::<Index>().prop_map(Act::HoldAgain),
        4 => (batch.clone(), 1_usize..20, 0_usize..4)
            .prop_map(|(batch, sends, refused)| Act::Send { batch, sends, refused }),
        1 => batch.prop_map(Act::Disproved),
        3 => prop::collection::vec(any::<Index>(), 1..5).prop_map(Act::Hear),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..30)
}

/// What the dispatcher asks of billing.
#[derive(Debug, Clone)]
struct Question {
    batch: usize,
    used: i64,
    units: Vec<u32>,
}

/// A batch as its dispatcher has it.
struct Batch {
    /// Units of each message.
    units: Vec<u32>,
    /// What became of each; `None` while it waits, else whether it was posted.
    ends: Vec<Option<bool>>,
    granted: i64,
    returned: i64,
    version: u64,
}

impl Batch {
    fn new(number: usize) -> Self {
        let units: Vec<u32> = (0..15).map(|message| 1 + (message + number as u32) % 5).collect();
        let ends = vec![None; units.len()];
        Self { units, ends, granted: 0, returned: 0, version: 0 }
    }

    fn sum(&self, of: impl Fn(Option<bool>) -> bool) -> i64 {
        let each = self.units.iter().zip(&self.ends);
        each.filter(|(_, end)| of(**end)).map(|(units, _)| i64::from(*units)).sum()
    }

    fn wanted(&self) -> i64 {
        self.sum(|_| true)
    }

    fn posted(&self) -> i64 {
        self.sum(|end| end == Some(true))
    }

    fn waiting(&self) -> Vec<u32> {
        let each = self.units.iter().zip(&self.ends);
        each.filter(|(_, end)| end.is_none()).map(|(units, _)| *units).collect()
    }

    fn left(&self) -> i64 {
        self.granted - self.returned - self.posted()
    }

    /// Never more than was granted, in order, and one that fits is not held up by one that does
    /// not; the first `refused` of them cost nothing.
    fn send(&mut self, sends: usize, refused: usize) -> Option<Totals> {
        let mut sent = 0;
        for message in 0..self.units.len() {
            let fits = i64::from(self.units[message]) <= self.left();
            if self.ends[message].is_none() && fits && sent < sends {
                self.ends[message] = Some(sent >= refused);
                sent += 1;
            }
        }
        self.give_back();
        (sent > 0).then(|| self.totals())
    }

    fn give_back(&mut self) {
        let cheapest = self.waiting().into_iter().min().map(i64::from);
        if cheapest.is_some_and(|cheapest| self.left() < cheapest) {
            self.returned += self.left();
        }
    }

    fn disprove(&mut self) -> Option<Totals> {
        let posted = self.ends.iter().rposition(|end| *end == Some(true))?;
        self.ends[posted] = Some(false);
        self.give_back();
        Some(self.totals())
    }

    /// What is left ends without being sent.
    fn end(&mut self) -> Totals {
        for end in &mut self.ends {
            end.get_or_insert(false);
        }
        self.totals()
    }

    fn totals(&mut self) -> Totals {
        self.version += 1;
        let needed = self.sum(|end| end != Some(false)) as u64;
        let closed = self.waiting().is_empty();
        let totals = totals(self.version, needed, self.posted() as u64, closed);
        Totals { returned_units: self.returned as u64, ..totals }
    }
}

struct Trial {
    billing: Billing,
    batches: Vec<Batch>,
    /// Every word that was ever said of a batch.
    said: Vec<(u128, Totals)>,
    asked: Vec<Question>,
}

impl Trial {
    async fn act(&mut self, step: usize, act: &Act) {
        match act {
            Act::Credit(amount) => {
                let _ = self.billing.credit(*amount, &step.to_string()).await.unwrap();
            }
            Act::Hold(batch) => self.ask_anew(*batch).await,
            Act::HoldAgain(which) if !self.asked.is_empty() => {
                self.ask(which.get(&self.asked).clone()).await;
            }
            Act::HoldAgain(_) => {}
            Act::Send { batch, sends, refused } => {
                let said = self.batches[*batch].send(*sends, *refused);
                self.said.extend(said.map(|totals| (*batch as u128, totals)));
            }
            Act::Disproved(batch) => {
                let said = self.batches[*batch].disprove();
                self.said.extend(said.map(|totals| (*batch as u128, totals)));
            }
            Act::Hear(which) if !self.said.is_empty() => {
                let heard: Vec<_> =
                    which.iter().map(|index| index.get(&self.said).clone()).collect();
                self.billing.tell(&heard).await;
            }
            Act::Hear(_) => {}
            Act::Restart => self.billing.restart().await,
        }
        self.billing.account().await;
    }

    async fn ask_anew(&mut self, number: usize) {
        let batch = &self.batches[number];
        let units = batch.waiting();
        if !units.is_empty() {
            let question = Question { batch: number, used: batch.posted(), units };
            self.asked.push(question.clone());
            self.ask(question).await;
        }
    }

    async fn ask(&mut self, question: Question) {
        let Question { batch: number, used, units } = question;
        let batch = &mut self.batches[number];
        let granted = self.billing.ask(number as u128, batch.wanted(), used, &units).await;
        assert!(granted - batch.returned <= batch.wanted());
        // An answer may be older than the last one.
        batch.granted = batch.granted.max(granted);
    }

    /// Every batch asks and sends until none gets any further: then no message that waits could
    /// be paid by all that is there.
    async fn settle_down(&mut self) {
        loop {
            let (sent, before) = (self.posted(), self.billing.account().await);
            for number in 0..BATCHES {
                self.ask_anew(number).await;
                let batch = &mut self.batches[number];
                batch.send(usize::MAX, 0);
                batch.give_back();
                let last = batch.totals();
                self.said.push((number as u128, last));
            }
            let last = self.said[self.said.len() - BATCHES..].to_vec();
            self.billing.tell(&last).await;
            if sent == self.posted() && before == self.billing.account().await {
                break;
            }
        }
        let account = self.billing.account().await;
        assert_eq!((account.held, account.spent), (0, self.posted()));
        let waiting = self.batches.iter().flat_map(Batch::waiting).min();
        let stranded = waiting.is_some_and(|units| i64::from(units) <= account.available);
        assert!(!stranded, "a message of {waiting:?} waits beside {account:?}");
    }

    fn posted(&self) -> i64 {
        self.batches.iter().map(Batch::posted).sum()
    }

    /// Every batch ends, all that was ever said is heard once more, the last word first.
    async fn end(&mut self) {
        for (number, batch) in self.batches.iter_mut().enumerate() {
            let last = batch.end();
            self.said.push((number as u128, last));
        }
        self.said.reverse();
        self.billing.tell(&self.said).await;
        let account = self.billing.account().await;
        assert_eq!((account.held, account.spent), (0, self.posted()));
        for (number, batch) in self.batches.iter().enumerate() {
            let before = account.available;
            self.billing.hold(number as u128, batch.wanted()).await;
            assert_eq!(self.billing.account().await.available, before, "a closed batch gets none");
        }
        self.billing.ledger().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_sum_and_the_ledger_hold_whatever_comes_in_whatever_order(acts in acts()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            // The broker is not what is asked about here.
            let billing = Billing::on(Arc::new(MemoryBroker::new())).await;
            let batches = (0..BATCHES).map(Batch::new).collect();
            let mut trial = Trial { billing, batches, said: Vec::new(), asked: Vec::new() };
            for (step, act) in acts.iter().enumerate() {
                trial.act(step, act).await;
            }
            trial.settle_down().await;
            trial.end().await;
        });
    }
}
