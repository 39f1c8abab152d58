//! Which provider an organisation's messages leave through, by its newest settings.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use carillon_contracts::{
    campaign::v1::{SmsGateway, sms_gateway::Kind},
    events::v1::{OrganisationChanged, SealedSecret},
    ids::OrganisationId,
};
use carillon_dispatch::{Account, Outcome, Throttle, sandbox::Sandbox};
use carillon_sealing::WrappingKey;
use carillon_service_kit::Stop;
use carillon_tenancy::{SMS_TOKEN, Tenancy, secret_of};

use super::{
    http::Described,
    provider::{Provider, Refuses},
    sandbox::SandboxGateway,
    smpp::{Shared, Smpp},
    twilio::Twilio,
    verdict::misconfigured,
};

/// Settings are read again after this.
const FRESH: Duration = Duration::from_secs(10);
/// For so long they may be used where they cannot be read: a setting holds within a minute.
const USABLE: Duration = Duration::from_secs(50);
/// An organisation that sent nothing for so long is forgotten, connections and all.
const FORGOTTEN: Duration = Duration::from_secs(600);
const TIDY: Duration = Duration::from_secs(1);

/// The way out of one organisation, as one version of its settings has it.
pub(crate) struct Route {
    /// None where nothing is known of the organisation yet.
    version: Option<u64>,
    pub(crate) account: Account,
    pub(crate) provider: Arc<dyn Provider>,
    made_from: MadeFrom,
    /// What Twilio's callbacks are signed with.
    pub(crate) twilio_token: Option<String>,
}

/// What a provider was made from: while it is the same its connections stay.
#[derive(Default, PartialEq)]
struct MadeFrom {
    settings: Option<SmsGateway>,
    sealed_token: Option<SealedSecret>,
}

#[derive(Clone)]
struct Known {
    read_at: Instant,
    route: Arc<Route>,
}

/// The settings could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable;

pub(crate) struct Routes {
    tenancy: Tenancy,
    key: WrappingKey,
    sandbox: Option<Arc<Sandbox>>,
    shared: Shared,
    known: Mutex<HashMap<OrganisationId, Known>>,
    /// One reads at a time, so that a batch of calls asks once.
    reading: tokio::sync::Mutex<()>,
}

impl Routes {
    pub(crate) fn new(
        tenancy: Tenancy,
        key: WrappingKey,
        sandbox: Option<Arc<Sandbox>>,
        shared: Shared,
    ) -> Self {
        let (known, reading) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { tenancy, key, sandbox, shared, known, reading }
    }

    pub(crate) async fn of(&self, organisation: OrganisationId) -> Result<Arc<Route>, Unreadable> {
        if let Some(route) = self.known(organisation, FRESH) {
            return Ok(route);
        }
        let _reading = self.reading.lock().await;
        if let Some(route) = self.known(organisation, FRESH) {
            return Ok(route);
        }
        let document = match self.tenancy.document(organisation).await {
            Ok(document) => document,
            Err(error) => {
                tracing::warn!(%organisation, %error, "the settings cannot be read");
                return self.known(organisation, USABLE).ok_or(Unreadable);
            }
        };
        let before = self.known(organisation, FORGOTTEN);
        let version = document.as_ref().map(|document| document.version);
        let route = match before {
            Some(route) if version.is_some() && route.version == version => route,
            before => Arc::new(self.build(organisation, document.as_ref(), before.as_deref())),
        };
        if version.is_some() {
            let known = Known { read_at: Instant::now(), route: Arc::clone(&route) };
            self.locked().insert(organisation, known);
        }
        Ok(route)
    }

    fn known(&self, organisation: OrganisationId, within: Duration) -> Option<Arc<Route>> {
        let known = self.locked();
        let known = known.get(&organisation)?;
        (known.read_at.elapsed() < within).then(|| Arc::clone(&known.route))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<OrganisationId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(
        &self,
        organisation: OrganisationId,
        document: Option<&OrganisationChanged>,
        before: Option<&Route>,
    ) -> Route {
        let Some(document) = document else {
            let unknown =
                Outcome::Transient { code: "organisation_unknown".into(), retry_after: None };
            return route(None, 0, Arc::new(Refuses(unknown)), None);
        };
        let found =
            document.organisation.as_ref().and_then(|organisation| organisation.sms.as_ref());
        let settings = found.cloned().unwrap_or_default();
        let (version, rate) = (Some(document.version), settings.rate);
        let paused = document.organisation.as_ref().is_some_and(|organisation| organisation.paused);
        let sealed_token = document.secrets.get(SMS_TOKEN).cloned();
        let same =
            MadeFrom { settings: Some(SmsGateway { rate: 0, ..settings.clone() }), sealed_token };
        let made = match before.filter(|before| before.made_from == same) {
            Some(before) => Ok((Arc::clone(&before.provider), before.twilio_token.clone())),
            None => self.provider(organisation, &settings, document),
        };
        let mut route = match made {
            Ok((provider, twilio_token)) => {
                Route { made_from: same, ..route(version, rate, provider, twilio_token) }
            }
            Err(why) => {
                tracing::warn!(%organisation, version, why, "the SMS gateway's settings are wrong");
                let refuses = Refuses(misconfigured("gateway_misconfigured"));
                route(version, rate, Arc::new(refuses), None)
            }
        };
        route.account.paused = paused;
        route
    }

    fn provider(
        &self,
        organisation: OrganisationId,
        settings: &SmsGateway,
        document: &OrganisationChanged,
    ) -> Result<(Arc<dyn Provider>, Option<String>), String> {
        let token = || {
            let token = secret_of(&self.key, organisation, SMS_TOKEN, document);
            let token = token.map_err(|error| format!("the token: {error}"))?;
            String::from_utf8(token.unwrap_or_default())
                .map_err(|_| "the token: it is not text".to_owned())
        };
        match &settings.kind {
            Some(Kind::Twilio(twilio)) => {
                let token = token()?;
                let provider = Twilio::new(twilio, &settings.from, &token, &self.shared.wire)?;
                Ok((Arc::new(provider), Some(token)))
            }
            Some(Kind::Http(http)) => {
                let provider = Described::new(http, &settings.from, &token()?, &self.shared.wire)?;
                Ok((Arc::new(provider), None))
            }
            Some(Kind::Smpp(smpp)) => {
                let (from, password) = (&settings.from, token()?);
                let provider = Smpp::new(smpp, from, &password, organisation, &self.shared)?;
                Ok((Arc::new(provider), None))
            }
            Some(Kind::Sandbox(_)) | None => Ok((self.sandbox_or_none(), None)),
        }
    }

    fn sandbox_or_none(&self) -> Arc<dyn Provider> {
        match &self.sandbox {
            Some(sandbox) => Arc::new(SandboxGateway(Arc::clone(sandbox))),
            None => Arc::new(Refuses(Outcome::Permanent {
                reason: "no_sms_gateway",
                code: String::new(),
            })),
        }
    }

    /// Closes what nobody uses, until stopping.
    pub(crate) async fn keep_tidy(
        self: Arc<Self>,
        stop: Stop,
    ) -> Result<(), std::convert::Infallible> {
        while stop.sleep(TIDY).await {
            let routes: Vec<Arc<Route>> = {
                let mut known = self.locked();
                known.retain(|_, known| known.read_at.elapsed() < FORGOTTEN);
                known.values().map(|known| Arc::clone(&known.route)).collect()
            };
            for route in routes {
                route.provider.tidy();
            }
        }
        Ok(())
    }
}

fn route(
    version: Option<u64>,
    rate: u32,
    provider: Arc<dyn Provider>,
    twilio_token: Option<String>,
) -> Route {
    let account = Account {
        name: provider.name().to_owned(),
        throttle: (rate > 0).then_some(Throttle::Rate { per_second: rate }),
        connections: provider.connections(),
        idempotent: provider.is_idempotent(),
        paused: false,
    };
    Route { version, account, provider, made_from: MadeFrom::default(), twilio_token }
}

#[cfg(test)]
mod tests {
    use carillon_contracts::campaign::v1::{HttpGateway, Organisation, SmppGateway, TwilioGateway};
    use carillon_service_kit::egress::Egress;
    use carillon_tenancy::seal_secret;
    use rustls::RootCertStore;

    use super::*;
    use crate::{
        config::{HttpConfig, SmppConfig},
        correlation::Correlation,
        gateway::Wire,
    };

    const ID: OrganisationId = OrganisationId::new(uuid::Uuid::from_u128(5));

    async fn account_of(kind: Kind, rate: u32) -> Account {
        let at = carillon_testkit::database::<crate::Migrator>().await;
        let key = WrappingKey::new([3; 32]);
        let wire =
            Wire::new(Egress::default(), RootCertStore::empty(), HttpConfig::default(), None);
        let shared = Shared {
            wire: Arc::new(wire),
            correlation: Correlation::new().0,
            replies: Arc::default(),
            config: SmppConfig::default(),
            stop: Stop::new(),
        };
        let tenancy = Tenancy::new(at.database.clone());
        let routes = Routes::new(tenancy.clone(), key.clone(), None, shared);
        let sms = SmsGateway { kind: Some(kind), from: "Carillon".into(), rate };
        let sealed = seal_secret(&key, ID, SMS_TOKEN, b"token").expect("sealed");
        let document = OrganisationChanged {
            version: 1,
            organisation: Some(Organisation { sms: Some(sms), ..Organisation::default() }),
            secrets: [(SMS_TOKEN.to_owned(), sealed)].into(),
            ..OrganisationChanged::default()
        };
        let tx = at.database.begin().await.expect("a transaction");
        tenancy.apply(&tx, ID, &document).await.expect("applied");
        tx.commit().await.expect("committed");
        let first = routes.of(ID).await.expect("readable");
        let again = routes.of(ID).await.expect("readable");
        assert!(Arc::ptr_eq(&first, &again), "connections outlive a look");
        first.account.clone()
    }

    #[tokio::test]
    async fn accounts_follow_from_the_settings() {
        let twilio = TwilioGateway { base_url: String::new(), account: "AC1".into() };
        let account = account_of(Kind::Twilio(twilio), 7).await;
        assert_eq!(account.name, "twilio/api.twilio.com:443/AC1");
        assert_eq!(account.throttle, Some(Throttle::Rate { per_second: 7 }));
        assert_eq!((account.connections, account.idempotent), (32, false));
        let plain = HttpGateway { url: "https://a.example/1".into(), ..HttpGateway::default() };
        let keyed = HttpGateway { idempotency_header: "X-Id".into(), ..plain.clone() };
        let plain = account_of(Kind::Http(plain), 0).await;
        assert_eq!((plain.throttle, plain.idempotent), (None, false));
        let keyed = account_of(Kind::Http(keyed), 0).await;
        assert!(keyed.idempotent);
        assert_ne!(plain.name, keyed.name, "ids known to one are unknown to the other");
        let smpp = SmppGateway {
            url: "smpps://smsc.example".into(),
            system_id: "me".into(),
            connections: 2,
            ..SmppGateway::default()
        };
        let account = account_of(Kind::Smpp(smpp), 0).await;
        assert_eq!(account.name, "smpp/smsc.example:3550/me");
        assert_eq!((account.connections, account.idempotent), (20, false));
        assert_eq!(account_of(Kind::Sandbox(true), 0).await.name, "none");
    }
}
