//! What providers count of a message's parts, beside our own count.

use crate::harness::{Harness, TOKEN};
use carillon_contracts::campaign::v1::{HttpGateway, SmsGateway, TwilioGateway, sms_gateway::Kind};
use carillon_service_kit::{Stop, metrics};
use carillon_sinks::sms::{Behaviour, Options, SmsSink};

/// Of a text of one part.
const COUNTED: [(Behaviour, Option<i64>); 4] = [
    (Behaviour::Accept, None),
    (Behaviour::AcceptCounting(1), Some(1)),
    // Not counted yet.
    (Behaviour::AcceptCounting(0), None),
    (Behaviour::AcceptCounting(3), Some(3)),
];

#[tokio::test]
async fn a_providers_count_is_kept_and_one_that_differs_is_counted_and_not_posted() {
    let stop = Stop::new();
    metrics::start(&stop).expect("started");
    let login = Some(("AC1".to_owned(), TOKEN.to_owned()));
    let twilio = SmsSink::start(Options { login, ..Options::default() }).await.expect("it listens");
    let plain = SmsSink::start(Options::default()).await.expect("it listens");
    let as_twilio = TwilioGateway { base_url: twilio.url(), account: "AC1".into() };
    let described = HttpGateway {
        url: format!("{}/send", plain.url()),
        units_pointer: "/parts".into(),
        ..HttpGateway::default()
    };
    let gateways = [(&twilio, Kind::Twilio(as_twilio)), (&plain, Kind::Http(described))];
    for (differing, (sink, kind)) in (1..).zip(gateways) {
        let house = Harness::start().await;
        house.settings(Some(SmsGateway { kind: Some(kind), from: "Cafe".into(), rate: 0 })).await;
        for (behaviour, kept) in COUNTED {
            sink.next([behaviour.clone()]);
            let message = house.send("hello", 1).await[0];
            let recorded = house.until(message, "sent").await;
            assert_eq!((recorded.provider_parts, recorded.units), (kept, 1), "{behaviour:?}");
        }
        assert_eq!(sink.total(), 4);
        let shown = metrics::render().await.expect("rendered");
        let line = format!("carillon_parts_differing_total{{channel=\"sms\"}} {differing}");
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in:\n{shown}");
        house.stop().await;
    }
    stop.now();
}
