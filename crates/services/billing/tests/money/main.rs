//! Holds, totals and credits through the service's own doors, in any order.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod any_order;
mod auditing;
mod concurrency;
mod world;

use carillon_contracts::{
    billing::v1::{GetAccountRequest, ListHoldsRequest},
    campaign::v1::Organisation,
    ids::CampaignId,
};
use carillon_service_kit::database::Sql as _;
use tonic::Code;
use uuid::Uuid;

use crate::world::{Billing, keyed, totals};

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_counts_once_per_request_id() {
    let billing = Billing::new().await;
    assert_eq!(billing.credit(5_000, "invoice-1").await.unwrap().available, 5_000);
    assert_eq!(billing.credit(5_000, "invoice-1").await.unwrap().available, 5_000);
    let refused = billing.credit(2_000, "invoice-1").await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(
        refused.message(),
        "request_id: 'invoice-1' already credited 5000, not 2000; use another request_id for \
         another payment"
    );
    assert_eq!(billing.credit(0, "x").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(billing.credit(1, "").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_asked_for_again_grants_nothing_more() {
    let billing = Billing::new().await;
    billing.credit(100, "a").await.unwrap();
    assert_eq!(billing.hold(1, 60).await, 60);
    assert_eq!(billing.hold(1, 60).await, 60);
    assert_eq!(billing.hold(2, 60).await, 40);
    assert_eq!(billing.account().await.available, 0);
    billing.credit(50, "b").await.unwrap();
    assert_eq!(billing.hold(2, 60).await, 60);
    assert_eq!(billing.account().await.available, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_settle_and_return_what_is_not_needed() {
    let billing = Billing::new().await;
    billing.credit(100, "a").await.unwrap();
    billing.hold(1, 60).await;
    billing.tell(&[(1, totals(2, 60, 40, false)), (1, totals(1, 60, 10, false))]).await;
    let account = billing.account().await;
    assert_eq!((account.available, account.held, account.spent), (40, 20, 40));
    billing.tell(&[(1, totals(3, 55, 55, true)), (1, totals(3, 55, 55, true))]).await;
    let account = billing.account().await;
    assert_eq!((account.available, account.held, account.spent), (45, 0, 55));
    assert_eq!(billing.hold(1, 60).await, 60, "a closed batch is granted no more");
    assert_eq!(billing.account().await.available, 45);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_closed_before_its_hold_is_granted_nothing() {
    let billing = Billing::new().await;
    billing.credit(100, "a").await.unwrap();
    billing.tell(&[(9, totals(1, 0, 0, true))]).await;
    assert_eq!(billing.hold(9, 10).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_heard_before_the_first_hold_do_not_stand_in_its_way() {
    let billing = Billing::new().await;
    billing.credit(100, "a").await.unwrap();
    billing.tell(&[(9, totals(1, 10, 0, false))]).await;
    assert_eq!(billing.hold(9, 10).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_adds_up_line_by_line() {
    let billing = Billing::new().await;
    billing.credit(100, "a").await.unwrap();
    billing.hold(1, 60).await;
    billing.tell(&[(1, totals(1, 50, 50, true))]).await;
    billing.tell(&[(1, totals(2, 49, 49, true))]).await;
    for batch in 10..14 {
        billing.hold(batch, 1).await;
    }
    let lines = billing.ledger().await;
    let all: Vec<(&str, i64)> =
        lines.iter().map(|line| (line.kind.as_str(), line.amount)).collect();
    let wanted = [("credit", 100), ("hold", 60), ("settle", 50), ("return", 10), ("refund", 1)];
    assert_eq!(all[..5], wanted);
    assert_eq!(lines[0].reference, "a");
    let campaign = CampaignId::new(Uuid::from_u128(0xca)).to_string();
    for line in &lines[1..5] {
        assert_eq!(line.reference, Uuid::from_u128(1).to_string());
        assert_eq!(line.campaign_id, campaign);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_show_what_is_kept_back_and_what_was_spent() {
    let billing = Billing::new().await;
    billing.credit(100, "a").await.unwrap();
    billing.hold(1, 60).await;
    billing.hold(2, 60).await;
    billing.tell(&[(1, totals(1, 60, 25, false)), (3, totals(1, 0, 0, true))]).await;
    let list = |include_closed, page_size, page_token: &str| ListHoldsRequest {
        include_closed,
        page_size,
        page_token: page_token.into(),
        ..ListHoldsRequest::default()
    };
    let mut accounts = billing.doors.accounts.clone();
    let open = accounts.list_holds(keyed(list(false, 0, ""))).await.unwrap().into_inner().holds;
    let shown: Vec<_> = open
        .iter()
        .map(|hold| (hold.wanted, hold.granted, hold.held, hold.spent, hold.short))
        .collect();
    assert_eq!(shown, [(60, 60, 35, 25, 0), (60, 40, 40, 0, 20)]);
    let first = accounts.list_holds(keyed(list(true, 2, ""))).await.unwrap().into_inner();
    let rest = list(true, 2, &first.next_page_token);
    let rest = accounts.list_holds(keyed(rest)).await.unwrap().into_inner();
    assert_eq!((first.holds.len(), rest.holds.len()), (2, 1));
    assert!(rest.holds[0].closed && rest.next_page_token.is_empty());
    let other = ListHoldsRequest {
        campaign_id: Uuid::from_u128(9).to_string(),
        ..ListHoldsRequest::default()
    };
    assert!(accounts.list_holds(keyed(other)).await.unwrap().into_inner().holds.is_empty());
    let wrong = ListHoldsRequest { campaign_id: "x".into(), ..ListHoldsRequest::default() };
    let refused = accounts.list_holds(keyed(wrong)).await.unwrap_err();
    assert!(refused.message().starts_with("campaign_id: "), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_falls_low_is_told_of_once_until_a_credit_lifts_it() {
    let billing = Billing::new().await;
    let organisation = Organisation { low_balance: 50, ..Organisation::default() };
    billing.settle(2, organisation).await;
    let told = async || {
        let sql = "SELECT COUNT(*) FROM outbox WHERE stream = 'billing/balance.low'";
        let row = billing.database.database.reader().row(sql, []).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    billing.credit(100, "a").await.unwrap();
    billing.hold(1, 50).await;
    assert_eq!((billing.account().await.low, told().await), (false, 0), "50 are not fewer than 50");
    billing.hold(2, 1).await;
    billing.hold(3, 1).await;
    let account = billing.account().await;
    assert_eq!((account.low, account.low_balance, told().await), (true, 50, 1));
    billing.credit(1, "b").await.unwrap();
    assert!(billing.account().await.low, "49 are still too few");
    billing.credit(1, "c").await.unwrap();
    assert!(!billing.account().await.low);
    billing.hold(4, 10).await;
    assert_eq!((billing.account().await.low, told().await), (true, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_no_account() {
    let billing = Billing::new().await;
    let mut accounts = billing.doors.accounts;
    let refused = accounts.get_account(GetAccountRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
