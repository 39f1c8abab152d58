//! A filter that is asked each time.
//!
//! Where every filter said "always" of a place in the code, none is asked again there, and an
//! earlier question on the same thread that led to nothing (one of the `log` crate, or `enabled!`)
//! is taken for the answer: the event or span is lost.

use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    filter::LevelFilter,
    layer::{Context, Filter},
};

pub(super) struct Asked<F>(pub F);

impl<S: Subscriber, F: Filter<S>> Filter<S> for Asked<F> {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.0.enabled(metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.0.callsite_enabled(metadata);
        if interest.is_always() { Interest::sometimes() } else { interest }
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        self.0.event_enabled(event, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tracing_subscriber::{Layer, filter::Targets, prelude::*};

    use super::*;

    struct Counts(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Counts {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_question_that_led_to_nothing_hides_no_event() {
        let counted = Arc::new(AtomicUsize::new(0));
        let filter = || Asked(Targets::new().with_target("shown", LevelFilter::INFO));
        let layers = tracing_subscriber::registry()
            .with(Counts(Arc::clone(&counted)).with_filter(filter()))
            .with(Counts(Arc::default()).with_filter(filter()));
        tracing::subscriber::with_default(layers, || {
            tracing::dispatcher::get_default(|dispatch| {
                let metadata = tracing::metadata!(
                    name: "asked", target: "hidden", level: tracing::Level::INFO, fields: &[],
                    callsite: &CALLSITE, kind: tracing::metadata::Kind::EVENT
                );
                dispatch.enabled(&metadata);
            });
            tracing::info!(target: "shown", "an event");
        });
        assert_eq!(counted.load(Ordering::Relaxed), 1);
    }

    struct Nowhere;

    static CALLSITE: Nowhere = Nowhere;

    impl tracing::Callsite for Nowhere {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody registers it")
        }
    }
}
