//! What was reached, so that a model in which nothing happens does not pass for one in which nothing goes wrong.

use super::engine::Standing;
use releaseclosure_core::decide::Decision;
use releaseclosure_core::ids::Step;
use releaseclosure_core::ledger::Ledger;
use releaseclosure_core::reason::Reason;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The names of what was reached.
#[derive(Default)]
pub struct Coverage(Mutex<BTreeSet<String>>);

impl Coverage {
    fn reach(&self, name: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// Everything that was reached, in order.
    pub fn reached(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The core decided; called once for each different pass.
    pub fn decided(&self, decision: &Decision, ledger: &Ledger) {
        self.reach(match decision {
            Decision::Ask => "Ask".to_owned(),
            Decision::Probe => "Probe".to_owned(),
            Decision::Observe(systems, before) => match before {
                None if systems.len() == 5 => "Observe all five".to_owned(),
                None => "Observe again".to_owned(),
                Some(step) => format!("Observe before {step}"),
            },
            Decision::Persist => "Persist".to_owned(),
            Decision::Write(order) => format!("Write {}", order.step()),
            Decision::Wait(wait) => format!("Wait {}", wait.reason),
            Decision::Halt(findings) => format!("Halt {}", halted(findings.iter().map(|finding| finding.reason))),
            Decision::Planned(_) => "Planned".to_owned(),
            Decision::Done => "Done".to_owned(),
        });
        for step in Step::ALL {
            self.reach(format!("{step} {}", ledger.step(step).outcome.as_str()));
        }
    }

    /// A status was stored.
    pub fn stored(&self, standing: Standing) {
        self.reach(match standing {
            Standing::New => "stored New".to_owned(),
            Standing::Working => "stored Working".to_owned(),
            Standing::Waiting(_) => "stored Waiting".to_owned(),
            Standing::Halted => "stored Halted".to_owned(),
            Standing::Closed => "stored Closed".to_owned(),
            Standing::Abandoned => "stored Abandoned".to_owned(),
        });
    }

    /// Something else happened that is to be possible.
    pub fn happened(&self, what: &'static str) {
        self.reach(what.to_owned());
    }
}

fn halted(reasons: impl Iterator<Item = Reason>) -> Reason {
    reasons.into_iter().next().unwrap_or(Reason::Progressing)
}

/// What all configurations together must reach: every decision there is, every reason for which this world can make the
/// core wait or halt, every outcome of every step, every end.
pub const MUST: &[&str] = &[
    "Ask",
    "Probe",
    "Observe all five",
    "Observe again",
    "Observe before CloseChecklist",
    "Observe before ApproveTracker",
    "Observe before AttachEvidence",
    "Observe before ClearQueueEntry",
    "Observe before NotifyCoordinator",
    "Persist",
    "Write CloseChecklist",
    "Write ApproveTracker",
    "Write AttachEvidence",
    "Write ClearQueueEntry",
    "Write NotifyCoordinator",
    "Done",
    "Wait GovernanceUnavailable",
    "Wait ArchiveUnavailable",
    "Wait ChecklistUnavailable",
    "Wait TrackerUnavailable",
    "Wait QueueUnavailable",
    "Wait IntakeUnavailable",
    "Wait RecordContended",
    "Wait WriteIneffective",
    "Wait NotificationSettling",
    "Halt SourceNotAccepted",
    "Halt ReviewVersionConflict",
    "Halt MilestoneRenamed",
    "Halt EvidenceMissing",
    "Halt EvidenceMismatch",
    "Halt PartialStateConflict",
    "Halt WriteRejected",
    "Halt WriteIneffective",
    "Halt ConflictingClosure",
    "Halt NotificationUncertain",
    "CloseChecklist Changed",
    "CloseChecklist AlreadyDone",
    "CloseChecklist Unconfirmed",
    "ApproveTracker Changed",
    "ApproveTracker AlreadyDone",
    "ApproveTracker Unconfirmed",
    "AttachEvidence Changed",
    "AttachEvidence AlreadyDone",
    "AttachEvidence Unconfirmed",
    "ClearQueueEntry Changed",
    "ClearQueueEntry AlreadyDone",
    "ClearQueueEntry Unconfirmed",
    "NotifyCoordinator Pending",
    "NotifyCoordinator Intended",
    "NotifyCoordinator Changed",
    "NotifyCoordinator AlreadyDone",
    "NotifyCoordinator Unconfirmed",
    "stored Working",
    "stored Waiting",
    "stored Halted",
    "stored Closed",
    "stored Abandoned",
    "a stale look",
    "a late write landed",
    "a late write's precondition failed",
    "a precondition failed",
    "an announcement told twice and taken once",
    "a status write lost its race",
    "settled steps laid over another's status",
    "a halt taken over by a later object",
    "resumed, delivered",
    "resumed, not delivered",
    "the intent taken back",
    "a fence held a write back",
];
