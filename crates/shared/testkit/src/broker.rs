//! A broker of the test's own: in memory, or a virtual host on RabbitMQ that goes with the test.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use carillon_broker::{Broker, amqp::AmqpBroker, memory::MemoryBroker};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::{eventually, is_distributed};

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with all queues and no messages.
pub struct TestBroker {
    pub broker: Arc<dyn Broker>,
    place: Place,
}

enum Place {
    Memory(MemoryBroker),
    Server(Rabbit),
}

/// A broker of the test's own.
///
/// # Panics
/// Where the suite runs on RabbitMQ and there is none.
pub async fn broker() -> TestBroker {
    if !is_distributed() {
        let memory = MemoryBroker::new();
        return TestBroker { broker: Arc::new(memory.clone()), place: Place::Memory(memory) };
    }
    let rabbit = Rabbit::create().await;
    let broker = rabbit.client().await;
    TestBroker { broker: Arc::new(broker), place: Place::Server(rabbit) }
}

impl TestBroker {
    /// The same broker through connections of their own, as another process would have it.
    pub async fn again(&self) -> Arc<dyn Broker> {
        match &self.place {
            Place::Memory(memory) => Arc::new(memory.clone()),
            Place::Server(rabbit) => Arc::new(rabbit.client().await),
        }
    }

    /// Loses everything. On RabbitMQ the queues go too.
    pub async fn wipe(&self) {
        match &self.place {
            Place::Memory(memory) => memory.wipe(),
            Place::Server(rabbit) => {
                for queue in rabbit.queues().await {
                    rabbit.delete_queue(&queue).await;
                }
            }
        }
    }

    /// Loses what waits in one queue.
    pub async fn purge(&self, queue: &str) {
        match &self.place {
            Place::Memory(memory) => memory.purge(queue).expect("the queue exists"),
            Place::Server(rabbit) => rabbit.purge_queue(queue).await,
        }
    }

    /// What only RabbitMQ can do, where the suite runs on it.
    pub fn rabbit(&self) -> Option<&Rabbit> {
        match &self.place {
            Place::Memory(_) => None,
            Place::Server(rabbit) => Some(rabbit),
        }
    }
}

/// A virtual host of the server of `AMQP_URL`, managed through `RABBITMQ_MANAGEMENT_URL`.
pub struct Rabbit {
    vhost: String,
    url: Url,
    management: Management,
}

impl Rabbit {
    /// A virtual host with nothing in it.
    pub async fn create() -> Self {
        let rabbit = Self::named(&format!("test-{}", Uuid::new_v4().simple()));
        rabbit.create_vhost().await;
        rabbit
    }

    /// Where a virtual host would be that is not there yet.
    pub fn named(vhost: &str) -> Self {
        let mut url = variable("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f");
        url.set_path(vhost);
        let management =
            Management(variable("RABBITMQ_MANAGEMENT_URL", "http://guest:guest@127.0.0.1:15672"));
        Self { vhost: vhost.to_owned(), url, management }
    }

    pub async fn create_vhost(&self) {
        let vhost = encoded(&self.vhost);
        self.ask("PUT", &format!("/api/vhosts/{vhost}"), "{}").await;
        let user = if self.url.username().is_empty() { "guest" } else { self.url.username() };
        let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
        self.ask("PUT", &format!("/api/permissions/{vhost}/{user}"), everything).await;
    }

    /// Takes the virtual host away, with its exchanges, queues, messages and connections.
    pub async fn delete_vhost(&self) {
        self.ask("DELETE", &format!("/api/vhosts/{}", encoded(&self.vhost)), "").await;
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A client that is connected.
    pub async fn client(&self) -> AmqpBroker {
        let broker = AmqpBroker::connect(self.url.as_str(), "test").expect("AMQP_URL: valid");
        eventually("AMQP_URL: a broker answers", || async { broker.is_connected() }).await;
        broker
    }

    /// The names of its queues.
    pub async fn queues(&self) -> Vec<String> {
        self.names(&format!("/api/queues/{}?columns=name", encoded(&self.vhost))).await
    }

    pub async fn delete_queue(&self, queue: &str) {
        self.ask("DELETE", &self.queue_path(queue), "").await;
    }

    pub async fn purge_queue(&self, queue: &str) {
        self.ask("DELETE", &format!("{}/contents", self.queue_path(queue)), "").await;
    }

    pub async fn delete_exchange(&self, exchange: &str) {
        let path = format!("/api/exchanges/{}/{}", encoded(&self.vhost), encoded(exchange));
        self.ask("DELETE", &path, "").await;
    }

    /// Lets a queue hold no more messages than this, more or less.
    pub async fn limit_queue(&self, queue: &str, messages: u32) {
        let path = format!("/api/policies/{}/limit", encoded(&self.vhost));
        let pattern = format!("^{}$", queue.replace('.', "\\\\."));
        let policy = format!(
            r#"{{"pattern":"{pattern}","definition":{{"max-length":{messages}}},"apply-to":"queues"}}"#
        );
        self.ask("PUT", &path, &policy).await;
    }

    /// Lifts the limit.
    pub async fn unlimit_queue(&self) {
        self.ask("DELETE", &format!("/api/policies/{}/limit", encoded(&self.vhost)), "").await;
    }

    /// Takes the queue's binding to the exchange away; the key is the whole routing key.
    pub async fn unbind_queue(&self, queue: &str, exchange: &str, key: &str) {
        let path = self.binding_path(queue, exchange);
        self.ask("DELETE", &format!("{path}/{}", encoded(key)), "").await;
    }

    /// Whether the queue hears anything of the exchange.
    pub async fn is_bound(&self, queue: &str, exchange: &str) -> bool {
        let bindings = self.ask("GET", &self.binding_path(queue, exchange), "").await;
        serde_json::from_str::<Vec<Value>>(&bindings).is_ok_and(|bindings| !bindings.is_empty())
    }

    /// Makes a queue that hears what the exchange has under this key, beside all others.
    pub async fn listen_in(&self, queue: &str, exchange: &str, key: &str) {
        self.ask("PUT", &self.queue_path(queue), r#"{"durable":true}"#).await;
        let binding = format!(r#"{{"routing_key":"{key}"}}"#);
        self.ask("POST", &self.binding_path(queue, exchange), &binding).await;
    }

    fn binding_path(&self, queue: &str, exchange: &str) -> String {
        let vhost = encoded(&self.vhost);
        format!("/api/bindings/{vhost}/e/{}/q/{}", encoded(exchange), encoded(queue))
    }

    /// The names of the connections to it.
    pub async fn connections(&self) -> Vec<String> {
        self.names(&format!("/api/vhosts/{}/connections?columns=name", encoded(&self.vhost))).await
    }

    /// Breaks the connections to it, from the server's side; answers how many there were.
    pub async fn kill_connections(&self) -> usize {
        let connections = self.connections().await;
        for connection in &connections {
            let path = format!("/api/connections/{}", encoded(connection));
            // One may have gone by itself.
            let _ = self.try_ask("DELETE", &path, "").await;
        }
        connections.len()
    }

    fn queue_path(&self, queue: &str) -> String {
        format!("/api/queues/{}/{}", encoded(&self.vhost), encoded(queue))
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let listed = self.ask("GET", path, "").await;
        let listed: Vec<Value> = serde_json::from_str(&listed).expect("a list");
        listed.iter().filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect()
    }

    async fn ask(&self, method: &'static str, path: &str, body: &str) -> String {
        let (status, text) = self
            .try_ask(method, path, body)
            .await
            .expect("RABBITMQ_MANAGEMENT_URL: the management plugin answers");
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        text
    }

    async fn try_ask(
        &self,
        method: &'static str,
        path: &str,
        body: &str,
    ) -> io::Result<(u16, String)> {
        let (management, path, body) = (self.management.clone(), path.to_owned(), body.to_owned());
        tokio::task::spawn_blocking(move || management.call(method, &path, &body))
            .await
            .expect("the call ends")
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        // The server is the tests' own and goes with them; this only keeps it small till then.
        let _ =
            self.management.call("DELETE", &format!("/api/vhosts/{}", encoded(&self.vhost)), "");
    }
}

#[derive(Clone)]
struct Management(Url);

impl Management {
    /// Over HTTP/1.0, so that the answer ends with the connection.
    fn call(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let host = self.0.host_str().unwrap_or("127.0.0.1");
        let mut stream = TcpStream::connect((host, self.0.port().unwrap_or(15672)))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let credentials =
            format!("{}:{}", self.0.username(), self.0.password().unwrap_or_default());
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: {host}\r\nauthorization: Basic {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            BASE64_STANDARD.encode(credentials),
            body.len(),
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let text = answer.split_once("\r\n\r\n").map_or("", |(_, text)| text);
        let status = status.ok_or_else(|| io::Error::other("no HTTP answer"))?;
        Ok((status, text.to_owned()))
    }
}

fn variable(name: &str, example: &str) -> Url {
    let value = std::env::var(name).unwrap_or_else(|_| {
        panic!("{name}: not set; `scripts/servers run` sets it, such as {example}")
    });
    Url::parse(&value).unwrap_or_else(|error| panic!("{name}: {error}; give it like {example}"))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
