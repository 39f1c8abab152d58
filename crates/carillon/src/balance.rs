//! `carillon balance`: the prepaid account, in credits; one SMS part costs one, or what
//! `carillon org set rates` says.

mod spent;

use carillon_contracts::{
    billing::v1::{
        Account, CreditAccountRequest, GetAccountRequest, ListEntriesRequest, ListHoldsRequest,
        ListPackagesRequest,
    },
    campaign::v1::GetCampaignRequest,
};
use clap::{Args, Subcommand, builder::NonEmptyStringValueParser};
use serde_json::json;

use crate::{
    client::Client,
    context::Context,
    error::Error,
    output::{Format, Look, Out, rows::Rows, write_record},
    pages::Pages,
};

#[derive(Debug, Subcommand)]
pub enum BalanceCommand {
    /// Show what is available, held and spent
    #[command(
        after_help = "available + held + spent = credited, always. `low` is true once fewer than `low_balance` credits (carillon org set low_balance N) were available, until a credit lifts them.\n\nExample:\n  carillon balance show -o json"
    )]
    Show,
    /// Add credits, once for each request id
    #[command(
        after_help = "Example:\n  carillon balance credit 10000 --request-id invoice-2026-117"
    )]
    Credit(CreditArgs),
    /// The packages of credits that are sold
    #[command(
        after_help = "Any other amount may be credited too.\n\nExample:\n  carillon balance packages"
    )]
    Packages,
    /// What is kept back for batches under way, and what batches have cost
    #[command(
        after_help = "wanted: credits of all messages of the batch. Of those granted some are still held, some spent, the rest came back; short: it waits for so many. Each message with its credits: carillon balance spent BATCH\n\nExample:\n  carillon balance holds --all --campaign ID -o csv"
    )]
    Holds(HoldsArgs),
    /// The messages that a batch's credits were spent on
    #[command(
        after_help = "A message that was sent costs one credit for each of its parts, or the rate of its number's region (carillon org set rates); one that failed, expired or was never sent costs nothing and is not listed. The sum is the batch's `spent` (carillon balance holds --all).\n\nExample:\n  carillon balance spent BATCH -o csv"
    )]
    Spent(SpentArgs),
    /// Every movement of the account, oldest first
    #[command(
        after_help = "By double entry: each line takes its amount from `source` and puts it in `target`; available, held and spent are those after it.\n\nExample:\n  carillon balance statement -o csv > statement.csv"
    )]
    Statement(StatementArgs),
}

fn amount(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| "give a whole number of credits, such as 5000")
}

#[derive(Debug, Args)]
pub struct CreditArgs {
    /// Credits to add: 1 to 1,000,000,000
    #[arg(allow_negative_numbers = true, value_parser = amount)]
    pub amount: i64,
    /// Your own id of this payment; given again, nothing is added
    #[arg(long, value_name = "X", value_parser = NonEmptyStringValueParser::new())]
    pub request_id: String,
}

#[derive(Debug, Args)]
pub struct SpentArgs {
    /// The batch's id, as `carillon balance holds` and `statement` show it
    pub batch: String,
    /// So many at most; all without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

#[derive(Debug, Args)]
pub struct StatementArgs {
    /// So many at most; all without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

#[derive(Debug, Args)]
pub struct HoldsArgs {
    /// Finished batches too, which hold nothing any more
    #[arg(long)]
    pub all: bool,
    /// Of one campaign only
    #[arg(long, value_name = "ID")]
    pub campaign: Option<String>,
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
        BalanceCommand::Packages => packages(&client, out, look).await,
        BalanceCommand::Holds(args) => holds(&client, args, out, look).await,
        BalanceCommand::Spent(args) => spent::print(&client, args, out, look).await,
        BalanceCommand::Statement(args) => statement(&client, args.limit, out, look).await,
    }
}

/// The account's four figures, and whether an alert stands.
pub fn print(out: Out<'_>, look: Look, account: &Account) -> Result<(), Error> {
    let fields = [
        ("available", json!(account.available)),
        ("held", json!(account.held)),
        ("spent", json!(account.spent)),
        ("credited", json!(account.credited)),
        ("low_balance", json!(account.low_balance)),
        ("low", json!(account.low)),
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
    let columns = [
        "number",
        "time",
        "kind",
        "amount",
        "source",
        "target",
        "available",
        "held",
        "spent",
        "reference",
        "campaign",
    ];
    let mut rows = Rows::new(out, look, &columns);
    let mut pages = Pages::new(limit);
    while let Some((page_size, page_token)) = pages.ask() {
        let request = ListEntriesRequest { page_size, page_token };
        let page = client.accounts().list_entries(request).await?.into_inner();
        for entry in pages.cut(page.entries, page.next_page_token) {
            rows.row(vec![
                json!(entry.number),
                look.instant(entry.create_time.as_ref()),
                json!(entry.kind),
                json!(entry.amount),
                json!(entry.source),
                json!(entry.target),
                json!(entry.available),
                json!(entry.held),
                json!(entry.spent),
                json!(entry.reference),
                json!(entry.campaign_id),
            ])?;
        }
    }
    rows.finish()?;
    Ok(())
}

async fn holds(client: &Client, args: HoldsArgs, out: Out<'_>, look: Look) -> Result<(), Error> {
    let columns =
        ["batch", "campaign", "run", "wanted", "granted", "held", "spent", "short", "closed"];
    // Billing knows of no campaign but from holds.
    if let Some(id) = args.campaign.clone() {
        client.campaigns().get_campaign(GetCampaignRequest { id }).await?;
    }
    let mut rows = Rows::new(out, look, &columns);
    let mut pages = Pages::new(args.limit);
    while let Some((page_size, page_token)) = pages.ask() {
        let request = ListHoldsRequest {
            page_size,
            page_token,
            campaign_id: args.campaign.clone().unwrap_or_default(),
            include_closed: args.all,
            batch_id: String::new(),
        };
        let page = client.accounts().list_holds(request).await?.into_inner();
        for hold in pages.cut(page.holds, page.next_page_token) {
            rows.row(vec![
                json!(hold.batch_id),
                json!(hold.campaign_id),
                json!(hold.run_id),
                json!(hold.wanted),
                json!(hold.granted),
                json!(hold.held),
                json!(hold.spent),
                json!(hold.short),
                json!(hold.closed),
            ])?;
        }
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("nothing is held: no batch is under way (--all shows finished ones)");
    }
    Ok(())
}

async fn packages(client: &Client, out: Out<'_>, look: Look) -> Result<(), Error> {
    let answer = client.accounts().list_packages(ListPackagesRequest {}).await?.into_inner();
    let mut rows = Rows::new(out, look, &["credits"]);
    for credits in answer.packages {
        rows.row(vec![json!(credits)])?;
    }
    rows.finish()?;
    Ok(())
}
