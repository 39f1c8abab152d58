//! Holds, totals and credits through the service's own doors, in any order.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod any_order;
mod auditing;
mod concurrency;
mod world;

use carillon_contracts::{
    billing::v1::{GetAccountRequest, ListHoldsRequest},
    campaign::v1::Organisation,
    events::v1::Totals,
};
use carillon_testkit::eventually;
use tonic::Code;
use uuid::Uuid;

use crate::world::{Billing, campaign, keyed, run, totals};

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
    let campaign = campaign().to_string();
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
    let one = ListHoldsRequest {
        batch_id: Uuid::from_u128(2).to_string(),
        ..ListHoldsRequest::default()
    };
    let one = accounts.list_holds(keyed(one)).await.unwrap().into_inner().holds;
    assert_eq!(one, open[1..]);
    let wrong = ListHoldsRequest { campaign_id: "x".into(), ..ListHoldsRequest::default() };
    let refused = accounts.list_holds(keyed(wrong)).await.unwrap_err();
    assert!(refused.message().starts_with("campaign_id: "), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_falls_low_is_told_of_once_until_a_credit_lifts_it() {
    let billing = Billing::new().await;
    let organisation = Organisation { low_balance: 50, ..Organisation::default() };
    billing.settle(2, organisation).await;
    let told = async || billing.alerts().await;
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
async fn a_setting_that_changes_is_told_of_and_lifted_at_once() {
    let billing = Billing::new().await;
    let set = |low_balance| Organisation { low_balance, ..Organisation::default() };
    let until = async |what: &str, low: bool, low_balance: i64| {
        eventually(what, || async {
            let account = billing.account().await;
            (account.low, account.low_balance) == (low, low_balance)
        })
        .await;
    };
    billing.change(2, set(50)).await;
    until("heard of before any credit", false, 50).await;
    billing.credit(400, "a").await.unwrap();
    billing.change(3, set(500)).await;
    until("400 are fewer than 500", true, 500).await;
    billing.change(4, set(600)).await;
    until("and than 600", true, 600).await;
    assert_eq!(billing.alerts().await, 1, "it was low before");
    billing.change(5, set(0)).await;
    until("nobody asks to be told", false, 0).await;
    billing.change(6, set(401)).await;
    until("400 are fewer than 401", true, 401).await;
    assert_eq!(billing.alerts().await, 2);
    assert_eq!(billing.hold(1, 10).await, 10);
    assert_eq!(billing.alerts().await, 2);
    billing.ledger().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_has_its_name_before_the_batchs_first_totals() {
    let billing = Billing::new().await;
    billing.credit(100, "a").await.unwrap();
    billing.hold(1, 60).await;
    let ours =
        ListHoldsRequest { campaign_id: campaign().to_string(), ..ListHoldsRequest::default() };
    let mut accounts = billing.doors.accounts.clone();
    let holds = accounts.list_holds(keyed(ours)).await.unwrap().into_inner().holds;
    assert_eq!(holds.len(), 1);
    assert_eq!(
        (&holds[0].campaign_id, &holds[0].run_id),
        (&campaign().to_string(), &run().to_string())
    );
    assert_eq!(billing.ledger().await[1].campaign_id, campaign().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_message_fits_in_stays_for_another_batch() {
    let billing = Billing::new().await;
    billing.credit(100, "a").await.unwrap();
    let threes = |count: usize| vec![3_u32; count];
    assert_eq!(billing.ask(1, 1_500, 0, &threes(500)).await, 99);
    billing.credit(1, "b").await.unwrap();
    assert_eq!(billing.ask(2, 1_500, 0, &threes(500)).await, 0);
    assert_eq!(billing.ask(1, 1_500, 99, &threes(467)).await, 99);
    assert_eq!(billing.account().await.available, 2);
    billing.credit(1, "c").await.unwrap();
    assert_eq!(billing.ask(2, 1_500, 0, &threes(500)).await, 3);
    assert_eq!(billing.ask(2, 1_500, 0, &threes(500)).await, 3, "told twice");
    assert_eq!(billing.account().await.available, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_batches_give_back_pays_a_message_of_a_third() {
    let billing = Billing::new().await;
    billing.credit(10, "a").await.unwrap();
    assert_eq!(billing.ask(1, 8, 0, &[2, 3, 3]).await, 8);
    assert_eq!(billing.ask(2, 8, 0, &[2, 3, 3]).await, 2);
    // The first message of each failed: two credits of the one, none of the other fit a next one.
    let back = |version, needed, posted, returned_units| Totals {
        returned_units,
        ..totals(version, needed, posted, false)
    };
    billing.tell(&[(1, back(1, 6, 6, 0)), (2, back(1, 6, 0, 2))]).await;
    let account = billing.account().await;
    assert_eq!((account.available, account.held, account.spent), (4, 0, 6));
    // What was given back is granted again, on top of what was ever granted.
    assert_eq!(billing.ask(2, 8, 0, &[3, 3]).await, 5);
    assert_eq!(billing.account().await.available, 1);
    billing.tell(&[(2, back(2, 6, 3, 2)), (2, back(1, 6, 0, 2))]).await;
    let account = billing.account().await;
    assert_eq!((account.available, account.held, account.spent), (1, 0, 9));
    billing.ledger().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_no_account() {
    let billing = Billing::new().await;
    let mut accounts = billing.doors.accounts;
    let refused = accounts.get_account(GetAccountRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
