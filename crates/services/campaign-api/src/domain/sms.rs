//! What an organisation's SMS gateway may be set to.

use carillon_contracts::campaign::v1::{SmsGateway, TwilioGateway, sms_gateway::Kind};
use carillon_http_gateway::Origin;
use carillon_service_kit::status::FieldError;
use url::Url;

use super::{address::is_e164, shown, sms_http, sms_smpp};

const TWILIO: &str = "https://api.twilio.com";
const MOST_A_SECOND: u32 = 100_000;
const LONGEST_ACCOUNT: usize = 64;

/// The gateway as it is stored: every setting said.
///
/// # Errors
/// Every wrong field.
pub(crate) fn checked(given: SmsGateway) -> Result<SmsGateway, Vec<FieldError>> {
    let mut errors = Vec::new();
    let kind = match given.kind {
        None => {
            let rule = "has no kind; give sandbox: true, twilio, http, or smpp";
            errors.push(FieldError::new("sms", rule));
            None
        }
        Some(Kind::Sandbox(on)) => {
            if !on {
                let rule = "can only be true; for a real gateway give twilio, http or smpp";
                errors.push(FieldError::new("sms.sandbox", rule));
            }
            Some(Kind::Sandbox(on))
        }
        Some(Kind::Twilio(twilio)) => Some(Kind::Twilio(check_twilio(twilio, &mut errors))),
        Some(Kind::Http(http)) => Some(Kind::Http(sms_http::checked(http, &mut errors))),
        Some(Kind::Smpp(smpp)) => Some(Kind::Smpp(sms_smpp::checked(smpp, &mut errors))),
    };
    check_from(&given.from, kind.as_ref(), &mut errors);
    if given.rate > MOST_A_SECOND {
        let rule = format!("{} a second is more than 100,000; give 0 for no limit", given.rate);
        errors.push(FieldError::new("sms.rate", rule));
    }
    if errors.is_empty() { Ok(SmsGateway { kind, ..given }) } else { Err(errors) }
}

/// What a token is given for.
pub(crate) enum TokenUse {
    Needed,
    /// Nothing of the settings uses one.
    Unused,
}

pub(crate) fn token_use(gateway: &SmsGateway) -> TokenUse {
    match &gateway.kind {
        Some(Kind::Twilio(_) | Kind::Smpp(_)) => TokenUse::Needed,
        Some(Kind::Http(http)) if sms_http::uses_token(http) => TokenUse::Needed,
        _ => TokenUse::Unused,
    }
}

pub(crate) fn wrong_token(gateway: &SmsGateway, token: &str) -> Option<FieldError> {
    match &gateway.kind {
        Some(Kind::Smpp(_)) => sms_smpp::wrong_password(token),
        _ => None,
    }
}

/// Whether a token that was given for one may be used for the other: it must not be sent
/// elsewhere because somebody changed the address.
pub(crate) fn same_login(one: &SmsGateway, other: &SmsGateway) -> bool {
    match (&one.kind, &other.kind) {
        (Some(Kind::Twilio(one)), Some(Kind::Twilio(other))) => one == other,
        (Some(Kind::Smpp(one)), Some(Kind::Smpp(other))) => {
            (&one.url, &one.system_id) == (&other.url, &other.system_id)
        }
        // The token may stand anywhere in these: somebody could make it come back to them.
        (Some(Kind::Http(one)), Some(Kind::Http(other))) => {
            (&one.method, &one.url, &one.headers, &one.body, &one.content_type)
                == (&other.method, &other.url, &other.headers, &other.body, &other.content_type)
        }
        _ => false,
    }
}

/// Whether both are the same account of the same provider: one that stands by for itself is none.
pub(crate) fn same_gateway(one: &SmsGateway, other: &SmsGateway) -> bool {
    match (&one.kind, &other.kind) {
        (Some(Kind::Http(one)), Some(Kind::Http(other))) => {
            (&one.url, one.idempotency_header.to_ascii_lowercase())
                == (&other.url, other.idempotency_header.to_ascii_lowercase())
        }
        (Some(Kind::Sandbox(_)), Some(Kind::Sandbox(_))) => true,
        _ => same_login(one, other),
    }
}

fn check_twilio(given: TwilioGateway, errors: &mut Vec<FieldError>) -> TwilioGateway {
    let base_url = if given.base_url.is_empty() { TWILIO } else { &given.base_url };
    let base_url = base_url.trim_end_matches('/').to_owned();
    if let Some(rule) = wrong_base(&base_url) {
        errors.push(FieldError::new("sms.twilio.base_url", rule));
    }
    let account = &given.account;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if account.is_empty() {
        let rule = "is missing; give the account SID that the provider shows";
        errors.push(FieldError::new("sms.twilio.account", rule));
    } else if account.len() > LONGEST_ACCOUNT || !account.bytes().all(plain) {
        let rule = format!(
            "'{}' is no account SID: 1 to {LONGEST_ACCOUNT} letters, digits, - and _",
            shown(account)
        );
        errors.push(FieldError::new("sms.twilio.account", rule));
    }
    TwilioGateway { base_url, ..given }
}

fn wrong_base(text: &str) -> Option<String> {
    let example = format!("give one such as {TWILIO}");
    let Ok(url) = Url::parse(text) else {
        return Some(format!("'{}' is not a URL; {example}", shown(text)));
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Some(format!("'{}' is not an http or https URL; {example}", shown(text)));
    }
    if url.query().is_some() || url.fragment().is_some() || has_login(&url) {
        let what = "holds a login, a query or a fragment";
        return Some(format!("{what}, which has no place here; {example}"));
    }
    Origin::parse(text).err()
}

pub(super) fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn check_from(from: &str, kind: Option<&Kind>, errors: &mut Vec<FieldError>) {
    let example = "give a number such as +15035550100, or 1 to 11 letters and digits";
    let word = (1..=11).contains(&from.len()) && from.bytes().all(|b| b.is_ascii_alphanumeric());
    // Twilio's messaging services stand in for a sender.
    let service = !matches!(kind, Some(Kind::Smpp(_)))
        && from.len() == 34
        && from.starts_with("MG")
        && from.bytes().skip(2).all(|b| b.is_ascii_hexdigit());
    let rule = if from.is_empty() {
        if matches!(kind, Some(Kind::Sandbox(_))) {
            return;
        }
        format!("is missing; {example}")
    } else if word || service || is_e164(from) {
        return;
    } else {
        format!("'{}' is no sender; {example}", shown(from))
    };
    errors.push(FieldError::new("sms.from", rule));
}

#[cfg(test)]
mod tests {
    use carillon_contracts::campaign::v1::{HttpGateway, SmppGateway};

    use super::*;

    fn twilio(base_url: &str, account: &str) -> SmsGateway {
        let kind = TwilioGateway { base_url: base_url.into(), account: account.into() };
        SmsGateway { kind: Some(Kind::Twilio(kind)), from: "+15035550100".into(), rate: 0 }
    }

    fn smpp(url: &str, system_id: &str) -> SmsGateway {
        let (url, system_id) = (url.into(), system_id.into());
        let kind = SmppGateway { url, system_id, ..SmppGateway::default() };
        SmsGateway { kind: Some(Kind::Smpp(kind)), from: "Cafe".into(), rate: 0 }
    }

    fn sandbox(from: &str) -> SmsGateway {
        SmsGateway { kind: Some(Kind::Sandbox(true)), from: from.into(), rate: 0 }
    }

    fn errors(given: SmsGateway) -> Vec<String> {
        checked(given).expect_err("wrong").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_twilio_gateway_has_its_own_address_unless_told_otherwise() {
        let Some(Kind::Twilio(stored)) = checked(twilio("", "AC1")).expect("right").kind else {
            panic!("another kind")
        };
        assert_eq!(stored.base_url, TWILIO);
        let stored = checked(twilio("http://127.0.0.1:8080/", "AC1")).expect("right").kind;
        let expected =
            TwilioGateway { base_url: "http://127.0.0.1:8080".into(), account: "AC1".into() };
        assert_eq!(stored, Some(Kind::Twilio(expected)));
    }

    #[test]
    fn wrong_addresses_and_accounts_are_refused() {
        assert_eq!(
            errors(twilio("ftp://x", "AC/../1")),
            [
                "sms.twilio.base_url: 'ftp://x' is not an http or https URL; give one such as \
                 https://api.twilio.com",
                "sms.twilio.account: 'AC/../1' is no account SID: 1 to 64 letters, digits, - and _",
            ]
        );
        for base in ["api.twilio.com", "https://u:p@x", "https://x/?a=b", "https://x/#a"] {
            assert_eq!(errors(twilio(base, "AC1")).len(), 1, "{base}");
        }
        assert_eq!(
            errors(twilio("", "")),
            ["sms.twilio.account: is missing; give the account SID that the provider shows"]
        );
    }

    #[test]
    fn a_sender_is_a_number_or_a_short_word() {
        for good in ["", "Cafe", "CafeZoe2026", "12345", "+15035550100"] {
            checked(sandbox(good)).expect(good);
        }
        for bad in ["CafeZoe20267", "Café", "a b", "+0150", "+1503555010012345"] {
            assert_eq!(
                errors(sandbox(bad)),
                [format!(
                    "sms.from: '{bad}' is no sender; give a number such as +15035550100, or 1 to \
                     11 letters and digits"
                )]
            );
        }
        assert_eq!(errors(SmsGateway { from: String::new(), ..twilio("", "AC1") }).len(), 1);
        let service = format!("MG{}", "0a".repeat(16));
        checked(SmsGateway { from: service.clone(), ..twilio("", "AC1") }).expect("Twilio's own");
        for from in [String::new(), service] {
            let told = errors(SmsGateway { from, ..smpp("smpp://smsc.example", "me") });
            assert!(told.len() == 1 && told[0].starts_with("sms.from: "), "{told:?}");
        }
    }

    #[test]
    fn a_gateway_has_a_kind_and_a_rate_within_limits() {
        assert_eq!(
            errors(SmsGateway { rate: 100_001, ..SmsGateway::default() })[..2],
            [
                "sms: has no kind; give sandbox: true, twilio, http, or smpp".to_owned(),
                "sms.from: is missing; give a number such as +15035550100, or 1 to 11 letters and \
                 digits"
                    .to_owned(),
            ]
        );
        let off = SmsGateway { kind: Some(Kind::Sandbox(false)), ..SmsGateway::default() };
        assert_eq!(
            errors(off),
            ["sms.sandbox: can only be true; for a real gateway give twilio, http or smpp"]
        );
    }

    #[test]
    fn a_token_stays_with_its_provider() {
        let one = checked(twilio("", "AC1")).expect("right");
        assert!(same_login(&one, &SmsGateway { rate: 5, ..one.clone() }));
        assert!(!same_login(&one, &checked(twilio("", "AC2")).expect("right")));
        assert!(!same_login(&one, &checked(twilio("http://x.example", "AC1")).expect("right")));
        assert!(!same_login(&one, &sandbox("")));
        let one = checked(smpp("smpp://smsc.example", "me")).expect("right");
        let Some(Kind::Smpp(kind)) = one.kind.clone() else { panic!("another kind") };
        let more = SmppGateway { connections: 4, window: 50, system_type: "VMA".into(), ..kind };
        assert!(same_login(&one, &SmsGateway { kind: Some(Kind::Smpp(more)), ..one.clone() }));
        for (url, system_id) in [
            ("smpps://smsc.example", "me"),
            ("smpp://else.example", "me"),
            ("smpp://smsc.example", "you"),
        ] {
            let other = checked(smpp(url, system_id)).expect("right");
            assert!(!same_login(&one, &other), "{url} {system_id}");
        }
        assert!(!same_login(&one, &checked(twilio("", "AC1")).expect("right")));
    }

    #[test]
    fn a_gateway_is_the_same_by_its_account_whatever_else_is_set() {
        let http = |url: &str, header: &str| {
            let (url, idempotency_header) = (url.into(), header.into());
            let http = HttpGateway { url, idempotency_header, ..HttpGateway::default() };
            SmsGateway { kind: Some(Kind::Http(http)), from: "Cafe".into(), rate: 0 }
        };
        let one = http("https://a.example/send", "X-Id");
        assert!(same_gateway(&one, &http("https://a.example/send", "x-id")));
        assert!(!same_gateway(&one, &http("https://a.example/send", "")));
        assert!(!same_gateway(&one, &http("https://b.example/send", "X-Id")));
        assert!(same_gateway(&sandbox(""), &sandbox("Cafe")));
        assert!(same_gateway(&twilio("", "AC1"), &SmsGateway { rate: 5, ..twilio("", "AC1") }));
        assert!(!same_gateway(&twilio("", "AC1"), &twilio("", "AC2")));
        assert!(!same_gateway(&twilio("", "AC1"), &smpp("smpp://smsc.example", "AC1")));
    }
}
