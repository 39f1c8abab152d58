//! Customers from CSV: the columns of the file become the fields of the update mask.

use std::{
    collections::{BTreeMap, HashSet, hash_map::RandomState},
    future::Future,
    hash::BuildHasher as _,
};

use carillon_contracts::audience::v1::{Consent, Customer, ImportCustomersRequest, ImportResponse};
use csv::StringRecord;
use prost_types::FieldMask;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    client::Client,
    error::Error,
    import::{
        Importable, Refusal,
        columns::{Column, Schema, boolean, list},
    },
    output::cell::undefuse,
};

/// The columns that have a name of their own; `attr.<name>` may stand beside them.
pub const COLUMNS: [&str; 17] = [
    "external_id",
    "cards",
    "first_name",
    "last_name",
    "display_name",
    "phone",
    "email",
    "birthday",
    "language",
    "time_zone",
    "categories",
    "points",
    "favourite",
    "consent",
    "subscribe_sms",
    "subscribe_email",
    "joined_at",
];

const SCHEMA: Schema = Schema { known: &COLUMNS, required: &["external_id"], attributes: true };

/// Reads rows of customers; remembers 8 bytes of each external id, to find repetitions.
pub struct Customers {
    columns: Vec<Column>,
    external_id: usize,
    mask: FieldMask,
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Importable for Customers {
    type Row = Customer;
    type Request = ImportCustomersRequest;

    fn columns(file: &str, header: &StringRecord) -> Result<Self, Error> {
        let columns = SCHEMA.read(file, header)?;
        let external_id = columns.iter().position(|column| *column == Column::Known(0));
        let paths = columns.iter().filter_map(|column| match column {
            Column::Known(index) => Some(COLUMNS[*index].to_owned()),
            Column::Attribute(name) => Some(format!("attributes.{name}")),
            Column::PassedOver => None,
        });
        Ok(Self {
            external_id: external_id.unwrap_or_default(),
            mask: FieldMask { paths: paths.collect() },
            columns,
            seen: HashSet::new(),
            hasher: RandomState::new(),
        })
    }

    fn data_columns(&self) -> Vec<usize> {
        let data = |column: &usize| self.columns[*column] != Column::PassedOver;
        (0..self.columns.len()).filter(data).collect()
    }

    fn row(&mut self, cells: &StringRecord) -> Result<Customer, Refusal> {
        let id = undefuse(cells.get(self.external_id).unwrap_or_default());
        if !id.is_empty() && !self.seen.insert(self.hasher.hash_one(id)) {
            return Err(Refusal {
                field: "external_id",
                reason: "duplicate_in_file",
                message:
                    "an earlier row of this file has the same external_id; leave one of them out"
                        .to_owned(),
            });
        }
        let mut customer = Customer { attributes: BTreeMap::new(), ..Customer::default() };
        for (column, cell) in self.columns.iter().zip(cells) {
            let cell = undefuse(cell);
            match column {
                Column::Known(index) => set(&mut customer, COLUMNS[*index], cell)?,
                Column::Attribute(name) if !cell.is_empty() => {
                    customer.attributes.insert(name.clone(), cell.to_owned());
                }
                Column::Attribute(_) | Column::PassedOver => {}
            }
        }
        Ok(customer)
    }

    fn request(&self, customers: Vec<Customer>) -> ImportCustomersRequest {
        ImportCustomersRequest { customers, update_mask: Some(self.mask.clone()) }
    }

    fn send(
        client: &Client,
        requests: ReceiverStream<ImportCustomersRequest>,
    ) -> impl Future<Output = Result<Streaming<ImportResponse>, Status>> + Send {
        let mut client = client.customers();
        async move { Ok(client.import_customers(requests).await?.into_inner()) }
    }
}

/// An empty cell clears the field, but for consent, which it leaves to the server.
fn set(customer: &mut Customer, column: &str, cell: &str) -> Result<(), Refusal> {
    let text = || cell.to_owned();
    match column {
        "external_id" => customer.external_id = text(),
        "cards" => customer.cards = list(cell),
        "first_name" => customer.first_name = text(),
        "last_name" => customer.last_name = text(),
        "display_name" => customer.display_name = text(),
        "phone" => customer.phone = text(),
        "email" => customer.email = text(),
        "birthday" => customer.birthday = text(),
        "language" => customer.language = text(),
        "time_zone" => customer.time_zone = text(),
        "categories" => customer.categories = list(cell),
        "points" => customer.points = points(cell)?,
        "favourite" => {
            let given = boolean(cell, "favourite", "favourite_not_boolean")?;
            customer.favourite = given.unwrap_or(false);
        }
        "consent" => customer.set_consent(consent(cell)?),
        "subscribe_sms" => {
            customer.subscribe_sms = boolean(cell, "subscribe_sms", "subscribe_sms_not_boolean")?;
        }
        "subscribe_email" => {
            customer.subscribe_email =
                boolean(cell, "subscribe_email", "subscribe_email_not_boolean")?;
        }
        "joined_at" => customer.joined_at = text(),
        _ => {}
    }
    Ok(())
}

fn points(cell: &str) -> Result<i64, Refusal> {
    let cell = cell.trim();
    if cell.is_empty() {
        return Ok(0);
    }
    let digits = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let (reason, message) = if whole {
        ("points_out_of_range", "is beyond ±1,000,000,000; give a smaller balance")
    } else {
        ("points_not_a_number", "is not a whole number; write digits only, such as 150 or -20")
    };
    match cell.parse() {
        Ok(points) => Ok(points),
        Err(_) => Err(Refusal { field: "points", reason, message: message.to_owned() }),
    }
}

/// The words of the column `consent`.
pub const CONSENT: [(&str, Consent); 3] = [
    ("not_specified", Consent::NotSpecified),
    ("given", Consent::Given),
    ("withheld", Consent::Withheld),
];

fn consent(cell: &str) -> Result<Consent, Refusal> {
    let word = cell.trim();
    if word.is_empty() {
        return Ok(Consent::Unspecified);
    }
    let known = CONSENT.iter().find(|(known, _)| word.eq_ignore_ascii_case(known));
    known.map(|(_, consent)| *consent).ok_or_else(|| Refusal {
        field: "consent",
        reason: "consent_unknown",
        message: "is not known; write given, not_specified or withheld".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(header: &[&str]) -> Customers {
        Customers::columns("c.csv", &StringRecord::from(header)).expect("a good header")
    }

    fn row(header: &[&str], cells: &[&str]) -> Result<Customer, Refusal> {
        open(header).row(&StringRecord::from(cells))
    }

    #[test]
    fn columns_come_in_any_order_and_make_the_mask() {
        let customers = open(&["attr.city", "reject_reason", "phone", "external_id"]);
        assert_eq!(customers.mask.paths, ["attributes.city", "phone", "external_id"]);
        assert_eq!(customers.data_columns(), [0, 2, 3]);
    }

    #[test]
    fn a_row_becomes_a_customer() {
        let header = [
            "external_id",
            "cards",
            "points",
            "favourite",
            "consent",
            "subscribe_sms",
            "attr.city",
        ];
        let cells = ["C1", "a; b;", "-20", "Yes", "given", "0", "Kyiv"];
        let customer = row(&header, &cells).expect("good");
        assert_eq!(customer.cards, ["a", "b"]);
        assert_eq!((customer.points, customer.favourite), (-20, true));
        assert_eq!((customer.consent(), customer.subscribe_sms), (Consent::Given, Some(false)));
        assert_eq!(customer.attributes["city"], "Kyiv");
    }

    #[test]
    fn an_empty_cell_clears_and_leaves_consent_to_the_server() {
        let header =
            ["external_id", "points", "favourite", "consent", "subscribe_sms", "attr.city"];
        let customer = row(&header, &["C1", "", "", "", "", ""]).expect("good");
        assert_eq!(customer, Customer { external_id: "C1".to_owned(), ..Customer::default() });
    }

    #[test]
    fn cells_that_are_not_what_the_column_needs_are_refused_with_their_reason() {
        for (column, cell, reason) in [
            ("points", "many", "points_not_a_number"),
            ("points", "1.5", "points_not_a_number"),
            ("points", "99999999999999999999", "points_out_of_range"),
            ("favourite", "perhaps", "favourite_not_boolean"),
            ("consent", "perhaps", "consent_unknown"),
            ("subscribe_sms", "sometimes", "subscribe_sms_not_boolean"),
            ("subscribe_email", "sometimes", "subscribe_email_not_boolean"),
        ] {
            let refusal = row(&["external_id", column], &["C1", cell]).expect_err("refused");
            assert_eq!((refusal.reason, refusal.field), (reason, column));
        }
    }

    #[test]
    fn the_second_row_of_an_id_is_refused() {
        let mut customers = open(&["external_id"]);
        assert!(customers.row(&StringRecord::from(vec!["C1"])).is_ok());
        assert!(customers.row(&StringRecord::from(vec!["C2"])).is_ok());
        let refusal = customers.row(&StringRecord::from(vec!["C1"])).expect_err("refused");
        assert_eq!(refusal.reason, "duplicate_in_file");
        // Without an id they are not the same customer: the server refuses each for its own fault.
        assert!(customers.row(&StringRecord::from(vec![""])).is_ok());
        assert!(customers.row(&StringRecord::from(vec![""])).is_ok());
    }

    #[test]
    fn a_defused_formula_is_stored_as_it_was() {
        let customer = row(&["external_id", "last_name"], &["C1", "'=cmd()"]).expect("good");
        assert_eq!(customer.last_name, "=cmd()");
    }

    #[test]
    fn a_column_without_a_name_says_what_to_do() {
        let header = StringRecord::from(vec!["external_id", "", "phone", ""]);
        let error = Customers::columns("c.csv", &header).err().expect("refused").to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(
            lines,
            [
                "c.csv: column 2 has no name; name it, or remove the column from every line",
                "c.csv: column 4 has no name; remove the trailing comma (or semicolon) from every line, or name the column",
            ]
        );
    }

    #[test]
    fn a_wrong_header_names_every_fault() {
        let header =
            StringRecord::from(vec!["fist_name", "phone", "phone", "attr.a b", "shoe size"]);
        let error = Customers::columns("c.csv", &header).err().expect("refused").to_string();
        for part in [
            "unknown column 'fist_name': did you mean 'first_name'?",
            "column 'phone' comes twice",
            "unknown column 'attr.a b': the name of an attribute",
            "unknown column 'shoe size': known are external_id",
            "column 'external_id' is missing",
        ] {
            assert!(error.contains(part), "{part} is not in:\n{error}");
        }
    }
}
