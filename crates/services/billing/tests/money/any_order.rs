//! Whatever comes in whatever order, the account's sum and the ledger hold.

use std::sync::Arc;

use carillon_broker::memory::MemoryBroker;
use carillon_contracts::events::v1::Totals;
use proptest::{prelude::*, sample::Index};

use crate::world::{Billing, totals};

const BATCHES: usize = 4;

#[derive(Debug, Clone)]
enum Act {
    Credit(i64),
    /// The dispatcher asks for the whole batch's units.
    Hold(usize),
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
        4 => (batch.clone(), 1_usize..20, 0_usize..4)
            .prop_map(|(batch, sends, refused)| Act::Send { batch, sends, refused }),
        1 => batch.prop_map(Act::Disproved),
        3 => prop::collection::vec(any::<Index>(), 1..5).prop_map(Act::Hear),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..30)
}

/// A batch as its dispatcher has it.
struct Batch {
    /// Units of each message.
    units: Vec<i64>,
    /// Messages that are settled, from the first on; whether each was posted.
    settled: Vec<bool>,
    granted: i64,
    version: u64,
}

impl Batch {
    fn new(number: usize) -> Self {
        let units = (0..15).map(|message| 1 + ((message + number) % 3) as i64).collect();
        Self { units, settled: Vec::new(), granted: 0, version: 0 }
    }

    fn wanted(&self) -> i64 {
        self.units.iter().sum()
    }

    fn posted(&self) -> i64 {
        let settled = self.units.iter().zip(&self.settled);
        settled.filter(|(_, posted)| **posted).map(|(units, _)| units).sum()
    }

    fn is_closed(&self) -> bool {
        self.settled.len() == self.units.len()
    }

    /// Never more than was granted; the first `refused` of them cost nothing.
    fn send(&mut self, sends: usize, refused: usize) -> Option<Totals> {
        let before = self.settled.len();
        for number in 0..sends {
            let Some(units) = self.units.get(self.settled.len()) else { break };
            if self.posted() + units > self.granted {
                break;
            }
            self.settled.push(number >= refused);
        }
        (self.settled.len() > before).then(|| self.totals())
    }

    fn disprove(&mut self) -> Option<Totals> {
        let posted = self.settled.iter().rposition(|posted| *posted)?;
        self.settled[posted] = false;
        Some(self.totals())
    }

    /// What is left ends without being sent.
    fn end(&mut self) -> Totals {
        self.settled.resize(self.units.len(), false);
        self.totals()
    }

    fn totals(&mut self) -> Totals {
        self.version += 1;
        let open: i64 = self.units[self.settled.len()..].iter().sum();
        let (needed, posted) = ((self.posted() + open) as u64, self.posted() as u64);
        totals(self.version, needed, posted, self.is_closed())
    }
}

struct Trial {
    billing: Billing,
    batches: Vec<Batch>,
    /// Every word that was ever said of a batch.
    said: Vec<(u128, Totals)>,
}

impl Trial {
    async fn act(&mut self, step: usize, act: &Act) {
        match act {
            Act::Credit(amount) => {
                let _ = self.billing.credit(*amount, &step.to_string()).await.unwrap();
            }
            Act::Hold(number) => {
                let batch = &mut self.batches[*number];
                let granted = self.billing.hold(*number as u128, batch.wanted()).await;
                assert!(granted <= batch.wanted());
                // An answer may be older than the last one.
                batch.granted = batch.granted.max(granted);
            }
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

    /// Every batch ends, all that was ever said is heard once more, the last word first.
    async fn end(&mut self) {
        for (number, batch) in self.batches.iter_mut().enumerate() {
            let last = batch.end();
            self.said.push((number as u128, last));
        }
        self.said.reverse();
        self.billing.tell(&self.said).await;
        let account = self.billing.account().await;
        let posted: i64 = self.batches.iter().map(Batch::posted).sum();
        assert_eq!((account.held, account.spent), (0, posted));
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
            let mut trial = Trial { billing, batches, said: Vec::new() };
            for (step, act) in acts.iter().enumerate() {
                trial.act(step, act).await;
            }
            trial.end().await;
        });
    }
}
