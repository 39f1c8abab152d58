//! What metrics and operators are told of a service's outbox.

use std::collections::BTreeMap;

use carillon_broker::topology;
use carillon_service_kit::{Database, database::Sql as _};
use sea_orm::DbErr;

use crate::{inbox, parked};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events that the broker has not confirmed.
    pub unsent: i64,
    /// When the oldest of them was written, in milliseconds since 1970.
    pub oldest_unsent_ms: Option<i64>,
    pub lags: Vec<Lag>,
    pub parked: i64,
    /// By stream heard: events that its producer dropped before they were handled here.
    pub missed: Vec<(String, i64)>,
}

/// How far a subscriber of a stream of this service is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    pub stream: String,
    pub subscriber: &'static str,
    /// Events above its mark.
    pub behind: i64,
}

pub async fn figures(database: &Database) -> Result<Figures, DbErr> {
    let reader = database.reader();
    let row = reader.row("SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL", []).await?;
    let unsent = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    let oldest = "SELECT created_at FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1";
    let oldest = reader.row(oldest, []).await?;
    let oldest_unsent_ms = oldest.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(Figures {
        unsent,
        oldest_unsent_ms,
        lags: lags(database).await?,
        parked: parked::count(database).await?,
        missed: inbox::missed(reader).await?,
    })
}

async fn lags(database: &Database) -> Result<Vec<Lag>, DbErr> {
    let reader = database.reader();
    let mut marks: BTreeMap<(String, String), i64> = BTreeMap::new();
    for row in reader.rows("SELECT stream, subscriber, mark FROM subscribers", []).await? {
        let key = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        marks.insert(key, row.try_get_by_index(2)?);
    }
    let mut lags = Vec::new();
    for row in reader.rows("SELECT stream, last_seq FROM streams ORDER BY stream", []).await? {
        let (stream, last): (String, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let Some((producer, event)) = topology::parse_stream(&stream) else { continue };
        for subscriber in topology::subscribers(event, producer) {
            let key = (stream.clone(), (*subscriber).to_owned());
            let mark = marks.get(&key).copied().unwrap_or(0);
            lags.push(Lag { stream: key.0, subscriber, behind: (last - mark).max(0) });
        }
    }
    Ok(lags)
}
