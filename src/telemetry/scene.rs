//! What is looked up at each scrape: how it stands with packets and connections right now.
//!
//! The only labels that are not of closed sets are here: the names of namespaces, of connections and of feeds. All are of objects
//! that exist, which administrators make, and a series goes with its object.

use super::figures::{Figures, gauges};
use crate::closure::reason::Reason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How it stands.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Closures that are not finished.
    pub unfinished: usize,
    /// Those of them whose last pass ended waiting.
    pub waiting: usize,
    /// Packets that nobody has resolved, by namespace and cause.
    pub unresolved: BTreeMap<(String, Reason), u64>,
    /// The connections that have a client.
    pub connections: Vec<Line>,
    /// Whether connections are ready, by namespace and name.
    pub connections_ready: BTreeMap<(String, String), bool>,
    /// Whether feeds are, likewise; a suspended one is neither.
    pub feeds_ready: BTreeMap<(String, String), bool>,
}

/// What went through one connection.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Requests sent, by method and how they ended, where there were any.
    pub requests: Vec<(&'static str, &'static str, u64)>,
    /// Requests not sent, by why.
    pub held_back: Vec<(&'static str, u64)>,
    /// Whether its circuit breaker is open.
    pub breaker_open: bool,
    /// How many times it opened.
    pub breaker_opened: u64,
    /// How long its requests took: upper bounds in seconds, ascending, each with how many there were between it and the one
    /// before; and how many took longer than the last.
    pub took: (Vec<(f64, u64)>, u64),
    /// How long all of them took, in seconds.
    pub took_seconds: f64,
}

/// Whoever knows how it stands.
pub trait Watch: Send + Sync {
    /// How it stands now. Asked at each scrape; waits for nothing.
    fn scene(&self) -> Scene;
}

/// What a scrape adds to the registered metrics: the figures, and how it stands, of each shard that is led here. Nothing before there
/// is one.
#[derive(Clone, Default)]
pub(super) struct Looked {
    pub(super) figures: Arc<Mutex<BTreeMap<u16, Figures>>>,
    pub(super) watch: Arc<Mutex<BTreeMap<u16, Arc<dyn Watch>>>>,
}

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Looked")
    }
}

impl Collector for Looked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures =
            self.figures.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().reduce(|mut all, one| {
                all.add(&one);
                all
            });
        figures.map_or(Ok(()), |figures| figures.encode(&mut encoder))?;
        let watches: Vec<_> = self.watch.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let scene = watches.iter().map(|watch| watch.scene()).reduce(Scene::and);
        scene.map_or(Ok(()), |scene| scene.encode(&mut encoder))
    }
}

impl Scene {
    /// Both of them: what is of two shards.
    fn and(mut self, other: Scene) -> Scene {
        let Scene { unfinished, waiting, unresolved, connections, connections_ready, feeds_ready } = other;
        self.unfinished += unfinished;
        self.waiting += waiting;
        for (of, count) in unresolved {
            *self.unresolved.entry(of).or_default() += count;
        }
        for line in connections {
            // One for many namespaces has a client in each shard, and is one series.
            let is_same = |known: &&mut Line| line.namespace.is_empty() && known.names() == line.names();
            match self.connections.iter_mut().find(is_same) {
                Some(known) => known.add(line),
                None => self.connections.push(line),
            }
        }
        self.connections_ready.extend(connections_ready);
        self.feeds_ready.extend(feeds_ready);
        self
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |value: usize| [(Vec::<(&str, &str)>::new(), value as f64)];
        gauges(encoder, "closures_unfinished", "Closures that are not finished", one(self.unfinished))?;
        gauges(encoder, "closures_waiting", "Unfinished closures that wait for something", one(self.waiting))?;
        let unresolved = self.unresolved.iter();
        let unresolved = unresolved.map(|((namespace, cause), count)| {
            (vec![("namespace", namespace.as_str()), ("cause", cause.as_str())], *count as f64)
        });
        gauges(encoder, "packets_unresolved", "Follow-up packets that nobody has resolved", unresolved)?;
        let help = "Whether a connection is ready, as its status tells";
        gauges(encoder, "connection_ready", help, ready("connection", &self.connections_ready))?;
        let help = "Whether a feed is ready, as its status tells";
        gauges(encoder, "feed_ready", help, ready("feed", &self.feeds_ready))?;
        self.lines(encoder)
    }

    fn lines(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self.connections.is_empty() {
            return Ok(());
        }
        let help = "Requests to systems, by connection, method and how they ended";
        let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for line in &self.connections {
            for (method, outcome, count) in &line.requests {
                let labels = [line.names().as_slice(), &[("method", *method), ("outcome", *outcome)]].concat();
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Requests that were not sent, by connection and why";
        let mut family = encoder.encode_descriptor("requests_held_back", help, None, MetricType::Counter)?;
        for line in &self.connections {
            for (why, count) in &line.held_back {
                let labels = [line.names().as_slice(), &[("why", *why)]].concat();
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "How many times the circuit breaker of a connection opened";
        let mut family = encoder.encode_descriptor("breaker_opened", help, None, MetricType::Counter)?;
        for line in &self.connections {
            ConstCounter::new(line.breaker_opened).encode(family.encode_family(&line.names())?)?;
        }
        let open = self.connections.iter();
        let open = open.map(|line| (line.names().to_vec(), f64::from(u8::from(line.breaker_open))));
        gauges(encoder, "breaker_open", "Whether the circuit breaker of a connection is open", open)?;
        let help = "How long requests took, from sending to the last byte of the reply";
        let mut family = encoder.encode_descriptor("request_seconds", help, None, MetricType::Histogram)?;
        for line in &self.connections {
            let (bounded, longer) = &line.took;
            let buckets: Vec<(f64, u64)> = bounded.iter().copied().chain([(f64::INFINITY, *longer)]).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let names = line.names();
            let mut series = family.encode_family(&names)?;
            series.encode_histogram::<[(&str, &str); 0]>(line.took_seconds, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// The series of objects that are ready, or not; `kind` is the label with their names.
fn ready<'a>(
    kind: &'a str,
    objects: &'a BTreeMap<(String, String), bool>,
) -> impl Iterator<Item = (Vec<(&'a str, &'a str)>, f64)> {
    let named = move |namespace: &'a str, name: &'a str| vec![("namespace", namespace), (kind, name)];
    objects.iter().map(move |((namespace, name), ready)| (named(namespace, name), f64::from(u8::from(*ready))))
}

impl Line {
    /// Adds what went through the same connection in another shard.
    fn add(&mut self, other: Line) {
        let Line { namespace: _, name: _, requests, held_back, breaker_open, breaker_opened, took, took_seconds } =
            other;
        for (method, outcome, count) in requests {
            match self.requests.iter_mut().find(|known| (known.0, known.1) == (method, outcome)) {
                Some(known) => known.2 += count,
                None => self.requests.push((method, outcome, count)),
            }
        }
        for (why, count) in held_back {
            match self.held_back.iter_mut().find(|known| known.0 == why) {
                Some(known) => known.1 += count,
                None => self.held_back.push((why, count)),
            }
        }
        self.breaker_open |= breaker_open;
        self.breaker_opened += breaker_opened;
        // The bounds are those of every connection.
        for (known, (_, count)) in self.took.0.iter_mut().zip(took.0) {
            known.1 += count;
        }
        self.took.1 += took.1;
        self.took_seconds += took_seconds;
    }

    fn names(&self) -> [(&str, &str); 2] {
        [("namespace", &self.namespace), ("connection", &self.name)]
    }
}
