//! A subscriber without a mark was not there when events were dropped. Of a projection it needs no
//! history, only the documents that are current: their owner writes them once more, as events to
//! all, of which the newest version counts everywhere.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use carillon_broker::topology;
use carillon_service_kit::{Stop, database::Sql as _};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::append::Outbox;

const BEAT: Duration = Duration::from_secs(1);

/// The documents of a projection, at their owner.
#[async_trait]
pub trait Documents: Send + Sync + 'static {
    /// Appends the current documents that come after `after` in an order of their own; at first it
    /// is empty. No more than one transaction should hold. Answers the place of the last, or `None`
    /// where none is left.
    async fn append_after(
        &self,
        tx: &DatabaseTransaction,
        after: &str,
    ) -> Result<Option<String>, DbErr>;
}

impl Outbox {
    /// Writes the documents of an event type again, whenever a subscriber without a mark is heard of.
    pub fn spawn_documents(&self, event: &str, documents: Arc<dyn Documents>, stop: &Stop) {
        let stream = topology::stream(self.producer, event);
        let (outbox, stopping) = (self.clone(), stop.clone());
        stop.keep("outbox documents", move || {
            let (outbox, stream) = (outbox.clone(), stream.clone());
            let (documents, stop) = (Arc::clone(&documents), stopping.clone());
            async move {
                while stop.sleep(BEAT).await {
                    while outbox.append_some(&stream, &*documents).await? {}
                }
                Ok::<(), DbErr>(())
            }
        });
    }

    /// Where nothing was dropped yet, the subscriber is sent every event there was.
    pub(crate) async fn want_documents(
        &self,
        tx: &DatabaseTransaction,
        stream: &str,
        subscriber: &str,
    ) -> Result<(), DbErr> {
        let event = topology::parse_stream(stream).map(|(_, event)| event);
        if !event.is_some_and(topology::is_projection) {
            return Ok(());
        }
        if tx.run(WANT, [stream.into(), subscriber.into()]).await?.rows_affected() > 0 {
            tracing::warn!(stream, subscriber, "a new subscriber; its documents are written again");
        }
        Ok(())
    }

    /// Answers whether there may be more to append. A replica that finds another at it leaves it
    /// to that one.
    async fn append_some(&self, stream: &str, documents: &dyn Documents) -> Result<bool, DbErr> {
        let wanted = "SELECT 1 FROM subscribers
                      WHERE stream = $1 AND documents_after IS NOT NULL LIMIT 1";
        if self.database.reader().row(wanted, [stream.into()]).await?.is_none() {
            return Ok(false);
        }
        let tx = self.database.begin().await?;
        let Some(row) = tx.row(TAKE, [stream.into()]).await? else { return Ok(false) };
        let (subscriber, after): (String, String) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let last = documents.append_after(&tx, &after).await?;
        let sql = "UPDATE subscribers SET documents_after = $3
                   WHERE stream = $1 AND subscriber = $2";
        tx.run(sql, [stream.into(), subscriber.into(), last.into()]).await?;
        tx.commit().await?;
        self.wake();
        Ok(true)
    }
}

const WANT: &str = "
UPDATE subscribers SET documents_after = '' WHERE stream = $1 AND subscriber = $2 AND 1 < (
    SELECT COALESCE((SELECT MIN(seq) FROM outbox WHERE stream = $1), last_seq + 1)
    FROM streams WHERE stream = $1
)";

const TAKE: &str = "
SELECT subscriber, documents_after FROM subscribers
WHERE stream = $1 AND documents_after IS NOT NULL
ORDER BY subscriber LIMIT 1 FOR UPDATE SKIP LOCKED";
