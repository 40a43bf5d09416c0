//! placeholder
use super::ids::{ClosureKey, Step};
use super::ledger::Link;
use super::snapshot::{EvidenceLink, Marker, Revision};
use serde::Serialize;

/// What an intake does with the same announcement sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[schemars(inline)]
pub enum Delivery {
    /// It tells repeated announcements by their key, and keeps keys as its window says.
    IdempotencyKey,
    /// It can be asked whether it has an announcement.
    Lookup,
    /// Neither.
    None,
}

/// The handoff as it leaves the cluster: identifiers and links, no free text. Its keys are frozen in version 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandoffBody {
    /// Identifier of the release.
    pub release_id: String,
    /// The accepted review version.
    pub review_version: String,
    /// The service.
    pub service: String,
    /// The closure key, which is the idempotency key too.
    pub closure_key: String,
    /// Whom to tell, where the spec names somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
    /// At most four links.
    pub links: Vec<Link>,
}

/// The one change that a [`Verified`] stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Close the checklist.
    Close,
    /// Set the tracker record to this state.
    Approve {
        /// The playbook's approved state.
        state: String,
    },
    /// Add one evidence link behind the others.
    Attach {
        /// The links as they were read, in order.
        others: Vec<EvidenceLink>,
        /// Name of the bundle.
        bundle: String,
        /// Its digest.
        digest: String,
        /// Where it is.
        url: String,
    },
    /// Clear the queue entry.
    Clear,
    /// Announce the handoff.
    Announce(HandoffBody),
}

/// Permission for one write, made by [`verify`] alone and used up by the write.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Verified {
    step: Step,
    key: ClosureKey,
    uid: String,
    record: String,
    revision: Option<Revision>,
    change: Change,
}

impl Verified {
    /// The step it is for.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }
    /// The closure key.
    #[must_use]
    pub fn key(&self) -> &ClosureKey {
        &self.key
    }
    /// What to leave on the record: whose change it is.
    #[must_use]
    pub fn marker(&self) -> Marker {
        Marker { key: self.key.as_str().to_owned(), uid: self.uid.clone() }
    }
    /// The record to change; for an announcement the closure key.
    #[must_use]
    pub fn record(&self) -> &str {
        &self.record
    }
    /// The revision that was verified; the write must fail where the record has another. None for an announcement.
    #[must_use]
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }
    /// The change.
    #[must_use]
    pub fn change(&self) -> &Change {
        &self.change
    }
}

#[cfg(test)]
impl Verified {
    /// A permission without a verification, for the unit tests of this crate's adapters alone.
    pub(crate) fn for_tests(
        step: Step,
        key: ClosureKey,
        uid: &str,
        record: &str,
        revision: Option<&str>,
        change: Change,
    ) -> Verified {
        let revision = revision.map(|revision| Revision(revision.to_owned()));
        Verified { step, key, uid: uid.to_owned(), record: record.to_owned(), revision, change }
    }
}
