//! What could not be handled, set aside in the service's own database: events that their handler
//! refused, and jobs that could not be read. An operator replays or discards them.

use carillon_broker::{Destination, Publication, PublishError, topology};
use carillon_contracts::events::v1::Event;
use carillon_service_kit::{Clock, Database, database::Sql};
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult};

use crate::subscriber::{HandlerError, Subscriber, apply};

pub(crate) const UNNUMBERED: &str = "it came without its carillon-seq, carillon-stream or carillon-floor, so \
                          nobody can tell whether it was handled already; whatever its producer has \
                          of it comes again by itself: find out who published this, and discard it";

#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Parked {
    pub id: i64,
    /// The event's stream, such as `scheduler/run.due`, or the job's queue.
    pub source: String,
    /// The event's number in its stream. A job has none, nor has an event that came without one.
    pub seq: Option<i64>,
    pub error: String,
    /// Milliseconds since 1970.
    pub parked_at: i64,
}

impl Parked {
    pub fn is_job(&self) -> bool {
        topology::parse_stream(&self.source).is_none()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Database(#[from] DbErr),
    /// Discarded or replayed already.
    #[error("nothing is parked under {0}")]
    NotFound(i64),
    /// It stays parked, with this error.
    #[error("it failed again and stays parked: {0}")]
    Failed(String),
    #[error("its queue did not take it: {0}")]
    Broker(#[from] PublishError),
}

/// The oldest first.
pub async fn list(database: &Database, limit: i64) -> Result<Vec<Parked>, DbErr> {
    let sql = "SELECT id, source, seq, error, parked_at FROM parked ORDER BY id LIMIT $1";
    let rows = database.reader().rows(sql, [limit.into()]).await?;
    rows.iter().map(|row| Parked::from_query_result(row, "")).collect()
}

/// With its body as it was delivered.
pub async fn get(database: &Database, id: i64) -> Result<Option<(Parked, Vec<u8>)>, DbErr> {
    read(database.reader(), GET, id).await
}

/// Gives it up for good. Answers whether it was there.
pub async fn discard(database: &Database, id: i64) -> Result<bool, DbErr> {
    let tx = database.begin().await?;
    let gone = tx.run(DELETE, [id.into()]).await?.rows_affected() > 0;
    tx.commit().await?;
    Ok(gone)
}

pub async fn count(database: &Database) -> Result<i64, DbErr> {
    let row = database.reader().row("SELECT COUNT(*) FROM parked", []).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Sets aside what has no number: a job that cannot be read, or an event that came without one. Ack
/// its delivery after this.
pub async fn park_unnumbered(
    database: &Database,
    clock: &Clock,
    source: &str,
    body: &[u8],
    error: &str,
) -> Result<(), DbErr> {
    let tx = database.begin().await?;
    let parked = NewParked { source, seq: None, body, error, now_ms: clock.now_ms() };
    parked.insert(&tx).await?;
    tx.commit().await
}

/// What an event says, for people; `None` where it is a job or cannot be read.
pub fn in_words(parked: &Parked, body: &[u8]) -> Option<String> {
    if parked.is_job() {
        return None;
    }
    Event::decode(body).ok().map(|event| format!("{event:#?}"))
}

impl Subscriber {
    /// Handles a parked event again, or puts a parked job on its queue again. What fails stays
    /// parked. Replicas that replay the same one take turns, and the second finds nothing.
    pub async fn replay(&self, id: i64) -> Result<(), ReplayError> {
        let tx = self.database.begin().await?;
        let found = read(&tx, LOCK, id).await?;
        let (parked, body) = found.ok_or(ReplayError::NotFound(id))?;
        if parked.is_job() {
            drop(tx);
            return self.replay_job(parked, body).await;
        }
        // Without its number nothing tells whether it was handled before.
        let Some(seq) = parked.seq else { return Err(ReplayError::Failed(UNNUMBERED.into())) };
        let handled = match (self.handler(&parked.source), Event::decode(body.as_slice())) {
            (Some(handler), Ok(event)) => {
                let events = [(seq, event)];
                apply(&*handler, &tx, &parked.source, &events).await.map(|()| handler)
            }
            (None, _) => {
                Err(HandlerError::Event(format!("nobody here hears {} any more", parked.source)))
            }
            (_, Err(error)) => Err(HandlerError::Event(error.to_string())),
        };
        match handled {
            Ok(handler) => {
                tx.run(DELETE, [id.into()]).await?;
                tx.commit().await?;
                handler.committed();
                Ok(())
            }
            Err(error) => {
                drop(tx);
                let error = error.to_string();
                let tx = self.database.begin().await?;
                let sql = "UPDATE parked SET error = $2 WHERE id = $1";
                tx.run(sql, [id.into(), error.clone().into()]).await?;
                tx.commit().await?;
                Err(ReplayError::Failed(error))
            }
        }
    }

    /// Published before it is removed: a job that goes twice does no harm, one that is lost would.
    async fn replay_job(&self, parked: Parked, body: Vec<u8>) -> Result<(), ReplayError> {
        let to = Destination::Queue(parked.source);
        self.broker.publish(Publication { to, headers: Vec::new(), body: body.into() }).await?;
        discard(&self.database, parked.id).await?;
        Ok(())
    }
}

async fn read(
    connection: &impl Sql,
    sql: &str,
    id: i64,
) -> Result<Option<(Parked, Vec<u8>)>, DbErr> {
    let Some(row) = connection.row(sql, [id.into()]).await? else { return Ok(None) };
    Ok(Some((Parked::from_query_result(&row, "")?, row.try_get("", "body")?)))
}

pub(crate) struct NewParked<'a> {
    pub source: &'a str,
    pub seq: Option<i64>,
    pub body: &'a [u8],
    pub error: &'a str,
    pub now_ms: i64,
}

impl NewParked<'_> {
    pub(crate) async fn insert(&self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let sql = "INSERT INTO parked (source, seq, body, error, parked_at)
                   VALUES ($1, $2, $3, $4, $5)";
        let values = [
            self.source.into(),
            self.seq.into(),
            self.body.to_vec().into(),
            self.error.into(),
            self.now_ms.into(),
        ];
        tx.run(sql, values).await.map(|_| ())
    }
}

const GET: &str = "SELECT id, source, seq, body, error, parked_at FROM parked WHERE id = $1";
const LOCK: &str =
    "SELECT id, source, seq, body, error, parked_at FROM parked WHERE id = $1 FOR UPDATE";
const DELETE: &str = "DELETE FROM parked WHERE id = $1";
