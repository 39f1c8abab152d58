//! Twilio's Messages API (2010-04-01), and whoever takes the same.

mod answer;

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use carillon_contracts::campaign::v1::TwilioGateway;
use carillon_dispatch::Outcome;
use carillon_http_gateway::{Origin, component};
use http::{
    HeaderValue, Method, Request, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::Full;

use super::{
    provider::{Provider, Sms, unanswered},
    wire::{Endpoint, Wire},
};
use crate::receipts::About;

const DEFAULT_URL: &str = "https://api.twilio.com";
/// What a message may wait at Twilio at most: ten hours.
const LONGEST_VALIDITY: u64 = 36_000;

pub(crate) struct Twilio {
    name: String,
    endpoint: Endpoint,
    connections: usize,
    uri: Uri,
    authorization: HeaderValue,
    /// `From=…` or `MessagingServiceSid=…`
    sender: String,
}

impl Twilio {
    pub(crate) fn new(
        settings: &TwilioGateway,
        from: &str,
        token: &str,
        wire: &Arc<Wire>,
    ) -> Result<Self, String> {
        let account = settings.account.trim();
        if account.is_empty() || token.is_empty() {
            return Err("twilio.account and its token: both are needed".into());
        }
        if from.is_empty() {
            return Err("from: a number, a name or a messaging service (MG…) is needed".into());
        }
        let url = if settings.base_url.is_empty() { DEFAULT_URL } else { &settings.base_url };
        let (origin, path) = Origin::parse(url).map_err(|why| format!("twilio.base_url: {why}"))?;
        let (base, account) = (path.trim_end_matches('/'), component(account));
        let uri = format!("{base}/2010-04-01/Accounts/{account}/Messages.json")
            .parse()
            .map_err(|_| "twilio.base_url: it is not a URL".to_owned())?;
        let basic =
            format!("Basic {}", STANDARD.encode(format!("{}:{token}", settings.account.trim())));
        let mut authorization =
            HeaderValue::try_from(basic).map_err(|_| "the token cannot be sent".to_owned())?;
        authorization.set_sensitive(true);
        let field = if is_service(from) { "MessagingServiceSid" } else { "From" };
        Ok(Self {
            name: format!("twilio/{}:{}/{account}", origin.host, origin.port),
            endpoint: Endpoint::new(Arc::clone(wire), origin),
            connections: wire.connections(),
            uri,
            authorization,
            sender: format!("{field}={}", component(from)),
        })
    }

    fn request(&self, sms: &Sms<'_>) -> Request<Full<Bytes>> {
        let outgoing = sms.outgoing;
        let receipts = sms.receipts.twilio_url(About {
            organisation: outgoing.organisation,
            run_day: outgoing.run_day,
            message: outgoing.message,
        });
        let body = format!(
            "To={}&{}&Body={}&ValidityPeriod={}&StatusCallback={}",
            component(outgoing.recipient.address()),
            self.sender,
            component(sms.text),
            sms.validity_seconds().min(LONGEST_VALIDITY),
            component(&receipts),
        );
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.endpoint.origin().header.clone());
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        request
    }
}

/// The SID of a messaging service: MG and 32 hexadecimal digits.
fn is_service(from: &str) -> bool {
    let digits = from.strip_prefix("MG");
    digits.is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[async_trait]
impl Provider for Twilio {
    fn name(&self) -> &str {
        &self.name
    }

    fn connections(&self) -> usize {
        self.connections
    }

    async fn send(&self, sms: &Sms<'_>) -> Outcome {
        match self.endpoint.call(&self.request(sms), &sms.outgoing.clearance).await {
            Ok(answer) => answer::outcome(&answer, sms.clock.now()),
            Err(failure) => unanswered(failure),
        }
    }

    fn tidy(&self) {
        self.endpoint.tidy();
    }
}
