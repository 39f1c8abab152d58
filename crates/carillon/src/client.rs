//! The connection to a server: one address for all services.

use std::{error::Error as _, io, time::Duration};

use carillon_contracts::{
    audience::v1::{
        activity_service_client::ActivityServiceClient,
        customer_service_client::CustomerServiceClient,
    },
    billing::v1::account_service_client::AccountServiceClient,
    campaign::v1::{
        audit_service_client::AuditServiceClient, campaign_service_client::CampaignServiceClient,
        content_service_client::ContentServiceClient, key_service_client::KeyServiceClient,
        organisation_service_client::OrganisationServiceClient,
        template_service_client::TemplateServiceClient,
    },
    ops::v1::operator_service_client::OperatorServiceClient,
    report::v1::report_service_client::ReportServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::error::Error;

/// Where `carillon dev` listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:7070";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A page of a thousand customers with many attributes is larger than tonic's 4 MiB.
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;

pub type Connection = InterceptedService<Channel, Authorise>;

/// Cheap to clone: clones share the connection, which is made again by itself after a loss.
#[derive(Clone)]
pub struct Client {
    connection: Connection,
    server: String,
}

/// Adds `authorization: Bearer KEY` to every call.
#[derive(Clone)]
pub struct Authorise {
    header: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Authorise {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let Some(header) = &self.header else {
            return Err(Status::unauthenticated(
                "no API key: give --api-key KEY or set CARILLON_API_KEY (`carillon dev` writes its first key to DIR/api-key)",
            ));
        };
        request.metadata_mut().insert("authorization", header.clone());
        Ok(request)
    }
}

macro_rules! services {
    ($($name:ident => $client:ident),+ $(,)?) => {
        $(pub fn $name(&self) -> $client<Connection> {
            $client::new(self.connection.clone())
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT)
        })+
    };
}

impl Client {
    /// Connects to `server` (`http://HOST:PORT`, or only `HOST:PORT`) as the owner of `key`.
    pub async fn connect(server: &str, key: Option<&str>) -> Result<Self, Error> {
        let server = address(server)?;
        let header = key.map(bearer).transpose()?;
        let endpoint = Endpoint::from_shared(server.clone())
            .map_err(|_| {
                Error::usage(format!("server: '{server}' is not a URL; write http://HOST:PORT"))
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        let channel = endpoint.connect().await.map_err(|error| unreachable(&server, &error))?;
        Ok(Self { connection: InterceptedService::new(channel, Authorise { header }), server })
    }

    /// The address, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    services! {
        organisations => OrganisationServiceClient,
        audit => AuditServiceClient,
        keys => KeyServiceClient,
        campaigns => CampaignServiceClient,
        contents => ContentServiceClient,
        templates => TemplateServiceClient,
        customers => CustomerServiceClient,
        activities => ActivityServiceClient,
        reports => ReportServiceClient,
        accounts => AccountServiceClient,
        operators => OperatorServiceClient,
    }
}

fn address(server: &str) -> Result<String, Error> {
    let server = server.trim().trim_end_matches('/');
    match server.split_once("://") {
        _ if server.is_empty() => Ok(DEFAULT_SERVER.to_owned()),
        Some(("http", _)) => Ok(server.to_owned()),
        None => Ok(format!("http://{server}")),
        Some((scheme, _)) => Err(Error::usage(format!(
            "server: '{scheme}://' is not spoken here; write http://HOST:PORT, and let a proxy beside this command do TLS"
        ))),
    }
}

fn bearer(key: &str) -> Result<MetadataValue<Ascii>, Error> {
    format!("Bearer {}", key.trim()).parse().map_err(|_| {
        Error::usage(
            "api-key: the key holds characters that no key has; copy it again, without line breaks",
        )
    })
}

fn unreachable(server: &str, error: &tonic::transport::Error) -> Error {
    let mut cause = error.source();
    let mut kind = None;
    let mut innermost = error.to_string();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            kind = Some(error.kind());
        }
        innermost = error.to_string();
        cause = error.source();
    }
    let what = match kind {
        Some(io::ErrorKind::ConnectionRefused) => "refused the connection".to_owned(),
        Some(io::ErrorKind::TimedOut) => {
            format!("did not answer in {} s", CONNECT_TIMEOUT.as_secs())
        }
        _ => format!("can't be reached: {innermost}"),
    };
    Error::failed(format!(
        "{server} {what}: is the server running? Start one with `carillon dev`, or name another with --server URL or CARILLON_SERVER"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_scheme() {
        assert_eq!(address("localhost:7070").expect("good"), "http://localhost:7070");
        assert_eq!(address("http://h:1/").expect("good"), "http://h:1");
        assert_eq!(address("").expect("good"), DEFAULT_SERVER);
        assert!(address("https://h:1").is_err());
    }

    #[tokio::test]
    async fn a_refused_connection_names_the_address_and_the_remedy() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let error = Client::connect(&server, Some("k")).await.err().expect("refused").to_string();
        assert!(error.contains(&server) && error.contains("refused the connection"), "{error}");
        assert!(error.contains("carillon dev"), "{error}");
    }
}
