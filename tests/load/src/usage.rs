//! Where the time of a campaign goes: processor time by program, from /proc.

use std::{collections::BTreeMap, fs};

use rustix::param::clock_ticks_per_second;

/// Seconds of processor time that each program's processes have had so far.
#[derive(Clone)]
pub(crate) struct Usage(BTreeMap<String, f64>);

impl Usage {
    pub(crate) fn now() -> Self {
        let mut used = BTreeMap::new();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            let path = process.path();
            let Ok(command) = fs::read_to_string(path.join("cmdline")) else { continue };
            if let (Some(program), Some(seconds)) = (program(&command), seconds(&path)) {
                *used.entry(program).or_default() += seconds;
            }
        }
        Self(used)
    }

    /// Microseconds of processor time a message, the most first.
    pub(crate) fn a_message_since(&self, before: &Self, messages: usize) -> Vec<(String, f64)> {
        let since = |program: &String| before.0.get(program).copied().unwrap_or_default();
        let spent = self.0.iter().map(|(program, used)| (program.clone(), used - since(program)));
        let mut spent: Vec<_> =
            spent.map(|(program, used)| (program, used * 1e6 / messages as f64)).collect();
        spent.sort_by(|one, other| other.1.total_cmp(&one.1));
        spent
    }
}

/// What the process is, if it takes part.
fn program(command: &str) -> Option<String> {
    let mut words = command.split(['\0', ' ']);
    let name = words.next()?.rsplit('/').next()?.trim_end_matches(':');
    match name {
        "carillon" => words.find(|word| *word == "serve").and(words.next()).map(str::to_owned),
        "postgres" => Some(format!("PostgreSQL, {}", database(command).unwrap_or("by itself"))),
        "beam.smp" => Some("RabbitMQ".into()),
        "carillon-bench" => Some("SMS provider, gRPC front, this program".into()),
        "smtp-sink" => Some(name.into()),
        _ => None,
    }
}

/// The service that a connection's process works for: `postgres: USER stack_ID_SERVICE …`.
fn database(command: &str) -> Option<&str> {
    let name = command.split(' ').nth(2)?.strip_prefix("stack_")?;
    name.split_once('_').map(|(_, service)| service)
}

/// Of utime and stime, fields 14 and 15 of proc(5)'s stat.
fn seconds(process: &std::path::Path) -> Option<f64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / clock_ticks_per_second() as f64)
}
