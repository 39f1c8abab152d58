use std::collections::HashMap;

use carillon_contracts::audience::v1::Customer;
use carillon_service_kit::database::Sql as _;
use carillon_testkit::is_distributed;

use crate::{
    examples,
    plans::run_due,
    world::{World, customer, next},
};

/// Bytes by which a search begins; every form is longer.
const BEGINNING: usize = 8;

/// The ways in which a text could lie in a file without being sealed.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut forms = vec![text.into(), hex.to_uppercase().into(), hex.into(), utf16];
    for shift in 0..3 {
        forms.push(base64(&text.as_bytes()[shift..]));
    }
    forms
}

/// The middle of the text's base64: what does not depend on its neighbours.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (triples, _) = bytes.as_chunks::<3>();
    let digits = triples.iter().flat_map(|[a, b, c]| {
        let bits = u32::from(*a) << 16 | u32::from(*b) << 8 | u32::from(*c);
        [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift) as usize & 63])
    });
    digits.collect()
}

/// Which of the needles lies in the bytes, all of them searched in one pass.
fn first_found<'a>(bytes: &[u8], needles: &'a [(String, Vec<u8>)]) -> Option<&'a str> {
    let mut beginnings: HashMap<&[u8], Vec<&(String, Vec<u8>)>> = HashMap::new();
    for needle in needles {
        beginnings.entry(&needle.1[..BEGINNING]).or_default().push(needle);
    }
    let found = bytes.windows(BEGINNING).enumerate().find_map(|(at, window)| {
        let candidates = beginnings.get(window)?;
        candidates.iter().find(|(_, form)| bytes[at..].starts_with(form))
    });
    found.map(|(secret, _)| secret.as_str())
}

/// Everything that the database keeps: the files, or every row of every table as text.
async fn stored(world: &World) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !is_distributed() {
        let folder = world.place().database.directory.path();
        for entry in std::fs::read_dir(folder).expect("the folder") {
            bytes.extend(std::fs::read(entry.expect("an entry").path()).expect("a file"));
        }
        return bytes;
    }
    let reader = world.database.reader();
    let tables = "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public'";
    for table in reader.rows(tables, []).await.expect("the tables") {
        let table: String = table.try_get_by_index(0).expect("a name");
        bytes.extend(table.bytes());
        let rows = format!("SELECT CAST(t AS TEXT) FROM {table} AS t");
        for row in reader.rows(&rows, []).await.expect("the rows") {
            bytes.extend(row.try_get_by_index::<String>(0).expect("a row").into_bytes());
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn no_personal_data_lies_in_clear_in_the_database() {
    let mut world = World::new().await;
    let secrets = [
        "Wilhelmina-Zephyrine",
        "Quackenbush-Fotheringay",
        "Mina the Great",
        "+442079460321",
        "mina.zephyrine@secret.example.org",
        "1987-06-05",
        "LC-998877665544",
        "Llanfairpwllgwyngyll",
        "pass-serial-5544332211",
    ];
    let [first, last, display, phone, email, birthday, card, city, pass] =
        secrets.map(str::to_owned);
    let mina = Customer {
        first_name: first,
        last_name: last,
        display_name: display,
        phone,
        email,
        birthday,
        cards: vec![card],
        attributes: [("city".into(), city)].into(),
        wallet_passes: vec![pass],
        subscribe_sms: Some(true),
        subscribe_email: Some(true),
        ..customer("M1")
    };
    let rows: Vec<Customer> = examples::customers().into_iter().map(|(_, row)| row).collect();
    let some_of_the_files: Vec<String> = rows
        .iter()
        .take(200)
        .flat_map(|row| [row.phone.clone(), row.email.clone()])
        .filter(|text| text.len() > 8)
        .collect();
    world.import(rows.into_iter().take(999).chain([mina]).collect(), &[]).await;
    let mut closed = world.events("run.planned").await;
    run_due(&mut world, "everyone").await;
    next(closed.as_mut()).await.expect("planned");

    let bytes = stored(&world).await;
    let known = [("the schema".to_owned(), b"customer_categories".to_vec())];
    assert!(first_found(&bytes, &known).is_some(), "it was read");
    let mut needles: Vec<(String, Vec<u8>)> = Vec::new();
    for secret in secrets {
        needles.extend(forms(secret).into_iter().map(|form| (secret.to_owned(), form)));
    }
    needles.extend(some_of_the_files.into_iter().map(|text| (text.clone(), text.into_bytes())));
    assert_eq!(first_found(&bytes, &needles), None);
}
