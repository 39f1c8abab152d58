//! E-mail addresses as they can be sent to without SMTPUTF8: an RFC 5321 dot-string, `@`, and a
//! host name of two labels or more. Internationalised domains are given in their ASCII form.

use super::fault::Fault;

const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;
const LONGEST_LABEL: usize = 63;

/// Trims the address and checks its shape.
pub(crate) fn parse(text: &str) -> Result<&str, Fault> {
    let text = text.trim();
    let fault = |reason, message| Err(Fault::new("email", reason, message));
    if text.contains(char::is_control) {
        return fault("email_line_break", "holds a line break or control character; remove it");
    }
    if text.contains(char::is_whitespace) {
        return fault("email_with_space", "holds a space; give the address alone, without a name");
    }
    let Some((local, domain)) = text.rsplit_once('@') else {
        return fault("email_without_at", "has no '@'; an address reads name@example.com");
    };
    if local.contains('@') {
        return fault("email_two_ats", "has more than one '@'; give one address");
    }
    if text.len() > LONGEST || local.len() > LONGEST_LOCAL {
        return fault(
            "email_too_long",
            "is too long; 254 characters are allowed, 64 of them before the '@'",
        );
    }
    if !is_dot_string(local) {
        return fault(
            "email_bad_local_part",
            "has something before the '@' that mail servers do not take; letters, digits, single \
             dots and !#$%&'*+-/=?^_`{|}~ are allowed",
        );
    }
    if !is_domain(domain) {
        return fault(
            "email_bad_domain",
            "has no valid domain after the '@'; labels of letters, digits and inner hyphens with a \
             dot between them are expected (xn--… for other scripts)",
        );
    }
    Ok(text)
}

/// The form under which an address is found and compared. RFC 5321 §2.4 lets a local part tell
/// letter cases apart; mailboxes do not, and whoever asks not to be written to must be found.
pub(crate) fn for_lookup(address: &str) -> String {
    address.to_lowercase()
}

/// RFC 5321 §4.1.2: atoms with single dots between them.
fn is_dot_string(local: &str) -> bool {
    let is_atext =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// RFC 1123 §2.1.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.contains('.') && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(text: &str) -> String {
        parse(text).map_or_else(|fault| fault.reason.into_owned(), |_| "accepted".into())
    }

    #[test]
    fn addresses_are_kept_as_given_but_for_the_space_around() {
        assert_eq!(parse(" Ann.O'Hara+x@Example.ORG "), Ok("Ann.O'Hara+x@Example.ORG"));
        assert_eq!(for_lookup("Ann@Example.ORG"), "ann@example.org");
    }

    #[test]
    fn each_fault_has_its_reason() {
        assert_eq!(reason("a\r\nBcc: b@example.org"), "email_line_break");
        assert_eq!(reason("a b@example.org"), "email_with_space");
        assert_eq!(reason("example.org"), "email_without_at");
        assert_eq!(reason("a@b@example.org"), "email_two_ats");
        assert_eq!(reason(&format!("{}@example.org", "x".repeat(65))), "email_too_long");
        assert_eq!(reason("a..b@example.org"), "email_bad_local_part");
        assert_eq!(reason("@example.org"), "email_bad_local_part");
        assert_eq!(reason("<a>@example.org"), "email_bad_local_part");
        assert_eq!(reason("a@-bad-.example.org"), "email_bad_domain");
        assert_eq!(reason("a@localhost"), "email_bad_domain");
        assert_eq!(reason("a@example..org"), "email_bad_domain");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_one_printable_line_with_one_at(text in "\\PC{0,20}@?[a-z.@ \\r\\n-]{0,20}") {
            if let Ok(address) = parse(&text) {
                prop_assert!(address.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(address.matches('@').count(), 1);
                prop_assert!(address.len() <= LONGEST);
            }
        }

        #[test]
        fn accepted_addresses_stay_accepted_in_their_form_for_look_up(
            text in "[A-Za-z0-9]{1,9}(\\.[a-z]{1,5})?@[A-Za-z0-9]{1,9}\\.[A-Z]{2,5}",
        ) {
            let address = parse(&text).expect("a plain address");
            let lookup = for_lookup(address);
            prop_assert!(parse(&lookup).is_ok());
            prop_assert_eq!(for_lookup(&lookup), lookup);
        }
    }
}
