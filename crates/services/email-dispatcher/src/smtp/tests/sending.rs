//! What a good server sees.

use carillon_dispatch::InSeries;
use carillon_sinks::{Fault, Stage, Tls, What};
use carillon_testkit::eventually;

use super::{super::connection::Failure, *};

fn credentials() -> Option<(String, String)> {
    Some(("shop".into(), "s3cret".into()))
}

#[tokio::test]
async fn mails_share_a_connection_and_need_two_round_trips() {
    let sink = sink(Behaviour::default()).await;
    let pool = pool(&sink);
    for id in ["1@x", "2@x", "3@x"] {
        assert_eq!(send(&pool, id).await, sent());
    }
    assert_eq!((sink.connections(), sink.count(), sink.pipelined()), (1, 3, 3));
    assert!(sink.accepted().values().all(|times| *times == 1));
    let first = &sink.mails()[0];
    assert_eq!(
        (first.from.as_str(), first.to.as_str()),
        ("<news@shop.example>", "ann@example.com")
    );
    assert_eq!(first.source, mail("1@x"));
}

#[tokio::test]
async fn a_server_without_pipelining_is_asked_step_by_step() {
    let behaviour = Behaviour {
        pipelining: false,
        faults: vec![Fault::answer(Stage::Rcpt, "550 5.1.1 no").times(1)],
        ..Behaviour::default()
    };
    let sink = sink(behaviour).await;
    let pool = pool(&sink);
    assert_eq!(send(&pool, "1@x").await, permanent("address_refused", "550 5.1.1"));
    assert_eq!(send(&pool, "2@x").await, sent());
    assert_eq!(sink.pipelined(), 0);
    let verbs = ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"];
    assert_eq!(sink.verbs(), verbs);
}

#[tokio::test]
async fn nothing_waits_for_an_acknowledgement_to_be_written() {
    let sink = sink(Behaviour::default()).await;
    let stream = reach(None).connect(&target(&sink, Security::None)).await.expect("connected");
    assert!(stream.nodelay().expect("known"));
}

#[tokio::test]
async fn connections_are_as_many_as_are_allowed_and_work_at_once() {
    let behaviour = Behaviour { latency: Duration::from_millis(20), ..Behaviour::default() };
    let sink = sink(behaviour).await;
    let pool = Arc::new(pool(&sink));
    let mut sending = tokio::task::JoinSet::new();
    for id in 0..40 {
        let pool = Arc::clone(&pool);
        sending.spawn(async move { send(&pool, &format!("{id}@x")).await });
    }
    assert!(sending.join_all().await.into_iter().all(|outcome| outcome == sent()));
    assert_eq!(sink.count(), 40);
    assert_eq!(sink.connections(), 4);
}

#[tokio::test]
async fn a_connection_is_closed_after_as_many_mails_as_are_set() {
    let sink = sink(Behaviour::default()).await;
    let pool = Pool::new(target(&sink, Security::None), reach(None), 4, 2);
    for id in 0..5 {
        assert_eq!(send(&pool, &format!("{id}@x")).await, sent());
    }
    let by: Vec<usize> = sink.mails().iter().map(|mail| mail.connection).collect();
    assert_eq!(by, [1, 1, 2, 2, 3]);
    eventually("full connections are closed", async || sink.open() == 1).await;
    assert_eq!(sink.verbs().iter().filter(|verb| *verb == "QUIT").count(), 2);
    pool.close();
    eventually("the pool is closed", async || sink.open() == 0).await;
}

fn of_series(number: i64, left: i64) -> Clearance {
    cleared().begin_by(Instant::now() + PATIENT, Some(InSeries { number, left }))
}

#[tokio::test]
async fn a_connection_ends_with_its_series_and_serves_no_other() {
    let sink = sink(Behaviour::default()).await;
    let pool = Pool::new(target(&sink, Security::None), reach(None), 1, 0);
    let send = async |number, left| {
        let source = mail(&format!("{number}.{left}@x"));
        assert_eq!(pool.send(ENVELOPE, &source, &of_series(number, left)).await, sent());
    };
    for left in [2, 1, 0] {
        send(0, left).await;
    }
    eventually("it is closed before the pause", async || sink.open() == 0).await;
    // Another replica takes the last one of this series.
    send(1, 1).await;
    send(2, 1).await;
    let by: Vec<usize> = sink.mails().iter().map(|mail| mail.connection).collect();
    assert_eq!(by, [1, 1, 1, 2, 3]);
    eventually("the one of the series before is closed", async || sink.open() == 1).await;
}

#[tokio::test]
async fn a_token_that_is_lost_while_connecting_begins_no_mail() {
    let greeting = Duration::from_millis(300);
    let sink = sink(Behaviour { greeting, ..Behaviour::default() }).await;
    let pool = pool(&sink);
    let soon = cleared().begin_by(Instant::now() + Duration::from_millis(100), None);
    assert_eq!(pool.send(ENVELOPE, &mail("1@x"), &soon).await, Outcome::NotBegun);
    assert_eq!((sink.connections(), sink.begun().len()), (1, 0));
    assert_eq!(send(&pool, "2@x").await, sent());
    assert_eq!(sink.connections(), 1, "it serves whoever comes next");
}

#[tokio::test]
async fn a_connection_that_lies_idle_for_too_long_is_closed() {
    let sink = sink(Behaviour::default()).await;
    let pool = pool(&sink).idle_for(Duration::ZERO);
    assert_eq!(send(&pool, "1@x").await, sent());
    pool.reap();
    eventually("it is closed", async || sink.open() == 0).await;
}

#[tokio::test]
async fn dots_and_missing_line_ends_survive() {
    let sink = sink(Behaviour::default()).await;
    let pool = pool(&sink);
    let source = b".first\r\n.\r\n..two\r\na.b\r\n\r\n.";
    assert_eq!(pool.send(ENVELOPE, source, &cleared()).await, sent());
    let large = [b"x: y\r\n\r\n".as_slice(), &b".line\r\n".repeat(20_000)].concat();
    assert_eq!(pool.send(ENVELOPE, &large, &cleared()).await, sent());
    let mails = sink.mails();
    assert_eq!(mails[0].source, [source.as_slice(), b"\r\n"].concat());
    assert!(mails[1].source == large, "{} bytes", mails[1].source.len());
}

#[tokio::test]
async fn what_is_not_cleared_never_gets_its_final_dot() {
    let sink = sink(Behaviour::default()).await;
    let large = [mail("2@x"), b"line\r\n".repeat(50_000)].concat();
    for source in [mail("1@x"), large] {
        let reach = reach(None);
        let opened = reach.open(&target(&sink, Security::None)).await;
        let mut connection = opened.unwrap_or_else(|trouble| panic!("{trouble}"));
        let halted = Clearance::until(Instant::now());
        let delivered = connection.deliver(ENVELOPE, &source, &halted).await;
        assert_eq!(delivered, Err(Failure::Withdrawn));
        assert!(!connection.is_usable());
        connection.close().await;
    }
    eventually("both ended", async || sink.open() == 0).await;
    assert_eq!((sink.connections(), sink.dots(), sink.count()), (2, 0, 0));

    let pool = pool(&sink);
    let outcome = pool.send(ENVELOPE, &mail("3@x"), &Clearance::until(Instant::now())).await;
    assert_eq!(outcome, Outcome::NotBegun);
    assert_eq!(sink.connections(), 2, "it does not even connect");
}

#[tokio::test]
async fn users_authenticate_by_plain_or_login() {
    for mechanism in ["PLAIN", "LOGIN"] {
        let behaviour = Behaviour {
            credentials: credentials(),
            mechanisms: vec!["XOAUTH2", mechanism],
            ..Behaviour::default()
        };
        let sink = sink(behaviour).await;
        let target = target(&sink, Security::None);
        let pool = |target| Pool::new(target, reach(None), 4, 0);
        assert_eq!(send(&pool(with_login(target.clone(), "s3cret")), "1@x").await, sent());
        let wrong = pool(with_login(target.clone(), "wrong"));
        assert_eq!(send(&wrong, "2@x").await, of_settings("authentication_refused"));
        let anonymous = pool(target);
        assert_eq!(send(&anonymous, "3@x").await, of_settings("authentication_refused"));
        assert_eq!(sink.count(), 1);
    }
}

#[tokio::test]
async fn a_password_is_never_said_before_tls() {
    let authority = Authority::new();
    let behaviour = Behaviour { credentials: credentials(), ..Behaviour::default() };
    let stripped = sink(behaviour.clone()).await;
    let of = |sink: &SmtpSink, security| with_login(target(sink, security), "s3cret");
    let pool = Pool::new(of(&stripped, Security::Starttls), reach(Some(&authority)), 4, 0);
    assert_eq!(send(&pool, "1@x").await, of_settings("starttls_missing"));
    assert_eq!(stripped.verbs(), ["EHLO"]);

    let tls = Tls::Starttls(authority.good("127.0.0.1"));
    let honest = sink(Behaviour { tls, ..behaviour.clone() }).await;
    let pool = Pool::new(of(&honest, Security::Starttls), reach(Some(&authority)), 4, 0);
    assert_eq!(send(&pool, "1@x").await, sent());
    assert_eq!(honest.verbs()[..4], ["EHLO", "STARTTLS", "EHLO", "AUTH"]);

    let tls = Tls::Implicit(authority.good("127.0.0.1"));
    let implicit = sink(Behaviour { tls, ..behaviour }).await;
    let pool = Pool::new(of(&implicit, Security::Implicit), reach(Some(&authority)), 4, 0);
    assert_eq!(send(&pool, "1@x").await, sent());
    assert_eq!(send(&pool, "2@x").await, sent());
    assert_eq!((implicit.connections(), implicit.count()), (1, 2));
}

#[tokio::test]
async fn addresses_beyond_ascii_need_the_servers_word() {
    let envelope = Envelope { to: "зоя@example.com", ..ENVELOPE };
    let able = sink(Behaviour::default()).await;
    assert_eq!(pool(&able).send(envelope, &mail("1@x"), &cleared()).await, sent());
    assert_eq!(able.mails()[0].from, "<news@shop.example> BODY=8BITMIME SMTPUTF8");
    let unable = sink(Behaviour { smtputf8: false, ..Behaviour::default() }).await;
    let pool = pool(&unable);
    let refused = pool.send(envelope, &mail("1@x"), &cleared()).await;
    assert_eq!(refused, permanent("address_refused", "smtputf8_missing"));
    assert_eq!(send(&pool, "2@x").await, sent());
    assert_eq!(unable.connections(), 1);
}

#[tokio::test]
async fn a_server_that_takes_fewer_connections_is_served_by_those() {
    let behaviour = Behaviour {
        latency: Duration::from_millis(20),
        faults: vec![
            Fault::always(Stage::Connect, What::Answer("421 4.7.0 too many".into())).after(1),
        ],
        ..Behaviour::default()
    };
    let sink = sink(behaviour).await;
    let pool = Arc::new(pool(&sink));
    assert_eq!(send(&pool, "first@x").await, sent());
    let mut sending = tokio::task::JoinSet::new();
    for id in 0..20 {
        let pool = Arc::clone(&pool);
        sending.spawn(async move { send(&pool, &format!("{id}@x")).await });
    }
    assert!(sending.join_all().await.into_iter().all(|outcome| outcome == sent()));
    assert!(sink.mails().iter().all(|mail| mail.connection == 1));
}
