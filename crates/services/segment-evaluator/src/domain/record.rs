//! A customer as the service keeps it.

use std::collections::BTreeMap;

use carillon_contracts::{audience::v1::Consent, ids::CustomerId, jobs::v1::Channel};

use super::dates::Birthday;

pub(crate) const CHANNELS: [Channel; 2] = [Channel::Sms, Channel::Email];

/// The personal data: sealed as one value wherever it is stored. The field numbers are those of
/// stored values and are never used for anything else.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Profile {
    #[prost(string, tag = "1")]
    pub first_name: String,
    #[prost(string, tag = "2")]
    pub last_name: String,
    #[prost(string, tag = "3")]
    pub display_name: String,
    /// E.164.
    #[prost(string, tag = "4")]
    pub phone: String,
    #[prost(string, tag = "5")]
    pub email: String,
    /// `YYYY-MM-DD` or `--MM-DD`.
    #[prost(string, tag = "6")]
    pub birthday: String,
    #[prost(string, repeated, tag = "7")]
    pub cards: Vec<String>,
    #[prost(btree_map = "string, string", tag = "8")]
    pub attributes: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "9")]
    pub wallet_passes: Vec<String>,
}

impl Profile {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Where a channel reaches the customer; empty: nowhere.
    pub(crate) fn address(&self, channel: Channel) -> &str {
        match channel {
            Channel::Sms => &self.phone,
            Channel::Email => &self.email,
            Channel::Unspecified => "",
        }
    }

    /// Month × 100 + day.
    pub(crate) fn birth_mmdd(&self) -> Option<i32> {
        Birthday::parse(&self.birthday).ok().map(|birthday| birthday.mmdd)
    }
}

/// Names are compared without regard to case and to the space between words.
pub(crate) fn name_for_lookup(words: &[&str]) -> String {
    let words = words.iter().flat_map(|word| word.split_whitespace());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// As a table keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(i32)]
pub(crate) enum Subscription {
    #[default]
    No = 0,
    Yes = 1,
    /// Waits for the second opt-in; until then as good as no.
    Pending = 2,
    /// No by the customer's own word, who may take it back.
    Left = 3,
}

impl Subscription {
    pub(crate) fn from_stored(value: i32) -> Self {
        match value {
            1 => Self::Yes,
            2 => Self::Pending,
            3 => Self::Left,
            _ => Self::No,
        }
    }

    /// After the customer, or somebody for them, asked for it or against it.
    pub(crate) fn asked(self, subscribed: bool, double_opt_in: bool) -> Self {
        match (subscribed, self) {
            (false, Self::Left) => Self::Left,
            (false, _) => Self::No,
            (true, Self::Yes) => Self::Yes,
            (true, _) if double_opt_in => Self::Pending,
            (true, _) => Self::Yes,
        }
    }

    /// After the customer's own word against it. Only what there was can be taken back later.
    pub(crate) fn left(self) -> Self {
        match self {
            Self::Yes | Self::Left => Self::Left,
            Self::No | Self::Pending => Self::No,
        }
    }
}

/// The word that the consent log and messages use.
pub(crate) fn consent_word(consent: Consent) -> &'static str {
    match consent {
        Consent::Unspecified => "",
        Consent::NotSpecified => "not_specified",
        Consent::Given => "given",
        Consent::Withheld => "withheld",
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub id: CustomerId,
    pub external_id: String,
    pub profile: Profile,
    pub language: String,
    pub time_zone: String,
    pub categories: Vec<String>,
    pub points: i64,
    pub favourite: bool,
    pub consent: Consent,
    pub subscribe_sms: Subscription,
    pub subscribe_email: Subscription,
    pub blacklisted: bool,
    /// `YYYY-MM-DD`; empty where unknown.
    pub joined_on: String,
    pub programmes: Vec<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub updated_at: i64,
    /// Rises with each change; 0 before the first is stored.
    pub version: i64,
}

impl Record {
    pub(crate) fn new(id: CustomerId, external_id: String) -> Self {
        Self {
            id,
            external_id,
            profile: Profile::default(),
            language: String::new(),
            time_zone: String::new(),
            categories: Vec::new(),
            points: 0,
            favourite: false,
            consent: Consent::Unspecified,
            subscribe_sms: Subscription::No,
            subscribe_email: Subscription::No,
            blacklisted: false,
            joined_on: String::new(),
            programmes: Vec::new(),
            created_at: 0,
            updated_at: 0,
            version: 0,
        }
    }

    pub(crate) fn is_new(&self) -> bool {
        self.version == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_waits_for_the_second_opt_in_and_ends_at_once() {
        assert_eq!(Subscription::No.asked(true, true), Subscription::Pending);
        assert_eq!(Subscription::No.asked(true, false), Subscription::Yes);
        assert_eq!(Subscription::Yes.asked(true, true), Subscription::Yes);
        assert_eq!(Subscription::Pending.asked(true, true), Subscription::Pending);
        assert_eq!(Subscription::Yes.asked(false, true), Subscription::No);
        assert_eq!(Subscription::Pending.asked(false, true), Subscription::No);
    }

    #[test]
    fn who_left_may_come_back_and_who_was_never_there_may_not() {
        assert_eq!(Subscription::Yes.left(), Subscription::Left);
        assert_eq!(Subscription::Left.left(), Subscription::Left);
        assert_eq!(Subscription::No.left(), Subscription::No);
        assert_eq!(Subscription::Pending.left(), Subscription::No);
        assert_eq!(Subscription::Left.asked(false, false), Subscription::Left);
        assert_eq!(Subscription::Left.asked(true, false), Subscription::Yes);
        assert_eq!(Subscription::Left.asked(true, true), Subscription::Pending);
        for stored in 0..=3 {
            assert_eq!(Subscription::from_stored(stored) as i32, stored);
        }
    }

    #[test]
    fn names_are_found_whatever_their_case_and_spacing() {
        assert_eq!(name_for_lookup(&["Ann ", " O'Hara"]), "ann o'hara");
        assert_eq!(name_for_lookup(&["  ANN  o'hara "]), "ann o'hara");
    }
}
