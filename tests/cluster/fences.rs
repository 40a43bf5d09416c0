//! What changes on the Kubernetes side in the middle of a pass: no write goes out for an object, under rules or through
//! a connection that are not any more what the pass began with.
//!
//! The reply to the first write is held while the change is made and the operator is seen to know of it.

use crate::releases::{self, Edit, Release};
use crate::stage::{Setup, Stage, condition, outcomes, ready};
use releaseclosure::sandbox::{Role, Verdict};
use serde_json::{Value, json};
use std::time::Duration;

/// The one that is held, and one that is worked on after the change: by then the watch has brought it.
const RELEASE: Release = Release(1);
const CANARY: Release = Release(2);

/// A stage on which the first release's checklist is closed, and the reply held.
async fn midway(name: &str) -> (Stage, String) {
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": "12s"});
    let stage = Stage::with(name, Setup { seed: releases::seed(2), limits, ..Setup::default() }).await;
    let matches = json!({"role": "checklist", "method": "PATCH", "record": RELEASE.record(Role::Checklist), "nth": 1});
    let held = stage.fault(json!({"match": matches, "action": "holdAfter"}));
    stage.create(&RELEASE.closure(&stage)).await;
    stage.holds(&held, 1).await;
    (stage, held)
}

async fn patch(stage: &Stage, kind: &str, name: &str, spec: Value) {
    stage.patch_spec(kind, name, spec).await;
    stage.judged(kind, name).await;
}

/// Closes another one; its watch event came behind the change's.
async fn canary(stage: &Stage) {
    stage.create(&CANARY.closure(stage)).await;
    stage.closed(&CANARY.name()).await;
}

#[tokio::test]
async fn a_suspension_in_the_middle_of_a_pass_stops_the_next_write() {
    let (stage, held) = midway("fences-suspend").await;
    stage.patch(&RELEASE.name(), json!({"spec": {"suspend": true}})).await;
    canary(&stage).await;
    stage.sandbox().release(&held, Verdict::Release);
    let suspended = |closure: &releaseclosure::api::ReleaseClosure| ready(closure).1 == "Suspended";
    let closure = stage.wait(&RELEASE.name(), "suspended", suspended).await;
    assert_eq!(RELEASE.changes(&stage), ["CloseChecklist"]);
    // What had been done is a fact, and is recorded.
    assert_eq!(outcomes(&closure)[0], "Changed");
    stage.quiet(Duration::from_secs(2)).await;
    stage.patch(&RELEASE.name(), json!({"spec": {"suspend": false}})).await;
    assert_eq!(outcomes(&stage.closed(&RELEASE.name()).await), ["Changed"; 5]);
    assert_eq!(RELEASE.changes(&stage).len(), 5);
}

#[tokio::test]
async fn a_deletion_in_the_middle_of_a_pass_stops_the_next_write_and_the_next_object_goes_on() {
    let (stage, held) = midway("fences-delete").await;
    stage.delete(&RELEASE.name()).await;
    canary(&stage).await;
    stage.sandbox().release(&held, Verdict::Release);
    // Passes over one closure never overlap: had the first made any other change, the second would find it done.
    stage.create(&RELEASE.closure(&stage)).await;
    let closure = stage.closed(&RELEASE.name()).await;
    assert_eq!(outcomes(&closure), ["AlreadyDone", "Changed", "Changed", "Changed", "Changed"]);
    assert_eq!(RELEASE.changes(&stage).len(), 5);
    assert_eq!(RELEASE.deliveries(&stage), 1);
}

#[tokio::test]
async fn new_rules_in_the_middle_of_a_pass_are_verified_from_the_start() {
    let (stage, held) = midway("fences-playbook").await;
    let strict = json!({"archive": {"requiredArtifacts": ["sign-off", "threat-model"]}});
    patch(&stage, "closureplaybook", "engineering-release", strict).await;
    stage.sandbox().release(&held, Verdict::Release);
    let (closure, packet) = stage.halted(&RELEASE.name()).await;
    assert_eq!(RELEASE.changes(&stage), ["CloseChecklist"]);
    assert_eq!(outcomes(&closure), ["Changed", "Pending", "Pending", "Pending", "Pending"]);
    assert_eq!(packet.spec.cause.as_str(), "ArtifactMissing");
    assert_eq!(packet.spec.findings[0].expected, "threat-model");

    // With the artifact there, and the halt resolved, it closes under the new rules.
    let artifact = |kind: &str| json!({"name": kind, "kind": kind, "digest": "sha256:1", "url": "{url}/a"});
    let artifacts = json!({"artifacts": [artifact("sign-off"), artifact("threat-model")]});
    RELEASE.apply(&stage, &Edit::Patch(Role::Archive, artifacts));
    stage.resolve(&packet, "Resume", None).await;
    let status = stage.closed(&RELEASE.name()).await.status.unwrap();
    assert_eq!(status.playbook.unwrap().generation, 2);
}

#[tokio::test]
async fn a_connection_that_changes_in_the_middle_of_a_pass_is_not_used_as_it_was() {
    let (stage, held) = midway("fences-connection").await;
    patch(&stage, "systemconnection", "tracker", json!({"limits": {"concurrency": 2}})).await;
    stage.sandbox().release(&held, Verdict::Release);
    let closure = stage.closed(&RELEASE.name()).await;
    assert_eq!(outcomes(&closure), ["Changed"; 5]);
    assert!(condition(&closure, "Reconciling").is_none());
    let steps = closure.status.unwrap().steps;
    let generations: Vec<_> = steps.iter().map(|step| step.connection.as_ref().unwrap().generation).collect();
    // Each step names the connection as it was when the step was made.
    assert_eq!(generations, [1, 2, 2, 1, 1]);
    assert_eq!(RELEASE.changes(&stage).len(), 5);
}
