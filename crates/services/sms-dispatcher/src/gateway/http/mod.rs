//! A provider that is described by how it is called.

mod answer;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use carillon_contracts::campaign::v1::HttpGateway;
use carillon_dispatch::Outcome;
use carillon_http_gateway::{Field, Fields, Shape};
use http::{HeaderValue, Request, header};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};

use super::{
    provider::{Provider, Sms, unanswered},
    verdict::misconfigured,
    wire::{Endpoint, Wire},
};
use crate::receipts::About;

pub(crate) struct Described {
    name: String,
    endpoint: Endpoint,
    connections: usize,
    shape: Shape,
    from: String,
    token: String,
}

impl Described {
    pub(crate) fn new(
        settings: &HttpGateway,
        from: &str,
        token: &str,
        wire: &Arc<Wire>,
    ) -> Result<Self, String> {
        let shape = Shape::compile(settings).map_err(|wrong| wrong.to_string())?;
        // Where messages go and how repeats are known there: another is another gateway.
        let digest = Sha256::new()
            .chain_update(&settings.url)
            .chain_update([0])
            .chain_update(settings.idempotency_header.to_ascii_lowercase())
            .finalize();
        let digest: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            name: format!("http/{}:{}/{digest}", shape.origin.host, shape.origin.port),
            endpoint: Endpoint::new(Arc::clone(wire), shape.origin.clone()),
            connections: wire.connections(),
            shape,
            from: from.to_owned(),
            token: token.to_owned(),
        })
    }

    /// None where a value cannot stand where the settings put it.
    fn request(&self, sms: &Sms<'_>) -> Option<Request<Full<Bytes>>> {
        let values = Values::of(self, sms);
        let shape = &self.shape;
        let body = shape.body.as_ref().map(|(_, body)| body.render(&values)).unwrap_or_default();
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = shape.method.clone();
        *request.uri_mut() = shape.target.render(&values).parse().ok()?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.endpoint.origin().header.clone());
        for (name, value) in &shape.headers {
            let value = HeaderValue::from_bytes(value.render(&values).as_bytes()).ok()?;
            headers.insert(name.clone(), value);
        }
        if let Some((content_type, _)) = &shape.body {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        if let Some(name) = &shape.idempotency {
            headers.insert(name.clone(), HeaderValue::try_from(&values.message_id).ok()?);
        }
        Some(request)
    }
}

#[async_trait]
impl Provider for Described {
    fn name(&self) -> &str {
        &self.name
    }

    fn connections(&self) -> usize {
        self.connections
    }

    fn is_idempotent(&self) -> bool {
        self.shape.idempotency.is_some()
    }

    async fn send(&self, sms: &Sms<'_>) -> Outcome {
        let Some(request) = self.request(sms) else {
            return misconfigured("gateway_misconfigured");
        };
        match self.endpoint.call(&request, &sms.outgoing.clearance).await {
            Ok(answer) => answer::outcome(&self.shape, &answer, sms.clock.now()),
            Err(failure) => unanswered(failure),
        }
    }

    fn tidy(&self) {
        self.endpoint.tidy();
    }
}

/// The fields of one message.
struct Values<'a> {
    to: &'a str,
    from: &'a str,
    text: &'a str,
    token: &'a str,
    message_id: String,
    deadline: String,
    validity_seconds: String,
    callback_url: String,
}

impl<'a> Values<'a> {
    fn of(gateway: &'a Described, sms: &'a Sms<'a>) -> Self {
        let outgoing = sms.outgoing;
        let about = About {
            organisation: outgoing.organisation,
            run_day: outgoing.run_day,
            message: outgoing.message,
        };
        Self {
            to: outgoing.recipient.address(),
            from: &gateway.from,
            text: sms.text,
            token: &gateway.token,
            message_id: outgoing.message.to_string(),
            deadline: outgoing.deadline.to_string(),
            validity_seconds: sms.validity_seconds().to_string(),
            callback_url: sms.receipts.http_url(about),
        }
    }
}

impl Fields for Values<'_> {
    fn field(&self, field: Field) -> &str {
        match field {
            Field::To => self.to,
            Field::From => self.from,
            Field::Text => self.text,
            Field::MessageId => &self.message_id,
            Field::Deadline => &self.deadline,
            Field::ValiditySeconds => &self.validity_seconds,
            Field::CallbackUrl => &self.callback_url,
            Field::Token => self.token,
        }
    }
}
