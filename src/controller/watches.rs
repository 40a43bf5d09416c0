//! The watches: what each keeps, and whom a change wakes.
//!
//! A watch that breaks begins again with a list, and no event tells of what happened in between. So each compares the new
//! list with what it knew.

pub(super) mod approved;

use super::TICK;
use super::cache::{Holding, Unfinished};
use super::context::Context;
use super::feeds::Feeds;
use crate::api::{AcceptanceFeed, REQUESTED_AT};
use crate::health::Filling;
use crate::shards::Shard;
use futures::{Stream, StreamExt as _, TryStreamExt as _, future};
use kube::runtime::reflector::{self, ObjectRef, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{info, warn};

pub(super) use approved::probe_soon;

/// Resolves with the first complete list of a watch.
pub(super) type Known = tokio::sync::oneshot::Receiver<()>;

/// Tells once.
#[derive(Default)]
struct Once(Mutex<Option<tokio::sync::oneshot::Sender<()>>>);

impl Once {
    fn new() -> (Once, Known) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Once(Mutex::new(Some(sender))), receiver)
    }

    fn tell(&self) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody waits any more when the leader has ended.
            let _ = sender.send(());
        }
    }
}

/// What can be watched.
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
}

impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Watched for K {}

/// A watch that goes on after every failure, with a growing pause. What is of another shard is left out: nothing behind this
/// ever sees it. What is of no namespace is for every shard.
fn events_of<K: Watched>(api: Api<K>, config: watcher::Config, shard: Shard) -> impl Stream<Item = Event<K>> {
    unbroken(api, config).filter_map(move |event| {
        future::ready(event.ok().filter(|event| match event {
            Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => {
                object.meta().namespace.as_deref().is_none_or(|namespace| shard.holds(namespace))
            }
            Event::Init | Event::InitDone => true,
        }))
    })
}

/// The same of a kind that older definitions do not have: there are none then.
fn events_if_any<K: Watched>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Event<K>> {
    let none = |event: Result<Event<K>, watcher::Error>| match event {
        Ok(event) => vec![event],
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
            vec![Event::Init, Event::InitDone]
        }
        Err(_) => Vec::new(),
    };
    unbroken(api, config).flat_map(move |event| futures::stream::iter(none(event)))
}

fn unbroken<K: Watched>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Result<Event<K>, watcher::Error>> {
    watch(api, config)
        .default_backoff()
        .inspect_err(|error| warn!(%error, kind = %K::kind(&()), "a watch failed; it begins again"))
}

/// The same events, each when what it brought can be read.
fn kept<K: Watched>(events: impl Stream<Item = Event<K>>, writer: Writer<K>) -> impl Stream<Item = Event<K>> {
    reflector::reflector(writer, events.map(Ok::<_, watcher::Error>)).filter_map(|event| future::ready(event.ok()))
}

/// Unfinished closures. What comes out is what has to be looked at: a closure whose spec or request has changed, and the
/// siblings of one that left. What a list brings comes out when the list is complete: before that, which of several objects
/// of one closure is the oldest cannot be told.
pub(super) fn closures(
    context: &Arc<Context>,
    api: Api<Unfinished>,
    writer: Writer<Unfinished>,
    mut caches: Filling,
) -> impl Stream<Item = ObjectRef<Unfinished>> + use<> {
    let context = context.clone();
    let mut seen: HashMap<ObjectRef<Unfinished>, u64> = HashMap::new();
    // Survives a list that breaks off: what that one brought is not new to the next.
    let mut listed = Vec::new();
    let config = watcher::Config::default().fields("status.completionTime=");
    let events = events_of(api, config, context.shard);
    kept(events, writer).flat_map(move |event| {
        let mut woken = context.objects(&context.siblings.apply(&event));
        match &event {
            Event::Init => {}
            Event::InitDone => {
                woken.append(&mut listed);
                caches.complete();
                info!("the cache of unfinished closures is complete");
                let alive: std::collections::HashSet<_> =
                    context.closures.state().iter().map(|object| ObjectRef::from_obj(&**object)).collect();
                seen.retain(|reference, _| alive.contains(reference));
                // Which channel a halt is told on is known by its closure.
                context.tell_untold("");
            }
            Event::Apply(object) | Event::InitApply(object) => {
                let (reference, print) = (ObjectRef::from_obj(object), fingerprint(object));
                if seen.insert(reference.clone(), print) != Some(print) {
                    let list = if matches!(event, Event::InitApply(_)) { &mut listed } else { &mut woken };
                    list.push(reference);
                    if object.metadata.deletion_timestamp.is_some() {
                        // It does not count any more: the next oldest may act.
                        woken.extend(siblings_of(&context, object));
                    }
                }
            }
            Event::Delete(object) => {
                seen.remove(&ObjectRef::from_obj(object));
                if let Some(uid) = &object.metadata.uid {
                    context.forget(uid);
                }
                // Its packet may have been resolved before it went: nobody acts on that any more, and the packet has to say so.
                if let Some(halt) = &object.status.halt {
                    heed(&context, object.namespace().unwrap_or_default(), object.key().as_str(), halt.id.clone());
                }
                woken.extend(siblings_of(&context, object));
            }
        }
        futures::stream::iter(woken)
    })
}

/// The other objects of the same closure.
fn siblings_of(context: &Context, object: &Unfinished) -> Vec<ObjectRef<Unfinished>> {
    context.objects(&[(object.namespace().unwrap_or_default(), object.key().as_str().to_owned())])
}

/// What of a closure a pass depends on: everything but its status, which is this operator's own.
fn fingerprint(object: &Unfinished) -> u64 {
    let mut hasher = DefaultHasher::new();
    let meta = &object.metadata;
    meta.uid.hash(&mut hasher);
    meta.generation.hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    meta.annotations.as_ref().and_then(|annotations| annotations.get(REQUESTED_AT)).hash(&mut hasher);
    hasher.finish()
}

/// See [`super::packets::heed`]; behind the watches.
fn heed(context: &Arc<Context>, namespace: String, key: &str, packet: String) {
    let (context, key) = (context.clone(), key.to_owned());
    context.clone().tasks.spawn(async move {
        if let Err(error) = super::packets::heed(&context, &namespace, &key, &packet).await {
            warn!(%error, namespace, packet, "a packet could not be read");
        }
    });
}

/// Packets that hold a closure. One that is resolved with Resume leaves the watch, which wakes its closure too.
pub(super) fn packets(context: &Arc<Context>, api: Api<Holding>) -> (Known, impl Future<Output = ()> + use<>) {
    let context = context.clone();
    let (once, known) = Once::new();
    let config = watcher::Config::default().fields("spec.resolution.decision!=Resume");
    let watching = async move {
        let mut events = pin!(events_of(api, config, context.shard));
        while let Some(event) = events.next().await {
            context.wake(&context.holds.apply(&event));
            match event {
                Event::InitDone => {
                    once.tell();
                    context.tell_untold("");
                }
                // Nobody has answered yet. The closure it is of knows; others of the same key are held from now on.
                Event::Apply(packet) if packet.spec.resolution.is_none() => {
                    let key = (packet.namespace().unwrap_or_default(), packet.spec.closure_key.clone());
                    context.tell(&packet);
                    let halted_by_it = |closure: &ObjectRef<Unfinished>| {
                        let halt = context.closures.get(closure).and_then(|closure| closure.status.halt.clone());
                        halt.is_some_and(|halt| halt.id == packet.spec.halt_id)
                    };
                    for closure in context.objects(&[key]).into_iter().filter(|closure| !halted_by_it(closure)) {
                        // The receiver lives as long as the controller.
                        let _ = context.wake.send(closure);
                    }
                }
                Event::Apply(packet) | Event::Delete(packet) => {
                    let namespace = packet.namespace().unwrap_or_default();
                    heed(&context, namespace, &packet.spec.closure_key, packet.name_any());
                }
                Event::Init | Event::InitApply(_) => {}
            }
        }
    };
    (known, watching)
}

/// What is new to a watch, or has another version than it had.
struct Changes<K: Watched, V> {
    version: fn(&K) -> V,
    seen: HashMap<ObjectRef<K>, V>,
    listed: Vec<K>,
}

impl<K: Watched, V: PartialEq> Changes<K, V> {
    /// Nothing is known yet. What counts of an object is its `version`.
    fn by(version: fn(&K) -> V) -> Changes<K, V> {
        Changes { version, seen: HashMap::new(), listed: Vec::new() }
    }

    /// Takes an event in and gives what it changed; of a list that is not complete yet, nothing.
    fn of(&mut self, event: Event<K>) -> Vec<K> {
        let Changes { version, seen, listed } = self;
        let mut is_new = |object: &K| {
            let version = version(object);
            let new = seen.get(&ObjectRef::from_obj(object)) != Some(&version);
            seen.insert(ObjectRef::from_obj(object), version);
            new
        };
        match event {
            Event::Init => {
                listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                listed.push(object);
                Vec::new()
            }
            Event::InitDone => std::mem::take(listed).into_iter().filter(|object| is_new(object)).collect(),
            Event::Apply(object) => Some(object).filter(|object| is_new(object)).into_iter().collect(),
            Event::Delete(object) => {
                seen.remove(&ObjectRef::from_obj(&object));
                Vec::new()
            }
        }
    }
}

/// The version of an object's spec.
fn spec_of<K: Watched>(object: &K) -> (Option<String>, Option<i64>) {
    (object.uid(), object.meta().generation)
}

/// Feeds: each that is new or changed is judged at once.
pub(super) fn feeds(
    feeds: &Arc<Feeds>,
    api: Api<AcceptanceFeed>,
    writer: Writer<AcceptanceFeed>,
) -> (Known, impl Future<Output = ()> + use<>) {
    let feeds = feeds.clone();
    let (once, known) = Once::new();
    let events = events_of(api, watcher::Config::default(), feeds.shard());
    let watching = async move {
        let mut changes = Changes::by(spec_of);
        let mut events = pin!(kept(events, writer));
        while let Some(event) = events.next().await {
            if matches!(event, Event::InitDone) {
                once.tell();
            }
            for feed in changes.of(event) {
                feeds.attend(Arc::new(feed));
            }
        }
    };
    (known, watching)
}

/// The cluster's definitions have changed: every playbook is judged again, and every closure is looked at.
pub(super) async fn definitions(context: &Arc<Context>) {
    let mut changes = context.definitions.changes();
    while changes.changed().await.is_ok() {
        approved::judge_all(context, &context.playbooks.concerned_by("")).await;
        for object in context.closures.state() {
            // The receiver lives as long as the controller.
            let _ = context.wake.send(ObjectRef::from_obj(&*object));
        }
    }
}

/// Every few seconds: the probes that are due.
pub(super) async fn tick(context: &Arc<Context>) {
    loop {
        tokio::time::sleep(TICK).await;
        let unfinished: std::collections::HashSet<String> = context
            .closures
            .state()
            .iter()
            .filter(|closure| closure.status.halt.is_none() && !closure.spec.suspend)
            .filter_map(|closure| closure.namespace())
            .collect();
        let needed = |home: &str| if home.is_empty() { !unfinished.is_empty() } else { unfinished.contains(home) };
        for connection in context.connections.due(needed) {
            approved::probe(context, connection);
        }
    }
}
