//! The ways out of one organisation, as one version of its settings has them.

use std::{sync::Arc, time::Instant};

use carillon_contracts::{
    campaign::v1::{SmsGateway, sms_gateway::Kind},
    events::v1::SealedSecret,
};
use carillon_dispatch::{Account, Outcome, Throttle};
use carillon_tenancy::{SMS_STANDBY_TOKEN, SMS_TOKEN};

use super::provider::{Provider, Refuses};
use crate::{
    domain::health::{Standing, choose},
    health::Watched,
    store::UsedGateway,
};

/// One gateway.
pub(super) struct Way {
    pub account: Account,
    pub made: Made,
    /// While it is the same its connections stay. None where nothing is known of the organisation.
    pub made_from: Option<MadeFrom>,
    /// Absent where nothing can be sent, however long one waits.
    pub watched: Option<Arc<Watched>>,
}

/// What settings make.
#[derive(Clone)]
pub(super) struct Made {
    pub provider: Arc<dyn Provider>,
    /// What Twilio's callbacks are signed with.
    pub twilio_token: Option<String>,
}

/// What a provider is made from.
#[derive(Clone, PartialEq)]
pub(super) struct MadeFrom {
    /// Without their rate, which is the account's matter.
    pub settings: SmsGateway,
    pub token: Option<SealedSecret>,
    /// What the token is called in settings.
    pub secret: &'static str,
}

/// A gateway that others have taken the place of. Nothing is sent through it, and what it still has
/// to say is heard.
pub(super) struct Former {
    pub made: Made,
    pub made_from: MadeFrom,
    pub used_at_ms: i64,
}

pub(crate) struct Route {
    /// None where nothing is known of the organisation yet.
    pub(super) version: Option<u64>,
    pub(super) built_at: Instant,
    pub(super) gateway: Way,
    pub(super) standby: Option<Way>,
    pub(super) former: Vec<Former>,
}

impl MadeFrom {
    /// None without a token.
    pub(super) fn used_at(&self, used_at_ms: i64) -> Option<UsedGateway> {
        let (settings, token) = (self.settings.clone(), self.token.clone()?);
        Some(UsedGateway { settings, token, secret: self.secret.to_owned(), used_at_ms })
    }

    pub(super) fn of_used(used: &UsedGateway) -> Self {
        let secrets = [SMS_TOKEN, SMS_STANDBY_TOKEN];
        let secret = secrets.into_iter().find(|known| *known == used.secret).unwrap_or(SMS_TOKEN);
        Self { settings: used.settings.clone(), token: Some(used.token.clone()), secret }
    }

    /// As settings call it.
    pub(super) const fn kind(&self) -> &'static str {
        match &self.settings.kind {
            Some(Kind::Twilio(_)) => "twilio",
            Some(Kind::Http(_)) => "http",
            Some(Kind::Smpp(_)) => "smpp",
            Some(Kind::Sandbox(_)) | None => "sandbox",
        }
    }

    /// Whether what it has to say needs what it was made from: elsewhere a callback's own URL is
    /// proof enough.
    pub(super) const fn is_heard_by_token(&self) -> bool {
        matches!(self.settings.kind, Some(Kind::Twilio(_) | Kind::Smpp(_)))
    }
}

impl Way {
    pub(super) fn new(made: Made, made_from: Option<MadeFrom>, rate: u32) -> Self {
        let provider = &made.provider;
        let account = Account {
            throttle: (rate > 0).then_some(Throttle::Rate { per_second: rate }),
            connections: provider.connections(),
            idempotent: provider.is_idempotent(),
            ..Account::unlimited(provider.name())
        };
        Self { account, made, made_from, watched: None }
    }

    /// Says why nothing is sent.
    pub(super) fn refusing(
        name: &'static str,
        outcome: Outcome,
        made_from: Option<MadeFrom>,
        rate: u32,
    ) -> Self {
        let provider = Arc::new(Refuses { name, outcome });
        Self::new(Made { provider, twilio_token: None }, made_from, rate)
    }

    fn standing(&self, now_ms: i64) -> Standing {
        self.watched.as_ref().map_or(Standing::Up, |watched| watched.standing(now_ms))
    }
}

impl Route {
    /// What messages leave by now, and how many at once.
    pub(crate) fn account(&self, now_ms: i64) -> Account {
        let (way, at_once) = self.chosen(now_ms);
        Account { at_once, ..way.account.clone() }
    }

    pub(super) fn is_chosen(&self, way: &Way, now_ms: i64) -> bool {
        self.chosen(now_ms).0.account.name == way.account.name
    }

    fn chosen(&self, now_ms: i64) -> (&Way, usize) {
        let standing = self.standby.as_ref().map(|standby| standby.standing(now_ms));
        let choice = choose(self.gateway.standing(now_ms), standing);
        let standby = self.standby.as_ref().filter(|_| choice.standby);
        (standby.unwrap_or(&self.gateway), if choice.sparingly { 1 } else { usize::MAX })
    }

    fn ways(&self) -> impl Iterator<Item = &Way> {
        std::iter::once(&self.gateway).chain(&self.standby)
    }

    pub(super) fn way(&self, account: &str) -> Option<&Way> {
        self.ways().find(|way| way.account.name == account)
    }

    pub(super) fn made(&self, from: &MadeFrom) -> Option<Made> {
        let ways = self.ways().map(|way| (way.made_from.as_ref(), &way.made));
        let former = self.former.iter().map(|former| (Some(&former.made_from), &former.made));
        ways.chain(former).find(|(known, _)| *known == Some(from)).map(|(_, made)| made.clone())
    }

    /// Whoever signs with one of these is a provider of the organisation's, or was one lately.
    pub(crate) fn twilio_tokens(&self) -> impl Iterator<Item = &str> {
        let ways = self.ways().map(|way| &way.made);
        let all = ways.chain(self.former.iter().map(|former| &former.made));
        all.filter_map(|made| made.twilio_token.as_deref())
    }

    /// Keeps open what receipts come through, also from gateways used since then.
    pub(crate) fn hold(&self, since_ms: i64) {
        for way in self.ways() {
            way.made.provider.hold();
        }
        for former in self.former.iter().filter(|former| former.used_at_ms >= since_ms) {
            former.made.provider.hold();
        }
    }

    pub(super) fn tidy(&self) {
        for made in self.ways().map(|way| &way.made) {
            made.provider.tidy();
        }
        for former in &self.former {
            former.made.provider.tidy();
        }
    }
}
