//! What SMTP servers do to a mail, by how far it had come.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use carillon_sinks::{Fault, Stage, What};

use crate::{
    Outcome, Size,
    drill::{Drill, EMAIL},
};

const SENT: (&str, &str, &str, usize) = ("sent", "", "", 1);

pub(crate) fn dropped_before_the_dot(size: &Size) -> Outcome {
    let mut drill = Drill::of(size.recipients, &[], &[]);
    let each_one_in_40 = |at| Fault::always(at, What::Drop).one_in(40);
    drill.providers.smtp.set_faults([Stage::Rcpt, Stage::Data].map(each_one_in_40).into());
    let campaign = drill.send(EMAIL);
    drill.until_settled(&campaign);
    let dropped = [Stage::Rcpt, Stage::Data].map(|at| drill.providers.smtp.struck(at)).concat();
    assert!(
        dropped.len() > size.recipients / 21,
        "{} of {} are 5 %",
        dropped.len(),
        size.recipients
    );
    each_drop_costs_an_attempt(&drill, &campaign, &dropped);
    drill.end(0) + dropped_within_the_mail()
}

/// A small mail leaves whole, with its dot; of a large one the rest cannot leave once the server
/// has closed.
fn dropped_within_the_mail() -> Outcome {
    let mut drill = Drill::of(100, &[], &[]);
    drill.providers.set_narrow_smtp_for(&drill.stack);
    drill.providers.smtp.set_faults(vec![Fault::always(Stage::Body, What::Drop).one_in(20)]);
    let offer = "25 % off today. ".repeat(4_000);
    let large = format!("email: {{ subject: For you, html: \"<p>{offer}</p>\" }}\n");
    let campaign = drill.send(&large);
    drill.until_settled(&campaign);
    let dropped = drill.providers.smtp.struck(Stage::Body);
    assert!(dropped.len() >= 5, "{} of 100 are 5 %", dropped.len());
    each_drop_costs_an_attempt(&drill, &campaign, &dropped);
    drill.end(0)
}

fn each_drop_costs_an_attempt(drill: &Drill, campaign: &str, dropped: &[String]) {
    let mut drops: HashMap<&str, usize> = HashMap::new();
    for address in dropped {
        *drops.entry(address).or_default() += 1;
    }
    for (address, detail) in drill.details(campaign) {
        let drops = drops.get(address.as_str()).copied().unwrap_or_default();
        assert_eq!(detail.is(), ("sent", "", "", 1 + drops), "{address}");
    }
}

pub(crate) fn dropped_after_the_dot(size: &Size) -> Outcome {
    let mut drill = Drill::of(size.recipients, &[], &[]);
    // Whether the server kept the mail cannot be told from here.
    let each_one_in_200 = |what| Fault::always(Stage::Dot, what).one_in(200);
    drill.providers.smtp.set_faults([What::Drop, What::AcceptAndDrop].map(each_one_in_200).into());
    let campaign = drill.send(EMAIL);
    drill.until_settled(&campaign);
    let dropped: BTreeSet<String> = drill.providers.smtp.struck(Stage::Dot).into_iter().collect();
    assert!(dropped.len() >= size.recipients / 101, "{} are 1 %", dropped.len());
    let lost = ("unknown", "in_doubt", "connection_lost", 1);
    for (address, detail) in drill.details(&campaign) {
        let expected = if dropped.contains(&address) { lost } else { SENT };
        assert_eq!(detail.is(), expected, "{address}");
    }
    drill.end(dropped.len())
}

/// What a server does to some recipients, and what comes of it: state, reason, the server's code,
/// attempts.
struct Case {
    fault: Fault,
    to: &'static str,
    comes_to: (&'static str, &'static str, &'static str, usize),
}

fn cases() -> Vec<Case> {
    let answer = Fault::answer;
    let slowly = |at| Fault::always(at, What::Slowly(Duration::from_secs(1)));
    let stall = |at| Fault::always(at, What::Stall);
    let sent_again = ("sent", "", "", 2);
    let in_doubt = ("unknown", "in_doubt", "timeout", 1);
    let refused = |reason, code| ("failed", reason, code, 1);
    let nobody = answer(Stage::Rcpt, "550 5.1.1 nobody of this name");
    let too_big = answer(Stage::Dot, "552 5.3.4 too big");
    [
        (answer(Stage::Rcpt, "421 4.7.0 too many of you").once_each(), "0@", sent_again),
        (answer(Stage::Rcpt, "450 4.7.1 greylisted").once_each(), "1@", sent_again),
        (answer(Stage::Dot, "452 4.3.1 no room").once_each(), "2@", sent_again),
        (nobody, "3@", refused("address_refused", "550 5.1.1")),
        (too_big, "4@", refused("message_refused", "552 5.3.4")),
        (slowly(Stage::Rcpt).once_each(), "175@", sent_again),
        (slowly(Stage::Dot), "276@", in_doubt),
        (stall(Stage::Data).once_each(), "377@", sent_again),
        (stall(Stage::Dot), "478@", in_doubt),
    ]
    .map(|(fault, to, comes_to)| Case { fault: fault.to(to), to, comes_to })
    .into()
}

pub(crate) fn answered_in_every_way(size: &Size) -> Outcome {
    let timeouts = [
        ("CARILLON__EMAIL_DISPATCHER__SMTP__COMMAND_TIMEOUT_MS", "2000"),
        ("CARILLON__EMAIL_DISPATCHER__SMTP__DATA_TIMEOUT_MS", "2000"),
    ];
    let mut drill = Drill::of(size.recipients, &[], &timeouts);
    drill.may_end_as(&["failed"]);
    let smtp = &drill.providers.smtp;
    smtp.set_faults(cases().into_iter().map(|case| case.fault).collect());
    let campaign = drill.send(EMAIL);
    drill.until_settled(&campaign);
    let (cases, mut unknown) = (cases(), 0);
    let mut met = vec![0; cases.len()];
    for (address, detail) in drill.details(&campaign) {
        let met_by = cases.iter().position(|case| address.contains(case.to));
        let expected = met_by.map_or(SENT, |case| cases[case].comes_to);
        assert_eq!(detail.is(), expected, "{address}");
        met_by.into_iter().for_each(|case| met[case] += 1);
        unknown += usize::from(detail.state == "unknown");
    }
    assert!(met.iter().all(|met| *met > 0), "a case met nobody: {met:?}");
    assert_eq!(drill.providers.smtp.reused(), 0, "mails by a connection with an error");
    drill.end(unknown)
}
