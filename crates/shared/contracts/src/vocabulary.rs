//! The words of the vocabulary: they stand in tables, reports, events and exports.

use std::{fmt, str::FromStr};

use crate::jobs::v1::Channel;

/// The text is not a word of the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a known word")]
pub struct UnknownWord(pub String);

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord(text.to_owned())),
                }
            }
        }
    };
}

words!(
    /// Where a message stands.
    MessageState {
        Planned => "planned",
        Queued => "queued",
        Sending => "sending",
        Sent => "sent",
        Delivered => "delivered",
        Undelivered => "undelivered",
        Failed => "failed",
        Expired => "expired",
        Suppressed => "suppressed",
        Cancelled => "cancelled",
        Unknown => "unknown",
    }
);

impl MessageState {
    /// Settled ("terminal") is every state but planned, queued and sending.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Planned | Self::Queued | Self::Sending)
    }

    /// The message counts as paid for.
    pub const fn is_posted(self) -> bool {
        matches!(self, Self::Sent | Self::Delivered | Self::Undelivered | Self::Unknown)
    }
}

words!(
    /// Why a message is `queued`.
    WaitReason {
        Retrying => "retrying",
        Throttled => "throttled",
        Backlog => "backlog",
        InsufficientBalance => "insufficient_balance",
        BillingUnavailable => "billing_unavailable",
        QuietHours => "quiet_hours",
        Paused => "paused",
    }
);

words!(
    /// Why someone who matched is not planned; the first that applies counts.
    SkipReason {
        Excluded => "excluded",
        Blacklisted => "blacklisted",
        NoConsent => "no_consent",
        Unsubscribed => "unsubscribed",
        NoAddress => "no_address",
        InvalidAddress => "invalid_address",
        MarketNotAllowed => "market_not_allowed",
        DuplicateAddress => "duplicate_address",
        Capped => "capped",
    }
);

/// The channel's word: `sms` or `email`.
pub trait ChannelWord: Sized {
    fn word(self) -> &'static str;
    fn from_word(word: &str) -> Result<Self, UnknownWord>;
}

impl ChannelWord for Channel {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Sms => "sms",
            Self::Email => "email",
        }
    }

    fn from_word(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "sms" => Ok(Self::Sms),
            "email" => Ok(Self::Email),
            _ => Err(UnknownWord(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for state in MessageState::ALL {
            assert_eq!(state.word().parse(), Ok(*state));
        }
        for reason in SkipReason::ALL {
            assert_eq!(reason.word().parse(), Ok(*reason));
        }
        assert!("sideways".parse::<MessageState>().is_err());
    }

    #[test]
    fn exactly_three_states_are_open() {
        let open = MessageState::ALL.iter().filter(|state| !state.is_settled());
        assert_eq!(open.count(), 3);
    }
}
