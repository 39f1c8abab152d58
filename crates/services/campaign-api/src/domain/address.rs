//! Names of hosts and mailboxes, as far as settings need them.

use std::net::IpAddr;

/// A host name of DNS, or an address without brackets.
pub(crate) fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_name(text)
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // What looks like an IPv4 address and is none is no name either.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A mailbox of RFC 5321 with a dot-string before the @, and a domain of two labels at least or
/// `localhost` after it.
pub(crate) fn is_mailbox(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |atom: &str| {
        let known =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
        !atom.is_empty() && atom.bytes().all(known)
    };
    local.len() <= 64
        && local.split('.').all(atom)
        && is_name(domain)
        && (domain.contains('.') || domain == "localhost")
        && text.len() <= 254
}

/// `+` and 7 to 15 digits that do not begin with 0 (ITU-T E.164).
pub(crate) fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses() {
        for good in
            ["smtp.example.com", "localhost", "127.0.0.1", "::1", "a-b.c1", "xn--caf-dma.fr"]
        {
            assert!(is_host(good), "{good}");
        }
        let long = format!("{}.com", "x".repeat(64));
        for bad in [
            "", "a b", "-a.com", "a-.com", "a..b", "smtp://a", "a:25", "café.fr", "1.2.3", "[::1]",
            &long,
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn mailboxes_have_a_dot_string_and_a_domain() {
        for good in ["news@cafe.example", "a.b+c@x.org", "o'neil@x.org", "root@localhost"] {
            assert!(is_mailbox(good), "{good}");
        }
        for bad in [
            "",
            "news",
            "news@",
            "@x.org",
            "a..b@x.org",
            ".a@x.org",
            "a b@x.org",
            "a@x",
            "a@127.0.0.1",
            "<a@x.org>",
            "a@x.org\r\nBcc: b@x.org",
        ] {
            assert!(!is_mailbox(bad), "{bad}");
        }
    }

    #[test]
    fn numbers_have_a_plus_and_7_to_15_digits() {
        for good in ["+15035550156", "+3161234567", "+1234567"] {
            assert!(is_e164(good), "{good}");
        }
        for bad in ["15035550156", "+0123456789", "+123456", "+1234567890123456", "+1 503", "+"] {
            assert!(!is_e164(bad), "{bad}");
        }
    }
}
