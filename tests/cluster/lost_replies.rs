//! A write that takes effect while its reply is lost: found done at the next look, told from somebody else's change by its
//! marker, and never made twice.

use crate::stage::{Setup, Stage, outcomes};
use releaseclosure::sandbox::{self, Role, Verdict};
use serde_json::{Value, json};
use std::time::Duration;

/// The five writes, by what tells them apart.
fn writes() -> [Value; 5] {
    [
        json!({"role": "checklist", "method": "PATCH", "times": 1}),
        json!({"role": "tracker", "method": "PATCH", "field": "state", "times": 1}),
        json!({"role": "tracker", "method": "PATCH", "field": "evidence", "times": 1}),
        json!({"role": "queue", "method": "PATCH", "times": 1}),
        json!({"role": "intake", "method": "POST", "times": 1}),
    ]
}

/// Long enough for every reply that is not held back on a busy machine.
const TIMEOUT: &str = "3s";

async fn is_made_once(name: &str, delivery: &'static str, action: Value) {
    let mut seed = sandbox::generate(writes().len());
    seed.settings.intake.idempotency = delivery == "IdempotencyKey";
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": TIMEOUT});
    let stage = Stage::with(name, Setup { seed, delivery, limits, ..Setup::default() }).await;
    for (number, matches) in (1..).zip(writes()) {
        let fault = stage.fault(json!({"match": matches, "action": action}));
        let name = stage.create(&stage.closure(number)).await;
        let closed = stage.closed(&name).await;
        let fired =
            stage.sandbox().faults().iter().find(|armed| armed.rule.id.as_deref() == Some(&fault)).unwrap().fired;
        assert_eq!(fired, 1, "the reply was lost");
        stage.sandbox().remove_fault(&fault);
        // Records prove whose change it was; the intake proves only that the handoff is there.
        let mut expected = ["Changed"; 5];
        if matches["role"] == "intake" {
            expected[4] = "Unconfirmed";
        }
        assert_eq!(outcomes(&closed), expected, "{matches} {action}");
        let made = [("checklist", 1), ("intake", 1), ("queue", 1), ("tracker", 2)];
        assert_eq!(stage.writes(), made.map(|(role, count)| (role.to_owned(), count)).into(), "{matches} {action}");
        stage.sandbox().clear_requests();
        let tracker = stage.record(Role::Tracker, &format!("REL-{number:05}"));
        assert_eq!(tracker["evidence"].as_array().unwrap().len(), 1);
    }
    assert_eq!(stage.sandbox().deliveries().len(), writes().len());
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn an_error_after_the_change_was_made_does_not_repeat_it() {
    is_made_once("lost-error", "IdempotencyKey", json!({"statusAfter": {"code": 500}})).await;
}

#[tokio::test]
async fn a_bad_gateway_after_the_change_was_made_does_not_repeat_it() {
    is_made_once("lost-gateway", "Lookup", json!({"statusAfter": {"code": 502, "problem": false}})).await;
}

#[tokio::test]
async fn a_connection_that_closes_after_the_change_was_made_does_not_repeat_it() {
    is_made_once("lost-close", "IdempotencyKey", json!("dropAfter")).await;
}

#[tokio::test]
async fn a_reset_after_the_change_was_made_does_not_repeat_it() {
    is_made_once("lost-reset", "Lookup", json!({"dropAfter": {"reset": true}})).await;
}

#[tokio::test]
async fn a_reply_cut_in_half_does_not_repeat_the_change() {
    is_made_once("lost-truncate", "IdempotencyKey", json!("truncate")).await;
}

#[tokio::test]
async fn a_reply_that_is_no_json_does_not_repeat_the_change() {
    is_made_once("lost-garbage", "Lookup", json!("garbage")).await;
}

#[tokio::test]
async fn a_reply_that_is_too_large_does_not_repeat_the_change() {
    is_made_once("lost-oversize", "IdempotencyKey", json!({"oversize": {"bytes": 2 << 20, "chunked": true}})).await;
}

#[tokio::test]
async fn a_reply_that_comes_too_late_does_not_repeat_the_change() {
    is_made_once("lost-late", "IdempotencyKey", json!({"delayAfter": {"milliseconds": 60_000}})).await;
}

#[tokio::test]
async fn a_write_that_lands_long_after_its_caller_gave_up_changes_nothing() {
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": TIMEOUT});
    let setup = Setup { seed: sandbox::generate(writes().len()), limits, ..Setup::default() };
    let stage = Stage::with("lost-zombie", setup).await;
    for (number, matches) in (1..).zip(writes()) {
        let late = stage.fault(json!({"match": matches, "action": "hold"}));
        let name = stage.create(&stage.closure(number)).await;
        assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5], "{matches}");
        assert_eq!(stage.sandbox().release(&late, Verdict::Release), 1);
        let served = || stage.sandbox().requests(0).into_iter().find(|entry| entry.fault.as_deref() == Some(&late));
        let entry = loop {
            match served() {
                Some(entry) => break entry,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        // The record has another revision by now; the intake has the same handoff under this key.
        let expected = if matches["role"] == "intake" { 200 } else { 412 };
        assert_eq!((entry.status, entry.applied), (Some(expected), false), "{matches}");
        stage.sandbox().remove_fault(&late);
    }
    assert_eq!(stage.writes().values().sum::<usize>(), 25);
    assert_eq!(stage.sandbox().deliveries().len(), writes().len());
    assert!(stage.all_packets().await.is_empty());
}
