//! PostgreSQL and RabbitMQ taken away and given back, as `scripts/servers` does it.

use std::{process::Command, thread, time::Duration};

use carillon_e2e::root;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Server {
    Postgres,
    Rabbitmq,
}

impl Server {
    /// PostgreSQL as a crash ends it, RabbitMQ as an operator stops it.
    pub fn stop(self) {
        self.tell("stop", &[]);
    }

    /// Answers when it serves again.
    pub fn start(self) {
        self.tell("start", &[]);
    }

    /// The same, in this environment.
    pub fn start_with(self, variables: &[(&str, &str)]) {
        self.tell("start", variables);
    }

    pub fn restart(self) {
        self.stop();
        self.start();
    }

    pub fn out_for(self, time: Duration) {
        self.stop();
        thread::sleep(time);
        self.start();
    }

    fn tell(self, what: &str, variables: &[(&str, &str)]) {
        let name = match self {
            Self::Postgres => "postgres",
            Self::Rabbitmq => "rabbitmq",
        };
        let mut command = Command::new(root().join("scripts/servers"));
        command.args([what, name]).envs(variables.iter().copied());
        let told = command.status();
        assert!(told.expect("a shell").success(), "{what} {name}");
    }
}
