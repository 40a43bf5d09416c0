//! What an operator costs that has nothing to do, in a cluster where much has been closed.

use crate::operators::{Operator, Start, own_plane};
use crate::permissions::asked;
use crate::stage::{Setup, Stage};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Patch, PatchParams, PostParams};
use releaseclosure::api::ReleaseClosure;
use serde_json::json;
use std::time::Duration;

/// How long it is watched, in seconds; three renewals of its lease are in it.
const WINDOW: u32 = 30;
/// After its start, until it is idle.
const SETTLED: Duration = Duration::from_secs(8);
/// By how much its memory may differ, in KiB.
const MEMORY: u64 = 5 * 1024;

/// Its resident memory, in KiB.
fn memory(operator: &Operator) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid)).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("KiB")
}

/// Its memory when it is idle, and how many requests it makes in so many seconds.
async fn idle(stage: &Stage, seconds: u32) -> (u64, usize) {
    let plane = stage.plane;
    let operator = tokio::task::spawn_blocking(|| Operator::installed(plane, Start::default()).up()).await.unwrap();
    tokio::time::sleep(SETTLED).await;
    stage.sandbox().clear_requests();
    let before = asked(plane).len();
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let cost = (memory(&operator), asked(plane).len() - before);
    assert_eq!(stage.sandbox().requests(0).len(), 0, "a request to a system, of an operator that has nothing to do");
    operator.signal("-TERM");
    operator.until_ended().await;
    cost
}

/// `CLOSED` says how many; `hack/proof idle` takes ten thousand.
#[tokio::test]
async fn what_is_closed_costs_the_operator_nothing() {
    let count = std::env::var("CLOSED").map_or(1000, |count| count.parse::<usize>().expect("a number"));
    let plane = own_plane(&["--audit"]).await;
    let stage = Stage::with("idle", Setup { plane: Some(plane), ..Setup::default() }).await;
    let operator = stage.operator().await;
    let name = stage.start().await;
    let model = stage.closed(&name).await;
    drop(operator);
    let (few, _) = idle(&stage, 0).await;

    let (stage, model) = (&stage, &model);
    stream::iter(0..count)
        .map(|number| async move {
            let (name, id) = (format!("closed-{number}"), format!("R-{number}"));
            let mut object = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ReleaseClosure",
                "metadata": {"name": name}, "spec": model.spec});
            object["spec"]["release"]["id"] = id.into();
            let object: ReleaseClosure = serde_json::from_value(object).expect("a closure");
            stage.closures.create(&PostParams::default(), &object).await?;
            let status = Patch::Merge(json!({"status": model.status}));
            stage.closures.patch_status(&name, &PatchParams::default(), &status).await.map(drop)
        })
        .buffer_unordered(32)
        .try_collect::<()>()
        .await
        .expect("all are let in");

    let (many, requests) = idle(stage, WINDOW).await;
    println!("idle with {count} closed closures: {requests} requests in {WINDOW} s; {many} KiB, with one {few} KiB");
    assert!(requests * 10 <= 3 * WINDOW as usize, "{requests} requests in {WINDOW} s are more than 0.3 a second");
    assert!(many <= few + MEMORY, "{many} KiB, with one closure {few} KiB");
}
