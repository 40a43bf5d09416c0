//! A feed that asks the governance system for what was accepted.

use super::poster::count;
use super::{Fed, review};
use crate::stage::{PATIENCE, Setup};
use kube::ResourceExt as _;
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn poll(since: &str) -> Value {
    json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "AcceptanceFeed", "metadata": {"name": "asks"},
        "spec": {"playbookRef": {"name": "engineering-release"}, "poll": {"interval": "10s", "since": since}}})
}

#[tokio::test]
async fn what_was_accepted_is_found_page_by_page_and_made_once() {
    let mut seed = serde_json::to_value(sandbox::generate(5)).unwrap();
    seed["settings"]["governance"]["pageSize"] = json!(2);
    let setup = Setup { seed: serde_json::from_value(seed).unwrap(), shared: false, ..Setup::default() };
    let mut fed = Fed::with("feed-asks", setup, &[]).await;
    fed.stage.sandbox().edit(Role::Governance, &review(4), &json!({"state": "InReview"}));
    // A record that cannot be read: the others are there, and it comes when it can.
    let fault = fed
        .stage
        .fault(json!({"match": {"role": "governance", "record": review(3)}, "action": {"status": {"code": 503}}}));
    fed.add(&poll("2020-01-01T00:00:00Z")).await;
    let names = |closures: &[releaseclosure::api::ReleaseClosure]| {
        let mut names: Vec<String> = closures.iter().map(|closure| closure.spec.review.id.clone()).collect();
        names.sort();
        names
    };
    until(&fed, 3).await;
    assert_eq!(names(&fed.closures().await), [review(1), review(2), review(5)]);
    // What was made is written down behind the making.
    fed.wait("asks", "three counted", |status| count(status, "Created") == 3).await;
    fed.operator.take().unwrap().kill();
    fed.stage.sandbox().remove_fault(&fault);
    fed.start().await;
    until(&fed, 4).await;
    assert_eq!(names(&fed.closures().await), [review(1), review(2), review(3), review(5)]);
    // One that is accepted later is found by a later look.
    fed.stage.sandbox().edit(Role::Governance, &review(4), &json!({"state": "Accepted"}));
    until(&fed, 5).await;
    for closure in fed.closures().await {
        fed.stage.closed(&closure.name_any()).await;
    }
    let status = fed.wait("asks", "counted", |status| count(status, "Created") == 5).await;
    assert_eq!(count(&status, "Met"), 0, "what is known is not asked for again");
    assert_eq!(fed.stage.sandbox().deliveries().len(), 5);
}

async fn until(fed: &Fed, closures: usize) {
    let start = Instant::now();
    while fed.closures().await.len() < closures {
        let status = fed.feeds.get("asks").await.unwrap().status;
        assert!(start.elapsed() < PATIENCE, "{status:#?}\n{}", fed.operator.as_ref().unwrap().read_log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
