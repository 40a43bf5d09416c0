//! What an administrator gives to the namespaces of many teams: whoever is selected may use it, and nobody else, from one
//! write to the next.

use crate::operators::{ACCOUNT, Operator, Start, own_plane};
use crate::releases::{self, Release};
use crate::stage::{Setup, Stage, condition, outcomes, ready};
use crate::waits::{kubectl, waits_without_a_request};
use releaseclosure::api::ReleaseClosure;
use releaseclosure::sandbox::{Role, Verdict};
use serde_json::{Value, json};

const RELEASE: Release = Release(1);
const OTHER: Release = Release(2);

/// The label of a test, which namespaces get or lose.
fn label(name: &str) -> Value {
    json!({"matchLabels": {format!("tenancy/{name}"): "yes"}})
}

/// A connection that plays all six roles for the namespaces that are selected. Its Secret is where the operator is.
fn connection(name: &str, selector: &Value, endpoint: &str) -> Value {
    let setup = Setup::default();
    json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ClusterSystemConnection", "metadata": {"name": name},
        "spec": {"namespaceSelector": selector, "allowPlaintext": true, "limits": setup.limits,
            "allowedRoles": ["Governance", "Archive", "Checklist", "Tracker", "Queue", "Intake"],
            "http": {"endpoint": endpoint, "delivery": setup.delivery, "tokenSecretRef": {"name": name, "key": "token"}}}})
}

/// Connection, playbook and Secret for the namespaces that `connected` and `ruled` select, all of one name.
pub fn for_many(name: &str, connected: &Value, ruled: &Value, endpoint: &str) -> Vec<Value> {
    let home = "releaseclosure-system";
    let reference = json!({"connectionRef": {"kind": "ClusterSystemConnection", "name": name}});
    let with = |more: Value| {
        let mut rules = reference.clone();
        rules.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rules
    };
    vec![
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": home},
            "stringData": {"token": "a-token-that-shall-never-show"}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": format!("secrets-{name}"), "namespace": home},
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("secrets-{name}"), "namespace": home},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": format!("secrets-{name}")},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ACCOUNT}]}),
        connection(name, connected, endpoint),
        json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ClusterClosurePlaybook", "metadata": {"name": name},
            "spec": {"namespaceSelector": ruled,
                "governance": with(json!({"acceptedStates": ["Accepted"]})),
                "archive": with(json!({"requiredArtifacts": ["rollback-notes", "sign-off", "review-packet"]})),
                "checklist": reference,
                "tracker": with(json!({"approvedState": "Approved", "approvableStates": ["InReview"]})),
                "queue": reference, "intake": reference, "policy": Setup::default().policy}}),
    ]
}

/// A release's closure under the playbook for many.
pub fn under(name: &str, mut closure: Value) -> Value {
    closure["spec"]["playbookRef"] = json!({"kind": "ClusterClosurePlaybook", "name": name});
    closure
}

async fn stage(name: &str) -> Stage {
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": "12s"});
    let stage = Stage::with(name, Setup { seed: releases::seed(2), limits, ..Setup::default() }).await;
    let all = json!({});
    stage.apply(for_many(name, &label(name), &all, &stage.handle.endpoint())).await;
    for kind in ["clustersystemconnection", "clusterclosureplaybook"] {
        stage.until_reason(kind, name, "Ready").await;
    }
    stage.sandbox().clear_requests();
    stage
}

/// Gives the label of a test to its namespace, or takes it away.
async fn give(stage: &Stage, is_given: bool) {
    let label = format!("tenancy/{}{}", stage.namespace, if is_given { "=yes" } else { "-" });
    kubectl(&["label", "namespace", &stage.namespace, &label]).await;
}

#[tokio::test]
async fn what_is_given_to_many_namespaces_is_used_where_a_label_selects_and_nowhere_else() {
    let stage = stage("tenancy-label").await;
    stage.create(&under("tenancy-label", RELEASE.closure(&stage))).await;
    waits_without_a_request(&stage, "NamespaceNotAllowed").await;
    let message = stage.get(&RELEASE.name()).await.status.unwrap().conditions;
    let message = &message.iter().find(|found| found.type_ == "Ready").unwrap().message;
    assert!(message.contains("Clustersystemconnection tenancy-label is not given to this namespace"), "{message}");

    give(&stage, true).await;
    let closure = stage.closed(&RELEASE.name()).await;
    assert_eq!(outcomes(&closure), ["Changed"; 5]);
    assert_eq!(stage.requests().len(), 15, "as many as under a playbook of its own: {:#?}", stage.requests());
    let status = closure.status.unwrap();
    assert_eq!(status.playbook.unwrap().name, "tenancy-label");

    give(&stage, false).await;
    stage.sandbox().clear_requests();
    stage.create(&under("tenancy-label", OTHER.closure(&stage))).await;
    stage.waiting(&OTHER.name(), "NamespaceNotAllowed").await;
    assert_eq!(stage.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_playbook_for_many_is_given_on_its_own_too() {
    let stage = stage("tenancy-rules").await;
    give(&stage, true).await;
    let given_to = |expressions: Value| json!({"namespaceSelector": {"matchExpressions": expressions}});
    let nobody = given_to(json!([{"key": "tenancy/none", "operator": "Exists"}]));
    stage.patch_spec("clusterclosureplaybook", "tenancy-rules", nobody).await;
    stage.judged("clusterclosureplaybook", "tenancy-rules").await;
    stage.create(&under("tenancy-rules", RELEASE.closure(&stage))).await;
    waits_without_a_request(&stage, "NamespaceNotAllowed").await;
    stage.patch_spec("clusterclosureplaybook", "tenancy-rules", given_to(Value::Null)).await;
    assert_eq!(outcomes(&stage.closed(&RELEASE.name()).await), ["Changed"; 5]);
}

#[tokio::test]
async fn a_playbook_of_a_namespace_may_name_a_system_that_is_given_to_it() {
    let stage = stage("tenancy-mixed").await;
    let tracker = json!({"tracker": {"connectionRef": {"kind": "ClusterSystemConnection", "name": "tenancy-mixed"}}});
    stage.patch_spec("closureplaybook", "engineering-release", tracker).await;
    stage.until_reason("closureplaybook", "engineering-release", "NamespaceNotAllowed").await;
    give(&stage, true).await;
    stage.until_reason("closureplaybook", "engineering-release", "Ready").await;
    stage.create(&RELEASE.closure(&stage)).await;
    assert_eq!(outcomes(&stage.closed(&RELEASE.name()).await), ["Changed"; 5]);
    // A name alone does not tell them apart.
    stage
        .patch_spec(
            "closureplaybook",
            "engineering-release",
            json!({"tracker": {"connectionRef": {"kind": "SystemConnection"}}}),
        )
        .await;
    stage.until_reason("closureplaybook", "engineering-release", "ConnectionNotFound").await;
}

#[tokio::test]
async fn a_label_that_is_taken_away_in_the_middle_of_a_pass_stops_the_next_write() {
    let stage = stage("tenancy-fence").await;
    give(&stage, true).await;
    let matches = json!({"role": "checklist", "method": "PATCH", "record": RELEASE.record(Role::Checklist), "nth": 1});
    let held = stage.fault(json!({"match": matches, "action": "holdAfter"}));
    stage.create(&under("tenancy-fence", RELEASE.closure(&stage))).await;
    stage.holds(&held, 1).await;
    give(&stage, false).await;
    // The other one is seen to wait: by then the watch has brought the change.
    stage.create(&under("tenancy-fence", OTHER.closure(&stage))).await;
    stage.waiting(&OTHER.name(), "NamespaceNotAllowed").await;
    stage.sandbox().release(&held, Verdict::Release);
    let waits = |closure: &ReleaseClosure| {
        condition(closure, "Reconciling").is_some_and(|(_, reason)| reason == "NamespaceNotAllowed")
    };
    let closure = stage.wait(&RELEASE.name(), "waiting", waits).await;
    assert_eq!(RELEASE.changes(&stage), ["CloseChecklist"]);
    assert_eq!(outcomes(&closure)[0], "Changed");
    give(&stage, true).await;
    for release in [RELEASE, OTHER] {
        assert_eq!(outcomes(&stage.closed(&release.name()).await), ["Changed"; 5]);
        assert_eq!((release.changes(&stage).len(), release.deliveries(&stage)), (5, 1));
    }
}

#[tokio::test]
async fn an_operator_of_one_namespace_says_that_it_reads_nothing_of_the_cluster() {
    let setup = Setup { seed: releases::seed(1), shared: false, ..Setup::default() };
    let stage = Stage::with("tenancy-alone", setup).await;
    let _operator = stage.operator().await;
    stage.create(&under("tenancy-alone", RELEASE.closure(&stage))).await;
    let closure = stage.waiting(&RELEASE.name(), "PlaybookNotFound").await;
    assert_eq!(ready(&closure).0, "False");
    let conditions = closure.status.unwrap().conditions;
    assert!(conditions.iter().any(|found| found.message.contains("(--namespace)")), "{conditions:?}");
    assert_eq!(stage.requests(), Vec::<String>::new());
}

/// Definitions from before there were kinds for many: an operator that watches the whole cluster starts, and says what it waits for.
#[tokio::test]
async fn a_cluster_without_the_kinds_for_many_says_so_and_goes_on_with_them() {
    let plane = own_plane(&[]).await;
    plane.kubectl(&[
        "delete",
        "crd",
        "clusterclosureplaybooks.releaseclosure.io",
        "clustersystemconnections.releaseclosure.io",
    ]);
    let setup = Setup { seed: releases::seed(1), plane: Some(plane), ..Setup::default() };
    let stage = Stage::with("tenancy-before", setup).await;
    let _operator = tokio::task::spawn_blocking(|| Operator::installed(plane, Start::default()).up()).await.unwrap();
    stage.create(&RELEASE.closure(&stage)).await;
    stage.waiting(&RELEASE.name(), "SchemaOutdated").await;
    tokio::task::spawn_blocking(|| plane.install_crds()).await.unwrap();
    assert_eq!(outcomes(&stage.closed(&RELEASE.name()).await), ["Changed"; 5]);
}
