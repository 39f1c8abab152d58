//! Walks a run's messages from a place on: the planned, then the skipped.

use carillon_contracts::{
    ids::{BatchId, CustomerId, unpack_customers},
    limits::BATCH_RECIPIENTS,
    vocabulary::MessageState,
};
use carillon_service_kit::database::Sql;
use sea_orm::DbErr;

use super::{
    cursor::Cursor,
    store::{self, MessageRow, RunKey},
};

/// Skips read at a time.
const SKIPS: usize = 8;

/// One customer on one channel.
pub(crate) struct Entry {
    pub at: Cursor,
    /// `None` while only the batch's size is known.
    pub customer: Option<CustomerId>,
    pub channel: String,
    /// `None` of one that was skipped.
    pub batch: Option<BatchId>,
    pub fate: Fate,
}

pub(crate) enum Fate {
    /// Nothing was heard of it yet.
    Planned,
    Message(MessageRow),
    Skipped(String),
}

/// Which entries are asked for: all, without either. Who was skipped is in no batch and no state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Only {
    pub batch: Option<BatchId>,
    pub state: Option<MessageState>,
}

impl Only {
    fn is_all(&self) -> bool {
        self.batch.is_none() && self.state.is_none()
    }

    fn has(&self, fate: &Fate) -> bool {
        let Some(state) = self.state else { return true };
        match fate {
            Fate::Planned => state == MessageState::Planned,
            Fate::Message(row) => row.state == state.word(),
            Fate::Skipped(_) => false,
        }
    }
}

/// `most` entries, or fewer where the list ends.
pub(crate) async fn entries(
    snapshot: &impl Sql,
    run: RunKey,
    only: &Only,
    from: Cursor,
    most: usize,
) -> Result<Vec<Entry>, DbErr> {
    let mut found = Vec::with_capacity(most);
    let from = match from {
        Cursor::Planned { channel, batch, position } => {
            planned(snapshot, run, only, (channel, batch, position), most, &mut found).await?;
            Cursor::first_skipped()
        }
        skipped @ Cursor::Skipped { .. } => skipped,
    };
    if let Cursor::Skipped { step, channel, reason, index } = from
        && found.len() < most
        && only.is_all()
    {
        skipped(snapshot, run, ((step, channel, reason), index), most, &mut found).await?;
    }
    Ok(found)
}

async fn planned(
    snapshot: &impl Sql,
    run: RunKey,
    only: &Only,
    (mut channel, mut batch, mut position): (String, i64, u32),
    most: usize,
    found: &mut Vec<Entry>,
) -> Result<(), DbErr> {
    // Full batches fill a page without reading beyond it.
    let chunk = most.div_ceil(BATCH_RECIPIENTS) + 1;
    loop {
        let batches =
            store::batches_from(snapshot, run, only.batch, (&channel, batch), chunk).await?;
        let mut messages = store::messages_of(snapshot, &batches).await?;
        for listed in &batches {
            let customers = customers(listed.customer_ids.as_deref())?;
            for at in position..listed.count {
                if found.len() == most {
                    return Ok(());
                }
                let (channel, batch) = (listed.channel.clone(), listed.number);
                let fate = messages.remove(&(batch, at)).map_or(Fate::Planned, Fate::Message);
                if !only.has(&fate) {
                    continue;
                }
                found.push(Entry {
                    at: Cursor::Planned { channel, batch, position: at },
                    customer: customers.get(at as usize).copied(),
                    channel: listed.channel.clone(),
                    batch: Some(listed.batch),
                    fate,
                });
            }
            position = 0;
            channel.clone_from(&listed.channel);
            batch = listed.number + 1;
        }
        if batches.len() < chunk {
            return Ok(());
        }
    }
}

async fn skipped(
    snapshot: &impl Sql,
    run: RunKey,
    (mut from, mut index): (store::SkipsKey, u32),
    most: usize,
    found: &mut Vec<Entry>,
) -> Result<(), DbErr> {
    let mut inclusive = true;
    loop {
        let read = store::skips_from(snapshot, run, &from, inclusive, SKIPS).await?;
        for (key, customer_ids) in &read {
            let (step, channel, reason) = key;
            let customers = customers(Some(customer_ids))?;
            for (at, customer) in (0_u32..).zip(customers).skip(index as usize) {
                if found.len() == most {
                    return Ok(());
                }
                let (channel, reason) = (channel.clone(), reason.clone());
                found.push(Entry {
                    at: Cursor::Skipped {
                        step: *step,
                        channel: channel.clone(),
                        reason: reason.clone(),
                        index: at,
                    },
                    customer: Some(customer),
                    channel,
                    batch: None,
                    fate: Fate::Skipped(reason),
                });
            }
            index = 0;
            from = key.clone();
            inclusive = false;
        }
        if read.len() < SKIPS {
            return Ok(());
        }
    }
}

fn customers(packed: Option<&[u8]>) -> Result<Vec<CustomerId>, DbErr> {
    unpack_customers(packed.unwrap_or_default()).map_err(|error| DbErr::Type(error.to_string()))
}
