//! Every request to the contract, in the order in which it took effect, and their counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::call::{self, Call, IDEMPOTENCY_KEY};
use super::contract::is_write;
use super::records::Role;

/// How many requests are remembered; the oldest go first. The counts go on.
const CAPACITY: usize = 200_000;

/// One request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Counts from 1 in the order in which requests took effect, and is never used twice, not even after the log was cleared.
    pub sequence: u64,
    /// When it took effect.
    pub time: Timestamp,
    /// The method.
    pub method: String,
    /// The path with its escapes decoded, for people; `rawPath` is what was sent.
    pub path: String,
    /// The path as it was sent.
    pub raw_path: String,
    /// The query as it was sent.
    pub query: Option<String>,
    /// The system that was asked, where the path names one.
    pub role: Option<Role>,
    /// The record that was asked for: the id in the path, or the key of a handoff. None for a look-up.
    pub record: Option<String>,
    /// The status that was replied; none where the connection was closed instead.
    pub status: Option<u16>,
    /// Whether a record or the list of handoffs changed.
    pub applied: bool,
    /// The body: as JSON where it is JSON, else as text.
    #[serde(serialize_with = "as_json")]
    pub body: Bytes,
    /// The headers that matter here.
    pub headers: Headers,
    /// The fault rule that acted on it.
    pub fault: Option<String>,
}

/// The headers that matter here. A token is never kept, only that there was one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Headers {
    /// `If-Match`
    pub if_match: Option<String>,
    /// `Idempotency-Key`
    pub idempotency_key: Option<String>,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// Whether there was an `Authorization`.
    #[serde(serialize_with = "as_presence")]
    pub authorization: bool,
}

fn as_json<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    if body.is_empty() {
        return serializer.serialize_none();
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => value.serialize(serializer),
        Err(_) => serializer.serialize_str(&String::from_utf8_lossy(body)),
    }
}

fn as_presence<S: Serializer>(present: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *present { "present" } else { "absent" })
}

/// How often a system was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleCounts {
    /// `GET`s, look-ups included.
    pub reads: u64,
    /// The `GET`s among them that name no record.
    pub look_ups: u64,
    /// Requests for a change, whatever came of them.
    pub writes: u64,
    /// The changes that were made.
    pub applied: u64,
    /// All requests by method.
    pub methods: BTreeMap<String, u64>,
}

/// The log and its counts.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Arc<Entry>>,
    sequence: u64,
    counts: BTreeMap<&'static str, RoleCounts>,
}

/// What became of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    pub(super) status: Option<u16>,
    pub(super) applied: bool,
    pub(super) fault: Option<Arc<str>>,
}

impl Log {
    /// Whether the newest request changed something.
    pub(super) fn has_applied_last(&self) -> bool {
        self.entries.back().is_some_and(|entry| entry.applied)
    }

    pub(super) fn append(&mut self, call: &Call, time: Timestamp, fate: Fate) {
        self.sequence += 1;
        let Fate { status, applied, fault } = fate;
        self.count(call, applied);
        let header = |name| call.header(name).map(str::to_owned);
        let entry = Entry {
            sequence: self.sequence,
            time,
            method: call.method.to_string(),
            path: call::decode(&call.path).unwrap_or_else(|_| call.path.clone()),
            raw_path: call.path.clone(),
            query: call.query.clone(),
            role: call.role(),
            record: call.record().map(str::to_owned),
            status,
            applied,
            body: call.body.clone(),
            headers: Headers {
                if_match: header(&header::IF_MATCH),
                idempotency_key: header(&IDEMPOTENCY_KEY),
                content_type: header(&header::CONTENT_TYPE),
                authorization: call.headers.contains_key(header::AUTHORIZATION),
            },
            fault: fault.map(|id| id.to_string()),
        };
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(Arc::new(entry));
    }

    /// The entries after this sequence number, the oldest first, and at most `limit` of them.
    pub(super) fn since(&self, sequence: u64, limit: usize) -> Vec<Arc<Entry>> {
        let first = self.entries.partition_point(|entry| entry.sequence <= sequence);
        self.entries.range(first..).take(limit).cloned().collect()
    }

    /// The last entries, the newest first.
    pub(super) fn last(&self, limit: usize) -> Vec<Arc<Entry>> {
        self.entries.iter().rev().take(limit).cloned().collect()
    }

    /// The sequence number of the newest request ever.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn counts(&self) -> &BTreeMap<&'static str, RoleCounts> {
        &self.counts
    }

    /// Forgets all entries and counts.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.counts.clear();
    }

    fn count(&mut self, call: &Call, applied: bool) {
        let counts = self.counts.entry(call.role().map_or("unknown", Role::name)).or_default();
        if is_write(&call.method) {
            counts.writes += 1;
        } else {
            counts.reads += 1;
            counts.look_ups += u64::from(call.record().is_none());
        }
        counts.applied += u64::from(applied);
        match counts.methods.get_mut(call.method.as_str()) {
            Some(count) => *count += 1,
            None => drop(counts.methods.insert(call.method.to_string(), 1)),
        }
    }
}
