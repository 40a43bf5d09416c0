//! Several objects of one closure: the oldest acts, the others wait their turn, and the coordinator hears of it once.

use crate::releases::{self, Release};
use crate::stage::{Setup, Stage, condition, outcomes, ready};
use crate::support::controlplane::repository;
use crate::waits::kubectl;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::time::Duration;

const RELEASE: Release = Release(1);

async fn stage(name: &str) -> Stage {
    Stage::with(name, Setup { seed: releases::seed(1), ..Setup::default() }).await
}

fn named(stage: &Stage, name: &str) -> Value {
    let mut closure = RELEASE.closure(stage);
    closure["metadata"]["name"] = json!(name);
    closure
}

/// Creates one that is younger than all before: creation times are whole seconds.
async fn create_younger(stage: &Stage, closure: &Value) -> String {
    tokio::time::sleep(Duration::from_millis(1100)).await;
    stage.create(closure).await
}

/// The tracker takes no change; what comes before is made.
fn tracker_down(stage: &Stage) -> String {
    stage.fault(json!({"match": {"role": "tracker", "method": "PATCH"}, "action": {"status": {"code": 503}}}))
}

#[tokio::test]
async fn the_older_acts_and_the_younger_finds_everything_done() {
    let stage = stage("duplicates").await;
    let down = tracker_down(&stage);
    stage.create(&named(&stage, "older")).await;
    stage.waiting("older", "TrackerUnavailable").await;
    create_younger(&stage, &named(&stage, "younger")).await;
    let younger = stage.waiting("younger", "DuplicateClosure").await;
    assert_eq!(ready(&younger), ("False".to_owned(), "ProgressingWithRetry".to_owned()));
    assert_eq!(condition(&younger, "Stalled"), None);
    // The runbook's own command tells them apart, which REASON does not.
    let page = std::fs::read_to_string(repository("docs/runbooks/closures-waiting.md")).unwrap();
    let path = page.split("-o jsonpath='").nth(1).and_then(|rest| rest.split('\'').next()).expect("a command");
    let told = kubectl(&["-n", "duplicates", "get", "releaseclosures", "-o", &format!("jsonpath={path}")]).await;
    for expected in ["duplicates/older\tTrackerUnavailable\t", "duplicates/younger\tDuplicateClosure\t"] {
        assert!(told.contains(expected), "{told}");
    }
    // Asked again, it still waits.
    stage.patch("younger", json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": "now"}}})).await;
    let heard = |closure: &releaseclosure::api::ReleaseClosure| {
        closure.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some("now"))
    };
    let younger = stage.wait("younger", "echoing", heard).await;
    assert_eq!(condition(&younger, "Reconciling").unwrap().1, "DuplicateClosure");

    stage.sandbox().remove_fault(&down);
    let older = stage.closed("older").await;
    let younger = stage.closed("younger").await;
    assert_eq!(outcomes(&older), ["Changed"; 5]);
    assert_eq!(outcomes(&younger), ["AlreadyDone"; 5]);
    assert_eq!(RELEASE.changes(&stage).len(), 5, "no change is made twice");
    assert_eq!(RELEASE.deliveries(&stage), 1);
    let ours = json!({"key": RELEASE.key(), "uid": older.uid().unwrap()});
    for role in releaseclosure::sandbox::Role::ALL.into_iter().filter(|role| role.is_written()) {
        assert_eq!(stage.record(role, &RELEASE.record(role))["closure"], ours, "{role}");
    }
}

#[tokio::test]
async fn the_younger_takes_its_turn_when_the_older_is_deleted() {
    let stage = stage("duplicates-deleted").await;
    let down = tracker_down(&stage);
    stage.create(&named(&stage, "older")).await;
    let older = stage.waiting("older", "TrackerUnavailable").await;
    assert_eq!(outcomes(&older)[0], "Changed");
    create_younger(&stage, &named(&stage, "younger")).await;
    stage.waiting("younger", "DuplicateClosure").await;
    // Suspended before the tracker is back, else a retry may come in between.
    stage.patch("older", json!({"spec": {"suspend": true}})).await;
    stage.wait("older", "suspended", |closure| ready(closure).1 == "Suspended").await;
    stage.sandbox().remove_fault(&down);
    stage.quiet(Duration::from_secs(3)).await;
    assert_eq!(condition(&stage.get("younger").await, "Reconciling").unwrap().1, "DuplicateClosure");

    stage.delete("older").await;
    let younger = stage.closed("younger").await;
    assert_eq!(outcomes(&younger), ["AlreadyDone", "Changed", "Changed", "Changed", "Changed"]);
    assert_eq!(RELEASE.changes(&stage).len(), 5, "no change is made twice");
    assert_eq!(RELEASE.deliveries(&stage), 1);
}

#[tokio::test]
async fn of_many_that_come_at_once_one_acts() {
    let stage = stage("duplicates-many").await;
    let names: Vec<String> = (0..8).map(|number| format!("twin-{number}")).collect();
    for name in &names {
        stage.create(&named(&stage, name)).await;
    }
    for name in &names {
        stage.closed(name).await;
    }
    assert_eq!(RELEASE.changes(&stage).len(), 5, "no change is made twice");
    assert_eq!(RELEASE.deliveries(&stage), 1);
}

#[tokio::test]
async fn a_plan_neither_waits_for_a_closure_nor_keeps_one_waiting() {
    let stage = stage("duplicates-plan").await;
    let mut plan = named(&stage, "plan");
    plan["spec"]["mode"] = json!("Plan");
    stage.create(&plan).await;
    stage.wait("plan", "planned", |closure| ready(closure).1 == "Planned").await;
    let down = tracker_down(&stage);
    create_younger(&stage, &named(&stage, "acting")).await;
    stage.waiting("acting", "TrackerUnavailable").await;
    plan["metadata"]["name"] = json!("second-plan");
    create_younger(&stage, &plan).await;
    let second = stage.wait("second-plan", "planned", |closure| ready(closure).1 == "Planned").await;
    let actions: Vec<_> = second.status.unwrap().plan.iter().map(|line| format!("{:?}", line.action)).collect();
    assert_eq!(actions, ["Skip", "Write", "Write", "Write", "Write"]);
    stage.sandbox().remove_fault(&down);
    assert_eq!(outcomes(&stage.closed("acting").await), ["Changed"; 5]);
}

#[tokio::test]
async fn another_version_of_the_review_is_another_closure() {
    let stage = stage("duplicates-version").await;
    let down = tracker_down(&stage);
    stage.create(&named(&stage, "first")).await;
    stage.waiting("first", "TrackerUnavailable").await;
    let mut next = named(&stage, "next");
    next["spec"]["review"]["version"] = json!("9999");
    stage.create(&next).await;
    // It is worked on, and finds that the source is not at its version.
    let (_, packet) = stage.halted("next").await;
    assert_eq!(packet.spec.cause.as_str(), "ReviewVersionConflict");
    stage.sandbox().remove_fault(&down);
    assert_eq!(outcomes(&stage.closed("first").await), ["Changed"; 5]);
    assert_eq!(stage.sandbox().deliveries().len(), 1);
}
