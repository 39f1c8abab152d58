//! Who credited what is told once for each payment.

use carillon_broker::topology;
use carillon_contracts::events::v1::{AuditRecorded, Event, event::Body};
use prost::Message as _;
use uuid::Uuid;

use crate::world::Billing;

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_is_told_once_with_the_key_that_made_it() {
    let billing = Billing::new().await;
    let mut audit = billing.consume(topology::CAMPAIGN_API, topology::AUDIT_RECORDED).await;
    let expected = [
        (
            (5_000, "invoice-1"),
            r#"{"available":0}"#,
            r#"{"amount":5000,"available":5000,"request_id":"invoice-1"}"#,
        ),
        (
            (7, "invoice-3"),
            r#"{"available":5000}"#,
            r#"{"amount":7,"available":5007,"request_id":"invoice-3"}"#,
        ),
    ];
    for ((amount, request_id), before, after) in expected {
        billing.credit(amount, request_id).await.unwrap();
        let delivery = audit.next().await.unwrap();
        let event = Event::decode(delivery.body.clone()).unwrap();
        delivery.ack();
        assert_eq!(event.organisation_id, billing.organisation.to_wire());
        let recorded = AuditRecorded {
            key_id: Uuid::from_u128(9).as_bytes().to_vec().into(),
            key_prefix: "crl_12345678".into(),
            act: "balance.credited".into(),
            subject: "account".into(),
            before: before.into(),
            after: after.into(),
        };
        assert_eq!(event.body, Some(Body::AuditRecorded(recorded)));
        billing.credit(amount, request_id).await.unwrap();
        billing.credit(amount + 1, request_id).await.unwrap_err();
        billing.credit(0, "invoice-2").await.unwrap_err();
    }
}
