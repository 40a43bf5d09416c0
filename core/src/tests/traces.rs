//! The chain: what it covers, and what verification tells.

use super::fixture::*;
use super::play::*;
use crate::accepted::{Accepted, Records};
use crate::ids::{Step, System};
use crate::ledger::{Decision, Ledger, NameRef, PastHalt, StepRecord, TraceHead, Verdict};
use crate::observed::compared;
use crate::reason::Reason;
use crate::snapshot::{MilestoneRef, Observation, Snapshot};
use crate::trace::{Broken, alignment_digest, head, verify};

fn closed() -> (Accepted, Ledger) {
    let mut play = play(World::new());
    play.run();
    let (brief, mut pass) = (play.brief().clone(), play.pass);
    pass.conclude(&brief);
    (brief.accepted, pass.into_parts().0)
}

fn past(decision: Decision) -> PastHalt {
    PastHalt {
        id: text("h"),
        cause: Reason::MilestoneRenamed,
        at: now(),
        packet_ref: NameRef { name: text("h") },
        decision,
        handoff: None,
        resolved_by: None,
        resolved_at: now(),
        superseded: None,
    }
}

/// Frozen: whoever keeps a head can check it with any later version.
#[test]
fn a_closed_closure_has_this_head() {
    let (accepted, ledger) = closed();
    assert_eq!(
        ledger.alignment.as_ref().unwrap().digest,
        "sha256:ff6cd5ac2a0cfcabe9c77e593ae63a07d1f50ec26ccf01dc87ed9118ae621ce0"
    );
    assert_eq!(
        head(&accepted, UID, &ledger),
        "sha256:73f2922a2e2912278716e540a3c54f1b9883dd841283d86241fb22e3bbe88a6e"
    );
}

#[test]
fn the_head_covers_all_that_is_claimed() {
    let (accepted, ledger) = closed();
    let original = head(&accepted, UID, &ledger);
    let changes: [(&str, fn(&mut Ledger)); 16] = [
        ("episode", |l| l.episode += 1),
        ("halts", |l| {
            l.halts.push(past(Decision::Resume));
        }),
        ("playbook", |l| l.playbook.as_mut().unwrap().generation += 1),
        ("no playbook", |l| l.playbook = None),
        ("alignment", |l| l.alignment.as_mut().unwrap().digest.push('0')),
        ("no alignment", |l| l.alignment = None),
        ("outcome", |l| l.steps[0].outcome = crate::ledger::Outcome::AlreadyDone),
        ("record", |l| l.steps[1].record = Some(text("x"))),
        ("before", |l| l.steps[2].before = None),
        ("after", |l| l.steps[3].after.as_mut().unwrap().revision.push('0')),
        ("reference", |l| l.steps[2].reference = None),
        ("links", |l| l.steps[4].links.clear()),
        ("at", |l| l.steps[4].at = Some(ago(1))),
        ("connection", |l| l.steps[0].connection = None),
        ("a step", |l| drop(l.steps.pop())),
        ("their order", |l| l.steps.swap(0, 1)),
    ];
    for (what, change) in changes {
        let mut changed = ledger.clone();
        change(&mut changed);
        assert_ne!(head(&accepted, UID, &changed), original, "{what}");
    }
    assert_ne!(head(&accepted, "another", &ledger), original);
    // A step that comes first is no less covered than the last.
    let mut first = ledger.clone();
    first.steps[0] = StepRecord::pending(Step::CloseChecklist);
    assert_ne!(head(&accepted, UID, &first), original);
}

#[test]
fn verification_tells_what_does_not_hold() {
    let (accepted, ledger) = closed();
    let stored = ledger.trace.clone().unwrap().digest;
    assert_eq!(verify(&accepted, UID, &ledger), Ok(stored.clone()));
    let mut open = ledger.clone();
    open.trace = None;
    assert_eq!(verify(&accepted, UID, &open), Err(Broken::NoHead));
    let mut other = ledger.clone();
    other.trace = Some(TraceHead { digest: text("sha256:0") });
    assert_eq!(verify(&accepted, UID, &other), Err(Broken::Head { stored: text("sha256:0"), computed: stored }));
    let mut compared = ledger.clone();
    compared.alignment.as_mut().unwrap().compared.pop();
    assert!(matches!(verify(&accepted, UID, &compared), Err(Broken::Alignment { .. })));
    let mut event = ledger.clone();
    event.alignment.as_mut().unwrap().accepted_event = text("e2");
    assert_eq!(verify(&accepted, UID, &event), Err(Broken::Event { stored: text("e2"), expected: text("e1") }));
    let mut unsettled = ledger.clone();
    unsettled.steps[3] = StepRecord::pending(Step::ClearQueueEntry);
    unsettled.trace = Some(TraceHead { digest: head(&accepted, UID, &unsettled) });
    assert_eq!(verify(&accepted, UID, &unsettled), Err(Broken::Open(Step::ClearQueueEntry)), "whole, and not finished");
    unsettled.halts.push(past(Decision::Resume));
    unsettled.trace = Some(TraceHead { digest: head(&accepted, UID, &unsettled) });
    assert_eq!(verify(&accepted, UID, &unsettled), Err(Broken::Open(Step::ClearQueueEntry)));
    unsettled.halts.push(past(Decision::Abandon));
    unsettled.trace = Some(TraceHead { digest: head(&accepted, UID, &unsettled) });
    assert!(verify(&accepted, UID, &unsettled).is_ok(), "it was given up");
    let mut without = ledger;
    without.alignment = None;
    without.trace = Some(TraceHead { digest: head(&accepted, UID, &without) });
    assert!(verify(&accepted, UID, &without).is_ok(), "a closure that was given up early never agreed");
}

#[test]
fn the_alignment_is_of_one_release_review_milestone_and_evidence() {
    let digest_of = |accepted: &Accepted| alignment_digest(accepted, Verdict::Accepted, &[]);
    let original = digest_of(&accepted_with(Records::default(), None));
    assert_eq!(original, digest_of(&accepted_with(named(), Some("team"))), "records and coordinator are not in it");
    for part in 0..4 {
        let base = accepted_with(Records::default(), None);
        let (mut release, mut review) = (base.release().clone(), base.review().clone());
        let (mut milestone, mut evidence) = (base.milestone().clone(), base.evidence().clone());
        match part {
            0 => release.service = text("other"),
            1 => review.accepted_event.source = Some(text("other")),
            2 => milestone.title = text("other"),
            _ => evidence.digest = digest("f"),
        }
        let other = Accepted::new(release, review, milestone, evidence, Records::default(), None).unwrap();
        assert_ne!(digest_of(&other), original, "{part}");
    }
}

#[test]
fn an_alignment_keeps_its_time_while_nothing_of_it_changes() {
    let aligned = |world: World| {
        let mut play = play(world);
        play.step();
        let _ = play.pass.next(&play.world.brief, now());
        let alignment = play.pass.ledger().alignment.clone().unwrap();
        (alignment.verified_at, alignment.accepted_event, play.pass.ledger().playbook.clone())
    };
    let (at, event, playbook) = aligned(World::new());
    assert_eq!((at, event.as_str(), playbook), (now(), "e1", Some(brief().playbook)));
    let (_, mut before) = closed();
    before.alignment.as_mut().unwrap().verified_at = ago(60);
    let mut world = World::new();
    world.ledger.alignment = before.alignment;
    assert_eq!(aligned(world.clone()).0, ago(60));
    world.review().milestone = None;
    assert_eq!(aligned(world).0, now(), "less was compared, which is another alignment");
    let mut unnamed = World::new();
    unnamed.review().accepted_event = None;
    assert_eq!(aligned(unnamed).1, "e1", "the spec's, where the record names none");
    let mut renamed = World::new().settled(1).done_by_us(1);
    renamed.ledger.alignment = None;
    assert_eq!(aligned(renamed).0, now());
}

fn lines(snapshot: &Snapshot) -> Vec<String> {
    compared(snapshot).iter().map(|all| format!("{}: {}", all.system, all.fields.join(" "))).collect()
}

#[test]
fn what_was_compared_is_what_the_products_carry() {
    let mut world = World::new();
    let archive = "archive: bundle digest release.id review.version artifacts url";
    let checklist = "checklist: release.id review.version state items.done";
    let queue = "queue: release.id review.version state";
    assert_eq!(
        lines(&world.snapshot()),
        [
            "governance: state version release.id release.service release.version milestone.id milestone.title \
             evidence.bundle evidence.digest acceptedEvent.id",
            archive,
            checklist,
            "tracker: release.id release.service release.version milestone.id milestone.title state evidence",
            queue,
        ]
    );
    let review = world.review();
    (review.release.service, review.milestone, review.accepted_event) = (None, None, None);
    (world.track().release.version, world.track().milestone) = (None, MilestoneRef::none());
    assert_eq!(
        lines(&world.snapshot()),
        [
            "governance: state version release.id release.version evidence.bundle evidence.digest",
            archive,
            checklist,
            "tracker: release.id release.service milestone.id milestone.title state evidence",
            queue,
        ]
    );
    world.review().release.version = None;
    world.review().evidence = None;
    world.review().accepted_event = Some(text("e1"));
    world.track().release.service = None;
    (world.archive, world.checklist) = (Observation::Missing, Observation::Missing);
    assert_eq!(
        lines(&world.snapshot()),
        [
            "governance: state version release.id acceptedEvent.id",
            "tracker: release.id milestone.id milestone.title state evidence",
            queue,
        ]
    );
    world.tracker = Observation::Missing;
    world.queue = Observation::Missing;
    world.governance = Observation::Missing;
    assert_eq!(lines(&world.snapshot()), [""; 0]);
    let mut snapshot = World::new().snapshot();
    snapshot.forget(System::Governance);
    assert_eq!(lines(&snapshot).len(), 4);
}
