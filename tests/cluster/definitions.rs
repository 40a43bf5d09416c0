//! An operator on definitions of another version: it says so, and nothing is dropped without a word.

use crate::operators::{Operator, Start, own_plane};
use crate::stage::{PATIENCE, Setup, Stage, condition, outcomes};
use crate::support::controlplane::{ControlPlane, repository};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::discovery::ApiResource;
use releaseclosure::api::ReleaseClosure;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Puts definitions in force, whoever had a field of them before.
async fn apply(plane: &'static ControlPlane, definitions: String) {
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    tokio::task::spawn_blocking(move || plane.kubectl_with(&apply, &definitions)).await.unwrap();
}

fn stored(folder: &str) -> String {
    let mut files: Vec<_> = std::fs::read_dir(repository(folder)).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<Vec<_>>().join("\n---\n")
}

async fn ready(operator: &Operator) -> (u16, String) {
    operator.served("/readyz").await.expect("it serves")
}

async fn tells(operator: &Operator, line: &str) {
    let start = Instant::now();
    loop {
        let (_, text) = operator.served("/metrics").await.expect("it serves");
        if text.lines().any(|found| found == line) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "not {line}:\n{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn on_the_definitions_of_the_last_release_everything_waits_and_says_so() {
    let plane = own_plane(&[]).await;
    apply(plane, stored("tests/crds/released")).await;
    let stage = Stage::with("definitions-old", Setup { plane: Some(plane), ..Setup::default() }).await;
    let operator = stage.started(Start::default()).await;
    let (code, why) = ready(&operator).await;
    assert_eq!(code, 503, "a rollout does not go on: {why}");
    assert!(why.contains("definitions lack ReleaseClosure.") && why.contains("releaseclosure crds"), "{why}");
    tells(&operator, "releaseclosure_schema_outdated 1").await;
    assert!(operator.logged("definitions lack"));

    let name = stage.start().await;
    let waiting = stage.waiting(&name, "SchemaOutdated").await;
    assert_eq!(condition(&waiting, "Ready").unwrap().0, "False");
    let message = |closure: &ReleaseClosure| {
        let conditions = &closure.status.as_ref().unwrap().conditions;
        conditions.iter().find(|condition| condition.type_ == "Reconciling").unwrap().message.clone()
    };
    assert!(message(&waiting).contains("apply those of this version"), "{}", message(&waiting));
    let reason = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].reason}"#;
    let playbooks = || stage.plane.kubectl(&["-n", "definitions-old", "get", "closureplaybooks", "-o", reason]);
    crate::support::controlplane::eventually("the playbook says so", || playbooks() == "SchemaOutdated");
    assert_eq!(stage.requests(), Vec::<String>::new(), "nothing is asked of any system, and nothing written");

    // What is applied is seen by itself.
    apply(plane, stored("crds")).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert_eq!(stage.writes().values().sum::<usize>(), 5);
    assert_eq!(ready(&operator).await.0, 200);
    tells(&operator, "releaseclosure_schema_outdated 0").await;
}

#[tokio::test]
async fn a_newer_definition_is_lived_with_and_an_object_that_uses_it_is_left_alone() {
    let plane = own_plane(&[]).await;
    let text = std::fs::read_to_string(repository("crds/releaseclosure.io_releaseclosures.yaml")).unwrap();
    let mut newer: Value = serde_saphyr::from_str(&text).unwrap();
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    newer.pointer_mut(schema).unwrap()["seal"] = json!({"type": "string", "maxLength": 64});
    apply(plane, newer.to_string()).await;
    let seed = releaseclosure::sandbox::generate(2);
    let stage = Stage::with("definitions-new", Setup { plane: Some(plane), seed, ..Setup::default() }).await;
    let operator = stage.started(Start::default()).await;
    stage.settled_in().await;
    tells(&operator, "releaseclosure_schema_newer 1").await;
    assert_eq!(ready(&operator).await.0, 200);
    let plain = stage.start().await;
    assert_eq!(outcomes(&stage.closed(&plain).await), ["Changed"; 5]);

    // A newer operator has begun this one.
    let mut begun = stage.closure(2);
    begun["spec"]["suspend"] = json!(true);
    let name = stage.create(&begun).await;
    stage.wait(&name, "suspended", |closure| crate::stage::ready(closure).1 == "Suspended").await;
    let seal = |seal: Value| Patch::Merge(json!({"status": {"seal": seal}}));
    let raw: Api<DynamicObject> =
        Api::namespaced_with(stage.client.clone(), &stage.namespace, &ApiResource::erase::<ReleaseClosure>(&()));
    raw.patch_status(&name, &PatchParams::default(), &seal(json!("of a newer version"))).await.unwrap();
    stage.sandbox().clear_requests();
    stage.patch(&name, json!({"spec": {"suspend": false}})).await;
    stage.waiting(&name, "SchemaNewer").await;
    stage.quiet(Duration::from_secs(1)).await;
    assert_eq!(stage.requests(), Vec::<String>::new());
    let kept = raw.get(&name).await.unwrap();
    assert_eq!(kept.data["status"]["seal"], "of a newer version", "it is not dropped by saying so");

    raw.patch_status(&name, &PatchParams::default(), &seal(Value::Null)).await.unwrap();
    stage.patch(&name, json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": "now"}}})).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
}
