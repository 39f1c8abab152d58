//! One micro-batch in one transaction: what finished is recorded, and what goes next is claimed.
//! Only what a claim answers may be sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use carillon_contracts::{
    events::v1::{Halt, MessageChange},
    ids::{BatchId, CampaignId},
    time,
    vocabulary::{MessageState, WaitReason},
};
use carillon_outbox::Outbox;
use carillon_service_kit::{Clock, Database, faults};
use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};

use super::{
    Key, as_u32, batches,
    fence::fence,
    halts,
    messages::{self, ClaimId, Claimed, Found, Recorded, Writing, Written},
    one_claim::OneClaim,
    partitions::Partitions,
    record,
    totals::{self, Book, by_day},
};
use crate::{
    domain::{
        addressee::{Addressee, End},
        claim::{ASK_AGAIN_MS, Terms, Verdict},
    },
    funds::Funding,
    gateway::Account,
    open::Header,
    traces::Traces,
};

/// How a message of a cancelled campaign ends.
pub(crate) const CANCELLED: End = (MessageState::Cancelled, "campaign_cancelled");

/// A dispatcher's tables.
#[derive(Clone)]
pub(crate) struct Store {
    pub database: Database,
    pub outbox: Outbox,
    pub clock: Clock,
    pub partitions: Partitions,
    pub traces: Traces,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Database(#[from] DbErr),
    /// Another worker declared this one dead: it claims nothing before it has a new epoch.
    #[error("the worker's epoch is dead")]
    Fenced,
}

#[derive(Default)]
pub(crate) struct Step {
    /// Claims are made under this epoch; records bring their claim's own.
    pub epoch: i64,
    pub records: Vec<Record>,
    pub claims: Vec<Claim>,
}

impl Step {
    /// The same work, a step a batch; with the positions of its claims in the whole.
    pub(crate) fn by_batch(self) -> Vec<(Key, Self, Vec<usize>)> {
        let mut parts: BTreeMap<Key, (Self, Vec<usize>)> = BTreeMap::new();
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

    /// Of what is to be sent. Past the deadline it no longer matters.
    fn campaigns(&self) -> BTreeSet<CampaignId> {
        let headers = self.claims.iter().filter_map(|claim| match &claim.kind {
            ClaimKind::First { header, .. } => Some(header),
            ClaimKind::Due { header, .. } => header.as_ref(),
            ClaimKind::Accept { .. } => None,
        });
        headers.map(|header| header.campaign).collect()
    }

    fn days(&self) -> BTreeMap<i32, BTreeSet<BatchId>> {
        let records = self.records.iter().map(|record| record.key);
        by_day(records.chain(self.claims.iter().map(|claim| claim.key)))
    }
}

pub(crate) struct Record {
    pub key: Key,
    pub recorded: Recorded,
}

#[derive(Clone)]
pub(crate) struct Claim {
    pub key: Key,
    /// Unique in its process.
    pub number: i64,
    /// Messages that may be sent, at most: one for each permit in hand.
    pub permits: usize,
    pub funding: Funding,
    /// What the messages would leave through; absent where none may be sent.
    pub account: Option<Arc<Account>>,
    /// Every recipient of the batch; nobody where all are only settled.
    pub addressees: Arc<Vec<Addressee>>,
    pub kind: ClaimKind,
}

impl Claim {
    /// The batch that the claim may be the first to hear of, with the units it asks for.
    fn introduces(&self) -> Option<(&Header, i64)> {
        match &self.kind {
            // Later parts of a delivery follow a first one.
            ClaimKind::First { header, range, .. } if range.start == 0 => {
                Some((header, self.addressees.iter().map(|one| i64::from(one.units)).sum()))
            }
            ClaimKind::Accept { header, wanted, .. } => Some((header, *wanted)),
            ClaimKind::First { .. } | ClaimKind::Due { .. } => None,
        }
    }
}

#[derive(Clone)]
pub(crate) enum ClaimKind {
    /// First attempts: each recipient of the range gets a row.
    First {
        header: Arc<Header>,
        range: Range<usize>,
        instead: Option<End>,
        wait: Option<(WaitReason, i64)>,
    },
    /// Later attempts: rows that are due. Without a header they are only settled.
    Due {
        header: Option<Arc<Header>>,
        instead: Option<End>,
        wait: Option<(WaitReason, i64)>,
        which: Which,
    },
    /// The delivery ends: what is open goes on from the job kept here.
    Accept { header: Arc<Header>, wanted: i64, job: Arc<Vec<u8>> },
}

/// Which of the due rows a claim takes. What is only settled is taken whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// What may leave through its account: what is doubtful elsewhere may not.
    Ours,
    /// What is doubtful at its account, and nothing else.
    Doubtful,
}

/// What may be sent.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The claim that this answers.
    pub claim: ClaimId,
    pub claimed: Vec<Claimed>,
    /// Accounts at which rows that are due, and were left so, are doubtful.
    pub elsewhere: BTreeSet<String>,
    /// Of an `Accept`: nothing of the batch depends on the delivery any more.
    pub accepted: bool,
}

/// What the claims of a step write, all batches together.
#[derive(Default)]
struct Writes {
    first: Vec<(Key, usize, Writing)>,
    later: Vec<(Key, Writing)>,
}

impl Store {
    /// One transaction. The answers stand in the order of the claims. A step that fails leaves
    /// nothing behind; one whose answer was lost may be carried out again as it is: it answers
    /// what its claims took the first time, too.
    pub(crate) async fn step(&self, step: &Step) -> Result<Vec<Answer>, StepError> {
        let now_ms = self.clock.now_ms();
        let introduced: Vec<_> = step.claims.iter().filter_map(Claim::introduces).collect();
        for (header, _) in &introduced {
            self.partitions.ensure(&self.database, header.run_day).await?;
        }
        let tx = self.database.begin().await?;
        if !step.claims.is_empty() {
            fence(&tx, step.epoch, &step.campaigns()).await?;
        }
        batches::insert_missing(&tx, &introduced).await?;
        let mut books = open_books(&tx, step, now_ms).await?;
        for (header, wanted) in introduced {
            let book = books.get_mut(&(header.run_day, header.batch));
            if let Some(book) = book.filter(|book| book.row.wanted < wanted) {
                batches::raise_wanted(&tx, header, wanted).await?;
                book.row.wanted = wanted;
            }
        }
        let one = OneStep { tx: &tx, epoch: step.epoch, now_ms };
        let answers = one.claim_all(&step.claims, &mut books).await?;
        totals::publish_all(&tx, self, &mut books, now_ms).await?;
        let answers = answers.into_iter().zip(&step.claims).map(|(mut answer, claim)| {
            let accepts = matches!(claim.kind, ClaimKind::Accept { .. });
            answer.accepted =
                accepts && books.get(&claim.key).is_some_and(|book| book.row.accepted);
            answer
        });
        let answers = answers.collect();
        faults::commit(tx, "dispatch.step").await?;
        self.outbox.wake();
        Ok(answers)
    }
}

/// Locks the batches, records what finished, and counts what the rows say then.
async fn open_books(
    tx: &DatabaseTransaction,
    step: &Step,
    now_ms: i64,
) -> Result<BTreeMap<Key, Book>, DbErr> {
    let mut books = BTreeMap::new();
    let mut rows = BTreeMap::new();
    let days = step.days();
    for (run_day, batches) in &days {
        rows.extend(batches::lock(tx, *run_day, batches).await?);
    }
    for (run_day, batches) in &days {
        let records: Vec<&Recorded> = step
            .records
            .iter()
            .filter(|record| record.key.0 == *run_day)
            .map(|record| &record.recorded)
            .collect();
        let mut changes = BTreeMap::new();
        if !records.is_empty() {
            changes = record::record(tx, *run_day, now_ms, &records).await?;
        }
        for (key, count) in totals::count(tx, *run_day, batches).await? {
            if let Some(row) = rows.remove(&key) {
                let changes = changes.remove(&key.1).unwrap_or_default();
                books.insert(key, Book::new(row, count, changes));
            }
        }
    }
    Ok(books)
}

/// What somebody decided about the whole campaign comes first.
fn halted(terms: Terms, halt: Halt) -> Terms {
    match halt {
        _ if terms.instead.is_some() => terms,
        Halt::Cancelled => Terms { instead: Some(CANCELLED), ..terms },
        Halt::Paused => Terms { wait: Some((WaitReason::Paused, terms.deadline_ms)), ..terms },
        Halt::Running | Halt::Unspecified => terms,
    }
}

struct OneStep<'a> {
    tx: &'a DatabaseTransaction,
    epoch: i64,
    now_ms: i64,
}

impl OneStep<'_> {
    async fn claim_all(
        &self,
        claims: &[Claim],
        books: &mut BTreeMap<Key, Book>,
    ) -> Result<Vec<Answer>, DbErr> {
        let mut writes = Writes::default();
        let mut answers = Vec::with_capacity(claims.len());
        for (index, claim) in claims.iter().enumerate() {
            let id = ClaimId { epoch: self.epoch, number: claim.number };
            let mut answer = Answer { claim: id, ..Answer::default() };
            if let Some(book) = books.get_mut(&claim.key) {
                answer = self.claim(index, id, claim, book, &mut writes).await?;
            }
            answers.push(answer);
        }
        self.write_first(writes.first, books, &mut answers).await?;
        self.write_later(writes.later).await?;
        Ok(answers)
    }

    /// Answers what the claim took already, or takes in a later attempt.
    async fn claim(
        &self,
        index: usize,
        id: ClaimId,
        claim: &Claim,
        book: &mut Book,
        writes: &mut Writes,
    ) -> Result<Answer, DbErr> {
        let mut funding = claim.funding;
        if let Funding::Granted { units, raises } = &mut funding {
            let (granted, asked) = (book.row.granted, book.row.asked_raises);
            book.row.granted = granted.max(*units);
            book.row.asked_raises = asked.max(*raises);
            book.dirty |= (granted, asked) != (book.row.granted, book.row.asked_raises);
            *units = book.row.spendable();
        }
        let deadline_ms = book.row.deadline_ms;
        let terms = |instead, wait| Terms {
            now_ms: self.now_ms,
            deadline_ms,
            instead,
            funding,
            ask_again_ms: self.now_ms + ASK_AGAIN_MS,
            wait,
        };
        match &claim.kind {
            ClaimKind::First { header, range, instead, wait } => {
                let terms = halted(terms(*instead, *wait), book.row.halt);
                let one = OneClaim { index, id, claim, terms };
                let taken = self.first(one, header, range.clone(), book, writes).await?;
                Ok(Answer { claim: id, claimed: taken, ..Answer::default() })
            }
            ClaimKind::Due { header, instead, wait, which } => {
                let terms = halted(terms(*instead, *wait), book.row.halt);
                let one = OneClaim { index, id, claim, terms };
                self.due(one, header.as_deref(), *which, book, writes).await
            }
            ClaimKind::Accept { job, .. } => {
                let (run_day, batch) = claim.key;
                let Book { row, count, .. } = book;
                if !job.is_empty() && count.is_attempted(row) && !count.is_closed(row) {
                    batches::store_job(self.tx, run_day, batch, job).await?;
                    row.has_job = true;
                }
                book.tell = true;
                Ok(Answer { claim: id, ..Answer::default() })
            }
        }
    }

    async fn first(
        &self,
        one: OneClaim<'_>,
        header: &Header,
        range: Range<usize>,
        book: &Book,
        writes: &mut Writes,
    ) -> Result<Vec<Claimed>, DbErr> {
        let (run_day, batch) = one.claim.key;
        // Batches are claimed from their beginning, so there is nothing beyond as many rows.
        let present = if book.count.rows() > range.start {
            messages::present(self.tx, run_day, batch, &range).await?
        } else {
            Vec::new()
        };
        let taken = one.taken(&present);
        let present: BTreeSet<usize> = present.iter().map(|row| row.position as usize).collect();
        let heard = if one.terms.instead.is_some() {
            BTreeMap::new()
        } else {
            let customers = header.customers[range.clone()].iter().copied();
            halts::heard(self.tx, header.organisation, customers, one.requires_consent()).await?
        };
        let mut claiming = one.claiming(book, taken.len());
        let rows: Vec<Written> = range
            .filter(|position| !present.contains(position))
            .map(|position| {
                let addressee = one.addressee(position);
                let bar =
                    addressee.bar(heard.get(&header.customers[position]), one.requires_consent());
                let verdict = claiming.decide(addressee.units, false, bar);
                let cost = (addressee.parts, addressee.units);
                one.write(verdict, header.message(position), as_u32(position), 0, cost)
            })
            .collect();
        if !rows.is_empty() {
            let writing = Writing { batch, claim: one.id, rows };
            writes.first.push((one.claim.key, one.index, writing));
        }
        Ok(taken)
    }

    async fn due(
        &self,
        one: OneClaim<'_>,
        header: Option<&Header>,
        which: Which,
        book: &mut Book,
        writes: &mut Writes,
    ) -> Result<Answer, DbErr> {
        let (run_day, batch) = one.claim.key;
        let late = self.now_ms >= one.terms.deadline_ms || one.terms.instead.is_some();
        let due = messages::due(self.tx, run_day, batch, one.id, self.now_ms, late).await?;
        let mut claimed = one.taken(&due);
        let mut claiming = one.claiming(book, claimed.len());
        let customer = |position: u32| {
            header.and_then(|header| header.customers.get(position as usize)).copied()
        };
        let queued: Vec<Found> =
            due.into_iter().filter(|row| row.state == MessageState::Queued).collect();
        let heard = match header {
            Some(header) => {
                let customers = queued.iter().filter_map(|row| customer(row.position));
                halts::heard(self.tx, header.organisation, customers, one.requires_consent())
                    .await?
            }
            None => BTreeMap::new(),
        };
        let (mut rows, mut elsewhere) = (Vec::new(), BTreeSet::new());
        for row in queued {
            if !one.is_for(&row, which) {
                if row.doubtful {
                    elsewhere.insert(row.account);
                }
                continue;
            }
            let heard = customer(row.position).and_then(|customer| heard.get(&customer));
            let bar = one.addressee(row.position as usize).bar(heard, one.requires_consent());
            let verdict = claiming.decide(row.units, row.attempt > 0, bar);
            // Out of permits: it stays due, and the next claim finds it.
            if matches!(verdict, Verdict::Wait { reason: WaitReason::Backlog, .. }) {
                continue;
            }
            let written = one.write_over(verdict, &row);
            if written.state == MessageState::Sending {
                claimed.push(written.claimed());
            } else if written.state != MessageState::Queued || written.reason != row.reason {
                book.changes.push(self.change(&written));
            }
            rows.push(written);
        }
        (book.dirty, book.recount) = (true, true);
        if !rows.is_empty() {
            writes.later.push((one.claim.key, Writing { batch, claim: one.id, rows }));
        }
        Ok(Answer { claim: one.id, claimed, elsewhere, accepted: false })
    }

    /// What was not there may be sent, or is told; the rest is another's.
    async fn write_first(
        &self,
        writings: Vec<(Key, usize, Writing)>,
        books: &mut BTreeMap<Key, Book>,
        answers: &mut [Answer],
    ) -> Result<(), DbErr> {
        for run_day in by_day(writings.iter().map(|(key, ..)| *key)).into_keys() {
            let of_day = writings.iter().filter(|(key, ..)| key.0 == run_day);
            let of_day: Vec<_> = of_day.collect();
            let rows: Vec<&Writing> = of_day.iter().map(|(.., writing)| writing).collect();
            let inserted = messages::insert(self.tx, run_day, self.now_ms, &rows).await?;
            for (key, index, writing) in of_day {
                let Some(book) = books.get_mut(key) else { continue };
                let ours = |row: &&Written| inserted.contains(&(key.1, row.position));
                for row in writing.rows.iter().filter(ours) {
                    book.count.add_row(row);
                    if row.state == MessageState::Sending {
                        answers[*index].claimed.push(row.claimed());
                    } else {
                        book.changes.push(self.change(row));
                    }
                }
            }
        }
        Ok(())
    }

    async fn write_later(&self, writings: Vec<(Key, Writing)>) -> Result<(), DbErr> {
        for run_day in by_day(writings.iter().map(|(key, _)| *key)).into_keys() {
            let of_day = writings.iter().filter(|(key, _)| key.0 == run_day);
            let rows: Vec<&Writing> = of_day.map(|(_, writing)| writing).collect();
            messages::update_queued(self.tx, run_day, self.now_ms, &rows).await?;
        }
        Ok(())
    }

    fn change(&self, row: &Written) -> MessageChange {
        MessageChange {
            position: row.position,
            state: row.state.word().into(),
            reason: row.reason.into(),
            units: row.units,
            parts: Some(row.parts),
            attempt: row.attempt,
            change_time: Timestamp::from_millisecond(self.now_ms).ok().map(time::to_wire),
            provider_code: String::new(),
        }
    }
}
