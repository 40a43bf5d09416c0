//! What happened in a world, in order: requests with what they changed, status writes, what people did. The checker and the
//! story are made of this and of nothing else.

use super::plan::Deed;
use http::HeaderMap;
use releaseclosure::api::ReleaseClosureStatus;
use releaseclosure::sandbox::{Answer, Effect, Role};
use serde_json::Value;
use std::sync::Arc;

/// A record at a revision.
pub type At = (Arc<Value>, u64);

#[derive(Default)]
pub struct Log {
    tick: u64,
    pub asked: Vec<Asked>,
    pub passes: Vec<PassEntry>,
    pub stored: Vec<Stored>,
    pub deeds: Vec<Done>,
    /// Which halts were handed to people, and by which pass.
    pub handed: Vec<(Moment, String, usize)>,
    /// When a host was told to look at the objects of a closure again.
    pub woken: Vec<(Moment, usize, usize)>,
    pub fired: Vec<&'static str>,
}

/// A moment: its place in the order of everything, and the time in milliseconds.
pub type Moment = (u64, u64);

/// One request.
pub struct Asked {
    pub host: usize,
    pub life: u32,
    pub pass: usize,
    pub method: &'static str,
    /// Path and query below the endpoint.
    pub target: String,
    pub role: Role,
    /// The id in the path, or the key; none for a look-up.
    pub record: Option<String>,
    /// Which step it takes.
    pub step: Option<usize>,
    pub if_match: Option<String>,
    pub key: Option<String>,
    pub body: Vec<u8>,
    pub sent: Moment,
    /// Whether the process could know by then that its object is gone, or another than its pass began with.
    pub overtaken: bool,
    pub served: Option<Moment>,
    pub applied: bool,
    pub effect: Effect,
    pub stale: bool,
    pub before: Option<At>,
    pub after: Option<At>,
    /// What the system showed, whether or not it was heard.
    pub shown: Option<At>,
    /// How many records a look-up found.
    pub listed: Option<usize>,
    /// When the sender heard of it, with which status, and whether the body was whole.
    pub heard: Option<(Moment, Option<u16>, bool)>,
    /// For how many seconds the reply asked to be left alone.
    pub hold: Option<u64>,
}

pub struct PassEntry {
    pub host: usize,
    pub life: u32,
    pub object: usize,
    pub slot: usize,
    /// The object's when it was read.
    pub generation: i64,
    pub started: Moment,
    pub ended: Option<(Moment, &'static str)>,
}

pub struct Stored {
    pub at: Moment,
    pub host: usize,
    pub pass: usize,
    pub object: usize,
    pub status: Arc<ReleaseClosureStatus>,
}

pub struct Done {
    pub at: Moment,
    pub truth: usize,
    pub what: Doing,
}

pub enum Doing {
    Deed(Deed),
    Resolve { packet: String, decision: String },
    Recreate,
}

impl Log {
    pub fn now(&mut self, now: u64) -> Moment {
        self.tick += 1;
        (self.tick, now)
    }

    pub fn done(&mut self, now: u64, truth: usize, what: Doing) {
        let at = self.now(now);
        self.deeds.push(Done { at, truth, what });
    }

    #[allow(clippy::too_many_arguments, reason = "a request is all of that")]
    pub fn sent(
        &mut self,
        now: u64,
        (host, life, pass): (usize, u32, usize),
        method: &'static str,
        target: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> usize {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let path = target.split('?').next().unwrap_or_default();
        let mut segments = path.trim_start_matches('/').split('/');
        let collection = segments.next().unwrap_or_default();
        let role = Role::ALL.into_iter().find(|role| role.collection() == collection).expect("a path of the contract");
        let key = text("idempotency-key");
        let record = segments.next().map(decoded).or_else(|| key.clone());
        let step = match (method, role) {
            ("PATCH", Role::Checklist) => Some(0),
            ("PATCH", Role::Tracker) if body.starts_with(b"{\"evidence\"") => Some(2),
            ("PATCH", Role::Tracker) => Some(1),
            ("PATCH", Role::Queue) => Some(3),
            ("POST", Role::Intake) => Some(4),
            _ => None,
        };
        let sent = self.now(now);
        self.asked.push(Asked {
            host,
            life,
            pass,
            method,
            target: target.to_owned(),
            role,
            record,
            step,
            if_match: text("if-match"),
            key,
            body: body.to_vec(),
            sent,
            overtaken: false,
            served: None,
            applied: false,
            effect: Effect::Apply,
            stale: false,
            before: None,
            after: None,
            shown: None,
            listed: None,
            heard: None,
            hold: None,
        });
        self.asked.len() - 1
    }

    pub fn served(
        &mut self,
        index: usize,
        now: u64,
        (before, after): (Option<At>, Option<At>),
        answer: &Answer,
        (effect, stale, marks): (Effect, bool, bool),
    ) {
        let at = self.now(now);
        let asked = &mut self.asked[index];
        asked.served = Some(at);
        asked.applied = answer.applied;
        (asked.effect, asked.stale) = (effect, stale && asked.method == "GET");
        let success = (200..300).contains(&answer.status) && asked.role != Role::Intake;
        if success && asked.record.is_none() {
            let listing: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            asked.listed = listing["items"].as_array().map(Vec::len);
        } else if success {
            // As it is on the wire: without markers where the system keeps none.
            let revision =
                answer.headers.get("etag").and_then(|tag| tag.to_str().ok()).map(|tag| tag.trim_matches('"'));
            let revision = revision.and_then(|revision| revision.parse().ok()).unwrap_or_default();
            let same = |at: &&At| effect == Effect::Apply && marks && at.1 == revision;
            let known = after.as_ref().filter(same).or(before.as_ref().filter(same)).cloned();
            asked.shown = known.or_else(|| Some((Arc::new(serde_json::from_slice(&answer.body).ok()?), revision)));
        }
        (asked.before, asked.after) = (before, after);
    }

    pub fn heard(&mut self, index: usize, now: u64, (status, whole): (Option<u16>, bool), hold: Option<u64>) {
        let at = self.now(now);
        self.asked[index].heard = Some((at, status, whole));
        self.asked[index].hold = hold;
    }
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let hex: Option<u8> = (byte == b'%').then(|| {
            let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
            u8::from_str_radix(std::str::from_utf8(&digits).unwrap_or_default(), 16).unwrap_or_default()
        });
        bytes.push(hex.unwrap_or(byte));
    }
    String::from_utf8(bytes).unwrap_or_default()
}

impl Asked {
    /// The reply that its sender understood: heard, whole, with this status and not made up on the way.
    pub fn status(&self) -> Option<u16> {
        self.heard.and_then(|(_, status, whole)| status.filter(|_| whole))
    }

    /// The record that its sender saw.
    pub fn seen(&self) -> Option<&At> {
        self.shown.as_ref().filter(|_| self.status().is_some_and(|status| (200..300).contains(&status)))
    }
}
