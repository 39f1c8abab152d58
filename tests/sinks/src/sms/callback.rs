//! Receipts, as providers send them: on connections of their own, a few at a time.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use tokio::{sync::Semaphore, task::JoinSet};

/// Receipts on their way at a time.
const AT_ONCE: usize = 64;

#[derive(Clone)]
pub(super) struct Receipts {
    token: String,
    client: Arc<OnceLock<reqwest::Client>>,
    room: Arc<Semaphore>,
    taken: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Receipts {
    pub(super) fn new(token: String) -> Self {
        Self {
            token,
            client: Arc::default(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            taken: Arc::default(),
            refused: Arc::default(),
        }
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        (self.taken.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Posts each status after the other, signed as Twilio signs.
    pub(super) fn send(&self, url: String, sid: String, statuses: Vec<String>) {
        if statuses.is_empty() {
            return;
        }
        let receipts = self.clone();
        tokio::spawn(async move {
            let _room = receipts.room.acquire().await;
            for status in statuses {
                receipts.post(&url, &sid, status).await;
            }
        });
    }

    /// Posts all of them at once, and waits until each was answered.
    pub(super) async fn tell(&self, url: &str, sid: &str, statuses: Vec<String>) {
        let mut posts = JoinSet::new();
        for status in statuses {
            let (receipts, url, sid) = (self.clone(), url.to_owned(), sid.to_owned());
            posts.spawn(async move {
                let _room = receipts.room.acquire().await;
                receipts.post(&url, &sid, status).await;
            });
        }
        posts.join_all().await;
    }

    async fn post(&self, url: &str, sid: &str, status: String) {
        let client = self.client.get_or_init(client);
        let mut form = twilio_form(sid, &status);
        if !url.contains("/twilio/") {
            form.push(("status".into(), status));
        }
        let answer = post(client, url, &form, &signature(&self.token, url, &form)).await;
        let is_taken = answer.is_some_and(|status| (200..300).contains(&status));
        let counter = if is_taken { &self.taken } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Somebody who posts receipts, genuine or not.
pub struct Poster(reqwest::Client);

impl Default for Poster {
    fn default() -> Self {
        Self(client())
    }
}

impl Poster {
    /// Answers the status that comes back.
    pub async fn post(&self, url: &str, form: &[(String, String)], signature: &str) -> Option<u16> {
        post(&self.0, url, form, signature).await
    }
}

async fn post(
    client: &reqwest::Client,
    url: &str,
    form: &[(String, String)],
    signature: &str,
) -> Option<u16> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-twilio-signature", signature)
        .body(body);
    Some(request.send().await.ok()?.status().as_u16())
}

fn client() -> reqwest::Client {
    // Somebody else's may be there already, and is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client for plain HTTP")
}

/// The fields of a status callback.
pub fn twilio_form(sid: &str, status: &str) -> Vec<(String, String)> {
    let mut form = vec![
        ("MessageSid".to_owned(), sid.to_owned()),
        ("MessageStatus".to_owned(), status.to_owned()),
    ];
    if matches!(status, "failed" | "undelivered") {
        form.push(("ErrorCode".to_owned(), "30003".to_owned()));
    }
    form
}

/// X-Twilio-Signature of a form posted to this URL.
pub fn signature(token: &str, url: &str, form: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = form.iter().collect();
    sorted.sort();
    let fields: String = sorted.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let mut mac = <Hmac<Sha1>>::new_from_slice(token.as_bytes()).expect("any length is a key");
    mac.update(format!("{url}{fields}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
