use carillon_service_kit::{Stop, egress::Policy};
use carillon_sinks::{
    Authority,
    sms::{Behaviour, Options, SmsSink},
};
use carillon_testkit::eventually;

use super::*;

fn config() -> HttpConfig {
    HttpConfig {
        idle_ms: 60_000,
        timeout_ms: Some(60_000),
        connect_timeout_ms: 60_000,
        connections: 8,
    }
}

fn wire(config: HttpConfig) -> Arc<Wire> {
    let egress = Egress::new(Policy { allow_private: true });
    Arc::new(Wire::new(egress, RootCertStore::empty(), config, None))
}

fn to(url: &str, wire: Arc<Wire>) -> Endpoint {
    Endpoint::new(wire, Origin::parse(url).expect("a URL").0)
}

fn request(id: &str) -> Request<Full<Bytes>> {
    let body = format!(r#"{{"message_id":"{id}"}}"#);
    let request = Request::post("/send").header("host", "sink");
    request.body(Full::new(Bytes::from(body))).expect("a request")
}

fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn cleared() -> Clearance {
    Clearance::until(now() + Duration::from_secs(120))
}

async fn sink() -> SmsSink {
    SmsSink::start(Options::default()).await.expect("it listens")
}

async fn status(endpoint: &Endpoint, id: &str) -> Result<u16, Failure> {
    Ok(endpoint.call(&request(id), &cleared()).await?.status.as_u16())
}

#[tokio::test]
async fn one_connection_serves_one_call_after_another() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(config()));
    for n in 0..20 {
        assert_eq!(status(&endpoint, &n.to_string()).await, Ok(200));
    }
    assert_eq!((sink.total(), sink.connections()), (20, 1));
}

#[tokio::test]
async fn a_connection_closed_while_idle_gives_way_to_another() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(config()));
    for n in 0..50 {
        assert_eq!(status(&endpoint, &n.to_string()).await, Ok(200), "call {n}");
        sink.cut_idle();
        // The end of the connection arrives while nobody uses it.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((sink.total(), sink.connections()), (50, 50));
    assert!(sink.taken().values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_close_that_races_with_the_next_call_never_doubles_it() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(config()));
    for n in 0..200 {
        sink.next([Behaviour::AcceptThenClose]);
        let first = status(&endpoint, &format!("{n}a")).await;
        assert!(matches!(first, Ok(200) | Err(Failure::InDoubt(_))), "{first:?}");
        let second = status(&endpoint, &format!("{n}b")).await;
        assert!(matches!(second, Ok(200) | Err(Failure::InDoubt(_))), "{second:?}");
    }
    assert!(sink.taken().values().all(|times| *times == 1), "{:?}", sink.taken());
}

#[tokio::test]
async fn what_was_written_and_not_answered_is_in_doubt_and_not_repeated() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(config()));
    assert_eq!(status(&endpoint, "first").await, Ok(200));
    for (n, behaviour) in [Behaviour::AcceptAndClose, Behaviour::Close].into_iter().enumerate() {
        for reused in [true, false] {
            sink.next([behaviour.clone()]);
            let id = format!("{n}{reused}");
            let failure = status(&endpoint, &id).await;
            assert_eq!(failure, Err(Failure::InDoubt("closed_without_answer")), "{id}");
        }
    }
    assert_eq!(sink.requests(), 5);
    assert_eq!(status(&endpoint, "after").await, Ok(200));
}

#[tokio::test]
async fn silence_ends_in_doubt_and_closes_the_connection() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(HttpConfig { timeout_ms: Some(300), ..config() }));
    sink.next([Behaviour::AcceptAndHang]);
    assert_eq!(status(&endpoint, "1").await, Err(Failure::InDoubt("answer_timeout")));
    assert_eq!(sink.taken()["1"], 1);
    assert!(endpoint.take().is_none(), "it must not be used again");
}

#[tokio::test]
async fn the_status_of_an_answer_cut_short_still_counts() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(config()));
    sink.next([Behaviour::AcceptAndCut]);
    let answer = endpoint.call(&request("1"), &cleared()).await.expect("a status");
    assert_eq!((answer.status.as_u16(), answer.body), (201, None));
    assert_eq!(status(&endpoint, "2").await, Ok(200));
    assert_eq!(sink.connections(), 2);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(config()));
    sink.next([Behaviour::AcceptSaying("x".repeat(ANSWER_BYTES + 1))]);
    let answer = endpoint.call(&request("1"), &cleared()).await.expect("a status");
    assert_eq!(answer.body, None);
}

#[tokio::test]
async fn a_call_that_may_not_begin_writes_nothing_and_keeps_the_connection() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(config()));
    let refused = endpoint.call(&request("1"), &Clearance::until(now())).await;
    assert_eq!(refused.expect_err("not begun"), Failure::NotBegun);
    assert_eq!(status(&endpoint, "2").await, Ok(200));
    assert_eq!((sink.requests(), sink.connections()), (1, 1));
}

/// Stops when the provider has seen enough, and answers what became of the call.
async fn stopped_when(
    endpoint: Endpoint,
    stop: Stop,
    seen: impl Future<Output = ()>,
) -> Result<u16, Failure> {
    let clearance = cleared().within(&stop);
    let calling =
        tokio::spawn(
            async move { Ok(endpoint.call(&request("1"), &clearance).await?.status.as_u16()) },
        );
    seen.await;
    stop.now();
    calling.await.expect("it ended")
}

#[tokio::test]
async fn a_stop_takes_back_a_call_of_which_nothing_left() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("its address");
    // It waits for the other side's half of the handshake.
    let endpoint = to(&format!("https://{address}"), wire(config()));
    let mut held = None;
    let seen = async { held = Some(silent.accept().await.expect("somebody")) };
    assert_eq!(stopped_when(endpoint, Stop::new(), seen).await, Err(Failure::NotBegun));
    assert!(held.is_some());
}

#[tokio::test]
async fn a_stop_waits_for_an_answer_and_no_longer_than_its_grace() {
    let options = Options { latency: Duration::from_millis(500), ..Options::default() };
    let sink = SmsSink::start(options).await.expect("it listens");
    let asked = || eventually("it is asked", async || sink.requests() > 0);
    let endpoint = to(&sink.url(), wire(config()));
    let stop = Stop::within(Duration::from_secs(120));
    assert_eq!(stopped_when(endpoint, stop, asked()).await, Ok(200));

    let sink = self::sink().await;
    sink.next([Behaviour::AcceptAndHang]);
    let asked = eventually("it is asked", async || sink.requests() > 0);
    let endpoint = to(&sink.url(), wire(config()));
    let stop = Stop::within(Duration::from_millis(400));
    let failure = stopped_when(endpoint, stop, asked).await;
    assert_eq!(failure, Err(Failure::InDoubt("answer_timeout")));
}

#[tokio::test]
async fn what_cannot_be_reached_was_not_sent() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let gone = to(&format!("http://{address}"), wire(config()));
    assert_eq!(status(&gone, "1").await, Err(Failure::Unsent("connect_refused")));
    let nobody = to("http://no-such-name.invalid", wire(config()));
    assert_eq!(status(&nobody, "1").await, Err(Failure::Unsent("name_not_found")));
}

#[tokio::test]
async fn a_private_address_is_refused_unless_allowed() {
    let sink = sink().await;
    let careful = Wire::new(Egress::new(Policy::default()), RootCertStore::empty(), config(), None);
    let endpoint = to(&sink.url(), Arc::new(careful));
    assert_eq!(status(&endpoint, "1").await, Err(Failure::Unsent("address_refused")));
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn unused_connections_are_closed() {
    let sink = sink().await;
    let endpoint = to(&sink.url(), wire(HttpConfig { idle_ms: 0, ..config() }));
    assert_eq!(status(&endpoint, "1").await, Ok(200));
    endpoint.tidy();
    assert!(endpoint.idle.lock().expect("unpoisoned").is_empty());
    assert_eq!(status(&endpoint, "2").await, Ok(200));
    assert_eq!(sink.connections(), 2);
}

fn trusting(authority: &Authority) -> Arc<Wire> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), authority.pem()).expect("written");
    let roots = Wire::roots(Some(file.path())).expect("an authority");
    Arc::new(Wire::new(Egress::new(Policy { allow_private: true }), roots, config(), None))
}

#[test]
fn a_file_that_holds_no_certificates_is_named() {
    let refused = Wire::roots(Some(Path::new("/no/such.pem"))).expect_err("refused").to_string();
    assert!(refused.starts_with("tls_roots: '/no/such.pem' is not a file of PEM"), "{refused}");
}

#[tokio::test]
async fn tls_is_spoken_to_whoever_has_a_good_certificate_only() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let identities = [
        (authority.good("127.0.0.1"), Ok(200)),
        (authority.good("other.example"), Err(Failure::Unsent("tls_failed"))),
        (authority.expired("127.0.0.1"), Err(Failure::Unsent("tls_failed"))),
        (stranger.good("127.0.0.1"), Err(Failure::Unsent("tls_failed"))),
    ];
    for (identity, expected) in identities {
        let options = Options { tls: Some(identity), ..Options::default() };
        let sink = SmsSink::start(options).await.expect("it listens");
        let endpoint = to(&sink.url(), trusting(&authority));
        assert_eq!(status(&endpoint, "1").await, expected);
        assert_eq!(status(&endpoint, "2").await, expected);
        let calls = if expected.is_ok() { (2, 1) } else { (0, 2) };
        assert_eq!((sink.requests(), sink.connections()), calls);
    }
}

#[tokio::test]
async fn over_tls_too_a_close_without_an_answer_is_in_doubt() {
    let authority = Authority::new();
    let options = Options { tls: Some(authority.good("127.0.0.1")), ..Options::default() };
    let sink = SmsSink::start(options).await.expect("it listens");
    let endpoint = to(&sink.url(), trusting(&authority));
    assert_eq!(status(&endpoint, "1").await, Ok(200));
    sink.next([Behaviour::AcceptAndClose]);
    let failure = status(&endpoint, "2").await;
    assert_eq!(failure, Err(Failure::InDoubt("closed_without_answer")));
    sink.cut_idle();
    assert_eq!(status(&endpoint, "3").await, Ok(200));
}
