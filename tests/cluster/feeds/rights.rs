//! The operator as its account with exactly the shipped rights: nothing is acknowledged that is not there.

use super::poster::now;
use super::{Fed, review, webhook};
use crate::operators::ACCOUNT;
use crate::stage::{OPEN_FEEDS, PATIENCE};
use crate::support::controlplane::{eventually, repository};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn without_the_right_to_create_nothing_is_acknowledged_and_with_it_the_same_event_makes_the_closure() {
    let fed = Fed::new("feed-rights", 1, &[webhook("governance", "StandardWebhooks", &["webhook"])]).await;
    let (file, name) = OPEN_FEEDS;
    let (plane, namespace) = (fed.stage.plane, fed.stage.namespace.clone());
    let shut = move || {
        plane.kubectl(&["-n", &namespace, "delete", "rolebinding", name]);
        let may = ["-n", &namespace, "auth", "can-i", "create", "releaseclosures", "--as", ACCOUNT];
        eventually("the API server has heard", || !plane.try_kubectl(&may).ok);
    };
    tokio::task::spawn_blocking(shut).await.unwrap();
    let poster = fed.poster("governance");
    let body = json!({"data": {"review": {"id": review(1)}}}).to_string();
    assert_eq!(poster.standard("evt-1", now(), &body).await, 503);
    assert_eq!(fed.closures().await.len(), 0);
    let hindered = |status: &serde_json::Value| status["conditions"][0]["reason"] == "FeedHindered";
    let status = fed.wait("governance", "hindered", hindered).await;
    let message = status["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("open-namespace-feeds"), "{message}");
    until_told(&fed, Some("0.0")).await;

    let role = repository(file).display().to_string();
    let namespace = fed.stage.namespace.clone();
    let apply = move || plane.kubectl(&["-n", &namespace, "apply", "-f", &role]);
    tokio::task::spawn_blocking(apply).await.unwrap();
    assert_eq!(poster.until_answered("evt-1", &body).await, 204);
    assert_eq!(fed.closure_of(1).await.spec.review.id, review(1));
    assert_eq!(fed.counted("replayed").await, 0);
    fed.ready("governance").await;
    until_told(&fed, Some("1.0")).await;
    // The series goes with the feed.
    fed.feeds.delete("governance", &Default::default()).await.unwrap();
    until_told(&fed, None).await;
}

/// Waits until the gauge of the feed says so: it is told from the cache, which may hear of a status after its writer did.
async fn until_told(fed: &Fed, expected: Option<&str>) {
    let series = "releaseclosure_feed_ready{namespace=\"feed-rights\",feed=\"governance\"} ";
    let start = Instant::now();
    loop {
        let text = fed.metrics().await;
        let told = text.lines().find_map(|line| line.strip_prefix(series));
        if told == expected {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{told:?} is told, {expected:?} was expected");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
