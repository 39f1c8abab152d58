//! The example files, row by row: every good row is stored, every bad one rejected for its reason.

use std::collections::BTreeMap;

use carillon_contracts::{
    audience::v1::{
        Activity, CountCustomersRequest, Customer, ForecastAudienceRequest, ImportResponse,
    },
    events::v1::{Event, event::Body},
    time,
};
use prost::Message as _;

use crate::{
    plans::{due, tell_due},
    world::{KEY, World, next, signed},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples");

/// What only the reader of a CSV file can see; the command reports these.
const OF_THE_READER: [&str; 8] = [
    "wrong_column_count",
    "points_not_a_number",
    "favourite_not_boolean",
    "consent_unknown",
    "subscribe_sms_not_boolean",
    "subscribe_email_not_boolean",
    "duplicate_in_file",
    "at_not_a_time",
];

type Row = BTreeMap<String, String>;

/// Rows by record number, from 1; those of the wrong length are left out.
fn rows(file: &str) -> Vec<(usize, Row)> {
    let path = format!("{FOLDER}/{file}");
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).expect("the file");
    let header = reader.headers().expect("a header").clone();
    let records = reader.records().map(|record| record.expect("a record"));
    let numbered = records.enumerate().map(|(index, record)| (index + 1, record));
    numbered
        .filter(|(_, record)| record.len() == header.len())
        .map(|(number, record)| {
            let cells = header.iter().zip(record.iter());
            (number, cells.map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect())
        })
        .collect()
}

fn expected(file: &str) -> BTreeMap<usize, String> {
    let rejects = rows("expected_rejects.csv");
    let of_file = rejects.into_iter().filter(|(_, row)| row["file"] == file);
    of_file
        .map(|(_, row)| (row["record"].parse().expect("a number"), row["reason"].clone()))
        .filter(|(_, reason): &(usize, String)| !OF_THE_READER.contains(&reason.as_str()))
        .collect()
}

/// Records that the reader rejects itself, and so does not send.
fn unreadable(file: &str) -> Vec<usize> {
    let rejects = rows("expected_rejects.csv").into_iter();
    let of_file = rejects
        .filter(|(_, row)| row["file"] == file && OF_THE_READER.contains(&row["reason"].as_str()));
    of_file.map(|(_, row)| row["record"].parse().expect("a number")).collect()
}

fn list(cell: &str) -> Vec<String> {
    cell.split(';').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub fn customers() -> Vec<(usize, Customer)> {
    let unreadable = unreadable("customers.csv");
    let readable = rows("customers.csv").into_iter();
    let readable = readable.filter(|(number, _)| !unreadable.contains(number));
    readable.map(|(number, row)| (number, to_customer(&row))).collect()
}

fn to_customer(row: &Row) -> Customer {
    let cell = |name: &str| row[name].clone();
    let attributes = row.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("attr.")?;
        (!value.is_empty()).then(|| (name.to_owned(), value.clone()))
    });
    Customer {
        external_id: cell("external_id"),
        cards: list(&row["cards"]),
        first_name: cell("first_name"),
        last_name: cell("last_name"),
        display_name: cell("display_name"),
        phone: cell("phone"),
        email: cell("email"),
        birthday: cell("birthday"),
        language: cell("language"),
        time_zone: cell("time_zone"),
        categories: list(&row["categories"]),
        points: row["points"].parse().unwrap_or(0),
        favourite: row["favourite"] == "true",
        consent: match row["consent"].as_str() {
            "given" => 2,
            "withheld" => 3,
            _ => 1,
        },
        subscribe_sms: Some(row["subscribe_sms"] == "true"),
        subscribe_email: Some(row["subscribe_email"] == "true"),
        joined_at: cell("joined_at"),
        attributes: attributes.collect(),
        ..Customer::default()
    }
}

fn activities() -> Vec<(usize, Activity)> {
    let unreadable = unreadable("activity.csv");
    let readable = rows("activity.csv").into_iter();
    let readable = readable.filter(|(number, _)| !unreadable.contains(number));
    readable
        .map(|(number, row)| {
            let activity = Activity {
                event_id: row["event_id"].clone(),
                external_id: row["external_id"].clone(),
                kind: row["kind"].clone(),
                at: row["at"].parse().ok().map(time::to_wire),
                amount: row["amount"].clone(),
                rating: row["rating"].clone(),
            };
            (number, activity)
        })
        .collect()
}

/// Sends rows a thousand at a time; answers what was stored, left, and rejected by record.
struct Sum {
    stored: u32,
    unchanged: u32,
    rejects: BTreeMap<usize, String>,
}

impl Sum {
    fn new() -> Self {
        Self { stored: 0, unchanged: 0, rejects: BTreeMap::new() }
    }

    fn add(&mut self, records: &[usize], response: &ImportResponse) {
        self.stored += response.stored;
        self.unchanged += response.unchanged;
        for reject in &response.rejects {
            assert!(!reject.field.is_empty() && !reject.message.is_empty(), "{reject:?}");
            self.rejects.insert(records[reject.index as usize], reject.reason.clone());
        }
    }
}

async fn import_customers(world: &mut World) -> Sum {
    let mut sum = Sum::new();
    for chunk in customers().chunks(1_000) {
        let (records, rows): (Vec<_>, Vec<_>) = chunk.iter().cloned().unzip();
        sum.add(&records, &world.import(rows, &[]).await);
    }
    sum
}

async fn import_activities(world: &mut World) -> Sum {
    let mut sum = Sum::new();
    for chunk in activities().chunks(1_000) {
        let (records, rows): (Vec<_>, Vec<_>) = chunk.iter().cloned().unzip();
        sum.add(&records, &world.import_activities(rows).await);
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn every_good_row_is_stored_and_every_bad_one_rejected_for_its_reason() {
    let mut world = World::new().await;
    let sum = import_customers(&mut world).await;
    assert_eq!(sum.rejects, expected("customers.csv"));
    assert_eq!((sum.stored, sum.unchanged), (2_357, 0));
    let again = import_customers(&mut world).await;
    assert_eq!((again.stored, again.unchanged), (0, 2_357), "the same rows again");

    let sum = import_activities(&mut world).await;
    assert_eq!(sum.rejects, expected("activity.csv"));
    assert_eq!((sum.stored, sum.unchanged), (9_491, 0));
    let again = import_activities(&mut world).await;
    assert_eq!((again.stored, again.unchanged), (0, 9_491), "the same events again");

    let count = CountCustomersRequest { filter: "category:\"VIP\"".into() };
    let vips = world.customers.count_customers(signed(count, KEY)).await.expect("counted");
    assert_eq!(vips.into_inner().count, sum_of_vips());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_of_the_vips_is_what_their_plan_then_is() {
    let mut world = World::new().await;
    import_customers(&mut world).await;
    let due = due("VIP");
    let request = ForecastAudienceRequest {
        organisation_id: world.organisation.to_string(),
        audience: due.audience.clone(),
        content: due.content.clone(),
    };
    let forecast = world.audience.forecast_audience(request).await.expect("forecast").into_inner();
    assert_eq!(forecast.customers, sum_of_vips());
    assert!(forecast.skipped["duplicate_address"] > 0, "six pairs of VIPs share an address");
    tell_due(&mut world, due).await;
    let mut planned = world.events("run.planned").await;
    let event = Event::decode(next(planned.as_mut()).await.expect("planned")).expect("an event");
    let Some(Body::RunPlanned(planned)) = event.body else { panic!("another event") };
    assert_eq!(planned.matched, forecast.matched);
    assert_eq!(planned.planned, forecast.planned);
    assert_eq!(planned.skipped, forecast.skipped);
}

fn sum_of_vips() -> u64 {
    let rejects = expected("customers.csv");
    let good = customers().into_iter().filter(|(record, _)| !rejects.contains_key(record));
    good.filter(|(_, row)| row.categories.iter().any(|category| category == "VIP")).count() as u64
}
