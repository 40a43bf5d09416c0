//! What a coordinator reads after a halt: per reason, what to put right.

use super::accepted::Accepted;
use super::ledger::{Finding, Halt};
use super::reason::Reason;

/// Most instructions on a packet.
pub const INSTRUCTIONS_MAX: usize = 16;

/// One instruction per reason among the findings, in their order; the last is the exact command that resumes.
#[must_use]
pub fn instructions(halt: &Halt, accepted: &Accepted, namespace: &str, closure: &str) -> Vec<String> {
    let mut reasons: Vec<&Finding> = Vec::new();
    for finding in &halt.findings {
        if !reasons.iter().any(|known| known.reason == finding.reason) {
            reasons.push(finding);
        }
    }
    let mut all: Vec<String> =
        reasons.into_iter().take(INSTRUCTIONS_MAX - 2).map(|finding| advice(finding, accepted)).collect();
    all.push(format!(
        "Or give this closure up: kubectl releaseclosure abandon -n {namespace} {closure} --halt {}",
        halt.id
    ));
    let handoff = if halt.cause == Reason::NotificationUncertain { " --handoff Delivered|NotDelivered" } else { "" };
    all.push(format!("kubectl releaseclosure resume -n {namespace} {closure} --halt {}{handoff}", halt.id));
    all
}

#[allow(clippy::wildcard_enum_match_arm, reason = "a reason that is no finding's has nothing but its sentence to say")]
fn advice(finding: &Finding, accepted: &Accepted) -> String {
    let record = finding.record.as_deref().unwrap_or("the record");
    let milestone = accepted.milestone();
    let system = finding.system;
    match finding.reason {
        Reason::MilestoneRenamed => format!(
            "Rename milestone {} back to {}, or have the review accepted again for the new title: that is a new closure.",
            milestone.id, milestone.title
        ),
        Reason::MilestoneMismatch => {
            format!(
                "Put {record} on milestone {} ({}), or have the review accepted again.",
                milestone.id, milestone.title
            )
        }
        Reason::SourceNotAccepted => format!(
            "Find out why {record} is no longer accepted. If it is accepted again under the same version, resume; a new review version is a new closure."
        ),
        Reason::ReviewVersionConflict | Reason::AcceptanceStale => {
            format!("{record} was accepted anew: abandon this closure and let the new acceptance have its own.")
        }
        Reason::ReleaseMismatch
        | Reason::TrackerReleaseMismatch
        | Reason::ChecklistMismatch
        | Reason::QueueEntryMismatch => {
            format!("Correct {} of {record}, or abandon this closure if it names the wrong record.", finding.field)
        }
        Reason::EvidenceMismatch | Reason::EvidenceMissing | Reason::ArtifactMissing | Reason::EvidenceLinkUnfit => {
            format!(
                "Restore bundle {} with digest {} in the archive, complete and with an https link.",
                accepted.evidence().bundle,
                accepted.evidence().digest
            )
        }
        Reason::ChecklistItemsOpen => format!("Finish the open items of {record}: {}.", finding.observed),
        Reason::ChecklistStateUnexpected | Reason::QueueEntryStateUnexpected | Reason::TrackerStateUnexpected => {
            format!("Put {record} into a state that this closure may start from: {}.", finding.expected)
        }
        Reason::ConflictingClosure => {
            format!(
                "{record} carries the mark of {}. Find out which closure is right before you change it.",
                finding.observed
            )
        }
        Reason::RecordMissing => format!("Create or restore the record {} in the {system} system.", finding.expected),
        Reason::RecordAmbiguous => {
            format!("Leave one record in the {system} system ({}), or name it in a new closure.", finding.expected)
        }
        Reason::RecordMismatch => {
            format!("The {system} system answers with another record than {}: mend it.", finding.expected)
        }
        Reason::PartialStateConflict => {
            format!(
                "Somebody undid what this closure had done to {record}. Redo it, or put the record right and resume."
            )
        }
        Reason::WriteRejected => {
            format!("The {system} system refuses to change {record}: find out why, and mend it there.")
        }
        Reason::WriteIneffective => {
            format!(
                "The {system} system says yes and does not change {record}: have it mended, or make the change by hand."
            )
        }
        Reason::NotificationUncertain => format!(
            "Ask the intake's people whether handoff {} arrived, and say Delivered or NotDelivered.",
            accepted.key()
        ),
        other => other.sentence().to_owned(),
    }
}
