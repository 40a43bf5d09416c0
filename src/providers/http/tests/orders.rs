//! Permissions for writes, come by as the operator does: records that agree, and `verify`.

use super::{KEY, handoff};
use crate::closure::accepted::{
    Accepted, AcceptedEvent, Evidence, Milestone, OpenItems, Recheck, Records, Release, Review, Rules,
};
use crate::closure::checks::Facts;
use crate::closure::decide::{Verified, verify};
use crate::closure::ids::Step;
use crate::closure::ledger::{Ledger, Outcome};
use crate::closure::snapshot::{
    Artifact, BundleRecord, ChecklistRecord, EvidenceLink, Marking, MilestoneRef, Observation, Progress, QueueRecord,
    ReleaseRef, ReviewRecord, Revision, Sighting, Snapshot, TrackerRecord,
};
use std::time::Duration;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const URL: &str = "https://archive.example.com/\"p";

/// The permission for a step, at revision `"7"` of its record.
pub(crate) fn order(step: Step) -> Verified {
    order_with(step, Vec::new(), "Approved")
}

/// Likewise, based on this look at its record.
pub(crate) fn order_seen(step: Step, sighting: Sighting) -> Verified {
    made(step, Vec::new(), "Approved", Some(sighting))
}

/// Likewise, with these evidence links on the tracker record and this word for approved.
pub(super) fn order_with(step: Step, links: Vec<EvidenceLink>, approved: &str) -> Verified {
    made(step, links, approved, None)
}

fn made(step: Step, links: Vec<EvidenceLink>, approved: &str, seen: Option<Sighting>) -> Verified {
    let text = str::to_owned;
    let body = handoff(Some("release-coordinators"));
    let release = Release { id: body.release_id, service: body.service.clone(), version: text("1") };
    let accepted_event = AcceptedEvent { id: text("e"), source: None, time: None };
    let review = Review { id: text("RR-2"), version: text("3"), accepted_event };
    let milestone = Milestone { id: text("12"), title: text("t") };
    let evidence = Evidence { bundle: text("p/1"), digest: text(DIGEST) };
    let accepted =
        Accepted::new(release, review, milestone, evidence, Records::default(), body.coordinator.clone()).unwrap();
    assert_eq!(accepted.key().as_str(), KEY);
    let rules = Rules {
        accepted_states: vec![text("Accepted")],
        required_artifacts: vec![text("sign-off")],
        open_items: OpenItems::Halt,
        approved_state: text(approved),
        approvable_states: vec![text("InReview")],
        recheck: Recheck::EveryWrite,
        missing_grace: Duration::ZERO,
    };
    let mut ledger = Ledger::default().checked().unwrap();
    for earlier in &mut ledger.steps[..step.index()] {
        earlier.outcome = Outcome::AlreadyDone;
    }
    ledger.step_mut(Step::NotifyCoordinator).links = body.links;
    let done = |of: Step| step.index() > of.index();
    let progress = |of, word: [&str; 2]| match done(of) {
        true => Progress::Done(text(word[1])),
        false => Progress::ToDo(text(word[0])),
    };
    let mut snapshot = Snapshot::default();
    for sighting in sightings(links, &body.service, approved, done, progress).into_iter().chain(seen) {
        snapshot.take(sighting, 0);
    }
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let facts = Facts { accepted: &accepted, rules: &rules, ledger: &ledger, snapshot: &snapshot, now };
    verify(facts, "uid-9", step).unwrap()
}

fn sightings(
    mut evidence: Vec<EvidenceLink>,
    service: &str,
    approved: &str,
    done: impl Fn(Step) -> bool,
    progress: impl Fn(Step, [&str; 2]) -> Progress,
) -> [Sighting; 5] {
    let text = str::to_owned;
    let at = || Revision(text("\"7\""));
    let release = || ReleaseRef { id: text("r-1"), service: Some(text(service)), version: Some(text("1")) };
    let milestone = || MilestoneRef { id: text("12"), title: text("t") };
    if done(Step::AttachEvidence) {
        let (bundle, digest, url) = (text("p/1"), text(DIGEST), text(URL));
        evidence.push(EvidenceLink { bundle, digest, url, marking: Marking::Unmarked, as_read: String::new() });
    }
    let review = ReviewRecord {
        id: text("RR-2"),
        version: text("3"),
        state: text("Accepted"),
        release: release(),
        milestone: Some(milestone()),
        evidence: Some((text("p/1"), text(DIGEST))),
        accepted_event: None,
    };
    let bundle = BundleRecord {
        bundle: text("p/1"),
        digest: text(DIGEST),
        release_id: text("r-1"),
        review_version: text("3"),
        artifacts: vec![Artifact { kind: text("sign-off"), digest: Some(text(DIGEST)) }],
        url: text(URL),
        plaintext_allowed: false,
    };
    let checklist = ChecklistRecord {
        id: text("CHK-1"),
        release_id: text("r-1"),
        review_version: text("3"),
        state: progress(Step::CloseChecklist, ["Open", "Closed"]),
        open_items: Vec::new(),
        marking: Marking::Unmarked,
    };
    let tracker = TrackerRecord {
        id: text("REL-1"),
        release: release(),
        state: text(if done(Step::ApproveTracker) { approved } else { "InReview" }),
        milestone: milestone(),
        evidence,
        marking: Marking::Unmarked,
    };
    let queue = QueueRecord {
        id: text("Q-1"),
        release_id: text("r-1"),
        review_version: text("3"),
        state: progress(Step::ClearQueueEntry, ["Pending", "Cleared"]),
        marking: Marking::Unmarked,
    };
    [
        Sighting::Governance(Observation::Found(review, at())),
        Sighting::Archive(Observation::Found(bundle, at())),
        Sighting::Checklist(Observation::Found(checklist, at())),
        Sighting::Tracker(Observation::Found(tracker, at())),
        Sighting::Queue(Observation::Found(queue, at())),
    ]
}
