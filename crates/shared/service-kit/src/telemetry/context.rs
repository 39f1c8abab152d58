//! W3C trace context: where a span's work came from, as it travels in gRPC metadata, broker
//! headers and table columns. All of it is nothing where nothing is traced.

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The `traceparent` of the current span; empty if there is none.
pub fn traceparent() -> String {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    if span.is_valid() { written(&span) } else { String::new() }
}

/// Lets `span` continue the trace of `traceparent`. To be called before the span is entered;
/// what is no `traceparent` changes nothing.
pub fn with_remote_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = read(traceparent) {
        // Refused only where nothing is traced.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Notes that `span` was caused by that of `traceparent`, among others.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(cause) = read(traceparent) {
        span.add_link(cause);
    }
}

fn written(span: &SpanContext) -> String {
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), flags.to_u8())
}

/// Version 00, and later ones as far as they begin like it.
fn read(traceparent: &str) -> Option<SpanContext> {
    let mut fields = traceparent.trim().split('-');
    let (version, trace, span, flags) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let lengths = [(version, 2), (trace, 32), (span, 16), (flags, 2)];
    if !lengths.into_iter().all(|(text, length)| is_hex(text, length)) || version == "ff" {
        return None;
    }
    if version == "00" && fields.next().is_some() {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };
    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().expect("whole").extend(spans);
            Ok(())
        }
    }

    const THERE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_no_traceparent_is_nothing() {
        assert_eq!(read(THERE).map(|span| written(&span)).as_deref(), Some(THERE));
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
        let later = THERE.replacen("00", "01", 1) + "-more";
        assert!(read(&later).is_some(), "a later version is read as far as it is known");
    }

    #[test]
    fn without_a_tracer_there_is_no_parent_to_hand_on() {
        let span = tracing::info_span!("alone");
        with_remote_parent(&span, THERE);
        link(&span, THERE);
        assert_eq!(span.in_scope(traceparent), "");
    }

    #[test]
    fn a_trace_goes_on_and_causes_are_linked() {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let handed_on =
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                let span = tracing::info_span!("work");
                with_remote_parent(&span, THERE);
                link(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
                span.in_scope(traceparent)
            });
        let spans = kept.0.lock().expect("whole");
        let span = &spans[0];
        assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
        assert_eq!(span.links.links[0].span_context.span_id().to_string(), "b7ad6b7169203331");
        assert_eq!(handed_on, written(&span.span_context), "the next one continues this span");
        assert!(handed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    }
}
