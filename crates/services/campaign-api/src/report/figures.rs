//! What the report tells Prometheus.

use carillon_service_kit::{Clock, Database, metrics};
use sea_orm::DbErr;

use super::store;

const CHANNELS: [&str; 2] = ["sms", "email"];

/// Read whenever somebody scrapes.
pub(crate) fn watch(database: &Database, clock: &Clock) {
    let (database, clock) = (database.clone(), clock.clone());
    metrics::collect("report", move || read(database.clone(), clock.clone()));
}

async fn read(database: Database, clock: Clock) -> Result<(), DbErr> {
    for (channel, state, count) in store::settled_of_all_runs(&database).await? {
        metrics::show(metrics::MESSAGES, &[("channel", &channel), ("state", &state)], count);
    }
    let open = store::open_of_all_runs(&database).await?;
    for channel in CHANNELS {
        let found = open.iter().find(|(of, ..)| of == channel);
        let count = found.map_or(0, |(_, count, _)| *count);
        let oldest = found.and_then(|(_, _, oldest)| *oldest);
        let age = oldest.map_or(0, |oldest| (clock.now_ms() - oldest).max(0) / 1_000);
        metrics::show(metrics::BACKLOG_MESSAGES, &[("channel", channel)], count);
        metrics::show(metrics::OLDEST_UNSETTLED_SECONDS, &[("channel", channel)], age);
    }
    let disagreements = store::disagreements_of_all_runs(&database).await?;
    metrics::show(metrics::REPORT_DISAGREEMENTS, &[], disagreements);
    Ok(())
}
