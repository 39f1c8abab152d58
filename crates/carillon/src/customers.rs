//! `carillon customers`.

pub mod export;
pub mod import;
pub mod list;

use std::path::PathBuf;

use carillon_contracts::{
    audience::v1::{
        ConfirmSubscriptionRequest, CountCustomersRequest, GetCustomerRequest, Identifier,
        SetBlacklistedRequest, SetSubscriptionRequest, identifier::By, set_subscription_request,
    },
    jobs::v1::Channel,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::{
    activity::{ImportArgs, import_file},
    context::Context,
    effect,
    error::Error,
    output::{Format, thousands, write_record},
};

#[derive(Debug, Subcommand)]
pub enum CustomersCommand {
    /// Import customers from a CSV file; only the columns that it has are changed
    #[command(
        after_help = "Columns: external_id (required), cards (a;b), first_name, last_name, display_name, phone, email, birthday (YYYY-MM-DD or --MM-DD), language, time_zone, categories (a;b), points, favourite, consent (given, not_specified, withheld), subscribe_sms, subscribe_email, joined_at, attr.<name>. An empty cell clears the field, but for consent, subscribe_sms and subscribe_email, where it keeps the value, and points, where it becomes 0.\n\nExample:\n  carillon customers import examples/customers.csv --rejects rejected.csv"
    )]
    Import(ImportArgs),
    /// List customers
    #[command(
        after_help = "Example:\n  carillon customers list --filter 'category:\"VIP\"' --limit 20"
    )]
    List(ListArgs),
    /// Count customers
    #[command(after_help = "Example:\n  carillon customers count --filter 'category:\"VIP\"'")]
    Count(FilterArgs),
    /// Write customers, as CSV that import reads unless another form is asked for
    #[command(
        after_help = "Example:\n  carillon customers export --filter 'category:\"VIP\"' --file vip.csv"
    )]
    Export(ExportArgs),
    /// Show one customer
    #[command(
        after_help = "Example:\n  carillon customers show C00004\n  carillon customers show --phone +15035550156"
    )]
    Show(Who),
    /// Subscribe customers to messages
    #[command(
        after_help = "Example:\n  carillon customers subscribe C00004 --channel sms\n  carillon customers subscribe --filter 'category:\"VIP\"'"
    )]
    Subscribe(SubscriptionArgs),
    /// Unsubscribe customers from messages
    #[command(
        after_help = "Example:\n  carillon customers unsubscribe --email violet.ashdown@example.com"
    )]
    Unsubscribe(SubscriptionArgs),
    /// Confirm a subscription that waits for the second opt-in
    #[command(after_help = "Example:\n  carillon customers confirm C00004 --channel email")]
    Confirm(ConfirmArgs),
    /// Put a customer on the blacklist: they get nothing, whatever else holds
    #[command(after_help = "Example:\n  carillon customers blacklist --phone +15035550156")]
    Blacklist(Who),
    /// Take a customer off the blacklist
    #[command(after_help = "Example:\n  carillon customers unblacklist C00004")]
    Unblacklist(Who),
}

#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only those of a category, such as 'category:"VIP"'; everybody without it
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    /// So many at most; all without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Where to; standard output without it
    #[arg(long, value_name = "OUT")]
    pub file: Option<PathBuf>,
}

/// One customer, named in one way.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Who {
    /// The external id
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// The phone number
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub phone: Option<String>,
    /// The e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// A card number
    #[arg(long, value_name = "CARD")]
    pub card: Option<String>,
    /// First and last name, or the display name, if only one customer has it
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

impl From<Who> for Identifier {
    fn from(who: Who) -> Self {
        let by = (who.id.map(By::ExternalId))
            .or(who.phone.map(By::Phone))
            .or(who.email.map(By::Email))
            .or(who.card.map(By::Card))
            .or(who.name.map(By::Name));
        Self { by }
    }
}

/// One customer, or many.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = false)]
pub struct SubscriptionWhom {
    /// The external id
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// The phone number
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub phone: Option<String>,
    /// The e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// A card number
    #[arg(long, value_name = "CARD")]
    pub card: Option<String>,
    /// First and last name, or the display name, if only one customer has it
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// All of a category, such as 'category:"VIP"'
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Every customer of the organisation
    #[arg(long)]
    pub everyone: bool,
}

#[derive(Debug, Args)]
pub struct SubscriptionArgs {
    #[command(flatten)]
    pub whom: SubscriptionWhom,
    /// Only this channel; all without it
    #[arg(long)]
    pub channel: Option<ChannelArg>,
}

#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// The external id
    #[arg(value_name = "ID")]
    pub id: String,
    /// The channel that was asked for
    #[arg(long)]
    pub channel: ChannelArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ChannelArg {
    Sms,
    Email,
}

impl From<ChannelArg> for Channel {
    fn from(channel: ChannelArg) -> Self {
        match channel {
            ChannelArg::Sms => Self::Sms,
            ChannelArg::Email => Self::Email,
        }
    }
}

pub async fn run(command: CustomersCommand, context: &mut Context) -> Result<(), Error> {
    match command {
        CustomersCommand::Import(args) => import_file::<import::Customers>(args, context).await,
        CustomersCommand::List(args) => list::run(args, context).await,
        CustomersCommand::Count(args) => count(args, context).await,
        CustomersCommand::Export(args) => export::run(args, context).await,
        CustomersCommand::Show(who) => show(who, context).await,
        CustomersCommand::Subscribe(args) => set_subscription(args, true, context).await,
        CustomersCommand::Unsubscribe(args) => set_subscription(args, false, context).await,
        CustomersCommand::Confirm(args) => confirm(args, context).await,
        CustomersCommand::Blacklist(who) => set_blacklisted(who, true, context).await,
        CustomersCommand::Unblacklist(who) => set_blacklisted(who, false, context).await,
    }
}

async fn count(args: FilterArgs, context: &mut Context) -> Result<(), Error> {
    let request = CountCustomersRequest { filter: args.filter.unwrap_or_default() };
    let client = context.client().await?;
    let count = client.customers().count_customers(request).await?.into_inner().count;
    match context.look.format {
        Format::Table => {
            use std::io::Write as _;
            writeln!(context.out, "{}", thousands(count))?;
        }
        Format::Json | Format::Csv => {
            write_record(&mut context.out, context.look, &[("count", json!(count))])?;
        }
    }
    Ok(())
}

async fn show(who: Who, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = GetCustomerRequest { identifier: Some(who.into()) };
    let customer = client.customers().get_customer(request).await?.into_inner();
    write_record(&mut context.out, context.look, &list::fields(&customer))?;
    Ok(())
}

async fn set_subscription(
    args: SubscriptionArgs,
    subscribed: bool,
    context: &mut Context,
) -> Result<(), Error> {
    use set_subscription_request::Customers;
    let SubscriptionWhom { id, phone, email, card, name, filter, everyone } = args.whom;
    let customers = match filter {
        Some(filter) => Customers::Filter(filter),
        None if everyone => Customers::Filter("everyone".to_owned()),
        None => Customers::Identifier(Who { id, phone, email, card, name }.into()),
    };
    let channels = args.channel.map(|channel| i32::from(Channel::from(channel)));
    let request = SetSubscriptionRequest {
        customers: Some(customers),
        channels: channels.into_iter().collect(),
        subscribed,
    };
    let client = context.client().await?;
    let answer = client.customers().set_subscription(request).await?.into_inner();
    let fields = [
        ("matched", json!(answer.matched)),
        ("changed", json!(answer.changed)),
        ("in_effect", json!(answer.in_effect)),
    ];
    write_record(&mut context.out, context.look, &fields)?;
    effect::tell(Some(answer.in_effect));
    Ok(())
}

async fn confirm(args: ConfirmArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = ConfirmSubscriptionRequest {
        identifier: Some(Identifier { by: Some(By::ExternalId(args.id)) }),
        channel: Channel::from(args.channel).into(),
    };
    let customer = client.customers().confirm_subscription(request).await?.into_inner();
    write_record(&mut context.out, context.look, &list::fields(&customer))?;
    Ok(())
}

async fn set_blacklisted(who: Who, blacklisted: bool, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = SetBlacklistedRequest { identifier: Some(who.into()), blacklisted };
    let customer = client.customers().set_blacklisted(request).await?.into_inner();
    let mut fields = vec![
        ("external_id", json!(customer.external_id)),
        ("blacklisted", json!(customer.blacklisted)),
    ];
    fields.extend(effect::field(customer.in_effect));
    write_record(&mut context.out, context.look, &fields)?;
    effect::tell(customer.in_effect);
    Ok(())
}
