use super::*;
use crate::spans::{Delivery, Protocol, Request, Through, accepted, pass, pass_ended};
use opentelemetry::Value;
use opentelemetry::trace::{SpanKind, Status};
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use tracing::instrument::WithSubscriber as _;
use tracing::{Dispatch, Instrument as _, Subscriber};
use tracing_subscriber::layer::SubscriberExt as _;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Keeps what it is given, or refuses it.
#[derive(Clone, Debug, Default)]
struct Kept {
    spans: Arc<Mutex<Vec<SpanData>>>,
    refuses: bool,
}

impl SpanExporter for Kept {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let refused = Err(OTelSdkError::InternalFailure("no".to_owned()));
        let came = if self.refuses { refused } else { Ok(()) };
        self.spans.lock().unwrap().extend(batch);
        std::future::ready(came)
    }
}

/// What listens in one test.
fn subscriber(provider: &SdkTracerProvider) -> impl Subscriber + Send + Sync + use<> {
    /// Where there is but one subscriber, a thread that has none switches off the spans that it is the first to meet, for all.
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    tracing_subscriber::registry().with(layer(provider))
}

/// The spans of what is done.
fn spans_of(done: impl FnOnce()) -> Vec<SpanData> {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let subscriber = subscriber(&provider);
    tracing::subscriber::with_default(subscriber, done);
    provider.shutdown().unwrap();
    kept.spans.lock().unwrap().clone()
}

/// The spans of what is done meanwhile, for tests of whoever makes any.
pub(crate) async fn spans_during<W: Future>(work: W) -> (W::Output, Vec<SpanData>) {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let subscriber = subscriber(&provider);
    let came = work.with_subscriber(subscriber).await;
    provider.shutdown().unwrap();
    let spans = kept.spans.lock().unwrap().clone();
    (came, spans)
}

fn said(span: &SpanData, key: &str) -> Option<String> {
    let found: Vec<&Value> = span.attributes.iter().filter(|kv| kv.key.as_str() == key).map(|kv| &kv.value).collect();
    assert!(found.len() < 2, "{key} is told twice: {found:?}");
    found.first().map(|value| value.as_str().into_owned())
}

fn request(status: Option<u16>, outcome: &'static str, answer: bool, retry_after: Option<Duration>) {
    let through = Through { namespace: "n".to_owned(), connection: "tracker-a".to_owned() };
    let protocol = Protocol::Http { method: "GET", template: "/releases/{id}" };
    let mut request = Request::begin(&through, "http", "tracker", protocol);
    if let Some(status) = status {
        request.answered(status);
    }
    request.ended(outcome, answer, retry_after);
}

#[test]
fn a_pass_and_its_requests() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let spans = spans_of(|| {
        let span = pass("n", "c");
        let work = async {
            accepted("k", "e-1", Some("/governance/reviews"), Some(PARENT));
            tracing::error!(secret = "a-token-that-shall-never-show", "a log line is none of a trace's");
            request(Some(200), "success", true, None);
            request(Some(429), "too_many_requests", false, Some(Duration::from_secs(7)));
            request(None, "unavailable", false, None);
        };
        runtime.block_on(work.instrument(span.clone()));
        pass_ended(&span, "waiting", false);
    });
    let [first, second, third, pass] = &spans[..] else { panic!("{spans:?}") };
    assert!(spans.iter().all(|span| span.events.is_empty()));
    assert_eq!(pass.parent_span_id, SpanId::INVALID);
    assert_eq!((pass.name.as_ref(), said(pass, "releaseclosure.outcome").as_deref()), ("pass", Some("waiting")));
    assert_eq!(said(pass, "releaseclosure.key").as_deref(), Some("k"));
    assert_eq!(said(pass, "cloudevents.event_id").as_deref(), Some("e-1"));
    assert_eq!(said(pass, "cloudevents.event_source").as_deref(), Some("/governance/reviews"));
    let links: Vec<String> = pass.links.iter().map(|link| link.span_context.trace_id().to_string()).collect();
    assert_eq!(links, ["4bf92f3577b34da6a3ce929d0e0e4736"]);
    for request in [first, second, third] {
        assert_eq!(request.parent_span_id, pass.span_context.span_id());
        assert_eq!((request.name.as_ref(), &request.span_kind), ("GET /releases/{id}", &SpanKind::Client));
        assert_eq!(said(request, "url.template").as_deref(), Some("/releases/{id}"));
    }
    assert_eq!((said(first, "error.type"), &first.status), (None, &Status::Unset));
    assert_eq!(said(second, "error.type").as_deref(), Some("429"));
    assert_eq!(said(second, "releaseclosure.retry_after").as_deref(), Some("7"));
    assert_eq!(said(third, "error.type").as_deref(), Some("unavailable"));
    assert!(matches!(third.status, Status::Error { .. }));
}

/// A delivery that names no span has the object linked to its own.
#[test]
fn a_delivery_is_whom_its_object_is_linked_to() {
    let mut own = None;
    let spans = spans_of(|| {
        let delivery = Delivery::begin("webhook");
        own = delivery.context(None);
        delivery.ended("created");
        let delivery = Delivery::begin("nats");
        let sender = TraceParent::parse(PARENT).unwrap();
        assert_eq!(delivery.context(Some(sender.clone())), Some(sender));
        delivery.ended("met");
    });
    let [first, second] = &spans[..] else { panic!("{spans:?}") };
    let context = &first.span_context;
    let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
    assert_eq!(own.map(|own| own.to_string()), Some(expected));
    assert_eq!((&first.span_kind, &second.span_kind), (&SpanKind::Server, &SpanKind::Consumer));
    assert_eq!((first.links.len(), second.links.len()), (0, 1));
}

/// What the sampler leaves out is not there to be linked to.
#[test]
fn a_delivery_that_is_not_told_is_not_linked_to() {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOff)
        .with_simple_exporter(kept)
        .build();
    let subscriber = subscriber(&provider);
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(Delivery::begin("webhook").context(None), None);
    });
}

#[test]
fn what_is_lost_is_counted_until_it_is_taken_again() {
    let counting = Counting::new(Kept { refuses: true, ..Kept::default() });
    let refused = || Err(OTelSdkError::InternalFailure("no".to_owned()));
    counting.came(3, refused());
    counting.came(4, refused());
    assert_eq!(counting.lost.load(Ordering::Relaxed), 7);
    counting.came(1, Ok(()));
    assert_eq!(counting.lost.load(Ordering::Relaxed), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(counting.export(Vec::new())).is_ok());
}

#[test]
fn nothing_is_started_where_nothing_is_asked_for() {
    let (layer, exporting) = start(Switch::Off);
    assert!(layer.is_none() && matches!(exporting.0, Going::Off));
}
