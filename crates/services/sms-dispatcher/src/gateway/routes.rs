//! Which providers an organisation's messages may leave through, by its newest settings.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use carillon_contracts::{
    campaign::v1::{Organisation, SmsGateway, sms_gateway::Kind},
    events::v1::OrganisationChanged,
    ids::OrganisationId,
};
use carillon_dispatch::{Account, Outcome, sandbox::Sandbox};
use carillon_numbering::Markets;
use carillon_sealing::WrappingKey;
use carillon_service_kit::{Database, Stop};
use carillon_tenancy::{SMS_STANDBY_TOKEN, SMS_TOKEN, Tenancy, open_secret};
use sea_orm::DbErr;

use super::{
    http::Described,
    provider::{Provider, Refuses},
    route::{Former, Made, MadeFrom, Route, Way},
    sandbox::{Nowhere, SandboxGateway},
    smpp::{Shared, Smpp},
    twilio::Twilio,
    verdict::misconfigured,
};
use crate::{
    health::HealthWatch,
    store::{self, UsedGateway},
};

/// Settings are read again after this, by every replica: whoever changed them is told that they are
/// in effect when the database has them.
const FRESH: Duration = Duration::from_secs(1);
/// For so long they may be used where they cannot be read: a setting holds within a minute.
const USABLE: Duration = Duration::from_secs(50);
/// An organisation that sent nothing for so long is forgotten, connections and all.
const FORGOTTEN: Duration = Duration::from_secs(600);
const TIDY: Duration = Duration::from_secs(1);
/// Then a route is built again, so that what it uses is noted as used lately.
const BUILT_AGAIN: Duration = Duration::from_secs(3_600);
/// What former gateways tell is heard for so long.
const HEARD_MS: i64 = 7 * 86_400_000;
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// The account of an organisation without a gateway, where there is no sandbox.
const NO_GATEWAY: &str = "none";

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
    database: Database,
    key: WrappingKey,
    sandbox: Option<Arc<Sandbox>>,
    shared: Shared,
    health: HealthWatch,
    known: Mutex<HashMap<OrganisationId, Known>>,
    /// One reads at a time, so that a batch of calls asks once.
    reading: tokio::sync::Mutex<()>,
}

impl Routes {
    pub(crate) fn new(
        database: Database,
        key: WrappingKey,
        sandbox: Option<Arc<Sandbox>>,
        shared: Shared,
        health: HealthWatch,
    ) -> Self {
        let (known, reading) = (Mutex::default(), tokio::sync::Mutex::default());
        let tenancy = Tenancy::new(database.clone());
        Self { tenancy, database, key, sandbox, shared, health, known, reading }
    }

    pub(crate) async fn of(&self, organisation: OrganisationId) -> Result<Arc<Route>, Unreadable> {
        if let Some(route) = self.known(organisation, FRESH) {
            return Ok(route);
        }
        let _reading = self.reading.lock().await;
        if let Some(route) = self.known(organisation, FRESH) {
            return Ok(route);
        }
        let route = match self.read(organisation).await {
            Ok(route) => route,
            Err(error) => {
                tracing::warn!(%organisation, %error, "the settings cannot be read");
                return self.known(organisation, USABLE).ok_or(Unreadable);
            }
        };
        if route.version.is_some() {
            let known = Known { read_at: Instant::now(), route: Arc::clone(&route) };
            self.locked().insert(organisation, known);
        }
        Ok(route)
    }

    async fn read(&self, organisation: OrganisationId) -> Result<Arc<Route>, DbErr> {
        let document = self.tenancy.document(organisation).await?;
        let before = self.known(organisation, FORGOTTEN);
        let version = document.as_ref().map(|document| document.version);
        let fresh = |route: &Route| {
            version.is_some() && route.version == version && route.built_at.elapsed() < BUILT_AGAIN
        };
        Ok(match before {
            Some(route) if fresh(&route) => route,
            before => {
                Arc::new(self.build(organisation, document.as_ref(), before.as_deref()).await?)
            }
        })
    }

    fn known(&self, organisation: OrganisationId, within: Duration) -> Option<Arc<Route>> {
        let known = self.locked();
        let known = known.get(&organisation)?;
        (known.read_at.elapsed() < within).then(|| Arc::clone(&known.route))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<OrganisationId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn build(
        &self,
        organisation: OrganisationId,
        document: Option<&OrganisationChanged>,
        before: Option<&Route>,
    ) -> Result<Route, DbErr> {
        let built_at = Instant::now();
        let Some(document) = document else {
            let unknown =
                Outcome::Transient { code: "organisation_unknown".into(), retry_after: None };
            let gateway = Way::refusing("none", unknown, None, 0);
            let (standby, former) = (None, Vec::new());
            return Ok(Route { version: None, built_at, gateway, standby, former });
        };
        let Organisation { sms, sms_standby, paused, require_consent, markets, .. } =
            document.organisation.clone().unwrap_or_default();
        let way = |settings, secret| self.way(organisation, settings, secret, document, before);
        let mut gateway = way(sms.unwrap_or_default(), SMS_TOKEN).unwrap_or_else(|way| *way);
        let standby = sms_standby.and_then(|sms| way(sms, SMS_STANDBY_TOKEN).ok());
        let mut standby = standby.filter(|way| way.account.name != gateway.account.name);
        let markets = Markets::of(&markets);
        for way in std::iter::once(&mut gateway).chain(&mut standby) {
            let account = way.account.clone();
            way.account = Account { paused, require_consent, markets: markets.clone(), ..account };
        }
        let names = [&gateway, standby.as_ref().unwrap_or(&gateway)].map(|way| &*way.account.name);
        self.health.keep_only(organisation, names).await?;
        let current = [Some(&gateway), standby.as_ref()];
        let former = self.former(organisation, current, before).await?;
        Ok(Route { version: Some(document.version), built_at, gateway, standby, former })
    }

    /// An error is one that says that its settings are wrong.
    fn way(
        &self,
        organisation: OrganisationId,
        settings: SmsGateway,
        secret: &'static str,
        document: &OrganisationChanged,
        before: Option<&Route>,
    ) -> Result<Way, Box<Way>> {
        let (version, rate) = (document.version, settings.rate);
        let settings = SmsGateway { rate: 0, ..settings };
        let token = document.secrets.get(secret).cloned();
        let from = MadeFrom { settings, token, secret };
        let watched = |way: Way, kind| {
            let watched = Some(self.health.watched(organisation, &way.account.name, kind));
            Way { watched, ..way }
        };
        let (kind, known) = (from.kind(), before.and_then(|before| before.made(&from)));
        match known.map_or_else(|| self.make(organisation, &from), Ok) {
            Ok(made) if made.provider.name() == NO_GATEWAY => Ok(Way::new(made, Some(from), rate)),
            Ok(made) => Ok(watched(Way::new(made, Some(from), rate), kind)),
            Err(why) => {
                tracing::warn!(%organisation, version, secret, why, "the SMS gateway's settings are wrong");
                let refused = misconfigured("gateway_misconfigured");
                Err(Box::new(watched(Way::refusing(kind, refused, None, rate), kind)))
            }
        }
    }

    fn make(&self, organisation: OrganisationId, from: &MadeFrom) -> Result<Made, String> {
        let MadeFrom { settings, token, secret } = from;
        let token = || {
            let token = token.as_ref();
            let token = token.map(|token| open_secret(&self.key, organisation, secret, token));
            let token = token.transpose().map_err(|error| format!("the token: {error}"))?;
            String::from_utf8(token.unwrap_or_default())
                .map_err(|_| "the token: it is not text".to_owned())
        };
        let (from, shared) = (&settings.from, &self.shared);
        let mut twilio_token = None;
        let provider: Arc<dyn Provider> = match &settings.kind {
            Some(Kind::Twilio(twilio)) => {
                let token = twilio_token.insert(token()?);
                Arc::new(Twilio::new(twilio, from, token, &shared.wire)?)
            }
            Some(Kind::Http(http)) => {
                Arc::new(Described::new(http, from, &token()?, &shared.wire)?)
            }
            Some(Kind::Smpp(smpp)) => {
                Arc::new(Smpp::new(smpp, from, &token()?, organisation, shared)?)
            }
            Some(Kind::Sandbox(_)) | None => self.sandbox_or_none(),
        };
        Ok(Made { provider, twilio_token })
    }

    /// Where messages of a test key go: to the sandbox, or nowhere at all.
    pub(crate) fn nowhere(&self) -> Arc<dyn Provider> {
        match &self.sandbox {
            Some(sandbox) => Arc::new(SandboxGateway(Arc::clone(sandbox))),
            None => Arc::new(Nowhere),
        }
    }

    fn sandbox_or_none(&self) -> Arc<dyn Provider> {
        match &self.sandbox {
            Some(sandbox) => Arc::new(SandboxGateway(Arc::clone(sandbox))),
            None => {
                let outcome = Outcome::Permanent { reason: "no_sms_gateway", code: String::new() };
                Arc::new(Refuses { name: NO_GATEWAY, outcome })
            }
        }
    }

    /// Notes what is used now, and answers what was used before. An SMSC's account is one, whatever
    /// its password is now: what it has to say comes through the newest session.
    async fn former(
        &self,
        organisation: OrganisationId,
        current: [Option<&Way>; 2],
        before: Option<&Route>,
    ) -> Result<Vec<Former>, DbErr> {
        let (database, now_ms) = (&self.database, self.health.now_ms());
        let made_from = |way: &&Way| way.made_from.clone();
        let current_from: Vec<MadeFrom> = current.iter().flatten().filter_map(made_from).collect();
        let mut names: Vec<String> =
            current.iter().flatten().map(|way| way.account.name.clone()).collect();
        let used = current_from.iter().filter(|from| from.is_heard_by_token());
        let used: Vec<UsedGateway> = used.filter_map(|from| from.used_at(now_ms)).collect();
        if !used.is_empty() {
            store::note_used_gateways(database, organisation, &used).await?;
        }
        let mut former = Vec::new();
        for one in store::used_gateways(database, organisation, now_ms - HEARD_MS).await? {
            let made_from = MadeFrom::of_used(&one);
            if current_from.contains(&made_from) {
                continue;
            }
            let known = before.and_then(|before| before.made(&made_from));
            let made = match known.map_or_else(|| self.make(organisation, &made_from), Ok) {
                Ok(made) => made,
                Err(why) => {
                    tracing::warn!(%organisation, why, "a former SMS gateway is not heard");
                    continue;
                }
            };
            let name = made.provider.name();
            if made.twilio_token.is_none() {
                if names.iter().any(|known| known == name) {
                    continue;
                }
                names.push(name.to_owned());
            }
            former.push(Former { made, made_from, used_at_ms: one.used_at_ms });
        }
        Ok(former)
    }

    /// Forgets gateways that are heard no more, until stopping.
    pub(crate) async fn forget(self: Arc<Self>, stop: Stop) -> Result<(), DbErr> {
        while stop.sleep(FORGET_EVERY).await {
            let before_ms = self.health.now_ms() - HEARD_MS;
            store::forget_gateways_of_all_organisations(&self.database, before_ms).await?;
        }
        Ok(())
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
                route.tidy();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use carillon_contracts::campaign::v1::{HttpGateway, SmppGateway, TwilioGateway};
    use carillon_dispatch::Throttle;
    use carillon_service_kit::{Clock, egress::Egress};
    use carillon_tenancy::seal_secret;
    use rustls::RootCertStore;

    use super::*;
    use crate::{
        config::{HttpConfig, SmppConfig},
        correlation::Correlation,
        gateway::Wire,
    };

    const ID: OrganisationId = OrganisationId::new(uuid::Uuid::from_u128(5));

    async fn routes(database: &Database) -> Routes {
        let wire =
            Wire::new(Egress::default(), RootCertStore::empty(), HttpConfig::default(), None);
        let shared = Shared {
            wire: Arc::new(wire),
            correlation: Correlation::new().0,
            replies: Arc::default(),
            config: SmppConfig::default(),
            stop: Stop::new(),
        };
        let health = HealthWatch::start(database.clone(), Clock::system()).await;
        Routes::new(database.clone(), key(), None, shared, health.expect("readable"))
    }

    fn key() -> WrappingKey {
        WrappingKey::new([3; 32])
    }

    async fn apply(database: &Database, version: u64, sms: &SmsGateway, token: &str) {
        let sealed = seal_secret(&key(), ID, SMS_TOKEN, token.as_bytes()).expect("sealed");
        let sms = Some(sms.clone());
        let document = OrganisationChanged {
            version,
            organisation: Some(Organisation { sms, ..Organisation::default() }),
            secrets: [(SMS_TOKEN.to_owned(), sealed)].into(),
            ..OrganisationChanged::default()
        };
        let tx = database.begin().await.expect("a transaction");
        Tenancy::new(database.clone()).apply(&tx, ID, &document).await.expect("applied");
        tx.commit().await.expect("committed");
    }

    async fn account_of(kind: Kind, rate: u32) -> Account {
        let at = carillon_testkit::database::<crate::Migrator>().await;
        let routes = routes(&at.database).await;
        let sms = SmsGateway { kind: Some(kind), from: "Carillon".into(), rate };
        apply(&at.database, 1, &sms, "token").await;
        let first = routes.of(ID).await.expect("readable");
        let again = routes.of(ID).await.expect("readable");
        assert!(Arc::ptr_eq(&first, &again), "connections outlive a look");
        first.account(0)
    }

    #[tokio::test]
    async fn a_process_that_starts_later_knows_the_tokens_of_former_gateways() {
        let at = carillon_testkit::database::<crate::Migrator>().await;
        let twilio = TwilioGateway { base_url: String::new(), account: "AC1".into() };
        let twilio = SmsGateway { kind: Some(Kind::Twilio(twilio)), ..SmsGateway::default() };
        let twilio = SmsGateway { from: "Carillon".into(), ..twilio };
        let tokens = async |routes: &Routes| {
            let route = routes.of(ID).await.expect("readable");
            route.twilio_tokens().map(str::to_owned).collect::<Vec<_>>()
        };
        for (version, token) in [(1, "old"), (2, "new")] {
            apply(&at.database, version, &twilio, token).await;
            assert_eq!(tokens(&routes(&at.database).await).await[0], token);
        }
        let later = routes(&at.database).await;
        assert_eq!(tokens(&later).await, ["new", "old"]);
        let without = SmsGateway { kind: Some(Kind::Sandbox(true)), ..SmsGateway::default() };
        apply(&at.database, 3, &without, "").await;
        let later = routes(&at.database).await;
        assert_eq!(tokens(&later).await.len(), 2);
        let before_ms = later.health.now_ms() + 1;
        let forgotten = store::forget_gateways_of_all_organisations(&at.database, before_ms).await;
        forgotten.expect("forgotten");
        assert!(tokens(&routes(&at.database).await).await.is_empty());
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
