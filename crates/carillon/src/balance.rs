//! `carillon balance`: the prepaid account, in credits; one SMS part costs one.

use carillon_contracts::billing::v1::{
    Account, CreditAccountRequest, GetAccountRequest, ListEntriesRequest,
};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    client::Client,
    context::Context,
    error::Error,
    output::{Format, Look, Out, instant, instant_text, rows::Rows, write_record},
};

const PAGE: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub enum BalanceCommand {
    /// Show what is available, held and spent
    #[command(
        after_help = "available + held + spent = credited, always.\n\nExample:\n  carillon balance show -o json"
    )]
    Show,
    /// Add credits, once for each request id
    #[command(
        after_help = "Example:\n  carillon balance credit 10000 --request-id invoice-2026-117"
    )]
    Credit(CreditArgs),
    /// Every movement of the account, oldest first
    #[command(after_help = "Example:\n  carillon balance statement -o csv > statement.csv")]
    Statement(StatementArgs),
}

#[derive(Debug, Args)]
pub struct CreditArgs {
    /// Credits to add: 1 to 1,000,000,000
    #[arg(allow_negative_numbers = true)]
    pub amount: i64,
    /// Your own id of this payment; given again, nothing is added
    #[arg(long, value_name = "X")]
    pub request_id: String,
}

#[derive(Debug, Args)]
pub struct StatementArgs {
    /// So many at most; all without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

pub async fn run(command: BalanceCommand, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let (look, out) = (context.look, &mut context.out);
    match command {
        BalanceCommand::Show => {
            let answer = client.accounts().get_account(GetAccountRequest {}).await?;
            print(out, look, &answer.into_inner())
        }
        BalanceCommand::Credit(CreditArgs { amount, request_id }) => {
            let request = CreditAccountRequest { amount, request_id };
            let answer = client.accounts().credit_account(request).await?;
            print(out, look, &answer.into_inner())
        }
        BalanceCommand::Statement(args) => statement(&client, args.limit, out, look).await,
    }
}

/// The account's four figures.
pub fn print(out: Out<'_>, look: Look, account: &Account) -> Result<(), Error> {
    let fields = [
        ("available", json!(account.available)),
        ("held", json!(account.held)),
        ("spent", json!(account.spent)),
        ("credited", json!(account.credited)),
    ];
    write_record(out, look, &fields)?;
    Ok(())
}

async fn statement(
    client: &Client,
    limit: Option<u64>,
    out: Out<'_>,
    look: Look,
) -> Result<(), Error> {
    let columns = ["number", "time", "kind", "amount", "available", "reference"];
    let mut rows = Rows::new(out, look, &columns);
    let mut left = limit.unwrap_or(u64::MAX);
    let mut page_token = String::new();
    while left > 0 {
        let page_size = i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX);
        let request = ListEntriesRequest { page_size, page_token };
        let page = client.accounts().list_entries(request).await?.into_inner();
        for entry in page.entries.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            let time = entry.create_time.as_ref();
            let time = match look.format {
                Format::Table => json!(instant_text(time)),
                Format::Json | Format::Csv => instant(time),
            };
            rows.row(vec![
                json!(entry.number),
                time,
                json!(entry.kind),
                json!(entry.amount),
                json!(entry.available),
                json!(entry.reference),
            ])?;
            left -= 1;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    rows.finish()?;
    Ok(())
}
