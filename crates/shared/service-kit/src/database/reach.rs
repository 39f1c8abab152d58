//! Whether PostgreSQL can be reached: a pool says nothing until it gives up, and then not why.

use std::{fmt, io, pin::pin, time::Duration};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{
        Connection as _, Error,
        postgres::{PgConnectOptions, PgConnection},
    },
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Postgres, postgres::PATIENCE};

/// After which an attempt without an answer is told.
const SILENCE: Duration = Duration::from_secs(2);
const BACK_OFF: Duration = Duration::from_millis(10);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);

/// No connection could be made. Names everything but the password.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    #[error("database.url: {0}; write postgres://user:password@host:5432/database")]
    Url(String),
    #[error("{place}: {reason}; {remedy}")]
    Refused { place: Place, reason: String, remedy: &'static str },
    #[error("{place}: {reason}, for {patience:?}; {remedy}")]
    Silent { place: Place, reason: String, patience: Duration, remedy: &'static str },
}

/// Which database is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    server: String,
    database: String,
    user: String,
}

impl Place {
    fn of(options: &PgConnectOptions) -> Self {
        let user = options.get_username().to_owned();
        let server = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        // As libpq has it: without a name, that of the user.
        let database = options.get_database().map_or_else(|| user.clone(), str::to_owned);
        Self { server, database, user }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, database, user } = self;
        write!(f, "PostgreSQL at {server}, database '{database}', user '{user}'")
    }
}

impl Postgres {
    /// Returns once a connection is made. What keeps it from that is `told` at once, and again when
    /// it is something else; a server that is starting or not there yet is waited for.
    pub async fn reach(&self, told: impl Fn(&str)) -> Result<(), Unreachable> {
        self.reach_within(PATIENCE, told).await
    }

    async fn reach_within(
        &self,
        patience: Duration,
        told: impl Fn(&str),
    ) -> Result<(), Unreachable> {
        let options: PgConnectOptions =
            self.url.parse().map_err(|error: Error| Unreachable::Url(reason(&error)))?;
        let (place, deadline) = (Place::of(&options), Instant::now() + patience);
        let (mut rest, mut last) = (BACK_OFF, String::new());
        let mut tell = |reason: &str| {
            if last != reason {
                reason.clone_into(&mut last);
                told(&format!("{place}: {reason}; trying on for {patience:?} in all"));
            }
        };
        loop {
            let mut attempt = pin!(timeout_at(deadline, PgConnection::connect_with(&options)));
            let done = match timeout(SILENCE, &mut attempt).await {
                Ok(done) => done,
                Err(_) => {
                    tell("no answer yet");
                    attempt.await
                }
            };
            let error = match done {
                Ok(Ok(connection)) => {
                    // Whether it is closed in good order changes nothing.
                    let _ = timeout(SILENCE, connection.close()).await;
                    return Ok(());
                }
                Ok(Err(error)) => error,
                Err(_) => Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
            };
            let (reason, remedy) = (reason(&error), remedy(&error));
            if !is_passing(&error) {
                return Err(Unreachable::Refused { place, reason, remedy });
            }
            if Instant::now() + rest >= deadline {
                return Err(Unreachable::Silent { place, reason, patience, remedy });
            }
            tell(&reason);
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(BACK_OFF_MOST);
        }
    }
}

/// For people: PostgreSQL's own message, without the line of its source that the driver adds.
pub fn in_words(error: &DbErr) -> String {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => reason(error),
        other => other.to_string(),
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::Database(error) => error.message().to_owned(),
        Error::Io(error) => error.to_string(),
        Error::Configuration(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// What a pool, too, takes for a server that is starting.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Io(error) => {
            [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut].contains(&error.kind())
        }
        Error::Database(error) => {
            // Too many connections, and "starting up".
            error.code().is_some_and(|code| ["53300", "57P03"].contains(&code.as_ref()))
        }
        _ => false,
    }
}

fn remedy(error: &Error) -> &'static str {
    let code = match error {
        Error::Database(error) => error.code(),
        Error::Io(_) => {
            return "start it, open the way to it, or correct host and port in database.url";
        }
        _ => None,
    };
    match code.as_deref() {
        Some("3D000") => "create the database, or correct its name in database.url",
        Some("28P01" | "28000") => "correct user and password in database.url, or create the role",
        Some("42501") => "grant CONNECT on the database to the user",
        Some("53300") => "raise its max_connections, or lower database.connections",
        _ => "its log says more; mend it there, or correct database.url",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::net::TcpListener;

    use super::*;

    async fn reached(port: u16, patience: Duration) -> (String, Vec<String>) {
        let url = format!("postgres://zoe:s3cret@127.0.0.1:{port}/billing");
        let (at, told) = (Postgres { url, connections: 4 }, Mutex::new(Vec::new()));
        let tell = |line: &str| told.lock().expect("one thread").push(line.to_owned());
        let error = at.reach_within(patience, tell).await.expect_err("nobody is there");
        (error.to_string(), told.into_inner().expect("one thread"))
    }

    #[tokio::test]
    async fn who_is_not_there_is_told_once_and_named_at_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let (error, told) = reached(port, Duration::from_millis(300)).await;
        let place = format!("PostgreSQL at 127.0.0.1:{port}, database 'billing', user 'zoe': ");
        assert_eq!(told.len(), 1, "{told:?}");
        for said in [&told[0], &error] {
            assert!(said.starts_with(&format!("{place}Connection refused")), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
        assert!(error.ends_with("correct host and port in database.url"), "{error}");
    }

    #[tokio::test]
    async fn who_says_nothing_is_told_before_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (error, told) = reached(port, SILENCE + Duration::from_millis(300)).await;
        assert!(told[0].contains("no answer yet; trying on for 2.3s in all"), "{told:?}");
        assert!(error.contains("no answer, for 2.3s; start it"), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_with_its_form() {
        let at = Postgres { url: "postgres://zoe:s3cret@db:port/x".into(), connections: 4 };
        let error = at.reach(|_| ()).await.expect_err("refused").to_string();
        assert!(
            error.starts_with("database.url: ") && error.contains("postgres://user"),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
}
