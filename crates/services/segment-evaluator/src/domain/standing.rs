//! Whether a customer may be sent to on a channel, as far as the customer's own word and the
//! blacklist say.

use carillon_contracts::{
    audience::v1::Consent,
    events::v1::{Keyword, Suppression},
    ids::CustomerId,
    jobs::v1::Channel,
};

use super::record::{CHANNELS, Record, Subscription};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub customer: CustomerId,
    /// The customer's: it rises with each change of anything.
    pub version: i64,
    pub consent: Consent,
    pub blacklisted: bool,
    pub sms: Subscription,
    pub email: Subscription,
}

impl Standing {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            customer: record.id,
            version: record.version,
            consent: record.consent,
            blacklisted: record.blacklisted,
            sms: record.subscribe_sms,
            email: record.subscribe_email,
        }
    }

    pub(crate) fn subscription(&self, channel: Channel) -> Subscription {
        match channel {
            Channel::Email => self.email,
            _ => self.sms,
        }
    }

    pub(crate) fn subscription_mut(&mut self, channel: Channel) -> &mut Subscription {
        match channel {
            Channel::Email => &mut self.email,
            _ => &mut self.sms,
        }
    }

    /// Without regard to addresses, and whatever the organisation requires: nothing may be sent, not
    /// even what is queued.
    pub(crate) fn is_suppressed(&self, channel: Channel) -> bool {
        self.blacklisted
            || !consents(self.consent, false)
            || self.subscription(channel) != Subscription::Yes
    }

    /// After a keyword that the customer sent. What the customer takes back is the customer's own
    /// opt-out, and nothing that others said.
    pub(crate) fn replied(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::Stop => self.sms = self.sms.left(),
            Keyword::Start
                if self.sms == Subscription::Left
                    && !self.blacklisted
                    && self.consent != Consent::Withheld =>
            {
                self.sms = Subscription::Yes;
            }
            Keyword::Start | Keyword::Unspecified => {}
        }
    }

    /// The customer's part alone: whether consent is required dispatchers know by themselves, so
    /// that a change of the setting holds at once for everybody and for what is queued.
    pub(crate) fn suppression(&self, channel: Channel) -> Suppression {
        Suppression {
            customer_id: self.customer.to_wire(),
            channel: channel.into(),
            version: self.version.cast_unsigned(),
            suppressed: self.is_suppressed(channel),
            without_consent: !consents(self.consent, true),
        }
    }
}

/// Whether the consent lets messages be sent.
pub(crate) fn consents(consent: Consent, require_consent: bool) -> bool {
    match consent {
        Consent::Withheld => false,
        Consent::Given => true,
        Consent::NotSpecified | Consent::Unspecified => !require_consent,
    }
}

/// What dispatchers must hear of a change. Told whenever anything it depends on changed, and not
/// only when the answer did: what was planned before goes by what was so then.
pub(crate) fn suppressions(before: &Standing, after: &Standing) -> Vec<Suppression> {
    let changed = |channel: &Channel| {
        (before.blacklisted, before.consent, before.subscription(*channel))
            != (after.blacklisted, after.consent, after.subscription(*channel))
    };
    let channels = CHANNELS.into_iter().filter(changed);
    channels.map(|channel| after.suppression(channel)).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn subscribed() -> Standing {
        Standing {
            customer: CustomerId::new(Uuid::from_u128(1)),
            version: 4,
            consent: Consent::NotSpecified,
            blacklisted: false,
            sms: Subscription::Yes,
            email: Subscription::Yes,
        }
    }

    fn told(after: Standing) -> Vec<(Channel, bool)> {
        let told = suppressions(&subscribed(), &after);
        told.iter().map(|one| (one.channel(), one.suppressed)).collect()
    }

    #[test]
    fn an_unsubscription_is_told_of_its_channel_and_a_blacklisting_of_both() {
        let unsubscribed = Standing { email: Subscription::No, ..subscribed() };
        assert_eq!(told(unsubscribed), [(Channel::Email, true)]);
        let blacklisted = Standing { blacklisted: true, ..subscribed() };
        assert_eq!(told(blacklisted), [(Channel::Sms, true), (Channel::Email, true)]);
        assert_eq!(told(Standing { version: 5, ..subscribed() }), []);
    }

    #[test]
    fn consent_that_is_not_given_is_told_apart_from_consent_that_is_withheld() {
        let of = |consent| {
            let told = Standing { consent, ..subscribed() }.suppression(Channel::Sms);
            (told.suppressed, told.without_consent)
        };
        assert_eq!(of(Consent::Withheld), (true, true));
        assert_eq!(of(Consent::NotSpecified), (false, true));
        assert_eq!(of(Consent::Given), (false, false));
        let given = Standing { consent: Consent::Given, ..subscribed() };
        assert_eq!(told(given), [(Channel::Sms, false), (Channel::Email, false)]);
    }

    #[test]
    fn who_subscribes_again_stays_suppressed_while_on_the_blacklist() {
        let gone = Standing { blacklisted: true, sms: Subscription::No, ..subscribed() };
        let back = Standing { sms: Subscription::Yes, ..gone };
        assert!(suppressions(&gone, &back)[0].suppressed);
        let pending = Standing { sms: Subscription::Pending, ..subscribed() };
        assert!(pending.is_suppressed(Channel::Sms));
    }
    #[test]
    fn start_takes_back_a_stop_and_nothing_else() {
        let after = |mut standing: Standing, keyword| {
            standing.replied(keyword);
            standing.sms
        };
        let left = Standing { sms: Subscription::Left, ..subscribed() };
        assert_eq!(after(subscribed(), Keyword::Stop), Subscription::Left);
        assert_eq!(after(left, Keyword::Start), Subscription::Yes);
        for sms in [Subscription::No, Subscription::Pending, Subscription::Yes] {
            assert_eq!(after(Standing { sms, ..left }, Keyword::Start), sms);
        }
        let blacklisted = Standing { blacklisted: true, ..left };
        let withheld = Standing { consent: Consent::Withheld, ..left };
        for gone in [blacklisted, withheld] {
            assert_eq!(after(gone, Keyword::Start), Subscription::Left);
        }
    }
}
