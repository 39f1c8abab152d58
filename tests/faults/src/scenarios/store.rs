//! A database that goes away, and commits of which nobody hears.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use carillon_service_kit::{
    Database,
    database::{Postgres, Sql as _},
};
use carillon_sinks::sms::Behaviour;
use sea_orm::{DbErr, QueryResult};

use crate::{
    Outcome, Size,
    drill::{BOTH, DISPATCHERS, Drill, UNKNOWN_A_KILL, until},
    servers::{AnswersNoCommit, Server},
};

/// Of each process to its database: as few as there may be.
const POOL: usize = 4;
/// Less than a worker may be silent.
const POOL_EMPTY_FOR: Duration = Duration::from_secs(5);
/// What steps, hearts, watches and relays need.
const EVERYTHING: &str =
    "LOCK TABLE batches, messages, workers, heartbeats, outbox IN ACCESS EXCLUSIVE MODE";

pub(crate) fn restarted_and_away_for_a_minute(size: &Size) -> Outcome {
    let pool = POOL.to_string();
    let few = [("CARILLON__DATABASE__CONNECTIONS", pool.as_str())];
    let mut drill = Drill::of(size.recipients / 8, &[("sms-dispatcher", 2)], &few);
    drill.providers.set_latency(Duration::from_millis(50));
    for _ in 0..2 {
        let before = drill.providers.total();
        let id = drill.send(BOTH);
        drill.until_accepted(before + 10);
        Server::Postgres.restart();
        drill.kills += 1;
        until("campaigns are read again", || drill.stack.run(&["campaign", "list"]).code == 0);
        drill.until_settled(&id);
    }
    assert_eq!(drill.handed_out_again(), 0, "nothing was acked and not stored");
    let before = drill.providers.total();
    drill.send(BOTH);
    drill.until_accepted(before + 10);
    Server::Postgres.out_for(size.minute);
    drill.kills += 1;
    let before = drill.providers.total();
    drill.send(BOTH);
    drill.until_accepted(before + 10);
    exhaust_the_pools(&drill, "sms-dispatcher", 2 * POOL);
    drill.providers.set_latency(Duration::ZERO);
    // Nobody was killed, and no clock is compared: nobody is taken for dead.
    drill.end(0)
}

/// Every connection to the database waits for a table, and whoever wants another one for these.
fn exhaust_the_pools(drill: &Drill, service: &str, connections: usize) {
    let url = drill.stack.database_url(service);
    let database = url.rsplit('/').next().expect("a name").to_owned();
    let at = Postgres { url, connections: 1 };
    let lock = || async {
        let tx = Database::connect_postgres(&at).await?.begin().await?;
        tx.run("SET LOCAL idle_in_transaction_session_timeout = 0", []).await?;
        tx.run(EVERYTHING, []).await?;
        Ok::<_, DbErr>(tx)
    };
    // Where a step has locked one of them and waits for another, PostgreSQL refuses it or us.
    let mut taken = None;
    until("the tables are locked", || {
        taken = drill.stack.wait(lock()).ok();
        taken.is_some()
    });
    let taken = taken.expect("locked");
    let waiting = format!(
        "SELECT COUNT(*) FROM pg_stat_activity
         WHERE datname = '{database}' AND wait_event_type = 'Lock'"
    );
    until("every connection waits", || drill.count("billing", &waiting) == connections as i64);
    thread::sleep(POOL_EMPTY_FOR);
    drill.stack.wait(async { taken.rollback().await.expect("given back") });
}

/// The step is carried out again, and answers what it took the first time.
pub(crate) fn answers_to_commits_lost(size: &Size) -> Outcome {
    let mut drill = Drill::of_campaigns(size, 2);
    let every_third = "1*return->2*off->1*return->2*off->1*return";
    let lost = [
        ("scheduler", &["schedule.fire"][..]),
        ("segment-evaluator", &["plan.step", "release.settle", "inbox.handle", "outbox.settle"]),
        ("sms-dispatcher", &["dispatch.step", "outbox.settle"]),
        ("email-dispatcher", &["dispatch.step", "outbox.settle"]),
        ("billing", &["billing.hold", "inbox.handle"]),
        ("campaign-api", &["inbox.handle", "outbox.settle"]),
    ];
    for (service, commits) in lost {
        let faults: Vec<String> = commits
            .iter()
            .map(|commit| match *commit {
                "schedule.fire" | "billing.hold" | "plan.step" => {
                    format!("{commit}.answer=2*return")
                }
                _ => format!("{commit}.answer={every_third}"),
            })
            .collect();
        drill.arm(service, 1, &faults.join(";"));
    }
    drill.send(BOTH);
    let outcome = drill.check(0);
    for (service, commits) in lost {
        let log = drill.stack.read_log(service, 1);
        for commit in commits {
            assert!(
                log.contains(&format!("the answer to {commit} is lost")),
                "{service}: {commit}"
            );
        }
    }
    drop(drill);

    // As many messages, in a campaign for each commit.
    let commits = [
        ("scheduler", "schedule.fire.before=1*sleep(2000)"),
        ("segment-evaluator", "plan.step.before=1*sleep(2000)"),
        ("billing", "billing.hold.before=1*sleep(2000)"),
        ("segment-evaluator", "release.settle.before=1*sleep(2000)"),
        // A claim; and later, with other claims, records.
        ("sms-dispatcher", "dispatch.step.before=1*sleep(2000)"),
        ("email-dispatcher", "dispatch.step.before=3*off->1*sleep(2000)"),
    ];
    let mut drill = Drill::of(size.recipients / 2 / commits.len(), &[], &[]);
    drill.providers.set_latency(Duration::from_millis(20));
    for (service, commit) in commits {
        killed_between_a_commit_and_its_answer(&mut drill, service, commit);
    }
    outcome + drill.end(0)
}

/// PostgreSQL, while the service is held up for once before this commit.
fn killed_between_a_commit_and_its_answer(drill: &mut Drill, service: &str, commit: &str) {
    drill.arm(service, 1, commit);
    let id = drill.send(BOTH);
    let about_to_commit = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
         AND state = 'idle in transaction' AND now() - state_change > interval '0.3 s'";
    let mut backends = Vec::new();
    until("it is about to commit", || {
        backends = drill.rows(service, about_to_commit);
        !backends.is_empty()
    });
    let backend: i32 = backends[0].try_get_by_index(0).expect("a process");
    let postgres = AnswersNoCommit::from_now_on();
    let has_committed = format!(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE pid = {backend} AND wait_event = 'SyncRep'"
    );
    until("it has committed", || drill.count(service, &has_committed) == 1);
    postgres.dies();
    drill.kills += 1;
    drill.until_settled(&id);
}

/// Of an account in one process: so few that it has claimed more than it can have begun.
const CONNECTIONS: usize = 4;
const CALL_TAKES: Duration = Duration::from_millis(100);
/// Time to stand still in the midst of three campaigns, and more than is sent by then.
const PENDING: Duration = Duration::from_secs(30);
/// Calls are heard of a little after they were begun.
const ON_THE_WAY: Duration = Duration::from_secs(1);
const CANCELLED_WITHIN: Duration = Duration::from_secs(2);

/// A dispatcher that stands still is taken for dead, and what it does when it wakes calls nobody.
pub(crate) fn a_zombie(size: &Size) -> Outcome {
    let replicas = [("sms-dispatcher", 2), ("email-dispatcher", 2)];
    let connections = CONNECTIONS.to_string();
    let few = [("CARILLON__SMS_DISPATCHER__HTTP__CONNECTIONS", connections.as_str())];
    // So few that every batch is in hand at once.
    let customers = size.recipients.min(2_000) / 2;
    let mut drill = Drill::of(customers, &replicas, &few);
    drill.may_end_as(&["cancelled", "expired", "failed"]);
    drill.providers.set_smtp_for(&drill.stack, &["--connections", &connections]);
    drill.providers.set_latency(CALL_TAKES);
    // Under a rule the provider notes when it was asked.
    drill.providers.sms.by_rule(|_, _| Behaviour::Accept);
    let epochs = DISPATCHERS.map(|dispatcher| begin_an_epoch(&mut drill, dispatcher));
    let [whole, cancelled, late] = start_three_at_once(&mut drill, customers);
    let deadline = drill.deadline(&late);
    let standing = Instant::now();
    for (dispatcher, epoch) in DISPATCHERS.into_iter().zip(epochs) {
        stop_in_the_midst_of_three(&mut drill, dispatcher, epoch);
    }
    assert!(Instant::now() < deadline, "it stood still too late to be stopped by the deadline");
    let _ = drill.stack.run(&["campaign", "cancel", &cancelled]).ok();
    let over = Instant::now() + CANCELLED_WITHIN;
    until("the deadline is over", || Instant::now() > deadline + ON_THE_WAY);
    drill.providers.set_latency(Duration::ZERO);
    for id in [&whole, &cancelled, &late] {
        drill.until_settled(id);
    }
    nobody_is_called_after(&drill, &cancelled, "cancelled", over);
    nobody_is_called_after(&drill, &late, "expired", deadline + ON_THE_WAY);
    let taken_over = "SELECT COUNT(DISTINCT b.campaign_id) FROM messages m
                      JOIN batches b ON b.id = m.batch_id AND b.run_day = m.run_day
                      WHERE m.state = 'unknown' AND m.reason = 'worker_lost'";
    for dispatcher in DISPATCHERS {
        assert_eq!(drill.count(dispatcher, taken_over), 3, "campaigns with unknown messages");
    }
    thread::sleep(size.minute.saturating_sub(standing.elapsed()));
    wake(&mut drill);
    // Fenced, it goes on with a new epoch.
    drill.send(BOTH);
    drill.end(DISPATCHERS.len() * UNKNOWN_A_KILL)
}

/// Three campaigns, the last of which has a deadline, that both replicas work on together: all is
/// accepted before anything is sent, so that it is due to whoever comes first.
fn start_three_at_once(drill: &mut Drill, customers: usize) -> [String; 3] {
    let run = |drill: &Drill, command: &[&str]| drop(drill.stack.run(command).ok());
    run(drill, &["org", "set", "paused", "true"]);
    let accepted = |drill: &Drill, campaigns: usize| {
        let sql = "SELECT COALESCE(SUM(count), 0)::bigint FROM batches WHERE accepted";
        for dispatcher in DISPATCHERS {
            let all = (campaigns * customers) as i64;
            until("all is accepted", || drill.count(dispatcher, sql) == all);
        }
    };
    let first = [1, 2].map(|campaigns| {
        let id = drill.send(BOTH);
        accepted(drill, campaigns);
        // A campaign that is paused leaves its places to the next.
        run(drill, &["campaign", "pause", &id]);
        id
    });
    let late = drill.send_for(BOTH, PENDING);
    accepted(drill, 3);
    for id in &first {
        run(drill, &["campaign", "resume", id]);
    }
    run(drill, &["org", "set", "paused", "false"]);
    let [whole, cancelled] = first;
    [whole, cancelled, late]
}

/// Starts the first replica again, alone, so that the newest epoch is its own.
fn begin_an_epoch(drill: &mut Drill, dispatcher: &str) -> i64 {
    drill.arm(dispatcher, 1, "");
    drill.count(dispatcher, NEWEST_EPOCH)
}

/// Whether more than its connections can have begun is in `sending`, and of three campaigns.
fn is_in_the_midst_of_three(drill: &Drill, dispatcher: &str, epoch: i64) -> bool {
    let sql = format!(
        "SELECT COUNT(DISTINCT b.campaign_id), COUNT(*) FROM messages m
         JOIN batches b ON b.id = m.batch_id AND b.run_day = m.run_day
         WHERE m.worker_epoch = {epoch} AND m.state = 'sending'"
    );
    let row = &drill.rows(dispatcher, &sql)[0];
    let [campaigns, messages]: [i64; 2] =
        [0, 1].map(|column| row.try_get_by_index(column).expect("a count"));
    campaigns == 3 && messages > CONNECTIONS as i64
}

fn stop_in_the_midst_of_three(drill: &mut Drill, dispatcher: &str, epoch: i64) {
    until("it is in the midst of three campaigns", || {
        if !is_in_the_midst_of_three(drill, dispatcher, epoch) {
            return false;
        }
        drill.stack.signal(dispatcher, 1, "STOP");
        // It went on until then.
        let still = is_in_the_midst_of_three(drill, dispatcher, epoch);
        if !still {
            drill.stack.signal(dispatcher, 1, "CONT");
        }
        still
    });
}

/// By whichever replica, for any message of the campaign, of which some were stopped.
fn nobody_is_called_after(drill: &Drill, campaign: &str, stopped_as: &str, moment: Instant) {
    let asked = drill.providers.sms.asked();
    let mails = drill.providers.smtp.accepted_begun();
    // <run_day.message@domain>
    let mails: HashMap<&str, Instant> = mails
        .iter()
        .filter_map(|(id, begun)| Some((id.split_once('.')?.1.split('@').next()?, *begun)))
        .collect();
    let details = drill.details(campaign);
    for (address, detail) in &details {
        let message = detail.message.as_str();
        let last = asked.get(message).and_then(|times| times.last()).or_else(|| mails.get(message));
        let after = last.and_then(|last| last.checked_duration_since(moment));
        assert_eq!(after, None, "{address} was called after its campaign was {stopped_as}");
    }
    for channel in ["@", "+"] {
        let of_channel = details.iter().filter(|(address, _)| address.contains(channel));
        let stopped = of_channel.filter(|(_, detail)| detail.state == stopped_as).count();
        assert!(stopped > 0, "nothing was left to be {stopped_as} at an address with {channel}");
    }
}

const NEWEST_EPOCH: &str = "SELECT MAX(epoch) FROM workers";

/// What was claimed and not begun is known not to have been sent, and what was answered to have
/// been: nothing else is written, and nobody is called.
fn wake(drill: &mut Drill) {
    let calls =
        |drill: &Drill| (drill.providers.sms.requests(), drill.providers.smtp.begun().len());
    let called_before = calls(drill);
    let newest = DISPATCHERS.map(|dispatcher| drill.count(dispatcher, NEWEST_EPOCH));
    let before = DISPATCHERS.map(|dispatcher| states(drill, dispatcher));
    for dispatcher in DISPATCHERS {
        drill.stack.signal(dispatcher, 1, "CONT");
    }
    // Two beats take longer than anything that it had in hand may wait for its turn.
    for (dispatcher, newest) in DISPATCHERS.into_iter().zip(newest) {
        let sql = format!("SELECT COUNT(*) FROM heartbeats WHERE epoch > {newest} AND beats > 1");
        until("its heart beats in a new epoch", || drill.count(dispatcher, &sql) == 1);
    }
    for (dispatcher, before) in DISPATCHERS.into_iter().zip(before) {
        let mut corrected = 0;
        for (message, state) in states(drill, dispatcher) {
            let was = before[&message].as_str();
            if was != state {
                assert_eq!(was, "unknown", "{message} became {state}");
                assert!(["sent", "failed"].contains(&state.as_str()), "{message} became {state}");
                corrected += 1;
            }
        }
        assert!(corrected > 0, "no late record of {dispatcher} corrected an unknown");
    }
    assert_eq!(calls(drill), called_before, "SMS and mails begun after it woke");
}

fn states(drill: &Drill, dispatcher: &str) -> HashMap<String, String> {
    let rows = drill.rows(dispatcher, "SELECT CAST(id AS TEXT), state FROM messages");
    let column = |row: &QueryResult, index| row.try_get_by_index(index).expect("text");
    rows.iter().map(|row| (column(row, 0), column(row, 1))).collect()
}
