//! From one release to the next and back, with closures in flight.
//!
//! `tests/crds/inflight/` holds closures as the last release stored them in the middle of their work, each with the records of
//! its systems at that moment: the present operator finishes them. `hack/proof upgrade` builds that release and swaps the two
//! under closures in flight; it also writes these files anew (`WRITE_INFLIGHT=1`).

use crate::operators::{Operator, Start, own_plane};
use crate::stage::{Setup, Stage, crossed_a_crash, outcomes};
use crate::support::controlplane::repository;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::discovery::ApiResource;
use releaseclosure::api::{ClosurePlaybook, ReleaseClosure, SystemConnection};
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a closure is stopped: the request that is under way, and whether it was served. By the number of its release.
const STOPS: [(&str, &str, &str, bool); 8] = [
    ("checklist", "GET", "CHK-00001", false),
    ("checklist", "PATCH", "CHK-00002", false),
    ("checklist", "PATCH", "CHK-00003", true),
    ("tracker", "PATCH", "REL-00004", true),
    ("queue", "PATCH", "Q-00005", false),
    ("queue", "PATCH", "Q-00006", true),
    ("intake", "POST", "load-00007@RR-load-00007@1", false),
    ("intake", "POST", "load-00008@RR-load-00008@1", true),
];

/// The records of a release, by role.
fn records(number: usize) -> [(Role, String); 3] {
    [
        (Role::Checklist, format!("CHK-{number:05}")),
        (Role::Tracker, format!("REL-{number:05}")),
        (Role::Queue, format!("Q-{number:05}")),
    ]
}

fn inflight() -> PathBuf {
    repository("tests/crds/inflight")
}

async fn start(binary: &Path, stage: &Stage) -> Operator {
    stage.next(Start { binary: binary.to_owned(), ..Start::default() }).await
}

fn present() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_releaseclosure"))
}

fn hold(stage: &Stage, number: usize) -> String {
    let (role, method, record, served) = STOPS[number - 1];
    let action = if served { "holdAfter" } else { "hold" };
    stage.fault(json!({"match": {"role": role, "method": method, "record": record}, "action": action}))
}

/// Whether a binary finds a stored trace whole.
fn verifies(binary: &Path, closure: &ReleaseClosure, folder: &Path) {
    let file = folder.join(format!("{}.json", closure.metadata.name.clone().unwrap()));
    std::fs::write(&file, serde_json::to_vec(closure).unwrap()).unwrap();
    let ran = Command::new(binary).arg("verify").arg("--file").arg(&file).output().unwrap();
    assert!(ran.status.success(), "{}: {}", binary.display(), String::from_utf8_lossy(&ran.stderr));
}

async fn own_stage(name: &str) -> Stage {
    let plane = own_plane(&[]).await;
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": "12s"});
    let seed = sandbox::generate(STOPS.len());
    Stage::with(name, Setup { plane: Some(plane), seed, limits, ..Setup::default() }).await
}

/// The end that every closure must come to, whoever worked on it: each write took effect once, and each trace is whole.
async fn ends(stage: &Stage, names: &[String], binaries: &[PathBuf]) {
    let folder = stage.plane.kubeconfig().parent().unwrap().to_owned();
    for (number, name) in (1..).zip(names) {
        let closed = stage.closed(name).await;
        crossed_a_crash(&closed);
        for binary in binaries {
            verifies(binary, &closed, &folder);
        }
        let [checklist, tracker, queue] = records(number).map(|(role, id)| stage.record(role, &id));
        assert_eq!(
            (&checklist["state"], &tracker["state"], &queue["state"]),
            (&json!("Closed"), &json!("Approved"), &json!("Cleared"))
        );
        assert_eq!(tracker["evidence"].as_array().unwrap().len(), 1, "{name}: one link");
    }
    assert_eq!(stage.sandbox().deliveries().len(), names.len(), "each coordinator is told once");
}

/// What a status says of connections and playbook names theirs of this API server, by name.
fn rename(value: &mut Value, uids: &BTreeMap<String, String>) {
    let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
    if let Some(uid) = name.and_then(|name| uids.get(&name)).filter(|_| value["uid"].is_string()) {
        value["uid"] = json!(uid);
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| rename(value, uids)),
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, uids)),
        _ => {}
    }
}

/// What the last release stored in the middle of its work, the present operator finishes.
#[tokio::test]
async fn closures_that_the_last_release_left_in_flight_are_finished() {
    let stage = own_stage("upgrade-stored").await;
    let mut files: Vec<PathBuf> = std::fs::read_dir(inflight()).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert_eq!(files.len(), 7, "all stops but the one whose announcement has arrived");
    let mut uids = BTreeMap::new();
    for (kind, api) in [
        ("connections", ApiResource::erase::<SystemConnection>(&())),
        ("playbooks", ApiResource::erase::<ClosurePlaybook>(&())),
    ] {
        let all: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &stage.namespace, &api);
        let found = all.list(&Default::default()).await.unwrap().items;
        assert!(!found.is_empty(), "{kind}");
        uids.extend(found.into_iter().map(|object| (object.metadata.name.unwrap(), object.metadata.uid.unwrap())));
    }
    let mut names = Vec::new();
    let mut done = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        let mut object = found["closure"].clone();
        object["metadata"] = json!({"name": found["closure"]["metadata"]["name"], "namespace": stage.namespace});
        let mut status = object.as_object_mut().unwrap().remove("status").unwrap_or_default();
        rename(&mut status, &uids);
        let name = stage.create(&object).await;
        let uid = stage.get(&name).await.metadata.uid.unwrap();
        if !status.is_null() {
            let status = Patch::Merge(json!({ "status": status }));
            stage.closures.patch_status(&name, &PatchParams::default(), &status).await.expect("it is let in");
        }
        // The marks on the records name the object, which has another uid here.
        let then = found["closure"]["metadata"]["uid"].as_str().unwrap();
        for (role, word) in [(Role::Checklist, "checklist"), (Role::Tracker, "tracker"), (Role::Queue, "queue")] {
            let record = &found["records"][word];
            let record: Value = serde_json::from_str(&record.to_string().replace(then, &uid)).unwrap();
            let id = record["id"].as_str().unwrap().to_owned();
            if record["closure"].is_object() || !record["evidence"].as_array().is_none_or(Vec::is_empty) {
                done += usize::from(record["closure"].is_object())
                    + usize::from(record["evidence"].as_array().is_some_and(|links| !links.is_empty()));
            }
            stage.sandbox().edit(role, &id, &record);
        }
        names.push(name);
    }
    stage.sandbox().clear_requests();
    let _operator = start(&present(), &stage).await;
    ends(&stage, &names, &[present()]).await;
    assert_eq!(stage.writes().values().sum::<usize>() + done, 5 * names.len(), "{:?}: nothing twice", stage.writes());
}

/// What the present operator stores in the middle of its work, the definitions of the last release let in: a downgrade needs
/// that.
#[tokio::test]
async fn what_is_stored_in_flight_fits_the_definitions_of_the_last_release() {
    let stage = own_stage("downgrade-stored").await;
    let operator = start(&present(), &stage).await;
    stage.settled_in().await;
    let mut names = Vec::new();
    for number in 1..=STOPS.len() {
        let fault = hold(&stage, number);
        names.push(stage.create(&stage.closure(number)).await);
        stage.holds(&fault, 1).await;
    }
    operator.kill();
    let plane = stage.plane;
    let mut stored = Vec::new();
    for name in &names {
        stored.push(stage.get(name).await);
    }
    let released = std::fs::read_dir(repository("tests/crds/released")).unwrap().map(|file| file.unwrap().path());
    let released: Vec<String> = released.map(|file| file.display().to_string()).collect();
    tokio::task::spawn_blocking(move || {
        for file in &released {
            plane.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file]);
        }
    })
    .await
    .unwrap();
    let mut intents = 0;
    for closure in stored {
        let name = closure.metadata.name.clone().unwrap();
        let Some(status) = &closure.status else { continue };
        intents += usize::from(outcomes(&closure).last().is_some_and(|outcome| outcome == "Intended"));
        let mut changed = serde_json::to_value(status).unwrap();
        changed["progress"] = json!("again/5");
        let patch = Patch::Merge(json!({ "status": changed }));
        let kept = stage.closures.patch_status(&name, &PatchParams::default(), &patch).await.expect("it is let in");
        let mut kept = serde_json::to_value(kept.status).unwrap();
        assert_eq!(kept["progress"], "again/5");
        let fields = kept.as_object_mut().unwrap();
        fields.remove("progress");
        fields.extend(status.progress.clone().map(|progress| ("progress".to_owned(), json!(progress))));
        assert_eq!(kept, serde_json::to_value(status).unwrap(), "{name}: nothing is dropped");
    }
    assert_eq!(intents, 2, "those that announce have their intent stored");
}

/// Swaps the release that `UPGRADE_FROM` names and the present one under closures in flight, from it and to it: `hack/proof
/// upgrade`. Without it the present one is swapped with itself, once.
#[tokio::test]
async fn swapping_releases_in_flight_comes_to_the_same_end() {
    let last = std::env::var_os("UPGRADE_FROM").map(PathBuf::from);
    let (now, rounds) = (present(), if last.is_some() { 3 } else { 1 });
    let last = last.unwrap_or_else(present);
    let both = [last.clone(), now.clone()];
    let orders = [(false, [&last, &now, &last]), (true, [&last, &now, &last]), (false, [&now, &last, &now])];
    for (clean, order) in orders.into_iter().take(rounds) {
        let stage = own_stage(if clean { "swap-clean" } else { "swap-killed" }).await;
        let mut operator = start(order[0], &stage).await;
        stage.settled_in().await;
        let (mut names, mut faults) = (Vec::new(), Vec::new());
        for number in 1..=STOPS.len() {
            faults.push(hold(&stage, number));
            names.push(stage.create(&stage.closure(number)).await);
        }
        for (stop, next) in order[1..].iter().enumerate() {
            for fault in &faults {
                stage.holds(fault, 1).await;
            }
            if clean {
                operator.signal("-TERM");
            } else {
                operator.kill_and_wait();
            }
            write_inflight(&stage, &names, rounds > 1 && *order[0] == last && !clean && stop == 0).await;
            for fault in faults.drain(..) {
                stage.sandbox().remove_fault(&fault);
            }
            if clean {
                operator.until_ended().await;
            }
            // The next one is stopped one step later.
            if stop == 0 {
                faults = (1..STOPS.len())
                    .filter(|number| number % 2 == 1)
                    .map(|number| hold_announcement(&stage, number))
                    .collect();
            }
            operator = start(next, &stage).await;
            if clean {
                faults.retain(|fault| {
                    stage.sandbox().remove_fault(fault);
                    false
                });
            }
        }
        ends(&stage, &names, &both).await;
        assert_eq!(stage.writes().values().sum::<usize>(), 5 * names.len(), "{:?}: nothing twice", stage.writes());
    }
}

fn hold_announcement(stage: &Stage, number: usize) -> String {
    let record = format!("load-{number:05}@RR-load-{number:05}@1");
    stage.fault(json!({"match": {"role": "intake", "method": "POST", "record": record}, "action": "hold"}))
}

/// Keeps what is stored, for the test that needs no other build.
async fn write_inflight(stage: &Stage, names: &[String], wanted: bool) {
    if !wanted || std::env::var_os("WRITE_INFLIGHT").is_none() {
        return;
    }
    for (number, name) in (1..STOPS.len()).zip(names) {
        let mut closure = stage.get(name).await;
        closure.metadata.managed_fields = None;
        let [checklist, tracker, queue] = records(number).map(|(role, id)| stage.record(role, &id));
        let kept = json!({"stopped": STOPS[number - 1], "closure": closure,
            "records": {"checklist": checklist, "tracker": tracker, "queue": queue}});
        let text = serde_json::to_string_pretty(&kept).unwrap() + "\n";
        std::fs::write(inflight().join(format!("{name}.json")), text).unwrap();
    }
}
