//! What a dispatcher tells operators of the work that waits in it.

use carillon_contracts::ops::v1::Backlog;
use carillon_operator::backlog;
use carillon_service_kit::{Database, metrics};
use sea_orm::DbErr;

use crate::{permits::Permits, store};

pub(crate) async fn backlogs(database: Database) -> Result<Vec<Backlog>, DbErr> {
    let mut backlogs = Vec::new();
    for waiting in store::waiting(&database).await? {
        let detail = format!("{} {}", waiting.state, waiting.reason);
        backlogs.push(backlog("messages", waiting.count, waiting.oldest_ms, detail.trim()));
    }
    let (kept, oldest_ms) = store::evidence(&database).await?;
    if kept > 0 {
        backlogs.push(backlog("evidence", kept, oldest_ms, "receipts not yet applied"));
    }
    Ok(backlogs)
}

/// Shown by the process, whichever of its dispatchers asks last.
pub(crate) fn measure(permits: &Permits) {
    let permits = permits.clone();
    metrics::collect("permits", move || {
        let in_use = permits.in_use();
        async move {
            metrics::show(metrics::PERMITS_IN_USE, &[], i64::try_from(in_use).unwrap_or(i64::MAX));
            Ok::<(), DbErr>(())
        }
    });
}
