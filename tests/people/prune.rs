//! `prune`, with the rights of the component `retention` and no others.

use super::{AT, BINARY, HALT, World, closed, command, condition, heard, kubeconfig_of, run};
use crate::support::controlplane::{ControlPlane, repository};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use releaseclosure::api::ClosurePlaybook;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

fn playbook(retention: &Value) -> Value {
    let connection = json!({"connectionRef": {"name": "c"}});
    let mut spec = json!({"governance": connection, "archive": connection, "checklist": connection,
        "tracker": connection, "queue": connection, "intake": connection, "policy": {"retention": retention}});
    spec["governance"]["acceptedStates"] = json!(["Accepted"]);
    spec["archive"]["requiredArtifacts"] = json!(["sign-off"]);
    spec["tracker"]["approvedState"] = json!("Approved");
    spec["tracker"]["approvableStates"] = json!(["InReview"]);
    spec
}

impl World {
    async fn playbook(&self, name: &str, retention: &Value) -> Result<(), String> {
        let object = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ClosurePlaybook",
            "metadata": {"name": name}, "spec": playbook(retention)});
        let object: ClosurePlaybook = serde_json::from_value(object).expect("a playbook");
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &object).await.map(drop).map_err(|refusal| refusal.to_string())
    }

    /// What is there, by name: closures, then packets.
    async fn there(&self) -> (Vec<String>, Vec<String>) {
        let all = ListParams::default();
        let closures = self.closures().list(&all).await.expect("listed").items;
        let packets = self.packets().list(&all).await.expect("listed").items;
        (closures.iter().map(|one| one.name_any()).collect(), packets.iter().map(|one| one.name_any()).collect())
    }

    /// A packet of a closure that a coordinator resolved, and that the operator acted on.
    async fn resolved_packet(&self, closure: &str, id: &str, decision: &str, at: &str) {
        let closure = self.closures().get(closure).await.expect("there");
        self.packet(&closure, id, "MilestoneRenamed").await;
        let resolution = json!({"decision": decision, "haltId": id, "resolvedBy": "admin"});
        let merge = |patch: Value| kube::api::Patch::Merge(patch);
        let params = kube::api::PatchParams::default();
        let patch = merge(json!({"spec": {"resolution": resolution}}));
        self.packets().patch(id, &params, &patch).await.expect("resolved");
        let mut resolved = condition("Resolved", "True", "Resumed");
        resolved["lastTransitionTime"] = json!(at);
        let patch = merge(json!({"status": {"conditions": [resolved]}}));
        self.packets().patch_status(id, &params, &patch).await.expect("a status");
    }
}

/// Exit code, what was printed, and what was said.
async fn prune(kubeconfig: &Path, words: &[&str]) -> (i32, Vec<Value>, String) {
    let output = command(kubeconfig, &[&["prune"], words].concat()).output().await.expect("it runs");
    let lines = std::str::from_utf8(&output.stdout).expect("UTF-8").lines();
    let lines = lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    (output.status.code().expect("it exits"), lines, String::from_utf8(output.stderr).expect("UTF-8"))
}

pub async fn pruning(plane: &ControlPlane) {
    let manifests = |path: &str| repository(path).display().to_string();
    let install =
        [manifests("manifests/base/namespace.yaml"), manifests("manifests/components/retention/retention.yaml")];
    tokio::task::block_in_place(|| plane.kubectl(&["apply", "-f", &install[0], "-f", &install[1]]));
    let world = World::new(plane, "pruning").await;
    let admin = plane.kubeconfig();

    // Nobody said that anything is to go.
    let (code, printed, said) = prune(&admin, &["-n", "pruning"]).await;
    assert!(code == 0 && printed.is_empty() && said.contains("everything is kept"), "{code} {said}");
    let refusal = world.playbook("p", &json!({"closed": "59m"})).await.expect_err("too short");
    assert!(refusal.contains("must be between 1h and 87600h"), "{refusal}");
    world.playbook("p", &json!({"closed": "1h", "packets": "1h"})).await.expect("a playbook");

    let recently = jiff::Timestamp::now().to_string();
    for (name, status) in [
        ("old", Some(closed())),
        ("new", Some(json!({"observedGeneration": 1, "completionTime": recently, "conditions": []}))),
        (
            "under-way",
            Some(json!({"observedGeneration": 1, "conditions": [condition("Ready", "Unknown", "Progressing")]})),
        ),
        ("untouched", None),
    ] {
        world.create(name).await;
        if let Some(status) = status {
            world.status(name, status).await;
        }
    }
    world.create("halted").await;
    world.halt("halted", HALT, "MilestoneRenamed").await;
    world.packet(&world.closures().get("halted").await.expect("there"), HALT, "MilestoneRenamed").await;
    let [resumed, abandoned, fresh] = ["a", "b", "c"].map(|letter| format!("h-{}", letter.repeat(20)));
    world.resolved_packet("old", &resumed, "Resume", AT).await;
    world.resolved_packet("old", &abandoned, "Abandon", AT).await;
    world.resolved_packet("old", &fresh, "Resume", &recently).await;

    // The operator's own role has no such right, and a person's view has not either.
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "releaseclosure-system");
    let pruner = kubeconfig_of(plane, &accounts, "releaseclosure-pruner").await;
    let nobody = kubeconfig_of(plane, &accounts, "default").await;
    let (code, said) = run(&nobody, &["prune", "-A"]).await;
    assert!(code == 1 && said.contains("releaseclosure-pruner of the component retention"), "{code} {said}");

    // All of them are of one closure key, of which some are unfinished: no packet goes.
    let before = world.there().await;
    let (code, printed, said) = prune(&pruner, &["-A", "--dry-run"]).await;
    assert!(code == 0 && said.contains("1 closures and 0 packets would be deleted"), "{code} {said}");
    assert_eq!((printed.len(), world.there().await), (1, before.clone()));
    // Where what is deleted cannot be put down, nothing is.
    let mut deaf = Command::new(BINARY);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("there is one");
    let deaf = deaf.args(["prune", "-A", "--kubeconfig"]).arg(&pruner).stdout(full).stderr(Stdio::piped());
    let (code, said) = heard(deaf.spawn().expect("it runs").wait_with_output().await.expect("it ends"));
    assert!(code == 1 && said.contains("releaseclosure pruning/old was not deleted"), "{code} {said}");
    assert_eq!(world.there().await, before);

    let stored = serde_json::to_value(world.closures().get("old").await.expect("there")).expect("JSON");
    let (code, printed, said) = prune(&pruner, &["-A"]).await;
    assert!(code == 0 && said.contains("1 closures and 0 packets deleted"), "{code} {said}");
    for part in ["spec", "status"] {
        assert_eq!(printed[0][part], stored[part]);
    }
    let (kind, version) = (&printed[0]["kind"], &printed[0]["apiVersion"]);
    assert_eq!((kind, version), (&json!("ReleaseClosure"), &json!("releaseclosure.io/v1alpha1")));
    let (closures, packets) = world.there().await;
    assert_eq!(closures, ["halted", "new", "under-way", "untouched"]);
    assert_eq!(packets, before.1);

    // Nothing of the key is under way any more.
    for name in ["halted", "under-way", "untouched"] {
        world.closures().delete(name, &kube::api::DeleteParams::default()).await.expect("deleted");
    }
    // A playbook that keeps its packets keeps those of the others, as nobody can tell them apart.
    world.playbook("q", &json!({"closed": "87600h"})).await.expect("a playbook");
    let (_, _, said) = prune(&pruner, &["-n", "pruning"]).await;
    assert!(said.contains("0 closures and 0 packets deleted"), "{said}");
    let playbooks: Api<ClosurePlaybook> = Api::namespaced(world.client.clone(), "pruning");
    playbooks.delete("q", &kube::api::DeleteParams::default()).await.expect("deleted");
    let (code, printed, said) = prune(&pruner, &["-n", "pruning"]).await;
    assert!(code == 0 && said.contains("0 closures and 1 packets deleted"), "{code} {said}");
    assert_eq!(printed[0]["metadata"]["name"], json!(resumed));
    assert_eq!(world.there().await, (vec!["new".to_owned()], vec![HALT.to_owned(), abandoned, fresh].sorted()));
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for Vec<String> {
    fn sorted(mut self) -> Self {
        self.sort();
        self
    }
}
