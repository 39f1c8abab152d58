use proptest::prelude::*;
use rusmpp::pdus::DeliverSm;

use super::*;

fn header(length: u32, id: u32) -> Vec<u8> {
    [length, id, 0, 7].iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn frames(bytes: &[u8]) -> Result<Vec<Frame>, Broken> {
    let mut buffer = BytesMut::from(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = cut(&mut buffer)? {
        frames.push(frame);
    }
    Ok(frames)
}

/// A deliver_sm without its optional parameters.
fn deliver(text: &[u8]) -> Vec<u8> {
    let mut message = DeliverSm::default();
    message.set_short_message(rusmpp::types::OctetString::from_slice(text).expect("short"));
    encode(CommandStatus::EsmeRok, 7, message.into()).to_vec()
}

fn with_parameters(text: &[u8], parameters: &[u8]) -> Vec<u8> {
    let mut bytes = deliver(text);
    bytes.extend_from_slice(parameters);
    let length = u32::try_from(bytes.len()).expect("short");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn text_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let frame = frames(bytes).ok()?.pop()?;
    match frame.pdu()? {
        Pdu::DeliverSm(message) => Some(message.short_message().to_vec()),
        _ => None,
    }
}

#[test]
fn pdus_are_cut_out_one_by_one() {
    let two = [header(16, 0x15), header(16, 0x8000_0015)].concat();
    let found = frames(&two).expect("whole");
    let ids: Vec<_> = found.iter().map(|frame| (frame.id, frame.sequence)).collect();
    assert_eq!(ids, [(CommandId::EnquireLink, 7), (CommandId::EnquireLinkResp, 7)]);
    assert!(frames(&two[..15]).expect("not yet").is_empty());
}

#[test]
fn a_length_that_cannot_be_ends_the_reading() {
    for length in [0, 15, 16 * 1024 + 1, u32::MAX] {
        assert!(matches!(frames(&header(length, 0x15)), Err(Broken::Length)), "{length}");
    }
    // Nothing is reserved for what was only announced.
    assert!(frames(&header(16 * 1024, 0x15)).expect("not yet").is_empty());
}

#[test]
fn a_message_survives_its_optional_parameters() {
    let text = b"id:1 stat:DELIVRD";
    assert_eq!(text_of(&deliver(text)).as_deref(), Some(&text[..]));
    // A receipted_message_id without the zero that must end it, and a length beyond the end.
    for parameters in [&b"\x00\x1E\x00\x02ab"[..], b"\x04\x27\x00\x09\x02", b"\x00"] {
        let whole = with_parameters(text, parameters);
        assert_eq!(text_of(&whole).as_deref(), Some(&text[..]), "{parameters:?}");
    }
}

#[test]
fn a_wrong_pdu_spoils_no_other() {
    let mut short = header(20, 5);
    short.extend_from_slice(b"\0\0\0\0");
    let both = [short, deliver(b"x")].concat();
    let mut found = frames(&both).expect("two").into_iter();
    assert!(found.next().expect("the first").pdu().is_none());
    assert!(found.next().expect("the second").pdu().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_that_comes_makes_it_panic(
        id in prop::sample::select(vec![
            0x8000_0000, 0x8000_0009, 0x8000_0004, 0x0005, 0x0103, 0x8000_0103, 0x0006, 0x0015, 0x0102,
            0x000B, 0x0004, 0x0021, 0x8000_0021, 0x0111, 0x8000_0112, 0x1234,
        ]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let length = u32::try_from(HEADER + body.len()).expect("short");
        let bytes = [header(length, id), body].concat();
        for frame in frames(&bytes).expect("a length that fits") {
            let _ = frame.pdu();
        }
    }

    #[test]
    fn a_message_that_was_tampered_with_does_not_either(
        at in 0_usize..80, byte: u8, parameters in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = with_parameters(b"id:1 stat:DELIVRD err:000", &parameters);
        let at = LENGTH + at % (bytes.len() - LENGTH);
        bytes[at] = byte;
        for frame in frames(&bytes).expect("a length that fits") {
            let _ = frame.pdu();
        }
    }
}
