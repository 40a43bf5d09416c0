//! Spans on their way to a collector: OTLP over HTTP, in protobuf.
//!
//! **Guarantees:** nothing waits for the collector. A span that has ended goes into a queue of bounded length (`OTEL_BSP_MAX_QUEUE_SIZE`, else 2048) or
//! is lost; a thread of its own takes it from there. That spans are lost is logged when it begins and when it is over, with their number,
//! and not per span. A clean stop waits [`FLUSH_MAX`] for what is left, at most.
//!
//! What can be said in the environment is the specification's: the SDK reads sampler, limits, batches and resource, the
//! exporter endpoint and headers.

use super::{Layer, Switch, TARGET, TraceParent};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};
use std::error::Error;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::{Span, info, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;

/// The longest that a stop waits for the collector.
pub(super) const FLUSH_MAX: Duration = Duration::from_secs(3);

/// What goes on beside the operator, until it stops.
#[derive(Debug)]
pub struct Exporting(Going);

#[derive(Debug)]
enum Going {
    Off,
    On(SdkTracerProvider),
    /// Not as the environment has it, and why.
    Unfit(String),
}

/// Starts what the environment asks for. Nothing is sent, and no thread runs, where it asks for nothing.
#[must_use]
pub fn start(switch: Switch) -> (Option<Layer>, Exporting) {
    let Switch::On { timeout } = switch else { return (None, Exporting(Going::Off)) };
    let provider = match exporter(timeout) {
        Ok(exporter) => {
            let processor = BatchSpanProcessor::builder(Counting::new(exporter)).build();
            SdkTracerProvider::builder().with_resource(resource()).with_span_processor(processor).build()
        }
        Err(error) => return (None, Exporting(Going::Unfit(error.to_string()))),
    };
    (Some(layer(&provider)), Exporting(Going::On(provider)))
}

fn layer(provider: &SdkTracerProvider) -> Layer {
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("releaseclosure"))
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        // Neither a log line nor a library's span: they say more than may be told.
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET));
    Box::new(layer)
}

fn exporter(timeout: Duration) -> Result<Otlp, Box<dyn Error>> {
    // A redirect would be followed with a GET, and what came of that be taken for the collector's word; and the headers may hold a
    // secret that is for the collector alone.
    let redirect = reqwest::redirect::Policy::none();
    let client = reqwest::blocking::Client::builder().redirect(redirect).timeout(timeout).build()?;
    // The one protocol that there is: a variable that names another is answered by the collector.
    Ok(Otlp::builder().with_http().with_protocol(Protocol::HttpBinary).with_http_client(client).build()?)
}

/// What the environment says of this process, and what it does not.
fn resource() -> Resource {
    let name = Key::from_static_str("service.name");
    let said = Resource::builder().build();
    let named = said.get(&name).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut resource = Resource::builder();
    if !named {
        resource = resource.with_service_name("releaseclosure");
    }
    if said.get(&Key::from_static_str("service.version")).is_none() {
        resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    resource.build()
}

impl Exporting {
    /// Says in the log how it stands.
    pub fn announce(&self) {
        match &self.0 {
            Going::Off => {}
            Going::On(_) => info!("traces go to a collector, as the environment says"),
            Going::Unfit(why) => warn!(why, "no traces: the environment asks for what cannot be"),
        }
    }

    /// Hands over what is left, and waits for that at most [`FLUSH_MAX`]. Not to be called from within the runtime.
    pub fn stop(self) {
        if let Going::On(provider) = self.0
            && let Err(OTelSdkError::Timeout(_)) = provider.shutdown_with_timeout(FLUSH_MAX)
        {
            warn!("the collector did not take the last traces in time");
        }
    }
}

/// Counts what is lost, and says so once.
#[derive(Debug)]
struct Counting<E> {
    inner: E,
    /// Since the collector took the last batch.
    lost: AtomicU64,
}

impl<E> Counting<E> {
    fn new(inner: E) -> Counting<E> {
        Counting { inner, lost: AtomicU64::new(0) }
    }

    /// A batch was taken, or was not.
    fn came(&self, spans: u64, came: OTelSdkResult) {
        match came {
            Ok(()) => match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => info!(lost, "the collector takes traces again"),
            },
            Err(error) if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 => {
                // The exporter's own words: a status, or that there was no answer; nothing of a reply's text.
                warn!(%error, "the collector does not take traces: they are lost until it does, and nothing else is");
            }
            Err(_) => {}
        }
    }
}

impl<E: SpanExporter> SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        self.came(spans, self.inner.export(batch).await);
        // Told already. The SDK would log each batch.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            warn!(lost, "traces were lost");
        }
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Links a span to a context.
pub(super) fn link(span: &Span, context: &TraceParent) {
    if let Some(context) = span_context(context) {
        span.add_link(context);
    }
}

fn span_context(context: &TraceParent) -> Option<SpanContext> {
    let mut parts = context.as_str().split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

/// The context of a span that is told; none where nobody listens, or the sampler leaves it out.
pub(super) fn own(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    if !context.is_valid() || !context.is_sampled() {
        return None;
    }
    TraceParent::parse(&format!(
        "00-{:032x}-{:016x}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags()
    ))
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::spans_during;
