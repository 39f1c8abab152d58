use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use carillon_e2e::{Stack, customers};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use crate::{PATIENCE, until_settled};

/// Spans with the service that each is from.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

struct Receiver(Spans);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|one| one.key == "service.name");
            let name = match name.and_then(|one| one.value?.value) {
                Some(Value::StringValue(name)) => name,
                _ => String::new(),
            };
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let mut kept = self.0.lock().expect("unpoisoned");
            kept.extend(spans.map(|span| (name.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// What each service did in a trace, such as "scheduler: fire".
fn story(spans: &Spans, trace: &[u8]) -> BTreeSet<String> {
    let spans = spans.lock().expect("unpoisoned");
    let ours = spans.iter().filter(|(_, span)| span.trace_id == trace);
    ours.map(|(service, span)| format!("{service}: {}", span.name)).collect()
}

#[test]
fn a_campaign_is_one_connected_story_from_its_start_to_the_report() {
    if !carillon_testkit::is_distributed() {
        return;
    }
    let spans = Spans::default();
    let collector = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = collector.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Receiver(Arc::clone(&spans))));
    collector.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let stack = Stack::start(
        &[],
        &[
            ("CARILLON__TELEMETRY__OTLP_ENDPOINT", endpoint.as_str()),
            ("CARILLON__SMS_DISPATCHER__SANDBOX__ENABLED", "true"),
            ("CARILLON__SMS_DISPATCHER__SANDBOX__FAIL_SHARE", "0.1"),
            ("CARILLON__EMAIL_DISPATCHER__SANDBOX__ENABLED", "true"),
        ],
    );
    let file = stack.write("customers.csv", customers::csv(100));
    let _ = stack.run(&["customers", "import", &file]).ok();
    stack.credit(500);
    let id = stack.campaign(customers::CAMPAIGN);
    let _ = stack.run(&["campaign", "start", &id, "--yes"]).ok();
    let _ = until_settled(&stack, &id);

    let expected: BTreeSet<String> = [
        "campaign-api: carillon.campaign.v1.CampaignService/StartCampaign",
        "scheduler: event",
        "scheduler: fire",
        "segment-evaluator: event",
        "segment-evaluator: plan",
        "segment-evaluator: release batch",
        "sms-dispatcher: send batch",
        "sms-dispatcher: retry batch",
        "email-dispatcher: send batch",
        "campaign-api: event",
        "billing: event",
    ]
    .map(str::to_owned)
    .into();
    let begun = Instant::now();
    loop {
        let traces: BTreeMap<Vec<u8>, ()> = {
            let kept = spans.lock().expect("unpoisoned");
            let started = kept.iter().filter(|(_, span)| span.name.ends_with("/StartCampaign"));
            started.map(|(_, span)| (span.trace_id.clone(), ())).collect()
        };
        let told = traces.keys().map(|trace| story(&spans, trace)).next().unwrap_or_default();
        if expected.is_subset(&told) {
            let trace = traces.keys().next().expect("a trace");
            assert_connected(&spans, trace);
            assert_linked(&spans, trace);
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "missing {:?} in {told:?}", expected.difference(&told));
        thread::sleep(Duration::from_millis(200));
    }
}

/// Every span but those that the caller's own spans would be the parents of hangs on another one.
fn assert_connected(spans: &Spans, trace: &[u8]) {
    let spans = spans.lock().expect("unpoisoned");
    let ours: Vec<&Span> =
        spans.iter().map(|(_, span)| span).filter(|span| span.trace_id == trace).collect();
    let known: BTreeSet<&[u8]> = ours.iter().map(|span| span.span_id.as_slice()).collect();
    let roots: Vec<&str> = ours
        .iter()
        .filter(|span| !known.contains(span.parent_span_id.as_slice()))
        .map(|span| span.name.as_str())
        .collect();
    assert_eq!(roots.len(), 1, "one beginning: {roots:?}");
}

/// What was tried again names the attempt before it.
fn assert_linked(spans: &Spans, trace: &[u8]) {
    let spans = spans.lock().expect("unpoisoned");
    let ours: Vec<&Span> =
        spans.iter().map(|(_, span)| span).filter(|span| span.trace_id == trace).collect();
    let named = |name: &'static str| ours.iter().filter(move |span| span.name == name);
    let sends: BTreeSet<&[u8]> = named("send batch").map(|span| span.span_id.as_slice()).collect();
    for retry in named("retry batch") {
        let links: Vec<&[u8]> = retry.links.iter().map(|link| link.span_id.as_slice()).collect();
        assert!(links.iter().any(|cause| sends.contains(cause)), "{links:?}");
    }
}
