//! `carillon ops parked`: messages that could not be handled, and batches that nothing is heard of.

use carillon_contracts::ops::v1::{
    DiscardParkedRequest, GetParkedRequest, ListParkedRequest, Parked, ReplayParkedRequest,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Error,
    output::{Format, instant, instant_text, printable, rows::Rows, thousands, write_record},
};

/// Where the server names the services that a list lacks.
const UNREACHABLE: &str = "carillon-unreachable";
/// Bytes of a body in a table.
const SHOWN: usize = 1_024;

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
    // An event's words are its body.
    let (body, body_hex) = match context.look.format {
        Format::Table if parked.text.is_empty() => (json!(legible(&parked.body)), Value::Null),
        Format::Table => (Value::Null, Value::Null),
        Format::Json | Format::Csv => (Value::Null, json!(hex(&parked.body))),
    };
    let mut fields = vec![
        ("id", json!(parked.id)),
        ("service", json!(parked.service)),
        ("source", json!(parked.source)),
        ("park_time", instant(parked.park_time.as_ref())),
        ("error", json!(parked.error)),
        ("bytes", json!(parked.body.len())),
        ("text", json!(parked.text)),
        ("body_hex", body_hex),
    ];
    if context.look.format == Format::Table {
        fields.push(("body", body));
    }
    write_record(&mut context.out, context.look, &fields)?;
    Ok(())
}

/// As text where it is text, else in hexadecimal digits; what is longer than `SHOWN` is cut.
fn legible(body: &[u8]) -> String {
    let is_text = |text: &str| !text.chars().any(|letter| letter.is_control() && letter != '\n');
    let shown = &body[..body.len().min(SHOWN)];
    let shown = match std::str::from_utf8(body) {
        Ok(text) if is_text(text) => text[..text.floor_char_boundary(SHOWN)].to_owned(),
        _ => hex(shown),
    };
    if body.len() <= SHOWN {
        return shown;
    }
    format!("{shown} … (the first {} bytes; -o json has them all)", thousands(SHOWN as u64))
}

fn done(id: &str, what: &str, context: &mut Context) -> Result<(), Error> {
    let fields = [("id", json!(id)), (what, json!(true))];
    write_record(&mut context.out, context.look, &fields)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_as_text_or_in_digits_and_not_without_end() {
        assert_eq!(legible(b"not a job"), "not a job");
        assert_eq!(legible("two\nlines, é".as_bytes()), "two\nlines, é");
        assert_eq!(legible(b"\xff\x00\x7f"), "ff007f");
        assert_eq!(legible(b"\x1b[2J"), "1b5b324a");
        assert_eq!(legible(b""), "");
        let long = legible("é".repeat(1_000).as_bytes());
        assert!(long.starts_with("éé") && long.ends_with("-o json has them all)"), "{long}");
        assert_eq!(long.matches('é').count(), 512);
        let long = legible(&[0xff; 1_025]);
        assert!(long.starts_with(&"ff".repeat(1_024)) && long.contains("f … (the first 1,024"));
    }
}
