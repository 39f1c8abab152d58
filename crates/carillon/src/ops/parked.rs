//! `carillon ops parked`: messages that could not be handled, and batches that nothing is heard of.

use carillon_contracts::ops::v1::{
    DiscardParkedRequest, GetParkedRequest, ListParkedRequest, Parked, ReplayParkedRequest,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Error,
    output::{Format, instant, instant_text, printable, rows::Rows, write_record},
};

/// Where the server names the services that a list lacks.
const UNREACHABLE: &str = "carillon-unreachable";

#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    /// List them, the oldest first
    #[command(after_help = "Example:\n  carillon ops parked list --service billing")]
    List(ListArgs),
    /// Show one with its body
    #[command(after_help = "Example:\n  carillon ops parked show billing/7 -o json")]
    Show(IdArgs),
    /// Handle one again, or release a batch again; parked anew if that fails
    #[command(after_help = "Example:\n  carillon ops parked replay billing/7")]
    Replay(IdArgs),
    /// Give one up for good; a batch's messages are settled as cancelled, or as expired
    #[command(after_help = "Example:\n  carillon ops parked discard billing/7")]
    Discard(IdArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of this service alone
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub limit: i32,
}

#[derive(Debug, Args)]
pub struct IdArgs {
    /// Service and number, such as billing/7, or service and batch
    pub id: String,
}

pub(super) async fn run(command: ParkedCommand, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    match command {
        ParkedCommand::List(args) => {
            let service = args.service.unwrap_or_default();
            let request = ListParkedRequest { service, page_size: args.limit };
            let answer = client.operators().list_parked(request).await?;
            let lacking = answer.metadata().get(UNREACHABLE).cloned();
            list(&answer.into_inner().parked, context)?;
            if let Some(Ok(names)) = lacking.as_ref().map(|names| names.to_str()) {
                note!("out of reach, so not listed: {}", printable(names));
            }
            Ok(())
        }
        ParkedCommand::Show(args) => {
            let request = GetParkedRequest { id: args.id };
            let parked = client.operators().get_parked(request).await?.into_inner();
            show(&parked, context)
        }
        ParkedCommand::Replay(args) => {
            let request = ReplayParkedRequest { id: args.id.clone() };
            client.operators().replay_parked(request).await?;
            done(&args.id, "replayed", context)
        }
        ParkedCommand::Discard(args) => {
            let request = DiscardParkedRequest { id: args.id.clone() };
            client.operators().discard_parked(request).await?;
            done(&args.id, "discarded", context)
        }
    }
}

fn list(parked: &[Parked], context: &mut Context) -> Result<(), Error> {
    let look = context.look;
    let columns = ["id", "source", "park_time", "error"];
    let mut rows = Rows::new(&mut context.out, look, &columns);
    for one in parked {
        let time = one.park_time.as_ref();
        let time = match look.format {
            Format::Table => json!(instant_text(time)),
            Format::Json | Format::Csv => instant(time),
        };
        rows.row(vec![json!(one.id), json!(one.source), time, json!(one.error)])?;
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("nothing is parked");
    }
    Ok(())
}

fn show(parked: &Parked, context: &mut Context) -> Result<(), Error> {
    let body = match context.look.format {
        Format::Table => Value::Null,
        Format::Json | Format::Csv => json!(hex(&parked.body)),
    };
    let fields = [
        ("id", json!(parked.id)),
        ("service", json!(parked.service)),
        ("source", json!(parked.source)),
        ("park_time", instant(parked.park_time.as_ref())),
        ("error", json!(parked.error)),
        ("bytes", json!(parked.body.len())),
        ("text", json!(parked.text)),
        ("body_hex", body),
    ];
    write_record(&mut context.out, context.look, &fields)?;
    Ok(())
}

fn done(id: &str, what: &str, context: &mut Context) -> Result<(), Error> {
    let fields = [("id", json!(id)), (what, json!(true))];
    write_record(&mut context.out, context.look, &fields)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
