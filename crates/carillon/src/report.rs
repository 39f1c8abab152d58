//! `carillon report`: what became of a campaign.

mod detail;
mod summary;

use std::collections::{BTreeMap, BTreeSet};

use carillon_contracts::{
    report::v1::{ChannelReport, GetReportRequest, Report},
    vocabulary::{ChannelWord as _, MessageState, SkipReason},
};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    campaign::state_word,
    client::Client,
    context::Context,
    error::Error,
    output::{Format, Look, Ordered, Out, instant, printable, rows::Rows, thousands, write_json},
};

#[derive(Debug, Args)]
#[command(
    after_help = "matched = planned + skipped, and planned = settled + in flight, at every read.\n\nExample:\n  carillon report ID\n  carillon report ID --detail -o csv > detail.csv"
)]
pub struct ReportArgs {
    /// The campaign's id
    pub id: String,
    /// A row for each customer and channel, sent or not, and why not
    #[arg(long)]
    pub detail: bool,
}

pub async fn run(args: ReportArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    if args.detail {
        return detail::print(&client, &args.id, &mut context.out, context.look).await;
    }
    let report = get(&client, &args.id).await?;
    print(&mut context.out, context.look, &report)
}

/// The report of the campaign's newest run.
pub async fn get(client: &Client, campaign: &str) -> Result<Report, Error> {
    let request = GetReportRequest { campaign_id: campaign.to_owned(), run_id: String::new() };
    Ok(client.reports().get_report(request).await?.into_inner())
}

/// Prints the report in the look's format.
pub fn print(out: Out<'_>, look: Look, report: &Report) -> Result<(), Error> {
    match look.format {
        Format::Table => summary::print(out, look, report),
        Format::Json => Ok(write_json(out, &Ordered(&fields(report)))?),
        Format::Csv => csv(out, look, report),
    }
}

/// The report as one line of JSON.
pub(crate) fn compact_json(report: &Report) -> String {
    serde_json::to_string(&Ordered(&fields(report))).unwrap_or_default()
}

fn fields(report: &Report) -> Vec<(&'static str, Value)> {
    let channels: Vec<Value> = report.channels.iter().map(channel_json).collect();
    vec![
        ("campaign", json!(report.campaign)),
        ("campaign_name", json!(report.campaign_name)),
        ("campaign_state", json!(state_word(report.campaign_state()))),
        ("run", json!(report.run)),
        ("test", json!(report.test)),
        ("matched", json!(report.matched)),
        ("planned", json!(report.planned)),
        ("plan_complete", json!(report.plan_complete)),
        ("skipped", json!(report.skipped)),
        ("states", json!(report.states)),
        ("waiting", json!(report.waiting)),
        ("in_flight", json!(report.in_flight)),
        ("channels", json!(channels)),
        ("start_time", instant(report.start_time.as_ref())),
        ("update_time", instant(report.update_time.as_ref())),
    ]
}

fn channel_json(channel: &ChannelReport) -> Value {
    json!({
        "channel": channel.channel().word(),
        "matched": channel.matched,
        "planned": channel.planned,
        "skipped": channel.skipped,
        "states": channel.states,
        "waiting": channel.waiting,
        "in_flight": channel.in_flight,
        "parts": channel.parts,
        "credits": channel.credits,
    })
}

/// A row for each figure of each channel.
fn csv(out: Out<'_>, look: Look, report: &Report) -> Result<(), Error> {
    let mut rows = Rows::new(out, look, &["channel", "measure", "name", "count"]);
    for channel in &report.channels {
        let word = channel.channel().word();
        let mut row = |measure: &str, name: &str, count: u64| {
            rows.row(vec![json!(word), json!(measure), json!(name), json!(count)])
        };
        row("matched", "", channel.matched)?;
        for (measure, counts) in [
            ("skipped", &channel.skipped),
            ("states", &channel.states),
            ("waiting", &channel.waiting),
        ] {
            for (name, count) in counts {
                row(measure, name, *count)?;
            }
        }
        row("planned", "", channel.planned)?;
        row("in_flight", "", channel.in_flight)?;
        row("parts", "", channel.parts)?;
        row("credits", "", channel.credits)?;
    }
    rows.finish()?;
    Ok(())
}

/// `delivered 1,200, failed 3`: the settled states, the good ones first, without zeros.
pub(crate) fn state_list(report: &Report) -> String {
    let states: Vec<String> = (settled_states([&report.states]).iter())
        .filter_map(|state| report.states.get(state).map(|count| (state, *count)))
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{} {}", printable(state), thousands(count)))
        .collect();
    states.join(", ")
}

/// The states that occur, in the vocabulary's order; unknown words last.
fn settled_states<'a>(counts: impl IntoIterator<Item = &'a BTreeMap<String, u64>>) -> Vec<String> {
    ordered(MessageState::ALL.iter().map(|state| state.word()), counts)
}

/// The reasons that occur, in the order in which they are tried; unknown words last.
pub(crate) fn skip_reasons<'a>(
    counts: impl IntoIterator<Item = &'a BTreeMap<String, u64>>,
) -> Vec<String> {
    ordered(SkipReason::ALL.iter().map(|reason| reason.word()), counts)
}

fn ordered<'a>(
    known: impl Iterator<Item = &'static str>,
    counts: impl IntoIterator<Item = &'a BTreeMap<String, u64>>,
) -> Vec<String> {
    let mut present: BTreeSet<String> =
        counts.into_iter().flat_map(|counts| counts.keys().cloned()).collect();
    let mut words: Vec<String> = known.filter_map(|word| present.take(word)).collect();
    words.extend(present);
    words
}

#[cfg(test)]
mod tests;
