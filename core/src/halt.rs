//! The latch: how a halt comes about, what releases it, and whom a packet of the same closure holds.

use super::ids::Step;
use super::ledger::{
    Decision, FINDINGS_BYTES_MAX, FINDINGS_MAX, Finding, Halt, Handoff, Ledger, NameRef, Outcome, PastHalt,
};
use super::reason::Reason;
use jiff::Timestamp;
use serde_json::json;

/// The id of the halt of an object's episode: the same after a crash, another after each release.
#[must_use]
pub fn id(uid: &str, episode: u32) -> String {
    let digest = super::trace::digest(&json!({"uid": uid, "episode": episode}));
    let hex = digest.trim_start_matches("sha256:");
    format!("h-{}", &hex[..20])
}

/// Latches a halt. Its findings are cut to what a status holds; its packet is named after its id.
pub fn latch(ledger: &mut Ledger, uid: &str, mut findings: Vec<Finding>, now: Timestamp) {
    let Some(first) = findings.first() else { return };
    let (id, cause) = (id(uid, ledger.episode), first.reason);
    let kept = fitting(&findings);
    let findings_omitted = u32::try_from(findings.len() - kept).ok().filter(|omitted| *omitted > 0);
    findings.truncate(kept);
    let packet_ref = NameRef { name: id.clone() };
    ledger.retry = None;
    ledger.halt = Some(Halt { id, cause, at: now, packet_ref, findings, findings_omitted });
}

/// How many findings a status keeps: at most 24, and no more than fit beside everything else that a status below 16 KiB
/// may hold; always the first.
fn fitting(findings: &[Finding]) -> usize {
    let mut bytes = 0;
    let fits = findings.iter().take(FINDINGS_MAX).take_while(|finding| {
        bytes += serde_json::to_string(finding).map_or(0, |text| text.len());
        bytes <= FINDINGS_BYTES_MAX
    });
    fits.count().max(1)
}

/// A coordinator's answer, as it stands on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// What was decided.
    pub decision: Decision,
    /// The halt it is for.
    pub halt_id: String,
    /// What became of the announcement; given exactly when that was the question.
    pub handoff: Option<Handoff>,
    /// Who decided.
    pub resolved_by: Option<String>,
}

/// What a resolution does to a halted closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// The closure is working again, from the start.
    Resumed,
    /// The closure is finished.
    Abandoned,
    /// The resolution is for another halt, or leaves its question open: it does nothing.
    Rejected,
}

/// Acts on a resolution. Only one that names the latched halt releases it.
pub fn resolve(ledger: &mut Ledger, resolution: &Resolution, now: Timestamp) -> Released {
    let Some(halt) = ledger.halt.take_if(|halt| halt.id == resolution.halt_id) else { return Released::Rejected };
    let unanswered = halt.cause == Reason::NotificationUncertain && resolution.handoff.is_none();
    if resolution.decision == Decision::Resume && unanswered {
        ledger.halt = Some(halt);
        return Released::Rejected;
    }
    let Halt { id, cause, at, packet_ref, findings: _, findings_omitted: _ } = halt;
    let Resolution { decision, halt_id: _, handoff, resolved_by } = resolution.clone();
    let superseded = None;
    let resolved_at = now;
    ledger.put_by(PastHalt { id, cause, at, packet_ref, decision, handoff, resolved_by, resolved_at, superseded });
    ledger.retry = None;
    // What the intake itself has acknowledged meanwhile, a person's word does not undo.
    let open = !ledger.step(Step::NotifyCoordinator).outcome.is_settled();
    match (decision, handoff) {
        (Decision::Abandon, _) => return Released::Abandoned,
        (Decision::Resume, Some(Handoff::Delivered)) if open => {
            let step = ledger.step_mut(Step::NotifyCoordinator);
            step.outcome = Outcome::Unconfirmed;
            // The handoff that the intent was for, as where the intake itself says so.
            step.record.clone_from(&step.reference);
            step.at = Some(now);
        }
        // Nothing arrived: the intent is void, and the announcement may be made once.
        (Decision::Resume, Some(Handoff::NotDelivered)) if open => {
            *ledger.step_mut(Step::NotifyCoordinator) = super::ledger::StepRecord::pending(Step::NotifyCoordinator);
        }
        (Decision::Resume, _) => {}
    }
    Released::Resumed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halts_of_one_object_have_different_ids_and_the_same_episode_the_same() {
        assert_eq!(id("u1", 0), id("u1", 0));
        assert_ne!(id("u1", 0), id("u1", 1));
        assert_ne!(id("u1", 0), id("u2", 0));
        assert!(id("u1", 0).starts_with("h-") && id("u1", 0).len() == 22);
    }

    #[test]
    fn a_word_on_the_handoff_does_not_undo_what_the_intake_acknowledged() {
        for (handoff, open) in [(Handoff::Delivered, Outcome::Unconfirmed), (Handoff::NotDelivered, Outcome::Pending)] {
            for (stored, expected) in [(Outcome::Intended, open), (Outcome::Changed, Outcome::Changed)] {
                let mut ledger = Ledger::default().checked().unwrap();
                ledger.step_mut(Step::NotifyCoordinator).outcome = stored;
                ledger.halt = Some(Halt {
                    id: id("u1", 0),
                    cause: Reason::NotificationUncertain,
                    at: Timestamp::UNIX_EPOCH,
                    packet_ref: NameRef { name: id("u1", 0) },
                    findings: Vec::new(),
                    findings_omitted: None,
                });
                let (halt_id, handoff) = (id("u1", 0), Some(handoff));
                let resolution = Resolution { decision: Decision::Resume, halt_id, handoff, resolved_by: None };
                assert_eq!(resolve(&mut ledger, &resolution, Timestamp::UNIX_EPOCH), Released::Resumed);
                assert_eq!(ledger.step(Step::NotifyCoordinator).outcome, expected);
            }
        }
    }
}
