//! Feeds: accepted reviews become closures by themselves.
//!
//! `desk` takes webhooks, `poll` asks, `pull` takes from a stream; each hands the id of a review to `admit`, which reads its record and makes the
//! closure. `book` is what is known of a feed and what its status tells.
//!
//! **Only who leads the shard takes its events.** What must survive it is stored before an answer: that a closure is there, and that the
//! delivery was taken. What need not (counts of refusals) is stored every few seconds, so that nobody who cannot sign can
//! make the operator write.

mod admit;
mod book;
mod desk;
mod desks;
mod poll;
mod pull;

use super::context::{Context, Locks};
use super::secrets;
use crate::api::AcceptanceFeed;
use crate::closure::ids::System;
use crate::closure::reason::Reason;
use crate::feeds::again::{Again, Turn};
use crate::feeds::signature::Keys;
use crate::feeds::{Outcome, Source};
use crate::roles::{ListedReview, PUT_OFF_MAX};
use crate::shards::Shard;
use admit::Admitted;
use book::{Book, Came, Verdict};
pub(super) use desks::Desks;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::reflector::ObjectRef;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// A Secret is read again before use when the last look is older than this.
const SECRET_AGE_MAX: Duration = Duration::from_secs(60);
/// The same for a feed that nobody uses.
const SECRET_AGE_IDLE: Duration = Duration::from_secs(600);
/// A delivery that no known secret signed has the Secrets read again, but not oftener than this.
const SECRET_AGE_MIN: Duration = Duration::from_secs(5);
/// Tries of a status write that somebody else's write came before.
const WRITE_TRIES: u32 = 4;

/// The feeds of the cluster, or of the one namespace that is watched.
pub(super) struct Feeds {
    context: Arc<Context>,
    /// Whether an address is served for webhooks.
    served: bool,
    entries: Mutex<HashMap<ObjectRef<AcceptanceFeed>, Arc<Entry>>>,
    in_hand: AtomicUsize,
    begun: AtomicBool,
}

/// What this process holds of one feed.
struct Entry {
    uid: String,
    book: Mutex<Book>,
    /// One writer at a time; whoever waits finds his change written by the one before.
    written: tokio::sync::Mutex<Written>,
    keys: tokio::sync::Mutex<Option<Held>>,
    /// One delivery at a time of those that are the same.
    turns: Locks<[u8; 32]>,
    /// Found out while it was used, and gone with the next success.
    trouble: Mutex<Option<(Reason, String)>>,
    polling: Arc<tokio::sync::Mutex<Option<Instant>>>,
    /// Reviews of lists that are put off.
    listed: Mutex<Again<ListedReview>>,
    /// Events of a stream that are put off.
    handed_out: Mutex<Again<String>>,
}

#[derive(Default)]
struct Written {
    version: u64,
    resource_version: Option<String>,
}

struct Held {
    generation: i64,
    read: Instant,
    keys: Result<Arc<Keys>, (Reason, String)>,
}

impl Entry {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<(Reason, String)>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self) -> MutexGuard<'_, Again<ListedReview>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handed_out(&self) -> MutexGuard<'_, Again<String>> {
        self.handed_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feeds {
    /// Feeds as the context's watch keeps them. `served`: whether an address is served for webhooks.
    pub(super) fn new(context: Arc<Context>, served: bool) -> Feeds {
        Feeds {
            context,
            served,
            entries: Mutex::default(),
            in_hand: AtomicUsize::new(0),
            begun: AtomicBool::new(false),
        }
    }

    /// The namespaces whose feeds these are.
    pub(super) fn shard(&self) -> Shard {
        self.context.shard
    }

    /// Playbooks and connections are known from now on.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
    }

    /// Whether no delivery is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.in_hand.load(Ordering::SeqCst) == 0
    }

    fn entry(&self, feed: &AcceptanceFeed) -> Arc<Entry> {
        let uid = feed.uid().unwrap_or_default();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = entries.get(&ObjectRef::from_obj(feed)).filter(|known| known.uid == uid);
        if let Some(known) = known {
            return known.clone();
        }
        let entry = Arc::new(Entry {
            uid,
            book: Mutex::new(Book::of(&feed.status.clone().unwrap_or_default())),
            written: tokio::sync::Mutex::default(),
            keys: tokio::sync::Mutex::default(),
            turns: Locks::default(),
            trouble: Mutex::default(),
            polling: Arc::default(),
            listed: Mutex::new(Again::with_room(PUT_OFF_MAX)),
            handed_out: Mutex::new(Again::with_room(PUT_OFF_MAX)),
        });
        entries.insert(ObjectRef::from_obj(feed), entry.clone());
        entry
    }

    /// Every few seconds: says of each feed whether it can be used, asks where it is time to, stores what was not urgent.
    pub(super) async fn keep(self: &Arc<Feeds>) {
        loop {
            let all = self.context.feeds.state();
            {
                let alive: std::collections::HashSet<_> = all.iter().map(|feed| ObjectRef::from_obj(&**feed)).collect();
                let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
                entries.retain(|reference, _| alive.contains(reference));
            }
            for feed in all {
                self.attend(feed);
            }
            tokio::time::sleep(super::TICK).await;
        }
    }

    /// A feed is new, has changed, or had its time.
    pub(super) fn attend(self: &Arc<Feeds>, feed: Arc<AcceptanceFeed>) {
        if !self.begun.load(Ordering::SeqCst) {
            return;
        }
        let feeds = self.clone();
        self.context.tasks.spawn(async move {
            let entry = feeds.entry(&feed);
            let verdict = feeds.judge(&feed, &entry).await;
            // A system that was away at its last probe may be there by now: asking it tells.
            let may_be = matches!(verdict.reason, Reason::Ready | Reason::ConnectionNotReady);
            let usable = may_be || entry.trouble().is_some();
            let version = {
                let mut book = entry.book();
                book.judged(verdict, feed.metadata.generation.unwrap_or_default());
                book.version()
            };
            if usable && feed.spec.poll.is_some() {
                feeds.poll_when_due(&feed, &entry).await;
            }
            if let (true, Some(stream)) = (usable, &feed.spec.nats) {
                feeds.pull(&feed, &entry, stream).await;
            }
            feeds.store(&feed, &entry, version).await;
        });
    }

    /// Whether a feed can be used, as far as can be told without using it.
    async fn judge(&self, feed: &AcceptanceFeed, entry: &Entry) -> Verdict {
        if feed.spec.suspend {
            let truth = crate::api::conditions::Truth::Unknown;
            let message = "The feed is suspended; no event is taken.".to_owned();
            return Verdict { truth, reason: Reason::Suspended, message };
        }
        if let Some(why) = self.context.definitions.outdated() {
            return Verdict::not(Reason::SchemaOutdated, why);
        }
        let namespace = feed.namespace().unwrap_or_default();
        let allowed = self.context.playbooks.rules(&namespace, &feed.spec.playbook_ref).and_then(|(playbook, _)| {
            let connections = &self.context.connections;
            let reference = playbook.connection(System::Governance);
            let governance = connections.allows(Some(&namespace), reference, System::Governance, &playbook)?;
            connections.told_ready(&*governance, System::Governance)
        });
        if let Err(unusable) = allowed {
            return Verdict::not(unusable.reason, unusable.message);
        }
        if feed.spec.webhook.is_some() {
            if !self.served {
                return Verdict::not(
                    Reason::FeedHindered,
                    "The operator serves no webhooks: see --feeds-bind-address.",
                );
            }
            if let Err((reason, why)) = self.keys(feed, entry, SECRET_AGE_IDLE).await {
                return Verdict::not(reason, why);
            }
        }
        match entry.trouble().clone() {
            Some((reason, why)) => Verdict::not(reason, why),
            None => Verdict::ready(),
        }
    }

    /// The keys of a feed, read again where they are older than `age` or its spec has changed.
    async fn keys(&self, feed: &AcceptanceFeed, entry: &Entry, age: Duration) -> Result<Arc<Keys>, (Reason, String)> {
        let Some(webhook) = &feed.spec.webhook else {
            return Err((Reason::FeedHindered, "The feed has no webhook.".to_owned()));
        };
        let generation = feed.metadata.generation.unwrap_or_default();
        let mut held = entry.keys.lock().await;
        let known = held.as_ref().filter(|held| held.generation == generation);
        // What could not be read is tried again soon.
        let fresh = known.filter(|held| held.read.elapsed() < if held.keys.is_ok() { age } else { SECRET_AGE_MIN });
        if let Some(fresh) = fresh {
            return fresh.keys.clone();
        }
        let namespace = feed.namespace().unwrap_or_default();
        let keys = match secrets::named(&self.context.client, &namespace, &webhook.secret_refs).await {
            Ok(secrets) => Keys::new(webhook.format, &secrets)
                .map(Arc::new)
                .map_err(|unfit| (Reason::SecretUnfit, format!("A secret of this feed {unfit}."))),
            // A moment in which the API server does not answer takes no key away.
            Err(secrets::SecretError::Unavailable) if known.is_some_and(|held| held.keys.is_ok()) => {
                return known.map_or_else(|| Err((Reason::SecretNotFound, String::new())), |held| held.keys.clone());
            }
            Err(error) => Err((error.reason(), error.to_string())),
        };
        *held = Some(Held { generation, read: Instant::now(), keys: keys.clone() });
        keys
    }

    /// Takes down what became of an event, in metrics and status; a delivery that is remembered is stored before this
    /// returns. What is to be answered is what it returns.
    async fn note(
        &self,
        source: Source,
        feed: &AcceptanceFeed,
        entry: &Entry,
        outcome: Outcome,
        came: Came,
        fingerprint: Option<&[u8; 32]>,
    ) -> Outcome {
        self.context.metrics.feed_event(source, outcome);
        debug!(namespace = feed.namespace(), feed = feed.name_any(), outcome = outcome.label(), "an event");
        let version = entry.book().note(outcome, came, fingerprint, self.context.now());
        let durable = fingerprint.is_some() && (outcome.is_remembered() || outcome == Outcome::Replayed);
        if durable && !self.store(feed, entry, version).await {
            return Outcome::Unavailable;
        }
        outcome
    }

    /// Stores the book of a feed up to a version, at least; many who want that at once make one write. Whether it is.
    async fn store(&self, feed: &AcceptanceFeed, entry: &Entry, version: u64) -> bool {
        let mut written = entry.written.lock().await;
        if written.version >= version {
            return true;
        }
        let (namespace, name) = (feed.namespace().unwrap_or_default(), feed.name_any());
        let api: Api<AcceptanceFeed> = Api::namespaced(self.context.client.clone(), &namespace);
        for _ in 0..WRITE_TRIES {
            // Once the term is over another replica keeps the book.
            if self.context.fence.valid_for().is_zero() {
                return false;
            }
            let mut object = feed.clone();
            let (version, status) = entry.book().status(feed, self.context.now());
            object.metadata.managed_fields = None;
            if let Some(resource_version) = &written.resource_version {
                object.metadata.resource_version = Some(resource_version.clone());
            }
            if written.resource_version.is_none() && object.status.as_ref() == Some(&status) {
                written.version = version;
                return true;
            }
            object.status = Some(status);
            match api.replace_status(&name, &PostParams::default(), &object).await {
                Ok(stored) => {
                    *written = Written { version, resource_version: stored.metadata.resource_version };
                    return true;
                }
                Err(kube::Error::Api(status)) if status.is_conflict() => match api.get_opt(&name).await {
                    Ok(Some(fresh)) if fresh.uid().as_deref() == Some(&entry.uid) => {
                        written.resource_version = fresh.metadata.resource_version;
                    }
                    // The feed is gone, or another one of that name has its own book.
                    Ok(_) => return false,
                    Err(error) => return unstored(&namespace, &name, &error),
                },
                Err(kube::Error::Api(status)) if status.is_not_found() => return false,
                Err(error) => return unstored(&namespace, &name, &error),
            }
        }
        false
    }
}

/// Says in the log why a record makes no closure: at its first look, and when it is given up. `turn` is none where nobody but
/// the sender brings the event again.
fn explain(feed: &AcceptanceFeed, review: &str, admitted: &Admitted, turn: Option<Turn>) {
    let Some(why) = &admitted.why else { return };
    let (namespace, name, outcome) = (feed.namespace(), feed.name_any(), admitted.outcome.label());
    match turn {
        Some(Turn::Again(_)) => {}
        Some(Turn::Over) => {
            warn!(namespace, feed = name, review, outcome, why, "a review makes no closure, and is asked for no more");
        }
        // That a review is reopened is nobody's mistake.
        None | Some(Turn::First(_)) if admitted.outcome == Outcome::NotAccepted => {
            info!(namespace, feed = name, review, outcome, why, "a review makes no closure");
        }
        None | Some(Turn::First(_)) => {
            warn!(namespace, feed = name, review, outcome, why, "a review makes no closure");
        }
    }
}

fn unstored(namespace: &str, name: &str, error: &kube::Error) -> bool {
    warn!(%error, namespace, feed = name, "a feed's status was not written");
    false
}
