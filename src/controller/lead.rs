//! One shard, led: its watches, its passes and everything beside them, until told to stop.
//!
//! **Guarantee:** when this returns nothing of the shard goes on: no pass, no probe, no look at a feed.

use super::context::{self, Context, Locks, Room};
use super::feeds::{Desks, Feeds};
use super::pass::{self, Next, PassError};
use super::replica::Replica;
use super::watches::approved::Kept;
use super::{Error, GRACE, agenda, announce, api, record, tally, watches};
use super::{cache::Unfinished, events::Events};
use crate::api::AcceptanceFeed;
use crate::drive;
use crate::health::Filling;
use crate::lease::{Fence, Lost};
use crate::shards::Shard;
use crate::spans;
use crate::telemetry::Ending;
use futures::{FutureExt as _, future};
use kube::ResourceExt as _;
use kube::runtime::reflector::{ObjectRef, store::Writer};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{Instrument as _, Span, error, info, info_span, warn};

/// What a shard is led with.
pub(super) struct Led<'a> {
    /// The process.
    pub(super) replica: &'a Replica,
    /// The shard.
    pub(super) shard: Shard,
    /// Holds while the shard is led.
    pub(super) fence: Fence,
    /// Where events are handed in.
    pub(super) events: Events,
    /// Where webhooks come in.
    pub(super) desks: Arc<Desks>,
}

/// Leads: watches and makes passes until told to stop or until the lease is lost.
///
/// # Errors
/// The lease was lost.
pub(super) async fn lead(led: Led<'_>, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let Led { replica, shard, fence, events, desks } = led;
    let Replica { settings, client, metrics, health, .. } = replica;
    let (wake, woken) = mpsc::unbounded_channel();
    let (tell, told) = mpsc::unbounded_channel();
    let closures = Writer::<Unfinished>::default();
    let offers = Writer::<AcceptanceFeed>::default();
    let approved = Kept::default();
    let (playbooks, connections) = approved.readers(
        client,
        settings.namespace.name(),
        settings.cluster_resource_namespace.name().unwrap_or(&replica.lease_namespace),
        settings.allow_loopback_connections,
        shard,
    );
    let context = Arc::new(Context {
        shard,
        client: client.clone(),
        definitions: replica.definitions.clone(),
        closures: closures.as_reader(),
        siblings: Arc::default(),
        holds: Arc::default(),
        playbooks,
        connections,
        feeds: offers.as_reader(),
        fence,
        metrics: metrics.clone(),
        tally: tally::Tally::new(metrics.clone(), shard),
        events,
        wake,
        tell,
        keys: Locks::default(),
        room: Room::default(),
        memory: Mutex::default(),
        tasks: context::Tasks::default(),
    });
    metrics.set_watch(shard.index(), Some(context.clone()));
    let writers = Writers { closures, offers, approved, woken, told };
    let outcome = work(replica, &context, &desks, writers, health.fill(), stop).await;
    desks.shut(shard);
    context.tasks.end().await;
    metrics.set_watch(shard.index(), None);
    metrics.set_figures(shard.index(), None);
    outcome
}

/// Where the watches write to, and where what is woken comes out.
struct Writers {
    closures: Writer<Unfinished>,
    offers: Writer<AcceptanceFeed>,
    approved: Kept,
    woken: mpsc::UnboundedReceiver<ObjectRef<Unfinished>>,
    told: mpsc::UnboundedReceiver<announce::Telling>,
}

async fn work(
    replica: &Replica,
    context: &Arc<Context>,
    desks: &Arc<Desks>,
    writers: Writers,
    filling: Filling,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let client = &replica.client;
    let namespace = replica.settings.namespace.name();
    let Writers { closures, offers, approved, woken, told } = writers;
    // What a closure needs is known before the first pass: a list that is not complete would show as something missing.
    let (holds_known, holding) = watches::packets(context, api(client, namespace));
    let (approved_known, approving) = approved.watch(context, client, namespace);
    let feeds = Arc::new(Feeds::new(context.clone(), desks.are_served()));
    let (feeds_known, fed) = watches::feeds(&feeds, api(client, namespace), offers);
    let background = future::join3(holding, approving, fed).map(|_| ());
    let (caches_complete, may_feed) = tokio::sync::oneshot::channel::<()>();
    let caches = async {
        // An error means that the watch has ended, and with it this leader.
        let _ = tokio::join!(holds_known, approved_known);
    };

    let stopping = Arc::new(AtomicBool::new(false));
    let passes = async {
        caches.await;
        // Nobody waits for it any more when the leader has ended.
        let _ = caches_complete.send(());
        info!(shard = context.shard.index(), "the caches of packets, playbooks and connections are complete");
        let changed = watches::closures(context, api(client, namespace), closures, filling);
        let woken = futures::stream::unfold(woken, |mut woken| async {
            woken.recv().await.map(|reference| (reference, woken))
        });
        let stopping = stopping.clone();
        let pass = |reference| reconcile(reference, context.clone(), stopping.clone());
        agenda::keep(futures::stream::select(changed, woken), pass).await;
    };
    let ticking = future::join3(watches::tick(context), watches::definitions(context), tally::keep(context, namespace));
    let telling = announce::keep(context, told);
    let feeding = async {
        // What is judged before that would seem to lack its playbook.
        let (Ok(()), Ok(())) = (feeds_known.await, may_feed.await) else { return };
        feeds.begin();
        desks.open(context.shard, feeds.clone());
        feeds.keep().await;
    };

    let mut running = pin!(future::join5(background, passes, ticking, telling, feeding));
    let (mut stop, mut lost) = (pin!(stop), pin!(context.fence.ended()));
    tokio::select! {
        _ = &mut running => Ok(()),
        lost = &mut lost => Err(ended(lost)),
        () = &mut stop => {
            stopping.store(true, Ordering::SeqCst);
            desks.shut(context.shard);
            // Passes under way are let finish; they need the watches for their fences.
            let idle = async {
                while !context.room.is_empty() || !feeds.is_idle() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                _ = &mut running => {}
                () = idle => info!("every pass under way has ended"),
                () = tokio::time::sleep(GRACE) => warn!("passes were still under way and are broken off"),
                lost = &mut lost => return Err(Error::Lost(lost)),
            }
            Ok(())
        }
    }
}

fn ended(lost: Lost) -> Error {
    error!(%lost, "leadership ended; nothing is written any more");
    Error::Lost(lost)
}

/// One closure that something woke: waits for its turn, makes a pass, says when to look again.
async fn reconcile(reference: ObjectRef<Unfinished>, context: Arc<Context>, stopping: Arc<AtomicBool>) -> Next {
    // It may have left the cache since it was woken.
    let Some(object) = context.closures.get(&reference) else { return Next::OnChange };
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let queued = context.metrics.queue();
    let place = context.room.enter(&namespace, &object.spec.playbook_ref).await;
    let turn = context.keys.lock((namespace.clone(), object.key().as_str().to_owned())).await;
    drop(queued);
    if stopping.load(Ordering::SeqCst) {
        return Next::OnChange;
    }
    let span = info_span!("pass", closure = %object.key(), namespace, object = name);
    let told = spans::pass(&namespace, &name);
    let pass = Box::pin(pass::run(&context, &namespace, &name).instrument(told.clone()));
    let next = guarded(&context, &object, told, pass).instrument(span).await;
    drop((turn, place));
    next
}

/// Makes a pass, counts it, and says when to look again. A panic ends this pass and nothing else.
pub(super) async fn guarded(
    context: &Context,
    object: &Unfinished,
    told: Span,
    pass: impl Future<Output = Result<pass::Ended, PassError>>,
) -> Next {
    let counted = context.metrics.pass();
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let uid = object.uid().unwrap_or_default();
    let (ending, next) = match AssertUnwindSafe(pass).catch_unwind().await {
        Ok(Ok(ended)) => ended,
        Ok(Err(PassError::Store(record::StoreError::Superseded))) => (Ending::Conflict, Next::AtOnce),
        Ok(Err(failure)) => {
            let attempts = fail(context, &uid);
            warn!(namespace, name, error = %Chain(&failure), "a pass was not finished");
            (Ending::Error, Next::After(drive::after_failures(attempts, fastrand::f64())))
        }
        Err(_) => {
            let attempts = fail(context, &uid);
            error!(namespace, name, "a pass panicked; this closure is tried again, and no other is disturbed");
            (Ending::Panic, Next::After(drive::after_failures(attempts + 3, fastrand::f64())))
        }
    };
    spans::pass_ended(&told, ending.as_str(), matches!(ending, Ending::Error | Ending::Panic));
    counted.end(ending);
    next
}

/// Counts a pass that came to nothing.
fn fail(context: &Context, uid: &str) -> u32 {
    let mut remembered = context.recall(uid);
    let attempts = remembered.failed();
    context.remember(uid, remembered);
    attempts
}

/// An error with its causes, for a log line.
struct Chain<'a>(&'a (dyn std::error::Error + 'a));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
