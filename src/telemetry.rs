//! What the operator tells about itself: logs, and the metrics that answer the scenario's evaluation questions.
//!
//! **Invariant:** every label value comes from a closed set, an enum of this program, but for the names of namespaces, of
//! connections and of feeds in [`scene`], which are bounded by what administrators make. No other name of an object and no text from
//! a system ever becomes a label; the private label structs in `labels` can be filled by the typed methods alone.
//!
//! **What survives a restart**: the four [`figures`], since they are counted from what is stored. Everything else is of this
//! process, and its counters begin at zero with it, as Prometheus expects.

use crate::feeds;
use crate::spans::Layer;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

pub mod figures;
mod labels;
pub mod scene;
#[cfg(test)]
mod tests;

use figures::Figures;
pub use labels::{After, Ending, Finish, Told};
use labels::{AfterLabels, EndingLabels, FeedLabels, ToldLabels};
use scene::{Looked, Watch};

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Starts logging to stderr: one JSON object a line, or text; where that is not said, text for a person at a terminal and JSON
/// else. Whatever a pass logs names its closure, in the line's `span`. What is logged is told by `RUST_LOG`, else everything from `info` on.
/// `traces` gets the spans, where somebody listens. The first call counts; later ones, in tests, do nothing.
pub fn start_logging(json: Option<bool>, traces: Option<Layer>) {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .with_env_var(EnvFilter::DEFAULT_ENV)
        .from_env_lossy();
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let listening = tracing_subscriber::registry().with(traces);
    // An error means that logging has been started already.
    let _ = if !json.unwrap_or_else(|| !std::io::stderr().is_terminal()) {
        listening.with(logs.with_target(false).with_filter(filter)).try_init()
    } else {
        let logs = logs.json().flatten_event(true).with_current_span(true).with_span_list(false);
        listening.with(logs.with_filter(filter)).try_init()
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
    looked: Looked,
    resume_seconds: Family<AfterLabels, Histogram, fn() -> Histogram>,
    passes: Family<EndingLabels, Counter>,
    pass_seconds: Histogram,
    in_flight: Gauge,
    queued: Gauge,
    queue_seconds: Histogram,
    told: Family<ToldLabels, Counter>,
    feed_events: Family<FeedLabels, Counter>,
    status_writes: Counter,
    conflicts: Counter,
    leader: Gauge,
    led: Gauge,
    shards: Gauge,
    other_layout: Gauge,
    schema_outdated: Gauge,
    schema_newer: Gauge,
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

/// Seconds that a pass took or was waited for: from one millisecond to about half a minute.
fn moments() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Metrics {
    /// All of them at zero.
    #[must_use]
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Arc::default(),
            looked: Looked::default(),
            resume_seconds: Family::new_with_constructor(waits),
            passes: Family::default(),
            pass_seconds: moments(),
            in_flight: Gauge::default(),
            queued: Gauge::default(),
            queue_seconds: moments(),
            told: Family::default(),
            feed_events: Family::default(),
            status_writes: Counter::default(),
            conflicts: Counter::default(),
            leader: Gauge::default(),
            led: Gauge::default(),
            shards: Gauge::default(),
            other_layout: Gauge::default(),
            schema_outdated: Gauge::default(),
            schema_newer: Gauge::default(),
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
            "resume_seconds",
            "How long closures had waited that went on, as far as this process saw it",
            self.resume_seconds.clone(),
        );
        registry.register("passes", "Passes, by how they ended", self.passes.clone());
        registry.register("pass_seconds", "How long a pass took", self.pass_seconds.clone());
        registry.register("passes_in_flight", "Passes under way", self.in_flight.clone());
        registry.register("passes_queued", "Closures that are due and wait for room", self.queued.clone());
        registry.register("queue_seconds", "How long they waited for it", self.queue_seconds.clone());
        registry.register("follow_ups", "Tries to tell people of a halt, by what the channel said", self.told.clone());
        registry.register(
            "feed_events",
            "Accepted-state events, by where they came from and what became of them",
            self.feed_events.clone(),
        );
        registry.register("status_writes", "Status writes to the API server", self.status_writes.clone());
        registry.register("status_conflicts", "Status writes refused as stale", self.conflicts.clone());
        registry.register("leader", "Whether this replica leads a shard", self.leader.clone());
        registry.register("shards", "Shards that the namespaces are divided into", self.shards.clone());
        registry.register("shards_led", "Shards that this replica leads", self.led.clone());
        registry.register(
            "shards_disagree",
            "Whether this replica waits for others that divide the namespaces otherwise",
            self.other_layout.clone(),
        );
        registry.register(
            "schema_outdated",
            "Whether the cluster's definitions lack what this version needs",
            self.schema_outdated.clone(),
        );
        registry.register(
            "schema_newer",
            "Whether the cluster's definitions have what this version does not know",
            self.schema_newer.clone(),
        );
        registry.register_collector(Box::new(self.looked.clone()));
        registry
    }

    /// A series that appears with its first event hides that event from `increase()`. Where a set is small, all of it
    /// is there from the beginning.
    fn begin_at_zero(&self) {
        for ending in Ending::ALL {
            let _ = self.passes.get_or_create(&EndingLabels { ending: ending.as_str() });
        }
        for told in Told::ALL {
            let _ = self.told.get_or_create(&ToldLabels { outcome: told.as_str() });
        }
        for after in [After::Outage, After::Halt] {
            let _ = self.resume_seconds.get_or_create(&AfterLabels { after: after.as_str() });
        }
        for source in feeds::Source::ALL {
            for outcome in feeds::Outcome::ALL {
                let _ = self.feed_events.get_or_create(&FeedLabels::new(*source, *outcome));
            }
        }
    }

    /// The figures of a shard are these, from now on; none before they are counted.
    pub fn set_figures(&self, shard: u16, figures: Option<Figures>) {
        put(&mut self.looked.figures.lock().unwrap_or_else(PoisonError::into_inner), shard, figures);
    }

    /// Whom to ask at each scrape how it stands with a shard.
    pub fn set_watch(&self, shard: u16, watch: Option<Arc<dyn Watch>>) {
        put(&mut self.looked.watch.lock().unwrap_or_else(PoisonError::into_inner), shard, watch);
    }

    /// A closure went on that had waited for so long.
    pub fn resumed(&self, after: After, waited: Duration) {
        self.resume_seconds.get_or_create(&AfterLabels { after: after.as_str() }).observe(waited.as_secs_f64());
    }

    /// People were to be told of a halt, and this came of it.
    pub fn follow_up(&self, told: Told) {
        self.told.get_or_create(&ToldLabels { outcome: told.as_str() }).inc();
    }

    /// A closure is due, and waits for room until what this gives back is dropped.
    #[must_use = "the wait ends when this is dropped"]
    pub fn queue(&self) -> Queued {
        self.queued.inc();
        Queued { metrics: self.clone(), began: std::time::Instant::now() }
    }

    /// A pass begins. What it gives back counts it as under way until it ends.
    #[must_use = "a pass ends when this is dropped"]
    pub fn pass(&self) -> Pass {
        self.in_flight.inc();
        Pass { metrics: self.clone(), began: std::time::Instant::now(), ending: None }
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

    /// The cluster's definitions are older than this program, or newer.
    pub fn set_schema(&self, outdated: bool, newer: bool) {
        self.schema_outdated.set(i64::from(outdated));
        self.schema_newer.set(i64::from(newer));
    }

    /// This replica leads so many shards.
    pub fn set_led(&self, shards: usize) {
        self.leader.set(i64::from(shards > 0));
        self.led.set(i64::try_from(shards).unwrap_or(i64::MAX));
    }

    /// There are so many shards.
    pub fn set_shards(&self, count: u16) {
        self.shards.set(i64::from(count));
    }

    /// Replicas with another number of shards are at work, and this one waits for their end; or not.
    pub fn set_other_layout(&self, waits: bool) {
        self.other_layout.set(i64::from(waits));
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

fn put<T>(all: &mut BTreeMap<u16, T>, shard: u16, value: Option<T>) {
    match value {
        Some(value) => drop(all.insert(shard, value)),
        None => drop(all.remove(&shard)),
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

/// A closure that waits for room.
#[derive(Debug)]
pub struct Queued {
    metrics: Metrics,
    began: std::time::Instant,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.metrics.queued.dec();
        self.metrics.queue_seconds.observe(self.began.elapsed().as_secs_f64());
    }
}
