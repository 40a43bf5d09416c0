//! What comes back is odd, slow or forbidden: none of it is an answer, none halts a closure, and none delays another one.

use crate::stage::{SYSTEMS, Setup, Stage, condition, outcomes, ready};
use futures::future::join_all;
use releaseclosure::sandbox::{self, Config, Entry, Role, Sandbox};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

async fn stage(name: &str, releases: usize) -> Stage {
    Stage::with(name, Setup { seed: sandbox::generate(releases), ..Setup::default() }).await
}

/// A server that nobody has any business with; how many came all the same.
async fn canary() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/closure/v1/checklists/CHK-00001", listener.local_addr().unwrap());
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = visits.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, visits)
}

#[tokio::test]
async fn replies_that_are_not_the_systems_own_are_waited_out() {
    let (elsewhere, visits) = canary().await;
    let odd = [
        json!({"status": {"code": 404, "problem": false}}),
        json!({"status": {"code": 410, "problem": false}}),
        json!({"status": {"code": 200, "problem": false}}),
        json!({"redirect": {"location": elsewhere}}),
        json!({"redirect": {"location": elsewhere, "code": 302}}),
        json!({"oversize": {"bytes": 2 << 20}}),
        json!({"oversize": {"bytes": 2 << 20, "chunked": true}}),
        json!("garbage"),
        json!("truncate"),
        json!({"etag": {"mode": "weak"}}),
    ];
    let looks = stage("odd-looks", odd.len()).await;
    for (number, action) in (1..).zip(&odd) {
        let fault = looks.fault(json!({"match": {"role": "checklist", "method": "GET"}, "action": action}));
        let name = looks.create(&looks.closure(number)).await;
        looks.waiting(&name, "ChecklistUnavailable").await;
        looks.acted(&fault, 2).await;
        assert!(looks.writes().is_empty(), "{action}: {:?}", looks.writes());
        looks.sandbox().remove_fault(&fault);
        assert_eq!(outcomes(&looks.closed(&name).await), ["Changed"; 5], "{action}");
        looks.sandbox().clear_requests();
    }
    assert!(looks.all_packets().await.is_empty());
    assert_eq!(visits.load(Ordering::SeqCst), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_redirected_write_is_not_made_elsewhere() {
    let (elsewhere, visits) = canary().await;
    let stage = stage("odd-redirect", 3).await;
    for (number, (role, method)) in
        (1..).zip([(Role::Checklist, "PATCH"), (Role::Tracker, "PATCH"), (Role::Intake, "POST")])
    {
        let action = json!({"redirect": {"location": elsewhere, "code": if number == 2 { 308 } else { 307 }}});
        let fault = stage.fault(json!({"match": {"role": role, "method": method}, "action": action}));
        let name = stage.create(&stage.closure(number)).await;
        stage.acted(&fault, 3).await;
        stage.sandbox().remove_fault(&fault);
        assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
        assert_eq!(stage.writes().values().sum::<usize>(), 5);
        stage.sandbox().clear_requests();
    }
    assert!(stage.all_packets().await.is_empty());
    assert_eq!(visits.load(Ordering::SeqCst), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_record_that_is_forbidden_stops_its_own_closure_alone() {
    let stage = stage("odd-forbidden", 3).await;
    let fault =
        stage.fault(json!({"match": {"role": "tracker", "record": "REL-00001"}, "action": {"status": {"code": 403}}}));
    let name = stage.start().await;
    stage.waiting(&name, "TrackerForbidden").await;
    stage.acted(&fault, 3).await;
    for number in 2..=3 {
        let other = stage.create(&stage.closure(number)).await;
        assert_eq!(outcomes(&stage.closed(&other).await), ["Changed"; 5]);
    }
    stage.connection_is("tracker", "True", "Ready").await;
    assert_eq!(condition(&stage.get(&name).await, "Reconciling").unwrap().1, "TrackerForbidden");
    stage.sandbox().remove_fault(&fault);
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn a_record_that_never_answers_stops_its_own_closure_alone() {
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 2, "timeout": "2s"});
    let setup = Setup { seed: sandbox::generate(6), limits, ..Setup::default() };
    let stage = Stage::with("odd-silent", setup).await;
    let silent = stage.fault(json!({"match": {"role": "tracker", "record": "REL-00001"}, "action": "hold"}));
    let name = stage.start().await;
    stage.holds(&silent, 1).await;
    for number in 2..=6 {
        let other = stage.create(&stage.closure(number)).await;
        assert_eq!(outcomes(&stage.closed(&other).await), ["Changed"; 5]);
    }
    stage.waiting(&name, "TrackerUnavailable").await;
    stage.acted(&silent, 2).await;
    assert!(stage.sandbox().record(Role::Tracker, "REL-00001").unwrap().value["closure"].is_null());
    stage.sandbox().remove_fault(&silent);
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert!(stage.all_packets().await.is_empty());
}

/// A second playbook in the namespace of a stage, with connections of its own to the same systems.
async fn second_playbook(stage: &Stage) {
    let mut all = Vec::new();
    for (name, role) in SYSTEMS {
        all.push(stage.connection(&format!("other-{name}"), role, &Setup::default()));
    }
    let refer = |name: &str| json!({"name": format!("other-{name}")});
    all.push(json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ClosurePlaybook",
    "metadata": {"name": "other", "namespace": stage.namespace},
    "spec": {
        "governance": {"connectionRef": refer("governance"), "acceptedStates": ["Accepted"]},
        "archive": {"connectionRef": refer("archive"), "requiredArtifacts": ["rollback-notes"]},
        "checklist": {"connectionRef": refer("checklist")},
        "tracker": {"connectionRef": refer("tracker"), "approvedState": "Approved", "approvableStates": ["InReview"]},
        "queue": {"connectionRef": refer("queue")},
        "intake": {"connectionRef": refer("intake")},
    }}));
    stage.apply(all).await;
    stage.settled_in().await;
}

#[tokio::test]
async fn a_system_that_answers_a_byte_a_second_delays_no_other_playbook() {
    // More closures than there are passes at a time in the whole operator, all of them caught in the tar. The timeout is the longest that
    // a write may have.
    const CAUGHT: usize = 60;
    const FREE: usize = 4;
    let limits = json!({"requestsPerSecond": 1000, "concurrency": 64, "timeout": "10s"});
    let setup = Setup { seed: sandbox::generate(CAUGHT + FREE), limits, ..Setup::default() };
    let stage = Stage::with("odd-tarpit", setup).await;
    second_playbook(&stage).await;
    for number in 1..=CAUGHT {
        let matches = json!({"role": "tracker", "record": format!("REL-{number:05}")});
        stage.fault(json!({"match": matches, "action": {"tarpit": {"bytesPerSecond": 1}}}));
    }
    let closures: Vec<_> = (1..=CAUGHT).map(|number| stage.closure(number)).collect();
    join_all(closures.iter().map(|closure| stage.create(closure))).await;
    while stage.count("GET", "tracker") == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut free = Vec::new();
    for number in CAUGHT + 1..=CAUGHT + FREE {
        let mut closure = stage.closure(number);
        closure["spec"]["playbookRef"]["name"] = json!("other");
        free.push(stage.create(&closure).await);
    }
    for name in free {
        assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    }
    // The first passes over the others were still under way: nothing of the tar had let go.
    let log = stage.sandbox().requests(0);
    let looks = |number: usize| {
        let record = format!("REL-{number:05}");
        log.iter().find(move |entry| entry.role == Some(Role::Tracker) && entry.record.as_deref() == Some(&record))
    };
    let first = (1..=CAUGHT).filter_map(looks).map(|entry| entry.time).min().expect("one is caught");
    for number in CAUGHT + 1..=CAUGHT + FREE {
        let waited = looks(number).expect("it was closed").time.duration_since(first);
        assert!(waited < jiff::SignedDuration::from_secs(10), "held up until the tar let go: {waited:?}");
    }
    assert!(stage.all_packets().await.is_empty());
}

/// The requests to a system after a reply, and how long after it took effect.
fn after(sandbox: &Sandbox, role: Role, reply: &Entry) -> Vec<Duration> {
    let later = sandbox.requests(reply.sequence).into_iter().filter(|entry| entry.role == Some(role));
    later.map(|entry| Duration::try_from(entry.time.duration_since(reply.time)).unwrap()).collect()
}

#[tokio::test]
async fn a_system_that_asks_to_be_left_alone_is_left_alone() {
    let wait = Duration::from_secs(4);
    let matches = [
        json!({"role": "tracker", "method": "GET", "record": "REL-00001", "times": 1}),
        json!({"role": "tracker", "method": "PATCH", "record": "REL-00002", "times": 1}),
        json!({"role": "intake", "method": "POST", "times": 1}),
        json!({"role": "tracker", "method": "GET", "record": "REL-00004", "times": 1}),
    ];
    let stage = stage("odd-retry-after", 2 * matches.len()).await;
    for (number, matches) in (1..).zip(&matches) {
        let code = if number == 4 { 503 } else { 429 };
        let action = json!({"status": {"code": code, "retryAfter": wait.as_secs()}});
        let fault = stage.fault(json!({"match": matches, "action": action}));
        let first = stage.create(&stage.closure(number)).await;
        stage.has_acted(&fault, 1).await;
        // Somebody who wants it now, and somebody else: neither gets past it.
        stage.patch(&first, json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": "now"}}})).await;
        let second = stage.create(&stage.closure(4 + number)).await;
        for name in [&first, &second] {
            assert_eq!(outcomes(&stage.closed(name).await), ["Changed"; 5]);
        }
        let log = stage.sandbox().requests(0);
        let reply = log.iter().find(|entry| entry.fault.as_deref() == Some(&fault)).expect("the reply");
        let later = after(stage.sandbox(), reply.role.unwrap(), reply);
        assert!(!later.is_empty() && later.iter().all(|pause| *pause >= wait), "{matches}: {later:?}");
        stage.sandbox().remove_fault(&fault);
        stage.sandbox().clear_requests();
    }
    assert_eq!(stage.sandbox().deliveries().len(), 2 * matches.len());
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn a_system_that_refuses_the_credentials_is_left_alone_until_they_are_rotated() {
    let stage = stage("odd-unauthorized", 2).await;
    // The tracker moves to where another token is asked for.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config =
        Config { seed: sandbox::generate(2), token: Some("the-rotated-token".to_owned()), ..Config::default() };
    let guarded = sandbox::start(config, listener).await.unwrap();
    stage.patch_connection("tracker", json!({"http": {"endpoint": guarded.endpoint()}})).await;
    stage.connection_is("tracker", "False", "Unauthorized").await;
    let (first, second) = (stage.start().await, stage.create(&stage.closure(2)).await);
    stage.waiting(&first, "ConnectionNotReady").await;
    stage.waiting(&second, "ConnectionNotReady").await;
    assert_eq!(ready(&stage.get(&first).await).1, "ProgressingWithRetry");
    // Time in which closures would have tried often enough to lock an account.
    for token in ["1", "2", "3", "4", "5"] {
        let annotation = json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": token}}});
        stage.patch(&first, annotation).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let rotated = json!({"stringData": {"token": "the-rotated-token"}}).to_string();
    let (plane, namespace) = (stage.plane, stage.namespace.clone());
    tokio::task::spawn_blocking(move || {
        plane.kubectl(&["-n", &namespace, "patch", "secret", "sandbox-token", "--type=merge", "-p", &rotated])
    })
    .await
    .unwrap();
    for name in [first, second] {
        assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    }
    stage.connection_is("tracker", "True", "Ready").await;
    let refused: Vec<_> = guarded.sandbox().requests(0).into_iter().filter(|entry| entry.status == Some(401)).collect();
    assert!(!refused.is_empty());
    for entry in &refused {
        let minute = refused.iter().filter(|other| {
            let gap = other.time.duration_since(entry.time);
            !gap.is_negative() && gap < jiff::SignedDuration::from_mins(1)
        });
        assert!(minute.count() <= 3, "{:?}", refused.iter().map(|entry| (&entry.path, entry.time)).collect::<Vec<_>>());
    }
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn a_finding_beside_a_forbidden_record_halts() {
    let stage = stage("odd-forbidden-mismatch", 1).await;
    stage.fault(json!({"match": {"role": "tracker"}, "action": {"status": {"code": 403}}}));
    stage.sandbox().edit(Role::Queue, "Q-00001", &json!({"release": {"id": "another"}}));
    let name = stage.start().await;
    let (closure, _) = stage.halted(&name).await;
    assert_eq!(ready(&closure).1, "QueueEntryMismatch");
    assert!(stage.writes().is_empty());
}
