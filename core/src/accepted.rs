//! What a closure asks for, once it has been checked, and the rules it is closed under.

use super::ids::{self, ClosureKey, System};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The release whose review was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// Identifier of the release in all systems.
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub id: String,
    /// The service that is released.
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub service: String,
    /// The version of the service.
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub version: String,
}

/// The accepted-state event that this closure answers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedEvent {
    /// Identifier of the event; compared with the governance record's, where that names one.
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub id: String,
    /// Where the event came from, as CloudEvents means it. Recorded, never fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[!-~]+$"))]
    pub source: Option<String>,
    /// When the review was accepted, by the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// The accepted review.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Identifier of the review in the governance system.
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub id: String,
    /// The version of the review that was accepted.
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub version: String,
    /// The event that said so.
    pub accepted_event: AcceptedEvent,
}

/// The milestone the release is mapped to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Milestone {
    /// Identifier of the milestone in the tracker.
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub id: String,
    /// Its title at the time of acceptance.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub title: String,
}

/// The archived evidence bundle.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Name of the bundle in the archive.
    #[schemars(length(min = 1, max = 512), regex(pattern = ids::BUNDLE_PATTERN))]
    pub bundle: String,
    /// Digest of the bundle.
    #[schemars(length(min = 71, max = 71), regex(pattern = ids::DIGEST_PATTERN))]
    pub digest: String,
}

/// Which records to close; what is left out is looked up by release and review version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// The tracker record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub tracker: Option<String>,
    /// The checklist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub checklist: Option<String>,
    /// The review-queue entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN))]
    pub queue_entry: Option<String>,
}

/// An accepted review, checked: every identifier in it may go into a path, a key or a marker.
///
/// There is one way to make one, [`Accepted::new`]; the rest of the core takes it as given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accepted {
    key: ClosureKey,
    release: Release,
    review: Review,
    milestone: Milestone,
    evidence: Evidence,
    records: Records,
    coordinator: Option<String>,
}

/// A field that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct Invalid {
    /// Dotted path below `spec`.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

const ID_RULE: &str = "must be 1 to 128 printable ASCII characters without space, '@' and '/', and not '.' or '..'";

impl Accepted {
    /// Checks every identifier.
    ///
    /// # Errors
    /// The first field that breaks its rule. An API server with the shipped schema has refused such an object already;
    /// this is for the one that has not.
    pub fn new(
        release: Release,
        review: Review,
        milestone: Milestone,
        evidence: Evidence,
        records: Records,
        coordinator: Option<String>,
    ) -> Result<Accepted, Invalid> {
        let ids = [
            ("release.id", Some(&release.id)),
            ("release.service", Some(&release.service)),
            ("release.version", Some(&release.version)),
            ("review.id", Some(&review.id)),
            ("review.version", Some(&review.version)),
            ("review.acceptedEvent.id", Some(&review.accepted_event.id)),
            ("milestone.id", Some(&milestone.id)),
            ("records.tracker", records.tracker.as_ref()),
            ("records.checklist", records.checklist.as_ref()),
            ("records.queueEntry", records.queue_entry.as_ref()),
        ];
        if let Some((field, _)) = ids.iter().find(|(_, id)| id.is_some_and(|id| !ids::is_id(id))) {
            return Err(Invalid { field, rule: ID_RULE });
        }
        let rules = [
            (
                ids::is_title(&milestone.title),
                "milestone.title",
                "must be 1 to 256 characters, none a control character",
            ),
            (
                ids::is_bundle(&evidence.bundle),
                "evidence.bundle",
                "must be identifiers joined by '/', at most 512 characters",
            ),
            (ids::is_digest(&evidence.digest), "evidence.digest", "must be 'sha256:' and 64 small hexadecimal digits"),
            (
                coordinator.as_deref().is_none_or(ids::is_address),
                "coordinator",
                "must be an address known to the intake: at most 128 printable ASCII characters, not a URL",
            ),
        ];
        if let Some((_, field, rule)) = rules.iter().find(|(holds, ..)| !holds) {
            return Err(Invalid { field, rule });
        }
        let key = ClosureKey::new(&release.id, &review.id, &review.version);
        Ok(Accepted { key, release, review, milestone, evidence, records, coordinator })
    }

    /// The idempotency key towards every system.
    #[must_use]
    pub fn key(&self) -> &ClosureKey {
        &self.key
    }
    /// The release.
    #[must_use]
    pub fn release(&self) -> &Release {
        &self.release
    }
    /// The review.
    #[must_use]
    pub fn review(&self) -> &Review {
        &self.review
    }
    /// The milestone.
    #[must_use]
    pub fn milestone(&self) -> &Milestone {
        &self.milestone
    }
    /// The evidence.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
    /// Whom the intake shall tell, where the spec names somebody.
    #[must_use]
    pub fn coordinator(&self) -> Option<&str> {
        self.coordinator.as_deref()
    }

    /// The record that the spec names in this system. Governance and archive always have one.
    #[must_use]
    pub fn record(&self, system: System) -> Option<&str> {
        match system {
            System::Governance => Some(&self.review.id),
            System::Archive => Some(&self.evidence.bundle),
            System::Checklist => self.records.checklist.as_deref(),
            System::Tracker => self.records.tracker.as_deref(),
            System::Queue => self.records.queue_entry.as_deref(),
            System::Intake => Some(self.key.as_str()),
        }
    }
}

/// How often the source is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Recheck {
    /// The governance record is read again right before each write.
    #[default]
    EveryWrite,
    /// It is read again only before the checklist is closed, the queue entry cleared and the coordinator told.
    CloseAndClear,
}

/// What to do with checklist items that are not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum OpenItems {
    /// Open items are a finding.
    #[default]
    Halt,
    /// The checklist is closed whatever its items say.
    Allow,
}

/// The rules of a playbook, as far as the core needs them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Governance states that mean "accepted". Not empty.
    pub accepted_states: Vec<String>,
    /// Kinds of artifact that the bundle must hold. Not empty.
    pub required_artifacts: Vec<String>,
    /// What open checklist items mean.
    pub open_items: OpenItems,
    /// The tracker state that this closure sets.
    pub approved_state: String,
    /// Tracker states from which it may be set. Not empty.
    pub approvable_states: Vec<String>,
    /// How often the source is read again.
    pub recheck: Recheck,
    /// How long a record that was never found may stay missing before that is a finding.
    pub missing_grace: Duration,
}
