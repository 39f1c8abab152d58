use carillon_contracts::audience::v1::Customer;

use crate::world::{KEY, World, count, customer, reachable};

/// Addresses whose count differs from the customers that have them.
pub async fn miscounted(world: &World) -> i64 {
    let sql = "
        WITH used AS (
            SELECT 1 AS channel, phone_hash AS hash, COUNT(*) AS customers FROM customers
            WHERE phone_hash IS NOT NULL GROUP BY phone_hash
            UNION ALL
            SELECT 2, email_hash, COUNT(*) FROM customers
            WHERE email_hash IS NOT NULL GROUP BY email_hash
        )
        SELECT (SELECT COUNT(*) FROM used u WHERE NOT EXISTS (
            SELECT 1 FROM address_uses a
            WHERE a.channel = u.channel AND a.hash = u.hash AND a.customers = u.customers))
        + (SELECT COUNT(*) FROM address_uses) - (SELECT COUNT(*) FROM used)";
    count(&world.database, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_of_the_same_customers_at_once_leave_one_consistent_result() {
    let mut world = World::new().await;
    let rows = |shift: usize| -> Vec<Customer> {
        let row = |number: usize| Customer {
            phone: reachable(number + shift).phone,
            points: 10,
            ..reachable(number)
        };
        (0..200).map(row).collect()
    };
    let importing = (0..4).map(|shift| {
        let mut customers = world.customers.clone();
        let rows = rows(shift);
        tokio::spawn(async move {
            let request = carillon_contracts::audience::v1::ImportCustomersRequest {
                customers: rows,
                update_mask: None,
            };
            let request = crate::world::signed(futures::stream::iter([request]), KEY);
            let mut answers = customers.import_customers(request).await.expect("accepted");
            answers.get_mut().message().await.expect("imported").expect("an answer")
        })
    });
    let importing: Vec<_> = importing.collect();
    for import in importing {
        let answer = import.await.expect("ended");
        assert_eq!(answer.stored + answer.unchanged, 200);
    }
    assert_eq!(miscounted(&world).await, 0);
    let recorded = count(&world.database, "SELECT SUM(amount) FROM activities").await;
    assert_eq!(recorded, 200 * 10 * 10_000, "each balance was set from 0 to 10 once");
    let gone = rows(0).into_iter().map(|row| customer(&row.external_id)).collect();
    world.import(gone, &["phone", "email"]).await;
    assert_eq!(miscounted(&world).await, 0);
}
