//! The records of the six systems, and of the channel for follow-ups, each kept as the JSON it was given, so that fields the contract does not know survive
//! every change.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One of the six systems, or the channel for follow-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the accepted decision; read only.
    Governance,
    /// Holds the evidence bundles; read only.
    Archive,
    /// Holds the readiness checklists.
    Checklist,
    /// Holds the release records.
    Tracker,
    /// Holds the review queue's entries.
    Queue,
    /// Takes the handoffs.
    Intake,
    /// Takes what people are told of halts.
    #[serde(rename = "followUp")]
    FollowUp,
}

impl Role {
    /// All of them, in the order in which people read them.
    pub const ALL: [Role; 7] =
        [Role::Governance, Role::Archive, Role::Checklist, Role::Tracker, Role::Queue, Role::Intake, Role::FollowUp];

    /// The role's name in the admin API and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Role::Governance => "governance",
            Role::Archive => "archive",
            Role::Checklist => "checklist",
            Role::Tracker => "tracker",
            Role::Queue => "queue",
            Role::Intake => "intake",
            Role::FollowUp => "followUp",
        }
    }

    /// The role with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The first path segment of the role's records in the contract.
    pub fn collection(self) -> &'static str {
        match self {
            Role::Governance => "reviews",
            Role::Archive => "bundles",
            Role::Checklist => "checklists",
            Role::Tracker => "releases",
            Role::Queue => "queue-entries",
            Role::Intake => "handoffs",
            Role::FollowUp => "follow-ups",
        }
    }

    /// The field by which a record of this role is known.
    pub fn id_field(self) -> &'static str {
        match self {
            Role::Archive => "bundle",
            Role::Intake | Role::FollowUp => "key",
            Role::Governance | Role::Checklist | Role::Tracker | Role::Queue => "id",
        }
    }

    /// Whether records of this role are looked up by release, and carry a marker: the three systems that are written to.
    pub fn is_written(self) -> bool {
        matches!(self, Role::Checklist | Role::Tracker | Role::Queue)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One revision of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The record as JSON; shared, because a reply outlives the lock it was made under.
    #[serde(with = "shared")]
    pub value: Arc<Value>,
    /// Counts the changes of the whole sandbox, so that a record that is removed and put back never shows an ETag again.
    pub revision: u64,
}

impl Version {
    /// The strong ETag of this revision, quotes included.
    pub fn etag(&self) -> String {
        etag(self.revision)
    }
}

/// The strong ETag of a revision, quotes included.
pub(super) fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// A record: what it is now, and what it was one revision before (for the fault that serves stale reads).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// What the record is now.
    pub current: Version,
    /// What it was before its last change.
    pub previous: Option<Version>,
    /// When it last changed.
    pub changed: Timestamp,
}

impl Record {
    /// The revision to show: the current one, or the one before where a stale read is asked for and there is one.
    pub(super) fn version(&self, stale: bool) -> &Version {
        match &self.previous {
            Some(previous) if stale => previous,
            Some(_) | None => &self.current,
        }
    }
}

/// The records of one role, and for the roles that are looked up an index by release id.
#[derive(Clone, Debug, Default)]
struct Table {
    records: HashMap<Arc<str>, Record>,
    by_release: HashMap<String, BTreeSet<Arc<str>>>,
}

/// All records.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    tables: [Table; 7],
    revision: u64,
}

impl Store {
    /// The revision that the next change will have.
    pub(super) fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    /// Uses up the next revision without a change, for a reply that claims one.
    pub(super) fn burn_revision(&mut self) {
        self.revision += 1;
    }

    pub(super) fn get(&self, role: Role, id: &str) -> Option<&Record> {
        self.table(role).records.get(id)
    }

    pub(super) fn len(&self, role: Role) -> usize {
        self.table(role).records.len()
    }

    /// The records of a role with their ids, in no order.
    pub(super) fn iter(&self, role: Role) -> impl Iterator<Item = (&Arc<str>, &Record)> {
        self.table(role).records.iter()
    }

    /// The records of a role that belong to a release, in the order of their ids. Costs the records of that release only.
    pub(super) fn of_release<'a>(&'a self, role: Role, release: &str) -> impl Iterator<Item = &'a Record> {
        let table = self.table(role);
        let ids = table.by_release.get(release).into_iter().flatten();
        ids.filter_map(|id| table.records.get(id))
    }

    /// Stores a record under this id, as a new revision of it if it is there already.
    pub(super) fn put(&mut self, role: Role, id: &str, value: Value, now: Timestamp) {
        self.revision += 1;
        let version = Version { value: Arc::new(with_marker_field(role, value)), revision: self.revision };
        let before = self.take(role, id);
        let (key, previous) = match before {
            Some((key, record)) => (key, Some(record.current)),
            None => (Arc::from(id), None),
        };
        self.insert(role, key, Record { current: version, previous, changed: now });
    }

    /// Forgets a record; false if there is none with this id.
    pub(super) fn remove(&mut self, role: Role, id: &str) -> bool {
        self.take(role, id).is_some()
    }

    /// Forgets all records. Revisions go on counting.
    pub(super) fn clear(&mut self) {
        self.tables = Default::default();
    }

    /// How many revisions there have been.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes a record over as it was kept, revisions included.
    pub(super) fn restore(&mut self, role: Role, id: &str, record: Record) {
        self.take(role, id);
        self.restore_revision(record.current.revision);
        self.insert(role, Arc::from(id), record);
    }

    /// Goes on counting from here, if this is further.
    pub(super) fn restore_revision(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    fn table(&self, role: Role) -> &Table {
        &self.tables[role as usize]
    }

    fn insert(&mut self, role: Role, id: Arc<str>, record: Record) {
        let table = &mut self.tables[role as usize];
        if let Some(release) = indexed_release(role, &record.current.value) {
            table.by_release.entry(release.to_owned()).or_default().insert(id.clone());
        }
        table.records.insert(id, record);
    }

    fn take(&mut self, role: Role, id: &str) -> Option<(Arc<str>, Record)> {
        let table = &mut self.tables[role as usize];
        let (id, record) = table.records.remove_entry(id)?;
        if let Some(release) = indexed_release(role, &record.current.value)
            && let Some(ids) = table.by_release.get_mut(release)
        {
            ids.remove(&id);
            if ids.is_empty() {
                table.by_release.remove(release);
            }
        }
        Some((id, record))
    }
}

/// A copy of the pointers to a `Value`, read and written as the value itself (serde's own support for `Arc` is a feature that
/// the rest of the project has no use for).
mod shared {
    use super::{Arc, Deserialize, Serialize, Value};

    pub(super) fn serialize<S: serde::Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Arc<Value>, D::Error> {
        Value::deserialize(deserializer).map(Arc::new)
    }
}

/// The text at a dotted path of a record.
pub(super) fn text_at<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    path.split('.').try_fold(value, |value, name| value.get(name))?.as_str()
}

fn indexed_release(role: Role, value: &Value) -> Option<&str> {
    if role.is_written() { text_at(value, "release.id") } else { None }
}

/// The contract's `closure` is a marker **or null**, so a record that was given none, or whose marker a merge patch removed,
/// says so.
fn with_marker_field(role: Role, mut value: Value) -> Value {
    if role.is_written()
        && let Some(record) = value.as_object_mut()
    {
        record.entry("closure").or_insert(Value::Null);
    }
    value
}

/// The record as a system without markers shows it: no `closure`, neither on the record nor on its evidence links.
pub(super) fn without_markers(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(record) = value.as_object_mut() {
        record.remove("closure");
        let links = record.get_mut("evidence").and_then(Value::as_array_mut).into_iter().flatten();
        for link in links.filter_map(Value::as_object_mut) {
            link.remove("closure");
        }
    }
    value
}

/// Applies a JSON merge patch (RFC 7396).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in patch {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_follows_the_examples_of_rfc_7396() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, expected, "{target} merged with {patch}");
        }
    }

    #[test]
    fn a_record_moves_in_the_index_with_its_release() {
        let mut store = Store::default();
        let now = Timestamp::UNIX_EPOCH;
        store.put(Role::Queue, "Q-1", json!({"id": "Q-1", "release": {"id": "a"}}), now);
        store.put(Role::Queue, "Q-1", json!({"id": "Q-1", "release": {"id": "b"}}), now);
        assert_eq!(store.of_release(Role::Queue, "a").count(), 0);
        assert_eq!(store.of_release(Role::Queue, "b").count(), 1);
        let record = store.get(Role::Queue, "Q-1").expect("put above");
        assert_eq!((record.current.revision, record.version(true).revision), (2, 1));
        assert!(store.remove(Role::Queue, "Q-1"));
        assert_eq!(store.of_release(Role::Queue, "b").count(), 0);
    }

    #[test]
    fn a_record_that_is_put_back_has_an_etag_of_its_own() {
        let mut store = Store::default();
        store.put(Role::Archive, "b", json!({}), Timestamp::UNIX_EPOCH);
        store.remove(Role::Archive, "b");
        store.put(Role::Archive, "b", json!({}), Timestamp::UNIX_EPOCH);
        assert_eq!(store.get(Role::Archive, "b").map(|record| record.current.etag()), Some("\"2\"".to_owned()));
    }
}
