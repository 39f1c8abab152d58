use carillon_broker::topology;
use carillon_contracts::{
    campaign::v1::{ListAlertsRequest, ListAlertsResponse},
    events::v1::{BalanceLow, GatewayChanged, event::Body},
};
use carillon_testkit::eventually;
use tonic::Code;

use crate::world::{World, with_key};

async fn page(world: &World, key: &str, page_size: i32, page_token: &str) -> ListAlertsResponse {
    let request = ListAlertsRequest { page_size, page_token: page_token.into() };
    let answer = world.organisations().list_alerts(with_key(request, key)).await;
    answer.expect("a page").into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_balance_is_listed_newest_first_for_whom_it_concerns() {
    let world = World::new().await;
    let billing = world.neighbour(topology::BILLING);
    for available in [49, 3] {
        billing.tell(Body::BalanceLow(BalanceLow { available, low_balance: 50 })).await;
    }
    eventually("both are kept", async || page(&world, &world.key, 0, "").await.alerts.len() == 2)
        .await;
    let first = page(&world, &world.key, 1, "").await;
    assert_eq!(first.alerts[0].kind, "balance_low");
    assert_eq!(
        first.alerts[0].message,
        "3 credits are available, fewer than 50; add some with `carillon balance credit`, or \
         messages wait"
    );
    assert!(first.alerts[0].create_time.is_some());
    let rest = page(&world, &world.key, 1, &first.next_page_token).await;
    assert!(rest.alerts[0].message.starts_with("49 credits"), "{rest:?}");
    assert!(rest.next_page_token.is_empty());
    let (_, other) = world.create_organisation("Another").await;
    assert!(page(&world, &other, 0, "").await.alerts.is_empty());
    let wrong = ListAlertsRequest { page_token: "x".into(), ..ListAlertsRequest::default() };
    let refused = world.organisations().list_alerts(world.ours(wrong)).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_goes_down_and_comes_up_is_listed() {
    let world = World::new().await;
    let dispatcher = world.neighbour(topology::SMS_DISPATCHER);
    let gateway = "smpp/smsc.example:2775/cafe".to_owned();
    let down = GatewayChanged { gateway, code: "connect_refused".into(), ..Default::default() };
    let with_standby = GatewayChanged { has_standby: true, code: String::new(), ..down.clone() };
    let up = GatewayChanged { up: true, ..with_standby.clone() };
    for (told, changed) in [down, with_standby, up].into_iter().enumerate() {
        dispatcher.tell(Body::GatewayChanged(changed)).await;
        let all = || async { page(&world, &world.key, 0, "").await.alerts.len() > told };
        eventually("it is kept", all).await;
    }
    let alerts = page(&world, &world.key, 0, "").await.alerts;
    let alerts: Vec<(&str, &str)> =
        alerts.iter().map(|alert| (&*alert.kind, &*alert.message)).collect();
    assert_eq!(
        alerts,
        [
            ("gateway_up", "the SMS gateway smpp/smsc.example:2775/cafe works again"),
            (
                "gateway_down",
                "the SMS gateway smpp/smsc.example:2775/cafe does not work; messages leave by the \
                 organisation's other gateway meanwhile"
            ),
            (
                "gateway_down",
                "the SMS gateway smpp/smsc.example:2775/cafe does not work (connect_refused); \
                 messages are tried again until their deadlines; a standby is set with `carillon \
                 org sms --standby`"
            ),
        ]
    );
}
