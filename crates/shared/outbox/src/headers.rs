//! What travels beside an event's body.

use carillon_broker::Delivery;
use prost::Message as _;

const STREAM: &str = "carillon-stream";
const SEQ: &str = "carillon-seq";
const FLOOR: &str = "carillon-floor";
const TRACE: &str = "traceparent";

pub(crate) struct Position {
    pub stream: String,
    pub seq: i64,
    /// The lowest seq that the producer keeps.
    pub floor: i64,
}

impl Position {
    pub(crate) fn to_headers(&self) -> Vec<(String, String)> {
        vec![
            (STREAM.into(), self.stream.clone()),
            (SEQ.into(), self.seq.to_string()),
            (FLOOR.into(), self.floor.to_string()),
        ]
    }

    pub(crate) fn of(delivery: &Delivery) -> Option<Self> {
        let header = |name: &str| {
            delivery.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        Some(Self {
            stream: header(STREAM)?.to_owned(),
            seq: header(SEQ)?.parse().ok()?,
            floor: header(FLOOR)?.parse().ok()?,
        })
    }
}

/// The one field of an event that the relay reads; decoding skips over the rest.
#[derive(prost::Message)]
struct Trace {
    #[prost(string, tag = "3")]
    traceparent: String,
}

/// The header that tells brokers and consumers which trace the event belongs to, if it does.
pub(crate) fn trace_of(body: &[u8]) -> Option<(String, String)> {
    let Trace { traceparent } = Trace::decode(body).ok()?;
    (!traceparent.is_empty()).then(|| (TRACE.into(), traceparent))
}

#[cfg(test)]
mod tests {
    use carillon_contracts::events::v1::{BalanceRaised, Event, event::Body};

    use super::*;

    #[test]
    fn an_event_s_trace_is_read_without_its_body() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let body = Some(Body::BalanceRaised(BalanceRaised { available: 7 }));
        let event = Event { traceparent: traceparent.into(), body, ..Event::default() };
        let header = trace_of(&event.encode_to_vec());
        assert_eq!(header, Some(("traceparent".into(), traceparent.into())));
        assert_eq!(trace_of(&Event::default().encode_to_vec()), None);
    }
}
