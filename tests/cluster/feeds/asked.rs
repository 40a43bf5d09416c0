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

/// The list shows a review once, and its record is not complete then.
#[tokio::test]
async fn a_review_whose_record_is_put_right_is_found_though_the_list_has_passed_it() {
    let setup = Setup { seed: sandbox::generate(3), shared: false, ..Setup::default() };
    let fed = Fed::with("feed-asks-again", setup, &[]).await;
    let mut whole = fed.stage.record(Role::Governance, &review(2));
    // That is when it was accepted, whatever is changed in it later.
    whole["acceptedEvent"]["at"] = json!("2026-01-01T00:00:00Z");
    let mut lacking = whole.clone();
    lacking["milestone"] = Value::Null;
    fed.stage.sandbox().put(Role::Governance, &review(2), lacking);
    let mut feed = poll("2020-01-01T00:00:00Z");
    feed["spec"]["poll"]["overlap"] = json!("0s");
    fed.add(&feed).await;
    until(&fed, 2).await;
    let status = fed.wait("asks", "through", |status| !status["position"]["acceptedAfter"].is_null()).await;
    assert!(count(&status, "Incomplete") >= 1, "{status:#}");
    fed.wait("asks", "past it", |status| {
        let after = status["position"]["acceptedAfter"].as_str().unwrap_or_default();
        !after.starts_with("2020") && status["position"]["began"].is_null()
    })
    .await;
    fed.stage.sandbox().put(Role::Governance, &review(2), whole);
    until(&fed, 3).await;
    let log = fed.operator.as_ref().unwrap().read_log();
    let told = log.lines().filter(|line| line.contains("makes no closure") && line.contains(&review(2))).count();
    assert_eq!(told, 1, "once, however often it is looked at");
}

async fn until(fed: &Fed, closures: usize) {
    let start = Instant::now();
    while fed.closures().await.len() < closures {
        let status = fed.feeds.get("asks").await.unwrap().status;
        assert!(start.elapsed() < PATIENCE, "{status:#?}\n{}", fed.operator.as_ref().unwrap().read_log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
