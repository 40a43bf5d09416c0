//! Between the intent and the announcement: what is known not to have gone out leaves no question behind, and what cannot be
//! known is asked of a person.

use crate::outages::Door;
use crate::stage::{Setup, Stage, outcomes, ready};
use releaseclosure::closure::ledger::Outcome;
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};

/// A stage with an intake that tells no announcement from its repetition and answers no question: here every doubt shows.
async fn stage(name: &str, releases: usize) -> Stage {
    let mut seed = sandbox::generate(releases);
    seed.settings.intake.idempotency = false;
    seed.settings.intake.lookup = false;
    Stage::with(name, Setup { seed, delivery: "None", ..Setup::default() }).await
}

fn announcing(action: &Value) -> Value {
    json!({"match": {"role": "intake", "method": "POST"}, "action": action})
}

#[tokio::test]
async fn what_did_not_go_out_is_sent_when_the_intake_is_back() {
    let refusals = [
        (json!({"status": {"code": 429}}), "IntakeUnavailable"),
        (json!({"status": {"code": 429, "problem": false, "retryAfter": 1}}), "IntakeUnavailable"),
        (json!({"status": {"code": 404, "problem": false}}), "IntakeUnavailable"),
        (json!({"status": {"code": 413, "problem": false}}), "IntakeUnavailable"),
        (json!({"status": {"code": 403}}), "IntakeForbidden"),
    ];
    let stage = stage("announce-refusals", refusals.len()).await;
    for (number, (action, reason)) in (1..).zip(refusals) {
        let fault = stage.fault(announcing(&action));
        let name = stage.create(&stage.closure(number)).await;
        let waiting = stage.waiting(&name, reason).await;
        assert_eq!(waiting.status.unwrap().steps[4].outcome, Outcome::Pending, "the intent is taken back: {action}");
        stage.acted(&fault, 1).await;
        stage.sandbox().remove_fault(&fault);
        assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5], "{action}");
        assert_eq!(stage.sandbox().deliveries().len(), number);
    }
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn what_no_connection_could_carry_is_sent_when_the_intake_is_back() {
    let stage = stage("announce-refused", 1).await;
    let mut door = Door::before(&stage).await;
    let endpoint = format!("http://{}{}", door.address, sandbox::PREFIX);
    stage.patch_connection("intake", json!({"http": {"endpoint": endpoint}})).await;
    stage.connection_is("intake", "True", "Ready").await;
    door.close().await;
    let name = stage.start().await;
    let waiting = stage.waiting(&name, "IntakeUnavailable").await;
    assert_eq!(waiting.status.unwrap().steps[4].outcome, Outcome::Pending);
    door.open().await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert_eq!(stage.sandbox().deliveries().len(), 1);
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn an_announcement_that_is_refused_halts_and_leaves_no_doubt() {
    for code in [400, 422] {
        let stage = stage(&format!("announce-{code}"), 1).await;
        let fault = stage.fault(announcing(&json!({"status": {"code": code}})));
        let name = stage.start().await;
        let (closure, packet) = stage.halted(&name).await;
        assert_eq!(ready(&closure).1, "WriteRejected");
        let reasons: Vec<_> = packet.spec.findings.iter().map(|finding| finding.reason.as_str()).collect();
        assert_eq!(reasons, ["WriteRejected"]);
        assert_eq!(closure.status.unwrap().steps[4].outcome, Outcome::Pending);
        stage.sandbox().remove_fault(&fault);
        stage.resolve(&packet, "Resume", None).await;
        assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
        assert_eq!(stage.sandbox().deliveries().len(), 1);
    }
}

#[tokio::test]
async fn another_handoff_under_our_key_halts() {
    let setup = Setup { seed: sandbox::generate(1), ..Setup::default() };
    let stage = Stage::with("announce-conflict", setup).await;
    let key = "load-00001@RR-load-00001@1";
    let other = json!({"key": key, "receivedAt": "2026-11-20T10:00:00Z", "handoff": {"releaseId": "another"}});
    stage.sandbox().put(Role::Intake, key, other);
    let name = stage.start().await;
    let (closure, packet) = stage.halted(&name).await;
    assert_eq!(ready(&closure).1, "ConflictingClosure");
    assert_eq!(packet.spec.findings[0].system.as_str(), "intake");
    assert_eq!(stage.sandbox().deliveries().len(), 0);
}

#[tokio::test]
async fn what_may_have_arrived_is_asked_of_a_coordinator() {
    // A server error and a lost reply may both come from an intake that has taken the handoff.
    let doubts = [
        json!({"status": {"code": 503}}),
        json!("dropBefore"),
        json!({"statusAfter": {"code": 500}}),
        json!("dropAfter"),
    ];
    let stage = stage("announce-doubt", doubts.len()).await;
    for (number, action) in (1..).zip(doubts) {
        let fault = stage.fault(announcing(&action));
        let name = stage.create(&stage.closure(number)).await;
        let (closure, packet) = stage.halted(&name).await;
        assert_eq!(ready(&closure).1, "NotificationUncertain", "{action}");
        assert_eq!(stage.count("POST", "intake"), 1, "{action}: nothing is sent in doubt");
        stage.sandbox().remove_fault(&fault);
        let arrived = stage.sandbox().deliveries().len() == number;
        stage.resolve(&packet, "Resume", Some(if arrived { "Delivered" } else { "NotDelivered" })).await;
        let last = if arrived { "Unconfirmed" } else { "Changed" };
        assert_eq!(outcomes(&stage.closed(&name).await)[4], last, "{action}");
        assert_eq!(stage.sandbox().deliveries().len(), number, "{action}");
        stage.sandbox().clear_requests();
    }
}

/// What a coordinator said is about that moment. Whoever stands aside may find that another announced meanwhile.
#[tokio::test]
async fn a_word_on_the_announcement_does_not_outlive_a_suspension() {
    let stage = stage("announce-aside", 1).await;
    let fault = stage.fault(announcing(&json!("dropBefore")));
    let name = stage.create(&stage.closure(1)).await;
    let (_, first) = stage.halted(&name).await;
    stage.sandbox().remove_fault(&fault);
    // It does not go on at once: the word is given, and kept.
    let fault = stage.fault(json!({"match": {"role": "governance"}, "action": {"status": {"code": 503}}}));
    stage.resolve(&first, "Resume", Some("NotDelivered")).await;
    stage.waiting(&name, "GovernanceUnavailable").await;
    stage.patch(&name, json!({"spec": {"suspend": true}})).await;
    stage.wait(&name, "suspended", |closure| ready(closure).1 == "Suspended").await;
    stage.sandbox().remove_fault(&fault);
    stage.patch(&name, json!({"spec": {"suspend": false}})).await;

    let (closure, second) = stage.halted(&name).await;
    assert_eq!(ready(&closure).1, "NotificationUncertain");
    let status = closure.status.unwrap();
    assert_eq!((status.halts.len(), status.halts[0].superseded), (1, Some(true)));
    assert_ne!(first.metadata.name, second.metadata.name, "it is asked anew");
    assert!(stage.sandbox().deliveries().is_empty());
    stage.resolve(&second, "Resume", Some("NotDelivered")).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert_eq!(stage.sandbox().deliveries().len(), 1);
}

#[tokio::test]
async fn a_finding_after_an_announcement_in_doubt_says_that_too() {
    let stage = stage("announce-doubt-finding", 1).await;
    // The source is withdrawn while nobody knows whether the announcement arrived.
    let edit = json!({"edit": {"role": "governance", "record": "RR-load-00001", "patch": {"state": "Reopened"}}});
    stage.fault(announcing(&edit));
    stage.fault(announcing(&json!("dropAfter")));
    let name = stage.start().await;
    let (closure, packet) = stage.halted(&name).await;
    assert_eq!(ready(&closure).1, "SourceNotAccepted");
    let reasons: Vec<_> = packet.spec.findings.iter().map(|finding| finding.reason.as_str()).collect();
    assert_eq!(reasons, ["SourceNotAccepted", "NotificationUncertain"]);
    assert_eq!(stage.sandbox().deliveries().len(), 1);
}
