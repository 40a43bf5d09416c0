//! Who holds a lease together: each member signs the record when it renews it.
//!
//! **Guarantee:** whoever may still write by virtue of the lease is on the record. A member signs with each renewal; it is taken off by
//! itself, when its term is over, or by another that has seen its signature unchanged for [`FORGOTTEN`], which is longer than
//! any term.

use k8s_openapi::api::coordination::v1::Lease as Record;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The annotation that the signatures are in, as JSON.
pub(super) const ANNOTATION: &str = "releaseclosure.io/members";
/// A member whose signature is older is not counted on: two renewals, and a failed one.
const COUNTED_ON: Duration = Duration::from_secs(25);
/// A member whose signature is older is taken off the record.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Most members that are read from a record.
const MEMBERS_MAX: usize = 256;

/// One signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    /// Goes up with each renewal.
    count: u64,
    /// Whether the member is about to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leaving: bool,
}

#[derive(Debug)]
struct Other {
    signature: Signature,
    /// Since when this process has seen it so.
    since: Duration,
    /// A lease of its own has lapsed.
    dead: bool,
}

/// The members of a lease, as one of them knows them.
#[derive(Debug)]
pub struct Members {
    me: String,
    state: Mutex<State>,
    seen: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    own: Signature,
    others: BTreeMap<String, Other>,
}

impl Members {
    /// This process, and nobody else that it knows of. `me` must be a name that no other process has.
    #[must_use]
    pub fn new(me: &str) -> Members {
        Members { me: me.to_owned(), state: Mutex::default(), seen: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this member says that it leaves: the others count on it no more.
    pub fn leave(&self) {
        self.state().own.leaving = true;
    }

    /// Another member's own lease has lapsed: it is not counted on until it signs again.
    pub(super) fn is_dead(&self, name: &str) {
        if let Some(other) = self.state().others.get_mut(name) {
            other.dead = true;
        }
    }

    /// Tells of each look at the record.
    #[must_use]
    pub fn looks(&self) -> watch::Receiver<u64> {
        self.seen.subscribe()
    }

    /// Who is counted on, by name, in order.
    pub(super) fn counted_on(&self, now: Duration) -> Vec<String> {
        let state = self.state();
        let counts =
            |other: &Other| !other.dead && !other.signature.leaving && now.saturating_sub(other.since) < COUNTED_ON;
        let others = state.others.iter().filter(|(_, other)| counts(other)).map(|(name, _)| name.clone());
        let own = Some(self.me.clone()).filter(|_| !state.own.leaving);
        let mut all: Vec<String> = others.chain(own).collect();
        all.sort();
        all
    }

    /// The name of this process.
    pub(super) fn me(&self) -> &str {
        &self.me
    }

    fn read(&self, record: &Record, now: Duration) {
        let text = record.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION));
        let signed = text.and_then(|text| serde_json::from_str::<BTreeMap<String, Signature>>(text).ok());
        let mut state = self.state();
        let mut known = std::mem::take(&mut state.others);
        for (name, signature) in signed.unwrap_or_default().into_iter().take(MEMBERS_MAX) {
            if name == self.me {
                continue;
            }
            let same = known.remove(&name).filter(|known| known.signature == signature);
            state.others.insert(name, same.unwrap_or(Other { signature, since: now, dead: false }));
        }
    }

    /// Reads a record that is about to be written, and signs it. `of_us`: it names our common identity; else nobody who signed it
    /// is a member any more.
    pub(super) fn sign(&self, record: &mut Record, of_us: bool, now: Duration) {
        if of_us {
            self.read(record, now);
        }
        {
            let mut state = self.state();
            if !of_us {
                state.others.clear();
            }
            state.own.count += 1;
            state.others.retain(|_, other| now.saturating_sub(other.since) < FORGOTTEN);
            let mut all: BTreeMap<&str, &Signature> =
                state.others.iter().map(|(name, other)| (name.as_str(), &other.signature)).collect();
            all.insert(&self.me, &state.own);
            put(record, &all);
        }
        self.seen.send_modify(|looks| *looks += 1);
    }

    /// Takes this process off a record. Whether nobody else is left on it.
    pub(super) fn strike_out(&self, record: &mut Record, now: Duration) -> bool {
        self.read(record, now);
        let state = self.state();
        put(record, &state.others.iter().map(|(name, other)| (name.as_str(), &other.signature)).collect());
        state.others.is_empty()
    }
}

fn put(record: &mut Record, signatures: &BTreeMap<&str, &Signature>) {
    let annotations = record.metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(ANNOTATION.to_owned(), serde_json::to_string(signatures).unwrap_or_default());
}
