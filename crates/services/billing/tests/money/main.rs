//! Holds, totals and credits through the service's own doors, in any order.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod concurrency;
mod world;

use std::sync::Arc;

use carillon_broker::memory::MemoryBroker;
use carillon_contracts::billing::v1::{GetAccountRequest, ListEntriesRequest};
use proptest::prelude::*;
use tonic::Code;

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
    let mut accounts = billing.doors.accounts.clone();
    let list = ListEntriesRequest { page_size: 2, page_token: String::new() };
    let first = accounts.list_entries(keyed(list)).await.unwrap().into_inner();
    let list = ListEntriesRequest { page_size: 100, page_token: first.next_page_token.clone() };
    let rest = accounts.list_entries(keyed(list)).await.unwrap().into_inner();
    assert_eq!(first.entries.len(), 2);
    let all: Vec<(String, i64)> = first
        .entries
        .into_iter()
        .chain(rest.entries)
        .map(|entry| (entry.kind, entry.amount))
        .collect();
    let line = |kind: &str, amount| (kind.to_owned(), amount);
    let wanted = [line("credit", 100), line("hold", 60), line("settle", 50), line("return", 10)];
    assert_eq!(all, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_no_account() {
    let billing = Billing::new().await;
    let mut accounts = billing.doors.accounts;
    let refused = accounts.get_account(GetAccountRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[derive(Debug, Clone)]
enum Act {
    Credit(i64),
    Hold(u128, i64),
    /// Totals of a batch at some version; what they say follows from what is granted.
    Totals(u128, u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (1_i64..200).prop_map(Act::Credit),
        (0_u128..4, 1_i64..120).prop_map(|(batch, wanted)| Act::Hold(batch, wanted)),
        (0_u128..4, 1_u64..12).prop_map(|(batch, version)| Act::Totals(batch, version)),
    ];
    prop::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any order of credits, holds and totals (stale and repeated ones too) keeps the sum, and
    /// once every batch is closed nothing is held.
    #[test]
    fn the_sum_holds_whatever_comes_in_whatever_order(acts in acts()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            // The broker is not what is asked about here.
            let billing = Billing::on(Arc::new(MemoryBroker::new())).await;
            let mut granted = [0_i64; 4];
            for (step, act) in acts.iter().enumerate() {
                match *act {
                    Act::Credit(amount) => {
                        billing.credit(amount, &step.to_string()).await.unwrap();
                    }
                    Act::Hold(batch, wanted) => {
                        let now = billing.hold(batch, wanted).await;
                        assert!(now >= granted[batch as usize], "a grant never falls");
                        granted[batch as usize] = now;
                    }
                    Act::Totals(batch, version) => {
                        let posted = granted[batch as usize] / 2;
                        let told = totals(version, 200, posted as u64, false);
                        billing.tell(&[(batch, told.clone()), (batch, told)]).await;
                    }
                }
                billing.account().await;
            }
            for batch in 0..4_u128 {
                let posted = granted[batch as usize] as u64 / 2;
                billing.tell(&[(batch, totals(100, posted, posted, true))]).await;
            }
            assert_eq!(billing.account().await.held, 0);
        });
    }
}
