//! Services that are there for the first time, after events were dropped.

use std::time::Duration;

use carillon_broker::topology;
use carillon_campaign_api::Migrator;
use carillon_contracts::{
    campaign::v1::{Organisation, PauseCampaignRequest},
    events::v1::{CampaignHalted, Halt},
};
use carillon_outbox::Subscriber;
use carillon_service_kit::{Stop, database::Sql as _};
use carillon_tenancy::Tenancy;
use carillon_testkit::{TestDatabase, database, eventually};

use crate::world::{Halts, World};

/// Another service, which hears of organisations and of halts on a database of its own.
struct Listener {
    database: TestDatabase,
    halts: Halts,
    stop: Stop,
}

impl Listener {
    async fn start(world: &World, name: &'static str) -> Self {
        let (own, halts, stop) = (database::<Migrator>().await, Halts::default(), Stop::new());
        let subscriber =
            Subscriber::new(name, own.database.clone(), world.broker.clone(), world.clock.clone());
        let tenancy = std::sync::Arc::new(Tenancy::new(own.database.clone()));
        subscriber.spawn(topology::ORGANISATION_CHANGED, tenancy, &stop);
        let obeying = std::sync::Arc::new(halts.clone());
        subscriber.spawn(topology::CAMPAIGN_HALTED, obeying, &stop);
        Self { database: own, halts, stop }
    }

    async fn knows(&self, world: &World) -> Option<Organisation> {
        let tenancy = Tenancy::new(self.database.database.clone());
        tenancy.organisation(world.organisation).await.expect("read")
    }

    async fn leave(&self) {
        self.stop.now();
        assert!(self.stop.drained(Duration::from_secs(60)).await);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.now();
    }
}

/// Events of projections that somebody has not passed.
async fn kept(world: &World) -> i64 {
    let sql = "SELECT COUNT(*) FROM outbox WHERE stream <> 'campaign-api/campaign.published'";
    let row = world.own().reader().row(sql, []).await.expect("read").expect("a count");
    row.try_get_by_index(0).expect("a number")
}

fn halts(listener: &Listener) -> Vec<(Halt, u64)> {
    let told = listener.halts.told();
    told.iter()
        .map(|CampaignHalted { version, halt, .. }| {
            (Halt::try_from(*halt).expect("a halt"), *version)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_late_is_given_the_organisations_and_the_halts_that_hold() {
    let mut world = World::alone().await;
    let mut listeners = Vec::new();
    let event = topology::ORGANISATION_CHANGED;
    for name in topology::subscribers(event, topology::CAMPAIGN_API) {
        listeners.push((*name, Listener::start(&world, name).await));
    }
    (world.organisation, world.key) = world.create_organisation("Café Zoë").await;
    let running = world.started().await;
    let paused = world.started().await;
    let request = world.ours(PauseCampaignRequest { id: paused.id.clone() });
    world.campaigns().pause_campaign(request).await.expect("paused");
    eventually("all of it was passed and dropped", || async { kept(&world).await == 0 }).await;

    // One whose database is new, and one that the campaign API has never heard of.
    let unheard = "DELETE FROM subscribers WHERE subscriber = 'email-dispatcher'";
    for name in [topology::SMS_DISPATCHER, topology::EMAIL_DISPATCHER] {
        let place = listeners.iter().position(|(of, _)| *of == name).expect("it listened");
        listeners.swap_remove(place).1.leave().await;
        if name == topology::EMAIL_DISPATCHER {
            let tx = world.own().begin().await.expect("begun");
            tx.run(unheard, []).await.expect("forgotten");
            tx.commit().await.expect("committed");
        }
        let late = Listener::start(&world, name).await;
        eventually("it has the organisation", || async { late.knows(&world).await.is_some() })
            .await;
        assert_eq!(late.knows(&world).await.expect("known").name, "Café Zoë");
        eventually("it obeys the halt", || async { !halts(&late).is_empty() }).await;
        assert_eq!(halts(&late), [(Halt::Paused, paused.version + 1)]);
        assert_ne!(late.halts.told()[0].campaign_id, running.id.as_bytes());
        eventually("and all have passed it", || async { kept(&world).await == 0 }).await;
        listeners.push((name, late));
    }
}
