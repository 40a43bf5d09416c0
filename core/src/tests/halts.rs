//! The latch, what releases it, and what a coordinator is told.

use super::fixture::*;
use crate::halt::{Released, Resolution, id, latch, resolve};
use crate::ids::{Step, System};
use crate::ledger::{
    Check, Decision, FINDINGS_BYTES_MAX, FINDINGS_MAX, Finding, HALTS_MAX, Halt, Handoff, Ledger, NameRef, Outcome,
};
use crate::packet::{INSTRUCTIONS_MAX, instructions};
use crate::reason::Reason;

fn finding(reason: Reason, observed: &str) -> Finding {
    Finding {
        check: Check::C7,
        reason,
        system: System::Tracker,
        record: Some(text("REL")),
        field: text("milestone.title"),
        expected: text("expected"),
        observed: text(observed),
        link: None,
    }
}

fn latched(reason: Reason) -> Ledger {
    let mut ledger = Ledger::default().checked().unwrap();
    ledger.retry = Some(super::words::retry(System::Tracker));
    latch(&mut ledger, UID, vec![finding(reason, "x")], now());
    ledger
}

#[test]
fn a_halt_is_its_findings_under_one_id() {
    let ledger = latched(Reason::MilestoneRenamed);
    let expected = Halt {
        id: id(UID, 0),
        cause: Reason::MilestoneRenamed,
        at: now(),
        packet_ref: NameRef { name: id(UID, 0) },
        findings: vec![finding(Reason::MilestoneRenamed, "x")],
        findings_omitted: None,
    };
    assert_eq!((ledger.halt, ledger.retry), (Some(expected), None));
    // printf '{"episode":0,"uid":"own-uid"}' | sha256sum
    assert_eq!(id(UID, 0), "h-70299577d8322c8d74fe");
    let mut nothing = Ledger::default().checked().unwrap();
    latch(&mut nothing, UID, Vec::new(), now());
    assert_eq!(nothing.halt, None);
}

#[test]
fn of_the_findings_as_many_are_kept_as_a_status_holds() {
    let kept = |count: usize, observed: &str| {
        let mut ledger = Ledger::default().checked().unwrap();
        latch(&mut ledger, UID, vec![finding(Reason::MilestoneRenamed, observed); count], now());
        let halt = ledger.halt.unwrap();
        (halt.findings.len(), halt.findings_omitted)
    };
    assert_eq!(kept(1, "x"), (1, None));
    assert_eq!(kept(FINDINGS_MAX, "x"), (24, None));
    assert_eq!(kept(FINDINGS_MAX + 1, "x"), (24, Some(1)));
    let size = |observed: &str| serde_json::to_string(&finding(Reason::MilestoneRenamed, observed)).unwrap().len();
    let half = "x".repeat(FINDINGS_BYTES_MAX / 2 - size(""));
    assert_eq!(2 * size(&half), FINDINGS_BYTES_MAX);
    assert_eq!(kept(3, &half), (2, Some(1)), "as many bytes as there is room for");
    assert_eq!(kept(2, &format!("{half}x")), (1, Some(1)));
    assert_eq!(kept(2, &"x".repeat(FINDINGS_BYTES_MAX)), (1, Some(1)), "the first always");
}

fn resolution(decision: Decision, handoff: Option<Handoff>) -> Resolution {
    Resolution { decision, halt_id: id(UID, 0), handoff, resolved_by: Some(text("sam")) }
}

#[test]
fn only_an_answer_to_this_very_halt_releases_it() {
    use Decision::{Abandon, Resume};
    use Handoff::{Delivered, NotDelivered};
    for (cause, decision, handoff, released, outcome) in [
        (Reason::MilestoneRenamed, Resume, None, Released::Resumed, Outcome::Intended),
        (Reason::MilestoneRenamed, Abandon, None, Released::Abandoned, Outcome::Intended),
        (Reason::NotificationUncertain, Resume, None, Released::Rejected, Outcome::Intended),
        (Reason::NotificationUncertain, Abandon, None, Released::Abandoned, Outcome::Intended),
        (Reason::NotificationUncertain, Resume, Some(Delivered), Released::Resumed, Outcome::Unconfirmed),
        (Reason::NotificationUncertain, Resume, Some(NotDelivered), Released::Resumed, Outcome::Pending),
        (Reason::NotificationUncertain, Abandon, Some(Delivered), Released::Abandoned, Outcome::Intended),
    ] {
        let mut ledger = latched(cause);
        ledger.step_mut(Step::NotifyCoordinator).outcome = Outcome::Intended;
        ledger.retry = Some(super::words::retry(System::Tracker));
        let before = ledger.clone();
        assert_eq!(resolve(&mut ledger, &resolution(decision, handoff), now()), released, "{cause} {decision:?}");
        assert_eq!(ledger.step(Step::NotifyCoordinator).outcome, outcome, "{cause} {decision:?}");
        if released == Released::Rejected {
            assert_eq!(ledger, before);
            continue;
        }
        let past = &ledger.halts[0];
        assert_eq!((past.id.as_str(), past.cause, past.at, past.resolved_at), (&*id(UID, 0), cause, now(), now()));
        assert_eq!((past.decision, past.handoff, past.resolved_by.as_deref()), (decision, handoff, Some("sam")));
        assert_eq!((ledger.episode, &ledger.halt, &ledger.retry), (1, &None, &None));
        if handoff == Some(Delivered) && decision == Resume {
            assert_eq!(ledger.step(Step::NotifyCoordinator).at, Some(now()));
        }
    }
    let mut ledger = latched(Reason::MilestoneRenamed);
    let other = Resolution { halt_id: id(UID, 1), ..resolution(Resume, None) };
    assert_eq!(resolve(&mut ledger, &other, now()), Released::Rejected);
    assert!(ledger.halt.is_some());
    let mut working = Ledger::default().checked().unwrap();
    assert_eq!(resolve(&mut working, &resolution(Resume, None), now()), Released::Rejected);
}

#[test]
fn of_past_halts_the_latest_eight_are_kept() {
    let mut ledger = Ledger::default().checked().unwrap();
    for episode in 0..10 {
        latch(&mut ledger, UID, vec![finding(Reason::MilestoneRenamed, "x")], now());
        let answer = Resolution { halt_id: id(UID, episode), ..resolution(Decision::Resume, None) };
        assert_eq!(resolve(&mut ledger, &answer, now()), Released::Resumed);
        assert_eq!(ledger.halts.len(), HALTS_MAX.min(usize::try_from(episode).unwrap() + 1));
    }
    assert_eq!((ledger.episode, ledger.halts[0].id.clone()), (10, id(UID, 2)));
}

fn halt(cause: Reason, findings: Vec<Finding>) -> Halt {
    let packet_ref = NameRef { name: text("h-1") };
    Halt { id: text("h-1"), cause, at: now(), packet_ref, findings, findings_omitted: None }
}

#[test]
fn every_reason_of_a_finding_has_its_instruction() {
    let accepted = accepted_with(named(), None);
    let said =
        |reason: Reason| instructions(&halt(reason, vec![finding(reason, "seen")]), &accepted, "ns", "c").remove(0);
    let restore =
        format!("Restore bundle b with digest {} in the archive, complete and with an https link.", digest("a"));
    let anew = "REL was accepted anew: abandon this closure and let the new acceptance have its own.";
    let correct = "Correct milestone.title of REL, or abandon this closure if it names the wrong record.";
    let state = "Put REL into a state that this closure may start from: expected.";
    for (reason, expected) in [
        (
            Reason::MilestoneRenamed,
            "Rename milestone 12 back to 2026.11, or have the review accepted again for the new title: that is a new closure.",
        ),
        (Reason::MilestoneMismatch, "Put REL on milestone 12 (2026.11), or have the review accepted again."),
        (
            Reason::SourceNotAccepted,
            "Find out why REL is no longer accepted. If it is accepted again under the same version, resume; a new review version is a new closure.",
        ),
        (Reason::ReviewVersionConflict, anew),
        (Reason::AcceptanceStale, anew),
        (Reason::ReleaseMismatch, correct),
        (Reason::TrackerReleaseMismatch, correct),
        (Reason::ChecklistMismatch, correct),
        (Reason::QueueEntryMismatch, correct),
        (Reason::EvidenceMismatch, &restore),
        (Reason::EvidenceMissing, &restore),
        (Reason::ArtifactMissing, &restore),
        (Reason::EvidenceLinkUnfit, &restore),
        (Reason::ChecklistItemsOpen, "Finish the open items of REL: seen."),
        (Reason::ChecklistStateUnexpected, state),
        (Reason::QueueEntryStateUnexpected, state),
        (Reason::TrackerStateUnexpected, state),
        (
            Reason::ConflictingClosure,
            "REL carries the mark of seen. Find out which closure is right before you change it.",
        ),
        (Reason::RecordMissing, "Create or restore the record expected in the tracker system."),
        (Reason::RecordAmbiguous, "Leave one record in the tracker system (expected), or name it in a new closure."),
        (Reason::RecordMismatch, "The tracker system answers with another record than expected: mend it."),
        (
            Reason::PartialStateConflict,
            "Somebody undid what this closure had done to REL. Redo it, or put the record right and resume.",
        ),
        (Reason::WriteRejected, "The tracker system refuses to change REL: find out why, and mend it there."),
        (
            Reason::WriteIneffective,
            "The tracker system says yes and does not change REL: have it mended, or make the change by hand.",
        ),
        (
            Reason::NotificationUncertain,
            "Ask the intake's people whether handoff r1@RR-1@3 arrived, and say Delivered or NotDelivered.",
        ),
        (Reason::ServiceNotAllowed, Reason::ServiceNotAllowed.sentence()),
    ] {
        assert_eq!(said(reason), expected);
    }
}

#[test]
fn a_reason_is_told_once_and_the_last_line_resumes() {
    let accepted = accepted_with(named(), None);
    let twice = vec![
        finding(Reason::MilestoneRenamed, "x"),
        finding(Reason::MilestoneRenamed, "y"),
        finding(Reason::WriteRejected, "z"),
    ];
    let lines = instructions(&halt(Reason::MilestoneRenamed, twice), &accepted, "ns", "c");
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[2], "Or give this closure up: kubectl releaseclosure abandon -n ns c --halt h-1");
    assert_eq!(lines[3], "kubectl releaseclosure resume -n ns c --halt h-1");
    let lines = instructions(&halt(Reason::NotificationUncertain, Vec::new()), &accepted, "ns", "c");
    assert_eq!(lines[1], "kubectl releaseclosure resume -n ns c --halt h-1 --handoff Delivered|NotDelivered");
    let all = Reason::ALL.iter().map(|reason| finding(*reason, "x")).collect();
    assert_eq!(instructions(&halt(Reason::MilestoneRenamed, all), &accepted, "ns", "c").len(), INSTRUCTIONS_MAX);
}
