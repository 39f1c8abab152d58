//! PostgreSQL and RabbitMQ taken away and given back, as `scripts/servers` does it. Whatever becomes
//! of a scenario, the next one finds them running as they should.

use std::{process::Command, thread, time::Duration};

use carillon_e2e::root;
use carillon_service_kit::{
    Database,
    database::{Postgres, Sql as _},
};
use tokio::runtime::Runtime;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Server {
    Postgres,
    Rabbitmq,
}

/// A server that is away until this goes.
#[must_use]
pub(crate) struct Away(Server);

/// A server in another environment than its own until this goes.
#[must_use]
pub(crate) struct Elsewhere(Server);

impl Server {
    /// PostgreSQL as a crash ends it, RabbitMQ as an operator stops it.
    pub fn stop(self) -> Away {
        let away = Away(self);
        self.tell("stop", &[]);
        away
    }

    pub fn restart(self) {
        self.stop().ends();
    }

    pub fn restart_with(self, variables: &[(&str, &str)]) -> Elsewhere {
        let elsewhere = Elsewhere(self);
        self.tell("stop", &[]);
        self.tell("start", variables);
        elsewhere
    }

    pub fn out_for(self, time: Duration) {
        let away = self.stop();
        thread::sleep(time);
        away.ends();
    }

    fn tell(self, what: &str, variables: &[(&str, &str)]) {
        let name = match self {
            Self::Postgres => "postgres",
            Self::Rabbitmq => "rabbitmq",
        };
        let mut command = Command::new(root().join("scripts/servers"));
        command.args([what, name]).envs(variables.iter().copied());
        let told = command.status().is_ok_and(|ended| ended.success());
        // A second panic would end all scenarios.
        assert!(told || thread::panicking(), "{what} {name}");
    }
}

/// A statement of PostgreSQL's own, of which a panic makes no second one.
pub(crate) fn psql(statement: &str) {
    let url = std::env::var("DATABASE_URL").expect("scripts/servers");
    let done = Runtime::new().expect("a runtime").block_on(async {
        let admin = Database::connect_postgres(&Postgres { url, connections: 1 }).await?;
        admin.reader().run(statement, []).await.map(|_| ())
    });
    assert!(done.is_ok() || thread::panicking(), "{statement}: {done:?}");
}

/// PostgreSQL that stores what is committed and answers nobody, until this goes: then it dies, and
/// comes again.
#[must_use]
pub(crate) struct AnswersNoCommit(());

impl AnswersNoCommit {
    pub fn from_now_on() -> Self {
        let begun = Self(());
        // It waits for a standby that there is not.
        psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        psql("SELECT pg_reload_conf()");
        begun
    }

    /// Answers when it serves again.
    pub fn dies(self) {
        drop(self);
    }
}

impl Drop for AnswersNoCommit {
    fn drop(&mut self) {
        // Read when it starts.
        psql("ALTER SYSTEM RESET synchronous_standby_names");
        Server::Postgres.restart();
    }
}

impl Away {
    /// Answers when it serves again.
    pub fn ends(self) {
        drop(self);
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.0.tell("start", &[]);
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.tell("stop", &[]);
        self.0.tell("start", &[]);
    }
}
