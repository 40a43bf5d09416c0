//! A closure that is deleted and created again is the same closure: it tells nobody twice, and its halt holds it still.

use crate::stage::{Setup, Stage, condition, is_true, outcomes, ready};
use releaseclosure::sandbox::{self, Role};
use serde_json::json;
use std::time::Duration;

async fn stage(name: &str, delivery: &'static str) -> Stage {
    let mut seed = sandbox::generate(1);
    seed.settings.intake.idempotency = delivery == "IdempotencyKey";
    seed.settings.intake.lookup = delivery != "None";
    Stage::with(name, Setup { seed, delivery, ..Setup::default() }).await
}

async fn is_announced_once(delivery: &'static str) {
    let stage = stage(&format!("again-{}", delivery.to_lowercase()), delivery).await;
    let name = stage.start().await;
    stage.closed(&name).await;
    let evidence = stage.record(Role::Tracker, "REL-00001")["evidence"].clone();
    stage.delete(&name).await;
    stage.sandbox().clear_requests();
    stage.start().await;
    let closed = stage.closed(&name).await;
    assert_eq!(outcomes(&closed), ["AlreadyDone"; 5]);
    assert_eq!(stage.writes().len(), 0, "{:?}", stage.requests());
    assert_eq!(stage.sandbox().deliveries().len(), 1);
    assert_eq!(stage.record(Role::Tracker, "REL-00001")["evidence"], evidence, "the old marker is the one that stays");
    // Five looks and one word with the intake; the source once more only before a word that announces.
    let expected = if delivery == "Lookup" { 6 } else { 7 };
    assert_eq!(stage.requests().len(), expected, "{:?}", stage.requests());
}

#[tokio::test]
async fn it_is_announced_once_where_keys_are_known() {
    is_announced_once("IdempotencyKey").await;
}

#[tokio::test]
async fn it_is_announced_once_where_questions_are_answered() {
    is_announced_once("Lookup").await;
}

#[tokio::test]
async fn it_asks_a_coordinator_where_the_intake_can_do_neither() {
    let stage = stage("again-none", "None").await;
    let name = stage.start().await;
    stage.closed(&name).await;
    stage.delete(&name).await;
    stage.start().await;
    let (closure, packet) = stage.halted(&name).await;
    assert_eq!(ready(&closure).1, "NotificationUncertain");
    stage.resolve(&packet, "Resume", Some("Delivered")).await;
    let closed = stage.closed(&name).await;
    assert_eq!(outcomes(&closed), ["AlreadyDone", "AlreadyDone", "AlreadyDone", "AlreadyDone", "Unconfirmed"]);
    assert_eq!(stage.sandbox().deliveries().len(), 1);
}

#[tokio::test]
async fn a_halted_closure_made_again_is_halted_by_the_same_packet_without_a_request() {
    let stage = stage("again-halted", "IdempotencyKey").await;
    stage.sandbox().edit(Role::Tracker, "REL-00001", &json!({"milestone": {"title": "Renamed"}}));
    let name = stage.start().await;
    let (before, packet) = stage.halted(&name).await;
    stage.delete(&name).await;
    // Its cause is gone, but nobody has said so.
    stage.sandbox().edit(Role::Tracker, "REL-00001", &json!({"milestone": {"title": "M 00001"}}));
    stage.sandbox().clear_requests();
    stage.start().await;
    let (closure, same) = stage.halted(&name).await;
    assert_ne!(closure.metadata.uid, before.metadata.uid);
    assert_eq!(
        (same.metadata.uid.as_ref(), ready(&closure).1.as_str()),
        (packet.metadata.uid.as_ref(), "MilestoneRenamed")
    );
    let (was, is) = (before.status.unwrap().halt.unwrap(), closure.status.unwrap().halt.unwrap());
    assert_eq!((was.id, was.at, was.findings), (is.id, is.at, is.findings));
    stage.quiet(Duration::from_secs(2)).await;
    assert_eq!(stage.requests(), Vec::<String>::new());
    // A third object under another name, created while the second waits, is held by the packet, too.
    let mut other = stage.closure(1);
    other["metadata"]["name"] = json!("another-name");
    stage.create(&other).await;
    stage.halted("another-name").await;
    assert_eq!(stage.requests(), Vec::<String>::new());
    stage.resolve(&packet, "Resume", None).await;
    let closed = stage.closed(&name).await;
    assert_eq!(outcomes(&closed), ["Changed"; 5]);
    assert_eq!(closed.status.unwrap().halts.len(), 1);
    stage.closed("another-name").await;
    assert_eq!(stage.sandbox().deliveries().len(), 1);
    assert_eq!(stage.all_packets().await.len(), 1);
}

#[tokio::test]
async fn an_abandoned_closure_made_again_is_abandoned_until_its_packet_is_deleted() {
    let stage = stage("again-abandoned", "IdempotencyKey").await;
    stage.sandbox().edit(Role::Tracker, "REL-00001", &json!({"milestone": {"title": "Renamed"}}));
    let name = stage.start().await;
    let (_, packet) = stage.halted(&name).await;
    stage.resolve(&packet, "Abandon", None).await;
    let abandoned = |closure: &releaseclosure::api::ReleaseClosure| ready(closure).1 == "Abandoned";
    stage.wait(&name, "abandoned", abandoned).await;
    stage.delete(&name).await;
    stage.sandbox().edit(Role::Tracker, "REL-00001", &json!({"milestone": {"title": "M 00001"}}));
    stage.sandbox().clear_requests();
    stage.start().await;
    let closure = stage.wait(&name, "abandoned again", abandoned).await;
    assert_eq!(condition(&closure, "Stalled").unwrap().1, "Abandoned");
    let status = closure.status.unwrap();
    assert!(status.completion_time.is_some());
    assert_eq!(status.halts[0].packet_ref.name, packet.metadata.name.clone().unwrap());
    stage.quiet(Duration::from_secs(2)).await;
    assert_eq!(stage.requests(), Vec::<String>::new());
    // Who wants to start afresh deletes the packet, and the object.
    stage.packets.delete(&packet.metadata.name.unwrap(), &Default::default()).await.unwrap();
    stage.delete(&name).await;
    stage.start().await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
}

#[tokio::test]
async fn a_review_accepted_anew_closes_as_a_new_object_and_keeps_the_old_evidence() {
    let stage = stage("again-rereview", "IdempotencyKey").await;
    let first = stage.start().await;
    stage.closed(&first).await;
    let old_link = stage.record(Role::Tracker, "REL-00001")["evidence"][0].clone();

    // The review is reopened, and people put the records back; what was attached stays attached, markers and all.
    let sandbox = stage.sandbox();
    let digest = format!("sha256:{}", "2".repeat(64));
    let mut bundle = stage.record(Role::Archive, "load/00001/rv1");
    for (field, value) in
        [("bundle", "load/00001/rv2"), ("digest", &digest), ("url", "https://archive.example.com/load/00001/rv2")]
    {
        bundle[field] = json!(value);
    }
    bundle["review"]["version"] = json!("2");
    sandbox.put(Role::Archive, "load/00001/rv2", bundle);
    let back = json!({"review": {"version": "2"}, "state": "Open"});
    assert!(sandbox.edit(Role::Checklist, "CHK-00001", &back));
    assert!(sandbox.edit(Role::Queue, "Q-00001", &json!({"review": {"version": "2"}, "state": "Pending"})));
    assert!(sandbox.edit(Role::Tracker, "REL-00001", &json!({"state": "InReview"})));
    let accepted = json!({"version": "2", "evidence": {"bundle": "load/00001/rv2", "digest": digest},
        "acceptedEvent": {"id": "evt-00001-2"}});
    assert!(sandbox.edit(Role::Governance, "RR-load-00001", &accepted));
    let old_key = "load-00001@RR-load-00001@1";
    for (role, record) in [(Role::Checklist, "CHK-00001"), (Role::Tracker, "REL-00001"), (Role::Queue, "Q-00001")] {
        assert_eq!(stage.record(role, record)["closure"]["key"], old_key, "the old marker is still on it");
    }
    sandbox.clear_requests();

    let mut closure = stage.closure(1);
    closure["metadata"]["name"] = json!("load-00001-rv2");
    let second = stage.create(&closure).await;
    let closed = stage.closed(&second).await;
    assert_eq!(outcomes(&closed), ["Changed"; 5]);
    let tracker = stage.record(Role::Tracker, "REL-00001");
    let links = tracker["evidence"].as_array().unwrap();
    assert_eq!((links.len(), &links[0]), (2, &old_link));
    assert_eq!(links[1]["bundle"], "load/00001/rv2");
    assert_eq!(tracker["closure"]["key"], "load-00001@RR-load-00001@2");
    let keys: Vec<_> = stage.sandbox().deliveries().into_iter().map(|delivery| delivery.key).collect();
    assert_eq!(keys, [old_key, "load-00001@RR-load-00001@2"]);
    // The first one is history, and is looked at no more.
    assert!(is_true(&stage.get(&first).await, "CoordinatorNotified"));
    assert!(stage.all_packets().await.is_empty());
}
