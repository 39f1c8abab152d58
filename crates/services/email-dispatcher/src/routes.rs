//! Which way an organisation's e-mails leave, as its settings have it now.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use carillon_contracts::{
    campaign::v1::{Organisation, SmtpServer, SmtpThrottle},
    events::v1::{OrganisationChanged, SealedSecret},
    ids::OrganisationId,
};
use carillon_dispatch::{Account, Throttle};
use carillon_sealing::WrappingKey;
use carillon_service_kit::Stop;
use carillon_tenancy::{SMTP_PASSWORD, Tenancy, open_secret};
use sha2::{Digest as _, Sha256};

use crate::{
    message::Sender,
    smtp::{Pool, Reach, Target},
};

/// Settings are read again after this, by every replica: whoever changed them is told that they are
/// in effect when the database has them.
const FRESH: Duration = Duration::from_secs(1);
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// An organisation that sends nothing for so long is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// A server may close a connection that lies idle for longer (RFC 5321, 4.5.3.2.7).
const LONGEST_IDLE: Duration = Duration::from_secs(300);
const CONNECTIONS: u32 = 16;
const MOST_CONNECTIONS: u32 = 64;

/// Who sends where there are no settings.
const SANDBOX_SENDER: &str = "no-reply@carillon.example";

pub(crate) enum Way {
    Smtp(Box<Pool>),
    /// No server is set.
    None,
    /// Settings that no message can leave by; the word says why.
    Broken(&'static str),
}

pub(crate) struct Route {
    settings: Settings,
    pub account: Account,
    pub sender: Sender,
    pub way: Way,
}

/// What a route was made from. One made from the same is the same, with all its connections.
#[derive(PartialEq)]
struct Settings {
    name: String,
    smtp: Option<SmtpServer>,
    password: Option<SealedSecret>,
    paused: bool,
    require_consent: bool,
}

impl Settings {
    fn of(document: OrganisationChanged) -> Self {
        let OrganisationChanged { organisation, mut secrets, .. } = document;
        let organisation = organisation.unwrap_or_default();
        let password = secrets.remove(SMTP_PASSWORD);
        let Organisation { name, smtp, paused, require_consent, .. } = organisation;
        Self { name, smtp, password, paused, require_consent }
    }
}

struct Known {
    read: Instant,
    used: Instant,
    route: Arc<Route>,
}

/// The routes of the organisations that send.
pub(crate) struct Routes {
    tenancy: Tenancy,
    key: WrappingKey,
    reach: Arc<Reach>,
    known: Mutex<HashMap<OrganisationId, Known>>,
}

impl Routes {
    pub(crate) fn new(tenancy: Tenancy, key: WrappingKey, reach: Arc<Reach>) -> Self {
        Self { tenancy, key, reach, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<OrganisationId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` where nothing is known of the organisation, or the database does not answer.
    pub(crate) async fn of(&self, organisation: OrganisationId) -> Option<Arc<Route>> {
        let before = {
            let mut known = self.known();
            let before = known.get_mut(&organisation);
            before.map(|known| {
                let is_fresh = known.read.elapsed() < FRESH;
                known.used = Instant::now();
                // Whoever comes first reads again; the others go on with what they have.
                known.read = if is_fresh { known.read } else { Instant::now() };
                (is_fresh, Arc::clone(&known.route))
            })
        };
        if let Some((true, route)) = before {
            return Some(route);
        }
        match self.tenancy.document(organisation).await {
            Ok(Some(document)) => Some(self.keep(organisation, document)),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%organisation, %error, "an organisation's settings are not read");
                before.map(|(_, route)| route)
            }
        }
    }

    fn keep(&self, organisation: OrganisationId, document: OrganisationChanged) -> Arc<Route> {
        let settings = Settings::of(document);
        let now = Instant::now();
        let mut known = self.known();
        if let Some(known) = known.get_mut(&organisation)
            && known.route.settings == settings
        {
            known.read = now;
            return Arc::clone(&known.route);
        }
        let route = Arc::new(self.route(organisation, settings));
        let new = Known { read: now, used: now, route: Arc::clone(&route) };
        if let Some(old) = known.insert(organisation, new) {
            old.route.close();
        }
        route
    }

    fn route(&self, organisation: OrganisationId, settings: Settings) -> Route {
        let nobody = || Sender::new(&settings.name, SANDBOX_SENDER, "");
        let nobody = nobody().expect("the sandbox's own address is one");
        let Settings { paused, require_consent, .. } = settings;
        let of_settings = |account| Account { paused, require_consent, ..account };
        let Some(smtp) = &settings.smtp else {
            let account = of_settings(Account::unlimited("sandbox"));
            return Route { account, sender: nobody, way: Way::None, settings };
        };
        let account = of_settings(account(smtp));
        let name = if smtp.from_name.is_empty() { &settings.name } else { &smtp.from_name };
        let Some(sender) = Sender::new(name, &smtp.from, &smtp.reply_to) else {
            return Route { account, sender: nobody, way: Way::Broken("sender_refused"), settings };
        };
        let sealed = settings.password.as_ref();
        let opened =
            sealed.map(|sealed| open_secret(&self.key, organisation, SMTP_PASSWORD, sealed));
        let way = match opened.transpose() {
            Ok(password) => {
                let target = Target::of(smtp, password);
                let mails = smtp.throttle.as_ref().map_or(0, |throttle| throttle.mails);
                let pool = Pool::new(target, Arc::clone(&self.reach), account.connections, mails);
                Way::Smtp(Box::new(match account.throttle {
                    Some(Throttle::Series { gap, .. }) => pool.idle_for(idle_between(gap)),
                    _ => pool,
                }))
            }
            Err(error) => {
                tracing::error!(%organisation, %error, "the SMTP password does not open");
                Way::Broken("password_unreadable")
            }
        };
        Route { account, sender, way, settings }
    }

    /// Closes idle connections, and forgets who sends no more, until stopping.
    pub(crate) async fn keep_tidy(self: Arc<Self>, stop: Stop) -> Result<(), Infallible> {
        while stop.sleep(TIDY_EVERY).await {
            self.tidy();
        }
        let routes: Vec<_> = self.known().values().map(|known| Arc::clone(&known.route)).collect();
        routes.iter().for_each(|route| route.close());
        Ok(())
    }

    fn tidy(&self) {
        let mut known = self.known();
        known.retain(|_, known| {
            let is_used = known.used.elapsed() < FORGET;
            if !is_used {
                known.route.close();
            } else if let Way::Smtp(pool) = &known.route.way {
                pool.reap();
            }
            is_used
        });
    }
}

impl Route {
    fn close(&self) {
        if let Way::Smtp(pool) = &self.way {
            pool.close();
        }
    }
}

fn account(smtp: &SmtpServer) -> Account {
    let throttle = smtp.throttle.as_ref().and_then(throttle);
    let connections = match (throttle, smtp.connections) {
        // A series goes by one connection, which ends with it.
        (Some(Throttle::Series { .. }), _) => 1,
        (_, 0) => CONNECTIONS,
        (_, set) => set.min(MOST_CONNECTIONS),
    };
    // A user is often a person's address, and accounts' names are kept in the clear.
    let of = format!("{}:{}:{}", smtp.host, smtp.port, smtp.user);
    let digest = Sha256::digest(of.as_bytes());
    let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Account {
        throttle,
        connections: usize::try_from(connections).unwrap_or(1),
        ..Account::unlimited(&format!("smtp-{digest}"))
    }
}

fn throttle(set: &SmtpThrottle) -> Option<Throttle> {
    let wait = |set: Option<_>| -> Duration { set.and_then(wait_of).unwrap_or_default() };
    let (pause, gap) = (wait(set.pause), wait(set.gap));
    let paused = set.mails > 0 && !pause.is_zero();
    (paused || !gap.is_zero()).then_some(Throttle::Series { mails: set.mails, pause, gap })
}

/// How long a connection may wait for the next mail of a series. A replica that is left none, for
/// others have taken the last ones, closes its own after this.
fn idle_between(gap: Duration) -> Duration {
    (gap * 2 + Duration::from_secs(2)).min(LONGEST_IDLE)
}

fn wait_of(set: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(set).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp() -> SmtpServer {
        SmtpServer {
            host: "mail.example".into(),
            port: 587,
            user: "ann@mail.example".into(),
            from: "news@mail.example".into(),
            ..SmtpServer::default()
        }
    }

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn an_account_is_named_after_its_server_and_user_without_saying_them() {
        let name = account(&smtp()).name;
        assert!(name.starts_with("smtp-") && !name.contains("ann"), "{name}");
        assert_eq!(name, account(&SmtpServer { from: "x@y".into(), ..smtp() }).name);
        assert_ne!(name, account(&SmtpServer { user: "bob".into(), ..smtp() }).name);
        assert_ne!(name, account(&SmtpServer { host: "b.example".into(), ..smtp() }).name);
    }

    #[test]
    fn connections_have_a_default_and_a_limit() {
        let of = |connections| account(&SmtpServer { connections, ..smtp() }).connections;
        assert_eq!([of(0), of(3), of(1_000)], [16, 3, 64]);
        let throttle = Some(SmtpThrottle { mails: 5, pause: seconds(2), gap: None });
        let series = SmtpServer { connections: 3, throttle, ..smtp() };
        assert_eq!(account(&series).connections, 1, "a series goes by one");
    }

    #[test]
    fn a_throttle_that_never_waits_is_none() {
        let of = |mails, pause, gap| throttle(&SmtpThrottle { mails, pause, gap });
        assert_eq!(of(0, seconds(5), None), None);
        assert_eq!(of(100, None, None), None);
        let series = Throttle::Series {
            mails: 100,
            pause: Duration::from_secs(5),
            gap: Duration::from_secs(1),
        };
        assert_eq!(of(100, seconds(5), seconds(1)), Some(series));
        assert!(of(0, None, seconds(1)).is_some());
    }
}
