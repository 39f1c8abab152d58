//! A stop while providers say nothing.

use carillon_contracts::campaign::v1::{SmppGateway, SmsGateway, TwilioGateway, sms_gateway::Kind};
use carillon_sinks::smpp::Smsc;
use carillon_testkit::eventually;
use serde_json::json;
use tokio::net::TcpListener;

use crate::harness::{Harness, Recorded};

fn gateway(kind: Kind) -> Option<SmsGateway> {
    Some(SmsGateway { kind: Some(kind), from: "+15005550006".into(), rate: 0 })
}

fn smpp(url: String) -> Kind {
    Kind::Smpp(SmppGateway { url, system_id: "carillon".into(), ..SmppGateway::default() })
}

/// As if it had never been begun.
fn assert_is_taken_back(recorded: &Recorded) {
    assert_eq!((recorded.state.as_str(), recorded.reason.as_str()), ("queued", "backlog"));
    assert_eq!(recorded.provider_code, "");
}

#[tokio::test]
async fn what_waits_for_a_handshake_or_a_bind_is_taken_back() {
    for scheme in ["https", "smpp"] {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{scheme}://{}", silent.local_addr().expect("its address"));
        let house = Harness::start().await;
        house
            .settings(gateway(match scheme {
                "smpp" => smpp(url),
                _ => Kind::Twilio(TwilioGateway { base_url: url, account: "AC1".into() }),
            }))
            .await;
        let messages = house.send("hello", 5).await;
        let _held = silent.accept().await.expect("somebody");
        house.stop().await;
        for message in messages {
            assert_is_taken_back(&house.recorded(message).await.expect("it was claimed"));
        }
    }
}

#[tokio::test]
async fn a_message_waits_for_an_answer_and_those_behind_it_are_taken_back() {
    let (house, smsc) = (Harness::start().await, Smsc::start().await.expect("it listens"));
    let one = SmppGateway {
        url: smsc.url().to_owned(),
        system_id: "carillon".into(),
        window: 1,
        ..SmppGateway::default()
    };
    house.settings(gateway(Kind::Smpp(one))).await;
    smsc.next([json!({ "delay": 1_000 })]).await;
    let messages = house.send(&"in two parts ".repeat(14), 4).await;
    eventually("one has left", || async { !smsc.events("submit").is_empty() }).await;
    house.stop().await;
    let mut sent = 0;
    for message in messages {
        let recorded = house.recorded(message).await.expect("it was claimed");
        if recorded.state == "sent" {
            sent += 1;
        } else {
            assert_is_taken_back(&recorded);
        }
    }
    assert_eq!((sent, smsc.taken().len()), (1, 2), "the second part is not left out");
}
