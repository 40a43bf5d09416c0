//! What the watches keep: slim copies of what is unfinished, and nothing of what is finished.
//!
//! A pass reads its object from the API server itself; the copies here only say what to look at, which objects are of
//! one closure, and whether a spec has changed since it was read.

use super::approved::KindName;
use crate::api::conditions::ANNOUNCED;
use crate::api::{FollowUpPacket, REQUESTED_AT, ReleaseClosure, TRACEPARENT};
use crate::closure::ids::ClosureKey;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::runtime::watcher::Event;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;

/// A kind of which only some fields are kept: everything else in a reply is skipped while it is parsed. What is kept is
/// text, so that a word that this version does not know breaks no list.
macro_rules! slim_kind {
    ($name:ident of $kind:ident, $spec:ident, $status:ty, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug, Deserialize)]
        pub struct $name {
            /// Name, uid, generation and times; the rest is skipped.
            #[serde(deserialize_with = "metadata")]
            pub metadata: ObjectMeta,
            /// What is kept of the spec.
            #[serde(default)]
            pub spec: $spec,
            /// What is kept of the status.
            #[serde(default)]
            pub status: $status,
        }

        impl kube::Resource for $name {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;
            fn kind(_: &()) -> Cow<'_, str> {
                $kind::kind(&())
            }
            fn group(_: &()) -> Cow<'_, str> {
                $kind::group(&())
            }
            fn version(_: &()) -> Cow<'_, str> {
                $kind::version(&())
            }
            fn plural(_: &()) -> Cow<'_, str> {
                $kind::plural(&())
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

slim_kind!(Unfinished of ReleaseClosure, UnfinishedSpec, UnfinishedStatus, "An unfinished closure.");
slim_kind!(Holding of FollowUpPacket, HoldingSpec, HoldingStatus, "A packet that holds its closure: unresolved, or resolved with Abandon.");

/// What is kept of an unfinished closure's spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnfinishedSpec {
    /// Its playbook.
    pub playbook_ref: KindName,
    /// Its release.
    pub release: Id,
    /// Its review.
    pub review: IdVersion,
    /// `Plan` or `Close`.
    pub mode: String,
    /// Whether it is suspended.
    pub suspend: bool,
}

/// What is kept of an unfinished closure's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnfinishedStatus {
    /// The latched halt.
    pub halt: Option<Id>,
    /// When it was finished, as text: what the watch keeps never is.
    pub completion_time: Option<String>,
}

/// What is kept of a packet's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HoldingStatus {
    /// Its conditions, less what nobody here asks for.
    pub conditions: Vec<Told>,
}

/// What is kept of a condition.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is so.
    pub status: String,
}

/// What is kept of a packet's spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HoldingSpec {
    /// Whose closure it holds.
    pub closure_key: String,
    /// The closure that halted.
    pub closure_ref: Name,
    /// The halt that it is of.
    pub halt_id: String,
    /// What caused the halt.
    pub cause: String,
    /// What was decided.
    pub resolution: Option<HoldingResolution>,
}

/// What is kept of a resolution.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HoldingResolution {
    /// The decision.
    pub decision: String,
}

/// A reference by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Name {
    /// The name.
    pub name: String,
}

/// An id.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Id {
    /// The id.
    pub id: String,
}

/// An id and a version.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct IdVersion {
    /// The id.
    pub id: String,
    /// The version.
    pub version: String,
}

/// An object's metadata, less what no pass needs. The largest part, who manages which field, is skipped while it is
/// parsed.
///
/// # Errors
/// What is there is not of its type.
pub fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut metadata = metadata_of_pass(deserializer)?;
    metadata.annotations = metadata.annotations.and_then(|mut annotations| {
        annotations.remove(TRACEPARENT);
        (!annotations.is_empty()).then_some(annotations)
    });
    Ok(metadata)
}

/// The same with what traces of a pass say, and nobody keeps.
///
/// # Errors
/// What is there is not of its type.
pub fn metadata_of_pass<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    struct Annotations {
        #[serde(rename = "releaseclosure.io/requestedAt")]
        requested_at: Option<String>,
        #[serde(rename = "releaseclosure.io/traceparent")]
        traceparent: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        generation: Option<i64>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        #[serde(default)]
        annotations: Annotations,
    }
    let Slim {
        name,
        namespace,
        uid,
        generation,
        resource_version,
        creation_timestamp,
        deletion_timestamp,
        annotations: Annotations { requested_at, traceparent },
    } = Slim::deserialize(deserializer)?;
    let known = [(REQUESTED_AT, requested_at), (TRACEPARENT, traceparent)].into_iter();
    let annotations: BTreeMap<_, _> = known.filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    let annotations = (!annotations.is_empty()).then_some(annotations);
    Ok(ObjectMeta {
        name,
        namespace,
        uid,
        generation,
        resource_version,
        creation_timestamp,
        deletion_timestamp,
        annotations,
        ..ObjectMeta::default()
    })
}

impl Unfinished {
    /// The closure key.
    #[must_use]
    pub fn key(&self) -> ClosureKey {
        ClosureKey::new(&self.spec.release.id, &self.spec.review.id, &self.spec.review.version)
    }
}

/// Names an object: its namespace and the closure key it has in common with others.
type Keyed = (String, String);

/// What an index keeps of an object, and under which key.
pub trait Entry: Sized {
    /// The object it is made from.
    type Object: kube::Resource<DynamicType = ()>;
    /// The closure key and what is kept.
    fn of(object: &Self::Object) -> (String, Self);
}

/// Objects by namespace and closure key, kept in step with a watch.
#[derive(Debug)]
pub struct Index<E> {
    inner: Mutex<Inner<E>>,
}

#[derive(Debug)]
struct Inner<E> {
    by_key: HashMap<Keyed, BTreeMap<String, E>>,
    /// A list under way: what it has given so far. It replaces the rest when it is complete.
    listing: Option<HashMap<Keyed, BTreeMap<String, E>>>,
    /// What this process is about to make, and the watch has told nothing of since.
    making: HashSet<(Keyed, String)>,
}

impl<E> Default for Index<E> {
    fn default() -> Self {
        Index { inner: Mutex::new(Inner { by_key: HashMap::new(), listing: None, making: HashSet::new() }) }
    }
}

impl<E: Entry + Clone + PartialEq> Index<E> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<E>> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes a watch event in. After a list that replaces an earlier one: the namespaces and closure keys of which
    /// something left or changed while nobody watched, for no event will ever tell of that.
    pub fn apply(&self, event: &Event<E::Object>) -> Vec<(String, String)> {
        let mut inner = self.lock();
        let mut unseen = Vec::new();
        if let Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) = event
            && !inner.making.is_empty()
        {
            let (keyed, name, _) = keyed::<E>(object);
            inner.making.remove(&(keyed, name));
        }
        match event {
            Event::Init => inner.listing = Some(HashMap::new()),
            Event::InitApply(object) => {
                if let Some(listing) = &mut inner.listing {
                    insert(listing, object);
                }
            }
            Event::InitDone => {
                if let Some(listing) = inner.listing.take() {
                    let same = |(name, entry): (&String, &E), now: Option<&BTreeMap<String, E>>| {
                        now.and_then(|now| now.get(name)) == Some(entry)
                    };
                    let changed = inner.by_key.iter().filter(|(keyed, entries)| {
                        let now = listing.get(*keyed);
                        !entries.iter().all(|entry| same(entry, now))
                    });
                    unseen.extend(changed.map(|(keyed, _)| keyed.clone()));
                    inner.by_key = listing;
                }
            }
            Event::Apply(object) => insert(&mut inner.by_key, object),
            Event::Delete(object) => {
                let (keyed, name, _) = keyed::<E>(object);
                remove(&mut inner.by_key, &keyed, &name);
            }
        }
        unseen
    }

    /// What is known under a key, by name.
    #[must_use]
    pub fn of_key(&self, namespace: &str, key: &str) -> Vec<(String, E)> {
        let inner = self.lock();
        let found = inner.by_key.get(&(namespace.to_owned(), key.to_owned()));
        found.into_iter().flatten().map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }

    /// This process is about to make an object. What the watch tells of it from now on is newer than the making.
    pub fn making(&self, object: &E::Object) {
        let (keyed, name, _) = keyed::<E>(object);
        self.lock().making.insert((keyed, name));
    }

    /// The object is made, or is not. Where it is, it is put in before the watch tells of it: what this process did itself,
    /// it knows at once. Where the watch was faster, the watch is right: what was made may be gone again.
    pub fn made(&self, object: &E::Object, is_made: bool) {
        let (keyed, name, _) = keyed::<E>(object);
        let mut inner = self.lock();
        if inner.making.remove(&(keyed, name)) && is_made {
            insert(&mut inner.by_key, object);
        }
    }

    /// Takes an object out before the watch tells of it.
    pub fn forget(&self, namespace: &str, key: &str, name: &str) {
        remove(&mut self.lock().by_key, &(namespace.to_owned(), key.to_owned()), name);
    }

    /// The objects for which something holds: namespace and closure key, and name.
    #[must_use]
    pub fn named(&self, so: impl Fn(&str, &E) -> bool) -> Vec<((String, String), String)> {
        let inner = self.lock();
        let of = |(keyed, entries): (&Keyed, &BTreeMap<String, E>)| {
            let named = entries.iter().filter(|(_, entry)| so(&keyed.0, entry));
            named.map(|(name, _)| (keyed.clone(), name.clone())).collect::<Vec<_>>()
        };
        inner.by_key.iter().flat_map(of).collect()
    }

    /// Runs over everything that is kept.
    pub fn fold<T>(&self, start: T, mut step: impl FnMut(T, &str, &E) -> T) -> T {
        let inner = self.lock();
        inner.by_key.iter().fold(start, |all, ((namespace, _), entries)| {
            entries.values().fold(all, |all, entry| step(all, namespace, entry))
        })
    }
}

fn keyed<E: Entry>(object: &E::Object) -> (Keyed, String, E) {
    use kube::ResourceExt as _;
    let (key, entry) = E::of(object);
    ((object.namespace().unwrap_or_default(), key), object.name_any(), entry)
}

fn insert<E: Entry>(map: &mut HashMap<Keyed, BTreeMap<String, E>>, object: &E::Object) {
    let (keyed, name, entry) = keyed(object);
    map.entry(keyed).or_default().insert(name, entry);
}

fn remove<E>(map: &mut HashMap<Keyed, BTreeMap<String, E>>, keyed: &Keyed, name: &str) {
    if let Some(entries) = map.get_mut(keyed) {
        entries.remove(name);
        if entries.is_empty() {
            map.remove(keyed);
        }
    }
}

/// Of two objects of one closure, the older acts: what decides is the creation time, then the uid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seniority {
    /// When it was created.
    pub created: Timestamp,
    /// Its uid.
    pub uid: String,
}

/// An object that may stand before another of the same closure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// How old it is.
    pub seniority: Seniority,
    /// Whether it acts at all: in mode Close and not being deleted. Halted and suspended ones do.
    pub counts: bool,
}

impl Entry for Sibling {
    type Object = Unfinished;
    fn of(object: &Unfinished) -> (String, Sibling) {
        let meta = &object.metadata;
        let seniority = seniority(meta);
        let counts = object.spec.mode != "Plan" && meta.deletion_timestamp.is_none();
        (object.key().as_str().to_owned(), Sibling { seniority, counts })
    }
}

/// How old an object is.
#[must_use]
pub fn seniority(meta: &ObjectMeta) -> Seniority {
    let created = meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Seniority { created, uid: meta.uid.clone().unwrap_or_default() }
}

/// A packet that holds every object of its closure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The halt it is of.
    pub halt_id: String,
    /// Whether the closure was given up; else nothing is decided yet.
    pub abandoned: bool,
    /// What caused the halt.
    pub cause: String,
    /// The closure that halted.
    pub closure: String,
    /// Whether people were told of it.
    pub announced: bool,
}

impl Entry for Hold {
    type Object = Holding;
    fn of(object: &Holding) -> (String, Hold) {
        let HoldingSpec { closure_key, closure_ref, halt_id, cause, resolution } = object.spec.clone();
        let abandoned = resolution.is_some_and(|resolution| resolution.decision == "Abandon");
        let announced = |told: &Told| told.kind == ANNOUNCED && told.status == "True";
        let announced = object.status.conditions.iter().any(announced);
        (closure_key, Hold { halt_id, abandoned, cause, closure: closure_ref.name, announced })
    }
}

#[cfg(test)]
mod tests;
