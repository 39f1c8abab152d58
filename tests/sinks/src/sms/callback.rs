//! Receipts, as providers send them: on connections of their own, a few at a time.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use tokio::sync::Semaphore;

/// Receipts on their way at a time.
const AT_ONCE: usize = 64;

pub(super) struct Receipts {
    token: String,
    client: OnceLock<reqwest::Client>,
    room: Arc<Semaphore>,
    taken: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Receipts {
    pub(super) fn new(token: String) -> Self {
        Self {
            token,
            client: OnceLock::new(),
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
        let client = self.client.get_or_init(client).clone();
        let (token, room) = (self.token.clone(), Arc::clone(&self.room));
        let (taken, refused) = (Arc::clone(&self.taken), Arc::clone(&self.refused));
        tokio::spawn(async move {
            let _room = room.acquire_owned().await;
            for status in statuses {
                let mut form = twilio_form(&sid, &status);
                if !url.contains("/twilio/") {
                    form.push(("status".into(), status));
                }
                let signature = signature(&token, &url, &form);
                let body = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(&form)
                    .finish();
                let request = client
                    .post(&url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .header("x-twilio-signature", signature)
                    .body(body);
                let counter = match request.send().await {
                    Ok(answer) if answer.status().is_success() => &taken,
                    _ => &refused,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
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
