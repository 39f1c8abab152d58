//! `carillon customers list`, and a customer as fields.

use carillon_contracts::{
    audience::v1::{Consent, Customer, ListCustomersRequest},
    jobs::v1::Channel,
    vocabulary::ChannelWord as _,
};
use serde_json::{Value, json};

use super::{ListArgs, export, import::CONSENT};
use crate::{
    client::Client,
    context::Context,
    error::Error,
    output::{Format, Look, Out, instant, rows::Rows},
};

/// Customers of a request: what a page may weigh is bounded by the attributes that each may have.
const PAGE: u64 = 500;

const TABLE: [&str; 8] =
    ["external_id", "name", "phone", "email", "categories", "points", "consent", "subscribed"];

pub async fn run(args: ListArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let filter = args.filter.filter.unwrap_or_default();
    write(&client, &filter, args.limit, &mut context.out, context.look).await
}

/// Writes the customers that match in the look's format; CSV is what import reads.
pub async fn write(
    client: &Client,
    filter: &str,
    limit: Option<u64>,
    out: Out<'_>,
    look: Look,
) -> Result<(), Error> {
    match look.format {
        Format::Csv => export::write_csv(client, filter, limit, out).await,
        Format::Json => {
            let names: Vec<&str> =
                fields(&Customer::default()).iter().map(|(name, _)| *name).collect();
            let mut rows = Rows::new(out, look, &names);
            walk(client, filter, limit, |customer| {
                Ok(rows.row(fields(&customer).into_iter().map(|(_, value)| value).collect())?)
            })
            .await?;
            rows.finish()?;
            Ok(())
        }
        Format::Table => {
            let mut rows = Rows::new(out, look, &TABLE);
            walk(client, filter, limit, |customer| Ok(rows.row(table_row(&customer))?)).await?;
            if rows.finish()? == 0 {
                note!("no customer matches");
            }
            Ok(())
        }
    }
}

/// Calls `visit` with each customer that matches, by external id, `limit` at most.
pub async fn walk(
    client: &Client,
    filter: &str,
    limit: Option<u64>,
    mut visit: impl FnMut(Customer) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut client = client.customers();
    let mut page_token = String::new();
    while left > 0 {
        let request = ListCustomersRequest {
            filter: filter.to_owned(),
            page_size: i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX),
            page_token,
        };
        let page = client.list_customers(request).await?.into_inner();
        for customer in page.customers.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX))
        {
            visit(customer)?;
            left -= 1;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(())
}

/// The word of a customer's consent.
pub fn consent_word(consent: Consent) -> &'static str {
    CONSENT.iter().find(|(_, known)| *known == consent).map_or("", |(word, _)| word)
}

/// Every field, in a steady order.
pub fn fields(customer: &Customer) -> Vec<(&'static str, Value)> {
    let pending: Vec<&str> = customer.pending_channels().map(Channel::word).collect();
    vec![
        ("external_id", json!(customer.external_id)),
        ("id", json!(customer.id)),
        ("cards", json!(customer.cards)),
        ("first_name", json!(customer.first_name)),
        ("last_name", json!(customer.last_name)),
        ("display_name", json!(customer.display_name)),
        ("phone", json!(customer.phone)),
        ("email", json!(customer.email)),
        ("birthday", json!(customer.birthday)),
        ("language", json!(customer.language)),
        ("time_zone", json!(customer.time_zone)),
        ("categories", json!(customer.categories)),
        ("points", json!(customer.points)),
        ("favourite", json!(customer.favourite)),
        ("consent", json!(consent_word(customer.consent()))),
        ("subscribe_sms", json!(customer.subscribe_sms)),
        ("subscribe_email", json!(customer.subscribe_email)),
        ("joined_at", json!(customer.joined_at)),
        ("attributes", json!(customer.attributes)),
        ("programmes", json!(customer.programmes)),
        ("wallet_passes", json!(customer.wallet_passes)),
        ("blacklisted", json!(customer.blacklisted)),
        ("pending_channels", json!(pending)),
        ("create_time", instant(customer.create_time.as_ref())),
        ("update_time", instant(customer.update_time.as_ref())),
    ]
}

fn table_row(customer: &Customer) -> Vec<Value> {
    let name = match customer.display_name.as_str() {
        "" => format!("{} {}", customer.first_name, customer.last_name).trim().to_owned(),
        name => name.to_owned(),
    };
    let mut subscribed = Vec::new();
    if customer.blacklisted {
        subscribed.push("blacklisted");
    } else {
        subscribed.extend((customer.subscribe_sms == Some(true)).then_some("sms"));
        subscribed.extend((customer.subscribe_email == Some(true)).then_some("email"));
    }
    vec![
        json!(customer.external_id),
        json!(name),
        json!(customer.phone),
        json!(customer.email),
        json!(customer.categories),
        json!(customer.points),
        json!(consent_word(customer.consent()).replace('_', " ")),
        json!(subscribed),
    ]
}
