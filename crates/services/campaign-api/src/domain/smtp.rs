//! What an organisation's SMTP server may be set to.

use carillon_contracts::{
    campaign::v1::{SmtpServer, SmtpThrottle, SmtpTls},
    time,
};
use carillon_service_kit::status::FieldError;
use jiff::SignedDuration;
use prost_types::Duration;

use super::{
    address::{is_host, is_mailbox},
    shown,
};

const PORT: u32 = 25;
const IMPLICIT_TLS_PORT: u32 = 465;
const CONNECTIONS: u32 = 16;
const MOST_CONNECTIONS: u32 = 64;
const MOST_MAILS: u32 = 1_000_000;
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
const LONGEST_GAP: SignedDuration = SignedDuration::from_hours(1);
const LONGEST_NAME: usize = 100;
const LONGEST_USER: usize = 255;

/// The server as it is stored: every setting said.
///
/// # Errors
/// Every wrong field.
pub(crate) fn checked(given: SmtpServer) -> Result<SmtpServer, Vec<FieldError>> {
    let mut errors = Vec::new();
    check_host(&given.host, &mut errors);
    let (tls, port) = check_tls_and_port(&given, &mut errors);
    check_user(&given.user, &mut errors);
    let example = "give one such as news@cafe.example";
    if given.from.is_empty() {
        let rule = format!("is missing; {example}");
        errors.push(FieldError::new("smtp.from", rule));
    } else {
        check_mailbox("smtp.from", &given.from, example, &mut errors);
    }
    check_from_name(&given.from_name, &mut errors);
    if !given.reply_to.is_empty() {
        check_mailbox("smtp.reply_to", &given.reply_to, example, &mut errors);
    }
    let throttle = given.throttle.and_then(|throttle| check_throttle(throttle, &mut errors));
    let connections = if given.connections == 0 { CONNECTIONS } else { given.connections };
    if connections > MOST_CONNECTIONS {
        let rule = format!("{connections} is not within 1 to {MOST_CONNECTIONS}");
        errors.push(FieldError::new("smtp.connections", rule));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(SmtpServer { port, tls: tls.into(), throttle, connections, ..given })
}

/// Whether a password that was given for one may be used for the other: it must not be sent to
/// another server because somebody changed the address.
pub(crate) fn same_login(one: &SmtpServer, other: &SmtpServer) -> bool {
    (&one.host, one.port, &one.user) == (&other.host, other.port, &other.user)
        && (one.tls == other.tls || other.tls() != SmtpTls::None)
}

fn check_host(host: &str, errors: &mut Vec<FieldError>) {
    let example = "give a name or an address, such as smtp.cafe.example";
    let rule = if host.is_empty() {
        format!("is missing; {example}")
    } else if is_host(host) {
        return;
    } else {
        format!("'{}' is neither a host's name nor its address; {example}", shown(host))
    };
    errors.push(FieldError::new("smtp.host", rule));
}

fn check_tls_and_port(given: &SmtpServer, errors: &mut Vec<FieldError>) -> (SmtpTls, u32) {
    let tls = SmtpTls::try_from(given.tls).unwrap_or_else(|_| {
        let rule = format!("{} is not known; give NONE, STARTTLS or IMPLICIT", given.tls);
        errors.push(FieldError::new("smtp.tls", rule));
        SmtpTls::Unspecified
    });
    let port = match (given.port, tls) {
        (0, SmtpTls::Implicit) => IMPLICIT_TLS_PORT,
        (0, _) => PORT,
        (port, _) => port,
    };
    if port > u32::from(u16::MAX) {
        let rule = format!("{port} is not within 1 to 65535; most servers take 25, 465 or 587");
        errors.push(FieldError::new("smtp.port", rule));
    }
    let tls = match tls {
        SmtpTls::Unspecified if port == IMPLICIT_TLS_PORT => SmtpTls::Implicit,
        SmtpTls::Unspecified => SmtpTls::Starttls,
        said => said,
    };
    (tls, port)
}

fn check_user(user: &str, errors: &mut Vec<FieldError>) {
    if user.chars().count() > LONGEST_USER || user.chars().any(char::is_control) {
        let rule = format!("has control characters or more than {LONGEST_USER} characters");
        errors.push(FieldError::new("smtp.user", format!("{rule}; give the login's name alone")));
    }
}

fn check_mailbox(field: &str, mailbox: &str, example: &str, errors: &mut Vec<FieldError>) {
    if !is_mailbox(mailbox) {
        let rule = format!("'{}' is not an e-mail address; {example}", shown(mailbox));
        errors.push(FieldError::new(field, rule));
    }
}

fn check_from_name(name: &str, errors: &mut Vec<FieldError>) {
    let length = name.chars().count();
    let rule = if length > LONGEST_NAME {
        format!("has {length} characters; {LONGEST_NAME} at most")
    } else if name.chars().any(char::is_control) {
        "has a line break or another control character; remove it".to_owned()
    } else {
        return;
    };
    errors.push(FieldError::new("smtp.from_name", rule));
}

/// `None` where it limits nothing.
fn check_throttle(given: SmtpThrottle, errors: &mut Vec<FieldError>) -> Option<SmtpThrottle> {
    if given.mails > MOST_MAILS {
        let rule = format!("{} is more than 1,000,000; give 0 for no pauses", given.mails);
        errors.push(FieldError::new("smtp.throttle.mails", rule));
    }
    let pause = check_wait("pause", given.pause.as_ref(), LONGEST_PAUSE, errors);
    let gap = check_wait("gap", given.gap.as_ref(), LONGEST_GAP, errors);
    if given.mails == 0 && !pause.is_zero() {
        let rule = "is never reached; give smtp.throttle.mails, after which the pause comes";
        errors.push(FieldError::new("smtp.throttle.pause", rule));
    }
    let limits = given.mails > 0 || !gap.is_zero();
    limits.then(|| SmtpThrottle {
        mails: given.mails,
        pause: Some(time::duration_to_wire(pause)),
        gap: Some(time::duration_to_wire(gap)),
    })
}

fn check_wait(
    field: &str,
    given: Option<&Duration>,
    longest: SignedDuration,
    errors: &mut Vec<FieldError>,
) -> SignedDuration {
    let wait = given.map_or(SignedDuration::ZERO, time::duration_from_wire);
    if wait.is_negative() || wait > longest {
        let rule = format!("{wait:#} is not within 0 to {longest:#}; give a duration such as 2s");
        errors.push(FieldError::new(format!("smtp.throttle.{field}"), rule));
    }
    wait
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> SmtpServer {
        SmtpServer {
            host: "smtp.cafe.example".into(),
            from: "news@cafe.example".into(),
            ..SmtpServer::default()
        }
    }

    fn errors(given: SmtpServer) -> Vec<String> {
        checked(given).expect_err("wrong").iter().map(ToString::to_string).collect()
    }

    fn seconds(seconds: i64) -> Option<Duration> {
        Some(Duration { seconds, nanos: 0 })
    }

    #[test]
    fn what_is_not_said_is_said_when_it_is_stored() {
        let stored = checked(server()).expect("right");
        assert_eq!((stored.port, stored.tls(), stored.connections), (25, SmtpTls::Starttls, 16));
        let implicit = SmtpServer { tls: SmtpTls::Implicit.into(), ..server() };
        assert_eq!(checked(implicit).expect("right").port, 465);
        let by_port = SmtpServer { port: 465, ..server() };
        assert_eq!(checked(by_port).expect("right").tls(), SmtpTls::Implicit);
        let clear = SmtpServer { port: 465, tls: SmtpTls::None.into(), ..server() };
        assert_eq!(checked(clear).expect("right").tls(), SmtpTls::None);
        let idle = SmtpServer { throttle: Some(SmtpThrottle::default()), ..server() };
        assert_eq!(checked(idle).expect("right").throttle, None);
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let wrong = SmtpServer {
            host: "smtp://cafe".into(),
            port: 65_536,
            tls: 9,
            user: "a\0".into(),
            from: "news".into(),
            from_name: "x".repeat(101),
            reply_to: "a@".into(),
            throttle: Some(SmtpThrottle { mails: 0, pause: seconds(1), gap: seconds(3601) }),
            connections: 65,
        };
        assert_eq!(
            errors(wrong),
            [
                "smtp.host: 'smtp://cafe' is neither a host's name nor its address; give a name or \
                 an address, such as smtp.cafe.example",
                "smtp.tls: 9 is not known; give NONE, STARTTLS or IMPLICIT",
                "smtp.port: 65536 is not within 1 to 65535; most servers take 25, 465 or 587",
                "smtp.user: has control characters or more than 255 characters; give the login's \
                 name alone",
                "smtp.from: 'news' is not an e-mail address; give one such as news@cafe.example",
                "smtp.from_name: has 101 characters; 100 at most",
                "smtp.reply_to: 'a@' is not an e-mail address; give one such as news@cafe.example",
                "smtp.throttle.gap: 1h 1s is not within 0 to 1h; give a duration such as 2s",
                "smtp.throttle.pause: is never reached; give smtp.throttle.mails, after which the \
                 pause comes",
                "smtp.connections: 65 is not within 1 to 64",
            ]
        );
        assert_eq!(
            errors(SmtpServer::default()),
            [
                "smtp.host: is missing; give a name or an address, such as smtp.cafe.example",
                "smtp.from: is missing; give one such as news@cafe.example",
            ]
        );
    }

    #[test]
    fn limits_themselves_are_taken() {
        let throttle =
            SmtpThrottle { mails: 1_000_000, pause: seconds(86_400), gap: seconds(3600) };
        let most =
            SmtpServer { port: 65_535, connections: 64, throttle: Some(throttle), ..server() };
        assert_eq!(checked(most).expect("right").throttle, Some(throttle));
        let least = SmtpServer { port: 1, connections: 1, ..server() };
        assert_eq!(checked(least).expect("right").port, 1);
    }

    #[test]
    fn a_password_stays_with_its_server() {
        let one = SmtpServer { user: "u".into(), port: 587, ..server() };
        assert!(same_login(&one, &SmtpServer { from: "b@cafe.example".into(), ..one.clone() }));
        for other in [
            SmtpServer { host: "other.example".into(), ..one.clone() },
            SmtpServer { port: 25, ..one.clone() },
            SmtpServer { user: "v".into(), ..one.clone() },
            SmtpServer { tls: SmtpTls::None.into(), ..one.clone() },
        ] {
            assert!(!same_login(&one, &other), "{other:?}");
        }
    }
}
