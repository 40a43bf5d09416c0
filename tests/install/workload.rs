//! The operator's Pods as they are shipped: let in by a real API server where Pods are restricted, without a warning, and with
//! nothing that a linter finds and that is not explained here.

use crate::rendered::everything;
use crate::support::controlplane::{ControlPlane, eventually, repository};
use crate::systems;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::OnceLock;

pub const SYSTEM: &str = "releaseclosure-system";

/// An API server where the one command of the README was run. A warning of the server fails it.
fn installed() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let plane = ControlPlane::start();
        let everything = repository(".").display().to_string();
        plane.kubectl(&["apply", "--server-side", "--warnings-as-errors", "-k", &everything]);
        plane
    })
}

fn json_of(args: &[&str]) -> Value {
    let text = installed().kubectl(&[&["-n", SYSTEM, "get", "-o", "json"], args].concat());
    serde_json::from_str(&text).unwrap()
}

#[test]
fn two_pods_are_let_in_where_pods_are_restricted() {
    let labels = &json_of(&["namespace", SYSTEM])["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    eventually("two pods", || json_of(&["pods"])["items"].as_array().unwrap().len() == 2);
    for pod in json_of(&["pods"])["items"].as_array().unwrap() {
        let spec = &pod["spec"];
        // What the server worked out from the class.
        assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(100_000), &json!("Never")));
        assert_eq!(tokens(pod), 1);
        assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
        let writable = spec["volumes"].as_array().unwrap().iter().any(|volume| volume.get("projected").is_none());
        assert!(!writable, "{spec:#}");
    }
    // What failed in the server's first moments was tried again.
    let conditions = || json_of(&["deployment", "releaseclosure-operator"])["status"]["conditions"].to_string();
    eventually("no failure", || !conditions().contains("ReplicaFailure"));
}

/// How many tokens of the API server the Pod has.
pub fn tokens(pod: &Value) -> usize {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let sources = volumes.flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
    sources.filter(|source| source.get("serviceAccountToken").is_some()).count()
}

/// A Pod like the Deployment's, changed; the server is asked, and nothing is made.
fn a_pod(change: impl FnOnce(&mut Value)) -> crate::support::controlplane::Ran {
    let deployment = json_of(&["deployment", "releaseclosure-operator"]);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": SYSTEM},
        "spec": deployment["spec"]["template"]["spec"],
    });
    change(&mut pod["spec"]);
    eventually("the account", || {
        installed().try_kubectl(&["-n", SYSTEM, "get", "serviceaccount", "releaseclosure-operator"]).ok
    });
    installed().try_kubectl_with(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &pod.to_string())
}

#[test]
fn nothing_of_what_makes_it_restricted_could_be_left_out() {
    a_pod(|_| ()).out();
    for path in ["/securityContext/runAsNonRoot", "/securityContext/seccompProfile"] {
        let refusal = a_pod(|spec| *spec.pointer_mut(path).expect("it is set") = Value::Null).refusal();
        assert!(refusal.contains("violates PodSecurity \"restricted"), "{path}: {refusal}");
    }
    for path in ["/allowPrivilegeEscalation", "/capabilities"] {
        let whole = format!("/containers/0/securityContext{path}");
        let refusal = a_pod(|spec| *spec.pointer_mut(&whole).expect("it is set") = Value::Null).refusal();
        assert!(refusal.contains("violates PodSecurity \"restricted"), "{path}: {refusal}");
    }
}

#[test]
fn a_pod_of_the_account_that_asks_for_no_token_gets_none() {
    let pod = a_pod(|spec| spec["automountServiceAccountToken"] = Value::Null).out();
    assert_eq!(tokens(&serde_json::from_str(&pod).unwrap()), 0);
}

/// What kube-score would have otherwise, and why it is not so.
const WAIVED: [(&str, &str); 5] = [
    ("container-resources", "a CPU limit would slow the renewal of the lease, and with it cost the leadership"),
    ("container-resource-requests-equal-limits", "what it takes at rest is asked for; a burst may take what is free"),
    ("container-cpu-requests-equal-limits", "the same"),
    ("container-memory-requests-equal-limits", "the same"),
    ("container-image-pull-policy", "the tag names one build, and a node may start it while the registry is away"),
];

#[test]
fn a_linter_finds_what_is_waived_here_and_nothing_else() {
    let Some(linter) = systems::require("kube-score") else { return };
    let linter = linter.join("bin/kube-score");
    let file = installed().kubeconfig().with_file_name("manifests.yaml");
    let waived: BTreeSet<String> = WAIVED.iter().map(|(check, _)| (*check).to_owned()).collect();
    for (whose, manifests) in everything() {
        std::fs::write(&file, &manifests).unwrap();
        assert_eq!(findings(&linter, &file), waived, "{whose}");
        // It sees what it should: a root that can be written is found, of either Pod.
        let line = "readOnlyRootFilesystem: true";
        let places: Vec<usize> = manifests.match_indices(line).map(|(place, _)| place).collect();
        assert_eq!(places.len(), 2, "{whose}");
        for place in places {
            let mut other = manifests.clone();
            other.replace_range(place..place + line.len(), "readOnlyRootFilesystem: false");
            std::fs::write(&file, other).unwrap();
            let more = findings(&linter, &file);
            let more: Vec<_> = more.difference(&waived).collect();
            assert_eq!(more, ["container-security-context-readonlyrootfilesystem"], "{whose}");
        }
    }
}

/// The checks that do not have full marks.
fn findings(linter: &std::path::Path, file: &std::path::Path) -> BTreeSet<String> {
    let args = ["score", "--all-default-optional", "--output-format=json", "--kubernetes-version=v1.33"];
    let ran = Command::new(linter).args(args).arg(file).output().expect("kube-score runs");
    let objects: Vec<Value> = serde_json::from_slice(&ran.stdout).expect("its output is JSON");
    assert!(objects.iter().any(|object| object["object_meta"]["name"] == "releaseclosure-operator"), "{objects:?}");
    let checks = objects.iter().flat_map(|object| object["checks"].as_array().into_iter().flatten());
    let bad = checks.filter(|check| check["skipped"] != true && check["grade"].as_i64() < Some(10));
    bad.map(|check| check["check"]["id"].as_str().unwrap().to_owned()).collect()
}
