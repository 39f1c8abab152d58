//! Who of those that matched gets a message on a channel, and why the others do not. The plan, the
//! forecast and the preview decide with the same rules.

use std::collections::{BTreeMap, HashSet};

use carillon_contracts::{
    audience::v1::Consent, campaign::v1::Organisation, ids::CustomerId, jobs::v1::Channel,
    vocabulary::SkipReason,
};
use carillon_numbering::Markets;

use super::{
    email, phone,
    record::{Profile, Subscription},
    standing::consents,
};

/// The keyed hash of an address.
pub(crate) type AddressHash = [u8; 32];

/// A customer who matched, as far as it can be read without opening the profile.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub id: CustomerId,
    pub blacklisted: bool,
    pub consent: Consent,
    pub language: String,
    pub points: i64,
    pub sms: Reach,
    pub email: Reach,
}

/// What is known of one channel of a candidate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    pub subscription: Subscription,
    /// `None`: there is no address.
    pub address: Option<AddressHash>,
    /// Another customer has the same address.
    pub shared: bool,
}

/// What the organisation's settings say of who may be sent to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    pub require_consent: bool,
    pub markets: Markets,
}

impl Policy {
    pub(crate) fn of(settings: &Organisation) -> Self {
        Self { require_consent: settings.require_consent, markets: Markets::of(&settings.markets) }
    }
}

/// A candidate with the opened profile; `None` where no channel needs it, or it does not open.
pub(crate) struct Person {
    pub candidate: Candidate,
    pub profile: Option<Profile>,
}

impl Candidate {
    pub(crate) fn reach(&self, channel: Channel) -> &Reach {
        match channel {
            Channel::Email => &self.email,
            _ => &self.sms,
        }
    }

    /// The first reason that the tables alone give.
    pub(crate) fn standing(&self, channel: Channel, require_consent: bool) -> Option<SkipReason> {
        let reach = self.reach(channel);
        if self.blacklisted {
            Some(SkipReason::Blacklisted)
        } else if !consents(self.consent, require_consent) {
            Some(SkipReason::NoConsent)
        } else if reach.subscription != Subscription::Yes {
            Some(SkipReason::Unsubscribed)
        } else if reach.address.is_none() {
            Some(SkipReason::NoAddress)
        } else {
            None
        }
    }
}

impl Person {
    /// The first reason that applies, but for `duplicate_address`, which depends on the others.
    pub(crate) fn skipped(&self, channel: Channel, policy: &Policy) -> Option<SkipReason> {
        self.candidate.standing(channel, policy.require_consent).or_else(|| {
            let address = self.profile.as_ref().map_or("", |profile| profile.address(channel));
            match channel {
                Channel::Email => {
                    email::parse(address).is_err().then_some(SkipReason::InvalidAddress)
                }
                _ if !phone::is_e164(address) => Some(SkipReason::InvalidAddress),
                _ => (!policy.markets.allow(address)).then_some(SkipReason::MarketNotAllowed),
            }
        })
    }
}

/// What was decided of some people on one channel; numbers are positions among them.
#[derive(Debug)]
pub(crate) struct Decided {
    pub channel: Channel,
    pub planned: Vec<usize>,
    pub skipped: BTreeMap<SkipReason, Vec<usize>>,
    /// Shared addresses that got their message here.
    pub claims: Vec<AddressHash>,
    /// The addresses of the others who got theirs.
    pub unshared: Vec<AddressHash>,
}

/// Decides in order: of those who share an address, the first gets the message. `claimed` holds the
/// shared addresses that got theirs, and grows.
pub(crate) fn decide(
    people: &[Person],
    channel: Channel,
    policy: &Policy,
    claimed: &mut HashSet<(Channel, AddressHash)>,
) -> Decided {
    let mut decided = Decided {
        channel,
        planned: Vec::with_capacity(people.len()),
        skipped: BTreeMap::new(),
        claims: Vec::new(),
        unshared: Vec::with_capacity(people.len()),
    };
    for (position, person) in people.iter().enumerate() {
        let reach = person.candidate.reach(channel);
        let mut reason = person.skipped(channel, policy);
        if let (None, true, Some(hash)) = (reason, reach.shared, reach.address) {
            if claimed.insert((channel, hash)) {
                decided.claims.push(hash);
            } else {
                reason = Some(SkipReason::DuplicateAddress);
            }
        }
        match reason {
            Some(reason) => decided.skipped.entry(reason).or_default().push(position),
            None => {
                decided.planned.push(position);
                decided.unshared.extend(reach.address.filter(|_| !reach.shared));
            }
        }
    }
    decided
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn ann() -> Person {
        let reach = |hash| Reach {
            subscription: Subscription::Yes,
            address: Some([hash; 32]),
            shared: false,
        };
        Person {
            candidate: Candidate {
                id: CustomerId::new(Uuid::from_u128(1)),
                blacklisted: false,
                consent: Consent::NotSpecified,
                language: String::new(),
                points: 0,
                sms: reach(1),
                email: reach(2),
            },
            profile: Some(Profile {
                phone: "+442079460001".into(),
                email: "ann@example.org".into(),
                ..Profile::default()
            }),
        }
    }

    #[test]
    fn the_first_reason_in_the_vocabularys_order_counts() {
        let mut ann = ann();
        let strict = Policy { require_consent: true, ..Policy::default() };
        assert_eq!(ann.skipped(Channel::Sms, &Policy::default()), None);
        assert_eq!(ann.skipped(Channel::Sms, &strict), Some(SkipReason::NoConsent));
        ann.profile = Some(Profile { phone: "123".into(), ..Profile::default() });
        assert_eq!(ann.skipped(Channel::Sms, &Policy::default()), Some(SkipReason::InvalidAddress));
        ann.candidate.sms.address = None;
        assert_eq!(ann.skipped(Channel::Sms, &Policy::default()), Some(SkipReason::NoAddress));
        ann.candidate.sms.subscription = Subscription::Pending;
        assert_eq!(ann.skipped(Channel::Sms, &Policy::default()), Some(SkipReason::Unsubscribed));
        ann.candidate.consent = Consent::Withheld;
        assert_eq!(ann.skipped(Channel::Sms, &Policy::default()), Some(SkipReason::NoConsent));
        ann.candidate.blacklisted = true;
        assert_eq!(ann.skipped(Channel::Sms, &Policy::default()), Some(SkipReason::Blacklisted));
    }

    #[test]
    fn outside_the_markets_nobody_gets_an_sms_and_everybody_an_email() {
        let ann = ann();
        let of = |markets: &[&str]| {
            let markets = markets.iter().map(ToString::to_string).collect();
            Policy::of(&Organisation { markets, ..Organisation::default() })
        };
        let skipped = ann.skipped(Channel::Sms, &of(&["NL"]));
        assert_eq!(skipped, Some(SkipReason::MarketNotAllowed));
        assert_eq!(ann.skipped(Channel::Sms, &of(&["GB", "NL"])), None);
        assert_eq!(ann.skipped(Channel::Email, &of(&["NL"])), None);
        let order = |reason| SkipReason::ALL.iter().position(|known| *known == reason);
        let market = order(SkipReason::MarketNotAllowed);
        assert!(order(SkipReason::InvalidAddress) < market);
        assert!(market < order(SkipReason::DuplicateAddress));
    }

    #[test]
    fn who_may_not_be_sent_to_does_not_take_the_message_of_who_shares_the_address() {
        let policy = Policy { markets: Markets::of(&["NL".into()]), ..Policy::default() };
        let mut shared = ann();
        shared.candidate.sms.shared = true;
        let mut claimed = HashSet::new();
        let decided = decide(&[shared], Channel::Sms, &policy, &mut claimed);
        assert!(decided.claims.is_empty() && claimed.is_empty());
    }

    #[test]
    fn of_those_who_share_an_address_the_first_who_may_receive_gets_the_message() {
        let shared = |blacklisted| {
            let mut person = ann();
            person.candidate.sms.shared = true;
            person.candidate.blacklisted = blacklisted;
            person
        };
        let people = [shared(true), shared(false), shared(false)];
        let mut claimed = HashSet::new();
        let decided = decide(&people, Channel::Sms, &Policy::default(), &mut claimed);
        assert_eq!(decided.planned, [1]);
        assert_eq!(decided.skipped[&SkipReason::DuplicateAddress], [2]);
        assert_eq!(decided.claims, [[1; 32]]);
        let later = decide(&people, Channel::Sms, &Policy::default(), &mut claimed);
        assert!(later.planned.is_empty() && later.claims.is_empty());
    }

    proptest! {
        #[test]
        fn everyone_is_planned_or_skipped_once(
            kinds in proptest::collection::vec((any::<bool>(), 1_i32..4, 0_i32..4, any::<bool>(), 0_u8..4), 0..40),
            require_consent: bool,
        ) {
            let policy = Policy { require_consent, ..Policy::default() };
            let people: Vec<Person> = kinds.iter().map(|(blacklisted, consent, subscription, shared, hash)| {
                let mut person = ann();
                person.candidate.blacklisted = *blacklisted;
                person.candidate.consent = Consent::try_from(*consent).expect("a consent");
                person.candidate.sms = Reach {
                    subscription: Subscription::from_stored(*subscription),
                    address: (*hash > 0).then_some([*hash; 32]),
                    shared: *shared,
                };
                person
            }).collect();
            let decided = decide(&people, Channel::Sms, &policy, &mut HashSet::new());
            let mut all: Vec<usize> = decided.skipped.values().flatten().copied().collect();
            all.extend(&decided.planned);
            all.sort_unstable();
            prop_assert_eq!(all, (0..people.len()).collect::<Vec<_>>());
        }
    }
}
