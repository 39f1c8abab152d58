//! Every service's own answers to operators, gathered behind the platform's key.

use std::time::Duration;

use carillon_audit::{Change, acts, fields};
use carillon_contracts::{
    ops::v1::{
        DiscardParkedRequest, DiscardParkedResponse, GetParkedRequest, GetStatusRequest,
        GetStatusResponse, ListParkedRequest, ListParkedResponse, Parked, ReplayParkedRequest,
        ReplayParkedResponse, ServiceStatus, operator_service_client::OperatorServiceClient,
        operator_service_server::OperatorService,
    },
    time,
};
use carillon_service_kit::{
    page,
    rpc::Transport,
    status::{internal, invalid, unavailable},
};
use carillon_tenancy::Caller;
use futures::future::join_all;
use tonic::{Code, Request, Response, Status};

use crate::CampaignApi;

const WITHIN: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(5);
/// Names the services that a list lacks because they did not answer.
const UNREACHABLE: &str = "carillon-unreachable";
/// A parked message is shown whole, and a batch is up to 1 MiB of it.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// The way to every service's own side of the contract, by name.
#[derive(Clone)]
pub(crate) struct Operators {
    api: CampaignApi,
    services: Vec<(&'static str, OperatorServiceClient<Transport>)>,
}

impl Operators {
    pub(crate) fn new(api: CampaignApi, services: Vec<(&'static str, Transport)>) -> Self {
        let client = |transport| {
            OperatorServiceClient::new(transport).max_decoding_message_size(MESSAGE_LIMIT)
        };
        let services = services.into_iter().map(|(name, way)| (name, client(way))).collect();
        Self { api, services }
    }

    async fn allow<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.api.platform_caller(request.metadata(), "operates the server").await
    }

    /// Writes down what is about to be done to a parked message, which is done elsewhere: a log that
    /// says too much is better than one that lacks something. Answers the way to its service.
    async fn recorded(
        &self,
        caller: &Caller,
        act: &'static str,
        id: &str,
    ) -> Result<(&'static str, OperatorServiceClient<Transport>), Status> {
        let (name, mut client) = self.of(id)?;
        let request = GetParkedRequest { id: id.to_owned() };
        let parked = ask(name, client.get_parked(request)).await?;
        let parked_at = parked.park_time.and_then(|at| time::from_wire(&at));
        let before = Change::from(fields([
            ("source", parked.source.into()),
            ("park_time", parked_at.map(|at| at.to_string()).into()),
        ]));
        self.write(caller, act, id, before).await?;
        Ok((name, client))
    }

    /// Writes down too what the service did not do.
    async fn answered<T>(
        &self,
        caller: &Caller,
        id: &str,
        answer: Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        if let Err(status) = &answer {
            let code = format!("{:?}", status.code());
            let after = Change::to(fields([("code", code.into())]));
            self.write(caller, acts::PARKED_REFUSED, id, after).await?;
        }
        answer.map(Response::new)
    }

    async fn write(
        &self,
        caller: &Caller,
        act: &'static str,
        id: &str,
        change: Change,
    ) -> Result<(), Status> {
        let tx = self.api.database.begin().await.map_err(internal)?;
        let written = self.api.record(&tx, caller, act, format!("parked/{id}"), change).await;
        written.map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// The service that a parked message's id names.
    fn of(&self, id: &str) -> Result<(&'static str, OperatorServiceClient<Transport>), Status> {
        let service = id.split_once('/').map_or(id, |(service, _)| service);
        self.named("id", service)
    }

    fn named(
        &self,
        field: &str,
        service: &str,
    ) -> Result<(&'static str, OperatorServiceClient<Transport>), Status> {
        let found = self.services.iter().find(|(name, _)| *name == service);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = self.services.iter().map(|(name, _)| *name).collect();
            let shown: String = service.chars().take(64).collect();
            let rule = format!("'{shown}' is not a service; there are {}", names.join(", "));
            invalid(field, rule)
        })
    }
}

/// A service's answer, or why there was none.
async fn ask<T>(
    name: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let answer = match tokio::time::timeout(WITHIN, call).await {
        Ok(Ok(answer)) => return Ok(answer.into_inner()),
        Ok(Err(status)) => status,
        Err(_) => Status::deadline_exceeded("no answer in 5 s"),
    };
    Err(match answer.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Internal => {
            Status::with_details(answer.code(), answer.message(), answer.details().to_vec().into())
        }
        code => {
            let why = match answer.message() {
                "" => code.description(),
                message => message,
            };
            tracing::warn!(service = name, ?code, why, "a service did not answer");
            unavailable(format!("{name} can't be reached: {why}"), RETRY)
        }
    })
}

#[tonic::async_trait]
impl OperatorService for Operators {
    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        self.allow(&request).await?;
        let asked = self.services.iter().map(|(name, client)| async move {
            match ask(name, client.clone().get_status(GetStatusRequest {})).await {
                Ok(answer) => answer.services,
                Err(status) => vec![ServiceStatus {
                    service: (*name).to_owned(),
                    unreachable: status.message().to_owned(),
                    ..ServiceStatus::default()
                }],
            }
        });
        let services = join_all(asked).await.into_iter().flatten().collect();
        Ok(Response::new(GetStatusResponse { services }))
    }

    async fn list_parked(
        &self,
        request: Request<ListParkedRequest>,
    ) -> Result<Response<ListParkedResponse>, Status> {
        self.allow(&request).await?;
        let ListParkedRequest { service, page_size } = request.into_inner();
        let most = usize::try_from(page::size(page_size)?).unwrap_or(usize::MAX);
        let request = |service: &str| ListParkedRequest { service: service.to_owned(), page_size };
        if !service.is_empty() {
            let (name, mut client) = self.named("service", &service)?;
            return ask(name, client.list_parked(request(name))).await.map(Response::new);
        }
        let asked = self.services.iter().map(|(name, client)| async move {
            (*name, ask(name, client.clone().list_parked(request(name))).await)
        });
        let (mut parked, mut unreachable) = (Vec::new(), Vec::new());
        for (name, answer) in join_all(asked).await {
            match answer {
                Ok(answer) => parked.extend(answer.parked),
                Err(_) => unreachable.push(name),
            }
        }
        parked.sort_by_key(|one: &Parked| one.park_time.map(|at| (at.seconds, at.nanos)));
        parked.truncate(most);
        let mut response = Response::new(ListParkedResponse { parked });
        if let (false, Ok(names)) = (unreachable.is_empty(), unreachable.join(",").parse()) {
            response.metadata_mut().insert(UNREACHABLE, names);
        }
        Ok(response)
    }

    async fn get_parked(
        &self,
        request: Request<GetParkedRequest>,
    ) -> Result<Response<Parked>, Status> {
        self.allow(&request).await?;
        let request = request.into_inner();
        let (name, mut client) = self.of(&request.id)?;
        ask(name, client.get_parked(request)).await.map(Response::new)
    }

    async fn replay_parked(
        &self,
        request: Request<ReplayParkedRequest>,
    ) -> Result<Response<ReplayParkedResponse>, Status> {
        let caller = self.allow(&request).await?;
        let request = request.into_inner();
        let id = request.id.clone();
        let (name, mut client) = self.recorded(&caller, acts::PARKED_REPLAYED, &id).await?;
        let answer = ask(name, client.replay_parked(request)).await;
        self.answered(&caller, &id, answer).await
    }

    async fn discard_parked(
        &self,
        request: Request<DiscardParkedRequest>,
    ) -> Result<Response<DiscardParkedResponse>, Status> {
        let caller = self.allow(&request).await?;
        let request = request.into_inner();
        let id = request.id.clone();
        let (name, mut client) = self.recorded(&caller, acts::PARKED_DISCARDED, &id).await?;
        let answer = ask(name, client.discard_parked(request)).await;
        self.answered(&caller, &id, answer).await
    }
}
