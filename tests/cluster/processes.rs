//! The operator as a process: told to stop, frozen past its lease, and with its API server gone for a while.

use crate::operators::{Start, own_plane};
use crate::stage::{Setup, Stage, outcomes, ready};
use crate::support::controlplane::ControlPlane;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use releaseclosure::sandbox::{self, Role, Verdict};
use serde_json::json;
use std::time::Duration;

async fn stage(name: &str, releases: usize) -> Stage {
    // Longer than anything is held here.
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": "12s"});
    Stage::with(name, Setup { seed: sandbox::generate(releases), limits, shared: false, ..Setup::default() }).await
}

async fn holder(stage: &Stage) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), &stage.namespace);
    leases.get("releaseclosure-operator").await.unwrap().spec.unwrap().holder_identity
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_it_is_at_begins_nothing_and_hands_over() {
    let stage = stage("process-term", 2).await;
    let leader = stage.operator().await;
    let next = stage.launch(Start::default()).await;
    next.until_logged("standing by").await;
    let fault =
        stage.fault(json!({"match": {"role": "queue", "method": "PATCH", "record": "Q-00001"}, "action": "hold"}));
    let name = stage.start().await;
    stage.holds(&fault, 1).await;

    leader.signal("-TERM");
    leader.until_logged("told to stop by SIGTERM").await;
    let late = stage.create(&stage.closure(2)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = stage.requests().into_iter().filter(|request| request.ends_with("00002"));
    assert_eq!(begun.count(), 0, "{:?}", stage.requests());
    assert!(!next.logged("leading"), "the lease is kept while a write is under way");

    assert_eq!(stage.sandbox().release(&fault, Verdict::Release), 1);
    leader.until_ended().await;
    assert!(leader.logged("the lease is released"), "{}", leader.read_log());
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    // The pass was let finish: it closed what it had begun, without a second look by the next one.
    assert_eq!(stage.requests().iter().filter(|request| request.ends_with("Q-00001")).count(), 2);
    assert_eq!(outcomes(&stage.closed(&late).await), ["Changed"; 5]);
    assert!(next.is_alive() && holder(&stage).await.is_some());
    assert_eq!(stage.sandbox().deliveries().len(), 2);
}

#[tokio::test]
async fn frozen_past_its_lease_it_wakes_up_writes_nothing_and_ends() {
    let stage = stage("process-stop", 1).await;
    let frozen = stage.operator().await;
    let next = stage.launch(Start::default()).await;
    next.until_logged("standing by").await;
    let before = holder(&stage).await;
    // The worst moment for a leader to lose its lease: the intent is stored, and the last look before the announcement is on
    // its way back.
    let look = json!({"role": "governance", "record": "RR-load-00001", "nth": 5});
    let fault = stage.fault(json!({"match": look, "action": "hold"}));
    let name = stage.start().await;
    stage.holds(&fault, 1).await;
    frozen.signal("-STOP");

    next.until_logged("leading").await;
    let closed = stage.closed(&name).await;
    assert_eq!(outcomes(&closed), ["Changed"; 5]);
    assert_ne!(holder(&stage).await, before);
    assert_eq!(stage.count("POST", "intake"), 1);

    // Its answer lies there when it wakes up.
    assert_eq!(stage.sandbox().release(&fault, Verdict::Release), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    stage.sandbox().clear_requests();
    frozen.signal("-CONT");
    frozen.until_ended().await;
    assert!(frozen.logged("leadership ended; nothing is written any more"), "{}", frozen.read_log());
    let writes: Vec<_> = stage.requests().into_iter().filter(|request| !request.starts_with("GET ")).collect();
    assert_eq!(writes, Vec::<String>::new());
    assert_eq!(stage.get(&name).await.metadata.resource_version, closed.metadata.resource_version);
    assert_eq!(stage.sandbox().deliveries().len(), 1);
    assert!(next.is_alive());
}

/// A stage on an API server of its own, which can be killed and started again.
async fn stage_that_may_fall(name: &str, releases: usize) -> Stage {
    let plane = own_plane(&[]).await;
    Stage::with(name, Setup { seed: sandbox::generate(releases), plane: Some(plane), ..Setup::default() }).await
}

/// Kills the API server and starts it again on its data.
async fn crash(plane: &'static ControlPlane) {
    tokio::task::spawn_blocking(|| plane.crash(Duration::ZERO)).await.unwrap();
}

#[tokio::test]
async fn an_api_server_that_is_gone_for_a_while_loses_nothing() {
    let stage = stage_that_may_fall("process-api", 4).await;
    let operator = stage.operator().await;
    // One that is closed, one that is halted, and one that is in the middle of it when the server dies.
    let done = stage.create(&stage.closure(1)).await;
    stage.closed(&done).await;
    stage.sandbox().edit(Role::Tracker, "REL-00002", &json!({"milestone": {"title": "Renamed"}}));
    let halted = stage.create(&stage.closure(2)).await;
    let (_, packet) = stage.halted(&halted).await;
    let fault = stage.fault(json!({"match": {"role": "tracker", "method": "PATCH"}, "action": "hold"}));
    let under_way = stage.create(&stage.closure(3)).await;
    stage.holds(&fault, 1).await;

    let dead = tokio::spawn(crash(stage.plane));
    stage.sandbox().remove_fault(&fault);
    dead.await.unwrap();
    let operator = stage.kept_going(operator).await;
    assert_eq!(outcomes(&stage.closed(&under_way).await), ["Changed"; 5]);
    // The watches are at it again: a new closure is seen, and a resolution is.
    let late = stage.create(&stage.closure(4)).await;
    assert_eq!(outcomes(&stage.closed(&late).await), ["Changed"; 5]);
    assert_eq!(ready(&stage.get(&halted).await).1, "MilestoneRenamed");
    stage.sandbox().edit(Role::Tracker, "REL-00002", &json!({"milestone": {"title": "M 00002"}}));
    stage.resolve(&packet, "Resume", None).await;
    assert_eq!(outcomes(&stage.closed(&halted).await), ["Changed"; 5]);
    assert_eq!(stage.sandbox().deliveries().len(), 4);
    assert_eq!(stage.writes().values().sum::<usize>(), 20);
    assert!(operator.is_alive());
}

#[tokio::test]
async fn what_happens_while_nobody_watches_is_found_out_afterwards() {
    let stage = stage_that_may_fall("process-gap", 5).await;
    let operator = stage.operator().await;
    let mut packets = Vec::new();
    for number in 1..=3 {
        stage.sandbox().edit(Role::Queue, &format!("Q-{number:05}"), &json!({"state": "Parked"}));
        let name = stage.create(&stage.closure(number)).await;
        packets.push(stage.halted(&name).await.1);
    }
    let mut older = stage.closure(4);
    older["spec"]["suspend"] = json!(true);
    let older = stage.create(&older).await;
    // Creation times are in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut duplicate = stage.closure(4);
    duplicate["metadata"]["name"] = json!("duplicate");
    stage.create(&duplicate).await;
    stage.waiting("duplicate", "DuplicateClosure").await;

    // After a restart the API server has forgotten what it would have had to tell a watch from before: the operator gets
    // `410 Gone`, and a list in which everything that has left is just not there.
    operator.signal("-STOP");
    crash(stage.plane).await;
    for number in 1..=3 {
        stage.sandbox().edit(Role::Queue, &format!("Q-{number:05}"), &json!({"state": "Pending"}));
    }
    stage.resolve(&packets[0], "Resume", None).await;
    stage.resolve(&packets[1], "Abandon", None).await;
    stage.packets.delete(packets[2].metadata.name.as_ref().unwrap(), &DeleteParams::default()).await.unwrap();
    stage.delete(&older).await;
    let late = stage.create(&stage.closure(5)).await;
    operator.signal("-CONT");

    let _operator = stage.kept_going(operator).await;
    assert_eq!(outcomes(&stage.closed("load-00001-rv1").await), ["Changed"; 5]);
    stage.wait("load-00002-rv1", "abandoned", |closure| ready(closure).1 == "Abandoned").await;
    assert_eq!(stage.halted("load-00003-rv1").await.1.spec, packets[2].spec, "made again from the status");
    assert_eq!(outcomes(&stage.closed("duplicate").await), ["Changed"; 5]);
    assert_eq!(outcomes(&stage.closed(&late).await), ["Changed"; 5]);
    assert_eq!(stage.sandbox().deliveries().len(), 3);
}
