//! What travels beside an event's body.

use carillon_broker::Delivery;

const STREAM: &str = "carillon-stream";
const SEQ: &str = "carillon-seq";
const FLOOR: &str = "carillon-floor";

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
