use carillon_contracts::campaign::v1::SmtpTls;
use carillon_service_kit::egress::Egress;
use carillon_sinks::{Authority, Behaviour, Fault, Identity, SmtpSink, Stage, Tls};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::smtp::tests::{reach, reach_within};

fn server(sink: &SmtpSink, tls: SmtpTls) -> SmtpServer {
    SmtpServer {
        host: "127.0.0.1".into(),
        port: u32::from(sink.port()),
        tls: tls.into(),
        from: "news@shop.example".into(),
        ..SmtpServer::default()
    }
}

fn settings(reach: Arc<Reach>) -> Settings {
    Settings { key: WrappingKey::new([7; 32]), reach }
}

async fn tested(behaviour: Behaviour, tls: SmtpTls, authority: &Authority) -> Finding {
    let sink = SmtpSink::start(behaviour).await;
    let tester = settings(reach(Some(authority)));
    let (code, message) = tester.test(&server(&sink, tls), None, "").await;
    assert_eq!(sink.dots(), 0, "nothing is ever sent");
    assert!(!message.is_empty());
    (code, message)
}

#[tokio::test]
async fn a_good_server_is_told_from_each_kind_of_bad_certificate() {
    let authority = Authority::new();
    let host = "127.0.0.1";
    let cases = [
        (authority.good(host), "ok"),
        (authority.expired(host), "certificate_expired"),
        (authority.good("mail.other.example"), "certificate_name"),
        (Identity::self_signed(host), "certificate_issuer"),
    ];
    for (identity, expected) in cases {
        let both = [
            (Tls::Starttls(identity.clone()), SmtpTls::Starttls),
            (Tls::Starttls(identity.clone()), SmtpTls::Unspecified),
            (Tls::Implicit(identity), SmtpTls::Implicit),
        ];
        for (tls, set) in both {
            let behaviour = Behaviour { tls, ..Behaviour::default() };
            let (code, message) = tested(behaviour, set, &authority).await;
            assert_eq!(code, expected, "{message}");
        }
    }
    let plain = Behaviour::default;
    assert_eq!(tested(plain(), SmtpTls::Starttls, &authority).await.0, "starttls_missing");
    assert_eq!(tested(plain(), SmtpTls::Implicit, &authority).await.0, "tls_failed");
    assert_eq!(tested(plain(), SmtpTls::None, &authority).await.0, "ok");
}

#[tokio::test]
async fn starttls_that_is_offered_but_refused_has_its_own_code() {
    let authority = Authority::new();
    let faults = vec![Fault::answer(Stage::Starttls, "454 4.7.0 TLS not available")];
    let tls = Tls::Starttls(authority.good("127.0.0.1"));
    let behaviour = Behaviour { tls, faults, ..Behaviour::default() };
    let (code, message) = tested(behaviour, SmtpTls::Starttls, &authority).await;
    assert_eq!(code, "starttls_unavailable", "{message}");
    assert!(message.contains("454 4.7.0"), "{message}");
}

#[tokio::test]
async fn a_server_of_an_old_tls_is_told_which_are_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = u32::from(listener.local_addr().expect("bound").port());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut hello = [0; 4_096];
        assert!(stream.read(&mut hello).await.expect("a hello") > 0);
        // A fatal alert: protocol_version (RFC 5246, 7.2.2).
        stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await.expect("answered");
    });
    let tls = SmtpTls::Implicit.into();
    let (host, from) = ("127.0.0.1".into(), "news@shop.example".into());
    let smtp = SmtpServer { host, port, tls, from, ..SmtpServer::default() };
    let (code, message) = settings(reach(None)).test(&smtp, None, "").await;
    assert_eq!(code, "tls_version", "{message}");
    assert!(message.contains("1.2 and 1.3"), "{message}");
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_told_with_its_date() {
    let from = "2101-02-03T04:05:06Z".parse().ok();
    let (code, message) = certificate(CertificateFault::NotYet(from), "h:465", "h");
    assert_eq!(code, "certificate_not_yet_valid");
    assert!(message.contains("not valid yet, but only from 2101-02-03T04:05:06Z on"), "{message}");
    let (_, message) = certificate(CertificateFault::NotYet(None), "h:465", "h");
    assert!(message.contains("is not valid yet; have"), "{message}");
}

#[tokio::test]
async fn each_refusal_has_its_code() {
    let cases = [
        (Stage::Connect, "554 5.7.1 no", "protocol"),
        (Stage::Connect, "HTTP/1.1 400 Bad Request", "protocol"),
        (Stage::Ehlo, "502 5.5.1 no", "protocol"),
        (Stage::Mail, "553 5.7.1 not yours", "sender_refused"),
        (Stage::Mail, "530 5.7.0 authenticate", "authentication_refused"),
    ];
    let authority = Authority::new();
    for (at, line, expected) in cases {
        let faults = vec![Fault::answer(at, line)];
        let behaviour = Behaviour { faults, ..Behaviour::default() };
        let (code, message) = tested(behaviour, SmtpTls::None, &authority).await;
        assert_eq!(code, expected, "{line}: {message}");
    }
}

#[tokio::test]
async fn user_and_password_are_tried() {
    let behaviour = |mechanism| Behaviour {
        credentials: Some(("shop".into(), "s3cret".into())),
        mechanisms: vec![mechanism],
        ..Behaviour::default()
    };
    let sink = SmtpSink::start(behaviour("PLAIN")).await;
    let smtp = SmtpServer { user: "shop".into(), ..server(&sink, SmtpTls::None) };
    let tester = settings(reach(None));
    let code = async |password: &[u8]| tester.test(&smtp, Some(password.to_vec()), "").await.0;
    assert_eq!(code(b"s3cret").await, "ok");
    assert_eq!(code(b"wrong").await, "authentication_refused");
    assert_eq!(tester.test(&smtp, None, "").await.0, "authentication_refused");
    let unable = SmtpSink::start(behaviour("XOAUTH2")).await;
    let smtp = SmtpServer { user: "shop".into(), ..server(&unable, SmtpTls::None) };
    let finding = tester.test(&smtp, Some(b"s3cret".to_vec()), "").await;
    assert_eq!(finding.0, "authentication_unsupported");
}

#[tokio::test]
async fn a_recipient_is_tried_where_one_is_given() {
    let faults = vec![
        Fault::answer(Stage::Rcpt, "554 5.7.1 relay access denied").to("other"),
        Fault::answer(Stage::Rcpt, "450 4.7.1 greylisted").to("grey"),
    ];
    let sink = SmtpSink::start(Behaviour { faults, ..Behaviour::default() }).await;
    let (tester, smtp) = (settings(reach(None)), server(&sink, SmtpTls::None));
    let code = async |to: &str| tester.test(&smtp, None, to).await.0;
    assert_eq!(code("ann@example.com").await, "ok");
    assert_eq!(code("ann@grey.example").await, "ok");
    let (refused, message) = tester.test(&smtp, None, "ann@other.example").await;
    assert_eq!(refused, "recipient_refused");
    assert!(message.starts_with("to: ") && message.contains("ann@other.example"), "{message}");
    assert_eq!(code("no address").await, "recipient_refused");
    let wrong = SmtpServer { from: "nobody".into(), ..smtp.clone() };
    assert_eq!(tester.test(&wrong, None, "").await.0, "sender_refused");
    assert_eq!(sink.dots(), 0);
}

#[tokio::test]
async fn where_nothing_answers_is_told() {
    let sink = SmtpSink::start(Behaviour::default()).await;
    let smtp = server(&sink, SmtpTls::None);
    let strict = Reach {
        egress: Egress::default(),
        tls: crate::smtp::tls_client(None).expect("roots"),
        limits: crate::smtp::tests::limits(Duration::from_secs(60)),
        hello: None,
    };
    let (code, message) = settings(Arc::new(strict)).test(&smtp, None, "").await;
    assert_eq!(code, "address_refused", "{message}");
    assert!(message.contains("127.0.0.1") && message.contains("allow_private"), "{message}");
    drop(sink);
    let tester = settings(reach(None));
    let nowhere = SmtpServer { host: "no-such-name.invalid".into(), ..smtp.clone() };
    assert_eq!(tester.test(&nowhere, None, "").await.0, "name_not_found");
    let refused = async || tester.test(&smtp, None, "").await.0 == "connection_refused";
    carillon_testkit::eventually("the listener is gone", refused).await;

    let stall = Fault::always(Stage::Connect, carillon_sinks::What::Stall);
    let silent = SmtpSink::start(Behaviour { faults: vec![stall], ..Behaviour::default() }).await;
    let hasty = settings(reach_within(None, Duration::from_millis(300)));
    let (code, message) = hasty.test(&server(&silent, SmtpTls::None), None, "").await;
    assert_eq!(code, "timeout", "{message}");
}
