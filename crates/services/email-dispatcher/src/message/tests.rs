use std::collections::BTreeMap;

use mail_parser::{Message, MessageParser};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const URL: &str = "https://carillon.example/u/AbC-_123";

struct Known(BTreeMap<Variable, String>);

impl Values for Known {
    fn value(&self, variable: &Variable) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }
}

fn named(name: &str) -> Known {
    Known([(Variable::UserName, name.to_owned())].into())
}

fn texts(subject: &str, text: &str, html: &str) -> Texts {
    let email = EmailContent { subject: subject.into(), text: text.into(), html: html.into() };
    Texts::of(&Content { email: Some(email), ..Content::default() }).expect("valid")
}

fn letter(to: &str) -> Letter<'_> {
    Letter {
        message: MessageId::new(Uuid::from_u128(77)),
        run_day: 20_610,
        date: Timestamp::from_second(1_780_000_000).expect("an instant"),
        to,
        unsubscribe: URL,
    }
}

fn sender() -> Sender {
    Sender::new("Café Zoë", "news@mail.example", "desk@mail.example").expect("addresses")
}

fn parsed(source: &[u8]) -> Message<'_> {
    MessageParser::default().parse(source).expect("a message")
}

/// As bodies come back: lines end as CRLF, and a part without a last line's end may have one.
fn canonical(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
    text.trim_end_matches("\r\n").to_owned()
}

fn assert_wire_form(source: &[u8]) {
    assert!(source.is_ascii(), "nothing that a relay could break");
    assert!(source.ends_with(b"\r\n"));
    let text = std::str::from_utf8(source).expect("ASCII");
    for line in text.split("\r\n") {
        assert!(line.len() <= 998, "{} characters", line.len());
        assert!(!line.contains(['\r', '\n']), "a lone line break in {line:?}");
    }
}

#[test]
fn a_message_has_what_it_needs_and_a_person_can_read_it() {
    let texts = texts("For you, {UserName}", "Hi {UserName}\nStop: {UnsubscribeUrl}", "");
    let written = letter("ann@example.com").write(&texts, &sender(), &named("Ann"));
    let expected = "\
        Date: Thu, 28 May 2026 20:26:40 +0000\r\n\
        From: =?utf-8?B?Q2Fmw6kgWm/Dqw==?=\r\n <news@mail.example>\r\n\
        Reply-To: <desk@mail.example>\r\n\
        To: <ann@example.com>\r\n\
        Subject: For you, Ann\r\n\
        Message-ID: <20610.00000000-0000-0000-0000-00000000004d@mail.example>\r\n\
        List-Unsubscribe: <https://carillon.example/u/AbC-_123>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: 7bit\r\n\
        \r\n\
        Hi Ann\r\nStop: https://carillon.example/u/AbC-_123\r\n";
    assert_eq!(String::from_utf8(written.source).expect("ASCII"), expected);
    assert_eq!(written.subject, "For you, Ann");
}

#[test]
fn the_link_is_escaped_where_it_stands_in_html() {
    let texts = texts("s", "", "<a href=\"{UnsubscribeUrl}\">stop</a> {UserName}");
    let mut letter = letter("ann@example.com");
    letter.unsubscribe = "https://x.example/u/a?b=1&c=2";
    let written = letter.write(&texts, &sender(), &named("<b>"));
    let message = parsed(&written.source);
    let html = message.body_html(0).expect("html");
    assert_eq!(html.trim_end(), "<a href=\"https://x.example/u/a?b=1&amp;c=2\">stop</a> &lt;b&gt;");
}

#[test]
fn a_value_never_becomes_a_header() {
    let texts = texts("Hi {UserName}", "t", "");
    let evil = "Ann\r\nBcc: eve@example.com\r\n\r\nbody";
    let written = letter("ann@example.com").write(&texts, &sender(), &named(evil));
    let message = parsed(&written.source);
    assert_eq!(message.subject(), Some("Hi Ann  Bcc: eve@example.com    body"));
    assert!(message.bcc().is_none());
    let evil = Sender::new("x\r\nBcc: eve@example.com", "news@mail.example", "").expect("made");
    let written = letter("ann@example.com").write(&texts, &evil, &named("Ann"));
    assert!(parsed(&written.source).bcc().is_none());
    assert_eq!(Sender::new("x", "a@b\r\nBcc: c@d", ""), None);
    assert_eq!(Sender::new("x", "a@b.example", "c@d>\r\nBcc: <e@f"), None);
}

#[test]
fn an_address_beyond_ascii_stands_in_its_header_as_it_is() {
    let texts = texts("s", "t", "");
    let to = header::address("зоя@пример.example").expect("an address");
    let written = letter(&to).write(&texts, &sender(), &named("Ann"));
    let text = String::from_utf8(written.source).expect("UTF-8");
    assert!(text.contains("To: <зоя@xn--e1afmkfd.example>\r\n"), "{text}");
}

fn unicode() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,300}",
        "([a-z.=_?]{0,12}[ \t\r\n]{0,3}){0,40}",
        "(é|я|💌|漢|x| |\n){0,200}",
    ]
    .prop_filter("NUL has no place in mail", |text| !text.contains('\0'))
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        subject in unicode(), text in unicode(), html in unicode(), name in unicode(),
    ) {
        let texts = texts("{attr.subject}", "{attr.text}", "{attr.html}");
        let attribute = |name: &str, value: &str| (Variable::Attribute(name.into()), value.into());
        let values = Known(
            [attribute("subject", &subject), attribute("text", &text), attribute("html", &html)].into(),
        );
        let sender = Sender::new(&name, "news@mail.example", "").expect("addresses");
        let written = letter("ann@example.com").write(&texts, &sender, &values);
        assert_wire_form(&written.source);

        let message = parsed(&written.source);
        let expected = subject.replace(char::is_control, " ");
        prop_assert_eq!(message.subject().unwrap_or_default().trim(), expected.trim());
        prop_assert_eq!(canonical(&message.body_text(0).unwrap_or_default()), canonical(&text));
        let escaped = html.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
            .replace('"', "&quot;").replace('\'', "&#39;");
        prop_assert_eq!(canonical(&message.body_html(0).unwrap_or_default()), canonical(&escaped));

        let from = message.from().and_then(|from| from.first()).expect("a sender");
        let shown: Vec<String> =
            name.replace(char::is_control, " ").split_whitespace().map(str::to_owned).collect();
        prop_assert_eq!(from.name().unwrap_or_default(), shown.join(" "));
        prop_assert_eq!(from.address(), Some("news@mail.example"));
        let to = message.to().and_then(|to| to.first()).and_then(|to| to.address());
        prop_assert_eq!(to, Some("ann@example.com"));
        let id = "20610.00000000-0000-0000-0000-00000000004d@mail.example";
        prop_assert_eq!(message.message_id(), Some(id));
        let link = message.header_raw("List-Unsubscribe").unwrap_or_default().trim();
        prop_assert_eq!(link, format!("<{URL}>"));
        prop_assert_eq!(message.headers().len(), 9, "no header that was not meant");
    }
}
