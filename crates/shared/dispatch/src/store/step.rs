//! One micro-batch in one transaction: what finished is recorded, and what goes next is claimed.
//! Only what a claim answers may be sent.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use carillon_contracts::{
    events::v1::MessageChange,
    ids::BatchId,
    time,
    vocabulary::{MessageState, WaitReason},
};
use carillon_outbox::Outbox;
use carillon_service_kit::{Clock, Database, database::Sql as _};
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};

use super::{
    batches::{self, BatchRow},
    messages::{self, Recorded, Writer, Written},
    totals,
};
use crate::{
    domain::claim::{ASK_AGAIN_MS, Claiming, Terms, Verdict},
    funds::Funding,
    open::Header,
};

/// A dispatcher's tables.
#[derive(Clone)]
pub(crate) struct Store {
    pub database: Database,
    pub outbox: Outbox,
    pub clock: Clock,
}

#[derive(Default)]
pub(crate) struct Step {
    pub epoch: i64,
    pub records: Vec<Record>,
    pub claims: Vec<Claim>,
}

impl Step {
    /// The same work, a step a batch; with the positions of its claims in the whole.
    pub(crate) fn by_batch(self) -> Vec<((i32, BatchId), Self, Vec<usize>)> {
        let mut parts: BTreeMap<(i32, BatchId), (Self, Vec<usize>)> = BTreeMap::new();
        let empty = || (Self { epoch: self.epoch, ..Self::default() }, Vec::new());
        for record in self.records {
            parts.entry(record.key).or_insert_with(empty).0.records.push(record);
        }
        for (index, claim) in self.claims.into_iter().enumerate() {
            let (part, claims) = parts.entry(claim.key).or_insert_with(empty);
            part.claims.push(claim);
            claims.push(index);
        }
        parts.into_iter().map(|(key, (part, claims))| (key, part, claims)).collect()
    }
}

pub(crate) struct Record {
    pub key: (i32, BatchId),
    pub recorded: Recorded,
}

#[derive(Clone)]
pub(crate) struct Claim {
    pub key: (i32, BatchId),
    /// Unique in its worker's epoch.
    pub number: i64,
    /// Messages that may be sent, at most: one for each permit in hand.
    pub permits: usize,
    pub funding: Funding,
    pub kind: ClaimKind,
}

#[derive(Clone)]
pub(crate) enum ClaimKind {
    /// First attempts: each recipient of the range gets a row.
    First {
        header: Arc<Header>,
        range: Range<usize>,
        units: Arc<Vec<u32>>,
        instead: Option<(MessageState, &'static str)>,
        cut: bool,
    },
    /// Later attempts: rows that are due.
    Due,
    /// The delivery ends: what is open goes on from the job kept here.
    Accept { header: Arc<Header>, wanted: i64, job: Arc<Vec<u8>> },
}

/// What may be sent: positions with their attempt.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The number of the claim that this answers.
    pub claim: i64,
    pub claimed: Vec<(usize, u32)>,
    /// Of an `Accept`: nothing of the batch depends on the delivery any more.
    pub accepted: bool,
}

/// What one step does to one batch.
#[derive(Default)]
struct Work {
    records: Vec<Recorded>,
    claims: Vec<(usize, Claim)>,
}

impl Store {
    /// One transaction. The answers stand in the order of the claims. A step that fails leaves
    /// nothing behind.
    pub(crate) async fn step(&self, step: &Step) -> Result<Vec<Answer>, DbErr> {
        let now_ms = self.clock.now_ms();
        let mut answers: Vec<Answer> = step
            .claims
            .iter()
            .map(|claim| Answer { claim: claim.number, ..Answer::default() })
            .collect();
        let mut work: BTreeMap<(i32, BatchId), Work> = BTreeMap::new();
        for record in &step.records {
            work.entry(record.key).or_default().records.push(record.recorded.clone());
        }
        for (index, claim) in step.claims.iter().enumerate() {
            work.entry(claim.key).or_default().claims.push((index, claim.clone()));
        }
        let tx = self.database.begin().await?;
        fence(&tx, step.epoch).await?;
        for (key, work) in work {
            let one = OneBatch { store: self, tx: &tx, epoch: step.epoch, now_ms, key };
            one.apply(work, &mut answers).await?;
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(answers)
    }
}

/// A worker that was declared dead must not claim or record.
async fn fence(tx: &DatabaseTransaction, epoch: i64) -> Result<(), DbErr> {
    let sql = "SELECT 1 FROM workers WHERE epoch = $1 AND dead = 0";
    match tx.row(sql, [epoch.into()]).await? {
        Some(_) => Ok(()),
        None => Err(DbErr::Custom(format!("worker epoch {epoch} is dead"))),
    }
}

struct OneBatch<'a> {
    store: &'a Store,
    tx: &'a DatabaseTransaction,
    epoch: i64,
    now_ms: i64,
    key: (i32, BatchId),
}

impl OneBatch<'_> {
    async fn apply(&self, work: Work, answers: &mut [Answer]) -> Result<(), DbErr> {
        let (run_day, batch) = self.key;
        for (_, claim) in &work.claims {
            match &claim.kind {
                ClaimKind::First { header, units, .. } => {
                    let wanted = units.iter().map(|units| i64::from(*units)).sum();
                    batches::insert_missing(self.tx, header, wanted).await?;
                }
                ClaimKind::Accept { header, wanted, .. } => {
                    batches::insert_missing(self.tx, header, *wanted).await?;
                }
                ClaimKind::Due => {}
            }
        }
        let Some(mut row) = batches::read(self.tx, run_day, batch).await? else {
            return Ok(());
        };
        let mut changes = Vec::new();
        if !work.records.is_empty() {
            let (epoch, now_ms) = (self.epoch, self.now_ms);
            changes = messages::record(self.tx, run_day, epoch, now_ms, &work.records).await?;
        }
        let mut accepting = Vec::new();
        for (index, claim) in work.claims {
            if matches!(claim.kind, ClaimKind::Accept { .. }) {
                accepting.push(index);
            }
            answers[index].claimed = self.claim(claim, &mut row, &mut changes).await?;
        }
        if !accepting.is_empty() || !changes.is_empty() {
            let outbox = &self.store.outbox;
            let accepted =
                totals::publish(self.tx, outbox, self.key, &row, changes, self.now_ms).await?;
            accepting.into_iter().for_each(|index| answers[index].accepted = accepted);
        }
        Ok(())
    }

    async fn claim(
        &self,
        claim: Claim,
        row: &mut BatchRow,
        changes: &mut Vec<MessageChange>,
    ) -> Result<Vec<(usize, u32)>, DbErr> {
        let (run_day, batch) = self.key;
        let mut funding = claim.funding;
        let mut ask_again_ms = self.now_ms + ASK_AGAIN_MS;
        if let Funding::Granted { units, raises } = &mut funding {
            batches::raise_grant(self.tx, run_day, batch, *units).await?;
            row.granted = row.granted.max(*units);
            *units = row.granted;
            if batches::raises(self.tx, row.organisation).await? != *raises {
                ask_again_ms = self.now_ms;
            }
        }
        let mut terms = Terms {
            now_ms: self.now_ms,
            deadline_ms: row.deadline_ms,
            instead: None,
            funding,
            ask_again_ms,
            cut: false,
        };
        match claim.kind {
            ClaimKind::First { header, range, units, instead, cut } => {
                (terms.instead, terms.cut) = (instead, cut);
                let claiming = self.claiming(terms, claim.permits).await?;
                self.first(claim.number, &header, range, &units, claiming, changes).await
            }
            ClaimKind::Due => {
                let claiming = self.claiming(terms, claim.permits).await?;
                self.due(claim.number, terms, claiming, changes).await
            }
            ClaimKind::Accept { job, .. } => {
                let count = totals::count(self.tx, batch).await?;
                if !job.is_empty() && count.is_attempted(row) && !count.is_closed(row) {
                    batches::store_job(self.tx, run_day, batch, &job).await?;
                    row.has_job = true;
                }
                Ok(Vec::new())
            }
        }
    }

    async fn claiming(&self, terms: Terms, permits: usize) -> Result<Claiming, DbErr> {
        let used = match terms.funding {
            Funding::Granted { .. } => messages::used(self.tx, self.key.1).await?,
            Funding::Free | Funding::Unavailable => 0,
        };
        Ok(Claiming::new(terms, used, permits))
    }

    fn writer(&self, claim: i64) -> Writer {
        Writer { epoch: self.epoch, claim, now_ms: self.now_ms }
    }

    async fn first(
        &self,
        claim: i64,
        header: &Header,
        range: Range<usize>,
        units: &[u32],
        mut claiming: Claiming,
        changes: &mut Vec<MessageChange>,
    ) -> Result<Vec<(usize, u32)>, DbErr> {
        let (run_day, batch) = self.key;
        let present = messages::present(self.tx, batch, &range).await?;
        let rows: Vec<Written> = range
            .filter(|position| !present.contains(position))
            .map(|position| {
                let units = units.get(position).copied().unwrap_or_default();
                let verdict = claiming.decide(units, false);
                write(verdict, header.message(position), as_u32(position), 0, units)
            })
            .collect();
        let inserted = messages::insert(self.tx, run_day, batch, self.writer(claim), &rows).await?;
        let rows = rows.into_iter().filter(|row| inserted.contains(&row.position));
        Ok(self.sort_out(rows, changes))
    }

    async fn due(
        &self,
        claim: i64,
        terms: Terms,
        mut claiming: Claiming,
        changes: &mut Vec<MessageChange>,
    ) -> Result<Vec<(usize, u32)>, DbErr> {
        let (run_day, batch) = self.key;
        let late = terms.now_ms >= terms.deadline_ms;
        let queued = messages::queued(self.tx, batch, self.now_ms, late).await?;
        let mut rows = Vec::new();
        for row in queued {
            let verdict = claiming.decide(row.units, row.attempt > 0);
            // Out of permits: it stays due, and the next claim finds it.
            if matches!(verdict, Verdict::Wait { reason: WaitReason::Backlog, .. }) {
                continue;
            }
            let written = write(verdict, row.message, row.position, row.attempt, row.units);
            let same = written.state == MessageState::Queued && written.reason == row.reason;
            rows.push((written, same));
        }
        let (written, same): (Vec<Written>, Vec<bool>) = rows.into_iter().unzip();
        messages::update_queued(self.tx, run_day, self.writer(claim), &written).await?;
        batches::refresh_due(self.tx, run_day, batch).await?;
        let told = written.into_iter().zip(same).filter(|(_, same)| !same).map(|(row, _)| row);
        Ok(self.sort_out(told, changes))
    }

    /// What may be sent goes into the answer; what changed otherwise is told.
    fn sort_out(
        &self,
        rows: impl Iterator<Item = Written>,
        changes: &mut Vec<MessageChange>,
    ) -> Vec<(usize, u32)> {
        let mut claimed = Vec::new();
        for row in rows {
            if row.state == MessageState::Sending {
                claimed.push((row.position as usize, row.attempt));
                continue;
            }
            changes.push(MessageChange {
                position: row.position,
                state: row.state.word().into(),
                reason: row.reason.into(),
                units: row.units,
                attempt: row.attempt,
                change_time: Timestamp::from_millisecond(self.now_ms).ok().map(time::to_wire),
                provider_code: String::new(),
            });
        }
        claimed
    }
}

fn write(
    verdict: Verdict,
    message: carillon_contracts::ids::MessageId,
    position: u32,
    attempt: u32,
    units: u32,
) -> Written {
    let (state, reason, attempt, next_attempt_ms) = match verdict {
        Verdict::Send => (MessageState::Sending, "", attempt + 1, None),
        Verdict::Wait { reason, until_ms } => {
            (MessageState::Queued, reason.word(), attempt, Some(until_ms))
        }
        Verdict::Settle { state, reason } => (state, reason, attempt, None),
    };
    Written { message, position, state, reason, attempt, units, next_attempt_ms }
}

fn as_u32(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
