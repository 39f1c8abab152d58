//! What a start would do, and whether the balance is enough for it.

use carillon_content::sms::MAX_CHARACTERS;
use carillon_contracts::{
    billing::v1::{Account, GetAccountRequest},
    campaign::v1::{ChannelForecast, Forecast},
    vocabulary::ChannelWord as _,
};
use serde_json::{Value, json};

use crate::{
    client::Client,
    error::Error,
    output::{
        Format, Look, Ordered, Out,
        rows::Rows,
        sums::{Line, Sums},
        thousands, write_json,
    },
    report::skip_reasons,
};

/// The caller's account.
pub async fn account(client: &Client) -> Result<Account, Error> {
    Ok(client.accounts().get_account(GetAccountRequest {}).await?.into_inner())
}

/// Credits that are missing for all messages to be sent.
pub fn short(forecast: &Forecast, account: &Account) -> u64 {
    forecast.credits.saturating_sub(u64::try_from(account.available).unwrap_or(0))
}

/// Recipients, who is skipped and why, parts, credits, and what is short of them.
pub fn print(
    out: Out<'_>,
    look: Look,
    forecast: &Forecast,
    account: &Account,
) -> Result<(), Error> {
    match look.format {
        Format::Table => table(out, look, forecast, account),
        Format::Json => {
            let channels: Vec<Value> = forecast.channels.iter().map(channel_json).collect();
            let fields = [
                ("customers", json!(forecast.customers)),
                ("matched", json!(forecast.matched)),
                ("planned", json!(forecast.planned)),
                ("skipped", json!(forecast.skipped)),
                ("channels", json!(channels)),
                ("credits", json!(forecast.credits)),
                ("available", json!(account.available)),
                ("short", json!(short(forecast, account))),
            ];
            write_json(out, &Ordered(&fields))?;
            Ok(())
        }
        Format::Csv => {
            let columns = [
                "channel",
                "matched",
                "planned",
                "least_parts",
                "most_parts",
                "total_parts",
                "credits",
                "ucs2",
                "too_long",
                "empty",
                "most_characters",
            ];
            let mut rows = Rows::new(out, look, &columns);
            for channel in &forecast.channels {
                rows.row(vec![
                    json!(channel.channel().word()),
                    json!(matched(channel)),
                    json!(channel.planned),
                    json!(channel.least_parts),
                    json!(channel.most_parts),
                    json!(channel.total_parts),
                    json!(channel.credits),
                    json!(channel.ucs2),
                    json!(channel.too_long),
                    json!(channel.empty),
                    json!(channel.most_characters),
                ])?;
            }
            rows.finish()?;
            Ok(())
        }
    }
}

fn channel_json(channel: &ChannelForecast) -> Value {
    json!({
        "channel": channel.channel().word(),
        "matched": matched(channel),
        "planned": channel.planned,
        "skipped": channel.skipped,
        "least_parts": channel.least_parts,
        "most_parts": channel.most_parts,
        "total_parts": channel.total_parts,
        "credits": channel.credits,
        "ucs2": channel.ucs2,
        "too_long": channel.too_long,
        "empty": channel.empty,
        "most_characters": channel.most_characters,
        "characters_left": left(channel),
    })
}

/// Characters by which the longest message could grow.
fn left(channel: &ChannelForecast) -> u64 {
    (MAX_CHARACTERS as u64).saturating_sub(channel.most_characters.into())
}

fn matched(channel: &ChannelForecast) -> u64 {
    channel.planned + channel.skipped.values().sum::<u64>()
}

fn table(out: Out<'_>, look: Look, forecast: &Forecast, account: &Account) -> Result<(), Error> {
    let headline = format!(
        "{} customers, {} messages",
        thousands(forecast.customers),
        thousands(forecast.planned)
    );
    writeln!(out, "{}\n", look.bold(&headline))?;
    let channels = &forecast.channels;
    let of = |figure: fn(&ChannelForecast) -> u64| channels.iter().map(figure).collect::<Vec<_>>();
    let mut sums = Sums::new(channels.iter().map(|channel| channel.channel().word()).collect());
    sums.line(Line::Start, "matched", of(matched));
    for reason in skip_reasons(channels.iter().map(|channel| &channel.skipped)) {
        let figures = channels.iter().map(|channel| figure(&channel.skipped, &reason)).collect();
        sums.line_unless_zero(Line::Less, reason.replace('_', " "), figures);
    }
    sums.line(Line::Equals, "planned", of(|channel| channel.planned));
    sums.line_unless_zero(Line::Note, "parts", of(|channel| channel.total_parts));
    sums.line_unless_zero(Line::Note, "messages in UCS-2", of(|channel| channel.ucs2));
    sums.line_unless_zero(Line::Note, "too long to be sent", of(|channel| channel.too_long));
    sums.line_unless_zero(Line::Note, "empty, not sent", of(|channel| channel.empty));
    sums.write(out, look)?;
    for channel in channels.iter().filter(|channel| channel.total_parts > 0) {
        let parts = match (channel.least_parts, channel.most_parts) {
            (least, most) if least == most => format!("{most}"),
            (least, most) => format!("{least} to {most}"),
        };
        let word = channel.channel().word();
        writeln!(
            out,
            "\n{word}: {parts} part{} a message, {} characters at most, {} left",
            if channel.most_parts == 1 { "" } else { "s" },
            channel.most_characters,
            left(channel)
        )?;
    }
    writeln!(
        out,
        "credits: {} needed, {} available",
        thousands(forecast.credits),
        thousands(account.available)
    )?;
    let short = short(forecast, account);
    if short > 0 {
        let warning = format!(
            "{} short: what they would pay for waits until they are added",
            thousands(short)
        );
        writeln!(out, "{}", look.warn(&warning))?;
        writeln!(out, "(carillon balance credit {short} --request-id X)")?;
    }
    Ok(())
}

fn figure(counts: &std::collections::BTreeMap<String, u64>, reason: &str) -> u64 {
    counts.get(reason).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn forecast() -> Forecast {
        let skipped =
            BTreeMap::from([("no_address".to_owned(), 3), ("unsubscribed".to_owned(), 20)]);
        let sms = ChannelForecast {
            channel: 1,
            planned: 1260,
            skipped: skipped.clone(),
            least_parts: 1,
            most_parts: 2,
            total_parts: 1300,
            credits: 1500,
            ucs2: 12,
            most_characters: 161,
            ..ChannelForecast::default()
        };
        let email = ChannelForecast { channel: 2, planned: 1283, ..ChannelForecast::default() };
        let channels = vec![sms, email];
        Forecast { customers: 1283, matched: 2566, planned: 2543, skipped, channels, credits: 1500 }
    }

    fn printed(format: Format, available: i64) -> String {
        let mut out = Vec::new();
        let account = Account { available, ..Account::default() };
        print(&mut out, Look::plain(format), &forecast(), &account).expect("printed");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn it_says_how_much_is_short() {
        let text = printed(Format::Table, 1000);
        assert!(text.contains("1,500 needed, 1,000 available\n500 short"), "{text}");
        assert!(!printed(Format::Table, 1500).contains("short"));
    }

    #[test]
    fn the_sums_stand_beside_each_other() {
        let text = printed(Format::Table, 5000);
        assert!(text.contains("− no address"), "{text}");
        assert!(text.contains("2,566") && text.contains("2,543"), "{text}");
        assert!(text.contains("1 to 2 parts a message"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn json_holds_the_figures() {
        let value: Value = serde_json::from_str(&printed(Format::Json, 1000)).expect("JSON");
        assert_eq!((&value["credits"], &value["short"]), (&json!(1500), &json!(500)));
        assert_eq!(value["channels"][0]["matched"], json!(1283));
    }
}
