//! What a person has done before the operator comes: every subset of the four changes, and the announcement.

use crate::releases::{self, Edit, Release};
use crate::stage::{Setup, Stage, outcomes};
use kube::ResourceExt;
use releaseclosure::sandbox::{Role, Settings};
use serde_json::{Value, json};
use std::time::Duration;

const STEPS: [&str; 5] = ["CloseChecklist", "ApproveTracker", "AttachEvidence", "ClearQueueEntry", "NotifyCoordinator"];

/// A subset of the four changes, as bits in the order of the steps.
#[derive(Clone, Copy)]
struct Subset(usize);

impl Subset {
    const ALL: usize = 16;

    fn has(self, step: usize) -> bool {
        self.0 & (1 << step) != 0
    }

    /// Makes these changes by hand, with this marker on what they change.
    fn make(self, stage: &Stage, release: Release, closure: &Value) {
        let link = json!({"bundle": "load/{n}/rv1", "digest": "{digest}", "url": "{url}", "closure": closure});
        let edits = [
            Edit::Patch(Role::Checklist, json!({"state": "Closed", "closure": closure})),
            Edit::Patch(Role::Tracker, json!({"state": "Approved", "closure": closure})),
            Edit::Patch(Role::Tracker, json!({ "evidence": [link] })),
            Edit::Patch(Role::Queue, json!({"state": "Cleared", "closure": closure})),
        ];
        edits.iter().enumerate().filter(|(step, _)| self.has(*step)).for_each(|(_, edit)| release.apply(stage, edit));
    }

    /// The outcomes where what was found done is called `found`.
    fn outcomes(self, found: &'static str) -> Vec<&'static str> {
        let four = (0..4).map(|step| if self.has(step) { found } else { "Changed" });
        four.chain(["Changed"]).collect()
    }

    /// The changes that are left to the operator.
    fn left(self) -> Vec<&'static str> {
        (0..5).filter(|step| !self.has(*step)).map(|step| STEPS[step]).collect()
    }

    /// What a closure costs then: five looks, each change, the source before each change but one that follows the looks
    /// at once, and before the queue entry is cleared archive and tracker where nothing confirmed them since the last
    /// change.
    fn budget(self) -> usize {
        let before_clearing: Vec<usize> = (0..3).filter(|step| !self.has(*step)).collect();
        let records = self.left().len() - 1;
        let source = records.saturating_sub(1) + 1;
        let clears = !self.has(3) && !before_clearing.is_empty();
        let tracker = clears && before_clearing == [0];
        5 + records + 1 + source + usize::from(clears) + usize::from(tracker)
    }
}

async fn stage(name: &str, count: usize, delivery: &'static str) -> Stage {
    Stage::with(name, Setup { seed: releases::seed(count), delivery, ..Setup::default() }).await
}

/// Closes every subset at once and checks each: one notification, the designed outcomes, no change made twice.
async fn close_all(stage: &Stage, found: &'static str) {
    let subsets = (0..Subset::ALL).map(|bits| (Subset(bits), Release(bits + 1)));
    for (_, release) in subsets.clone() {
        stage.create(&release.closure(stage)).await;
    }
    for (subset, release) in subsets {
        let closure = stage.closed(&release.name()).await;
        assert_eq!(outcomes(&closure), subset.outcomes(found), "{:04b}", subset.0);
        assert_eq!(release.changes(stage), subset.left(), "{:04b}", subset.0);
        assert_eq!(release.requests(stage).len(), subset.budget(), "{:04b}", subset.0);
        assert_eq!(release.deliveries(stage), 1, "{:04b}", subset.0);
        // What was found done has no state before a change of ours; what we changed has.
        for (step, record) in closure.status.as_ref().unwrap().steps[..4].iter().enumerate() {
            assert_eq!(record.before.is_none(), subset.has(step), "{:04b} {:?}", subset.0, record.name);
            assert!(record.after.is_some(), "{:04b} {:?}", subset.0, record.name);
        }
        check_records(stage, release, closure.uid().unwrap(), subset);
    }
    assert_eq!(stage.sandbox().deliveries().len(), Subset::ALL);
    stage.quiet(Duration::from_secs(1)).await;
}

/// The records show all four changes, and our marker on exactly those that are ours.
fn check_records(stage: &Stage, release: Release, uid: String, subset: Subset) {
    let record = |role| stage.record(role, &release.record(role));
    let (checklist, tracker, queue) = (record(Role::Checklist), record(Role::Tracker), record(Role::Queue));
    assert_eq!([&checklist["state"], &tracker["state"], &queue["state"]], ["Closed", "Approved", "Cleared"]);
    let links = tracker["evidence"].as_array().unwrap();
    assert_eq!(links.len(), 1, "{:04b}", subset.0);
    if !stage.sandbox().settings().checklist.markers {
        return;
    }
    let ours = json!({"key": release.key(), "uid": uid});
    let closures = [&checklist["closure"], &tracker["closure"], &links[0]["closure"], &queue["closure"]];
    for (step, closure) in closures.into_iter().enumerate() {
        assert_eq!(*closure == ours, !subset.has(step), "{:04b} {}", subset.0, STEPS[step]);
    }
}

#[tokio::test]
async fn every_subset_of_the_four_changes_may_be_done_already() {
    let stage = stage("already", Subset::ALL, "IdempotencyKey").await;
    for bits in 0..Subset::ALL {
        Subset(bits).make(&stage, Release(bits + 1), &json!(null));
    }
    close_all(&stage, "AlreadyDone").await;
}

#[tokio::test]
async fn what_an_earlier_object_of_the_same_closure_did_is_done_already() {
    let stage = stage("already-earlier", Subset::ALL, "IdempotencyKey").await;
    for bits in 0..Subset::ALL {
        let closure = json!({"key": "{key}", "uid": "of-an-earlier-object"});
        Subset(bits).make(&stage, Release(bits + 1), &closure);
    }
    close_all(&stage, "AlreadyDone").await;
}

#[tokio::test]
async fn where_systems_carry_no_markers_what_was_found_done_is_unconfirmed() {
    let stage = stage("already-unmarked", Subset::ALL, "IdempotencyKey").await;
    let mut settings = Settings::default();
    settings.checklist.markers = false;
    settings.tracker.markers = false;
    settings.queue.markers = false;
    stage.sandbox().set_settings(settings);
    for bits in 0..Subset::ALL {
        Subset(bits).make(&stage, Release(bits + 1), &json!(null));
    }
    close_all(&stage, "Unconfirmed").await;
}

/// The handoff that the closure of a release makes.
fn handoff(release: Release) -> Value {
    let body = json!({"releaseId": "load-{n}", "reviewVersion": "{v}", "service": "{service}", "closureKey": "{key}",
        "coordinator": "coordinators-{n}", "links": [{"rel": "evidence", "url": "{url}"}]});
    release.fill_in(&body)
}

fn announce_by_hand(stage: &Stage, release: Release, body: &Value) {
    let kept = json!({"key": release.key(), "receivedAt": "2026-11-20T10:00:00Z", "handoff": body});
    stage.sandbox().put(Role::Intake, &release.key(), kept);
}

#[tokio::test]
async fn an_announcement_that_is_there_already_is_not_made_twice() {
    let stage = stage("already-announced", 2, "IdempotencyKey").await;
    for (release, subset) in [(Release(1), Subset(0)), (Release(2), Subset(15))] {
        subset.make(&stage, release, &json!(null));
        announce_by_hand(&stage, release, &handoff(release));
        stage.create(&release.closure(&stage)).await;
        let closure = stage.closed(&release.name()).await;
        assert_eq!(outcomes(&closure)[4], "AlreadyDone");
        assert_eq!(release.requests(&stage).len(), subset.budget());
    }
    assert_eq!(stage.sandbox().deliveries(), [], "the intake took one more");
}

#[tokio::test]
async fn an_intake_that_can_be_asked_is_asked_and_not_told_again() {
    let stage = stage("already-looked-up", 2, "Lookup").await;
    for (release, subset) in [(Release(1), Subset(0)), (Release(2), Subset(15))] {
        subset.make(&stage, release, &json!(null));
        announce_by_hand(&stage, release, &handoff(release));
        stage.create(&release.closure(&stage)).await;
        let closure = stage.closed(&release.name()).await;
        assert_eq!(outcomes(&closure)[4], "AlreadyDone");
    }
    assert_eq!(stage.count("POST", "intake"), 0);
    assert_eq!(stage.count("GET", "intake"), 2);
    // Everything done: the five looks and the question.
    assert_eq!(Release(2).requests(&stage).len(), 6, "{:?}", stage.requests());
}

#[tokio::test]
async fn another_handoff_under_the_same_key_halts() {
    let stage = stage("already-conflicting", 1, "IdempotencyKey").await;
    let release = Release(1);
    let mut body = handoff(release);
    body["service"] = json!("another");
    announce_by_hand(&stage, release, &body);
    stage.create(&release.closure(&stage)).await;
    let (closure, packet) = stage.halted(&release.name()).await;
    assert_eq!(outcomes(&closure), ["Changed", "Changed", "Changed", "Changed", "Pending"]);
    let found = serde_json::to_value(&packet.spec.findings).unwrap();
    assert_eq!(
        found,
        json!([{"check": "C13", "reason": "ConflictingClosure", "system": "intake", "record": release.key(), "field": "key",
            "expected": "this closure's handoff", "observed": "another handoff under this key",
            "link": "https://intake.example.com/load-00001%40RR-load-00001%40101"}])
    );
    assert_eq!(stage.record(Role::Intake, &release.key())["handoff"], body);
    assert_eq!(stage.sandbox().deliveries(), []);
    stage.quiet(Duration::from_secs(1)).await;
}
