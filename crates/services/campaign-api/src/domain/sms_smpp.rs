//! What an SMPP gateway may be set to.

use carillon_contracts::campaign::v1::SmppGateway;
use carillon_http_gateway::Origin;
use carillon_service_kit::status::FieldError;

use super::shown;

const LONGEST_SYSTEM_ID: usize = 15;
const LONGEST_PASSWORD: usize = 8;
const LONGEST_SYSTEM_TYPE: usize = 12;
const MOST_CONNECTIONS: u32 = 16;
const CONNECTIONS: u32 = 1;
const MOST_WAITING: u32 = 100;
const WAITING: u32 = 10;

/// The gateway as it is stored; wrong fields are told in `errors`.
pub(super) fn checked(given: SmppGateway, errors: &mut Vec<FieldError>) -> SmppGateway {
    let mut refuse = |field: &str, rule: String| {
        errors.push(FieldError::new(format!("sms.smpp.{field}"), rule));
    };
    let url = given.url.trim_end_matches('/').to_owned();
    if let Some(rule) = wrong_url(&url) {
        refuse("url", rule);
    }
    let system_id = &given.system_id;
    if system_id.is_empty() {
        refuse("system_id", "is missing; give the one that the provider shows".to_owned());
    } else if !is_plain(system_id, LONGEST_SYSTEM_ID) {
        let rule = "is no system id: 1 to 15 letters, digits and signs, without blanks";
        refuse("system_id", format!("'{}' {rule}", shown(system_id)));
    }
    let system_type = &given.system_type;
    if !is_plain(system_type, LONGEST_SYSTEM_TYPE) {
        let rule = "is no system type: 12 letters, digits and signs at most; most providers want \
                    none";
        refuse("system_type", format!("'{}' {rule}", shown(system_type)));
    }
    let mut within = |field: &str, number: u32, most: u32, otherwise: u32| {
        if number > most {
            refuse(field, format!("{number} is more than {most}; give 1 to {most}"));
        }
        if number == 0 { otherwise } else { number }
    };
    let connections = within("connections", given.connections, MOST_CONNECTIONS, CONNECTIONS);
    let window = within("window", given.window, MOST_WAITING, WAITING);
    SmppGateway { url, connections, window, ..given }
}

/// The token of such a gateway: its field in a bind has 8 places.
pub(super) fn wrong_password(password: &str) -> Option<FieldError> {
    let rule = "is no password of SMPP: 8 letters, digits and signs at most, without blanks; ask \
                the provider for another";
    (!is_plain(password, LONGEST_PASSWORD)).then(|| FieldError::new("token", rule))
}

fn is_plain(text: &str, longest: usize) -> bool {
    text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn wrong_url(text: &str) -> Option<String> {
    let example = "give one such as smpp://smsc.provider.example:2775, or smpps:// for TLS";
    if text.is_empty() {
        return Some(format!("is missing; {example}"));
    }
    let why = Origin::parse_smsc(text).err()?;
    // It may hold a login, which nobody is shown.
    let what = if text.contains('@') { "it".to_owned() } else { format!("'{}'", shown(text)) };
    Some(format!("{what} is no SMSC's URL: {why}; {example}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "smpp://smsc.example:2775";

    fn gateway(url: &str, system_id: &str) -> SmppGateway {
        let (url, system_id) = (url.into(), system_id.into());
        SmppGateway { url, system_id, ..SmppGateway::default() }
    }

    fn errors(given: SmppGateway) -> Vec<String> {
        let mut errors = Vec::new();
        checked(given, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_said_is_stored_as_it_is_used() {
        let stored = checked(gateway("smpps://smsc.example/", "me"), &mut Vec::new());
        let expected = SmppGateway {
            url: "smpps://smsc.example".into(),
            system_id: "me".into(),
            system_type: String::new(),
            connections: 1,
            window: 10,
        };
        assert_eq!(stored, expected);
        let most = SmppGateway {
            system_id: "x".repeat(15),
            system_type: "y".repeat(12),
            connections: 16,
            window: 100,
            ..gateway(URL, "")
        };
        assert_eq!(checked(most.clone(), &mut Vec::new()), most);
        assert_eq!(errors(most), [""; 0]);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let wrong = SmppGateway {
            system_type: "x".repeat(13),
            connections: 17,
            window: 101,
            ..gateway("http://smsc.example", "my id")
        };
        assert_eq!(
            errors(wrong),
            [
                "sms.smpp.url: 'http://smsc.example' is no SMSC's URL: it does not begin with \
                 smpp:// or smpps://; give one such as smpp://smsc.provider.example:2775, or \
                 smpps:// for TLS",
                "sms.smpp.system_id: 'my id' is no system id: 1 to 15 letters, digits and signs, \
                 without blanks",
                "sms.smpp.system_type: 'xxxxxxxxxxxxx' is no system type: 12 letters, digits and \
                 signs at most; most providers want none",
                "sms.smpp.connections: 17 is more than 16; give 1 to 16",
                "sms.smpp.window: 101 is more than 100; give 1 to 100",
            ]
        );
        assert_eq!(errors(gateway("", "")).len(), 2);
        for id in [&"x".repeat(16), "Café", "a\0b"] {
            assert_eq!(errors(gateway(URL, id)).len(), 1, "{id}");
        }
    }

    #[test]
    fn a_login_in_an_address_is_refused_and_not_shown() {
        let told = errors(gateway("smpp://me:hushhush@smsc.example", "me"));
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("give the system id apart") && !told[0].contains("hush"));
    }

    #[test]
    fn a_password_has_eight_places() {
        assert_eq!(wrong_password("8letters"), None);
        for wrong in ["9 letters", "9letters!", "Passwört", "a b"] {
            let told = wrong_password(wrong).expect("wrong").to_string();
            assert!(told.starts_with("token: is no password of SMPP: 8 "), "{told}");
            assert!(!told.contains(wrong));
        }
    }
}
