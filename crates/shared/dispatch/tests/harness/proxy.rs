//! A way to the database on which things go wrong: it stops for a while, or loses the answers to
//! commits that took effect.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use carillon_service_kit::{Database, database::Postgres};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

const COMMIT: &[u8] = b"COMMIT\0";

#[derive(Clone)]
pub struct Proxy {
    port: u16,
    /// Nothing passes while it is set.
    pub stalled: Arc<watch::Sender<bool>>,
    /// Answers to commits that are still to be lost.
    pub to_lose: Arc<AtomicI64>,
    pub lost: Arc<AtomicI64>,
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            stalled: Arc::new(watch::channel(false).0),
            to_lose: Arc::default(),
            lost: Arc::default(),
        };
        let passing = proxy.clone();
        let (_, at, _) = parts();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (passing, at) = (passing.clone(), at.clone());
                tokio::spawn(async move { passing.pass(client, &at).await });
            }
        });
        proxy
    }

    /// The database through this.
    pub async fn connect(self, database: String) -> Database {
        let (user, _, _) = parts();
        let url = format!("postgres://{user}127.0.0.1:{}/{database}", self.port);
        Database::connect_postgres(&Postgres { url, connections: 8 }).await.unwrap()
    }

    async fn pass(&self, mut client: TcpStream, at: &str) -> io::Result<()> {
        let mut server = TcpStream::connect(at).await?;
        let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut stalled = self.stalled.subscribe();
        let mut commits = false;
        loop {
            let _ = stalled.wait_for(|stalled| !*stalled).await;
            tokio::select! {
                read = client.read(&mut asked) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    commits = asked[..read].windows(COMMIT.len()).any(|words| words == COMMIT);
                    server.write_all(&asked[..read]).await?;
                }
                read = server.read(&mut answered) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    if commits && self.loses_one() {
                        return Ok(());
                    }
                    client.write_all(&answered[..read]).await?;
                }
            }
        }
    }

    fn loses_one(&self) -> bool {
        let less = |left: i64| (left > 0).then_some(left - 1);
        let loses = self.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
        self.lost.fetch_add(i64::from(loses), Ordering::SeqCst);
        loses
    }

    pub async fn stall_for(&self, time: Duration) {
        self.stalled.send_replace(true);
        tokio::time::sleep(time).await;
        self.stalled.send_replace(false);
    }
}

/// User with `@`, host and port, and database of the tests' server.
fn parts() -> (String, String, String) {
    let url = std::env::var("DATABASE_URL").unwrap();
    let rest = url.split_once("://").unwrap().1;
    let (authority, database) = rest.split_once('/').unwrap();
    let (user, at) = authority.rsplit_once('@').map_or(("", authority), |(user, at)| (user, at));
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    (user, at.to_owned(), database.to_owned())
}
