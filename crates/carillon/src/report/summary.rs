//! The report for people: a headline, and figures that add up from top to bottom.

use carillon_contracts::{
    report::v1::{ChannelReport, Report},
    vocabulary::ChannelWord as _,
};

use super::{ordered, settled_states, skip_reasons};
use crate::{
    campaign::state_word,
    error::Error,
    output::{
        Look, Out, instant_text, printable,
        sums::{Line, Sums},
        thousands,
    },
};

pub fn print(out: Out<'_>, look: Look, report: &Report) -> Result<(), Error> {
    writeln!(out, "{}", look.bold(&title(report)))?;
    if !report.plan_complete && report.matched == 0 {
        writeln!(out, "nothing is planned yet")?;
        return Ok(());
    }
    writeln!(out, "{}", headline(look, report))?;
    if report.channels.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let channels = &report.channels;
    let words = channels.iter().map(|channel| channel.channel().word()).collect();
    let of = |figure: fn(&ChannelReport) -> u64| channels.iter().map(figure).collect::<Vec<_>>();
    let mut sums = Sums::new(words);
    sums.line(Line::Start, "matched", of(|channel| channel.matched));
    for reason in skip_reasons(channels.iter().map(|channel| &channel.skipped)) {
        let figures = channels.iter().map(|of| of.skipped.get(&reason).copied().unwrap_or(0));
        sums.line_unless_zero(Line::Less, words_of(&reason), figures.collect());
    }
    sums.line(Line::Equals, "planned", of(|channel| channel.planned));
    for state in settled_states(channels.iter().map(|channel| &channel.states)) {
        let figures = channels.iter().map(|of| of.states.get(&state).copied().unwrap_or(0));
        sums.line_unless_zero(Line::Part, words_of(&state), figures.collect());
    }
    sums.line_unless_zero(Line::Part, "in flight", of(|channel| channel.in_flight));
    for reason in ordered(std::iter::empty(), channels.iter().map(|channel| &channel.waiting)) {
        let figures = channels.iter().map(|of| of.waiting.get(&reason).copied().unwrap_or(0));
        let name = format!("    of these waiting: {}", words_of(&reason));
        sums.line_unless_zero(Line::Note, name, figures.collect());
    }
    sums.line_unless_zero(Line::Note, "SMS parts", of(|channel| channel.parts));
    sums.line_unless_zero(Line::Note, "credits", of(|channel| channel.credits));
    sums.write(out, look)?;
    Ok(())
}

fn words_of(word: &str) -> String {
    printable(word).replace('_', " ")
}

fn title(report: &Report) -> String {
    let mut title = printable(&report.campaign_name);
    if title.is_empty() {
        title = report.campaign.clone();
    }
    let state = state_word(report.campaign_state());
    if !state.is_empty() {
        title.push_str(&format!(", {state}"));
    }
    if report.test {
        title.push_str(", by a test key: nothing reached a gateway or was paid for");
    }
    let started = instant_text(report.start_time.as_ref());
    if !started.is_empty() {
        title.push_str(&format!(", started {started}"));
    }
    title
}

fn headline(look: Look, report: &Report) -> String {
    let settled: u64 = report.states.values().sum();
    let count = |states: &[&str]| -> u64 {
        states.iter().filter_map(|state| report.states.get(*state)).sum()
    };
    let went = count(&["sent", "delivered"]);
    let mut text = if !report.plan_complete {
        format!(
            "{} of {} planned so far are settled",
            thousands(settled),
            thousands(report.planned)
        )
    } else if report.in_flight > 0 {
        format!(
            "{} of {} settled, {} in flight",
            thousands(settled),
            thousands(report.planned),
            thousands(report.in_flight)
        )
    } else {
        format!("all {} settled", thousands(report.planned))
    };
    text.push_str(&format!(
        ", {} sent or delivered{}",
        thousands(went),
        share(went, report.planned)
    ));
    let unknown = count(&["unknown"]);
    if unknown > 0 {
        let warning =
            format!("{} unknown: the provider may or may not have them", thousands(unknown));
        text.push_str(&format!("\n{}", look.warn(&warning)));
    }
    text
}

/// ` (99.6 %)`; rounded down, so that only all is 100 %.
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let tenths = u128::from(part) * 1_000 / u128::from(whole);
    format!(" ({}.{} %)", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_is_a_hundred_per_cent() {
        assert_eq!(share(9_999, 10_000), " (99.9 %)");
        assert_eq!(share(10_000, 10_000), " (100.0 %)");
        assert_eq!(share(0, 0), "");
    }
}
