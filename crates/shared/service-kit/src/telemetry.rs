//! Logs (text for people, JSON for collectors) and traces (OTLP, where an endpoint is configured);
//! both without personal data.

mod asked;
mod context;
mod server;

use std::{io::IsTerminal as _, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use serde::Deserialize;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, filter::Targets, fmt, prelude::*,
};

use asked::Asked;
pub use context::{link, traceparent, with_remote_parent};
pub use server::{ServerSpans, ServerSpansLayer};

/// The collector gets what is left within this, or not at all.
const FLUSH: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// What is logged, such as `info,carillon_dispatch=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "warn".into() }
    }
}

/// Where spans go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// A collector's OTLP/gRPC address, such as `http://127.0.0.1:4317`. Without it nothing is traced.
    pub otlp_endpoint: Option<String>,
    /// The share of new traces that are recorded, 0 to 1. Who continues a trace does as its caller.
    pub sample_ratio: f64,
}

impl Default for Traces {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample_ratio: 1.0 }
    }
}

/// What was started; `finish` sends what is left.
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends the spans that are still in memory.
    pub async fn finish(self) {
        let Some(provider) = self.provider else { return };
        let done = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "spans were lost at the stop");
        }
    }
}

/// Starts logging to stderr and tracing, once a process; called within its runtime.
pub fn start(service: &str, log: &Log, traces: &Traces) -> Result<Telemetry, String> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|error| format!("log.filter: '{}' is not a log filter: {error}", log.filter))?;
    let provider = provider(service, traces)?;
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("carillon"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // Logs go their own way; an error's text is no part of a trace.
            .with_error_events_to_exceptions(false)
            .with_filter(Asked(Targets::new().with_target("carillon", LevelFilter::INFO)))
    });
    let logs = written(log.format).with_filter(Asked(filter));
    let started = tracing_subscriber::registry().with(logs).with(spans).try_init();
    started.map_err(|error| error.to_string())?;
    Ok(Telemetry { provider })
}

fn written(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().boxed(),
    }
}

fn provider(service: &str, traces: &Traces) -> Result<Option<SdkTracerProvider>, String> {
    if !(0.0..=1.0).contains(&traces.sample_ratio) {
        let given = traces.sample_ratio;
        return Err(format!(
            "telemetry.sample_ratio: {given} is not a share; give a number from 0 to 1"
        ));
    }
    let Some(endpoint) = &traces.otlp_endpoint else { return Ok(None) };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
    let exporter = exporter.map_err(|error| {
        format!(
            "telemetry.otlp_endpoint: '{endpoint}' cannot be used: {error}; write http://HOST:PORT"
        )
    })?;
    let instance = uuid::Uuid::new_v4().to_string();
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("service.namespace", "carillon"))
        .with_attribute(KeyValue::new("service.instance.id", instance))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(traces.sample_ratio)));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(resource);
    Ok(Some(provider.build()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_traces_is_a_share() {
        let traces = Traces { sample_ratio: 2.0, ..Traces::default() };
        let refused = provider("test", &traces).expect_err("refused");
        assert_eq!(refused, "telemetry.sample_ratio: 2 is not a share; give a number from 0 to 1");
    }

    #[test]
    fn nothing_is_traced_without_a_collector() {
        assert!(provider("test", &Traces::default()).expect("fine").is_none());
    }
}
