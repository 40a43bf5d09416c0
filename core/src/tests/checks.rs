//! The checks C1–C16, a line per deviation: what is changed in five records that agree, and what is found.

use super::fixture::*;
use crate::accepted::OpenItems;
use crate::ids::{Step, System};
use crate::ledger::{Outcome, Retry, StateAt};
use crate::snapshot::{Artifact, Marking, MilestoneRef, Observation, Progress, Trouble};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

type Deviation = (fn(&mut World), &'static [&'static str]);

fn hold(deviations: &[Deviation]) {
    for (number, (deviate, expected)) in deviations.iter().enumerate() {
        let mut world = World::new();
        deviate(&mut world);
        assert_eq!(world.findings(), *expected, "line {number}");
    }
}

#[test]
fn five_records_that_agree_are_found_to_agree() {
    for steps in 0..=5 {
        let report = World::new().done_by_us(steps).report();
        assert!(report.findings.is_empty() && report.stale.is_empty(), "{steps}: {report:?}");
        let report = World::new().done_by_us(steps).settled(steps.min(4)).report();
        assert!(report.findings.is_empty() && report.stale.is_empty(), "{steps}: {report:?}");
    }
}

#[test]
fn the_source() {
    hold(&[
        (|w| w.review().state = text("Signed"), &[]),
        (
            |w| w.review().state = text("Reopened"),
            &["C1 SourceNotAccepted governance RR-1 state: Accepted or Signed -> Reopened"],
        ),
        (|w| w.review().version = text("4"), &["C2 ReviewVersionConflict governance RR-1 version: 3 -> 4"]),
        (|w| w.review().release.id = text("r2"), &["C3 ReleaseMismatch governance RR-1 release.id: r1 -> r2"]),
        (
            |w| w.review().release.service = Some(text("x")),
            &["C3 ReleaseMismatch governance RR-1 release.service: pay -> x"],
        ),
        (
            |w| w.review().release.version = Some(text("2")),
            &["C3 ReleaseMismatch governance RR-1 release.version: 1.0 -> 2"],
        ),
        (|w| (w.review().release.service, w.review().release.version) = (None, None), &[]),
        (
            |w| w.review().milestone.as_mut().unwrap().id = text("13"),
            &["C4 MilestoneMismatch governance RR-1 milestone.id: 12 -> 13"],
        ),
        (
            |w| w.review().milestone.as_mut().unwrap().title = text("x"),
            &["C4 MilestoneMismatch governance RR-1 milestone.title: 2026.11 -> x"],
        ),
        (
            |w| w.review().milestone = Some(MilestoneRef::none()),
            &["C4 MilestoneMismatch governance RR-1 milestone.id: 12 -> none"],
        ),
        (|w| w.review().milestone = None, &[]),
        (
            |w| w.review().evidence = Some((text("c"), digest("d"))),
            &[
                "C5 EvidenceMismatch governance RR-1 evidence.bundle: b -> c",
                concat!(
                    "C5 EvidenceMismatch governance RR-1 evidence.digest: ",
                    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -> ",
                    "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
                ),
            ],
        ),
        (|w| w.review().evidence = None, &[]),
        (
            |w| w.review().accepted_event = Some(text("e2")),
            &["C16 AcceptanceStale governance RR-1 acceptedEvent.id: e1 -> e2"],
        ),
        (|w| w.review().accepted_event = None, &[]),
        (|w| w.governance = Observation::Unreachable(Trouble::Unavailable.into()), &[]),
    ]);
}

#[test]
fn the_tracker() {
    hold(&[
        (|w| w.track().release.id = text("r2"), &["C6 TrackerReleaseMismatch tracker REL release.id: r1 -> r2"]),
        (
            |w| w.track().release.service = Some(text("x")),
            &["C6 TrackerReleaseMismatch tracker REL release.service: pay -> x"],
        ),
        (
            |w| w.track().release.version = Some(text("2")),
            &["C6 TrackerReleaseMismatch tracker REL release.version: 1.0 -> 2"],
        ),
        (|w| w.track().milestone.title = text("x"), &["C7 MilestoneRenamed tracker REL milestone.title: 2026.11 -> x"]),
        (|w| w.track().milestone.id = text("13"), &["C7 MilestoneMismatch tracker REL milestone.id: 12 -> 13"]),
        (
            |w| w.track().milestone = MilestoneRef { id: text("13"), title: text("x") },
            &[
                "C7 MilestoneMismatch tracker REL milestone.id: 12 -> 13",
                "C7 MilestoneMismatch tracker REL milestone.title: 2026.11 -> x",
            ],
        ),
        (
            |w| w.track().milestone = MilestoneRef::none(),
            &["C7 MilestoneMismatch tracker REL milestone.id: 12 -> none"],
        ),
        (|w| w.track().state = text("Ready"), &[]),
        (|w| w.track().state = text("Approved"), &[]),
        (
            |w| w.track().state = text("Rejected"),
            &["C8 TrackerStateUnexpected tracker REL state: InReview or Ready or Approved -> Rejected"],
        ),
    ]);
}

#[test]
fn the_checklist_and_the_queue_entry() {
    hold(&[
        (|w| w.list().release_id = text("r2"), &["C9 ChecklistMismatch checklist CHK release.id: r1 -> r2"]),
        (|w| w.list().review_version = text("4"), &["C9 ChecklistMismatch checklist CHK review.version: 3 -> 4"]),
        (
            |w| w.list().state = Progress::Other(text("Frozen")),
            &["C9 ChecklistStateUnexpected checklist CHK state: Open or Closed -> Frozen"],
        ),
        (
            |w| w.list().open_items = vec![text("a"), text("b")],
            &["C9 ChecklistItemsOpen checklist CHK items.done: true for every item -> a, b"],
        ),
        (|w| (w.list().open_items, w.brief.rules.open_items) = (vec![text("a")], OpenItems::Allow), &[]),
        (|w| w.entry().release_id = text("r2"), &["C12 QueueEntryMismatch queue Q release.id: r1 -> r2"]),
        (|w| w.entry().review_version = text("4"), &["C12 QueueEntryMismatch queue Q review.version: 3 -> 4"]),
        (
            |w| w.entry().state = Progress::Other(text("Lost")),
            &["C12 QueueEntryStateUnexpected queue Q state: Pending or Cleared -> Lost"],
        ),
    ]);
}

#[test]
fn the_archive() {
    hold(&[
        (|w| w.archive = Observation::Missing, &["C10 EvidenceMissing archive b bundle: b -> not in the archive"]),
        (|w| (w.archive, w.brief.rules.missing_grace) = (Observation::Missing, Duration::from_secs(1)), &[]),
        (|w| w.archive = Observation::Unreachable(Trouble::Unavailable.into()), &[]),
        (|w| w.bundle().bundle = text("c"), &["C10 EvidenceMismatch archive b bundle: b -> c"]),
        (
            |w| w.bundle().digest = text("sha256:0"),
            &[concat!(
                "C10 EvidenceMismatch archive b digest: ",
                "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -> sha256:0"
            )],
        ),
        (|w| w.bundle().release_id = text("r2"), &["C10 EvidenceMismatch archive b release.id: r1 -> r2"]),
        (|w| w.bundle().review_version = text("4"), &["C10 EvidenceMismatch archive b review.version: 3 -> 4"]),
        (
            |w| w.bundle().url = text("https://me:secret@a.example/b?sig=secret"),
            &[concat!(
                "C10 EvidenceLinkUnfit archive b url: a link without user info, query or fragment -> ",
                "https://…@a.example/b?…"
            )],
        ),
        (
            |w| w.bundle().url = text("http://a.example/b"),
            &["C10 EvidenceLinkUnfit archive b url: an https link -> http://a.example/b"],
        ),
        (|w| (w.bundle().url, w.bundle().plaintext_allowed) = (text("http://a.example/b"), true), &[]),
        (
            |w| w.bundle().artifacts.clear(),
            &["C11 ArtifactMissing archive b artifacts.kind: sign-off -> not in the bundle"],
        ),
        (
            |w| w.bundle().artifacts[0].digest = None,
            &["C11 ArtifactMissing archive b artifacts.digest: a digest of sign-off -> none"],
        ),
        (
            |w| w.bundle().artifacts[0].digest = Some(String::new()),
            &["C11 ArtifactMissing archive b artifacts.digest: a digest of sign-off -> none"],
        ),
        (|w| w.bundle().artifacts.insert(0, Artifact { kind: text("sign-off"), digest: None }), &[]),
        (
            |w| w.brief.rules.required_artifacts.push(text("notes")),
            &["C11 ArtifactMissing archive b artifacts.kind: notes -> not in the bundle"],
        ),
    ]);
}

#[test]
fn marks_of_others() {
    const OTHER: &str = "r2@RR-9@1";
    const SAME_RELEASE: &str = "r1@RR-1@2";
    for (step, at) in [
        (Step::CloseChecklist, "checklist CHK closure.key"),
        (Step::ApproveTracker, "tracker REL closure.key"),
        (Step::AttachEvidence, "tracker REL evidence.closure.key"),
        (Step::ClearQueueEntry, "queue Q closure.key"),
    ] {
        for key in [OTHER, SAME_RELEASE, "scribble"] {
            let mut world = World::new();
            world.show_done(step, by(key, UID));
            assert_eq!(world.findings(), [format!("C13 ConflictingClosure {at}: {KEY} -> {key}")]);
        }
        for marking in [by(KEY, "another-uid"), Marking::Unmarked, Marking::NotCarried] {
            let mut world = World::new();
            world.show_done(step, marking);
            assert_eq!(world.findings(), [""; 0], "{step}");
        }
    }
    hold(&[
        // Not done yet: an earlier closure of the same release has left its mark, which is no conflict.
        (|w| w.list().marking = by(SAME_RELEASE, UID), &[]),
        (|w| w.entry().marking = by(SAME_RELEASE, UID), &[]),
        (
            |w| w.track().marking = by(OTHER, UID),
            &["C13 ConflictingClosure tracker REL closure.key: r1@RR-1@3 -> r2@RR-9@1"],
        ),
        (
            |w| {
                let mut other = link(Marking::Unmarked);
                other.digest = text("d");
                w.track().evidence.push(other);
            },
            &[concat!(
                "C13 ConflictingClosure tracker REL evidence.digest: ",
                "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -> d"
            )],
        ),
        (
            |w| {
                let mut other = link(Marking::Unmarked);
                other.url = text("https://a.example/c");
                w.track().evidence.push(other);
            },
            &["C13 ConflictingClosure tracker REL evidence.url: https://archive.example.com/b -> https://a.example/c"],
        ),
        (
            |w| {
                let mut other = link(Marking::Unmarked);
                other.url = text("https://a.example/c");
                w.track().evidence.push(other);
                w.archive = Observation::Unreachable(Trouble::Unavailable.into());
            },
            &[],
        ),
        (
            |w| {
                let mut other = link(by(OTHER, UID));
                (other.bundle, other.digest) = (text("c"), text("d"));
                w.track().evidence.push(other);
            },
            &[],
        ),
    ]);
}

#[test]
fn each_record_is_found_once_and_is_the_one_asked_for() {
    hold(&[
        (|w| w.governance = Observation::Missing, &["C14 RecordMissing governance RR-1 id: RR-1 -> no record"]),
        (|w| w.checklist = Observation::Missing, &["C14 RecordMissing checklist - id: one of release r1 -> no record"]),
        (
            |w| w.tracker = Observation::Ambiguous(2),
            &["C14 RecordAmbiguous tracker - id: one of release r1 -> 2 records"],
        ),
        (|w| w.queue = Observation::Ambiguous(3), &["C14 RecordAmbiguous queue - id: one of release r1 -> 3 records"]),
        (|w| w.queue = Observation::Unreachable(Trouble::Forbidden.into()), &[]),
        (|w| w.review().id = text("RR-2"), &["C14 RecordMismatch governance RR-1 id: RR-1 -> RR-2"]),
        (
            |w| (w.brief.accepted, w.list().id) = (accepted_with(named(), None), text("CHK-2")),
            &["C14 RecordMismatch checklist CHK id: CHK -> CHK-2"],
        ),
        (
            |w| (w.brief.accepted, w.queue) = (accepted_with(named(), None), Observation::Missing),
            &["C14 RecordMissing queue Q id: Q -> no record"],
        ),
        // A record that was found before is the one that is asked for, whatever a look-up would give.
        (
            |w| (w.ledger.step_mut(Step::ClearQueueEntry).record, w.entry().id) = (Some(text("Q")), text("Q-2")),
            &["C14 RecordMismatch queue Q id: Q -> Q-2"],
        ),
    ]);
}

#[test]
fn a_record_that_was_never_found_has_its_grace() {
    let missing = |grace: u64, since: Option<Timestamp>, change: fn(&mut World)| {
        let mut world = World::new();
        (world.queue, world.brief.rules.missing_grace) = (Observation::Missing, Duration::from_secs(grace));
        world.ledger.retry = since.map(|since| Retry {
            since,
            waiting_for: vec![System::Queue],
            missing_since: BTreeMap::from([(text("queue"), since)]),
        });
        change(&mut world);
        !world.findings().is_empty()
    };
    let nothing: fn(&mut World) = |_| {};
    assert!(missing(0, None, nothing) && !missing(10, None, nothing));
    assert!(!missing(10, Some(ago(9)), nothing));
    assert!(missing(10, Some(ago(10)), nothing) && missing(10, Some(ago(11)), nothing));
    // One that was there once is missed at once.
    assert!(missing(10, None, |world| world.ledger.step_mut(Step::ClearQueueEntry).record = Some(text("Q"))));
    assert!(missing(10, None, |world| {
        world.ledger.alignment = Some(super::words::alignment());
    }));
}

#[test]
fn what_was_done_is_still_done_on_the_same_record() {
    for (step, at, expected) in [
        (Step::CloseChecklist, "checklist CHK state", "Closed -> Open"),
        (Step::ApproveTracker, "tracker REL state", "Approved -> InReview"),
        (Step::AttachEvidence, "tracker REL evidence.bundle", "b -> no link to this bundle"),
        (Step::ClearQueueEntry, "queue Q state", "Cleared -> Pending"),
    ] {
        let line = format!("C15 PartialStateConflict {at}: {expected}");
        let undone = |settle: fn(&mut World, Step)| {
            let mut world = World::new();
            settle(&mut world, step);
            world.findings()
        };
        assert_eq!(undone(|world, step| world.ledger.step_mut(step).outcome = Outcome::Unconfirmed), [line.clone()]);
        assert_eq!(undone(|world, step| world.ledger.step_mut(step).outcome = Outcome::Intended), [""; 0]);
        if step != Step::AttachEvidence {
            let marked = undone(|world, step| match step {
                Step::CloseChecklist => world.list().marking = by(KEY, "any"),
                Step::ApproveTracker => world.track().marking = by(KEY, "any"),
                Step::ClearQueueEntry => world.entry().marking = by(KEY, "any"),
                Step::AttachEvidence | Step::NotifyCoordinator => {}
            });
            assert_eq!(marked, [line]);
        }
    }
    let mut world = World::new().done_by_us(1).settled(1);
    world.list().id = text("CHK-2");
    assert_eq!(
        world.findings(),
        [
            "C14 RecordMismatch checklist CHK id: CHK -> CHK-2",
            "C15 PartialStateConflict checklist CHK-2 id: CHK -> CHK-2",
        ]
    );
}

#[test]
fn a_record_as_it_was_before_our_change_is_a_stale_read() {
    let read_at = |revision: &str, change: fn(&mut World)| {
        let mut world = World::new().settled(3);
        for step in [Step::ApproveTracker, Step::AttachEvidence] {
            world.ledger.step_mut(step).before = Some(StateAt { state: text("x"), revision: text(revision) });
        }
        world.list().state = Progress::Done(text("Closed"));
        change(&mut world);
        let report = world.report();
        (report.findings.len(), report.stale)
    };
    assert_eq!(read_at("\"4\"", |_| {}), (0, vec![System::Tracker]), "told once for two steps");
    assert_eq!(read_at("\"2\"", |_| {}), (2, Vec::new()), "another revision is a look that counts");
    assert_eq!(read_at("", |world| world.tracker = with_revision(world, "")), (2, Vec::new()), "no revision is none");
    let unsettled: fn(&mut World) = |world| {
        for step in [Step::ApproveTracker, Step::AttachEvidence] {
            world.ledger.step_mut(step).outcome = Outcome::Pending;
        }
    };
    assert_eq!(read_at("\"4\"", unsettled), (0, Vec::new()), "of a step that is not settled nothing is remembered");
    // The revision of one system says nothing of another's.
    let mut world = World::new().done_by_us(1).settled(1);
    world.ledger.step_mut(Step::CloseChecklist).before = Some(StateAt { state: text("x"), revision: text("\"4\"") });
    assert!(world.report().stale.is_empty());
}

fn with_revision(world: &mut World, revision: &str) -> Observation<crate::snapshot::TrackerRecord> {
    Observation::Found(world.track().clone(), crate::snapshot::Revision(text(revision)))
}
