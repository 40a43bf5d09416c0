//! Counting what is on record: the four figures, from finished closures and packets alone.
//!
//! Once at the start and once an hour everything is counted, page by page and without keeping any of it; in between, what this
//! process finishes is added. So the figures are right after a restart, and what is deleted leaves them within the hour.
//!
//! **How nothing is counted twice or not at all:** a list is of one moment, that of its first page. While the first pages are
//! fetched nothing is finished and no packet made ([`Tally::change`]); what comes after that moment is added to the count.
//! Where nobody knows whether a write was taken, everything is counted again soon.

use super::context::Context;
use crate::api::conditions::{self, READY, is_ready};
use crate::api::{FollowUpPacket, FollowUpPacketSpec, ReleaseClosure, ReleaseClosureStatus};
use crate::closure::ledger::Outcome;
use crate::closure::reason::Reason;
use crate::providers::meter::{Class, Holdup, TOOK_MAX, Verb};
use crate::shards::Shard;
use crate::telemetry::figures::{Figures, Waited};
use crate::telemetry::scene::{Line, Scene, Watch};
use crate::telemetry::{Finish, Metrics};
use kube::api::{ListParams, Request};
use kube::{Client, Resource, ResourceExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::time::Instant;
use tracing::{info, warn};

/// From one count to the next.
const EVERY: Duration = Duration::from_secs(3600);
/// The same, where something is in doubt, or a count failed.
const SOON: Duration = Duration::from_secs(60);
/// The longest that a count holds up what changes a figure: the time that the first pages may take.
const HOLDS_UP_MAX: Duration = Duration::from_secs(10);
/// Objects in one page.
const PAGE: u32 = 100;

/// The figures, and what was added to them since the last count began.
pub struct Tally {
    metrics: Metrics,
    shard: Shard,
    state: Mutex<State>,
    pub(super) gate: RwLock<()>,
    doubt: AtomicBool,
}

#[derive(Default)]
struct State {
    /// None before the first count is complete.
    known: Option<Figures>,
    since: Figures,
}

impl Tally {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(metrics: Metrics, shard: Shard) -> Tally {
        Tally { metrics, shard, state: Mutex::default(), gate: RwLock::new(()), doubt: AtomicBool::new(false) }
    }

    /// Held around a write that changes a figure, until it is added.
    pub async fn change(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().await
    }

    /// A closure was stored as finished.
    pub fn finished(&self, status: &ReleaseClosureStatus) {
        self.add(&of_finished(status));
    }

    /// A packet was made.
    pub fn halted(&self, packet: &FollowUpPacketSpec) {
        self.add(&of_packet(packet));
    }

    /// Nobody knows whether a write was taken.
    pub fn doubt(&self) {
        self.doubt.store(true, Ordering::SeqCst);
    }

    fn add(&self, figures: &Figures) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since.add(figures);
        if let Some(known) = &mut state.known {
            known.add(figures);
            self.metrics.set_figures(self.shard.index(), Some(known.clone()));
        }
    }

    /// Counts everything.
    async fn count(&self, client: &Client, namespace: Option<&str>) -> Result<Figures, kube::Error> {
        let mut closures = Pages::of::<ReleaseClosure>(client, namespace, Some("status.completionTime!="));
        let mut packets = Pages::of::<FollowUpPacket>(client, namespace, None);
        let (first_closures, first_packets) = {
            let _nothing_changes = self.gate.write().await;
            self.state.lock().unwrap_or_else(PoisonError::into_inner).since = Figures::default();
            let first = async { Ok::<_, kube::Error>((closures.next().await?, packets.next().await?)) };
            let late = |_| kube::Error::Service(format!("no first page within {HOLDS_UP_MAX:?}").into());
            tokio::time::timeout(HOLDS_UP_MAX, first).await.map_err(late)??
        };
        let mut figures = Figures::default();
        let mut page = first_closures;
        while let Some(items) = page {
            for item in items {
                #[derive(Deserialize)]
                struct Finished {
                    metadata: Place,
                    status: ReleaseClosureStatus,
                }
                match serde_json::from_str::<Finished>(item.get()) {
                    Ok(finished) if !self.shard.holds(&finished.metadata.namespace) => {}
                    Ok(finished) => figures.add(&of_finished(&finished.status)),
                    Err(error) => warn!(%error, "a finished closure could not be counted"),
                }
            }
            page = closures.next().await?;
        }
        let mut page = first_packets;
        while let Some(items) = page {
            for item in items {
                #[derive(Deserialize)]
                struct Packet {
                    metadata: Place,
                    spec: FollowUpPacketSpec,
                }
                match serde_json::from_str::<Packet>(item.get()) {
                    Ok(packet) if !self.shard.holds(&packet.metadata.namespace) => {}
                    Ok(packet) => figures.add(&of_packet(&packet.spec)),
                    Err(error) => warn!(%error, "a packet could not be counted"),
                }
            }
            page = packets.next().await?;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        figures.add(&state.since);
        state.known = Some(figures.clone());
        self.metrics.set_figures(self.shard.index(), Some(figures.clone()));
        Ok(figures)
    }
}

/// Counts at the start, every hour, and soon where something is in doubt.
pub(super) async fn keep(context: &Context, namespace: Option<&str>) {
    loop {
        context.tally.doubt.store(false, Ordering::SeqCst);
        let (began, mut pause) = (Instant::now(), EVERY);
        match context.tally.count(&context.client, namespace).await {
            Ok(_) => info!("what is on record is counted"),
            Err(error) => {
                warn!(%error, "what is on record could not be counted");
                pause = SOON;
            }
        }
        loop {
            tokio::time::sleep(super::TICK).await;
            let past = began.elapsed();
            if past >= pause || (past >= SOON && context.tally.doubt.load(Ordering::SeqCst)) {
                break;
            }
        }
    }
}

fn of_finished(status: &ReleaseClosureStatus) -> Figures {
    let finish = if conditions::is_true(&status.conditions, READY) { Finish::Closed } else { Finish::Abandoned };
    let waited = Waited {
        times: u64::from(status.outages.count),
        total: Duration::from_secs(u64::from(status.outages.seconds)),
    };
    Figures::of_finished(finish, &status.clone().split().1, waited)
}

fn of_packet(packet: &FollowUpPacketSpec) -> Figures {
    let outcomes = packet.steps.iter().map(|step| step.outcome).collect::<Vec<Outcome>>();
    Figures::of_halt(packet.cause, &packet.findings, outcomes)
}

/// The objects of a kind, page by page, as they were when the first was fetched.
struct Pages<'a> {
    client: &'a Client,
    path: String,
    list: ListParams,
    ended: bool,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

/// Where an object is.
#[derive(Deserialize)]
struct Place {
    namespace: String,
}

#[derive(Default, Deserialize)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl Pages<'_> {
    fn of<'a, K>(client: &'a Client, namespace: Option<&str>, fields: Option<&str>) -> Pages<'a>
    where
        K: Resource<DynamicType = ()>,
    {
        let mut list = ListParams::default().limit(PAGE);
        list.field_selector = fields.map(str::to_owned);
        Pages { client, path: K::url_path(&(), namespace), list, ended: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<Box<RawValue>>>, kube::Error> {
        if self.ended {
            return Ok(None);
        }
        let request = Request::new(&self.path).list(&self.list).map_err(kube::Error::BuildRequest)?;
        let page: Page = self.client.request(request).await?;
        self.list.continue_token = page.metadata.next.filter(|next| !next.is_empty());
        self.ended = self.list.continue_token.is_none();
        Ok(Some(page.items))
    }
}

impl Watch for Context {
    fn scene(&self) -> Scene {
        let mut unresolved = std::collections::BTreeMap::new();
        let open = self.holds.fold(Vec::new(), |mut open, namespace, hold| {
            if !hold.abandoned {
                // A cause of another version is none of this one's words.
                let cause = Reason::ALL.iter().find(|reason| reason.as_str() == hold.cause);
                open.extend(cause.map(|cause| (namespace.to_owned(), *cause)));
            }
            open
        });
        for key in open {
            *unresolved.entry(key).or_insert(0) += 1;
        }
        let connections = self.connections.meters().into_iter().map(|(namespace, name, meter)| {
            let all = Verb::ALL.iter().flat_map(|verb| Class::ALL.iter().map(move |class| (*verb, *class)));
            let requests = all.map(|(verb, class)| (verb.as_str(), class.as_str(), meter.requests(verb, class)));
            let (counts, took_seconds) = meter.took();
            let bounds = TOOK_MAX.iter().map(|most| Duration::from_millis(*most).as_secs_f64());
            Line {
                namespace,
                name,
                requests: requests.filter(|(_, _, count)| *count > 0).collect(),
                held_back: Holdup::ALL.iter().map(|why| (why.as_str(), meter.held_back_by(*why))).collect(),
                breaker_open: meter.breaker_open(),
                breaker_opened: meter.breaker_opened(),
                took: (bounds.zip(counts).collect(), counts[TOOK_MAX.len()]),
                took_seconds,
            }
        });
        let connections = connections.collect();
        let feeds = self.feeds.state().into_iter().filter_map(|feed| {
            let ready = is_ready(feed.status.as_ref()?.conditions.as_slice())?;
            Some(((feed.namespace()?, feed.name_any()), ready))
        });
        let (feeds_ready, connections_ready) = (feeds.collect(), self.connections.told());
        let (unfinished, waiting) = (self.closures.len(), self.waiting());
        Scene { unfinished, waiting, unresolved, connections, connections_ready, feeds_ready }
    }
}
