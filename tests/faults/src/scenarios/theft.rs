//! Each kind of event is caused again and again, until one of it was lost between the broker's
//! confirm and its subscriber.

use std::{
    thread,
    time::{Duration, Instant},
};

use carillon_broker::topology::{
    self, AUDIT_RECORDED, BALANCE_LOW, BALANCE_RAISED, BATCH_PLANNED, CAMPAIGN_HALTED,
    CAMPAIGN_PUBLISHED, DELIVERY_CHANGED, EVENTS, GATEWAY_CHANGED, ORGANISATION_CHANGED,
    REPLY_RECEIVED, RUN_DUE, RUN_MISSED, RUN_PLANNED, SUPPRESSION_CHANGED,
};
use carillon_e2e::customers;
use carillon_sealing::ReplyLinks;
use carillon_sinks::sms::Poster;

use super::queues::Hearing;
use crate::{
    Outcome, SOONER, Size,
    drill::{BOTH, Drill, SMS, until},
    thief::Thief,
};

/// Few, so that their credits are soon used up.
const CUSTOMERS: usize = 50;
const PENDING: Duration = Duration::from_secs(15);

pub(crate) fn each_kind_of_event(_: &Size) -> Outcome {
    let mut drill = Drill::of(CUSTOMERS, &[], SOONER);
    let thief = Thief::of(&drill);
    let run = |drill: &Drill, args: &[&str]| drop(drill.stack.run(args).ok());

    let mut low_balance = ["0", "1000000"].iter().cycle();
    for event in [ORGANISATION_CHANGED, BALANCE_LOW] {
        lose(&drill, &thief, event, |drill| {
            run(drill, &["org", "set", "low_balance", low_balance.next().expect("endless")]);
        });
    }
    let mut blacklist = ["blacklist", "unblacklist"].iter().cycle();
    lose(&drill, &thief, SUPPRESSION_CHANGED, |drill| {
        run(drill, &["customers", blacklist.next().expect("endless"), "C000000"]);
    });
    run(&drill, &["customers", "unblacklist", "C000000"]);
    let later = drill.draft("{ once: 2099-01-01T09:00 }", "1d", SMS);
    run(&drill, &["campaign", "start", &later, "--yes"]);
    let mut halts = ["pause", "resume"].iter().cycle();
    lose(&drill, &thief, CAMPAIGN_HALTED, |drill| {
        run(drill, &["campaign", halts.next().expect("endless"), &later]);
    });
    let mut paid = 0;
    lose(&drill, &thief, AUDIT_RECORDED, |drill| {
        paid += 1;
        pay(drill, 1, &format!("audited-{paid}"));
    });
    let replies = Replies::of(&drill);
    let mut number = 0;
    lose(&drill, &thief, REPLY_RECEIVED, |drill| {
        number += 1;
        replies.reply(drill, number);
    });
    let of_a_campaign = [CAMPAIGN_PUBLISHED, RUN_DUE, BATCH_PLANNED, RUN_PLANNED, DELIVERY_CHANGED];
    while !of_a_campaign.iter().all(|event| thief.has(event)) {
        let campaign = drill.send(BOTH);
        drill.until_settled(&campaign);
    }
    lose_a_missed_run(&mut drill, &thief);
    lose_a_gateways_turn(&mut drill, &thief);
    lose_raised_credits(&mut drill, &thief);
    assert!(EVENTS.iter().all(|event| thief.has(event)), "each kind was lost");
    thief.goes(&drill);
    run(&drill, &["campaign", "cancel", &later]);
    drill.end(0)
}

/// Does it again and again, until such an event was lost.
fn lose(drill: &Drill, thief: &Thief, event: &str, mut cause: impl FnMut(&Drill)) {
    until(&format!("{event} is lost"), || {
        cause(drill);
        thread::sleep(Duration::from_millis(200));
        thief.has(event)
    });
}

fn lose_a_missed_run(drill: &mut Drill, thief: &Thief) {
    while !thief.has(RUN_MISSED) {
        drill.stack.terminate("scheduler", 1);
        drill.send_for(SMS, Duration::from_secs(1));
        // Nothing was planned of it.
        drill.campaigns.pop();
        thread::sleep(Duration::from_secs(2));
        drill.stack.spawn("scheduler", 1);
        thread::sleep(Duration::from_secs(1));
    }
}

/// Each gateway that nobody answers at goes down once.
fn lose_a_gateways_turn(drill: &mut Drill, thief: &Thief) {
    drill.may_end_as(&["expired"]);
    let health = Hearing::of("campaign-api", topology::SMS_DISPATCHER, GATEWAY_CHANGED);
    for port in 1.. {
        if thief.has(GATEWAY_CHANGED) {
            break;
        }
        let before = health.told(drill);
        let url = format!("http://127.0.0.1:{port}/send");
        let gateway = ["org", "sms", "--kind", "http", "--url", &url, "--from", "Cafe"];
        let _ = drill.stack.run(&gateway).ok();
        // By the one before, until the settings, which may be lost too, are heard of.
        let mut sent: Option<Instant> = None;
        until("it is told that the gateway is down", || {
            if sent.is_none_or(|at| at.elapsed() > PENDING) {
                drill.send_for(SMS, PENDING);
                sent = Some(Instant::now());
            }
            health.told(drill) > before
        });
        thread::sleep(Duration::from_millis(500));
    }
    drill.providers.set_for(&drill.stack, &[]);
}

/// Whoever waits for credits hears of each that comes.
fn lose_raised_credits(drill: &mut Drill, thief: &Thief) {
    let short =
        "SELECT COUNT(*) FROM holds WHERE NOT closed AND granted < wanted AND granted < needed";
    while drill.count("billing", short) == 0 {
        drill.send(SMS);
        thread::sleep(Duration::from_secs(1));
    }
    let mut given = 0;
    lose(drill, thief, BALANCE_RAISED, |drill| {
        given += 1;
        assert!(given < CUSTOMERS, "it waits for more");
        pay(drill, 1, &format!("raised-{given}"));
    });
    pay(drill, 20 * CUSTOMERS, "the rest");
}

fn pay(drill: &Drill, credits: usize, id: &str) {
    let credits = credits.to_string();
    let _ = drill.stack.run(&["balance", "credit", &credits, "--request-id", id]).ok();
}

/// Where the provider sends what customers reply.
struct Replies {
    url: String,
    poster: Poster,
}

impl Replies {
    fn of(drill: &Drill) -> Self {
        let organisation = drill.stack.run(&["org", "show", "-o", "json"]).ok().json();
        let organisation = organisation["id"].as_str().expect("an id").parse().expect("an id");
        let url =
            ReplyLinks::new(&drill.stack.url, &drill.wrapping_key()).url("twilio", organisation);
        Self { url, poster: Poster::default() }
    }

    fn reply(&self, drill: &Drill, number: usize) {
        let form = [
            ("From", customers::phone(0)),
            ("Body", "START".to_owned()),
            ("MessageSid", format!("SM{number}")),
        ];
        let form: Vec<(String, String)> =
            form.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let signed = drill.providers.sms_signature(&self.url, &form);
        let posted = drill.stack.wait(self.poster.post(&self.url, &form, &signed));
        assert_eq!(posted.expect("an answer"), 200);
    }
}
