//! What an SMSC tells by deliver_sm: what became of a message (appendix B), or what somebody wrote.

use carillon_content::sms::{Encoding, read};
use carillon_dispatch::Says;
use rusmpp::{
    pdus::DeliverSm,
    tlvs::TlvValue,
    values::{DataCoding, MessageState, Ton},
};

use crate::gateway::verdict::code;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Receipt(Receipt),
    /// Nothing that changes a message's state.
    Nothing,
    Reply(Reply),
}

/// What somebody wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub source: String,
    pub text: String,
    /// Empty where the SMSC does not say.
    pub id: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// What the SMSC calls the message.
    pub id: String,
    pub says: Says,
    pub code: String,
}

/// Bits 2 to 5 of esm_class.
const KIND: u8 = 0x3C;
const RECEIPT: u8 = 0x04;
const HEADER_INSIDE: u8 = 0x40;

pub(super) fn hear(message: &DeliverSm) -> Heard {
    let class = u8::from(message.esm_class);
    match class & KIND {
        RECEIPT => receipt(message).map_or(Heard::Nothing, Heard::Receipt),
        0 => Heard::Reply(Reply {
            source: source(message),
            text: text(message, class),
            id: id(message).unwrap_or_default(),
        }),
        // Acknowledged by hand, or a word from half-way.
        _ => Heard::Nothing,
    }
}

fn body(message: &DeliverSm) -> &[u8] {
    let payload = values(message).find_map(|value| match value {
        TlvValue::MessagePayload(payload) => Some(&payload.value[..]),
        _ => None,
    });
    payload.unwrap_or(message.short_message())
}

fn values(message: &DeliverSm) -> impl Iterator<Item = &TlvValue> {
    message.tlvs().iter().filter_map(rusmpp::tlvs::Tlv::value)
}

fn id(message: &DeliverSm) -> Option<String> {
    let id = values(message).find_map(|value| match value {
        TlvValue::ReceiptedMessageId(id) => Some(id.to_string()),
        _ => None,
    });
    id.filter(|id| !id.is_empty())
}

/// An international number has its + left out.
fn source(message: &DeliverSm) -> String {
    let source = message.source_addr.to_string();
    match message.source_addr_ton {
        Ton::International if !source.is_empty() && !source.starts_with('+') => {
            format!("+{source}")
        }
        _ => source,
    }
}

fn receipt(message: &DeliverSm) -> Option<Receipt> {
    let text = String::from_utf8_lossy(body(message));
    let fields = Fields::of(&text);
    let state = values(message).find_map(|value| match value {
        TlvValue::MessageState(state) => Some(*state),
        _ => None,
    });
    let id = id(message).or(fields.id.map(str::to_owned))?;
    let says = state.and_then(by_state).or_else(|| by_word(fields.stat?))?;
    let code = match says {
        Says::Delivered => String::new(),
        _ => fields.code(),
    };
    Some(Receipt { id, says, code })
}

/// What changes a state, and no more: that it is on its way is known.
fn by_state(state: MessageState) -> Option<Says> {
    match state {
        MessageState::Delivered => Some(Says::Delivered),
        MessageState::Expired
        | MessageState::Deleted
        | MessageState::Undeliverable
        | MessageState::Rejected
        | MessageState::Skipped => Some(Says::Undelivered),
        _ => None,
    }
}

fn by_word(stat: &str) -> Option<Says> {
    match stat.to_ascii_uppercase().as_str() {
        "DELIVRD" => Some(Says::Delivered),
        "EXPIRED" | "DELETED" | "UNDELIV" | "REJECTD" | "SKIPPED" => Some(Says::Undelivered),
        _ => None,
    }
}

/// `id:IIIIIIIIII sub:SSS dlvrd:DDD submit date:… done date:… stat:DDDDDDD err:E text: …`
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a str>,
    stat: Option<&'a str>,
    err: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        let mut fields = Self::default();
        for word in text.split_ascii_whitespace() {
            let Some((name, value)) = word.split_once(':') else { continue };
            let field = match name.to_ascii_lowercase().as_str() {
                "id" => &mut fields.id,
                "stat" => &mut fields.stat,
                "err" => &mut fields.err,
                // What follows is the message's own words.
                "text" => break,
                _ => continue,
            };
            if !value.is_empty() {
                field.get_or_insert(value);
            }
        }
        fields
    }

    /// The error where there is one, else the state's word.
    fn code(&self) -> String {
        let is_none = |err: &&str| err.bytes().all(|byte| byte == b'0');
        let said = self.err.filter(|err| !is_none(err)).or(self.stat);
        code(said.unwrap_or_default())
    }
}

/// What somebody wrote, its header left out.
fn text(message: &DeliverSm, class: u8) -> String {
    let body = body(message);
    let header = match body.first() {
        Some(length) if class & HEADER_INSIDE != 0 => usize::from(*length) + 1,
        _ => 0,
    };
    let body = body.get(header..).unwrap_or_default();
    match message.data_coding {
        DataCoding::McSpecific => read(body, Encoding::Gsm7),
        DataCoding::Ucs2 => read(body, Encoding::Ucs2),
        // Latin 1, of which IA5 is the first half, and what is nearest for all that is rarer.
        _ => body.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use rusmpp::{
        tlvs::MessageDeliveryRequestTlvValue as Tlv, types::OctetString, values::EsmClass,
    };

    use super::*;

    fn message(class: u8, text: &[u8], tlvs: Vec<Tlv>) -> DeliverSm {
        let mut message = DeliverSm::builder()
            .esm_class(EsmClass::from(class))
            .source_addr("31612345678".parse().expect("a number"))
            .destination_addr("1234".parse().expect("a number"))
            .short_message(OctetString::from_slice(text).expect("short"))
            .build();
        message.set_tlvs(tlvs);
        message
    }

    fn by_text(text: &str) -> Heard {
        hear(&message(0x04, text.as_bytes(), Vec::new()))
    }

    fn receipt(id: &str, says: Says, code: &str) -> Heard {
        Heard::Receipt(Receipt { id: id.into(), says, code: code.into() })
    }

    #[test]
    fn appendix_b_is_read() {
        let text = "id:0123456789 sub:001 dlvrd:001 submit date:2611231200 done \
                    date:2611231201 stat:DELIVRD err:000 text:Hello id:7 stat:UNDELIV";
        assert_eq!(by_text(text), receipt("0123456789", Says::Delivered, ""));
        let text = "id:c449ab9744f4 sub:001 dlvrd:000 stat:UNDELIV err:034 Text:";
        assert_eq!(by_text(text), receipt("c449ab9744f4", Says::Undelivered, "034"));
        assert_eq!(
            by_text("ID:7 STAT:expired ERR:000"),
            receipt("7", Says::Undelivered, "expired")
        );
    }

    #[test]
    fn what_says_nothing_new_is_nothing() {
        for text in
            ["", "id:7 stat:ACCEPTD", "id:7 stat:ENROUTE err:0", "stat:DELIVRD", "id:7", "Hello"]
        {
            assert_eq!(by_text(text), Heard::Nothing, "{text}");
        }
        let half_way = message(0x20, b"id:7 stat:DELIVRD", Vec::new());
        assert_eq!(hear(&half_way), Heard::Nothing);
    }

    #[test]
    fn parameters_count_for_more_than_words() {
        let tlvs = vec![
            Tlv::ReceiptedMessageId("abc".parse().expect("an id")),
            Tlv::MessageState(MessageState::Undeliverable),
        ];
        let told = message(0x04, b"id:7 stat:DELIVRD err:011", tlvs);
        assert_eq!(hear(&told), receipt("abc", Says::Undelivered, "011"));
    }

    fn reply(message: &DeliverSm) -> Reply {
        match hear(message) {
            Heard::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_is_read_in_its_own_alphabet() {
        let text = |class, coding: u8, body: &[u8]| {
            let mut message = message(class, body, Vec::new());
            message.data_coding = DataCoding::from(coding);
            reply(&message).text
        };
        assert_eq!(text(0, 0, b"STOP \x1B\x65\x00"), "STOP €@");
        assert_eq!(text(0, 1, b"STOP"), "STOP");
        assert_eq!(text(0, 8, b"\x04\x21\x04\x22\x04\x1E\x04\x1F"), "СТОП");
        assert_eq!(text(0, 3, b"arr\xEAt"), "arrêt");
        assert_eq!(text(0x40, 0, b"\x05\x00\x03\x01\x02\x01STOP"), "STOP");
        assert_eq!(text(0x40, 0, b"\xFFx"), "");
    }

    #[test]
    fn a_reply_says_whose_it_is() {
        let mut message =
            message(0, b"STOP", vec![Tlv::ReceiptedMessageId("m1".parse().expect("an id"))]);
        assert_eq!(reply(&message).id, "m1");
        for (ton, source) in [(0, "31612345678"), (1, "+31612345678"), (2, "31612345678")] {
            message.source_addr_ton = Ton::from(ton);
            assert_eq!(reply(&message).source, source);
        }
    }
}
