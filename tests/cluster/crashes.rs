//! `kill -9` at an exact point: the operator that comes after finds out what the one before it did, repeats nothing, and
//! never guesses.

use crate::operators::Operator;
use crate::stage::{Setup, Stage, condition, outcomes, ready};
use releaseclosure::closure::ledger::Outcome;
use releaseclosure::sandbox::{self, Verdict};
use serde_json::{Value, json};
use std::time::Duration;

/// A stage with an operator of its own, and an intake that promises this and keeps no more than that. Whoever is killed is to be
/// dead before its request times out.
async fn stage(name: &str, delivery: &'static str, releases: usize) -> Stage {
    with_timeout(name, delivery, releases, "5s").await
}

/// The same; where an announcement is given time to settle, which is twice the timeout and the lease's duration.
async fn settling(name: &str) -> Stage {
    with_timeout(name, "Lookup", 1, "1s").await
}

async fn with_timeout(name: &str, delivery: &'static str, releases: usize, timeout: &str) -> Stage {
    let mut seed = sandbox::generate(releases);
    seed.settings.intake.idempotency = delivery == "IdempotencyKey";
    seed.settings.intake.lookup = delivery != "None";
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 16, "timeout": timeout});
    Stage::with(name, Setup { seed, delivery, limits, shared: false, ..Setup::default() }).await
}

/// Kills an operator while this request is under way: not served yet, or served and not answered. Gives the fault back,
/// which still holds the request.
async fn kill_at(stage: &Stage, operator: Operator, number: usize, matches: &Value, served: bool) -> (String, String) {
    let action = if served { "holdAfter" } else { "hold" };
    let fault = stage.fault(json!({"match": matches, "action": action}));
    let name = stage.create(&stage.closure(number)).await;
    stage.holds(&fault, 1).await;
    operator.kill();
    (name, fault)
}

/// What a rule holds is lost; its log entry, where it was not served before, is written by then.
async fn lose(stage: &Stage, fault: &str) {
    let (before, sandbox) = (stage.sandbox().last_request(), stage.sandbox());
    let lost = sandbox.held().iter().filter(|held| held.fault == fault && !held.served).count();
    sandbox.remove_fault(fault);
    while sandbox.requests(before).iter().filter(|entry| entry.fault.as_deref() == Some(fault)).count() < lost {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same for the announcement; whatever was on its way is lost with its sender.
async fn kill_while_announcing(stage: &Stage, served: bool) -> String {
    let operator = stage.operator().await;
    let (name, fault) = kill_at(stage, operator, 1, &json!({"role": "intake", "method": "POST"}), served).await;
    lose(stage, &fault).await;
    let intent = stage.get(&name).await.status.unwrap().steps[4].clone();
    assert_eq!((intent.outcome, intent.links.len()), (Outcome::Intended, 1), "the intent was stored before");
    assert_eq!(stage.sandbox().deliveries().len(), usize::from(served));
    stage.sandbox().clear_requests();
    name
}

async fn ends(stage: &Stage, name: &str, last: &str) {
    let closed = stage.closed(name).await;
    assert_eq!(outcomes(&closed), ["Changed", "Changed", "Changed", "Changed", last]);
    assert_eq!(stage.sandbox().deliveries().len(), 1, "announced once");
    assert!(closed.status.unwrap().trace.is_some());
}

#[tokio::test]
async fn an_intent_whose_announcement_never_left_is_announced_once() {
    let stage = stage("crash-key-before", "IdempotencyKey", 1).await;
    let name = kill_while_announcing(&stage, false).await;
    let _operator = stage.operator_after_a_crash().await;
    ends(&stage, &name, "Changed").await;
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn an_announcement_that_arrived_is_found_by_its_key() {
    let stage = stage("crash-key-after", "IdempotencyKey", 1).await;
    let name = kill_while_announcing(&stage, true).await;
    let _operator = stage.operator_after_a_crash().await;
    ends(&stage, &name, "Unconfirmed").await;
    // Asking was enough; the intent holds everything else.
    assert_eq!(stage.requests(), ["GET intake load-00001@RR-load-00001@1"]);
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn an_announcement_that_arrived_is_repeated_under_its_key_where_nobody_answers_questions() {
    let stage = stage("crash-key-silent", "IdempotencyKey", 1).await;
    let name = kill_while_announcing(&stage, true).await;
    stage.fault(json!({"match": {"role": "intake", "method": "GET"}, "action": {"status": {"code": 503}}}));
    let _operator = stage.operator_after_a_crash().await;
    ends(&stage, &name, "Unconfirmed").await;
    assert_eq!(stage.count("POST", "intake"), 1);
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn an_intake_that_only_answers_questions_is_given_time_before_it_is_told_again() {
    let stage = settling("crash-lookup-before").await;
    let name = kill_while_announcing(&stage, false).await;
    let _operator = stage.operator_after_a_crash().await;
    stage.waiting(&name, "NotificationSettling").await;
    ends(&stage, &name, "Changed").await;
    let log = stage.sandbox().requests(0);
    let at = |method: &str| {
        let own = log.iter().filter(|entry| !entry.path.contains("releaseclosure-probe"));
        let mut found = own.filter(|entry| entry.method == method && entry.path.contains("/handoffs"));
        found.next().expect("it was asked").time
    };
    // The whole of that, less the moment between reading the intent and asking.
    let settled = Duration::try_from(at("POST").duration_since(at("GET"))).unwrap();
    assert!(settled >= Duration::from_secs(16), "{settled:?}");
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn an_announcement_that_arrives_late_is_found_by_a_question() {
    let stage = settling("crash-lookup-late").await;
    let operator = stage.operator().await;
    let (name, late) = kill_at(&stage, operator, 1, &json!({"role": "intake", "method": "POST"}), false).await;
    let _operator = stage.operator_after_a_crash().await;
    stage.waiting(&name, "NotificationSettling").await;
    // Long enough for an impatient operator to have told it again.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(stage.sandbox().release(&late, Verdict::Release), 1);
    ends(&stage, &name, "Unconfirmed").await;
    assert_eq!(stage.count("POST", "intake"), 1);
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn an_announcement_that_arrived_is_found_by_a_question() {
    let stage = stage("crash-lookup-after", "Lookup", 1).await;
    let name = kill_while_announcing(&stage, true).await;
    let _operator = stage.operator_after_a_crash().await;
    ends(&stage, &name, "Unconfirmed").await;
    assert_eq!(stage.requests(), ["GET intake load-00001@RR-load-00001@1"]);
    assert!(stage.all_packets().await.is_empty());
}

/// Sees that a closure halted because nobody can know, and answers for the intake's people.
async fn answer(stage: &Stage, name: &str, handoff: &str) {
    let (closure, packet) = stage.halted(name).await;
    assert_eq!(ready(&closure).1, "NotificationUncertain");
    assert_eq!(packet.spec.cause.as_str(), "NotificationUncertain");
    let requests = stage.requests();
    assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");
    let command = packet.spec.instructions.last().unwrap();
    assert!(command.ends_with("--handoff Delivered|NotDelivered"), "{command}");
    stage.sandbox().clear_requests();
    stage.resolve(&packet, "Resume", Some(handoff)).await;
}

#[tokio::test]
async fn nobody_can_know_and_the_coordinator_says_that_it_arrived() {
    let stage = stage("crash-none-after", "None", 1).await;
    let name = kill_while_announcing(&stage, true).await;
    let _operator = stage.operator_after_a_crash().await;
    answer(&stage, &name, "Delivered").await;
    ends(&stage, &name, "Unconfirmed").await;
    assert_eq!(stage.count("POST", "intake"), 0, "{:?}", stage.requests());
}

#[tokio::test]
async fn nobody_can_know_and_the_coordinator_says_that_it_did_not_arrive() {
    let stage = stage("crash-none-before", "None", 1).await;
    let name = kill_while_announcing(&stage, false).await;
    let _operator = stage.operator_after_a_crash().await;
    answer(&stage, &name, "NotDelivered").await;
    ends(&stage, &name, "Changed").await;
    assert_eq!(stage.count("POST", "intake"), 1);
}

#[tokio::test]
async fn an_answer_is_good_for_one_announcement() {
    let stage = stage("crash-none-twice", "None", 1).await;
    let name = kill_while_announcing(&stage, false).await;
    let operator = stage.operator_after_a_crash().await;
    // The one announcement that the coordinator allowed is cut off, too: again nobody can know.
    let second = stage.fault(json!({"match": {"role": "intake", "method": "POST"}, "action": "hold"}));
    answer(&stage, &name, "NotDelivered").await;
    stage.holds(&second, 1).await;
    operator.kill();
    lose(&stage, &second).await;
    stage.sandbox().clear_requests();
    let _operator = stage.operator_after_a_crash().await;
    stage
        .wait(&name, "halted again", |closure| {
            let status = closure.status.as_ref().unwrap();
            status.episode == 1 && condition(closure, "Stalled").is_some()
        })
        .await;
    answer(&stage, &name, "NotDelivered").await;
    ends(&stage, &name, "Changed").await;
    assert_eq!(stage.all_packets().await.len(), 2);
}

/// The four writes to records.
fn record_writes() -> [Value; 4] {
    [
        json!({"role": "checklist", "method": "PATCH"}),
        json!({"role": "tracker", "method": "PATCH", "field": "state"}),
        json!({"role": "tracker", "method": "PATCH", "field": "evidence"}),
        json!({"role": "queue", "method": "PATCH"}),
    ]
}

async fn is_made_once_although_killed(name: &str, served: bool) {
    let stage = stage(name, "IdempotencyKey", record_writes().len()).await;
    let mut operator = stage.operator().await;
    for (index, matches) in record_writes().into_iter().enumerate() {
        let (name, fault) = kill_at(&stage, operator, index + 1, &matches, served).await;
        lose(&stage, &fault).await;
        operator = stage.operator_after_a_crash().await;
        let closed = stage.closed(&name).await;
        assert_eq!(outcomes(&closed), ["Changed"; 5], "{matches}");
        let steps = closed.status.unwrap().steps;
        // What the record was before the change went with the one who made it, and is not made up.
        let lost = if served { index + 1 } else { index };
        assert!(steps[..lost].iter().all(|step| step.before.is_none()), "{matches}: {steps:?}");
        assert!(steps[lost..4].iter().all(|step| step.before.is_some()), "{matches}: {steps:?}");
        let made = [("checklist", 1), ("intake", 1), ("queue", 1), ("tracker", 2)];
        assert_eq!(stage.writes(), made.map(|(role, count)| (role.to_owned(), count)).into(), "{matches}");
        stage.sandbox().clear_requests();
    }
    assert_eq!(stage.sandbox().deliveries().len(), record_writes().len());
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn a_write_whose_maker_was_killed_before_the_reply_is_not_repeated() {
    is_made_once_although_killed("crash-writes-after", true).await;
}

#[tokio::test]
async fn a_write_whose_maker_was_killed_before_it_was_served_is_made() {
    is_made_once_although_killed("crash-writes-before", false).await;
}
