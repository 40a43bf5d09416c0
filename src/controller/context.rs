//! What every pass shares.

use super::announce::Telling;
use super::approved::KindName;
use super::cache::{Hold, Index, Sibling, Unfinished};
use super::connections::Connections;
use super::definitions::Definitions;
use super::events::Events;
use super::tally::Tally;
use crate::api::AcceptanceFeed;
use crate::api::release_closure::PlaybookKind;
use crate::drive::Remembered;
use crate::lease::Fence;
use crate::shards::Shard;
use crate::telemetry::Metrics;
use jiff::{Timestamp, Unit};
use kube::Client;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

/// Passes under way at once.
pub const PASSES_MAX: usize = 48;
/// Passes under way at once for one playbook. All of them need the same six systems: where one of these hangs, its
/// closures wait for each other and for nobody else's.
pub const PASSES_PER_PLAYBOOK: usize = 16;

/// What every pass shares.
pub struct Context {
    /// The namespaces that this is about. Nothing of any other gets in: the watches leave it out.
    pub shard: Shard,
    /// For objects. Retries nothing by itself.
    pub client: Client,
    /// The cluster's definitions of the kinds.
    pub definitions: Arc<Definitions>,
    /// Unfinished closures, slim.
    pub closures: Store<Unfinished>,
    /// The same by closure key, to tell the oldest of duplicates.
    pub siblings: Arc<Index<Sibling>>,
    /// Packets that hold their closures.
    pub holds: Arc<Index<Hold>>,
    /// Playbooks.
    pub playbooks: super::playbooks::Playbooks,
    /// Connections, with their clients.
    pub connections: Arc<Connections>,
    /// Feeds, for what their statuses say.
    pub feeds: Store<AcceptanceFeed>,
    /// Whether this replica leads the shard, and for how long.
    pub fence: Fence,
    /// Counters.
    pub metrics: Metrics,
    /// What is counted from objects.
    pub tally: Tally,
    /// Events for people, published behind the passes.
    pub events: Events,
    /// Wakes a closure.
    pub wake: mpsc::UnboundedSender<ObjectRef<Unfinished>>,
    /// Wakes the telling of a halt.
    pub tell: mpsc::UnboundedSender<Telling>,
    /// One pass at a time over one closure key.
    pub keys: Locks<(String, String)>,
    /// Room for passes.
    pub room: Room,
    /// What is remembered between passes, by uid.
    pub memory: Mutex<HashMap<String, Remembered>>,
    /// What goes on behind the passes.
    pub tasks: Tasks,
}

impl Context {
    /// The time, in whole seconds as Kubernetes keeps it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.round(Unit::Second)
            .ok()
            .filter(|rounded| *rounded <= now)
            .unwrap_or_else(|| Timestamp::from_second(now.as_second()).unwrap_or(now))
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a closure.
    #[must_use]
    pub fn recall(&self, uid: &str) -> Remembered {
        self.remembered().get(uid).cloned().unwrap_or_default()
    }

    /// Remembers.
    pub fn remember(&self, uid: &str, remembered: Remembered) {
        self.remembered().insert(uid.to_owned(), remembered);
    }

    /// Forgets: the closure is gone, finished, halted or suspended.
    pub fn forget(&self, uid: &str) {
        self.remembered().remove(uid);
    }

    /// Whether the last pass over a closure ended waiting.
    #[must_use]
    pub fn is_waiting(&self, uid: &str) -> bool {
        self.remembered().get(uid).is_some_and(|remembered| remembered.is_waiting())
    }

    /// How many closures wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.remembered().values().filter(|remembered| remembered.is_waiting()).count()
    }

    /// The unfinished objects of closures, which are named by namespace and key.
    #[must_use]
    pub fn objects(&self, closures: &[(String, String)]) -> Vec<ObjectRef<Unfinished>> {
        let of = |(namespace, key): &(String, String)| {
            let siblings = self.siblings.of_key(namespace, key);
            siblings.into_iter().map(|(name, _)| ObjectRef::new(&name).within(namespace)).collect::<Vec<_>>()
        };
        closures.iter().flat_map(of).collect()
    }

    /// Wakes the unfinished objects of closures.
    pub fn wake(&self, closures: &[(String, String)]) {
        for object in self.objects(closures) {
            // The receiver lives as long as the controller; without it there is nobody to wake.
            let _ = self.wake.send(object);
        }
    }

    /// Wakes every waiting closure of a namespace (of all, for an empty `home`) for which `concerned` holds.
    pub fn wake_waiting(&self, home: &str, concerned: impl Fn(&Unfinished) -> bool) {
        for object in self.closures.state() {
            let meta = &object.metadata;
            let waits = meta.uid.as_deref().is_some_and(|uid| self.is_waiting(uid));
            let there = home.is_empty() || meta.namespace.as_deref() == Some(home);
            if there && waits && concerned(&object) {
                // The receiver lives as long as the controller; without it there is nobody to wake.
                let _ = self.wake.send(ObjectRef::from_obj(&*object));
            }
        }
    }
}

/// Tasks that end when their shard does.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Starts one.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Breaks all of them off, and waits until they are.
    pub async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

/// Locks by name; one that nobody holds takes no memory.
#[derive(Debug)]
pub struct Locks<K> {
    held: Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>,
}

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Locks { held: Mutex::new(HashMap::new()) }
    }
}

impl<K: Hash + Eq> Locks<K> {
    /// Waits for a lock.
    pub async fn lock(&self, name: K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() > 1024 {
                held.retain(|_, lock| lock.strong_count() > 0);
            }
            let known = held.get(&name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::new(tokio::sync::Mutex::new(()));
                held.insert(name, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

/// Room for passes: so many in all, so many for one playbook. Who waits for room holds nothing.
#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    by_playbook: Mutex<HashMap<(String, String), Arc<Semaphore>>>,
}

impl Default for Room {
    fn default() -> Self {
        Room { all: Arc::new(Semaphore::new(PASSES_MAX)), by_playbook: Mutex::new(HashMap::new()) }
    }
}

/// A place for one pass.
#[derive(Debug)]
pub struct Place {
    _of_playbook: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Whether no pass is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.available_permits() == PASSES_MAX
    }

    /// Waits for a place: first among the closures of the same playbook, then among all.
    pub async fn enter(&self, namespace: &str, playbook: &KindName) -> Place {
        let shared = playbook.reference().is_some_and(|named| named.kind == PlaybookKind::ClusterClosurePlaybook);
        let home = if shared { "" } else { namespace };
        let of_playbook = {
            let mut groups = self.by_playbook.lock().unwrap_or_else(PoisonError::into_inner);
            if groups.len() > 1024 {
                groups.retain(|_, group| Arc::strong_count(group) > 1);
            }
            let group = groups.entry((home.to_owned(), playbook.name.clone()));
            group.or_insert_with(|| Arc::new(Semaphore::new(PASSES_PER_PLAYBOOK))).clone()
        };
        // Neither semaphore is ever closed, so neither wait fails.
        Place {
            _of_playbook: of_playbook.acquire_owned().await.ok(),
            _of_all: self.all.clone().acquire_owned().await.ok(),
        }
    }
}
