//! What is let in as a feed, and what is filled in.

use crate::cluster::{Objects, feed, namespace};
use releaseclosure::api::AcceptanceFeed;
use serde_json::{Value, json};

#[tokio::test]
async fn what_a_feed_leaves_out_is_filled_in() {
    let namespace = namespace("feed-defaults");
    let feeds = Objects::of("AcceptanceFeed", namespace).await;
    let made = feeds.create(&feed("webhook")).await.unwrap();
    assert_eq!(made["spec"]["template"], json!({"mode": "Close"}));
    assert_eq!(made["spec"]["playbookRef"]["kind"], "ClosurePlaybook");
    assert_eq!(made["spec"]["suspend"], false);
    assert_eq!(made["status"], json!({"observedGeneration": -1}));
    let mut asks = feed("poll");
    asks["spec"].as_object_mut().unwrap().remove("webhook");
    asks["spec"]["poll"] = json!({});
    let made = feeds.create(&asks).await.unwrap();
    assert_eq!(made["spec"]["poll"], json!({"interval": "1m", "overlap": "10m"}));
    // Whatever the server lets in, the operator's watch can read.
    for object in [made, feeds.create(&full("full")).await.unwrap()] {
        serde_json::from_value::<AcceptanceFeed>(object).expect("it can be read");
    }
}

fn full(name: &str) -> Value {
    let mut feed = feed(name);
    feed["spec"]["webhook"]["secretRefs"] =
        json!([{"name": "webhook", "key": "secret"}, {"name": "webhook", "key": "next"}]);
    feed["spec"]["webhook"]["reviewIdPointer"] = json!("/data/review/id");
    feed["spec"]["template"] = json!({"mode": "Plan", "coordinator": "release-coordinators"});
    feed
}

#[tokio::test]
async fn a_feed_that_is_none_is_not_let_in() {
    let namespace = namespace("feed-hostile");
    let feeds = Objects::of("AcceptanceFeed", namespace).await;
    let reference = json!({"name": "webhook", "key": "secret"});
    for (pointer, value, expected) in [
        ("/spec/poll", json!({}), "exactly one source must be given"),
        ("/spec/webhook", Value::Null, "exactly one source must be given"),
        ("/spec/webhook/format", json!("Slack"), "Unsupported value"),
        ("/spec/webhook/secretRefs", json!([]), "at least 1 items"),
        ("/spec/webhook/secretRefs", json!([reference, reference, reference]), "at most 2 items"),
        ("/spec/webhook/secretRefs", json!([{"name": "../other", "key": "secret"}]), "should match"),
        ("/spec/webhook/reviewIdPointer", json!("data"), "should match"),
        ("/spec/webhook/reviewIdPointer", json!("/a//b"), "should match"),
        ("/spec/webhook/reviewIdPointer", json!("/".repeat(300)), "may not be more than 256"),
        ("/spec/template/coordinator", json!("https://evil.example.com"), "not a URL"),
        ("/spec/template/mode", json!("Deploy"), "Unsupported value"),
        ("/spec/playbookRef/kind", json!("ClusterRole"), "Unsupported value"),
        ("/spec/playbookRef/name", json!("a/b"), "should match"),
    ] {
        let mut object = full("bad");
        let (path, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(path).unwrap()[field] = value.clone();
        let refusal = feeds.create(&object).await.expect_err(&format!("{pointer} = {value}"));
        assert!(refusal.contains(expected), "{pointer} = {value}: {refusal}");
    }
    let mut asks = feed("poll");
    asks["spec"].as_object_mut().unwrap().remove("webhook");
    let mut takes = asks.clone();
    takes["metadata"]["name"] = json!("stream");
    takes["spec"]["nats"] = json!({"connectionRef": {"name": "events"}});
    feeds.create(&takes).await.expect("a stream is a source");
    for (poll, expected) in [
        (json!({"interval": "1s"}), "must be between 10s and 24h"),
        (json!({"overlap": "25h"}), "must be between 0s and 24h"),
        (json!({"since": "yesterday"}), "since"),
    ] {
        asks["spec"]["poll"] = poll.clone();
        let refusal = feeds.create(&asks).await.expect_err(&poll.to_string());
        assert!(refusal.contains(expected), "{poll}: {refusal}");
    }
}
