//! What a closure needs and is not there: it waits, says for what, asks no system anything, and goes on by itself.

use crate::operators::plane;
use crate::releases::{self, Edit, Release};
use crate::stage::{OPEN_SECRETS, PATIENCE, Setup, Stage, condition, outcomes, ready};
use kube::ResourceExt;
use kube::api::DeleteParams;
use releaseclosure::sandbox::Role;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const RELEASE: Release = Release(1);

async fn stage(name: &str, policy: Value) -> Stage {
    Stage::with(name, Setup { seed: releases::seed(2), policy, ..Setup::default() }).await
}

fn impatient() -> Value {
    Setup::default().policy
}

pub async fn kubectl(args: &[&str]) -> String {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    tokio::task::spawn_blocking(move || plane().kubectl(&args.iter().map(String::as_str).collect::<Vec<_>>()))
        .await
        .unwrap()
}

/// It waits for this reason, no system was asked for its records, and nothing is latched.
pub async fn waits_without_a_request(stage: &Stage, reason: &str) {
    let closure = stage.waiting(&RELEASE.name(), reason).await;
    assert_eq!(ready(&closure), ("False".to_owned(), "ProgressingWithRetry".to_owned()));
    assert_eq!(condition(&closure, "Stalled"), None);
    assert!(closure.status.unwrap().halt.is_none());
    stage.quiet(Duration::from_secs(1)).await;
    assert_eq!(stage.requests(), Vec::<String>::new());
    assert!(stage.all_packets().await.is_empty());
}

async fn closes(stage: &Stage) {
    let closure = stage.closed(&RELEASE.name()).await;
    assert_eq!(outcomes(&closure), ["Changed"; 5]);
    assert!(closure.status.unwrap().retry.is_none(), "it waits for nothing any more");
    assert_eq!(RELEASE.deliveries(stage), 1);
}

#[tokio::test]
async fn a_service_that_the_playbook_does_not_allow_waits_until_it_does() {
    let stage = stage("waits-service", impatient()).await;
    stage.patch_spec("closureplaybook", "engineering-release", json!({"services": ["another"]})).await;
    stage.judged("closureplaybook", "engineering-release").await;
    stage.create(&RELEASE.closure(&stage)).await;
    waits_without_a_request(&stage, "ServiceNotAllowed").await;
    let services = json!({"services": ["another", RELEASE.fill("{service}")]});
    stage.patch_spec("closureplaybook", "engineering-release", services).await;
    closes(&stage).await;
}

#[tokio::test]
async fn a_playbook_that_is_not_there_is_waited_for() {
    let stage = stage("waits-playbook", impatient()).await;
    let known = stage.all("closureplaybook").get("engineering-release").await.unwrap();
    let known = serde_json::to_value(&known).unwrap();
    let mut closure = RELEASE.closure(&stage);
    closure["spec"]["playbookRef"]["name"] = json!("late-playbook");
    stage.create(&closure).await;
    waits_without_a_request(&stage, "PlaybookNotFound").await;
    let late = json!({"apiVersion": known["apiVersion"], "kind": known["kind"], "spec": known["spec"],
        "metadata": {"name": "late-playbook", "namespace": stage.namespace}});
    stage.apply(vec![late]).await;
    closes(&stage).await;
}

#[tokio::test]
async fn a_connection_that_is_not_there_is_waited_for() {
    let stage = stage("waits-connection", impatient()).await;
    stage.all("systemconnection").delete("queue", &DeleteParams::default()).await.unwrap();
    stage.until_reason("closureplaybook", "engineering-release", "ConnectionNotFound").await;
    stage.create(&RELEASE.closure(&stage)).await;
    waits_without_a_request(&stage, "ConnectionNotFound").await;
    stage.apply(vec![stage.connection("queue", "Queue", &Setup::default())]).await;
    closes(&stage).await;
    stage.until_reason("closureplaybook", "engineering-release", "Ready").await;
}

#[tokio::test]
async fn a_connection_that_is_not_allowed_in_its_role_is_not_used() {
    let stage = stage("waits-role", impatient()).await;
    stage.patch_spec("systemconnection", "tracker", json!({"allowedRoles": ["Checklist"]})).await;
    stage.until_reason("closureplaybook", "engineering-release", "RoleNotAllowed").await;
    stage.sandbox().clear_requests();
    stage.create(&RELEASE.closure(&stage)).await;
    waits_without_a_request(&stage, "RoleNotAllowed").await;
    stage.patch_spec("systemconnection", "tracker", json!({"allowedRoles": ["Checklist", "Tracker"]})).await;
    closes(&stage).await;
}

/// Secrets are not watched: what is put right is noticed by the connection's next probe, a minute later at most.
#[tokio::test]
async fn a_secret_that_is_missing_or_may_not_be_read_is_waited_for() {
    let stage = stage("waits-secret", impatient()).await;
    let secret = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": stage.namespace},
            "stringData": {"token": "another-token"}})
    };
    let role = |names: &[&str]| {
        json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"]}]})
            .to_string()
    };
    // One Secret may be read and is not there, another is there and may not be read.
    let namespace = stage.namespace.as_str();
    let may = role(&["sandbox-token", "missing"]);
    kubectl(&["-n", namespace, "patch", "role", OPEN_SECRETS.1, "--type=merge", "-p", &may]).await;
    stage.apply(vec![secret("closed")]).await;
    let using = |name: &str| json!({"http": {"tokenSecretRef": {"name": name}}});
    stage.patch_spec("systemconnection", "archive", using("missing")).await;
    stage.patch_spec("systemconnection", "queue", using("closed")).await;
    stage.until_reason("systemconnection", "archive", "SecretNotFound").await;
    stage.until_reason("systemconnection", "queue", "SecretForbidden").await;
    let queue = stage.all("systemconnection").get("queue").await.unwrap();
    let message = queue.data["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("open-namespace-secrets"), "what to apply: {message}");

    stage.create(&RELEASE.closure(&stage)).await;
    waits_without_a_request(&stage, "ConnectionNotReady").await;
    stage.apply(vec![secret("missing")]).await;
    let may = role(&["sandbox-token", "missing", "closed"]);
    kubectl(&["-n", namespace, "patch", "role", OPEN_SECRETS.1, "--type=merge", "-p", &may]).await;
    closes(&stage).await;
}

fn with_grace(grace: &str) -> Value {
    json!({"missingGracePeriod": grace, "retry": {"initial": "200ms", "max": "400ms"}})
}

/// Takes a release's record away, to be put back later.
fn take(stage: &Stage, role: Role) -> Value {
    let record = stage.record(role, &RELEASE.record(role));
    RELEASE.apply(stage, &Edit::Remove(role));
    record
}

#[tokio::test]
async fn a_record_that_appears_within_the_grace_period_is_no_finding() {
    for (index, role) in
        [Role::Governance, Role::Archive, Role::Checklist, Role::Tracker, Role::Queue].into_iter().enumerate()
    {
        let stage = stage(&format!("waits-grace-{index}"), with_grace("1h")).await;
        let closure = RELEASE.closure(&stage);
        let record = take(&stage, role);
        stage.create(&closure).await;
        let first = stage.waiting(&RELEASE.name(), "RecordMissing").await;
        let retry = serde_json::to_value(&first.status.as_ref().unwrap().retry).unwrap();
        assert_eq!(retry["waitingFor"], json!([role.name()]));
        assert_eq!(retry["missingSince"].as_object().unwrap().keys().collect::<Vec<_>>(), [role.name()]);
        // It is looked for again and again, and that is not written down each time.
        let start = Instant::now();
        while stage.count("GET", role.name()) < 5 {
            assert!(start.elapsed() < PATIENCE, "{:?}", stage.requests());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let later = stage.get(&RELEASE.name()).await;
        assert_eq!(later.resource_version(), first.resource_version(), "{role}: a status write per retry");
        assert!(stage.writes().is_empty());
        stage.sandbox().put(role, &RELEASE.record(role), record);
        closes(&stage).await;
    }
}

#[tokio::test]
async fn a_record_that_does_not_appear_within_the_grace_period_is_a_finding() {
    let stage = stage("waits-grace-over", with_grace("8s")).await;
    take(&stage, Role::Checklist);
    stage.create(&RELEASE.closure(&stage)).await;
    stage.waiting(&RELEASE.name(), "RecordMissing").await;
    let (closure, packet) = stage.halted(&RELEASE.name()).await;
    assert_eq!(packet.spec.cause.as_str(), "RecordMissing");
    assert_eq!(packet.spec.findings.len(), 1);
    assert_eq!(packet.spec.findings[0].system.as_str(), "checklist");
    assert!(closure.status.unwrap().retry.is_none());
    assert!(stage.writes().is_empty());
}

#[tokio::test]
async fn another_finding_halts_within_the_grace_period() {
    let stage = stage("waits-grace-other", with_grace("1h")).await;
    take(&stage, Role::Checklist);
    RELEASE.apply(&stage, &Edit::Patch(Role::Governance, json!({"state": "Reopened"})));
    stage.create(&RELEASE.closure(&stage)).await;
    let (_, packet) = stage.halted(&RELEASE.name()).await;
    let found: Vec<_> = packet.spec.findings.iter().map(|finding| finding.reason.as_str()).collect();
    assert_eq!(found, ["SourceNotAccepted"], "what is missing within its grace is no finding yet");
}

#[tokio::test]
async fn a_record_that_was_found_before_has_no_grace_period() {
    let looked_at_again = [
        (Role::Governance, "RecordMissing"),
        (Role::Archive, "EvidenceMissing"),
        (Role::Tracker, "RecordMissing"),
        (Role::Queue, "RecordMissing"),
    ];
    for (index, (role, reason)) in looked_at_again.into_iter().enumerate() {
        let stage = stage(&format!("waits-grace-gone-{index}"), with_grace("1h")).await;
        let edit = json!({"role": role.name(), "record": RELEASE.record(role), "delete": true});
        stage.fault(json!({"match": {"role": "checklist", "method": "PATCH"}, "action": {"edit": edit}}));
        stage.create(&RELEASE.closure(&stage)).await;
        let (_, packet) = stage.halted(&RELEASE.name()).await;
        assert_eq!(packet.spec.cause.as_str(), reason, "{role}");
        assert_eq!(RELEASE.deliveries(&stage), 0);
    }
}
