//! `carillon ops`: for operators, with the platform's key.

mod parked;

use std::io::Write as _;

use carillon_contracts::ops::v1::{Backlog, GetStatusRequest, ServiceStatus};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    audit::{self, AuditArgs},
    context::Context,
    error::Error,
    output::{Format, instant, instant_text, printable, rows::Rows, thousands, write_json},
};

#[derive(Debug, Subcommand)]
pub enum OpsCommand {
    /// What waits in every service, and since when
    #[command(
        after_help = "Of each stage: how much waits there, and since when its oldest does. The oldest of all is named first.\n\nExample:\n  carillon ops status -o json"
    )]
    Status,
    /// Messages that could not be handled, and batches that nothing is heard of
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon ops parked list\n  carillon ops parked replay billing/7"
    )]
    Parked(parked::ParkedCommand),
    /// What was done with the platform's key, and when; newest first
    #[command(
        after_help = "Organisations created, and parked messages replayed or discarded. What is done to a parked message is written down before it is done: `parked.refused` follows where it was not.\n\nExample:\n  carillon ops audit -o csv\n  carillon ops audit --verify"
    )]
    Audit(AuditArgs),
}

pub async fn run(command: OpsCommand, context: &mut Context) -> Result<(), Error> {
    match command {
        OpsCommand::Status => status(context).await,
        OpsCommand::Parked(command) => parked::run(command, context).await,
        OpsCommand::Audit(args) => audit::run(args, true, context).await,
    }
}

async fn status(context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let answer = client.operators().get_status(GetStatusRequest {}).await?.into_inner();
    let services = answer.services;
    let look = context.look;
    match look.format {
        Format::Json => write_json(&mut context.out, &as_json(&services))?,
        Format::Csv | Format::Table => {
            if look.format == Format::Table {
                writeln!(context.out, "{}\n", headline(&services))?;
            }
            let columns = ["service", "stage", "count", "oldest", "detail"];
            let mut rows = Rows::new(&mut context.out, look, &columns);
            for service in &services {
                for row in table_rows(service, look.format == Format::Csv) {
                    rows.row(row)?;
                }
            }
            rows.finish()?;
        }
    }
    for service in services.iter().filter(|service| !service.unreachable.is_empty()) {
        note!("{}", printable(&service.unreachable));
    }
    Ok(())
}

/// The stage whose oldest work has waited longest.
fn slowest(services: &[ServiceStatus]) -> Option<(&ServiceStatus, &Backlog)> {
    let waiting = services.iter().flat_map(|service| {
        let backlogs = service.backlogs.iter().filter(|backlog| backlog.count > 0);
        backlogs.map(move |backlog| (service, backlog))
    });
    let dated = waiting.filter_map(|(service, backlog)| {
        backlog.oldest_time.map(|at| ((at.seconds, at.nanos), service, backlog))
    });
    dated.min_by_key(|(at, ..)| *at).map(|(_, service, backlog)| (service, backlog))
}

fn headline(services: &[ServiceStatus]) -> String {
    let parked: u64 = services.iter().map(|service| service.parked).sum();
    let slowest = slowest(services).map_or_else(
        || "nothing waits".to_owned(),
        |(service, backlog)| {
            format!(
                "the oldest work waits at {} of {}, since {}",
                printable(&backlog.stage),
                printable(&service.service),
                instant_text(backlog.oldest_time.as_ref())
            )
        },
    );
    match parked {
        0 => format!("{slowest}; nothing is parked"),
        _ => format!("{slowest}; {} parked, see `carillon ops parked list`", thousands(parked)),
    }
}

/// Stages where something waits; all of them for a machine.
fn table_rows(service: &ServiceStatus, all: bool) -> Vec<Vec<Value>> {
    let row = |stage: &str, count: Value, oldest: Value, detail: &str| {
        vec![json!(service.service), json!(stage), count, oldest, json!(detail)]
    };
    if !service.unreachable.is_empty() {
        return vec![row("unreachable", Value::Null, Value::Null, &service.unreachable)];
    }
    let waiting = service.backlogs.iter().filter(|backlog| all || backlog.count > 0);
    let mut rows: Vec<Vec<Value>> = waiting
        .map(|backlog| {
            let oldest = backlog.oldest_time.as_ref();
            let oldest = if all { instant(oldest) } else { json!(instant_text(oldest)) };
            row(&backlog.stage, json!(backlog.count), oldest, &backlog.detail)
        })
        .collect();
    if all || service.parked > 0 {
        rows.push(row("parked", json!(service.parked), Value::Null, "set aside"));
    }
    if rows.is_empty() {
        rows.push(row("", json!(0), Value::Null, "nothing waits"));
    }
    rows
}

fn as_json(services: &[ServiceStatus]) -> Value {
    let backlog = |backlog: &Backlog| {
        json!({
            "stage": backlog.stage,
            "count": backlog.count,
            "oldest_time": instant(backlog.oldest_time.as_ref()),
            "detail": backlog.detail,
        })
    };
    let shown: Vec<Value> = services
        .iter()
        .map(|service| {
            json!({
                "service": service.service,
                "reachable": service.unreachable.is_empty(),
                "unreachable": service.unreachable,
                "parked": service.parked,
                "backlogs": service.backlogs.iter().map(backlog).collect::<Vec<_>>(),
            })
        })
        .collect();
    let slowest = slowest(services).map_or(Value::Null, |(service, found)| {
        let mut found = backlog(found);
        found["service"] = json!(service.service);
        found
    });
    json!({ "services": shown, "slowest": slowest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, backlogs: Vec<Backlog>) -> ServiceStatus {
        ServiceStatus { service: name.into(), backlogs, ..ServiceStatus::default() }
    }

    fn backlog(stage: &str, count: u64, since: i64) -> Backlog {
        let oldest_time = Some(prost_types::Timestamp { seconds: since, nanos: 0 });
        Backlog { stage: stage.into(), count, oldest_time, detail: String::new() }
    }

    #[test]
    fn the_oldest_work_is_named_wherever_it_waits() {
        let services = [
            service("billing", vec![backlog("outbox", 0, 1), backlog("holds", 3, 2_000)]),
            service("scheduler", vec![backlog("outbox", 9, 1_000)]),
            service("campaign-api", vec![]),
        ];
        assert_eq!(
            headline(&services),
            "the oldest work waits at outbox of scheduler, since 1970-01-01 00:16:40Z; nothing is \
             parked"
        );
        let json = as_json(&services);
        assert_eq!(
            (&json["slowest"]["stage"], &json["slowest"]["count"]),
            (&json!("outbox"), &json!(9))
        );
        assert_eq!(json["services"][0]["backlogs"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn an_idle_service_and_one_out_of_reach_have_a_row_each() {
        let idle = service("billing", vec![backlog("outbox", 0, 1)]);
        assert_eq!(table_rows(&idle, false)[0][4], json!("nothing waits"));
        assert_eq!(headline(std::slice::from_ref(&idle)), "nothing waits; nothing is parked");
        let away = ServiceStatus { unreachable: "connection refused".into(), ..idle };
        assert_eq!(table_rows(&away, false)[0][1], json!("unreachable"));
        assert_eq!(as_json(&[away])["services"][0]["reachable"], json!(false));
    }
}
