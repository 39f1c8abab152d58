//! Follows a campaign: live on a terminal, a line a second in a pipe.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use carillon_contracts::{
    campaign::v1::{CampaignState, GetCampaignRequest},
    report::v1::{GetReportRequest, Report},
    vocabulary::MessageState,
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    client::Client,
    context::Context,
    error::Error,
    output::{Format, Look, Out, cell, csv_fault, instant, printable, thousands},
    report,
};

/// Between two looks, on a terminal or where nothing is shown.
const OFTEN: Duration = Duration::from_millis(250);
const EVERY_SECOND: Duration = Duration::from_secs(1);
/// How long a server may be away, or a run not be known yet, before following gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the progress is shown.
pub enum View<'a> {
    Live(Live),
    Lines(Lines<'a>),
    Nothing,
}

/// A line a second: words, a JSON document, or a row of CSV.
pub struct Lines<'a> {
    out: Out<'a>,
    look: Look,
    /// The header stands above the first row alone.
    begun: bool,
}

/// Several lines on standard error that are drawn again and again.
pub struct Live {
    lines: MultiProgress,
    bar: ProgressBar,
    states: ProgressBar,
    waiting: ProgressBar,
}

impl View<'_> {
    /// Live where standard error is a terminal, else nothing.
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Live(Live::new()) } else { Self::Nothing }
    }

    fn pause(&self) -> Duration {
        match self {
            Self::Lines(_) => EVERY_SECOND,
            Self::Live(_) | Self::Nothing => OFTEN,
        }
    }

    fn show(&mut self, report: &Report, rate: f64) -> io::Result<()> {
        match self {
            Self::Live(live) => {
                live.show(report, rate);
                Ok(())
            }
            Self::Lines(lines) => lines.show(report, rate),
            Self::Nothing => Ok(()),
        }
    }

    /// Says something once, beside the progress.
    fn tell(&self, note: &str) {
        match self {
            Self::Live(live) => {
                // Standard error may have gone away; the result does not depend on it.
                let _ = live.lines.println(note);
            }
            Self::Lines(_) | Self::Nothing => {
                let _ = writeln!(io::stderr(), "{note}");
            }
        }
    }

    fn close(&self) {
        if let Self::Live(live) = self {
            live.close();
        }
    }
}

impl<'a> Lines<'a> {
    pub fn new(out: Out<'a>, look: Look) -> Self {
        Self { out, look, begun: false }
    }

    fn show(&mut self, report: &Report, rate: f64) -> io::Result<()> {
        match self.look.format {
            Format::Json => writeln!(self.out, "{}", report::compact_json(report))?,
            Format::Table => writeln!(self.out, "{}", line(report, rate))?,
            Format::Csv => {
                let row = progress_row(report, rate);
                let mut writer = csv::Writer::from_writer(&mut self.out);
                if !self.begun {
                    let header = row.iter().map(|(name, _)| *name);
                    writer.write_record(header).map_err(csv_fault)?;
                }
                let cells = row.iter().map(|(_, value)| cell::csv(value));
                writer.write_record(cells).map_err(csv_fault)?;
                writer.flush()?;
            }
        }
        self.begun = true;
        self.out.flush()
    }
}

impl Live {
    fn new() -> Self {
        let lines = MultiProgress::new();
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸─")
        };
        let bar = lines.add(ProgressBar::new(0));
        bar.set_style(style("{prefix} [{wide_bar}] {msg}  {elapsed}"));
        let states = lines.add(ProgressBar::new_spinner().with_style(style("  {msg}")));
        let waiting = lines.add(ProgressBar::new_spinner().with_style(style("  {msg}")));
        bar.enable_steady_tick(OFTEN);
        Self { lines, bar, states, waiting }
    }

    fn show(&self, report: &Report, rate: f64) {
        self.bar.set_prefix(if report.plan_complete { "sending " } else { "planning" });
        // A bar of nothing would be drawn full.
        self.bar.set_length(report.planned.max(1));
        self.bar.set_position(settled(report));
        self.bar.set_message(format!(
            "{} of {} settled  {} msg/s",
            thousands(settled(report)),
            thousands(report.planned),
            thousands(rate as u64)
        ));
        self.states.set_message(report::state_list(report));
        let waiting: Vec<String> = (report.waiting.iter())
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| {
                format!("{} {}", printable(reason).replace('_', " "), thousands(*count))
            })
            .collect();
        self.waiting.set_message(match waiting.len() {
            0 => format!("in flight {}", thousands(report.in_flight)),
            _ => format!(
                "in flight {}, of which {}",
                thousands(report.in_flight),
                waiting.join(", ")
            ),
        });
    }

    fn close(&self) {
        self.bar.disable_steady_tick();
        let _ = self.lines.clear();
    }
}

/// `carillon campaign watch`.
pub(crate) async fn run(client: &Client, id: &str, context: &mut Context) -> Result<(), Error> {
    let look = context.look;
    if io::stdout().is_terminal() && io::stderr().is_terminal() && look.format == Format::Table {
        let report = follow(client, id, &mut View::Live(Live::new())).await?;
        return report::print(&mut context.out, look, &report);
    }
    let mut view = View::Lines(Lines::new(&mut context.out, look));
    follow(client, id, &mut view).await?;
    Ok(())
}

/// Shows the campaign's progress until all is settled, and answers with the last report. A server
/// that is away for less than a minute is waited for.
pub async fn follow(client: &Client, id: &str, view: &mut View<'_>) -> Result<Report, Error> {
    let request = GetCampaignRequest { id: id.to_owned() };
    let campaign = client.campaigns().get_campaign(request).await?.into_inner();
    if campaign.state() == CampaignState::Draft {
        return Err(Error::failed(format!(
            "{id}: the campaign is a draft and sends nothing; start it with `carillon campaign start {id}`"
        )));
    }
    let done = poll(client, id, view).await;
    view.close();
    done
}

async fn poll(client: &Client, id: &str, view: &mut View<'_>) -> Result<Report, Error> {
    let mut speed = Speed::default();
    let mut told = false;
    let mut good = Instant::now();
    loop {
        let request = GetReportRequest { campaign_id: id.to_owned(), run_id: String::new() };
        match client.reports().get_report(request).await {
            Ok(answer) => {
                let report = answer.into_inner();
                good = Instant::now();
                let rate = speed.enter(good, settled(&report));
                view.show(&report, rate)?;
                if let Some(note) = short_of_credits(&report).filter(|_| !told) {
                    told = true;
                    view.tell(&note);
                }
                if is_finished(&report) {
                    return Ok(report);
                }
            }
            Err(status) if may_pass(&status) && good.elapsed() < PATIENCE => {}
            Err(status) => return Err(status.into()),
        }
        tokio::time::sleep(view.pause()).await;
    }
}

/// Nothing moves any more for want of credits: waiting alone would not end before the deadline.
fn short_of_credits(report: &Report) -> Option<String> {
    let waiting = report.waiting.get("insufficient_balance").copied().unwrap_or(0);
    (waiting > 0 && waiting == report.in_flight).then(|| {
        format!(
            "{} messages wait for credits: add them with `carillon balance credit AMOUNT --request-id X`",
            thousands(waiting)
        )
    })
}

/// A server that restarts, or a run of which no batch has been heard yet.
fn may_pass(status: &Status) -> bool {
    crate::error::is_unreachable(status)
        || matches!(status.code(), Code::Unavailable | Code::NotFound)
}

/// Nothing of it is open, and nothing more will be planned.
pub fn is_finished(report: &Report) -> bool {
    let over =
        matches!(report.campaign_state(), CampaignState::Cancelled | CampaignState::Finished);
    (report.plan_complete || over) && report.in_flight == 0
}

fn settled(report: &Report) -> u64 {
    report.states.values().sum()
}

/// Messages settled a second, over the last few looks.
#[derive(Default)]
struct Speed {
    looks: std::collections::VecDeque<(Instant, u64)>,
}

impl Speed {
    fn enter(&mut self, now: Instant, settled: u64) -> f64 {
        while self.looks.front().is_some_and(|(at, _)| now - *at > Duration::from_secs(5)) {
            self.looks.pop_front();
        }
        self.looks.push_back((now, settled));
        let Some((begun, before)) = self.looks.front() else { return 0.0 };
        let seconds = (now - *begun).as_secs_f64();
        if seconds > 0.0 { settled.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }
}

/// The same columns in every row: each settled state has one, whether it occurs or not.
fn progress_row(report: &Report, rate: f64) -> Vec<(&'static str, Value)> {
    let sum = |counts: &BTreeMap<String, u64>| json!(counts.values().sum::<u64>());
    let mut row = vec![
        ("time", instant(report.update_time.as_ref())),
        ("matched", json!(report.matched)),
        ("skipped", sum(&report.skipped)),
        ("planned", json!(report.planned)),
        ("plan_complete", json!(report.plan_complete)),
        ("settled", json!(settled(report))),
        ("in_flight", json!(report.in_flight)),
        ("waiting", sum(&report.waiting)),
    ];
    for state in MessageState::ALL.iter().filter(|state| state.is_settled()) {
        let count = report.states.get(state.word()).copied().unwrap_or(0);
        row.push((state.word(), json!(count)));
    }
    row.push(("messages_per_second", json!(rate as u64)));
    row
}

fn line(report: &Report, rate: f64) -> String {
    let mut text = format!(
        "{} of {}{} settled, {} in flight, {} msg/s",
        thousands(settled(report)),
        thousands(report.planned),
        if report.plan_complete { "" } else { " planned so far" },
        thousands(report.in_flight),
        thousands(rate as u64)
    );
    let states = report::state_list(report);
    if !states.is_empty() {
        text.push_str(&format!(" ({states})"));
    }
    if is_finished(report) {
        text.push_str(", finished");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(plan_complete: bool, in_flight: u64) -> Report {
        Report {
            planned: 1500,
            plan_complete,
            in_flight,
            states: BTreeMap::from([("delivered".to_owned(), 1200), ("failed".to_owned(), 0)]),
            ..Report::default()
        }
    }

    #[test]
    fn it_is_finished_when_planned_to_the_end_and_nothing_is_open() {
        assert!(!is_finished(&report(false, 0)));
        assert!(!is_finished(&report(true, 1)));
        assert!(is_finished(&report(true, 0)));
        let mut cancelled = report(false, 0);
        cancelled.set_campaign_state(CampaignState::Cancelled);
        assert!(is_finished(&cancelled));
    }

    #[test]
    fn a_line_says_where_it_stands() {
        assert_eq!(
            line(&report(true, 300), 41.7),
            "1,200 of 1,500 settled, 300 in flight, 41 msg/s (delivered 1,200)"
        );
        assert!(line(&report(true, 0), 0.0).ends_with(", finished"));
        assert!(line(&report(false, 0), 0.0).contains("1,500 planned so far"));
    }

    #[test]
    fn rows_of_csv_stand_under_one_header_and_have_every_state() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out, Look::plain(Format::Csv));
        lines.show(&report(false, 300), 41.7).expect("written");
        lines.show(&report(true, 0), 0.0).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "time,matched,skipped,planned,plan_complete,settled,in_flight,waiting,sent,delivered,\
             undelivered,failed,expired,suppressed,cancelled,unknown,messages_per_second\n\
             ,0,0,1500,false,1200,300,0,0,1200,0,0,0,0,0,0,41\n\
             ,0,0,1500,true,1200,0,0,0,1200,0,0,0,0,0,0,0\n"
        );
    }

    #[test]
    fn want_of_credits_is_told_when_nothing_else_is_open() {
        let mut report = report(true, 300);
        assert_eq!(short_of_credits(&report), None);
        report.waiting.insert("insufficient_balance".to_owned(), 300);
        assert!(short_of_credits(&report).is_some_and(|note| note.starts_with("300 messages")));
        report.in_flight = 301;
        assert_eq!(short_of_credits(&report), None);
    }

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let mut speed = Speed::default();
        let start = Instant::now();
        assert_eq!(speed.enter(start, 0), 0.0);
        assert_eq!(speed.enter(start + Duration::from_secs(2), 100), 50.0);
        assert_eq!(speed.enter(start + Duration::from_secs(6), 100), 0.0);
    }
}
