//! Where a service may connect to when somebody else's settings name the host. Names are resolved
//! once, the addresses are checked, and the caller connects to the very addresses that passed:
//! a name that changes its answer in between reaches nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Deserialize;

/// What may be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Also what is not on the public Internet: loopback, private networks, link-local and the
    /// like. Servers inside one's own network need it.
    pub allow_private: bool,
}

/// Resolves hosts and lets through what the policy allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Egress {
    policy: Policy,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    #[error("{host}: no address is known for this name ({reason}); correct the name")]
    NameNotFound { host: String, reason: String },
    #[error(
        "{host}: its address {address} is not on the public Internet; name another host, or let \
         the operator set egress.allow_private"
    )]
    Refused { host: String, address: IpAddr },
}

impl Egress {
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }

    /// The addresses of a host that may be connected to, never none. `host` is a name or an
    /// address, an IPv6 one with or without brackets. Takes as long as the system's resolver.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, EgressError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let not_found = |reason: String| EgressError::NameNotFound { host: host.into(), reason };
        if bare.is_empty() {
            return Err(not_found("it is empty".into()));
        }
        let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => tokio::net::lookup_host((bare, port))
                .await
                .map_err(|error| not_found(error.to_string()))?
                .collect(),
        };
        let Some(first) = found.first().copied() else {
            return Err(not_found("the answer is empty".into()));
        };
        let allowed: Vec<SocketAddr> =
            found.into_iter().filter(|address| self.allows(address.ip())).collect();
        if allowed.is_empty() {
            return Err(EgressError::Refused { host: host.into(), address: first.ip() });
        }
        Ok(allowed)
    }

    pub fn allows(&self, address: IpAddr) -> bool {
        self.policy.allow_private || is_public(address)
    }
}

/// Whether an address is globally reachable (the IANA special-purpose registries).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
    )
}

/// Only 2000::/3 is given out. Inside it, whatever carries an IPv4 address (6to4, Teredo) could
/// lead back to a private one, as the mapped, compatible and NAT64 forms outside it do.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x2002, ..] => false,
        [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECIAL: [&str; 35] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fd00:ec2::254",
        "fe80::1",
    ];

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn special_addresses_are_refused_unless_allowed() {
        let open = Egress::new(Policy { allow_private: true });
        for text in SPECIAL.into_iter().chain(["ff02::1", "fec0::1"]) {
            assert!(!Egress::default().allows(address(text)), "{text}");
            assert!(open.allows(address(text)), "{text}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ];
        for text in public {
            assert!(Egress::default().allows(address(text)), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_by_name_and_address() {
        for host in ["localhost", "127.0.0.1", "[::1]", "::ffff:10.0.0.1"] {
            let refused = Egress::default().resolve(host, 25).await.expect_err(host);
            let EgressError::Refused { host: named, address } = &refused else {
                panic!("{host}: {refused}");
            };
            assert_eq!(named, host);
            let text = refused.to_string();
            assert!(text.contains(host) && text.contains(&address.to_string()), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_allowed_comes_with_its_port() {
        let open = Egress::new(Policy { allow_private: true });
        let found = open.resolve("[::1]", 2525).await.expect("an address");
        assert_eq!(found, ["[::1]:2525".parse().expect("an address")]);
        let found = open.resolve("localhost", 2525).await.expect("loopback");
        assert!(found.iter().all(|found| found.ip().is_loopback() && found.port() == 2525));
    }

    #[tokio::test]
    async fn a_name_nobody_has_is_not_found() {
        for host in ["", "no-such-name.invalid", "not a name"] {
            let error = Egress::default().resolve(host, 25).await.expect_err("no address");
            assert!(matches!(error, EgressError::NameNotFound { .. }), "{host}: {error}");
        }
    }
}
