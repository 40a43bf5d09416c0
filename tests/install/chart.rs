//! The Helm chart: what it renders is what the manifests are, its values are checked, and an uninstall takes no closure along.

use crate::rendered::{Objects, objects, with};
use crate::support::controlplane::{ControlPlane, eventually, kustomized, repository};
use crate::systems;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Helm, which knows no cluster but the one it is given.
pub struct Helm {
    binary: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// The one that is built; none where it is not, which is told.
    pub fn find() -> Option<Helm> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("helm-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        Some(Helm { binary: systems::require("helm")?.join("bin/helm"), home })
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        let chart = repository("charts/releaseclosure").display().to_string();
        let args = args.iter().map(|arg| if *arg == "CHART" { &chart } else { *arg });
        let mut command = Command::new(&self.binary);
        command.args(args).env_remove("KUBECONFIG").env("HOME", &self.home);
        let ran = command.output().expect("helm can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if ran.status.success() { Ok(text(&ran.stdout)) } else { Err(text(&ran.stdout) + &text(&ran.stderr)) }
    }

    fn template(&self, values: &[&str]) -> Result<Objects, String> {
        self.text(values).map(|text| objects(&text))
    }

    /// What the chart makes with these values, as YAML; or Helm's complaint.
    pub fn text(&self, values: &[&str]) -> Result<String, String> {
        let fixed = ["template", "r", "CHART", "--namespace=releaseclosure-system", "--kube-version=1.36.0"];
        self.run(&[&fixed, values].concat())
    }
}

impl Drop for Helm {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// How many kinds there are.
fn kinds() -> usize {
    std::fs::read_dir(repository("crds")).unwrap().count()
}

/// The chart with these values is the manifests with this component.
fn same(helm: &Helm, values: &[&str], component: Option<&str>) {
    let mut rendered = helm.template(values).unwrap();
    let mut kept = 0;
    for ((kind, ..), object) in &mut rendered {
        if kind == "CustomResourceDefinition" {
            let annotations = object["metadata"].as_object_mut().unwrap().remove("annotations");
            assert_eq!(annotations, Some(json!({"helm.sh/resource-policy": "keep"})));
            kept += 1;
        }
    }
    // With a component, beside what an installation starts with.
    let expected = component.map(|component| with(&["starter-egress", component]));
    let mut expected = objects(&expected.unwrap_or_else(|| kustomized(&repository("."))));
    // A release is in a namespace that is there already.
    let namespace = ("Namespace".to_owned(), String::new(), "releaseclosure-system".to_owned());
    assert!(expected.remove(&namespace).is_some());
    assert_eq!(kept, kinds());
    for (key, object) in &expected {
        assert_eq!(rendered.get(key), Some(object), "{key:?} of {component:?}");
    }
    assert_eq!(rendered.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{component:?}");
}

#[test]
fn chart_and_manifests_are_the_same_objects() {
    let Some(helm) = Helm::find() else { return };
    helm.run(&["lint", "--strict", "CHART"]).unwrap();
    same(&helm, &[], None);
    let components = [
        ("edit-submitter", "roles.editSubmits=true"),
        ("fill-in-resolved-by", "policies.fillInResolvedBy=true"),
        ("retention", "retention.enabled=true"),
        ("serve-feeds", "feeds.enabled=true"),
        ("shards", "shards=4"),
        ("traces", "traces.endpoint=http://otel-collector.observability.svc:4318"),
    ];
    for (component, value) in components {
        same(&helm, &["--set", value], Some(component));
    }
    // The others are for a namespace of somebody else, but for the one that is always there.
    let all = std::fs::read_dir(repository("manifests/components")).unwrap();
    let others = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let others: BTreeSet<_> = others.filter(|name| components.iter().all(|(known, _)| known != name)).collect();
    assert_eq!(others, ["open-namespace-feeds", "open-namespace-secrets", "starter-egress"].map(str::to_owned).into());
}

#[test]
fn values_that_are_wrong_are_refused_by_name() {
    let Some(helm) = Helm::find() else { return };
    for (value, complaint) in [
        ("replica=2", "replica"),
        ("replicas=two", "replicas"),
        ("shards=0", "shards"),
        ("shards=65", "shards"),
        ("image.tag=latest", "tag"),
        ("image.digest=sha256:1", "digest"),
        ("policies.resolvedBy=maybe", "resolvedBy"),
        ("openNamespaces[0].namespace=payments", "secrets"),
        // No name would be all of them.
        ("openNamespaces[0].namespace=payments,openNamespaces[0].secrets=null", "secrets"),
        ("resources.limits.memory=much", "memory"),
        ("traces.endpoint=collector:4318", "endpoint"),
        ("feeds.enabled=perhaps", "enabled"),
        ("retention.schedule=daily", "schedule"),
        ("openNamespaces[0].namespace=payments,openNamespaces[0].secrets={a},openNamespaces[0].feeds=perhaps", "feeds"),
    ] {
        let refusal = helm.template(&["--set", value]).expect_err(value);
        assert!(refusal.contains("schema") && refusal.contains(complaint), "{value}: {refusal}");
    }
    let refusal = helm.template(&["--set-json", r#"openNamespaces=[{"namespace":"payments","secrets":[]}]"#]);
    assert!(refusal.unwrap_err().contains("secrets"));
    let old = helm.run(&["template", "r", "CHART", "--kube-version=1.32.0"]).unwrap_err();
    assert!(old.contains(">=1.33"), "{old}");
}

#[test]
fn each_value_says_something() {
    let Some(helm) = Helm::find() else { return };
    let plain = helm.template(&[]).unwrap();
    let digest = format!("image.digest=sha256:{}", "a".repeat(64));
    for (values, kind, pointer, expected) in [
        ("replicas=3", "Deployment", "/spec/replicas", json!(3)),
        ("retention.enabled=true,retention.schedule=@weekly", "CronJob", "/spec/schedule", json!("@weekly")),
        ("log=debug", "Deployment", "/spec/template/spec/containers/0/env/2/value", json!("debug")),
        (
            "traces.endpoint=http://otel-collector.observability.svc:4318",
            "Deployment",
            "/spec/template/spec/containers/0/env/2",
            json!({"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel-collector.observability.svc:4318"}),
        ),
        (
            "traces.endpoint=https://traces.example.com/otlp",
            "NetworkPolicy",
            "/spec/egress",
            json!([{"ports": [{"protocol": "TCP", "port": 443}]}]),
        ),
        ("nodeSelector.disk=ssd", "Deployment", "/spec/template/spec/nodeSelector/disk", json!("ssd")),
        ("image.pullPolicy=Always", "Deployment", "/spec/template/spec/containers/0/imagePullPolicy", json!("Always")),
        (
            &*digest,
            "Deployment",
            "/spec/template/spec/containers/0/image",
            json!(format!("releaseclosure:0.1.0@sha256:{}", "a".repeat(64))),
        ),
        ("priorityClass.name=", "Deployment", "/spec/template/spec/priorityClassName", Value::Null),
        (
            "networkPolicy.egress[0].to[0].ipBlock.cidr=10.0.0.1/32",
            "NetworkPolicy",
            "/spec/egress/0/to/0/ipBlock/cidr",
            json!("10.0.0.1/32"),
        ),
        (
            "roles.editSubmits=true",
            "ClusterRole",
            "/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-edit",
            json!("true"),
        ),
    ] {
        let changed = helm.template(&["--set", values]).unwrap();
        let found = changed.iter().filter(|(key, object)| key.0 == kind && plain.get(*key) != Some(*object));
        let found: Vec<Value> = found.map(|(_, object)| object.pointer(pointer).cloned().unwrap_or_default()).collect();
        assert_eq!(found, [expected], "{values}");
    }
    let divided = helm.template(&["--set", "shards=3"]).unwrap();
    let of = |kind: &str, name: &str| &divided[&(kind.to_owned(), "releaseclosure-system".to_owned(), name.to_owned())];
    let names = [0, 1, 2].map(|shard| format!("releaseclosure-operator-shard-{shard}"));
    let named = of("Role", "releaseclosure-operator-lease")["rules"][1]["resourceNames"].as_array().unwrap();
    assert_eq!(named[1..], names.map(Value::from));
    let container = &of("Deployment", "releaseclosure-operator")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"].as_array().unwrap().last(), Some(&json!("--shards=3")));
    for (values, kind) in [
        ("podDisruptionBudget.enabled=false", "PodDisruptionBudget"),
        ("networkPolicy.enabled=false", "NetworkPolicy"),
        ("priorityClass.create=false", "PriorityClass"),
        ("policies.resolvedBy=false", "ValidatingAdmissionPolicy"),
        ("crds.install=false", "CustomResourceDefinition"),
    ] {
        let there = |objects: &Objects| objects.keys().filter(|(found, ..)| found == kind).count();
        assert!(there(&plain) > 0 && there(&helm.template(&["--set", values]).unwrap()) == 0, "{values}");
    }
    let more = helm
        .template(&[
            "--set",
            "policies.fillInResolvedBy=true,openNamespaces[0].namespace=payments,openNamespaces[0].secrets={a,b},\
             openNamespaces[0].feeds=true",
        ])
        .unwrap();
    let added: Vec<_> = more.iter().filter(|(key, _)| !plain.contains_key(*key)).collect();
    let names: Vec<_> = added.iter().map(|((kind, namespace, _), _)| (kind.as_str(), namespace.as_str())).collect();
    let expected = [
        ("MutatingAdmissionPolicy", ""),
        ("MutatingAdmissionPolicyBinding", ""),
        ("Role", "payments"),
        ("Role", "payments"),
        ("RoleBinding", "payments"),
        ("RoleBinding", "payments"),
    ];
    assert_eq!(names, expected);
    assert_eq!(added[2].1["rules"][0]["verbs"], json!(["create"]));
    assert_eq!(added[3].1["rules"][0]["resourceNames"], json!(["a", "b"]));
}

#[test]
fn an_uninstall_keeps_every_closure_and_a_new_install_finds_it() {
    let Some(helm) = Helm::find() else { return };
    let plane = ControlPlane::start();
    let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig().display());
    let own = [&*kubeconfig, "--namespace=releases"];
    plane.kubectl(&["create", "namespace", "releases"]);
    plane.kubectl(&["label", "namespace", "releases", "pod-security.kubernetes.io/enforce=restricted"]);
    plane.kubectl(&["create", "namespace", "payments"]);
    let open = "openNamespaces[0].namespace=payments,openNamespaces[0].secrets={tracker-token},\
                openNamespaces[0].feeds=true,feeds.enabled=true,retention.enabled=true,shards=2";
    helm.run(&[&["install", "r", "CHART", "--set", open], &own[..]].concat()).unwrap();
    let pods = |count: usize| {
        eventually("pods", || plane.kubectl(&["-n", "releases", "get", "pods", "-o", "name"]).lines().count() == count);
    };
    pods(2);
    helm.run(&[&["upgrade", "r", "CHART", "--set", open, "--set", "replicas=1"], &own[..]].concat()).unwrap();
    pods(1);
    // As a downgrade is made: the definitions stay as they are.
    let definitions = || plane.kubectl(&["get", "crd", "-o", "name"]).lines().count();
    helm.run(&[&["upgrade", "r", "CHART", "--set", open, "--set", "replicas=1,crds.install=false"], &own[..]].concat())
        .unwrap();
    assert_eq!(definitions(), kinds());
    let may = |verb: &str, what: &str| {
        let account = "--as=system:serviceaccount:releases:releaseclosure-operator";
        plane.try_kubectl(&["-n", "payments", "auth", "can-i", verb, what, account]).ok
    };
    assert!(may("get", "secrets/tracker-token") && !may("get", "secrets/another"));
    assert!(may("create", "releaseclosures") && !may("delete", "releaseclosures"));
    let there = plane.kubectl(&["-n", "releases", "get", "service,cronjob,networkpolicy", "-o", "name"]);
    for name in ["service/releaseclosure-feeds", "cronjob.batch/releaseclosure-pruner", "io/releaseclosure-feeds"] {
        assert!(there.contains(name), "{there}");
    }

    let closure = repository("manifests/examples/closure-clean.yaml").display().to_string();
    plane.kubectl(&["-n", "payments", "apply", "-f", &closure]);
    let before = plane.kubectl(&["-n", "payments", "get", "rclo", "-o", "jsonpath={.items[*].metadata.uid}"]);
    helm.run(&[&["uninstall", "r"], &own[..]].concat()).unwrap();
    pods(0);
    assert!(!may("get", "secrets/tracker-token") && !may("create", "releaseclosures"));
    // A definition that goes takes its objects along, and takes a while for it.
    let definitions = plane.kubectl(&["get", "crd", "-o", "json"]);
    let definitions: Value = serde_json::from_str(&definitions).unwrap();
    let going = |definition: &Value| definition["metadata"].get("deletionTimestamp").is_some();
    assert_eq!(definitions["items"].as_array().unwrap().iter().map(going).collect::<Vec<_>>(), vec![false; kinds()]);
    helm.run(&[&["install", "r", "CHART", "--set", open], &own[..]].concat()).unwrap();
    let after = plane.kubectl(&["-n", "payments", "get", "rclo", "-o", "jsonpath={.items[*].metadata.uid}"]);
    assert!(!before.is_empty());
    assert_eq!(before, after);
}
