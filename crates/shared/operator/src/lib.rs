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

/// Work that a service sets aside in tables of its own, beside messages that could not be handled.
/// Ids are without the service's name, and no numbers.
#[tonic::async_trait]
pub trait SetAside: Send + Sync + 'static {
    async fn count(&self) -> Result<i64, DbErr>;

    /// The oldest first.
    async fn list(&self, limit: i64) -> Result<Vec<Parked>, DbErr>;

    async fn get(&self, id: &str) -> Result<Option<Parked>, DbErr>;

    /// Has it go on. Answers whether it was there.
    async fn replay(&self, id: &str) -> Result<bool, DbErr>;

    /// Gives it up, in such a way that it is accounted for. Answers whether it was there.
    async fn discard(&self, id: &str) -> Result<bool, DbErr>;
}

/// What an id is of.
enum Named<'a> {
    Message(i64),
    Aside(&'a dyn SetAside, &'a str),
}

/// One service's side of the operators' contract.
#[derive(Clone)]
pub struct Operator {
    name: &'static str,
    database: Database,
    subscriber: Subscriber,
    aside: Option<Arc<dyn SetAside>>,
    backlogs: Vec<Arc<dyn Fn() -> Backlogs + Send + Sync>>,
}

impl Operator {
    /// `subscriber` is the one that the service's handlers were spawned with: what is replayed is
    /// handled by them.
    pub fn new(name: &'static str, database: Database, subscriber: Subscriber) -> Self {
        Self { name, database, subscriber, aside: None, backlogs: Vec::new() }
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

    /// Adds what the service sets aside itself.
    #[must_use]
    pub fn with_aside(mut self, aside: Arc<dyn SetAside>) -> Self {
        self.aside = Some(aside);
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
        for (stream, missed) in figures.missed.into_iter().filter(|(_, missed)| *missed > 0) {
            backlogs.push(backlog("missed", missed, None, stream));
        }
        for read in &self.backlogs {
            backlogs.extend(read().await?);
        }
        let aside = match &self.aside {
            Some(aside) => aside.count().await?,
            None => 0,
        };
        Ok(ServiceStatus {
            service: self.name.to_owned(),
            unreachable: String::new(),
            backlogs,
            parked: (figures.parked + aside).cast_unsigned(),
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

    fn named<'a>(&'a self, id: &'a str) -> Result<Named<'a>, Status> {
        let ours = id.split_once('/').filter(|(service, _)| *service == self.name);
        match (ours.map(|(_, rest)| (rest, rest.parse())), self.aside.as_deref()) {
            (Some((_, Ok(number))), _) => Ok(Named::Message(number)),
            (Some((rest, Err(_))), Some(aside)) => Ok(Named::Aside(aside, rest)),
            _ => {
                let (shown, name) = (id.chars().take(64).collect::<String>(), self.name);
                Err(invalid("id", format!("'{shown}' is none of {name}'s, such as {name}/7")))
            }
        }
    }

    /// As the service names it.
    fn of_aside(&self, parked: Parked) -> Parked {
        let id = format!("{}/{}", self.name, parked.id);
        Parked { id, service: self.name.to_owned(), ..parked }
    }

    async fn replay_message(&self, id: &str, number: i64) -> Result<(), Status> {
        match self.subscriber.replay(number).await {
            Ok(()) => Ok(()),
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
        let mut parked: Vec<Parked> = rows.into_iter().map(|row| self.shown(row)).collect();
        if let Some(aside) = &self.aside {
            let rows = aside.list(size).await.map_err(internal)?;
            parked.extend(rows.into_iter().map(|row| self.of_aside(row)));
            parked.sort_by_key(|one| one.park_time.map(|at| (at.seconds, at.nanos)));
            parked.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        }
        Ok(Response::new(ListParkedResponse { parked }))
    }

    async fn get_parked(
        &self,
        request: Request<GetParkedRequest>,
    ) -> Result<Response<Parked>, Status> {
        let id = &request.get_ref().id;
        let found = match self.named(id)? {
            Named::Message(number) => {
                let found = parked::get(&self.database, number).await.map_err(internal)?;
                found.map(|(row, body)| {
                    let text = parked::in_words(&row, &body).unwrap_or_default();
                    Parked { body, text, ..self.shown(row) }
                })
            }
            Named::Aside(aside, rest) => {
                let found = aside.get(rest).await.map_err(internal)?;
                found.map(|found| self.of_aside(found))
            }
        };
        found.map(Response::new).ok_or_else(|| none_under(id))
    }

    async fn replay_parked(
        &self,
        request: Request<ReplayParkedRequest>,
    ) -> Result<Response<ReplayParkedResponse>, Status> {
        let id = &request.get_ref().id;
        match self.named(id)? {
            Named::Message(number) => self.replay_message(id, number).await?,
            Named::Aside(aside, rest) => {
                if !aside.replay(rest).await.map_err(internal)? {
                    return Err(none_under(id));
                }
            }
        }
        tracing::info!(id, "what was parked was replayed by an operator");
        Ok(Response::new(ReplayParkedResponse {}))
    }

    async fn discard_parked(
        &self,
        request: Request<DiscardParkedRequest>,
    ) -> Result<Response<DiscardParkedResponse>, Status> {
        let id = &request.get_ref().id;
        let discarded = match self.named(id)? {
            Named::Message(number) => parked::discard(&self.database, number).await,
            Named::Aside(aside, rest) => aside.discard(rest).await,
        };
        if !discarded.map_err(internal)? {
            return Err(none_under(id));
        }
        tracing::warn!(id, "what was parked was discarded by an operator");
        Ok(Response::new(DiscardParkedResponse {}))
    }
}
