//! A batch's totals, counted from its rows each time they are published.

use std::collections::{BTreeMap, BTreeSet};

use carillon_contracts::{
    events::v1::{DeliveryChanged, MessageChange, Totals, event::Body},
    ids::BatchId,
    vocabulary::{MessageState, WaitReason},
};
use carillon_service_kit::database::{Sql as _, differs, list};
use sea_orm::{DatabaseTransaction, DbErr};

use super::{
    Key, Store, batches,
    batches::{BatchRow, Settling},
    messages::{self, Written},
    u32_of,
};

/// What the rows of a batch say.
#[derive(Debug, Default)]
pub(crate) struct Count {
    rows: u32,
    sending: u32,
    waiting: BTreeMap<String, u32>,
    settled: BTreeMap<String, u32>,
    /// Of rows that are sending, or queued after an attempt.
    attempted_units: i64,
    posted_units: i64,
    posted_parts: i64,
    /// Units of rows that ended without being posted.
    freed_units: i64,
    /// Units of the cheapest row that is still to be paid for.
    cheapest_unpaid: Option<i64>,
    next_attempt_ms: Option<i64>,
}

/// Rows that are alike.
struct Alike {
    state: MessageState,
    reason: String,
    n: u32,
    parts: i64,
    units: i64,
    attempted_units: i64,
    /// Of a row that was not attempted yet.
    cheapest: Option<i64>,
    next_attempt_ms: Option<i64>,
}

impl Count {
    pub(crate) fn rows(&self) -> usize {
        self.rows as usize
    }

    fn unattempted(&self, batch: &BatchRow) -> u32 {
        batch.count.saturating_sub(self.rows)
    }

    /// Every recipient has a row and no call of this worker's is unrecorded.
    pub(crate) fn is_attempted(&self, batch: &BatchRow) -> bool {
        self.unattempted(batch) == 0 && self.sending == 0
    }

    pub(crate) fn is_closed(&self, batch: &BatchRow) -> bool {
        self.is_attempted(batch) && self.waiting.is_empty()
    }

    /// Units that the grant is spent on: of rows sending, posted, or queued after an attempt.
    pub(crate) fn used_units(&self) -> i64 {
        self.attempted_units + self.posted_units
    }

    /// What is left of the grant, if each message that waits for a part of it costs more. Nothing
    /// but a claim spends it, so it can be given back; another batch may have use for it.
    fn idle_units(&self, batch: &BatchRow) -> i64 {
        let left = batch.spendable() - self.used_units();
        match self.cheapest_unpaid {
            Some(cheapest) if self.unattempted(batch) == 0 && left < cheapest => left.max(0),
            _ => 0,
        }
    }

    fn waits_for_money(&self) -> bool {
        [WaitReason::InsufficientBalance, WaitReason::BillingUnavailable]
            .iter()
            .any(|reason| self.waiting.contains_key(reason.word()))
    }

    fn needed_units(&self, batch: &BatchRow, closed: bool) -> i64 {
        if closed { self.posted_units } else { batch.wanted - self.freed_units }
    }

    /// A row that was not there before.
    pub(crate) fn add_row(&mut self, row: &Written) {
        let units = i64::from(row.units);
        self.add(Alike {
            state: row.state,
            reason: row.reason.to_owned(),
            n: 1,
            parts: i64::from(row.parts),
            units,
            attempted_units: if row.attempt > 0 { units } else { 0 },
            cheapest: (row.attempt == 0).then_some(units),
            next_attempt_ms: row.next_attempt_ms,
        });
    }

    fn add(&mut self, alike: Alike) {
        let Alike { state, reason, n, parts, units, attempted_units, cheapest, next_attempt_ms } =
            alike;
        self.rows += n;
        match state {
            MessageState::Queued => {
                *self.waiting.entry(reason).or_default() += n;
                self.attempted_units += attempted_units;
                let known = [self.cheapest_unpaid, cheapest];
                self.cheapest_unpaid = known.into_iter().flatten().min();
                let times = [self.next_attempt_ms, next_attempt_ms];
                self.next_attempt_ms = times.into_iter().flatten().min();
            }
            MessageState::Planned | MessageState::Sending => {
                self.sending += n;
                self.attempted_units += units;
            }
            settled => {
                *self.settled.entry(settled.word().to_owned()).or_default() += n;
                if settled.is_posted() {
                    self.posted_units += units;
                    self.posted_parts += parts;
                } else {
                    self.freed_units += units;
                }
            }
        }
    }
}

/// Counts the rows of batches of one day; one without rows counts nothing.
pub(crate) async fn count(
    tx: &DatabaseTransaction,
    run_day: i32,
    batches: &BTreeSet<BatchId>,
) -> Result<BTreeMap<Key, Count>, DbErr> {
    let sql = differs(
        "SELECT batch_id, state, reason, COUNT(*) AS n, SUM(units) AS units,
             SUM(COALESCE(parts, units)) AS parts,
             SUM(CASE WHEN attempt > 0 THEN units ELSE 0 END) AS attempted_units,
             MIN(CASE WHEN attempt = 0 THEN units END) AS cheapest,
             MIN(next_attempt_at) AS next_attempt_at
         FROM messages
         WHERE +run_day = $1 AND batch_id IN (SELECT unhex(value) FROM json_each($2))
         GROUP BY batch_id, state, reason",
        "SELECT batch_id, state, reason, COUNT(*) AS n, CAST(SUM(units) AS BIGINT) AS units,
             CAST(SUM(COALESCE(parts, units)) AS BIGINT) AS parts,
             CAST(SUM(CASE WHEN attempt > 0 THEN units ELSE 0 END) AS BIGINT) AS attempted_units,
             MIN(CASE WHEN attempt = 0 THEN units END) AS cheapest,
             MIN(next_attempt_at) AS next_attempt_at
         FROM messages
         WHERE run_day = $1 AND batch_id = ANY(ARRAY(
             SELECT value::uuid FROM jsonb_array_elements_text($2::jsonb) AS given(value)))
         GROUP BY batch_id, state, reason",
    );
    let mut counts: BTreeMap<Key, Count> =
        batches.iter().map(|batch| ((run_day, *batch), Count::default())).collect();
    for row in tx
        .rows(sql, [run_day.into(), list::ids(batches.iter().map(|batch| batch.uuid())).into()])
        .await?
    {
        let batch = BatchId::new(row.try_get("", "batch_id")?);
        let state: String = row.try_get("", "state")?;
        let state =
            state.parse().map_err(|error| DbErr::Custom(format!("messages.state: {error}")))?;
        counts.entry((run_day, batch)).or_default().add(Alike {
            state,
            reason: row.try_get("", "reason")?,
            n: u32_of(&row, "n")?,
            parts: row.try_get("", "parts")?,
            units: row.try_get("", "units")?,
            attempted_units: row.try_get("", "attempted_units")?,
            cheapest: row.try_get("", "cheapest")?,
            next_attempt_ms: row.try_get("", "next_attempt_at")?,
        });
    }
    Ok(counts)
}

/// A locked batch in the course of a step.
pub(crate) struct Book {
    pub row: BatchRow,
    pub count: Count,
    /// What is told to others.
    pub changes: Vec<MessageChange>,
    /// The totals are told even if nothing changed.
    pub tell: bool,
    /// The row differs from what is stored.
    pub dirty: bool,
    /// Rows moved in ways that the count does not show.
    pub recount: bool,
}

impl Book {
    pub(crate) fn new(row: BatchRow, count: Count, changes: Vec<MessageChange>) -> Self {
        Self { row, count, changes, tell: false, dirty: false, recount: false }
    }

    fn is_told(&self) -> bool {
        self.tell || !self.changes.is_empty()
    }

    fn give_back(&mut self) {
        let idle = self.count.idle_units(&self.row);
        self.row.returned += idle;
        self.tell |= idle > 0;
    }

    fn frees_units(&self) -> bool {
        let short = self.count.waiting.contains_key(WaitReason::InsufficientBalance.word());
        short
            && self.changes.iter().any(|change| {
                let state = change.state.parse::<MessageState>();
                state.is_ok_and(|now| now.is_settled() && !now.is_posted())
            })
    }

    /// What follows from the count. A batch that is told of has a new version.
    fn settle(&mut self, batch: BatchId) -> Settling {
        let Self { row, count, .. } = self;
        let told = self.tell || !self.changes.is_empty();
        row.version += i64::from(told);
        row.closed = row.closed || count.is_closed(row);
        row.accepted = row.accepted || row.closed || (count.is_attempted(row) && row.has_job);
        Settling {
            batch,
            version: row.version,
            accepted: row.accepted,
            closed: row.closed,
            next_due_ms: count.next_attempt_ms.map(|next| next.min(row.deadline_ms)),
            waits_for_money: count.waits_for_money(),
            granted: row.granted,
            returned: row.returned,
            asked_raises: row.asked_raises,
        }
    }

    fn event(&mut self, key: Key) -> Body {
        let (row, count) = (&self.row, std::mem::take(&mut self.count));
        let totals = Totals {
            version: row.version.cast_unsigned(),
            count: row.count,
            unattempted: count.unattempted(row),
            sending: count.sending,
            accepted: row.accepted,
            posted_units: count.posted_units.cast_unsigned(),
            posted_parts: Some(count.posted_parts.cast_unsigned()),
            needed_units: count.needed_units(row, row.closed).max(0).cast_unsigned(),
            closed: row.closed,
            returned_units: row.returned.cast_unsigned(),
            waiting: count.waiting,
            settled: count.settled,
        };
        Body::DeliveryChanged(DeliveryChanged {
            campaign_id: row.campaign.to_wire(),
            run_id: row.run.to_wire(),
            batch_id: key.1.to_wire(),
            run_day: key.0,
            channel: row.channel.into(),
            totals: Some(totals),
            changes: std::mem::take(&mut self.changes),
        })
    }
}

/// Writes what follows from the rows into the batches, and publishes it with the changes.
pub(crate) async fn publish_all(
    tx: &DatabaseTransaction,
    store: &Store,
    books: &mut BTreeMap<Key, Book>,
    now_ms: i64,
) -> Result<(), DbErr> {
    for ((run_day, batch), book) in books.iter_mut() {
        if book.frees_units() {
            messages::wake_short(tx, *run_day, *batch, now_ms).await?;
            book.recount = true;
        }
    }
    let recounted = by_day(books.iter().filter(|(_, book)| book.recount).map(|(key, _)| *key));
    for (run_day, batches) in recounted {
        for (key, count) in count(tx, run_day, &batches).await? {
            if let Some(book) = books.get_mut(&key) {
                book.count = count;
            }
        }
    }
    let mut settling: BTreeMap<i32, Vec<Settling>> = BTreeMap::new();
    for ((run_day, batch), book) in books.iter_mut() {
        book.give_back();
        if book.dirty || book.is_told() {
            settling.entry(*run_day).or_default().push(book.settle(*batch));
        }
    }
    for (run_day, settling) in settling {
        batches::settle(tx, run_day, &settling).await?;
    }
    for (key, book) in books.iter_mut().filter(|(_, book)| book.is_told()) {
        let (organisation, body) = (book.row.organisation, book.event(*key));
        let trace = store.traces.of(key.1).unwrap_or_else(|| book.row.traceparent.clone());
        store.outbox.append_to_trace(tx, organisation, body, trace).await?;
    }
    Ok(())
}

/// Batches by their day, for a statement reads one day.
pub(crate) fn by_day(keys: impl Iterator<Item = Key>) -> BTreeMap<i32, BTreeSet<BatchId>> {
    let mut days: BTreeMap<i32, BTreeSet<BatchId>> = BTreeMap::new();
    for (run_day, batch) in keys {
        days.entry(run_day).or_default().insert(batch);
    }
    days
}
