//! What is looked up at each scrape: how it stands with packets and connections right now.
//!
//! The only labels that are not of closed sets are here: the names of namespaces and of `SystemConnection`s. Both are of objects
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
        let Scene { unfinished, waiting, unresolved, connections } = other;
        self.unfinished += unfinished;
        self.waiting += waiting;
        for (of, count) in unresolved {
            *self.unresolved.entry(of).or_default() += count;
        }
        self.connections.extend(connections);
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

impl Line {
    fn names(&self) -> [(&str, &str); 2] {
        [("namespace", &self.namespace), ("connection", &self.name)]
    }
}
