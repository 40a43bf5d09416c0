//! What is let in of the kinds for many namespaces: what their namespaced kinds let in, a selector, and nothing else.

use crate::cluster::{cluster, connection, playbook};
use releaseclosure::api::crds;
use serde_json::{Value, json};

fn schema_of_spec(plural: &str) -> Value {
    let all = crds();
    let found = all.iter().find(|definition| definition.spec.names.plural == plural).expect("a definition");
    let schema = &serde_json::to_value(found).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"].clone()
}

#[test]
fn a_kind_for_many_namespaces_is_its_namespaced_kind_and_a_selector() {
    for plural in ["closureplaybooks", "systemconnections"] {
        let (own, mut shared) = (schema_of_spec(plural), schema_of_spec(&format!("cluster{plural}")));
        assert!(shared["properties"].as_object_mut().unwrap().remove("namespaceSelector").is_some());
        assert_eq!(shared["properties"], own["properties"], "{plural}");
        shared["required"].as_array_mut().unwrap().retain(|field| field != "namespaceSelector");
        assert_eq!(shared["required"], own["required"], "{plural}");
        if plural == "systemconnections" {
            assert_eq!(shared["x-kubernetes-validations"], own["x-kubernetes-validations"]);
        }
    }
}

/// Its answer to an object that is not kept.
fn answer(object: &Value) -> Result<(), String> {
    let ran = cluster().try_kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &object.to_string());
    if ran.ok { Ok(()) } else { Err(ran.stderr) }
}

fn shared(mut object: Value, selector: Option<Value>) -> Value {
    object["kind"] = json!(format!("Cluster{}", object["kind"].as_str().unwrap()));
    object["metadata"].as_object_mut().unwrap().remove("namespace");
    if let Some(selector) = selector {
        object["spec"]["namespaceSelector"] = selector;
    }
    object
}

#[test]
fn a_selector_must_be_given_and_be_one() {
    let with = |selector: Value| answer(&shared(connection("c"), Some(selector)));
    let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    for good in [
        json!({}),
        json!({"matchLabels": {"kubernetes.io/metadata.name": "payments", "team": ""}}),
        expression("team.example.com/tier", "In", json!(["one", "two"])),
        json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}),
    ] {
        with(good.clone()).unwrap_or_else(|refusal| panic!("{good}: {refusal}"));
    }
    for (bad, why) in [
        (json!({"matchLabels": {"a b": "c"}}), "each key must be a label's"),
        (json!({"matchLabels": {"a": "-"}}), "should match"),
        (json!({"matchLabels": {"a": "x".repeat(64)}}), "may not be more than 63"),
        (expression("team", "In", json!([])), "values are given with In and NotIn, and with these alone"),
        (expression("team", "Exists", json!(["a"])), "values are given with In and NotIn, and with these alone"),
        (expression("team", "Gt", json!(["1"])), "Unsupported value"),
        (expression("/team", "In", json!(["a"])), "should match"),
        (json!({"matchNames": ["a"]}), "unknown field"),
    ] {
        let refusal = with(bad.clone()).expect_err("is no selector");
        assert!(refusal.contains(why), "{bad}: {refusal}");
    }
    let refusal = answer(&shared(connection("c"), None)).expect_err("whoever it is for must be said");
    assert!(refusal.contains("namespaceSelector: Required value"), "{refusal}");
}

#[test]
fn a_playbook_for_many_names_connections_for_many_alone() {
    let mut all = shared(playbook("p"), Some(json!({})));
    let roles = ["governance", "archive", "checklist", "tracker", "queue", "intake"];
    for role in roles {
        all["spec"][role]["connectionRef"]["kind"] = json!("ClusterSystemConnection");
    }
    answer(&all).expect("a playbook for many");
    all["spec"]["followUp"] = json!({"connectionRef": {"kind": "ClusterSystemConnection", "name": "f"}});
    answer(&all).expect("with a channel");
    for role in roles.into_iter().chain(["followUp"]) {
        let mut own = all.clone();
        own["spec"][role]["connectionRef"].as_object_mut().unwrap().remove("kind");
        let refusal = answer(&own).expect_err(role);
        assert!(refusal.contains("names connections of kind ClusterSystemConnection alone"), "{role}: {refusal}");
    }
}
