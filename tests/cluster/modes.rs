//! Modes: a plan that changes nothing, suspension, and a request to run now.

use crate::releases::{self, Edit, Release};
use crate::stage::{Setup, Stage, condition, is_true, outcomes, ready};
use releaseclosure::api::ReleaseClosure;
use releaseclosure::sandbox::Role;
use serde_json::{Value, json};
use std::time::Duration;

const REQUESTED_AT: &str = "releaseclosure.io/requestedAt";

async fn stage(name: &str) -> Stage {
    Stage::with(name, Setup { seed: releases::seed(1), ..Setup::default() }).await
}

/// The closure of the first release, in mode Plan.
fn plan_of(stage: &Stage) -> Value {
    let mut closure = Release(1).closure(stage);
    closure["spec"]["mode"] = json!("Plan");
    closure
}

fn renamed() -> Edit {
    Edit::Patch(Role::Tracker, json!({"milestone": {"title": "M 0"}}))
}

fn named_back() -> Edit {
    Edit::Patch(Role::Tracker, json!({"milestone": {"title": "M {n}"}}))
}

async fn planned(stage: &Stage, name: &str) -> ReleaseClosure {
    stage.wait(name, "planned", |closure| ready(closure) == ("True".to_owned(), "Planned".to_owned())).await
}

async fn ask_again(stage: &Stage, name: &str, token: &str) -> ReleaseClosure {
    stage.patch(name, json!({"metadata": {"annotations": {REQUESTED_AT: token}}})).await;
    let echoed = |closure: &ReleaseClosure| {
        closure.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some(token))
    };
    stage.wait(name, "asked again", echoed).await
}

/// Nothing was changed, nothing announced, nothing latched.
async fn unlatched(stage: &Stage, closure: &ReleaseClosure) {
    assert!(stage.writes().is_empty(), "{:?}", stage.requests());
    assert!(stage.all_packets().await.is_empty());
    let status = closure.status.as_ref().unwrap();
    assert!(status.halt.is_none() && status.completion_time.is_none() && status.trace.is_none());
    assert_eq!(condition(closure, "Reconciling"), None);
    assert!(!is_true(closure, "CoordinatorNotified"), "a gate would open");
}

fn plan(closure: &ReleaseClosure) -> Value {
    serde_json::to_value(&closure.status.as_ref().unwrap().plan).unwrap()
}

fn line(step: &str, action: &str, system: &str, record: &str, change: &str) -> Value {
    let line = json!({"step": step, "action": action, "system": system, "record": record, "change": change});
    Release(1).fill_in(&line)
}

fn whole_plan() -> Value {
    json!([
        line("CloseChecklist", "Write", "checklist", "CHK-{n}", "state: Open -> Closed"),
        line("ApproveTracker", "Write", "tracker", "REL-{n}", "state: InReview -> Approved"),
        line("AttachEvidence", "Write", "tracker", "REL-{n}", "attach load/{n}/rv1 with {digest}"),
        line("ClearQueueEntry", "Write", "queue", "Q-{n}", "state: Pending -> Cleared"),
        line("NotifyCoordinator", "Write", "intake", "{key}", "announce {key}"),
    ])
}

#[tokio::test]
async fn a_plan_says_what_would_be_done_and_does_nothing() {
    let stage = stage("modes-plan").await;
    let name = stage.create(&plan_of(&stage)).await;
    let closure = planned(&stage, &name).await;
    assert_eq!(plan(&closure), whole_plan());
    assert_eq!(condition(&closure, "Stalled"), None);
    assert!(is_true(&closure, "Aligned") && is_true(&closure, "SourceAccepted"));
    assert_eq!(condition(&closure, "ChecklistClosed").unwrap().0, "False");
    unlatched(&stage, &closure).await;
    assert_eq!(stage.requests().len(), 5, "{:?}", stage.requests());
    stage.quiet(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_plan_leaves_out_what_is_done() {
    let stage = stage("modes-plan-part").await;
    let link = json!([{"bundle": "load/{n}/rv1", "digest": "{digest}", "url": "{url}", "closure": null}]);
    Release(1).apply(&stage, &Edit::Patch(Role::Checklist, json!({"state": "Closed"})));
    Release(1).apply(&stage, &Edit::Patch(Role::Tracker, json!({ "evidence": link })));
    let name = stage.create(&plan_of(&stage)).await;
    let closure = planned(&stage, &name).await;
    let mut expected = whole_plan();
    expected[0] = line("CloseChecklist", "Skip", "checklist", "CHK-{n}", "none: Closed already");
    expected[2] = line("AttachEvidence", "Skip", "tracker", "REL-{n}", "none: attached already");
    assert_eq!(plan(&closure), expected);
    assert!(is_true(&closure, "ChecklistClosed") && !is_true(&closure, "TrackerApproved"));
    unlatched(&stage, &closure).await;
}

#[tokio::test]
async fn a_plan_that_would_halt_is_stalled_without_a_packet_and_made_anew_when_asked() {
    let stage = stage("modes-plan-stalled").await;
    Release(1).apply(&stage, &renamed());
    let name = stage.create(&plan_of(&stage)).await;
    let closure = stage.wait(&name, "stalled", |closure| is_true(closure, "Stalled")).await;
    assert_eq!(ready(&closure), ("False".to_owned(), "MilestoneRenamed".to_owned()));
    assert_eq!(condition(&closure, "Stalled").unwrap().1, "MilestoneRenamed");
    unlatched(&stage, &closure).await;
    stage.quiet(Duration::from_secs(1)).await;

    Release(1).apply(&stage, &named_back());
    let closure = ask_again(&stage, &name, "once").await;
    assert_eq!(ready(&closure), ("True".to_owned(), "Planned".to_owned()));
    assert_eq!(plan(&closure), whole_plan());
    assert_eq!(stage.requests().len(), 10, "{:?}", stage.requests());
    // The same again: it is looked at again, and the echo moves.
    let closure = ask_again(&stage, &name, "twice").await;
    assert_eq!(ready(&closure), ("True".to_owned(), "Planned".to_owned()));
    assert_eq!(stage.requests().len(), 15, "{:?}", stage.requests());
    unlatched(&stage, &closure).await;
}

#[tokio::test]
async fn a_plan_is_carried_out_when_its_mode_becomes_close() {
    let stage = stage("modes-plan-close").await;
    let name = stage.create(&plan_of(&stage)).await;
    planned(&stage, &name).await;
    stage.patch(&name, json!({"spec": {"mode": "Close"}})).await;
    let closure = stage.closed(&name).await;
    assert_eq!(plan(&closure), json!([]));
    assert_eq!(outcomes(&closure), ["Changed"; 5]);
    assert_eq!(closure.status.unwrap().observed_generation, 2);
    assert_eq!(stage.requests().len(), 5 + 15);
    assert_eq!(Release(1).deliveries(&stage), 1);
}

#[tokio::test]
async fn a_plan_verifies_anew_when_its_mode_becomes_close() {
    let stage = stage("modes-plan-halt").await;
    let name = stage.create(&plan_of(&stage)).await;
    planned(&stage, &name).await;
    Release(1).apply(&stage, &renamed());
    stage.patch(&name, json!({"spec": {"mode": "Close"}})).await;
    let (closure, packet) = stage.halted(&name).await;
    assert_eq!(packet.spec.cause.as_str(), "MilestoneRenamed");
    assert_eq!(outcomes(&closure), ["Pending"; 5]);
    assert!(stage.writes().is_empty());
}

#[tokio::test]
async fn a_suspended_closure_is_not_worked_on_until_it_is_let_go() {
    let stage = stage("modes-suspended").await;
    let mut closure = Release(1).closure(&stage);
    closure["spec"]["suspend"] = json!(true);
    let name = stage.create(&closure).await;
    let suspended = |closure: &ReleaseClosure| ready(closure) == ("Unknown".to_owned(), "Suspended".to_owned());
    let closure = stage.wait(&name, "suspended", suspended).await;
    assert!(condition(&closure, "Reconciling").is_none() && condition(&closure, "Stalled").is_none());
    assert_eq!(closure.status.unwrap().observed_generation, 1);
    let closure = ask_again(&stage, &name, "now").await;
    assert!(suspended(&closure), "{:?}", closure.status);
    stage.quiet(Duration::from_secs(1)).await;
    assert_eq!(stage.requests(), Vec::<String>::new());

    stage.patch(&name, json!({"spec": {"suspend": false}})).await;
    let closure = stage.closed(&name).await;
    assert_eq!(outcomes(&closure), ["Changed"; 5]);
    assert_eq!(stage.requests().len(), 15);
}

#[tokio::test]
async fn a_closure_is_suspended_while_it_waits_and_goes_on_from_where_it_was() {
    let stage = stage("modes-suspend-midway").await;
    // The checklist is closed; then the tracker takes no change.
    let down =
        stage.fault(json!({"match": {"role": "tracker", "method": "PATCH"}, "action": {"status": {"code": 503}}}));
    let name = stage.create(&Release(1).closure(&stage)).await;
    stage.waiting(&name, "TrackerUnavailable").await;
    stage.patch(&name, json!({"spec": {"suspend": true}})).await;
    let closure = stage
        .wait(&name, "suspended", |closure| ready(closure) == ("Unknown".to_owned(), "Suspended".to_owned()))
        .await;
    assert!(condition(&closure, "Reconciling").is_none() && condition(&closure, "Stalled").is_none());
    assert_eq!(outcomes(&closure)[0], "Changed");
    assert!(is_true(&closure, "ChecklistClosed"));
    stage.sandbox().remove_fault(&down);
    // Longer than its longest pause.
    stage.quiet(Duration::from_secs(4)).await;

    stage.patch(&name, json!({"spec": {"suspend": false}})).await;
    let closure = stage.closed(&name).await;
    assert_eq!(outcomes(&closure), ["Changed"; 5]);
    assert_eq!(Release(1).changes(&stage).len(), 5, "no change is made twice");
}

/// Everything a status says but what it answers to: generation and echo.
fn sense(closure: &ReleaseClosure) -> Value {
    let mut status = serde_json::to_value(&closure.status).unwrap();
    let fields = status.as_object_mut().unwrap();
    fields.remove("observedGeneration");
    fields.remove("lastHandledReconcileAt");
    for condition in fields["conditions"].as_array_mut().unwrap() {
        condition.as_object_mut().unwrap().remove("observedGeneration");
    }
    status
}

/// Suspends, lets go and asks again: generation and echo move, and nothing else does.
async fn only_says_that_it_heard(stage: &Stage, name: &str) {
    let before = stage.get(name).await;
    let generation = before.metadata.generation.unwrap();
    let requests = stage.requests().len();
    for (suspend, generation) in [(true, generation + 1), (false, generation + 2)] {
        stage.patch(name, json!({"spec": {"suspend": suspend}})).await;
        let answers = |closure: &ReleaseClosure| {
            closure.status.as_ref().is_some_and(|status| status.observed_generation == generation)
        };
        let closure = stage.wait(name, "answering the new generation", answers).await;
        let conditions = &closure.status.as_ref().unwrap().conditions;
        assert!(conditions.iter().all(|condition| condition.observed_generation == Some(generation)));
        if suspend {
            assert_eq!(sense(&closure), sense(&before));
            let closure = ask_again(stage, name, "suspended").await;
            assert_eq!(sense(&closure), sense(&before));
            assert_eq!(stage.requests().len(), requests, "{:?}", stage.requests());
        }
    }
}

#[tokio::test]
async fn a_halted_closure_stays_as_it_was_when_it_is_suspended_or_asked_again() {
    let stage = stage("modes-halted").await;
    Release(1).apply(&stage, &renamed());
    let name = stage.create(&Release(1).closure(&stage)).await;
    let (before, packet) = stage.halted(&name).await;
    Release(1).apply(&stage, &named_back());
    only_says_that_it_heard(&stage, &name).await;
    let closure = ask_again(&stage, &name, "now").await;
    assert_eq!(sense(&closure), sense(&before));
    stage.quiet(Duration::from_secs(1)).await;
    assert_eq!(stage.requests().len(), 5, "{:?}", stage.requests());

    stage.resolve(&packet, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert_eq!(stage.all_packets().await.len(), 1);
}

#[tokio::test]
async fn a_plan_stays_as_it_was_while_it_is_suspended() {
    let stage = stage("modes-plan-suspended").await;
    let name = stage.create(&plan_of(&stage)).await;
    let before = planned(&stage, &name).await;
    only_says_that_it_heard(&stage, &name).await;
    let closure = planned(&stage, &name).await;
    assert_eq!(plan(&closure), plan(&before));
    unlatched(&stage, &closure).await;
}
