//! Traces: a span for each pass, each delivery to a feed and each request to a system. This file holds all spans there are, with
//! everything that they say.
//!
//! **Invariant:** what a span says comes from a closed set, an enum or a row of an allow-list, but for names that
//! administrators gave, identifiers that were checked, and numbers. No path that was filled, no text of a system, no secret: none
//! of the functions here takes one. Where a name of OpenTelemetry's semantic conventions fits, it is used.
//!
//! **Cost:** a span that nobody listens to is one load and one comparison. `export` listens, in builds with the feature
//! `otlp` and where the environment names a collector.

mod context;
#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
#[path = "silent.rs"]
mod export;
mod switch;

pub use context::TraceParent;
pub use export::{Exporting, start};
pub use switch::Switch;

#[cfg(all(test, feature = "otlp"))]
pub(crate) use export::spans_during;
use export::{link, own};

use std::time::Duration;
use tracing::field::Empty;
use tracing::{Span, trace_span};

/// What listens to spans, for a subscriber to have.
pub type Layer = Box<dyn tracing_subscriber::Layer<tracing_subscriber::Registry> + Send + Sync>;

/// The target of all spans of this file, and of nothing else. At level `trace`, so that no log shows them unless it is asked to.
const TARGET: &str = "releaseclosure::traces";

/// The span of one pass. It is a root: a closure may go on for days, and what made it is a link away.
#[must_use]
pub fn pass(namespace: &str, name: &str) -> Span {
    trace_span!(
        target: TARGET,
        parent: None,
        "pass",
        "otel.kind" = "internal",
        "otel.status_code" = Empty,
        "k8s.namespace.name" = namespace,
        "releaseclosure.name" = name,
        "releaseclosure.key" = Empty,
        "releaseclosure.outcome" = Empty,
        "cloudevents.event_id" = Empty,
        "cloudevents.event_source" = Empty,
    )
}

/// Says of the pass under way, as far as it was checked: its closure key, the accepted event it is about, and which span made its
/// object.
pub fn accepted(key: &str, event: &str, source: Option<&str>, made_by: Option<&str>) {
    let span = Span::current();
    if span.metadata().is_none_or(|metadata| metadata.target() != TARGET) {
        return;
    }
    span.record("releaseclosure.key", key);
    span.record("cloudevents.event_id", event);
    if let Some(source) = source.filter(|source| is_shown(source)) {
        span.record("cloudevents.event_source", source);
    }
    if let Some(made_by) = made_by.and_then(TraceParent::parse) {
        link(&span, &made_by);
    }
}

/// Says how a pass ended: a label, and whether it is a failure.
pub fn pass_ended(span: &Span, outcome: &'static str, failed: bool) {
    span.record("releaseclosure.outcome", outcome);
    if failed {
        span.record("otel.status_code", "ERROR");
    }
}

/// One delivery to a feed.
#[derive(Debug)]
pub struct Delivery(Span);

impl Delivery {
    /// One from such a source, by the source's label. A root: whoever sent it is a link away, and only where its signature was
    /// right.
    #[must_use]
    pub fn begin(source: &'static str) -> Delivery {
        let kind = match source {
            "webhook" => "server",
            "nats" => "consumer",
            _ => "internal",
        };
        Delivery(trace_span!(
            target: TARGET,
            parent: None,
            "delivery",
            "otel.kind" = kind,
            "k8s.namespace.name" = Empty,
            "releaseclosure.feed" = Empty,
            "releaseclosure.source" = source,
            "releaseclosure.outcome" = Empty,
        ))
    }

    /// Its span, for what is done meanwhile.
    #[must_use]
    pub fn span(&self) -> Span {
        self.0.clone()
    }

    /// It is for this feed, which is there.
    pub fn is_for(&self, namespace: &str, feed: &str) {
        self.0.record("k8s.namespace.name", namespace);
        self.0.record("releaseclosure.feed", feed);
    }

    /// The context that an object is made with: the sender's where it gave one, else this span's where it is told.
    #[must_use]
    pub fn context(&self, sender: Option<TraceParent>) -> Option<TraceParent> {
        if let Some(sender) = sender {
            link(&self.0, &sender);
            return Some(sender);
        }
        own(&self.0)
    }

    /// What became of it, as a label.
    pub fn ended(self, outcome: &'static str) {
        self.0.record("releaseclosure.outcome", outcome);
    }
}

/// What a request is in its protocol's own terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A row of an allow-list.
    Http {
        /// The method.
        method: &'static str,
        /// The path template.
        template: &'static str,
    },
    /// Likewise, of a table of subjects.
    Nats {
        /// The template of the subject.
        subject: &'static str,
    },
    /// A conversation about one mail: `submit`, or `probe`.
    Smtp {
        /// Which of the two.
        operation: &'static str,
    },
}

impl Protocol {
    fn name(self) -> String {
        let name = match self {
            Protocol::Http { method, template } => format!("{method} {template}"),
            Protocol::Nats { subject } => format!("publish {subject}"),
            Protocol::Smtp { operation } => format!("smtp {operation}"),
        };
        name.trim_end().to_owned()
    }

    const fn method(self) -> Option<&'static str> {
        if let Protocol::Http { method, .. } = self { Some(method) } else { None }
    }

    const fn template(self) -> Option<&'static str> {
        if let Protocol::Http { template, .. } = self { Some(template) } else { None }
    }

    const fn subject(self) -> Option<&'static str> {
        if let Protocol::Nats { subject } = self { Some(subject) } else { None }
    }

    const fn word(self) -> &'static str {
        match self {
            Protocol::Http { .. } => "http",
            Protocol::Nats { .. } => "nats",
            Protocol::Smtp { .. } => "smtp",
        }
    }
}

/// The connection that a request goes through, as administrators named it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Through {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub connection: String,
}

/// One request to a system: a child of the pass or the delivery under way, else a root.
///
/// It is told when this is dropped; without an outcome where the request was given up.
#[derive(Debug)]
pub struct Request {
    span: Span,
    status: u16,
}

impl Request {
    /// It goes out now. `role`: the system whose records it is about; `provider`: the product.
    #[must_use]
    pub fn begin(through: &Through, provider: &'static str, role: &'static str, protocol: Protocol) -> Request {
        let span = trace_span!(
            target: TARGET,
            "request",
            "otel.name" = protocol.name(),
            "otel.kind" = "client",
            "otel.status_code" = Empty,
            "k8s.namespace.name" = through.namespace,
            "releaseclosure.connection" = through.connection,
            "releaseclosure.provider" = provider,
            "releaseclosure.role" = role,
            "releaseclosure.outcome" = Empty,
            "releaseclosure.retry_after" = Empty,
            "network.protocol.name" = protocol.word(),
            "http.request.method" = protocol.method(),
            "http.response.status_code" = Empty,
            "url.template" = protocol.template(),
            "messaging.system" = protocol.subject().map(|_| "nats"),
            "messaging.destination.template" = protocol.subject(),
            "error.type" = Empty,
        );
        Request { span, status: 0 }
    }

    /// The head of a reply came, with this status.
    pub fn answered(&mut self, status: u16) {
        self.span.record("http.response.status_code", status);
        self.status = status;
    }

    /// How it ended: the label of a class of the meter, whether that is an answer, and for how long the system asked to be left
    /// alone. Once: what is recorded twice would be told twice.
    pub fn ended(self, outcome: &'static str, answer: bool, retry_after: Option<Duration>) {
        self.span.record("releaseclosure.outcome", outcome);
        if let Some(wait) = retry_after {
            self.span.record("releaseclosure.retry_after", wait.as_secs());
        }
        let refused = self.status >= 400;
        if refused {
            self.span.record("error.type", self.status.to_string());
        } else if !answer {
            self.span.record("error.type", outcome);
        }
        if refused || !answer {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// Text of an object that the API server's schema bounds, bounded here as well.
fn is_shown(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
