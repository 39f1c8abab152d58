//! `carillon dev`: one process, one folder.

use std::{thread, time::Duration};

use carillon_e2e::{LATENCIES, Server, customers};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use tokio::runtime::Runtime;

use crate::{
    Outcome, Size,
    check::{self, Books},
    drill::UNKNOWN_A_KILL,
};

const KILLS: usize = 20;
/// 20,000 messages, 128 at a time, outlast the kills, and every life finishes some.
const CUSTOMERS: usize = 10_000;
const SLOW_MS: &str = "200";

/// As large at any size: the kills have to fall into the run.
pub(crate) fn killed_and_started_twice(size: &Size) -> Outcome {
    let seed = rand::rng().random();
    println!("   the moments of the kills follow from the seed {seed}");
    let mut moments = StdRng::seed_from_u64(seed);
    let mut server = Server::start(&LATENCIES.map(|name| (name, SLOW_MS)));
    a_second_is_refused(&server);
    let recipients = size.recipients.max(2 * CUSTOMERS);
    let id = start(&server, recipients / 2);
    for kill in 1..=KILLS {
        thread::sleep(Duration::from_millis(moments.random_range(20..700)));
        let report = server.report(&id);
        let over = report["plan_complete"] == true && report["in_flight"] == 0;
        assert!(!over, "kill {kill} came after the run: {report}");
        server.kill();
        if kill == KILLS {
            LATENCIES.into_iter().for_each(|name| server.set(name, "0"));
        }
        server.spawn();
    }
    let outcome = end(&server, &[&id], recipients, UNKNOWN_A_KILL * KILLS);
    Outcome { kills: KILLS, ..outcome }
}

fn a_second_is_refused(server: &Server) {
    let data = server.data().display().to_string();
    let refused = server.run(&["dev", "--port", "0", "--data", &data]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("is in use by another `carillon dev`"), "{}", refused.err);
}

/// Starts a campaign to so many customers on both channels.
pub(super) fn start(server: &Server, count: usize) -> String {
    let file = server.write("customers.csv", customers::csv(count));
    let _ = server.run(&["customers", "import", &file]).ok();
    server.credit(2 * count as u64);
    let id = server.campaign(customers::CAMPAIGN);
    let _ = server.run(&["campaign", "start", &id, "--yes"]).ok();
    id
}

/// Follows the campaigns to their end, and holds that against the promises.
pub(super) fn end(server: &Server, campaigns: &[&str], each: usize, unknown: usize) -> Outcome {
    let runtime = Runtime::new().expect("a runtime");
    let books = Books {
        cli: server,
        rows: &|service, sql| {
            let file = server.data().join(format!("{service}.db"));
            runtime.block_on(async {
                let url = format!("sqlite://{}?mode=ro", file.display());
                let database = Database::connect(url).await.expect("a database");
                let rows = database.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql));
                rows.await.expect("rows")
            })
        },
        id: |id| format!("X'{}'", id.simple()),
        accepted: &|| {
            let accepted = ["sms", "email"].iter().flat_map(|channel| server.accepted(channel));
            accepted.map(|(id, times)| (id, times as usize)).collect()
        },
        campaigns: campaigns.iter().map(|id| ((*id).to_owned(), each)).collect(),
        parked: 0,
        other_ends: &[],
    };
    check::the_end(&books, unknown)
}
