//! `carillon customers export`: CSV that import reads back to the same customers, unless another
//! form is asked for.

use std::{
    collections::BTreeSet,
    io::{BufWriter, Write as _},
};

use carillon_contracts::audience::v1::Customer;
use csv::Writer;

use super::{
    ExportArgs,
    import::COLUMNS,
    list::{self, consent_word, walk},
};
use crate::{
    client::Client,
    context::Context,
    error::Error,
    import::columns::ATTRIBUTE_PREFIX,
    output::{Format, Look, Out, cell::defuse, csv_fault, file::NewFile, thousands},
};

pub async fn run(args: ExportArgs, context: &mut Context) -> Result<(), Error> {
    let look = Look { format: context.format.unwrap_or(Format::Csv), ..context.look };
    let filter = args.filter.filter.unwrap_or_default();
    let client = context.client().await?;
    let Some(path) = args.file else {
        return list::write(&client, &filter, None, &mut context.out, look).await;
    };
    let file = NewFile::at(&path);
    let failed = |error: &std::io::Error| {
        Error::failed(format!("--file: '{}' can't be written: {error}", path.display()))
    };
    let mut out = BufWriter::new(file.create().map_err(|error| failed(&error))?);
    let look = Look::plain(look.format);
    let done = match list::write(&client, &filter, None, &mut out, look).await {
        Ok(()) => out.flush().and_then(|()| file.keep()).map_err(|error| failed(&error)),
        Err(Error::Output(error)) => Err(failed(&error)),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => note!("written to {}", path.display()),
        Err(_) => file.discard(),
    }
    done
}

/// Walks the customers twice, first for the names of the attributes: the header names them all, and
/// memory does not grow with the number of customers.
pub async fn write_csv(
    client: &Client,
    filter: &str,
    limit: Option<u64>,
    out: Out<'_>,
) -> Result<(), Error> {
    let mut attributes = BTreeSet::new();
    walk(client, filter, limit, |customer| {
        attributes.extend(customer.attributes.into_keys());
        Ok(())
    })
    .await?;
    let attributes: Vec<String> = attributes.into_iter().collect();
    let mut writer = Writer::from_writer(out);
    let names = COLUMNS.iter().map(|name| (*name).to_owned());
    let header = names.chain(attributes.iter().map(|name| format!("{ATTRIBUTE_PREFIX}{name}")));
    writer.write_record(header).map_err(csv_fault)?;
    let mut late = 0u64;
    walk(client, filter, limit, |customer| {
        late += u64::from(customer.attributes.keys().any(|name| !attributes.contains(name)));
        writer.write_record(cells(&customer, &attributes)).map_err(csv_fault)?;
        Ok(())
    })
    .await?;
    writer.flush()?;
    if late > 0 {
        return Err(Error::failed(format!(
            "{} customers got new attributes while they were exported; export again",
            thousands(late)
        )));
    }
    Ok(())
}

fn cells(customer: &Customer, attributes: &[String]) -> Vec<String> {
    let fixed = COLUMNS.iter().map(|column| defuse(&cell(customer, column)));
    let value = |name: &String| customer.attributes.get(name).map_or("", String::as_str);
    fixed.chain(attributes.iter().map(|name| defuse(value(name)))).collect()
}

fn cell(customer: &Customer, column: &str) -> String {
    let flag = |flag: Option<bool>| flag.map_or_else(String::new, |flag| flag.to_string());
    match column {
        "external_id" => customer.external_id.clone(),
        "cards" => customer.cards.join(";"),
        "first_name" => customer.first_name.clone(),
        "last_name" => customer.last_name.clone(),
        "display_name" => customer.display_name.clone(),
        "phone" => customer.phone.clone(),
        "email" => customer.email.clone(),
        "birthday" => customer.birthday.clone(),
        "language" => customer.language.clone(),
        "time_zone" => customer.time_zone.clone(),
        "categories" => customer.categories.join(";"),
        "points" => customer.points.to_string(),
        "favourite" => customer.favourite.to_string(),
        "consent" => consent_word(customer.consent()).to_owned(),
        "subscribe_sms" => flag(customer.subscribe_sms),
        "subscribe_email" => flag(customer.subscribe_email),
        "joined_at" => customer.joined_at.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use csv::StringRecord;

    use super::*;
    use crate::{customers::import::Customers, import::Importable};

    #[test]
    fn what_is_exported_is_imported_as_the_same_customer() {
        let mut customer = Customer {
            external_id: "C1".to_owned(),
            cards: vec!["L1".to_owned(), "L2".to_owned()],
            first_name: "=cmd()".to_owned(),
            last_name: "'-x".to_owned(),
            display_name: "Comma, \"Sammy\"; Jr.".to_owned(),
            phone: "+15035550156".to_owned(),
            points: -20,
            favourite: true,
            consent: 2,
            subscribe_sms: Some(false),
            subscribe_email: None,
            ..Customer::default()
        };
        customer.attributes.insert("city".to_owned(), "@home\nnow".to_owned());
        let attributes = vec!["city".to_owned(), "size".to_owned()];
        let header: Vec<String> = (COLUMNS.iter().map(|name| (*name).to_owned()))
            .chain(attributes.iter().map(|name| format!("attr.{name}")))
            .collect();
        let cells = cells(&customer, &attributes);
        assert!(
            cells.contains(&"'=cmd()".to_owned()) && cells.contains(&"+15035550156".to_owned())
        );
        let mut reader =
            Customers::columns("c.csv", &StringRecord::from(header)).expect("a good header");
        assert_eq!(reader.row(&StringRecord::from(cells)), Ok(customer));
    }
}
