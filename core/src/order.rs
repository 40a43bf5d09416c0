//! The permission for one write, and the change it permits.

use super::accepted::Accepted;
use super::checks::{self, Facts};
use super::ids::{ClosureKey, Step, System};
use super::ledger::Link;
use super::snapshot::{EvidenceLink, Look, Marker, Revision};
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
///
/// It cannot be cloned, built or changed outside of this file.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Verified {
    step: Step,
    key: ClosureKey,
    uid: String,
    record: String,
    revision: Option<Revision>,
    change: Change,
}

/// Why a write may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// The systems disagree.
    Disagreement,
    /// Something was not seen, or a look is stale.
    Unseen,
}

/// Verifies everything and gives the permission for one write: the only way to come by one.
///
/// # Guarantees
/// All five authorities were seen, all checks hold, and every step before this one is settled. The permission names the
/// very record and revision that were verified.
///
/// # Assumptions
/// The looks are as fresh as the write needs; [`super::decide`] sees to that.
///
/// # Errors
/// Where that is not so.
pub fn verify(facts: Facts<'_>, uid: &str, step: Step) -> Result<Verified, Unverified> {
    let seen = System::AUTHORITIES.iter().all(|system| facts.snapshot.look(*system) == Look::Found);
    let report = checks::run(facts);
    if !report.findings.is_empty() {
        return Err(Unverified::Disagreement);
    }
    let in_order = facts.ledger.steps[..step.index()].iter().all(|earlier| earlier.outcome.is_settled());
    if !seen || !report.stale.is_empty() || !in_order {
        return Err(Unverified::Unseen);
    }
    let (accepted, system) = (facts.accepted, step.system());
    let record = match system {
        System::Intake => accepted.key().as_str(),
        System::Governance | System::Archive | System::Checklist | System::Tracker | System::Queue => {
            facts.snapshot.record_id(system).ok_or(Unverified::Unseen)?
        }
    };
    let change = match step {
        Step::CloseChecklist => Change::Close,
        Step::ApproveTracker => Change::Approve { state: facts.rules.approved_state.clone() },
        Step::AttachEvidence => {
            let (tracker, bundle) = (facts.snapshot.tracker(), facts.snapshot.archive());
            let (tracker, bundle) = tracker.zip(bundle).ok_or(Unverified::Unseen)?;
            let evidence = accepted.evidence();
            Change::Attach {
                others: tracker.evidence.clone(),
                bundle: evidence.bundle.clone(),
                digest: evidence.digest.clone(),
                url: bundle.url.clone(),
            }
        }
        Step::ClearQueueEntry => Change::Clear,
        Step::NotifyCoordinator => Change::Announce(handoff(accepted, &facts.ledger.step(step).links)),
    };
    Ok(Verified {
        step,
        key: accepted.key().clone(),
        uid: uid.to_owned(),
        record: record.to_owned(),
        revision: facts.snapshot.revision(system).cloned(),
        change,
    })
}

/// The handoff with the links that the intent fixed.
fn handoff(accepted: &Accepted, links: &[Link]) -> HandoffBody {
    HandoffBody {
        release_id: accepted.release().id.clone(),
        review_version: accepted.review().version.clone(),
        service: accepted.release().service.clone(),
        closure_key: accepted.key().as_str().to_owned(),
        coordinator: accepted.coordinator().map(str::to_owned),
        links: links.to_vec(),
    }
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
