//! A recipient as a claim sees it, before the money: what it costs, and whether anything may be sent
//! at all.

use carillon_contracts::vocabulary::{MessageState, SkipReason};

/// How a message ends, and why.
pub(crate) type End = (MessageState, &'static str);

const OPTED_OUT: End = (MessageState::Suppressed, "opted_out");
const NO_CONSENT: End = (MessageState::Suppressed, SkipReason::NoConsent.word());
const FOREIGN: End = (MessageState::Failed, SkipReason::MarketNotAllowed.word());

/// What the batch and the settings say of a recipient.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Addressee {
    pub parts: u32,
    /// What the parts cost.
    pub units: u32,
    /// As it was when the batch was planned.
    pub without_consent: bool,
    /// The address is in none of the organisation's markets.
    pub foreign: bool,
}

/// What was heard of a customer, since the batch was planned or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub suppressed: bool,
    pub without_consent: bool,
}

impl Addressee {
    /// What ends the message unsent, if anything does.
    pub(crate) fn bar(&self, heard: Option<&Heard>, require_consent: bool) -> Option<End> {
        let planned = Heard { suppressed: false, without_consent: self.without_consent };
        let Heard { suppressed, without_consent } = *heard.unwrap_or(&planned);
        if suppressed {
            Some(OPTED_OUT)
        } else if require_consent && without_consent {
            Some(NO_CONSENT)
        } else {
            self.foreign.then_some(FOREIGN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_of_a_customer_counts_before_what_was_planned() {
        let planned = |without_consent| Addressee { without_consent, ..Addressee::default() };
        let heard = |suppressed, without_consent| Some(Heard { suppressed, without_consent });
        for (addressee, heard, required, otherwise) in [
            (planned(false), None, None, None),
            (planned(true), None, Some(NO_CONSENT), None),
            (planned(true), heard(false, false), None, None),
            (planned(false), heard(false, true), Some(NO_CONSENT), None),
            (planned(false), heard(true, true), Some(OPTED_OUT), Some(OPTED_OUT)),
        ] {
            assert_eq!(addressee.bar(heard.as_ref(), true), required, "{addressee:?} {heard:?}");
            assert_eq!(addressee.bar(heard.as_ref(), false), otherwise, "{addressee:?} {heard:?}");
        }
    }

    #[test]
    fn an_address_outside_the_markets_fails_unless_its_customer_is_out_anyway() {
        let foreign = Addressee { foreign: true, without_consent: true, ..Addressee::default() };
        assert_eq!(foreign.bar(None, false), Some(FOREIGN));
        assert_eq!(foreign.bar(None, true), Some(NO_CONSENT));
    }
}
