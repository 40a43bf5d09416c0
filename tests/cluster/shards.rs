//! Two replicas and four shards: each closure is closed once, by whoever leads its namespace.

use crate::audit::{Asked, asked};
use crate::operators::{ACCOUNT, Operator, account, furnished};
use crate::permissions::{differences, granted};
use crate::stage::{PATIENCE, Setup, Stage, outcomes};
use crate::support::controlplane::{ControlPlane, eventually, repository};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use releaseclosure::sandbox::{self, Verdict};
use releaseclosure::shards::Shard;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// One namespace and more in each of four shards: `team-0` to `team-8`.
const NAMESPACES: usize = 9;
/// Requests to the systems of one clean closure.
const REQUESTS: usize = 15;

/// An API server of the test's own: its operators watch every namespace.
async fn own_plane(flags: &'static [&'static str]) -> &'static ControlPlane {
    let start = || -> &'static ControlPlane { Box::leak(Box::new(furnished(ControlPlane::start_restartable(flags)))) };
    tokio::task::spawn_blocking(start).await.unwrap()
}

fn flags(shards: &str) -> [String; 2] {
    [format!("--shards={shards}"), "--lease-namespace=default".to_owned()]
}

fn launch(plane: &ControlPlane, shards: &str) -> Operator {
    Operator::launch(plane.kubeconfig(), &flags(shards).each_ref().map(String::as_str))
}

async fn stages(plane: &'static ControlPlane, releases: usize) -> Vec<Stage> {
    let mut stages = Vec::new();
    for number in 0..NAMESPACES {
        let setup = Setup { plane: Some(plane), seed: sandbox::generate(releases), ..Setup::default() };
        stages.push(Stage::with(&format!("team-{number}"), setup).await);
    }
    let shards = "4".parse().unwrap();
    let used: BTreeSet<u16> = stages.iter().map(|stage| Shard::of(&stage.namespace, shards).index()).collect();
    assert_eq!(used.len(), 4, "a namespace at least in each shard");
    stages
}

/// How many shards each replica holds.
async fn held(stages: &[Stage]) -> BTreeMap<String, usize> {
    let leases: Api<Lease> = Api::namespaced(stages[0].client.clone(), "default");
    let mut held = BTreeMap::new();
    for lease in leases.list(&ListParams::default()).await.unwrap().items {
        let shard = lease.metadata.name.is_some_and(|name| name.contains("-shard-"));
        if let Some(holder) = lease.spec.and_then(|spec| spec.holder_identity).filter(|_| shard) {
            *held.entry(holder).or_insert(0) += 1;
        }
    }
    held
}

async fn until_held(stages: &[Stage], wanted: &[usize]) {
    let start = Instant::now();
    loop {
        let held: Vec<usize> = held(stages).await.into_values().collect();
        if held == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{held:?} and not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn create(stages: &[Stage], number: usize) -> Vec<String> {
    let mut names = Vec::new();
    for stage in stages {
        names.push(stage.create(&stage.closure(number)).await);
    }
    names
}

async fn closed(stages: &[Stage], names: &[String]) {
    for (stage, name) in stages.iter().zip(names) {
        assert_eq!(outcomes(&stage.closed(name).await), ["Changed"; 5]);
    }
}

/// So many closures took effect in each namespace, each once.
fn each_once(stages: &[Stage], closures: usize) {
    for stage in stages {
        assert_eq!(stage.writes().values().sum::<usize>(), 5 * closures, "{}: {:?}", stage.namespace, stage.writes());
        assert_eq!(stage.sandbox().deliveries().len(), closures, "{}", stage.namespace);
    }
}

fn closes(operator: &Operator) -> usize {
    operator.read_log().lines().filter(|line| line.contains("\"closed\"") || line.contains(": closed ")).count()
}

#[tokio::test]
async fn two_replicas_share_the_work_and_each_closure_is_closed_once() {
    let plane = own_plane(&[]).await;
    let stages = stages(plane, 4).await;
    let (a, b) = (launch(plane, "4"), launch(plane, "4"));
    until_held(&stages, &[2, 2]).await;
    for stage in &stages {
        stage.settled_in().await;
    }
    closed(&stages, &create(&stages, 1).await).await;
    for stage in &stages {
        let told = |operator: &Operator| {
            let log = operator.read_log();
            log.lines()
                .filter(|line| line.contains(&stage.namespace) || line.contains("renew"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let requests = stage.requests();
        assert_eq!(requests.len(), REQUESTS, "{}: {requests:#?}\n{}\n{}", stage.namespace, told(&a), told(&b));
    }
    each_once(&stages, 1);
    let done = (closes(&a), closes(&b));
    let logs = || format!("{}\n{}", a.read_log(), b.read_log());
    assert!(done.0 > 0 && done.1 > 0 && done.0 + done.1 == NAMESPACES, "{done:?}\n{}", logs());
}

#[tokio::test]
async fn a_killed_replica_a_new_one_and_a_clean_stop_repeat_nothing() {
    let plane = own_plane(&[]).await;
    let stages = stages(plane, 4).await;
    let (a, b) = (launch(plane, "4"), launch(plane, "4"));
    until_held(&stages, &[2, 2]).await;
    for stage in &stages {
        stage.settled_in().await;
    }
    closed(&stages, &create(&stages, 1).await).await;
    each_once(&stages, 1);
    // A kill in the middle of it, with a write of each closure on its way.
    let queue = json!({"match": {"role": "queue", "method": "PATCH"}, "action": "hold"});
    let faults: Vec<String> = stages.iter().map(|stage| stage.fault(queue.clone())).collect();
    let names = create(&stages, 2).await;
    for (stage, fault) in stages.iter().zip(&faults) {
        stage.holds(fault, 1).await;
    }
    a.kill();
    for (stage, fault) in stages.iter().zip(&faults) {
        stage.sandbox().remove_fault(fault);
        stage.sandbox().release(fault, Verdict::Release);
    }
    closed(&stages, &names).await;
    each_once(&stages, 2);
    until_held(&stages, &[4]).await;

    // Another one joins, and is handed its share; then a clean stop hands everything over.
    let c = launch(plane, "4");
    until_held(&stages, &[2, 2]).await;
    closed(&stages, &create(&stages, 3).await).await;
    each_once(&stages, 3);
    assert!(closes(&c) > 0);
    b.signal("-TERM");
    let names = create(&stages, 4).await;
    closed(&stages, &names).await;
    each_once(&stages, 4);
    until_held(&stages, &[4]).await;
    let start = Instant::now();
    while b.is_alive() {
        assert!(start.elapsed() < PATIENCE, "it does not end:\n{}", b.read_log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!b.logged("broken off") && !b.logged("leadership ended"), "{}", b.read_log());
}

async fn metric(operator: &Operator, line: &str) -> bool {
    operator.served("/metrics").await.is_some_and(|(_, text)| text.lines().any(|found| found == line))
}

/// Whoever divides the namespaces otherwise waits, says so, and takes over when the others have ended.
#[tokio::test]
async fn another_number_of_shards_acts_when_the_replicas_of_the_last_one_have_ended() {
    let plane = own_plane(&[]).await;
    let stages = stages(plane, 3).await;
    let old = launch(plane, "4");
    until_held(&stages, &[4]).await;
    for stage in &stages {
        stage.settled_in().await;
    }
    for (number, next, shards) in [(1, "1", 1), (2, "3", 3)] {
        let new = launch(plane, next);
        let start = Instant::now();
        while !metric(&new, "releaseclosure_shards_disagree 1").await {
            assert!(start.elapsed() < PATIENCE, "it does not say what it waits for:\n{}", new.read_log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(metric(&new, &format!("releaseclosure_shards {shards}")).await);
        assert!(new.logged("replicas that divide the namespaces otherwise are at work"), "{}", new.read_log());
        // It stands by, so that a rollout goes on and ends the others.
        assert_eq!(new.served("/readyz").await, Some((200, "ok\n".to_owned())));
        closed(&stages, &create(&stages, number).await).await;
        each_once(&stages, number);
        assert_eq!(closes(&new), 0);
        if number == 1 {
            new.kill();
            continue;
        }
        old.signal("-TERM");
        closed(&stages, &create(&stages, 3).await).await;
        each_once(&stages, 3);
        assert!(closes(&new) > 0 && metric(&new, "releaseclosure_shards_led 3").await);
    }
}

/// Losing the Lease of one shard ends the process: the one it lost is somebody else's from then on, and the other is given back.
#[tokio::test]
async fn who_loses_one_shard_writes_nothing_of_it_and_ends() {
    let plane = own_plane(&[]).await;
    let stage = Stage::with("team-0", Setup { plane: Some(plane), ..Setup::default() }).await;
    let operator = launch(plane, "2");
    let stages = [stage];
    until_held(&stages, &[2]).await;
    let [stage] = &stages;
    stage.settled_in().await;
    let lost = Shard::of("team-0", "2".parse().unwrap()).index();
    let fault = stage.fault(json!({"match": {"role": "checklist", "method": "GET"}, "action": "hold"}));
    stage.start().await;
    stage.holds(&fault, 1).await;
    let taken = r#"{"spec":{"holderIdentity":"somebody"}}"#;
    let lease = |index: u16| format!("lease/releaseclosure-operator-shard-{index}");
    plane.kubectl(&["-n", "default", "patch", &lease(lost), "--type=merge", "-p", taken]);
    let start = Instant::now();
    while operator.is_alive() {
        assert!(start.elapsed() < PATIENCE, "it goes on:\n{}", operator.read_log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.sandbox().remove_fault(&fault);
    assert!(operator.logged("leadership ended; nothing is written any more"), "{}", operator.read_log());
    assert_eq!(stage.writes().values().sum::<usize>(), 0, "{:?}", stage.writes());
    let holder =
        |index: u16| plane.kubectl(&["-n", "default", "get", &lease(index), "-o", "jsonpath={.spec.holderIdentity}"]);
    assert_eq!((holder(lost), holder(1 - lost)), ("somebody".to_owned(), String::new()));
}

/// What the component grants is what shards need: each Lease by its name.
#[tokio::test]
async fn the_rights_on_leases_are_those_that_shards_use() {
    let plane = own_plane(&["--audit"]).await;
    let rendered = plane.kubectl(&["kustomize", &repository("tests/install/shards").display().to_string()]);
    let role = rendered.split("\n---\n").find(|one| one.contains("kind: Role\n") && one.contains("-lease")).unwrap();
    assert!(rendered.contains("- --shards=4"), "{rendered}");
    plane.kubectl_with(&["apply", "-f", "-"], role);
    let operators = tokio::task::spawn_blocking(move || {
        let start = |shards: &str| {
            let shards = format!("--shards={shards}");
            Operator::launch(account(plane), &[&shards, "--lease-namespace=releaseclosure-system"])
        };
        let first = start("4");
        eventually("all are led", || first.read_log().matches("unfinished closures is complete").count() == 4);
        let (second, third) = (start("4"), start("1"));
        eventually("two are handed over", || second.read_log().matches("unfinished closures is complete").count() == 2);
        eventually("another waits", || third.logged("otherwise are at work"));
        first.signal("-TERM");
        eventually("all are handed over", || second.read_log().matches("unfinished closures is complete").count() == 4);
        (first, second, third)
    });
    drop(operators.await.unwrap());
    let of_leases = |what: &str| what.starts_with("leases.");
    let granted: Vec<_> = granted(plane).into_iter().filter(|grant| of_leases(grant.what())).collect();
    let used: Vec<Asked> = asked(plane).into_iter().filter(|asked| of_leases(&asked.what)).collect();
    assert!(granted.len() >= 4 && !used.is_empty(), "{ACCOUNT} has rights on leases, and uses them");
    assert_eq!(differences(&granted, &used), Vec::<String>::new());
    assert_eq!(used.iter().filter(|asked| asked.status == 403).count(), 0);
}
