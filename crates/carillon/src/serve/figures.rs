//! What every service shows of its outbox at `/metrics`.

use carillon_outbox::{effects_pending, figures};
use carillon_service_kit::{
    Clock, Database,
    metrics::{
        EFFECTS_PENDING, EVENTS_MISSED, MARKS_LAG, OUTBOX_OLDEST_SECONDS, OUTBOX_ROWS, PARKED,
        collect, show,
    },
};
use sea_orm_migration::sea_orm::DbErr;

pub(crate) fn watch(service: &'static str, database: &Database, clock: &Clock) {
    let (database, clock) = (database.clone(), clock.clone());
    collect(format!("{service} outbox"), move || {
        let (database, clock) = (database.clone(), clock.clone());
        async move {
            let figures = figures(&database).await?;
            let age_ms = figures.oldest_unsent_ms.map_or(0, |at| clock.now_ms() - at).max(0);
            show(OUTBOX_ROWS, &[("service", service)], figures.unsent);
            show(OUTBOX_OLDEST_SECONDS, &[("service", service)], age_ms / 1_000);
            let pending = effects_pending(&database, service, clock.now_ms()).await?;
            show(EFFECTS_PENDING, &[("service", service)], pending);
            show(PARKED, &[("service", service)], figures.parked);
            for lag in figures.lags {
                let labels = [("stream", lag.stream.as_str()), ("subscriber", lag.subscriber)];
                show(MARKS_LAG, &labels, lag.behind);
            }
            for (stream, missed) in figures.missed {
                show(EVENTS_MISSED, &[("service", service), ("stream", &stream)], missed);
            }
            Ok::<(), DbErr>(())
        }
    });
}
