//! What a command_status says (SMPP 3.4, 5.1.3). A response with an error is a refusal: the SMSC
//! has not taken what it answers, and gives no id for it.

use carillon_dispatch::Outcome;

use crate::gateway::verdict::misconfigured;

pub(super) const OK: u32 = 0;
pub(super) const UNKNOWN: u32 = 0xFF;

/// As it is kept and shown.
pub(super) fn code_of(status: u32) -> String {
    format!("{status:#010x}")
}

/// It was too fast, or there is no room: whatever comes next should wait.
pub(super) fn is_throttled(status: u32) -> bool {
    matches!(status, 0x58 | 0x14)
}

fn passing(status: u32) -> Outcome {
    Outcome::Transient { code: code_of(status), retry_after: None }
}

/// Of a submit_sm that was not accepted.
pub(super) fn refused(status: u32) -> Outcome {
    let code = code_of(status);
    let reason = match status {
        // Throttled, or its queue is full.
        0x58 | 0x14 => return passing(status),
        // A system error, or a temporary one of the application behind it: in passing by their
        // names, and not taken, for there is no id. A session that is no longer bound is bound again.
        0x08 | 0x64 | 0x04 => return passing(status),
        // The sender's address, its type and plan; the destination's type and plan, which never
        // change; service type and system type; who may not send at all.
        0x0A | 0x48 | 0x49 | 0x50 | 0x51 | 0x15 | 0x53 | 0x0E | 0x0F | 0x100 | 0x101 | 0x103 => {
            return misconfigured(&code);
        }
        0x0B => "number_invalid",
        0x01 => "text_too_long",
        _ => "refused",
    };
    Outcome::Permanent { reason, code }
}

/// Of a bind that was not accepted.
pub(super) fn unbound(status: u32) -> Outcome {
    match status {
        // The password, or the system id.
        0x0E | 0x0F => misconfigured("authentication_refused"),
        // Bound already, refused for no given reason, or busy: another time it may be accepted.
        0x05 | 0x0D | 0x08 | 0x14 | 0x58 | 0x64 => passing(status),
        _ => misconfigured(&code_of(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        for status in [0x58, 0x14, 0x08, 0x64, 0x04] {
            let Outcome::Transient { code, retry_after: None } = refused(status) else {
                panic!("{status:#x}")
            };
            assert_eq!(code, code_of(status));
        }
        let permanent = |reason, code: &str| Outcome::Permanent { reason, code: code.to_owned() };
        assert_eq!(refused(0x0B), permanent("number_invalid", "0x0000000b"));
        assert_eq!(refused(0x01), permanent("text_too_long", "0x00000001"));
        assert_eq!(refused(0x45), permanent("refused", "0x00000045"));
        assert_eq!(refused(0x0400), permanent("refused", "0x00000400"));
        assert_eq!(refused(0x0A), misconfigured("0x0000000a"));
    }

    #[test]
    fn a_wrong_password_waits_for_a_right_one() {
        assert_eq!(unbound(0x0E), misconfigured("authentication_refused"));
        assert_eq!(unbound(0x0F), misconfigured("authentication_refused"));
        assert_eq!(unbound(0x53), misconfigured("0x00000053"));
        assert_eq!(unbound(0x05), passing(0x05));
    }
}
