//! What becomes of a mail when something goes wrong, by how far it had come.

use carillon_sinks::{Fault, Identity, Stage, Tls, What};

use super::*;

async fn first_of(fault: Fault) -> (Outcome, SmtpSink) {
    let sink = sink(Behaviour { faults: vec![fault], ..Behaviour::default() }).await;
    let outcome = send(&pool(&sink), "1@x").await;
    (outcome, sink)
}

async fn outcome_of(at: Stage, line: &str) -> Outcome {
    first_of(Fault::answer(at, line)).await.0
}

#[tokio::test]
async fn an_answer_for_now_is_tried_again() {
    for at in [Stage::Connect, Stage::Ehlo, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        assert_eq!(outcome_of(at, "451 4.3.0 later").await, transient("451 4.3.0"), "{at:?}");
        assert_eq!(outcome_of(at, "421 closing").await, transient("421"), "{at:?}");
    }
}

#[tokio::test]
async fn an_answer_for_good_is_the_messages_or_the_settings_fault() {
    let refused = outcome_of(Stage::Rcpt, "550 5.1.1 <ann@example.com>: unknown").await;
    assert_eq!(refused, permanent("address_refused", "550 5.1.1"));
    let too_big = outcome_of(Stage::Dot, "552 5.3.4 too big").await;
    assert_eq!(too_big, permanent("message_refused", "552 5.3.4"));
    assert_eq!(outcome_of(Stage::Data, "554 no").await, permanent("message_refused", "554"));
    let sender = outcome_of(Stage::Mail, "553 5.7.1 not yours").await;
    assert_eq!(sender, of_settings("sender_refused"));
    let greeting = outcome_of(Stage::Connect, "554 5.7.1 go away").await;
    assert_eq!(greeting, of_settings("554 5.7.1"));
    let login = outcome_of(Stage::Rcpt, "530 5.7.0 authenticate first").await;
    assert_eq!(login, of_settings("authentication_refused"));
}

#[tokio::test]
async fn a_connection_lost_before_the_dot_is_safe_and_after_it_in_doubt() {
    let before = [Stage::Connect, Stage::Ehlo, Stage::Mail, Stage::Rcpt, Stage::Data];
    for at in before {
        let (outcome, sink) = first_of(Fault::always(at, What::Drop)).await;
        assert_eq!(outcome, transient("connection_lost"), "{at:?}");
        assert_eq!((sink.dots(), sink.count()), (0, 0), "{at:?}");
    }
    for (what, accepted) in [(What::Drop, 0), (What::AcceptAndDrop, 1)] {
        let (outcome, sink) = first_of(Fault::always(Stage::Dot, what)).await;
        assert_eq!(outcome, in_doubt("connection_lost"));
        assert_eq!((sink.dots(), sink.count()), (1, accepted));
    }
}

/// The server reads nothing after the first bytes and closes: the rest, and with it the dot, was
/// never taken.
#[tokio::test]
async fn a_connection_lost_within_a_large_mail_is_safe() {
    let fault = Fault::always(Stage::Body, What::Drop);
    let sink = sink(Behaviour { faults: vec![fault], ..Behaviour::default() }).await;
    let large = [mail("1@x"), b"line\r\n".repeat(4_000_000)].concat();
    let outcome = pool(&sink).send(ENVELOPE, &large, &cleared()).await;
    assert_eq!(outcome, transient("connection_lost"));
    assert_eq!((sink.dots(), sink.count()), (0, 0));
}

#[tokio::test]
async fn a_silent_server_is_left_at_the_limit() {
    for at in [Stage::Connect, Stage::Ehlo, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        let fault = Fault::always(at, What::Stall);
        let sink = sink(Behaviour { faults: vec![fault], ..Behaviour::default() }).await;
        let hasty = reach_within(None, Duration::from_millis(300));
        let pool = Pool::new(target(&sink, Security::None), hasty, 4, 0);
        let expected = if at == Stage::Dot { in_doubt("timeout") } else { transient("timeout") };
        assert_eq!(send(&pool, "1@x").await, expected, "{at:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_for_now() {
    let sink = sink(Behaviour::default()).await;
    let pool = pool(&sink);
    let gone = target(&sink, Security::None);
    drop(sink);
    testkit_port_is_free(&gone).await;
    assert_eq!(send(&pool, "1@x").await, transient("connection_refused"));
    let nowhere = Target { host: "no-such-name.invalid".into(), ..gone.clone() };
    let pool = Pool::new(nowhere, reach(None), 4, 0);
    assert_eq!(send(&pool, "1@x").await, of_settings("name_not_found"));
    let strict = Arc::new(Reach {
        egress: Egress::default(),
        tls: tls_client(None).expect("roots"),
        limits: limits(PATIENT),
        hello: None,
    });
    let pool = Pool::new(gone, strict, 4, 0);
    assert_eq!(send(&pool, "1@x").await, of_settings("address_refused"));
}

async fn testkit_port_is_free(target: &Target) {
    carillon_testkit::eventually("the listener is gone", async || {
        reach(None).connect(target).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_not_used_again_after_an_error() {
    let faults = [
        Fault::answer(Stage::Dot, "552 5.3.4 too big"),
        Fault::answer(Stage::Dot, "451 4.3.0 later"),
        Fault::answer(Stage::Mail, "451 4.3.0 later"),
        Fault::answer(Stage::Data, "451 4.3.0 later"),
        Fault::always(Stage::Dot, What::AcceptAndDrop),
    ];
    for fault in faults {
        let said = format!("{fault:?}");
        let faults = vec![fault.times(1)];
        let sink = sink(Behaviour { faults, ..Behaviour::default() }).await;
        let pool = pool(&sink);
        assert_ne!(send(&pool, "1@x").await, sent(), "{said}");
        assert_eq!(send(&pool, "2@x").await, sent(), "{said}");
        let last = sink.mails().pop().expect("a mail");
        assert_eq!((last.connection, sink.connections()), (2, 2), "{said}");
    }
}

#[tokio::test]
async fn a_refused_address_costs_no_connection() {
    let faults = vec![
        Fault::answer(Stage::Rcpt, "450 4.7.1 greylisted").times(1),
        Fault::answer(Stage::Rcpt, "550 5.1.1 unknown").to("nobody@"),
    ];
    let sink = sink(Behaviour { faults, ..Behaviour::default() }).await;
    let pool = pool(&sink);
    assert_eq!(send(&pool, "1@x").await, transient("450 4.7.1"));
    assert_eq!(send(&pool, "1@x").await, sent());
    let nobody = Envelope { to: "nobody@example.com", ..ENVELOPE };
    let refused = pool.send(nobody, &mail("2@x"), &cleared()).await;
    assert_eq!(refused, permanent("address_refused", "550 5.1.1"));
    assert_eq!(send(&pool, "3@x").await, sent());
    assert_eq!((sink.connections(), sink.count(), sink.dots()), (1, 2, 2));
}

#[tokio::test]
async fn a_connection_that_the_server_ended_meanwhile_costs_no_attempt() {
    let fault = Fault::answer(Stage::Mail, "421 4.4.2 idle for too long").after(1).times(1);
    let sink = sink(Behaviour { faults: vec![fault], ..Behaviour::default() }).await;
    let pool = pool(&sink);
    assert_eq!(send(&pool, "1@x").await, sent());
    assert_eq!(send(&pool, "2@x").await, sent());
    assert_eq!((sink.connections(), sink.count()), (2, 2));
    assert!(sink.accepted().values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_server_that_settings_keep_us_from_is_not_asked_for_every_mail() {
    let credentials = Some(("shop".to_owned(), "s3cret".to_owned()));
    let sink = sink(Behaviour { credentials, ..Behaviour::default() }).await;
    let wrong = with_login(target(&sink, Security::None), "wrong");
    let pool = Pool::new(wrong, reach(None), 4, 0);
    for _ in 0..10 {
        assert_eq!(send(&pool, "1@x").await, of_settings("authentication_refused"));
    }
    assert_eq!(sink.connections(), 1, "an account is not locked by trying");
}

#[tokio::test]
async fn a_bad_certificate_is_told_and_nothing_is_sent() {
    let authority = Authority::new();
    let host = "127.0.0.1";
    let bad = [
        (authority.expired(host), "certificate_expired"),
        (Identity::self_signed(host), "certificate_issuer"),
        (Identity::self_signed_authority(host), "certificate_issuer"),
        (Authority::new().good(host), "certificate_issuer"),
        (authority.good("mail.other.example"), "certificate_name"),
    ];
    for (identity, code) in bad {
        let cases = [
            (Tls::Starttls(identity.clone()), Security::Starttls),
            (Tls::Implicit(identity), Security::Implicit),
        ];
        for (tls, security) in cases {
            let sink = sink(Behaviour { tls, ..Behaviour::default() }).await;
            let pool = Pool::new(target(&sink, security), reach(Some(&authority)), 4, 0);
            assert_eq!(send(&pool, "1@x").await, of_settings(code), "{security:?}");
            assert_eq!(sink.count(), 0);
        }
    }
    let plain = sink(Behaviour::default()).await;
    let pool = Pool::new(target(&plain, Security::Implicit), reach(None), 4, 0);
    assert_eq!(send(&pool, "1@x").await, of_settings("tls_failed"));
}
