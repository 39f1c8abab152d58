//! A place in the list of a run's messages; outside it is an opaque page token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use carillon_contracts::{jobs::v1::Channel, vocabulary::ChannelWord as _};

/// The entry that a page begins with. The planned come first, by channel and batch; the skipped
/// follow, by step, channel and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    Planned { channel: String, batch: i64, position: u32 },
    Skipped { step: i64, channel: String, reason: String, index: u32 },
}

impl Cursor {
    pub(crate) fn first() -> Self {
        Self::Planned { channel: String::new(), batch: 0, position: 0 }
    }

    pub(crate) fn first_skipped() -> Self {
        Self::Skipped { step: -1, channel: String::new(), reason: String::new(), index: 0 }
    }

    /// The token names its run, so that it can't be taken to another.
    pub(crate) fn token(&self, run: i64) -> String {
        let text = match self {
            Self::Planned { channel, batch, position } => {
                format!("{run}/planned/{channel}/{batch}/{position}")
            }
            Self::Skipped { step, channel, reason, index } => {
                format!("{run}/skipped/{step}/{channel}/{reason}/{index}")
            }
        };
        URL_SAFE_NO_PAD.encode(text)
    }

    pub(crate) fn parse(token: &str, run: i64) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let parts: Vec<&str> = text.split('/').collect();
        let channel = |word: &str| Channel::from_word(word).ok().map(|_| word.to_owned());
        if parts.first()?.parse::<i64>().ok()? != run {
            return None;
        }
        match parts[1..] {
            ["planned", word, batch, position] => Some(Self::Planned {
                channel: channel(word)?,
                batch: batch.parse().ok()?,
                position: position.parse().ok()?,
            }),
            ["skipped", step, word, reason, index] => Some(Self::Skipped {
                step: step.parse().ok()?,
                channel: channel(word)?,
                reason: reason.to_owned(),
                index: index.parse().ok()?,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_to_their_own_run_alone() {
        for cursor in [
            Cursor::Planned { channel: "sms".into(), batch: 12, position: 499 },
            Cursor::Skipped {
                step: 3,
                channel: "email".into(),
                reason: "no_address".into(),
                index: 7,
            },
        ] {
            let token = cursor.token(5);
            assert_eq!(Cursor::parse(&token, 5), Some(cursor));
            assert_eq!(Cursor::parse(&token, 6), None);
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "x", "NS9wbGFubmVk", "🎺"] {
            assert_eq!(Cursor::parse(text, 5), None, "{text}");
        }
    }
}
