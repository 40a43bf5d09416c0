//! What people, pipelines and the operator are told when they try.

use crate::cluster::{
    HALT, INSTALLING, Objects, closure, cluster, connection, eventually, examples, namespace, packet, playbook,
};
use crate::roles::{OPERATOR, may};
use crate::support::controlplane::repository;
use serde_json::json;

/// Binds a role; the server has heard of it.
async fn bind(namespace: &str, role: &str, user: &str) {
    let (clusterrole, subject) = (format!("--clusterrole={role}"), format!("--user={user}"));
    cluster().kubectl(&["-n", namespace, "create", "rolebinding", &format!("{user}-{role}"), &clusterrole, &subject]);
    let verb = if role == "releaseclosure-submitter" { "create" } else { "list" };
    let may = async || may(user, verb, "releaseclosure.io", "releaseclosures", namespace, None).await;
    eventually(&format!("{user} is bound to {role}"), may).await;
}

#[tokio::test]
async fn a_pipeline_submits_and_no_more() {
    let namespace = namespace("pipeline");
    bind(namespace, "releaseclosure-submitter", "pipeline").await;
    let objects = |kind| Objects::of_user(kind, namespace, Some("pipeline"));
    objects("ReleaseClosure").await.create(&closure("mine")).await.expect("this is what it is for");
    for (kind, object) in [
        ("ClosurePlaybook", playbook("mine")),
        ("SystemConnection", connection("mine")),
        ("FollowUpPacket", packet("mine", "MilestoneRenamed")),
    ] {
        let refusal = objects(kind).await.create(&object).await.expect_err(kind);
        assert!(refusal.contains("forbidden"), "{refusal}");
    }
    Objects::of("FollowUpPacket", namespace).await.create(&packet("p", "MilestoneRenamed")).await.unwrap();
    let resolution = json!({"spec": {"resolution": {"decision": "Resume", "haltId": HALT, "resolvedBy": "pipeline"}}});
    let args = ["-n", namespace, "--as=pipeline", "patch", "--type=merge", "-p"];
    let patch = |resource, name, patch: &str| cluster().try_kubectl(&[&args[..], &[patch, resource, name]].concat());
    let refusal = patch("followuppacket", "p", &resolution.to_string()).refusal();
    assert!(refusal.contains("forbidden"), "{refusal}");
    let status = ["-n", namespace, "--as=pipeline", "patch", "--subresource=status", "--type=merge", "-p"];
    let done = r#"{"status":{"completionTime":"2026-11-20T12:00:00Z"}}"#;
    let refusal = cluster().try_kubectl(&[&status[..], &[done, "releaseclosure", "mine"]].concat()).refusal();
    assert!(refusal.to_lowercase().contains("forbidden"), "{refusal}");
}

#[tokio::test]
async fn a_coordinator_resolves_and_connects_nothing() {
    let namespace = namespace("coordinator");
    bind(namespace, "releaseclosure-coordinator", "sam").await;
    let admin = Objects::of("FollowUpPacket", namespace).await;
    admin.create(&packet("p", "MilestoneRenamed")).await.unwrap();
    Objects::of("SystemConnection", namespace).await.create(&connection("c")).await.unwrap();
    Objects::of("ReleaseClosure", namespace).await.create(&closure("r")).await.unwrap();
    let kubectl = |args: &[&str]| cluster().try_kubectl(&[&["-n", namespace, "--as=sam"], args].concat());
    let resolution = json!({"spec": {"resolution": {"decision": "Resume", "haltId": HALT, "resolvedBy": "sam"}}});
    kubectl(&["patch", "followuppacket", "p", "--type=merge", "-p", &resolution.to_string()]).out();
    kubectl(&["patch", "releaseclosure", "r", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]).out();
    let plaintext = r#"{"spec":{"allowPlaintext":true}}"#;
    for refused in [
        kubectl(&["patch", "systemconnection", "c", "--type=merge", "-p", plaintext]),
        kubectl(&["delete", "systemconnection", "c"]),
        kubectl(&["create", "secret", "generic", "x"]),
    ] {
        let refusal = refused.refusal();
        assert!(refusal.contains("forbidden"), "{refusal}");
    }
    kubectl(&["delete", "followuppacket", "p"]).out();
}

#[tokio::test]
async fn the_operator_cannot_resolve_what_it_halted() {
    let namespace = namespace("operator");
    let packets = Objects::of_user("FollowUpPacket", namespace, Some(OPERATOR)).await;
    let mut resolved = packet("resolved", "MilestoneRenamed");
    resolved["spec"]["resolution"] = json!({"decision": "Resume", "haltId": HALT, "resolvedBy": OPERATOR});
    let refusal = packets.create(&resolved).await.expect_err("a packet that is resolved from the start");
    assert!(refusal.contains("a packet is created without a resolution"), "{refusal}");
    packets.create(&packet("p", "MilestoneRenamed")).await.expect("it makes packets");
    let resolution = resolved["spec"]["resolution"].clone();
    let refusal = packets.change("p", |object| object["spec"]["resolution"] = resolution.clone()).await;
    assert!(refusal.expect_err("and leaves them alone").contains("forbidden"));
    let args = ["-n", namespace, "--as", OPERATOR, "patch", "followuppacket", "p", "--type=merge", "-p"];
    let patch = json!({"spec": {"resolution": resolution}}).to_string();
    assert!(cluster().try_kubectl(&[&args[..], &[&patch]].concat()).refusal().contains("forbidden"));
    // Through the status, which it may write, nothing else gets in.
    let conditions = json!({"conditions": [{
        "type": "Resolved", "status": "False", "reason": "Rejected", "message": "", "lastTransitionTime": "2026-11-20T12:00:00Z"
    }]});
    let mut object = packets.get("p").await;
    object["spec"]["resolution"] = resolution;
    let written = packets.write_status("p", conditions).await.expect("it writes statuses");
    assert!(written["spec"]["resolution"].is_null() && written["status"]["conditions"][0]["type"] == "Resolved");
    let args = ["-n", namespace, "--as", OPERATOR, "delete", "followuppacket", "p"];
    assert!(cluster().try_kubectl(&args).refusal().contains("forbidden"));
}

#[tokio::test]
async fn the_operator_reads_a_secret_only_where_it_was_opened() {
    let closed = namespace("closed");
    let name = "sandbox-token";
    cluster().kubectl(&["-n", closed, "create", "secret", "generic", name, "--from-literal=token=t"]);
    let get = |namespace: &str, name: &str| {
        cluster().try_kubectl(&[
            "-n",
            namespace,
            "--as",
            OPERATOR,
            "get",
            "secret",
            name,
            "-o",
            "jsonpath={.data.token}",
        ])
    };
    assert!(get(closed, name).refusal().contains("forbidden"));

    // The examples open their namespace for the one Secret.
    examples();
    for secret in [name, "other"] {
        cluster().kubectl(&["-n", "payments", "create", "secret", "generic", secret, "--from-literal=token=t"]);
    }
    eventually("the namespace is open", async || get("payments", name).ok).await;
    assert_eq!(get("payments", name).out(), "dA==");
    assert!(get("payments", "other").refusal().contains("forbidden"));
    assert!(get(closed, name).refusal().contains("forbidden"));
    for verb in ["list", "watch", "update", "patch", "delete", "create"] {
        assert!(!may(OPERATOR, verb, "", "secrets", "payments", None).await, "{verb}");
    }
    assert!(!may(OPERATOR, "get", "", "secrets", "payments", None).await, "not without a name");
}

#[tokio::test]
async fn an_editor_submits_only_where_the_component_says_so() {
    let namespace = namespace("editors");
    bind(namespace, "edit", "ed").await;
    bind(namespace, "view", "vi").await;
    let submits = async || may("ed", "create", "releaseclosure.io", "releaseclosures", namespace, None).await;
    for user in ["ed", "vi"] {
        let reads = async || may(user, "list", "releaseclosure.io", "followuppackets", namespace, None).await;
        eventually("whoever may view a namespace reads our kinds", reads).await;
    }
    assert!(!submits().await, "not by itself");
    let _alone = INSTALLING.lock().await;
    let overlay = repository("tests/api/edit-submitter").display().to_string();
    cluster().kubectl(&["apply", "--server-side", "-k", &overlay]);
    eventually("with the component, an editor submits", submits).await;
    assert!(!may("vi", "create", "releaseclosure.io", "releaseclosures", namespace, None).await);
    assert!(!may("ed", "update", "releaseclosure.io", "followuppackets", namespace, None).await);
}
