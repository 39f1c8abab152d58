use carillon_contracts::audience::v1::{Consent, Customer, UpdateCustomerRequest};
use carillon_segment_evaluator::{ConsentLog, verify_consent_log};
use carillon_service_kit::database::{Sql as _, differs};
use carillon_tenancy::hash_key;

use crate::world::{KEY, World, change, customer, signed};

fn with(consent: Consent) -> Customer {
    Customer { consent: consent.into(), ..customer("C1") }
}

async fn three_changes(world: &mut World) {
    world.import(vec![with(Consent::Given), customer("C2")], &[]).await;
    let request = UpdateCustomerRequest {
        customer: Some(with(Consent::Withheld)),
        ..UpdateCustomerRequest::default()
    };
    world.customers.update_customer(signed(request, KEY)).await.expect("updated");
}

#[tokio::test]
async fn every_change_of_consent_is_logged_with_who_made_it() {
    let mut world = World::new().await;
    three_changes(&mut world).await;
    let sql = "SELECT changed_by, from_consent, to_consent FROM consent_log ORDER BY n";
    let rows = world.database.reader().rows(sql, []).await.expect("read");
    let text = |row: &sea_orm::QueryResult, at| row.try_get_by_index::<String>(at).expect("text");
    let read: Vec<_> = rows.iter().map(|row| (text(row, 0), text(row, 1), text(row, 2))).collect();
    let key: String = hash_key(KEY)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = |by: &str, from: &str, to: &str| (by.to_owned(), from.to_owned(), to.to_owned());
    let expected = [
        entry("import", "", "given"),
        entry("import", "", "not_specified"),
        entry(&key, "given", "withheld"),
    ];
    assert_eq!(read, expected);
    let checked = verify_consent_log(&world.database, world.organisation).await.expect("checked");
    assert_eq!(checked, ConsentLog::Whole(3));
}

#[tokio::test]
async fn the_log_cannot_be_changed_and_a_tampered_row_shows() {
    let mut world = World::new().await;
    three_changes(&mut world).await;
    let tampering = "UPDATE consent_log SET to_consent = 'given' WHERE n = 3";
    let removal = "DELETE FROM consent_log WHERE n = 2";
    for sql in [tampering, removal] {
        let tx = world.database.begin().await.expect("begun");
        assert!(tx.run(sql, []).await.is_err(), "it is append-only");
    }
    for trigger in ["consent_log_kept", "consent_log_whole"] {
        let dropped = format!("DROP TRIGGER {trigger}");
        let from_table = format!("{dropped} ON consent_log");
        change(&world.database, differs(&dropped, &from_table)).await;
    }
    change(&world.database, tampering).await;
    let verify = || verify_consent_log(&world.database, world.organisation);
    assert_eq!(verify().await.expect("checked"), ConsentLog::Broken(3));
    change(&world.database, removal).await;
    assert_eq!(verify().await.expect("checked"), ConsentLog::Broken(2));
}
