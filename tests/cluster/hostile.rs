//! Objects, statuses and replies that mean harm: each is refused or said clearly, nothing leaves the operator for them, and
//! nobody else's closure notices.

use crate::operators::Start;
use crate::stage::{Setup, Stage, condition};
use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use releaseclosure::api::{ClosurePlaybook, ReleaseClosure, SystemConnection};
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};
use std::time::Duration;

fn releases(count: usize) -> Setup {
    Setup { seed: sandbox::generate(count), ..Setup::default() }
}

async fn connection(stage: &Stage, name: &str) -> (String, String) {
    let api: Api<SystemConnection> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for _ in 0..600 {
        let conditions = api.get(name).await.unwrap().status.unwrap_or_default().conditions;
        if let Some(ready) =
            conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "False")
        {
            return (ready.reason.clone(), ready.message.clone());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("connection {name} says nothing")
}

#[tokio::test]
async fn what_cannot_be_an_identifier_is_refused_at_admission_and_nothing_is_asked() {
    let stage = Stage::with("hostile-specs", releases(2)).await;
    let megabyte = "x".repeat(1_000_000);
    let texts = ["..", "../admin", "a/../b", "%2e%2e/%2e%2e\r\nX: y", "a\0b", "a b", "x@y", "\u{202e}x", "", &megabyte];
    for pointer in
        ["/spec/release/id", "/spec/review/id", "/spec/review/version", "/spec/records/tracker", "/spec/milestone/id"]
    {
        for text in texts {
            let mut closure = stage.closure(1);
            *closure.pointer_mut(pointer).unwrap() = json!(text);
            let message = create(&stage.closures, closure).await.expect_err(pointer);
            let field = pointer.trim_start_matches('/').replace('/', ".");
            assert!(message.contains(&field), "{pointer} {text:.40?}: {message:.300}");
        }
    }
    for (pointer, text) in [
        ("/spec/evidence/bundle", "load/../secrets"),
        ("/spec/evidence/bundle", "/etc/passwd"),
        ("/spec/evidence/digest", "sha256:zz"),
        ("/spec/playbookRef/name", "other-namespace/engineering-release"),
        ("/spec/coordinator", "https://attacker.example.com/hook"),
    ] {
        let mut closure = stage.closure(1);
        *closure.pointer_mut(pointer).unwrap() = json!(text);
        let message = create(&stage.closures, closure).await.expect_err(pointer);
        assert!(message.contains(&pointer.trim_start_matches('/').replace('/', ".")), "{message}");
    }
    assert_eq!(stage.requests(), Vec::<String>::new());
    let name = stage.create(&stage.closure(2)).await;
    stage.closed(&name).await;
}

async fn create(closures: &Api<ReleaseClosure>, object: Value) -> Result<String, String> {
    let object: ReleaseClosure = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let created = closures.create(&PostParams::default(), &object).await;
    created.map(|object| object.name_any()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn another_namespaces_playbook_cannot_be_reached() {
    let (own, other) =
        (Stage::with("hostile-reach", releases(1)).await, Stage::with("hostile-other", releases(1)).await);
    let api: Api<ClosurePlaybook> = Api::namespaced(other.client.clone(), &other.namespace);
    let mut theirs = api.get("engineering-release").await.unwrap();
    theirs.metadata = ObjectMeta { name: Some("theirs".to_owned()), ..ObjectMeta::default() };
    api.create(&PostParams::default(), &theirs).await.unwrap();
    other.settled_in().await;
    let mut closure = own.closure(1);
    closure["spec"]["playbookRef"]["name"] = json!("theirs");
    let name = own.create(&closure).await;
    own.waiting(&name, "PlaybookNotFound").await;
    own.quiet(Duration::from_secs(1)).await;
    assert_eq!((own.requests(), other.requests()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_status_that_somebody_else_wrote_harms_its_own_closure_at_most() {
    let stage = Stage::with("hostile-status", releases(3)).await;
    let mut suspended = stage.closure(1);
    suspended["spec"]["suspend"] = json!(true);
    let name = stage.create(&suspended).await;
    stage
        .wait(&name, "suspended", |closure| condition(closure, "Ready").is_some_and(|(_, why)| why == "Suspended"))
        .await;
    // One step only, in the wrong place, with a record that leads elsewhere.
    let step = json!({"name": "NotifyCoordinator", "outcome": "Pending", "system": "intake", "record": "../../admin"});
    for status in [
        json!({"status": {"steps": [step]}}),
        json!({"status": {"halt": {"id": "h-00000000000000000000", "cause": "MilestoneRenamed", "at": "2026-01-01T00:00:00Z",
            "packetRef": {"name": "nobodys"}, "findings": []}}}),
    ] {
        let patch = Patch::Merge(&status);
        stage.closures.patch_status(&name, &PatchParams::default(), &patch).await.expect("an administrator may");
        stage
            .patch(&name, json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": status.to_string()}}}))
            .await;
        stage.patch(&name, json!({"spec": {"suspend": false}})).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stage.patch(&name, json!({"spec": {"suspend": true}})).await;
    }
    for number in [2, 3] {
        let other = stage.create(&stage.closure(number)).await;
        stage.closed(&other).await;
    }
    assert_eq!(
        stage.requests().iter().filter(|request| request.contains("00001")).count(),
        0,
        "{:?}",
        stage.requests()
    );
}

#[tokio::test]
async fn texts_of_a_system_are_printable_in_a_packet() {
    let stage = Stage::with("hostile-texts", releases(1)).await;
    let title = "2026.11\r\n\u{1b}[2J\u{202e}DEVORPPA\u{0}";
    assert!(stage.sandbox().edit(Role::Tracker, "REL-00001", &json!({"milestone": {"title": title}})));
    let name = stage.start().await;
    let (closure, packet) = stage.halted(&name).await;
    let observed = &packet.spec.findings[0].observed;
    assert_eq!(observed, "2026.11\u{fffd}\u{fffd}\u{fffd}[2J\u{fffd}DEVORPPA\u{fffd}");
    let whole = serde_json::to_string(&(closure, packet)).unwrap();
    assert!(!whole.contains('\u{202e}') && !whole.contains("\\u001b") && !whole.contains("\\r"));
}

#[tokio::test]
async fn an_endpoint_where_the_operator_has_no_business_is_refused_by_name() {
    let stage = Stage::with("hostile-endpoints", releases(1)).await;
    let api: Api<SystemConnection> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for (name, endpoint) in [
        ("metadata", "http://169.254.169.254/latest"),
        ("mapped", "http://[::ffff:169.254.169.254]/"),
        ("decimal", "http://2852039166/"),
        ("unspecified", "http://0.0.0.0:1/"),
    ] {
        let mut object: Value = stage.connection(name, "Tracker", &Setup::default());
        object["spec"]["http"]["endpoint"] = json!(endpoint);
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let (reason, message) = connection(&stage, name).await;
        assert_eq!(reason, "EndpointRefused", "{endpoint}: {message}");
        assert!(!message.is_empty());
    }
    let mut plain: Value = stage.connection("plain", "Tracker", &Setup::default());
    plain["spec"]["allowPlaintext"] = json!(false);
    plain["spec"].as_object_mut().unwrap().remove("links");
    let refused = api.create(&PostParams::default(), &serde_json::from_value(plain).unwrap()).await;
    assert!(refused.unwrap_err().to_string().contains("allowPlaintext"));
}

#[tokio::test]
async fn the_token_shows_nowhere() {
    const TOKEN: &str = "a-token-that-shall-never-show";
    let stage = Stage::with("hostile-secrets", Setup { shared: false, ..releases(2) }).await;
    let operator = stage.started(Start { level: "trace", ..Start::default() }).await;
    // Closed, halted, refused: whatever is said on the way, the token is not in it.
    let closed = stage.create(&stage.closure(1)).await;
    stage.closed(&closed).await;
    stage.fault(json!({"match": {"role": "tracker"}, "action": {"status": {"code": 401}}}));
    let waiting = stage.create(&stage.closure(2)).await;
    stage.waiting(&waiting, "ConnectionNotReady").await;
    let (reason, _) = connection(&stage, "tracker").await;
    assert_eq!(reason, "Unauthorized");
    let plane = stage.plane;
    let namespace = stage.namespace.clone();
    let objects = tokio::task::spawn_blocking(move || {
        let kinds = "releaseclosures,followuppackets,systemconnections,closureplaybooks,events.events.k8s.io,leases";
        plane.kubectl(&["-n", &namespace, "get", kinds, "-o", "json"])
    })
    .await
    .unwrap();
    assert!(objects.contains("ConnectionNotReady"));
    let log = operator.read_log();
    assert!(log.contains("\"level\":\"TRACE\"") && log.contains("closed"), "the log is not at TRACE");
    for (what, text) in [("the objects", &objects), ("the log", &log)] {
        assert!(!text.contains(TOKEN), "the token shows in {what}");
    }
    assert!(operator.is_alive());
}
