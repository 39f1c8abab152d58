//! Two processes of billing on one database, asked at the same time.

use carillon_contracts::campaign::v1::Organisation;
use carillon_testkit::eventually;

use crate::world::{Billing, Doors, totals};

const BATCHES: u128 = 12;
const WANTED: i64 = 100;

/// Every batch asked for by both, again and again, while credits arrive.
async fn ask(mut doors: Doors, replica: usize) {
    for round in 0..6_u128 {
        for batch in 0..BATCHES {
            // In an order of its own, so that the two meet everywhere.
            let batch = if replica == 0 { batch } else { BATCHES - 1 - batch };
            let granted = doors.hold(batch, WANTED).await;
            assert!((0..=WANTED).contains(&granted), "{granted}");
            doors.account().await;
        }
        // The same payment reaches both; it counts once.
        doors.credit(100, &format!("invoice-{round}")).await.unwrap();
        doors.credit(1, &format!("own-{replica}-{round}")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_credits_and_totals_of_two_replicas_keep_the_sum() {
    let billing = Billing::new().await;
    billing.credit(300, "first").await.unwrap();
    let replicas = [billing.doors.clone(), billing.replica().await];
    let asking: Vec<_> = replicas
        .iter()
        .enumerate()
        .map(|(number, doors)| tokio::spawn(ask(doors.clone(), number)))
        .collect();
    // All is still needed, whatever was granted.
    for version in 1..=4_u64 {
        let all: Vec<_> =
            (0..BATCHES).map(|batch| (batch, totals(version, 100, 0, false))).collect();
        billing.tell(&all).await;
        billing.account().await;
    }
    for asking in asking {
        asking.await.unwrap();
    }
    let mut granted = Vec::new();
    for batch in 0..BATCHES {
        granted.push(billing.hold(batch, WANTED).await);
    }
    let account = billing.account().await;
    assert_eq!(account.credited, 300 + 6 * 100 + 2 * 6);
    assert_eq!(account.available, 0, "the batches want more than there is");
    assert_eq!(granted.iter().sum::<i64>(), account.held, "no credit is granted twice");
    let closed: Vec<_> = (0..BATCHES)
        .zip(&granted)
        .map(|(batch, granted)| (batch, totals(9, *granted as u64 / 2, *granted as u64 / 2, true)))
        .collect();
    billing.tell(&closed).await;
    let account = billing.account().await;
    let spent: i64 = granted.iter().map(|granted| granted / 2).sum();
    assert_eq!((account.held, account.spent), (0, spent));
    billing.ledger().await;
}

/// More than a process has connections. Each that is granted looks whether the balance is low.
#[tokio::test(flavor = "multi_thread")]
async fn forty_holds_at_once_are_all_answered() {
    let billing = Billing::new().await;
    let organisation = Organisation { low_balance: 500, ..Organisation::default() };
    billing.settle(2, organisation).await;
    billing.credit(1_000, "first").await.unwrap();
    let asking: Vec<_> = (0..40_u128)
        .map(|batch| {
            let mut doors = billing.doors.clone();
            tokio::spawn(async move { doors.hold(batch, 20).await })
        })
        .collect();
    for asking in asking {
        assert_eq!(asking.await.unwrap(), 20);
    }
    let account = billing.account().await;
    assert_eq!((account.available, account.held, account.low), (200, 800, true));
    assert_eq!(billing.alerts().await, 1);
    billing.ledger().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_that_race_with_the_first_hold_are_counted_once() {
    let billing = Billing::new().await;
    billing.credit(10_000, "first").await.unwrap();
    let mut other = billing.replica().await;
    let holding = tokio::spawn(async move {
        for batch in 100..140_u128 {
            assert_eq!(other.hold(batch, 10).await, 10);
        }
    });
    for batch in 100..140_u128 {
        billing.tell(&[(batch, totals(1, 10, 0, false))]).await;
    }
    holding.await.unwrap();
    let done: Vec<_> = (100..140_u128).map(|batch| (batch, totals(2, 10, 10, true))).collect();
    billing.tell(&done).await;
    eventually("all is spent", || async {
        let account = billing.account().await;
        (account.held, account.spent) == (0, 400)
    })
    .await;
}
