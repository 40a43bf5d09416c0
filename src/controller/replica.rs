//! One process among several: which shards it leads, and since when.
//!
//! **One shard** (the default): one Lease; who holds it leads, and the others stand by.
//!
//! **Several**: all replicas hold the common Lease together, under the name of how they divide the namespaces
//! ([`Shards::layout`]), and each shard has a Lease of its own, held by one of them. A write needs both. So no two replicas act
//! on one namespace: of one layout the shard's Lease sees to it, of two layouts (or of a release that knew no shards, whose
//! leader holds the common Lease for itself) the common one, which another layout takes only after it has itself seen it
//! unchanged for its duration, or given back by the last member.
//!
//! **Why the process ends when one Lease is lost:** it was frozen, or has no API server, or somebody else writes its Leases. None of
//! these is of one shard alone. What it leads beside that one it stops cleanly and gives back; what it lost lapses.

use super::Error;
use super::definitions::Definitions;
use super::events::Events;
use super::feeds::Desks;
use super::lead::{Led, lead};
use crate::health::Health;
use crate::lease::{self, Fence, Lease, Members, Seats};
use crate::settings::Operator;
use crate::shards::{Shard, Shards};
use crate::telemetry::Metrics;
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{FutureExt as _, future};
use kube::Client;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// One process.
pub(super) struct Replica {
    /// What was said at the start.
    pub(super) settings: Operator,
    /// For objects.
    pub(super) client: Client,
    /// For Leases.
    pub(super) leases: Client,
    /// Where they are.
    pub(super) lease_namespace: String,
    /// The cluster's definitions.
    pub(super) definitions: Arc<Definitions>,
    /// A name that no other process has.
    pub(super) identity: String,
    /// What the probes are told.
    pub(super) health: Health,
    /// Counters.
    pub(super) metrics: Metrics,
}

/// What the shards of a process have in common.
struct Common {
    /// The common Lease.
    fence: Fence,
    seats: Arc<Seats>,
    events: Events,
    desks: Arc<Desks>,
    led: AtomicUsize,
}

impl Replica {
    /// Stands by, leads, and gives back when told to stop.
    ///
    /// # Errors
    /// A Lease was lost, or an address cannot be had.
    pub(super) async fn run(&self, stop: impl Future<Output = ()> + Clone) -> Result<(), Error> {
        if self.settings.shards == Shards::ONE { self.alone(stop).await } else { self.among_others(stop).await }
    }

    fn lease(&self, name: &str, identity: &str) -> Lease {
        Lease::new(self.leases.clone(), &self.lease_namespace, name, identity.to_owned())
    }

    async fn alone(&self, stop: impl Future<Output = ()> + Clone) -> Result<(), Error> {
        let lease = self.lease(&self.settings.lease_name, &self.identity);
        let leadership = tokio::select! {
            leadership = lease.acquire(|holder| self.stands_by(holder)) => leadership,
            () = stop.clone() => return Ok(()),
        };
        self.metrics.set_other_layout(false);
        self.metrics.set_led(1);
        info!(identity = self.identity, version = env!("CARGO_PKG_VERSION"), "leading");
        let desks = Desks::bind(&self.settings, &self.metrics).await?;
        let (events, publishing) = Events::start(self.client.clone(), &self.identity);
        let fence = leadership.fence();
        let led = Led { replica: self, shard: Shard::WHOLE, fence, events, desks };
        let outcome = lead(led, stop).await;
        self.metrics.set_led(0);
        if outcome.is_ok() {
            // Nothing is written any more: the next replica begins while the last events go out. Those are handed over within a
            // moment; what is left then is not worth a longer stop.
            leadership.release().await;
            let _ = tokio::time::timeout(Duration::from_secs(2), publishing).await;
        }
        outcome
    }

    /// Whoever divides the namespaces otherwise is waited for, and that is told.
    fn stands_by(&self, holder: &str) {
        let shards = self.settings.shards;
        let other = Shards::is_layout(holder) || shards != Shards::ONE;
        self.metrics.set_other_layout(other);
        if other {
            warn!(holder, %shards, "replicas that divide the namespaces otherwise are at work; waiting for their end");
        } else {
            info!(holder, "standing by");
        }
    }

    async fn among_others(&self, stop: impl Future<Output = ()> + Clone) -> Result<(), Error> {
        let shards = self.settings.shards;
        let members = Arc::new(Members::new(&self.identity));
        let common = self.lease(&self.settings.lease_name, &shards.layout()).together(members.clone());
        let common = tokio::select! {
            common = common.acquire(|holder| self.stands_by(holder)) => common,
            () = stop.clone() => return Ok(()),
        };
        self.metrics.set_other_layout(false);
        info!(identity = self.identity, version = env!("CARGO_PKG_VERSION"), %shards, "sharing out");
        let (fence, clock) = (common.fence(), lease::boottime());
        let seats = Seats::new(shards.count().into(), members.clone(), fence.clone(), clock);
        let desks = Desks::bind(&self.settings, &self.metrics).await?;
        let (events, publishing) = Events::start(self.client.clone(), &self.identity);
        let shared = Common { fence: fence.clone(), seats, events, desks, led: AtomicUsize::new(0) };

        let (end, ended) = watch::channel(false);
        let stop = async move {
            let mut ended = ended;
            tokio::select! {
                () = stop => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
        };
        let stop = stop.shared();
        // Before anything is given back, the others are told not to count on this one: they are due it then, at once.
        let leave = async {
            stop.clone().await;
            members.leave();
            fence.renewed().await;
        };
        let left = leave.shared();
        let work = async {
            let mut all: FuturesUnordered<_> =
                shards.all().map(|shard| self.keep(shard, &shared, stop.clone(), left.clone())).collect();
            let mut outcome = Ok(());
            while let Some(one) = all.next().await {
                if one.is_err() {
                    let _ = end.send(true);
                    outcome = outcome.and(one);
                }
            }
            outcome
        };
        let outcome = tokio::select! {
            (outcome, ()) = future::join(work, left.clone()) => outcome,
            () = shared.seats.balance() => Ok(()),
        };
        common.release().await;
        drop(shared);
        if outcome.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(2), publishing).await;
        }
        outcome
    }

    /// One shard: stands by, leads it, gives it back when another replica is due it, and so on.
    async fn keep(
        &self,
        shard: Shard,
        common: &Common,
        stop: future::Shared<impl Future<Output = ()>>,
        left: future::Shared<impl Future<Output = ()>>,
    ) -> Result<(), Error> {
        let Common { fence, seats, events, desks, led } = common;
        let name = shard.lease_name(&self.settings.lease_name);
        loop {
            let lease = self.lease(&name, &self.identity).shared_out(seats.clone());
            let leadership = tokio::select! {
                leadership = lease.acquire(|_| ()) => leadership,
                lost = fence.ended() => return Err(Error::Lost(lost)),
                () = stop.clone() => return Ok(()),
            };
            let asked = seats.leads(shard.index());
            self.metrics.set_led(led.fetch_add(1, Ordering::SeqCst) + 1);
            let stop_or_asked = async {
                tokio::select! {
                    () = stop.clone() => {}
                    _ = asked => {}
                }
            };
            let both = leadership.fence().under(fence.clone());
            let led_now = Led { replica: self, shard, fence: both, events: events.clone(), desks: desks.clone() };
            let outcome = Box::pin(lead(led_now, stop_or_asked)).await;
            seats.gives_back(shard.index());
            self.metrics.set_led(led.fetch_sub(1, Ordering::SeqCst) - 1);
            outcome?;
            let stops = stop.peek().is_some();
            if stops {
                left.clone().await;
            }
            leadership.release().await;
            if stops {
                return Ok(());
            }
        }
    }
}
