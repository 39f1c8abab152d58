//! Which gateways work, as all replicas know it: each counts its own failures, and what follows from
//! them is kept where all see it. So one that starts while a gateway is down knows that it is, and of
//! all of them one probes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use carillon_contracts::{
    events::v1::{GatewayChanged, event::Body},
    ids::OrganisationId,
};
use carillon_dispatch::Outcome;
use carillon_outbox::Outbox;
use carillon_service_kit::{
    Clock, Database, Stop,
    metrics::{self, GATEWAY_UP},
};
use sea_orm::DbErr;

use crate::{
    domain::health::{Down, Health, Sign, Standing, Turn},
    store,
};

const READ_EVERY: Duration = Duration::from_secs(1);
/// As settings call them.
const KINDS: [&str; 4] = ["sandbox", "twilio", "http", "smpp"];

type Key = (OrganisationId, String);

/// One gateway of one organisation, as long as somebody sends through it.
pub(crate) struct Watched {
    organisation: OrganisationId,
    name: String,
    kind: &'static str,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    health: Health,
    /// Changes here, begun and stored.
    turns: u64,
    /// Those that are not stored yet.
    telling: u32,
}

/// A call that may be made.
pub(crate) struct Call {
    is_probe: bool,
}

#[derive(Clone)]
pub(crate) struct HealthWatch(Arc<Inner>);

struct Inner {
    database: Database,
    clock: Clock,
    /// Once the service has begun.
    outbox: OnceLock<Outbox>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    gateways: HashMap<Key, Arc<Watched>>,
    /// As it was last read.
    down: HashMap<Key, Down>,
}

impl Watched {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn standing(&self, now_ms: i64) -> Standing {
        self.kept().health.standing(now_ms)
    }

    /// What is read meanwhile is older than what is told here.
    fn begin_turn<T>(&self, turn: impl FnOnce(&mut Health) -> Option<T>) -> Option<T> {
        let mut kept = self.kept();
        let turned = turn(&mut kept.health)?;
        kept.turns += 1;
        kept.telling += 1;
        Some(turned)
    }

    fn end_turn(&self) {
        let mut kept = self.kept();
        kept.turns += 1;
        kept.telling -= 1;
    }
}

impl HealthWatch {
    /// What others found out already is known when this returns.
    pub(crate) async fn start(database: Database, clock: Clock) -> Result<Self, DbErr> {
        let (outbox, known) = (OnceLock::new(), Mutex::default());
        let watch = Self(Arc::new(Inner { database, clock, outbox, known }));
        watch.read().await?;
        watch.measure();
        Ok(watch)
    }

    /// From now on organisations hear of their gateways.
    pub(crate) fn tell_by(&self, outbox: Outbox) {
        // Nobody else sets it.
        let _ = self.0.outbox.set(outbox);
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watched(
        &self,
        organisation: OrganisationId,
        name: &str,
        kind: &'static str,
    ) -> Arc<Watched> {
        let mut known = self.known();
        let key = (organisation, name.to_owned());
        if let Some(watched) = known.gateways.get(&key) {
            return Arc::clone(watched);
        }
        let mut kept = Kept::default();
        kept.health.tell(known.down.get(&key).copied());
        let (name, kept) = (name.to_owned(), Mutex::new(kept));
        let watched = Arc::new(Watched { organisation, name, kind, kept });
        known.gateways.insert(key, Arc::clone(&watched));
        watched
    }

    /// None where the gateway, or one probe of it, is not for this call, as `may` says at an instant.
    pub(crate) async fn begin(
        &self,
        gateway: &Watched,
        may: impl Fn(i64) -> bool + Send + Sync,
    ) -> Option<Call> {
        let now_ms = self.now_ms();
        if !may(now_ms) {
            return None;
        }
        let ordinary = || may(now_ms).then_some(Call { is_probe: false });
        let Some((before, after)) = gateway.begin_turn(|health| health.take_probe(now_ms)) else {
            return ordinary();
        };
        let Watched { organisation, name, .. } = gateway;
        let taken = store::take_probe(&self.0.database, *organisation, name, before, after).await;
        gateway.end_turn();
        match taken {
            Ok(true) => Some(Call { is_probe: true }),
            // Another process has it.
            Ok(false) => ordinary(),
            Err(error) => {
                tracing::warn!(%organisation, %error, "a gateway is not probed now");
                None
            }
        }
    }

    /// `has_other`: whether messages leave by another gateway if this one is down.
    pub(crate) async fn ended(
        &self,
        gateway: &Watched,
        call: Call,
        outcome: &Outcome,
        has_other: impl Fn() -> bool + Send + Sync,
    ) {
        let (sign, now_ms) = (Sign::of(outcome), self.now_ms());
        let turn = gateway.begin_turn(|health| health.ended(sign, call.is_probe, now_ms));
        let Some(turn) = turn else { return };
        let code = match outcome {
            Outcome::Transient { code, .. } | Outcome::InDoubt { code } => code.as_str(),
            _ => "",
        };
        let told = self.tell(gateway, turn, code, has_other()).await;
        gateway.end_turn();
        if let Err(error) = told {
            // What is read next puts this process right again.
            let organisation = gateway.organisation;
            tracing::error!(%organisation, %error, "a gateway's health could not be stored");
        }
    }

    async fn tell(
        &self,
        gateway: &Watched,
        turn: Turn,
        code: &str,
        has_standby: bool,
    ) -> Result<(), DbErr> {
        let Watched { organisation, name, kind, .. } = gateway;
        let tx = self.0.database.begin().await?;
        let up = turn == Turn::CameUp;
        let is_news = match turn {
            Turn::WentDown(down) => {
                store::gateway_went_down(&tx, *organisation, name, kind, down).await?
            }
            Turn::CameUp => store::gateway_came_up(&tx, *organisation, name).await?,
            Turn::ProbeReturned(down) => {
                store::return_probe(&tx, *organisation, name, down).await?;
                false
            }
        };
        if let Some(outbox) = self.0.outbox.get().filter(|_| is_news) {
            let (gateway, code) = (name.clone(), code.to_owned());
            let changed = GatewayChanged { gateway, up, code, has_standby: has_standby && !up };
            outbox.append(&tx, *organisation, Body::GatewayChanged(changed)).await?;
        }
        tx.commit().await?;
        if let Some(outbox) = self.0.outbox.get().filter(|_| is_news) {
            outbox.wake();
            tracing::warn!(%organisation, gateway = name, up, code, "a gateway's health changed");
        }
        Ok(())
    }

    /// The organisation has these gateways and no others any more.
    pub(crate) async fn keep_only(
        &self,
        organisation: OrganisationId,
        names: [&str; 2],
    ) -> Result<(), DbErr> {
        let is_gone = |(of, name): &Key| *of == organisation && !names.contains(&name.as_str());
        if !self.known().down.keys().any(is_gone) {
            return Ok(());
        }
        store::forget_gateways_but(&self.0.database, organisation, names).await
    }

    /// Follows what other processes find out, until stopping.
    pub(crate) async fn follow(self, stop: Stop) -> Result<(), DbErr> {
        while stop.sleep(READ_EVERY).await {
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&self) -> Result<(), DbErr> {
        let before: Vec<(Key, u64)> = {
            let mut known = self.known();
            known.gateways.retain(|_, gateway| Arc::strong_count(gateway) > 1);
            let quiet = known.gateways.iter().filter_map(|(key, gateway)| {
                let kept = gateway.kept();
                (kept.telling == 0).then(|| (key.clone(), kept.turns))
            });
            quiet.collect()
        };
        let down = store::gateways_down_of_all_organisations(&self.0.database).await?;
        let mut known = self.known();
        known.down = down.into_iter().map(|one| ((one.organisation, one.name), one.down)).collect();
        for (key, turns) in before {
            let Some(gateway) = known.gateways.get(&key) else { continue };
            let mut kept = gateway.kept();
            if kept.turns == turns {
                kept.health.tell(known.down.get(&key).copied());
            }
        }
        Ok(())
    }

    fn measure(&self) {
        let database = self.0.database.clone();
        metrics::collect("gateways", move || {
            let database = database.clone();
            async move {
                let down = store::kinds_down(&database).await?;
                for kind in KINDS {
                    let is_up = !down.iter().any(|down| down == kind);
                    metrics::show(GATEWAY_UP, &[("kind", kind)], i64::from(is_up));
                }
                Ok::<(), DbErr>(())
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    const ID: OrganisationId = OrganisationId::new(uuid::Uuid::from_u128(5));
    const NAME: &str = "twilio/api.twilio.com:443/AC1";

    #[tokio::test]
    async fn processes_share_what_they_find_out_and_one_of_them_probes() {
        let at = carillon_testkit::database::<crate::Migrator>().await;
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).expect("an instant"));
        let start = || HealthWatch::start(at.database.clone(), clock.clone());
        let first = start().await.expect("readable");
        let gateway = first.watched(ID, NAME, "twilio");
        for _ in 0..5 {
            assert_eq!(gateway.standing(first.now_ms()), Standing::Up);
            let call = first.begin(&gateway, |_| true).await.expect("it may");
            let outcome = Outcome::Transient { code: "busy".into(), retry_after: None };
            first.ended(&gateway, call, &outcome, || true).await;
        }
        assert_eq!(gateway.standing(first.now_ms()), Standing::Down);
        assert_eq!(store::kinds_down(&at.database).await.expect("readable"), ["twilio"]);

        let later = start().await.expect("readable");
        let same = later.watched(ID, NAME, "twilio");
        assert_eq!(same.standing(later.now_ms()), Standing::Down);
        clock.advance(SignedDuration::from_secs(31));
        let probe = first.begin(&gateway, |_| true).await.expect("due");
        let other = later.begin(&same, |_| true).await.expect("it may all the same");
        assert!(probe.is_probe && !other.is_probe);
        assert!(later.begin(&same, |_| false).await.is_none());

        let sent = Outcome::Sent { provider_id: String::new(), parts: None };
        later.ended(&same, other, &sent, || true).await;
        later.read().await.expect("readable");
        assert_eq!(same.standing(later.now_ms()), Standing::Down);
        first.ended(&gateway, probe, &sent, || false).await;
        later.read().await.expect("readable");
        assert_eq!(same.standing(later.now_ms()), Standing::Up);
        assert!(store::kinds_down(&at.database).await.expect("readable").is_empty());
    }

    #[tokio::test]
    async fn a_gateway_of_earlier_settings_is_down_no_more() {
        let at = carillon_testkit::database::<crate::Migrator>().await;
        let watch = HealthWatch::start(at.database.clone(), Clock::system()).await;
        let watch = watch.expect("readable");
        let gateway = watch.watched(ID, NAME, "twilio");
        let outcome = Outcome::InDoubt { code: "answer_timeout".into() };
        for _ in 0..5 {
            watch.ended(&gateway, Call { is_probe: false }, &outcome, || false).await;
        }
        watch.read().await.expect("readable");
        watch.keep_only(ID, [NAME, "smpp/smsc.example:2775/cafe"]).await.expect("kept");
        assert_eq!(store::kinds_down(&at.database).await.expect("readable"), ["twilio"]);
        watch.keep_only(ID, ["sandbox", "sandbox"]).await.expect("forgotten");
        assert!(store::kinds_down(&at.database).await.expect("readable").is_empty());
    }
}
