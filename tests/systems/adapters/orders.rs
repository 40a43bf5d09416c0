//! Permissions for writes, come by as the operator does: records that agree, and `verify`.

use releaseclosure::closure::accepted::{
    Accepted, AcceptedEvent, Evidence, Milestone, OpenItems, Recheck, Records, Release, Review, Rules,
};
use releaseclosure::closure::checks::Facts;
use releaseclosure::closure::decide::{Verified, verify};
use releaseclosure::closure::ids::Step;
use releaseclosure::closure::ledger::{Ledger, Link, Outcome};
use releaseclosure::closure::snapshot::{
    Artifact, BundleRecord, ChecklistRecord, EvidenceLink, Marking, MilestoneRef, Observation, Progress, QueueRecord,
    ReleaseRef, ReviewRecord, Revision, Sighting, Snapshot, TrackerRecord,
};
use std::time::Duration;

const URL: &str = "https://archive.example.com/p";

fn text(text: &str) -> String {
    text.to_owned()
}

/// The permission to clear entry `r-1.3` at this revision, or to announce `r-1@RR-2@3`.
pub fn order(step: Step, revision: Option<&str>) -> Verified {
    let digest = format!("sha256:{}", "a".repeat(64));
    let release = Release { id: text("r-1"), service: text("payments"), version: text("1") };
    let accepted_event = AcceptedEvent { id: text("e"), source: None, time: None };
    let review = Review { id: text("RR-2"), version: text("3"), accepted_event };
    let milestone = Milestone { id: text("12"), title: text("t") };
    let evidence = Evidence { bundle: text("p/1"), digest: digest.clone() };
    let accepted = Accepted::new(release, review, milestone, evidence, Records::default(), None).expect("good");
    let rules = Rules {
        accepted_states: vec![text("Accepted")],
        required_artifacts: Vec::new(),
        open_items: OpenItems::Halt,
        approved_state: text("Approved"),
        approvable_states: vec![text("InReview")],
        recheck: Recheck::EveryWrite,
        missing_grace: Duration::ZERO,
    };
    let mut ledger = Ledger::default().checked().expect("five steps");
    for earlier in &mut ledger.steps[..step.index()] {
        earlier.outcome = Outcome::AlreadyDone;
    }
    ledger.step_mut(Step::NotifyCoordinator).links = vec![Link { rel: text("evidence"), url: text(URL) }];
    let release = || ReleaseRef { id: text("r-1"), service: Some(text("payments")), version: Some(text("1")) };
    let milestone = || MilestoneRef { id: text("12"), title: text("t") };
    let review = ReviewRecord {
        id: text("RR-2"),
        version: text("3"),
        state: text("Accepted"),
        release: release(),
        milestone: Some(milestone()),
        evidence: None,
        accepted_event: None,
    };
    let bundle = BundleRecord {
        bundle: text("p/1"),
        digest: digest.clone(),
        release_id: text("r-1"),
        review_version: text("3"),
        artifacts: vec![Artifact { kind: text("sign-off"), digest: None }],
        url: text(URL),
        plaintext_allowed: false,
    };
    let checklist = ChecklistRecord {
        id: text("CHK-1"),
        release_id: text("r-1"),
        review_version: text("3"),
        state: Progress::Done(text("Closed")),
        open_items: Vec::new(),
        marking: Marking::Unmarked,
    };
    let link = EvidenceLink {
        bundle: text("p/1"),
        digest,
        url: text(URL),
        marking: Marking::Unmarked,
        as_read: String::new(),
    };
    let tracker = TrackerRecord {
        id: text("REL-1"),
        release: release(),
        state: text("Approved"),
        milestone: milestone(),
        evidence: vec![link],
        marking: Marking::Unmarked,
    };
    let cleared = step == Step::NotifyCoordinator;
    let queue = QueueRecord {
        id: text("r-1.3"),
        release_id: text("r-1"),
        review_version: text("3"),
        state: if cleared { Progress::Done(text("Cleared")) } else { Progress::ToDo(text("Pending")) },
        marking: Marking::Unmarked,
    };
    let at = || Revision(text(revision.unwrap_or("1")));
    let mut snapshot = Snapshot::default();
    for sighting in [
        Sighting::Governance(Observation::Found(review, at())),
        Sighting::Archive(Observation::Found(bundle, at())),
        Sighting::Checklist(Observation::Found(checklist, at())),
        Sighting::Tracker(Observation::Found(tracker, at())),
        Sighting::Queue(Observation::Found(queue, at())),
    ] {
        snapshot.take(sighting, 0);
    }
    let now = "2026-11-22T12:00:00Z".parse().expect("a time");
    let facts = Facts { accepted: &accepted, rules: &rules, ledger: &ledger, snapshot: &snapshot, now };
    verify(facts, "uid-9", step).expect("it all agrees")
}
