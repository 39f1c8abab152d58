//! What a service shows at `/metrics`. Every name stands here and in docs/metrics.md; a test holds
//! the two together. Values that live in the database are read when somebody asks: see `collect`.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub const MESSAGES: &str = "carillon_messages";
pub const BACKLOG_MESSAGES: &str = "carillon_backlog_messages";
pub const OLDEST_UNSETTLED_SECONDS: &str = "carillon_oldest_unsettled_seconds";
pub const OUTBOX_ROWS: &str = "carillon_outbox_rows";
pub const OUTBOX_OLDEST_SECONDS: &str = "carillon_outbox_oldest_seconds";
pub const MARKS_LAG: &str = "carillon_marks_lag";
pub const EFFECTS_PENDING: &str = "carillon_effects_pending";
pub const CLAIM_SECONDS: &str = "carillon_claim_seconds";
pub const GATEWAY_SECONDS: &str = "carillon_gateway_seconds";
pub const GATEWAY_UP: &str = "carillon_gateway_up";
pub const PERMITS_IN_USE: &str = "carillon_permits_in_use";
pub const PARKED: &str = "carillon_parked";
pub const PARKED_BATCHES: &str = "carillon_parked_batches";
pub const MARKS_UNREADABLE: &str = "carillon_marks_unreadable_total";
pub const EVENTS_MISSED: &str = "carillon_events_missed";
pub const EVIDENCE_BASELESS: &str = "carillon_evidence_baseless_total";
pub const PARTS_DIFFERING: &str = "carillon_parts_differing_total";
pub const REPORT_DISAGREEMENTS: &str = "carillon_report_disagreements";
pub const COLLECTOR_UP: &str = "carillon_collector_up";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric: its name, what its labels are, and what it says.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn gauge_of(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn counter_of(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn seconds_of(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

pub const METRICS: [Metric; 19] = [
    gauge_of(MESSAGES, &["channel", "state"], "messages of the runs kept, by state"),
    gauge_of(
        BACKLOG_MESSAGES,
        &["channel"],
        "messages planned but not settled; what replicas are scaled by",
    ),
    gauge_of(
        OLDEST_UNSETTLED_SECONDS,
        &["channel"],
        "age of the oldest batch with an open message; 0 if there is none",
    ),
    gauge_of(OUTBOX_ROWS, &["service"], "rows that wait in the outbox"),
    gauge_of(OUTBOX_OLDEST_SECONDS, &["service"], "age of the oldest row not yet published"),
    gauge_of(
        MARKS_LAG,
        &["stream", "subscriber"],
        "events that the subscriber has not yet passed, as the producer knows",
    ),
    gauge_of(
        EFFECTS_PENDING,
        &["service"],
        "changes (halts, opt-outs, settings, keys) stored for 2 s and not yet in effect everywhere",
    ),
    seconds_of(CLAIM_SECONDS, &["channel"], "one round trip that records and claims"),
    seconds_of(GATEWAY_SECONDS, &["channel", "outcome"], "one call of a gateway"),
    gauge_of(
        GATEWAY_UP,
        &["kind"],
        "0 while any organisation's SMS gateway of the kind is down, else 1",
    ),
    gauge_of(PERMITS_IN_USE, &[], "messages that this process has in `sending`; 128 at most"),
    gauge_of(PARKED, &["service"], "what waits for an operator"),
    gauge_of(PARKED_BATCHES, &[], "batches that wait for an operator: nothing is heard of them"),
    counter_of(
        MARKS_UNREADABLE,
        &["service"],
        "marks that could not be read; dropped, for the next one says as much",
    ),
    gauge_of(
        EVENTS_MISSED,
        &["service", "stream"],
        "events dropped by their producer before this service had them; an alert above 0",
    ),
    counter_of(
        EVIDENCE_BASELESS,
        &["channel"],
        "receipts for messages that were never attempted; not applied",
    ),
    counter_of(
        PARTS_DIFFERING,
        &["channel"],
        "messages of which the provider counts other parts than are posted",
    ),
    gauge_of(
        REPORT_DISAGREEMENTS,
        &[],
        "batches whose messages, recounted at night, differ from their totals; an alert above 0",
    ),
    gauge_of(COLLECTOR_UP, &["collector"], "1 if the values read at this scrape are fresh, else 0"),
];

const BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A collector that takes longer keeps its last values.
const LIMIT: Duration = Duration::from_secs(3);
/// Scrapes closer together than this share what was read.
const FRESH: Duration = Duration::from_secs(2);
/// Histograms keep what was measured in memory until they are swept.
const SWEEP: Duration = Duration::from_secs(5);

type Reading = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Collector = Arc<dyn Fn() -> Reading + Send + Sync>;

#[derive(Default)]
struct Collectors {
    all: Mutex<BTreeMap<String, Collector>>,
    /// One scrape reads, the others wait for it.
    read_at: tokio::sync::Mutex<Option<Instant>>,
}

fn collectors() -> &'static Collectors {
    static COLLECTORS: OnceLock<Collectors> = OnceLock::new();
    COLLECTORS.get_or_init(Collectors::default)
}

/// The process's recorder, installed on first use.
fn recorder() -> &'static Result<PrometheusHandle, String> {
    static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let builder = METRICS.iter().filter(|metric| metric.kind == Kind::Histogram).try_fold(
            PrometheusBuilder::new(),
            |builder, metric| {
                builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), &BUCKETS)
            },
        );
        let recorder = builder.map_err(|error| error.to_string())?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        describe();
        Ok(handle)
    })
}

fn describe() {
    for metric in &METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, Unit::Seconds, metric.help),
        }
    }
}

/// Starts measuring. Said again, it changes nothing; what was measured before is lost.
pub fn start(stop: &crate::Stop) -> Result<(), String> {
    let handle = recorder().as_ref().map_err(Clone::clone)?;
    let stopping = stop.clone();
    stop.spawn("metrics", async move {
        while stopping.sleep(SWEEP).await {
            handle.run_upkeep();
        }
        Ok::<(), String>(())
    });
    Ok(())
}

/// Reads values whenever `/metrics` is asked for: `read` sets gauges from the database, say. It
/// may take 3 s. Another of the same name takes the place of an earlier one.
pub fn collect<F, Fut, E>(name: impl Into<String>, read: F)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display,
{
    let collector: Collector = Arc::new(move || {
        let reading = read();
        Box::pin(async move { reading.await.map_err(|error| error.to_string()) })
    });
    let mut all = collectors().all.lock().unwrap_or_else(PoisonError::into_inner);
    all.insert(name.into(), collector);
}

/// Sets a gauge of whole numbers.
pub fn show(name: &'static str, labels: &[(&'static str, &str)], value: i64) {
    // A gauge is a double: exact up to 2^53, which no count of ours reaches.
    #[allow(clippy::cast_precision_loss)]
    gauge!(name, owned(labels)).set(value as f64);
}

/// Adds to a counter of this process; with 0 it is shown from the start.
pub fn count(name: &'static str, labels: &[(&'static str, &str)], more: u64) {
    counter!(name, owned(labels)).increment(more);
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<Label> {
    labels.iter().map(|(key, value)| Label::new(*key, (*value).to_owned())).collect()
}

/// Everything in Prometheus' text format, freshly read.
pub async fn render() -> Result<String, String> {
    let handle = recorder().as_ref().map_err(Clone::clone)?;
    let mut read_at = collectors().read_at.lock().await;
    if read_at.is_none_or(|at| at.elapsed() > FRESH) {
        read_all().await;
        *read_at = Some(Instant::now());
    }
    Ok(handle.render())
}

async fn read_all() {
    let all = collectors().all.lock().unwrap_or_else(PoisonError::into_inner).clone();
    join_all(all.into_iter().map(|(name, collector)| async move {
        let outcome = tokio::time::timeout(LIMIT, collector()).await;
        let is_up = match outcome {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(collector = name, error, "metrics could not be read");
                false
            }
            Err(_) => {
                tracing::warn!(collector = name, "metrics were not read within 3 s");
                false
            }
        };
        gauge!(COLLECTOR_UP, "collector" => name).set(if is_up { 1.0 } else { 0.0 });
    }))
    .await;
}

#[cfg(test)]
mod tests {
    use metrics::histogram;

    use super::*;

    #[tokio::test]
    async fn values_are_read_when_they_are_asked_for() {
        let stop = crate::Stop::new();
        start(&stop).expect("started");
        start(&stop).expect("and again");
        collect("good", || async {
            gauge!(OUTBOX_ROWS, "service" => "test").set(7.0);
            Ok::<(), String>(())
        });
        collect("bad", || async { Err("the database is gone") });
        histogram!(CLAIM_SECONDS, "channel" => "sms").record(0.003);
        let text = render().await.expect("rendered");
        for line in [
            "carillon_outbox_rows{service=\"test\"} 7",
            "carillon_collector_up{collector=\"good\"} 1",
            "carillon_collector_up{collector=\"bad\"} 0",
            "carillon_claim_seconds_bucket{channel=\"sms\",le=\"0.0025\"} 0",
            "carillon_claim_seconds_bucket{channel=\"sms\",le=\"0.005\"} 1",
            "# TYPE carillon_outbox_rows gauge",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        stop.now();
    }

    #[test]
    fn the_documentation_lists_every_metric_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/metrics.md");
        let page = std::fs::read_to_string(path).expect("docs/metrics.md");
        let rows: Vec<&str> =
            page.lines().filter(|line| line.starts_with("| `carillon_")).collect();
        let known: Vec<String> = METRICS
            .iter()
            .map(|metric| {
                let kind = format!("{:?}", metric.kind).to_lowercase();
                let (name, help) = (metric.name, metric.help);
                format!("| `{name}` | {kind} | {} | {help} |", metric.labels.join(", "))
            })
            .collect();
        assert_eq!(rows, known, "docs/metrics.md; write:\n{}", known.join("\n"));
    }
}
