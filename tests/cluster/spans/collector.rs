//! A collector: takes OTLP over HTTP as the specification has it, and keeps what it was sent.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::sync::{Arc, Mutex};

/// What a collector does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Takes everything.
    Takes,
    /// Answers everything with 500.
    Fails,
    /// Answers nothing.
    Hangs,
}

#[derive(Default)]
struct Kept {
    bodies: Vec<Bytes>,
    keys: Vec<Option<String>>,
    spans: Vec<Span>,
    resources: Vec<Vec<KeyValue>>,
}

#[derive(Clone)]
pub struct Collector {
    mood: Mood,
    pub endpoint: String,
    kept: Arc<Mutex<Kept>>,
}

impl Collector {
    /// One that listens on this machine.
    pub async fn start(mood: Mood) -> Collector {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Collector { mood, endpoint, kept: Arc::default() };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        collector
    }

    /// What sends everything here, and soon.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.endpoint.clone()),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("x-collector-key={KEY}")),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=of-tests".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ]
    }

    /// How many batches it was sent.
    pub fn batches(&self) -> usize {
        self.kept.lock().unwrap().bodies.len()
    }

    /// Every span that it took, by the time at which it began.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = self.kept.lock().unwrap().spans.clone();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }

    /// Attributes of what sent them: the same with every batch.
    pub fn resource(&self) -> Vec<KeyValue> {
        let kept = self.kept.lock().unwrap();
        let first = kept.resources.first().cloned().expect("a batch");
        assert!(kept.resources.iter().all(|resource| *resource == first));
        first
    }

    /// The keys that were shown to it.
    pub fn keys(&self) -> Vec<Option<String>> {
        self.kept.lock().unwrap().keys.clone()
    }

    /// Whether a text is anywhere in what it was sent.
    pub fn was_sent(&self, text: &str) -> bool {
        let kept = self.kept.lock().unwrap();
        kept.bodies.iter().any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}

/// What a collector lets in.
pub const KEY: &str = "a-key-of-the-collector-alone";

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body.clone()).expect("an export of spans");
    {
        let mut kept = collector.kept.lock().unwrap();
        kept.bodies.push(body);
        kept.keys.push(headers.get("x-collector-key").map(|key| key.to_str().unwrap().to_owned()));
        for of_resource in request.resource_spans {
            kept.resources.push(of_resource.resource.unwrap_or_default().attributes);
            kept.spans.extend(of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans));
        }
    }
    match collector.mood {
        Mood::Takes => {
            let reply = ExportTraceServiceResponse::default().encode_to_vec();
            ([(header::CONTENT_TYPE, "application/x-protobuf")], reply).into_response()
        }
        Mood::Fails => (StatusCode::INTERNAL_SERVER_ERROR, "<b>words of the collector</b>").into_response(),
        Mood::Hangs => std::future::pending().await,
    }
}

/// An attribute as text. None is there twice.
pub fn said(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found: Vec<&KeyValue> = attributes.iter().filter(|attribute| attribute.key == key).collect();
    assert!(found.len() < 2, "{key} is told twice");
    match found.first()?.value.as_ref()? {
        AnyValue { value: Some(Any::StringValue(text)) } => Some(text.clone()),
        AnyValue { value: Some(Any::IntValue(number)) } => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

/// The context of a span in the form of W3C Trace Context.
pub fn context(trace: &[u8], span: &[u8]) -> String {
    format!("00-{}-{}-01", hex::encode(trace), hex::encode(span))
}
