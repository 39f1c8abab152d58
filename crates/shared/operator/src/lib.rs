//! What each service tells operators of itself: the work that waits at its stages, and what it set
//! aside. campaign-api asks every service on the operators' behalf.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use carillon_contracts::{
    ops::v1::{
        Backlog, DiscardParkedRequest, DiscardParkedResponse, GetParkedRequest, GetStatusRequest,
        GetStatusResponse, ListParkedRequest, ListParkedResponse, Parked, ReplayParkedRequest,
        ReplayParkedResponse, ServiceStatus,
        operator_service_server::{OperatorService, OperatorServiceServer},
    },
    time,
};
use carillon_outbox::{
    Subscriber, figures,
    parked::{self, ReplayError},
};
use carillon_service_kit::{
    Database, page,
    status::{internal, invalid, not_found, refused, unavailable},
};
use jiff::Timestamp;
use sea_orm::DbErr;
use tonic::{Request, Response, Status, service::Routes};

const RETRY: Duration = Duration::from_secs(2);

type Backlogs = Pin<Box<dyn Future<Output = Result<Vec<Backlog>, DbErr>> + Send>>;

/// One service's side of the operators' contract.
#[derive(Clone)]
pub struct Operator {
    name: &'static str,
    database: Database,
    subscriber: Subscriber,
    backlogs: Vec<Arc<dyn Fn() -> Backlogs + Send + Sync>>,
}

impl Operator {
    /// `subscriber` is the one that the service's handlers were spawned with: what is replayed is
    /// handled by them.
    pub fn new(name: &'static str, database: Database, subscriber: Subscriber) -> Self {
        Self { name, database, subscriber, backlogs: Vec::new() }
    }

    /// Adds stages of the service's own, beside those of its outbox.
    #[must_use]
    pub fn with_backlogs<F>(mut self, read: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<Backlog>, DbErr>> + Send + 'static,
    {
        self.backlogs.push(Arc::new(move || Box::pin(read())));
        self
    }

    /// For the service's internal address: it asks for no key.
    pub fn routes(self) -> Routes {
        Routes::new(OperatorServiceServer::new(self))
    }

    async fn status(&self) -> Result<ServiceStatus, DbErr> {
        let figures = figures(&self.database).await?;
        let mut backlogs = vec![backlog(
            "outbox",
            figures.unsent,
            figures.oldest_unsent_ms,
            "events that the broker has not confirmed",
        )];
        for lag in figures.lags.iter().filter(|lag| lag.behind > 0) {
            let detail = format!("{} to {}", lag.stream, lag.subscriber);
            backlogs.push(backlog("marks", lag.behind, None, detail));
        }
        for read in &self.backlogs {
            backlogs.extend(read().await?);
        }
        Ok(ServiceStatus {
            service: self.name.to_owned(),
            unreachable: String::new(),
            backlogs,
            parked: figures.parked.cast_unsigned(),
        })
    }

    fn shown(&self, parked: parked::Parked) -> Parked {
        Parked {
            id: format!("{}/{}", self.name, parked.id),
            service: self.name.to_owned(),
            source: parked.source,
            error: parked.error,
            park_time: instant(parked.parked_at),
            ..Parked::default()
        }
    }

    fn number(&self, id: &str) -> Result<i64, Status> {
        let number = id.split_once('/').filter(|(service, _)| *service == self.name);
        number.and_then(|(_, number)| number.parse().ok()).ok_or_else(|| {
            let shown: String = id.chars().take(64).collect();
            invalid("id", format!("'{shown}' is none of {}'s, such as {}/7", self.name, self.name))
        })
    }
}

/// Work that waits at a stage; `oldest_ms` counts from 1970.
pub fn backlog(
    stage: &str,
    count: i64,
    oldest_ms: Option<i64>,
    detail: impl Into<String>,
) -> Backlog {
    Backlog {
        stage: stage.to_owned(),
        count: count.max(0).cast_unsigned(),
        oldest_time: oldest_ms.and_then(instant),
        detail: detail.into(),
    }
}

fn instant(ms: i64) -> Option<prost_types::Timestamp> {
    Timestamp::from_millisecond(ms).ok().map(time::to_wire)
}

fn none_under(id: &str) -> Status {
    not_found(format!(
        "id: nothing is parked under '{id}'; it was replayed or discarded, or `carillon ops \
         parked list` shows another"
    ))
}

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let services = vec![self.status().await.map_err(internal)?];
        Ok(Response::new(GetStatusResponse { services }))
    }

    async fn list_parked(
        &self,
        request: Request<ListParkedRequest>,
    ) -> Result<Response<ListParkedResponse>, Status> {
        let size = page::size(request.get_ref().page_size)?;
        let rows = parked::list(&self.database, size).await.map_err(internal)?;
        let parked = rows.into_iter().map(|row| self.shown(row)).collect();
        Ok(Response::new(ListParkedResponse { parked }))
    }

    async fn get_parked(
        &self,
        request: Request<GetParkedRequest>,
    ) -> Result<Response<Parked>, Status> {
        let id = &request.get_ref().id;
        let found = parked::get(&self.database, self.number(id)?).await.map_err(internal)?;
        let (row, body) = found.ok_or_else(|| none_under(id))?;
        let text = parked::in_words(&row, &body).unwrap_or_default();
        Ok(Response::new(Parked { body, text, ..self.shown(row) }))
    }

    async fn replay_parked(
        &self,
        request: Request<ReplayParkedRequest>,
    ) -> Result<Response<ReplayParkedResponse>, Status> {
        let id = &request.get_ref().id;
        match self.subscriber.replay(self.number(id)?).await {
            Ok(()) => {
                tracing::info!(id, "parked message replayed by an operator");
                Ok(Response::new(ReplayParkedResponse {}))
            }
            Err(ReplayError::NotFound(_)) => Err(none_under(id)),
            Err(ReplayError::Failed(error)) => Err(refused(
                "REPLAY_FAILED",
                format!("id: '{id}' failed again and stays parked: {error}"),
            )),
            Err(ReplayError::Broker(error)) => Err(unavailable(
                format!("id: '{id}' stays parked, for its queue did not take it: {error}"),
                RETRY,
            )),
            Err(ReplayError::Database(error)) => Err(internal(error)),
        }
    }

    async fn discard_parked(
        &self,
        request: Request<DiscardParkedRequest>,
    ) -> Result<Response<DiscardParkedResponse>, Status> {
        let id = &request.get_ref().id;
        if !parked::discard(&self.database, self.number(id)?).await.map_err(internal)? {
            return Err(none_under(id));
        }
        tracing::warn!(id, "parked message discarded by an operator");
        Ok(Response::new(DiscardParkedResponse {}))
    }
}
