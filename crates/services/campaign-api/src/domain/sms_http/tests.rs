use super::*;

fn gateway() -> HttpGateway {
    HttpGateway {
        url: "https://sms.provider.example/send".into(),
        headers: [("Authorization".to_owned(), "Bearer {token}".to_owned())].into(),
        body: r#"{"to": "{to}", "text": "{text}", "css": "a{b: c}"}"#.into(),
        id_pointer: "/messages/0/id".into(),
        ..HttpGateway::default()
    }
}

fn errors(given: HttpGateway) -> Vec<String> {
    let mut errors = Vec::new();
    checked(given, &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_right_one_is_stored_with_every_setting_said() {
    let mut errors = Vec::new();
    let stored = checked(gateway(), &mut errors);
    assert_eq!(errors, []);
    assert_eq!(
        (stored.method.as_str(), stored.content_type.as_str()),
        ("POST", "application/json")
    );
    let lower = HttpGateway { method: "put".into(), ..gateway() };
    assert_eq!(checked(lower, &mut errors).method, "PUT");
}

#[test]
fn urls_are_http_and_name_their_host() {
    for (url, rule) in [
        ("", "is missing; give one such as https://sms.provider.example/send"),
        (
            "sms.example",
            "'sms.example' is not a URL; give one such as https://sms.provider.example/send",
        ),
        (
            "ftp://x/",
            "'ftp://x/' is not an http or https URL; give one such as https://sms.provider.example/send",
        ),
        (
            "https://u:p@x/",
            "holds a login or a fragment, which has no place here; give one such as https://sms.provider.example/send",
        ),
        ("https://{to}.example/", "has a placeholder in its host; name the host itself"),
    ] {
        let given = HttpGateway { url: url.into(), ..gateway() };
        assert_eq!(errors(given), [format!("sms.http.url: {rule}")], "{url}");
    }
}

#[test]
fn an_unknown_placeholder_is_refused_wherever_it_stands() {
    let given = HttpGateway {
        url: "https://x.example/{two}".into(),
        headers: [("X-Key".to_owned(), "{tokn}".to_owned())].into(),
        body: "{to} {text} {destination}".into(),
        ..gateway()
    };
    assert_eq!(
        errors(given),
        [
            "sms.http.url: {two} stands for nothing; did you mean {to}?",
            "sms.http.headers[X-Key]: {tokn} stands for nothing; did you mean {token}?",
            "sms.http.body: {destination} stands for nothing; known are to, from, text, \
             message_id, deadline, validity_seconds, callback_url, token",
        ]
    );
}

#[test]
fn a_call_must_say_to_whom_and_what() {
    let given = HttpGateway { body: "{from}".into(), ..gateway() };
    assert_eq!(
        errors(given),
        [
            "sms.http.body: does not say {to}, and nothing else does; every message would be the same",
            "sms.http.body: does not say {text}, and nothing else does; every message would be the same",
        ]
    );
    let get = HttpGateway { method: "GET".into(), body: String::new(), ..gateway() };
    assert_eq!(errors(get.clone()).len(), 2);
    let url = "https://x.example/send?to={to}&text={text}";
    assert_eq!(errors(HttpGateway { url: url.into(), ..get }), [""; 0]);
    assert_eq!(
        errors(HttpGateway { body: String::new(), ..gateway() }),
        [""; 0],
        "the default body"
    );
    let both = HttpGateway { method: "GET".into(), url: url.into(), ..gateway() };
    assert_eq!(
        errors(both),
        ["sms.http.body: is not sent by GET; leave it out, or give method: POST"]
    );
}

/// What the dispatcher could not carry out is refused here, before anything waits for it.
#[test]
fn what_could_not_be_sent_is_refused() {
    let errors = |change: fn(&mut HttpGateway)| {
        let mut given = gateway();
        change(&mut given);
        errors(given)
    };
    assert_eq!(
        errors(|http| http.content_type = "image/png".into()),
        ["sms.http.content_type: 'image/png' is not known; use application/json, \
             application/x-www-form-urlencoded, text/xml or text/plain"]
    );
    let unquoted = errors(|http| http.body = r#"{"to": {to}, "text": "{text}"}"#.into());
    assert!(unquoted[0].starts_with("sms.http.body: it is no JSON once filled in"), "{unquoted:?}");
    assert_eq!(
        errors(|http| drop(http.headers.insert("Proxy-Authorization".into(), "x".into()))),
        ["sms.http.headers[Proxy-Authorization]: the connection writes it itself; leave it out"]
    );
    assert_eq!(
        errors(|http| http.url = "https://x.example/a b".into()),
        ["sms.http.url: it holds characters that must be written as %XX"]
    );
}

#[test]
fn headers_are_names_with_values_and_not_the_connections_own() {
    for (name, value, rule) in [
        ("X Key", "a", "'X Key' is no header's name, such as X-Api-Key"),
        ("Host", "a", "'Host' is set by the connection; leave it out"),
        ("Content-Type", "a/b", "is set by sms.http.content_type; leave it out here"),
        (
            "X-Key",
            "a\r\nb",
            "has a value with a line break, a control character or no ASCII; write it in visible ASCII",
        ),
        (
            "X-Key",
            "é",
            "has a value with a line break, a control character or no ASCII; write it in visible ASCII",
        ),
    ] {
        let headers = [(name.to_owned(), value.to_owned())].into();
        let given = HttpGateway { headers, ..gateway() };
        assert_eq!(errors(given), [format!("sms.http.headers[{name}]: {rule}")]);
    }
    let given = HttpGateway { idempotency_header: "authorization".into(), ..gateway() };
    assert_eq!(
        errors(given),
        ["sms.http.idempotency_header: 'authorization' stands in headers too; name it once"]
    );
}

#[test]
fn pointers_are_of_rfc_6901() {
    for good in ["", "/", "/a/0", "/a~1b/~0"] {
        assert_eq!(errors(HttpGateway { id_pointer: good.into(), ..gateway() }), [""; 0], "{good}");
    }
    for bad in ["id", "$.id", "/a~2", "/a~"] {
        assert_eq!(
            errors(HttpGateway { id_pointer: bad.into(), ..gateway() }),
            [format!("sms.http.id_pointer: '{bad}' is no JSON pointer, such as /messages/0/id")]
        );
        assert_eq!(
            errors(HttpGateway { units_pointer: bad.into(), ..gateway() }),
            [format!("sms.http.units_pointer: '{bad}' is no JSON pointer, such as /messages/0/id")]
        );
    }
}

#[test]
fn words_say_one_thing_each_and_are_read_somewhere() {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let good = HttpGateway {
        outcome_pointer: "/status".into(),
        accepted_words: words(&["ok", "queued"]),
        permanent_words: words(&["bad"]),
        ..gateway()
    };
    assert_eq!(errors(good.clone()), [""; 0]);
    let twice = HttpGateway { transient_words: words(&["ok"]), ..good.clone() };
    assert_eq!(
        errors(twice),
        ["sms.http.transient_words: have 'ok', which stands in a list already"]
    );
    let none = HttpGateway { accepted_words: vec![], ..good.clone() };
    assert_eq!(
        errors(none),
        [
            "sms.http.accepted_words: are missing; say which words at sms.http.outcome_pointer mean accepted"
        ]
    );
    let nowhere = HttpGateway { outcome_pointer: String::new(), ..good };
    assert_eq!(errors(nowhere).len(), 2);
}

#[test]
fn a_token_is_used_where_it_is_written() {
    assert!(uses_token(&gateway()));
    assert!(!uses_token(&HttpGateway { headers: Default::default(), ..gateway() }));
}
