//! What becomes of a mail on its way when the process is told to stop.

use carillon_service_kit::Stop;
use carillon_sinks::{Fault, Stage, What};
use carillon_testkit::eventually;

use super::*;

/// Begins a mail, stops when the server has seen enough, and answers what became of the mail.
async fn stopped_when(
    sink: &SmtpSink,
    stop: Stop,
    source: Vec<u8>,
    seen: impl Fn() -> bool,
) -> Outcome {
    let (pool, clearance) = (pool(sink), cleared().within(&stop));
    let sending = tokio::spawn(async move { pool.send(ENVELOPE, &source, &clearance).await });
    eventually("the server has come so far", async || seen()).await;
    stop.now();
    sending.await.expect("it ended")
}

#[tokio::test]
async fn a_stop_takes_back_a_mail_without_its_final_dot() {
    use Stage::{Body, Connect, Data, Ehlo, Mail, Rcpt};
    for at in [Connect, Ehlo, Mail, Rcpt, Data, Body] {
        let faults = vec![Fault::always(at, What::Stall)];
        let sink = sink(Behaviour { faults, ..Behaviour::default() }).await;
        // More than the way to the server holds.
        let lines = if at == Body { 4_000_000 } else { 1 };
        let source = [mail("1@x"), b"line\r\n".repeat(lines)].concat();
        let outcome = stopped_when(&sink, Stop::new(), source, || sink.met() > 0).await;
        assert_eq!(outcome, Outcome::NotBegun, "{at:?}");
        assert_eq!((sink.dots(), sink.count()), (0, 0), "{at:?}");
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_to_a_final_dot() {
    let latency = Duration::from_millis(500);
    let sink = sink(Behaviour { latency, ..Behaviour::default() }).await;
    let stop = Stop::within(PATIENT);
    let outcome = stopped_when(&sink, stop, mail("1@x"), || sink.dots() > 0).await;
    assert_eq!((outcome, sink.count()), (sent(), 1));
}

#[tokio::test]
async fn a_stop_waits_for_no_longer_than_its_grace() {
    let faults = vec![Fault::always(Stage::Dot, What::Stall)];
    let sink = sink(Behaviour { faults, ..Behaviour::default() }).await;
    let stop = Stop::within(Duration::from_millis(400));
    let outcome = stopped_when(&sink, stop, mail("1@x"), || sink.dots() > 0).await;
    assert_eq!(outcome, in_doubt("timeout"));
}

#[tokio::test]
async fn nobody_waits_for_a_connection_that_is_taken_in_a_stop() {
    let faults = vec![Fault::always(Stage::Dot, What::Stall)];
    let sink = sink(Behaviour { faults, ..Behaviour::default() }).await;
    let (stop, target) = (Stop::within(Duration::from_millis(400)), target(&sink, Security::None));
    let pool = Arc::new(Pool::new(target, reach(None), 1, 0));
    let clearance = cleared().within(&stop);
    let send = |id: &'static str| {
        let (pool, clearance) = (Arc::clone(&pool), clearance.clone());
        tokio::spawn(async move { pool.send(ENVELOPE, &mail(id), &clearance).await })
    };
    let first = send("1@x");
    eventually("it has its dot", async || sink.dots() > 0).await;
    let second = send("2@x");
    stop.now();
    assert_eq!(second.await.expect("it ended"), Outcome::NotBegun);
    assert_eq!(first.await.expect("it ended"), in_doubt("timeout"));
    assert_eq!(sink.connections(), 1);
}
