//! What the operator tells about itself: logs, and the metrics that answer the scenario's evaluation questions.
//!
//! **Invariant:** every label value comes from a closed set, an enum of this program. No name of an object, no text from
//! a system ever becomes a label; the private label structs in `labels` can be filled by the typed methods alone.

use crate::closure::ids::System;
use crate::closure::ledger::{Check, Outcome};
use crate::closure::reason::Reason;
use crate::feeds;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

mod labels;
#[cfg(test)]
mod tests;

pub use labels::{After, Ending, Finish, Method, Reply};
use labels::{
    AfterLabels, CauseLabels, EndingLabels, FeedLabels, FindingLabels, FinishLabels, RequestLabels, StepLabels,
    SystemLabels, check_word, truth,
};

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Starts logging to stderr: text for a person at a terminal, else one JSON object a line. What is logged is told by
/// `RUST_LOG`, else everything from `info` on. The first call counts; later ones, in tests, do nothing.
pub fn start_logging() {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .with_env_var(EnvFilter::DEFAULT_ENV)
        .from_env_lossy();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that logging has been started already.
    let _ = if std::io::stderr().is_terminal() {
        logs.with_target(false).try_init()
    } else {
        logs.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
}

/// Seconds that a resumed closure had waited: from one second to about three days.
fn waits() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 4.0, 10))
}

/// All metrics. Cheap to clone; the clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    finished: Family<FinishLabels, Counter>,
    findings: Family<FindingLabels, Counter>,
    halts: Family<CauseLabels, Counter>,
    steps: Family<StepLabels, Counter>,
    resumed: Family<AfterLabels, Counter>,
    resume_seconds: Family<AfterLabels, Histogram, fn() -> Histogram>,
    passes: Family<EndingLabels, Counter>,
    pass_seconds: Histogram,
    in_flight: Gauge,
    unfinished: Gauge,
    unresolved: Gauge,
    requests: Family<RequestLabels, Counter>,
    breakers: Family<SystemLabels, Gauge>,
    feed_events: Family<FeedLabels, Counter>,
    status_writes: Counter,
    conflicts: Counter,
    leader: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All of them at zero.
    #[must_use]
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Arc::default(),
            finished: Family::default(),
            findings: Family::default(),
            halts: Family::default(),
            steps: Family::default(),
            resumed: Family::default(),
            resume_seconds: Family::new_with_constructor(waits),
            passes: Family::default(),
            // One millisecond to about half a minute.
            pass_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            in_flight: Gauge::default(),
            unfinished: Gauge::default(),
            unresolved: Gauge::default(),
            requests: Family::default(),
            breakers: Family::default(),
            feed_events: Family::default(),
            status_writes: Counter::default(),
            conflicts: Counter::default(),
            leader: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics.begin_at_zero();
        metrics
    }

    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("releaseclosure");
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "What is running", Info::new(build));
        registry.register(
            "closures_finished",
            "Closures that finished, and whether a coordinator had to resolve a halt for it",
            self.finished.clone(),
        );
        registry.register(
            "findings",
            "Disagreements that halted a closure, by check, and whether nothing had been written yet",
            self.findings.clone(),
        );
        registry.register("halts", "Halts, by the first finding's reason", self.halts.clone());
        registry.register("trace_steps", "Settled steps in traces, by what is known of them", self.steps.clone());
        registry.register("resumed", "Closures that got over something and went on", self.resumed.clone());
        registry.register("resume_seconds", "How long they had waited", self.resume_seconds.clone());
        registry.register("passes", "Passes, by how they ended", self.passes.clone());
        registry.register("pass_seconds", "How long a pass took", self.pass_seconds.clone());
        registry.register("passes_in_flight", "Passes under way", self.in_flight.clone());
        registry.register("closures_unfinished", "Closures that are not finished", self.unfinished.clone());
        registry.register("packets_unresolved", "Follow-up packets that nobody has resolved", self.unresolved.clone());
        registry.register("system_requests", "Requests to the six systems", self.requests.clone());
        registry.register("breakers_open", "Connections whose circuit breaker is open", self.breakers.clone());
        registry.register(
            "feed_events",
            "Accepted-state events, by where they came from and what became of them",
            self.feed_events.clone(),
        );
        registry.register("status_writes", "Status writes to the API server", self.status_writes.clone());
        registry.register("status_conflicts", "Status writes refused as stale", self.conflicts.clone());
        registry.register("leader", "Whether this replica leads", self.leader.clone());
        registry
    }

    /// A series that appears with its first event hides that event from `increase()`. Where a set is small, all of it
    /// is there from the beginning.
    fn begin_at_zero(&self) {
        for finish in Finish::ALL {
            for manual in [false, true] {
                let _ = self.finished.get_or_create(&FinishLabels { outcome: finish.as_str(), manual: truth(manual) });
            }
        }
        for system in [System::Checklist, System::Tracker, System::Queue, System::Intake] {
            for outcome in [Outcome::Changed, Outcome::AlreadyDone, Outcome::Unconfirmed] {
                let _ = self.steps.get_or_create(&StepLabels { system: system.as_str(), outcome: outcome.as_str() });
            }
        }
        for after in After::ALL {
            let _ = self.resumed.get_or_create(&AfterLabels { after: after.as_str() });
        }
        for ending in Ending::ALL {
            let _ = self.passes.get_or_create(&EndingLabels { ending: ending.as_str() });
        }
        for source in feeds::Source::ALL {
            for outcome in feeds::Outcome::ALL {
                let _ = self.feed_events.get_or_create(&FeedLabels::new(*source, *outcome));
            }
        }
        for system in System::ALL {
            let _ = self.breakers.get_or_create(&SystemLabels { system: system.as_str() });
        }
    }

    /// A closure finished. `manual`: a coordinator resolved a halt of it.
    pub fn closure_finished(&self, finish: Finish, manual: bool) {
        self.finished.get_or_create(&FinishLabels { outcome: finish.as_str(), manual: truth(manual) }).inc();
    }

    /// A finding of a halt. `before_write`: no step of this closure had been settled or intended yet.
    pub fn found(&self, check: Check, reason: Reason, before_write: bool) {
        let labels =
            FindingLabels { check: check_word(check), reason: reason.as_str(), before_write: truth(before_write) };
        self.findings.get_or_create(&labels).inc();
    }

    /// A halt was latched.
    pub fn halted(&self, cause: Reason) {
        self.halts.get_or_create(&CauseLabels { cause: cause.as_str() }).inc();
    }

    /// A step was settled. Does nothing for an outcome that settles nothing.
    pub fn step_settled(&self, system: System, outcome: Outcome) {
        if outcome.is_settled() {
            self.steps.get_or_create(&StepLabels { system: system.as_str(), outcome: outcome.as_str() }).inc();
        }
    }

    /// A closure went on. `waited`: since it began to wait, or was halted; none where it did not wait at all.
    pub fn resumed(&self, after: After, waited: Option<Duration>) {
        let labels = AfterLabels { after: after.as_str() };
        self.resumed.get_or_create(&labels).inc();
        if let Some(waited) = waited {
            self.resume_seconds.get_or_create(&labels).observe(waited.as_secs_f64());
        }
    }

    /// A pass begins. What it gives back counts it as under way until it ends.
    #[must_use = "a pass ends when this is dropped"]
    pub fn pass(&self) -> Pass {
        self.in_flight.inc();
        Pass { metrics: self.clone(), began: std::time::Instant::now(), ending: None }
    }

    /// How many closures are not finished.
    pub fn set_unfinished(&self, count: usize) {
        self.unfinished.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many packets wait for a coordinator.
    pub fn set_unresolved(&self, count: usize) {
        self.unresolved.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// One request to a system, or one that was held back.
    pub fn request(&self, system: System, method: Method, reply: Reply) {
        let labels = RequestLabels { system: system.as_str(), method: method.as_str(), outcome: reply.as_str() };
        self.requests.get_or_create(&labels).inc();
    }

    /// The circuit breaker of a connection in this role opened.
    pub fn breaker_opened(&self, system: System) {
        self.breakers.get_or_create(&SystemLabels { system: system.as_str() }).inc();
    }

    /// It closed, or its connection went away.
    pub fn breaker_closed(&self, system: System) {
        self.breakers.get_or_create(&SystemLabels { system: system.as_str() }).dec();
    }

    /// An accepted-state event, and what became of it.
    pub fn feed_event(&self, source: feeds::Source, outcome: feeds::Outcome) {
        self.feed_events.get_or_create(&FeedLabels::new(source, outcome)).inc();
    }

    /// A status was written.
    pub fn status_written(&self) {
        self.status_writes.inc();
    }

    /// A status write was refused as stale.
    pub fn status_conflict(&self) {
        self.conflicts.inc();
    }

    /// This replica leads, or does not.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The metrics as OpenMetrics text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String does not fail; half an exposition would be worse than none.
            Err(fmt::Error) => String::from("# EOF\n"),
        }
    }
}

/// A pass under way.
#[derive(Debug)]
pub struct Pass {
    metrics: Metrics,
    began: std::time::Instant,
    ending: Option<Ending>,
}

impl Pass {
    /// The pass ends.
    pub fn end(mut self, ending: Ending) {
        self.ending = Some(ending);
    }
}

impl Drop for Pass {
    /// A pass that ends without a word was unwound by a panic, or given up because the process ends; the latter is not
    /// counted.
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        let ending = self.ending.or_else(|| std::thread::panicking().then_some(Ending::Panic));
        if let Some(ending) = ending {
            self.metrics.passes.get_or_create(&EndingLabels { ending: ending.as_str() }).inc();
            self.metrics.pass_seconds.observe(self.began.elapsed().as_secs_f64());
        }
    }
}
