//! The operator as its account with exactly the shipped rights: nothing is acknowledged that is not there.

use super::poster::now;
use super::{Fed, review, webhook};
use crate::operators::{Operator, account};
use crate::support::controlplane::repository;
use serde_json::json;

#[tokio::test]
async fn without_the_right_to_create_nothing_is_acknowledged_and_with_it_the_same_event_makes_the_closure() {
    let mut fed = Fed::new("feed-rights", 1, &[webhook("governance", "StandardWebhooks", &["webhook"])]).await;
    drop(fed.operator.take());
    let plane = fed.stage.plane;
    let mut flags = fed.flags();
    flags[1] = "--lease-namespace=releaseclosure-system".to_owned();
    let start = move || Operator::start(account(plane), &flags.each_ref().map(String::as_str));
    fed.operator = Some(tokio::task::spawn_blocking(start).await.unwrap());
    let poster = fed.poster("governance");
    let body = json!({"data": {"review": {"id": review(1)}}}).to_string();
    assert_eq!(poster.standard("evt-1", now(), &body).await, 503);
    assert_eq!(fed.closures().await.len(), 0);
    let hindered = |status: &serde_json::Value| status["conditions"][0]["reason"] == "FeedHindered";
    let status = fed.wait("governance", "hindered", hindered).await;
    let message = status["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("open-namespace-feeds"), "{message}");

    let role = repository("manifests/components/open-namespace-feeds/role.yaml").display().to_string();
    let namespace = fed.stage.namespace.clone();
    let apply = move || plane.kubectl(&["-n", &namespace, "apply", "-f", &role]);
    tokio::task::spawn_blocking(apply).await.unwrap();
    assert_eq!(poster.until_answered("evt-1", &body).await, 204);
    assert_eq!(fed.closure_of(1).await.spec.review.id, review(1));
    assert_eq!(fed.counted("replayed").await, 0);
    fed.ready("governance").await;
}
