//! The PDUs that leave: who binds, and a part of a message.

use carillon_content::sms::{Encoding, Part};
use rusmpp::{
    pdus::{BindTransceiver, SubmitSm},
    types::{COctetString, EmptyOrFullCOctetString, OctetString},
    values::{DataCoding, EsmClass, InterfaceVersion, Npi, RegisteredDelivery, Ton},
};

/// What binds a session.
#[derive(Clone)]
pub(super) struct Login(BindTransceiver);

impl Login {
    pub(super) fn new(system_id: &str, password: &str, system_type: &str) -> Result<Self, String> {
        if system_id.is_empty() || password.is_empty() {
            return Err("smpp.system_id and its password: both are needed".into());
        }
        let field = |name, most| move |_| format!("{name}: {most} plain characters at most");
        let bind = BindTransceiver::builder()
            .system_id(system_id.parse().map_err(field("smpp.system_id", 15))?)
            .password(password.parse().map_err(field("the password", 8))?)
            .system_type(system_type.parse().map_err(field("smpp.system_type", 12))?)
            .interface_version(InterfaceVersion::Smpp3_4)
            .build();
        Ok(Self(bind))
    }

    pub(super) fn pdu(&self) -> BindTransceiver {
        self.0.clone()
    }
}

/// An address with its type of number and numbering plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    ton: Ton,
    npi: Npi,
    digits: COctetString<1, 21>,
}

impl Address {
    /// International (1, 1) with a +, which is left out; a short code (3, 0) of digits alone; else
    /// a name (5, 0). None where it has no place in a PDU.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (ton, npi, digits) = match text.strip_prefix('+') {
            Some(digits) => (Ton::International, Npi::Isdn, digits),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                (Ton::NetworkSpecific, Npi::Unknown, text)
            }
            None => (Ton::Alphanumeric, Npi::Unknown, text),
        };
        Some(Self { ton, npi, digits: digits.parse().ok()? }).filter(|_| !digits.is_empty())
    }
}

/// What the parts of one message share.
pub(super) struct Envelope<'a> {
    pub source: &'a Address,
    pub destination: &'a Address,
    /// Seconds until it is worth nothing.
    pub validity: u64,
    /// Tells the parts of this message from those of others.
    pub reference: u8,
}

/// Part `number`, counted from 1, of `parts`.
pub(super) fn submit(
    envelope: &Envelope<'_>,
    part: &Part<'_>,
    number: usize,
    parts: usize,
) -> Option<SubmitSm> {
    let mut octets = Vec::with_capacity(160);
    // Store and forward is the default; a header is told of by bit 6.
    let mut esm_class = 0;
    if parts > 1 {
        let (parts, number) = (u8::try_from(parts).ok()?, u8::try_from(number).ok()?);
        octets.extend([5, 0, 3, envelope.reference, parts, number]);
        esm_class = 0x40;
    }
    octets.extend(part.octets());
    let (source, destination) = (envelope.source.clone(), envelope.destination.clone());
    let submit = SubmitSm::builder()
        .source_addr_ton(source.ton)
        .source_addr_npi(source.npi)
        .source_addr(source.digits)
        .dest_addr_ton(destination.ton)
        .dest_addr_npi(destination.npi)
        .destination_addr(destination.digits)
        .esm_class(EsmClass::from(esm_class))
        .validity_period(validity(envelope.validity))
        .registered_delivery(RegisteredDelivery::from(1))
        .data_coding(match part.encoding {
            Encoding::Gsm7 => DataCoding::McSpecific,
            Encoding::Ucs2 => DataCoding::Ucs2,
        })
        .short_message(OctetString::from_vec(octets).ok()?)
        .build();
    Some(submit)
}

/// Relative, YYMMDDhhmmsstnnp (7.1.1.2). Cut at four weeks: months differ in length.
fn validity(seconds: u64) -> EmptyOrFullCOctetString<17> {
    const LONGEST: u64 = 28 * 86_400;
    let seconds = seconds.min(LONGEST);
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    let text = format!("0000{days:02}{hours:02}{minutes:02}{seconds:02}000R\0");
    EmptyOrFullCOctetString::from_vec(text.into_bytes()).expect("16 characters and a zero")
}

#[cfg(test)]
mod tests {
    use carillon_content::sms::split;
    use rusmpp::{CommandStatus, Pdu};

    use super::*;
    use crate::gateway::smpp::frame::encode;

    fn octets(text: &str) -> Vec<Vec<u8>> {
        let (source, destination) = (Address::parse("Cafe"), Address::parse("+31612345678"));
        let envelope = Envelope {
            source: &source.expect("a name"),
            destination: &destination.expect("a number"),
            validity: 3_600,
            reference: 0xAB,
        };
        let parts = split(text);
        let each = parts.iter().enumerate().map(|(at, part)| {
            let submit = submit(&envelope, part, at + 1, parts.len()).expect("it fits");
            encode(CommandStatus::EsmeRok, 1, Pdu::SubmitSm(submit)).to_vec()
        });
        each.collect()
    }

    /// Field by field as 4.4.1 has them.
    #[test]
    fn a_submit_is_what_the_standard_says() {
        let head = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x05\x00Cafe\x00\x01\x01\
            31612345678\x00";
        // No protocol, no priority, at once; until an hour from now; a receipt; GSM 7 bit.
        let tail = b"\x00\x00\x00\x00000000010000000R\x00\x01\x00\x00\x00\x05a\x1B\x65\x00\x11";
        let submit = &octets("a€@_")[0];
        assert_eq!(submit[..4], u32::try_from(submit.len()).expect("short").to_be_bytes());
        assert_eq!(&submit[4..4 + head.len()], head);
        assert_eq!(&submit[4 + head.len()..], tail);
    }

    #[test]
    fn parts_have_a_header_and_say_so() {
        let parts = octets(&"я".repeat(140));
        assert_eq!(parts.len(), 3);
        let head = 4 + 12 + 1 + 2 + 5 + 2 + 12;
        for (at, part) in parts.iter().enumerate() {
            assert_eq!(part[head], 0x40, "esm_class");
            let data = head + 3 + 1 + 17 + 2;
            assert_eq!(part[data], 8, "data_coding");
            let number = u8::try_from(at + 1).expect("few");
            assert_eq!(part[data + 3..data + 9], [5, 0, 3, 0xAB, 3, number]);
            assert_eq!(usize::from(part[data + 2]), part.len() - data - 3);
        }
    }

    #[test]
    fn an_address_says_what_kind_it_is() {
        let kind =
            |text| Address::parse(text).map(|address| (address.ton.into(), address.npi.into()));
        assert_eq!(kind("+31612345678"), Some((1_u8, 1_u8)));
        assert_eq!(kind("1234"), Some((3, 0)));
        assert_eq!(kind("Cafe2026"), Some((5, 0)));
        for wrong in ["", "+", "Café", "123456789012345678901"] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_validity_is_relative_and_has_an_end() {
        let text = |seconds| validity(seconds).as_str().to_owned();
        assert_eq!(text(1), "000000000001000R");
        assert_eq!(text(2 * 86_400 + 3 * 3_600 + 4 * 60 + 5), "000002030405000R");
        assert_eq!(text(u64::MAX), "000028000000000R");
    }

    #[test]
    fn a_login_has_limits() {
        assert!(Login::new("carillon", "12345678", "").is_ok());
        assert!(Login::new("carillon", "123456789", "").is_err_and(|why| why.contains('8')));
        assert!(Login::new(&"x".repeat(16), "p", "").is_err());
        assert!(Login::new("carillon", "p", &"x".repeat(13)).is_err());
        assert!(Login::new("", "p", "").is_err());
    }
}
