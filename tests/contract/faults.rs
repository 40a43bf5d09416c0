//! Every fault does what it says, to the bytes on the wire and to the record.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use releaseclosure::sandbox::Role;
use serde_json::{Value, json};

use super::client::{Bench, close, handoff, marker, patch_headers};
use super::raw::{Raw, content_length};

const PATH: &str = "/checklists/CHK-00001";

fn rule(action: Value) -> Value {
    json!({"match": {"role": "checklist", "method": "PATCH"}, "action": action})
}

impl Bench {
    fn checklist(&self) -> Value {
        self.field(Role::Checklist, "CHK-00001", "/state")
    }

    fn etag(&self) -> String {
        self.sandbox().record(Role::Checklist, "CHK-00001").expect("a record").etag()
    }

    /// Closes the checklist over a bare socket and says what came back.
    async fn close_raw(&self) -> Raw {
        let mut raw = Raw::connect(self).await;
        raw.send("PATCH", PATH, &patch_headers(&self.etag()), Some(&close())).await;
        raw
    }

    /// The last entry of the log: status, applied, fault.
    fn last(&self) -> Value {
        let log = self.log();
        let entry = log.last().expect("an entry");
        json!([entry["status"], entry["applied"], entry["fault"]])
    }
}

/// Waits for something that is about to happen.
async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn drop_before_closes_without_a_byte_and_without_the_change() {
    let bench = Bench::new().await;
    bench.fault(rule(json!("dropBefore"))).await;
    assert_eq!(bench.close_raw().await.read_to_end().await.expect("an orderly close"), b"");
    assert_eq!((bench.checklist(), bench.last()), (json!("Open"), json!([null, false, "fault-1"])));
}

#[tokio::test]
async fn drop_after_closes_without_a_byte_but_with_the_change() {
    let bench = Bench::new().await;
    bench.fault(rule(json!("dropAfter"))).await;
    assert_eq!(bench.close_raw().await.read_to_end().await.expect("an orderly close"), b"");
    assert_eq!((bench.checklist(), bench.last()), (json!("Closed"), json!([null, true, "fault-1"])));
}

#[tokio::test]
async fn a_drop_may_be_a_reset() {
    let bench = Bench::new().await;
    for (action, state) in [("dropBefore", "Open"), ("dropAfter", "Closed")] {
        bench.admin("PUT", "/admin/faults", Some(&json!([rule(json!({action: {"reset": true}}))]))).await;
        let broken = bench.close_raw().await.read_to_end().await.expect_err("a reset");
        assert_eq!((broken.kind(), bench.checklist()), (ErrorKind::ConnectionReset, json!(state)));
    }
}

#[tokio::test]
async fn a_drop_is_an_error_for_an_ordinary_client_and_spares_other_connections() {
    let bench = Bench::new().await;
    let mut other = Raw::connect(&bench).await;
    other.send("GET", PATH, &[], None).await;
    assert!(other.read_reply().await.starts_with("http/1.1 200"));
    bench.fault(json!({"match": {"method": "PATCH", "nth": 1}, "action": "dropAfter"})).await;
    let etag = bench.etag();
    assert!(bench.try_send("PATCH", PATH, &patch_headers(&etag), Some(&close())).await.is_err());
    other.send("GET", PATH, &[], None).await;
    assert!(other.read_reply().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn delay_serves_later_even_if_the_caller_has_gone() {
    let bench = Bench::new().await;
    bench.fault(rule(json!({"delay": {"milliseconds": 30}}))).await;
    drop(bench.close_raw().await);
    until(|| bench.checklist() == "Closed").await;
    bench.sandbox().edit(Role::Checklist, "CHK-00001", &json!({"state": "Open"}));
    assert_eq!(bench.patch(PATH, &close()).await.status, 200);
}

#[tokio::test]
async fn delay_after_serves_at_once_and_replies_later() {
    let bench = Bench::new().await;
    bench.fault(rule(json!({"delayAfter": {"milliseconds": 3_600_000}}))).await;
    let mut waiting = bench.close_raw().await;
    until(|| bench.checklist() == "Closed").await;
    tokio::select! {
        _ = waiting.read_head() => panic!("a reply"),
        reply = bench.get(PATH) => assert_eq!(reply.json()["state"], "Closed"),
    }
    bench.admin("PUT", "/admin/faults", Some(&json!([rule(json!({"delayAfter": {"milliseconds": 1}}))]))).await;
    assert_eq!(bench.patch(PATH, &close()).await.status, 200);
}

#[tokio::test]
async fn status_replies_without_the_change() {
    let bench = Bench::new().await;
    bench.fault(rule(json!({"status": {"code": 503, "retryAfter": 7}}))).await;
    let reply = bench.patch(PATH, &close()).await;
    reply.is_problem(503, "injected");
    assert_eq!(reply.header("retry-after"), Some("7"));
    assert_eq!((bench.checklist(), bench.last()), (json!("Open"), json!([503, false, "fault-1"])));
    let page = rule(json!({"status": {"code": 404, "problem": false, "retryAfter": "Wed, 21 Oct 2026 07:28:00 GMT"}}));
    bench.admin("PUT", "/admin/faults", Some(&json!([page]))).await;
    let reply = bench.patch(PATH, &close()).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (404, Some("text/html")));
    assert_eq!(reply.header("retry-after"), Some("Wed, 21 Oct 2026 07:28:00 GMT"));
}

#[tokio::test]
async fn status_after_replies_so_although_the_change_is_made() {
    let bench = Bench::new().await;
    bench.fault(rule(json!({"statusAfter": {"code": 500}}))).await;
    bench.patch(PATH, &close()).await.is_problem(500, "injected");
    assert_eq!((bench.checklist(), bench.last()), (json!("Closed"), json!([500, true, "fault-1"])));
}

#[tokio::test]
async fn lie_claims_a_change_that_is_not_made() {
    let bench = Bench::new().await;
    bench.fault(json!({"action": "lie"})).await;
    let before = bench.etag();
    let reply = bench.patch(PATH, &close()).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["state"]), (200, &json!("Closed")));
    assert_eq!((bench.checklist(), bench.etag() == before), (json!("Open"), true));
    // The ETag that it showed is never that of a record.
    let claimed = reply.etag().to_owned();
    bench.sandbox().clear_faults();
    assert_ne!(bench.patch(PATH, &close()).await.etag(), claimed);
    bench.fault(json!({"action": "lie"})).await;
    assert_eq!(bench.post("load-00001@RR-load-00001@1", &handoff()).await.status, 201);
    assert_eq!(bench.sandbox().deliveries(), []);
}

#[tokio::test]
async fn ignore_shows_the_record_as_it_still_is() {
    let bench = Bench::new().await;
    bench.fault(json!({"action": "ignore"})).await;
    let reply = bench.patch(PATH, &close()).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["state"], reply.etag()), (200, &json!("Open"), &*bench.etag()));
    assert_eq!((bench.checklist(), bench.last()), (json!("Open"), json!([200, false, "fault-1"])));
}

#[tokio::test]
async fn garbage_is_not_json() {
    let bench = Bench::new().await;
    bench.fault(rule(json!("garbage"))).await;
    let reply = bench.patch(PATH, &close()).await;
    assert_eq!((reply.status.as_u16(), bench.checklist()), (200, json!("Closed")));
    assert!(serde_json::from_slice::<Value>(&reply.bytes).is_err());
}

#[tokio::test]
async fn truncate_breaks_off_in_the_middle() {
    let bench = Bench::new().await;
    bench.fault(json!({"action": "truncate"})).await;
    let mut raw = bench.close_raw().await;
    let (head, mut body) = raw.read_head().await;
    body.extend(raw.read_to_end().await.expect("an orderly close"));
    assert!(head.starts_with("http/1.1 200"));
    assert_eq!(body.len(), content_length(&head) / 2);
    assert_eq!(bench.checklist(), "Closed");
    assert!(bench.try_send("GET", PATH, &[], None).await.is_err());
}

#[tokio::test]
async fn tarpit_drips() {
    let bench = Bench::new().await;
    let whole = bench.get(PATH).await;
    bench.fault(json!({"action": {"tarpit": {"bytesPerSecond": 1}}})).await;
    let mut raw = Raw::connect(&bench).await;
    raw.send("GET", PATH, &[], None).await;
    let (head, body) = raw.read_head().await;
    assert_eq!(content_length(&head), whole.bytes.len());
    assert!(body.len() < whole.bytes.len());
    bench.admin("PUT", "/admin/faults", Some(&json!([{"action": {"tarpit": {"bytesPerSecond": 1_000_000}}}]))).await;
    assert_eq!(bench.get(PATH).await.bytes, whole.bytes);
}

#[tokio::test]
async fn oversize_is_as_large_as_it_is_told() {
    let bench = Bench::new().await;
    for chunked in [false, true] {
        let action = json!({"oversize": {"bytes": 3_000_000, "chunked": chunked}});
        bench.admin("PUT", "/admin/faults", Some(&json!([{"action": action}]))).await;
        let reply = bench.get(PATH).await;
        assert_eq!(reply.header("content-length").is_some(), !chunked);
        assert_eq!((reply.bytes.len(), &reply.json()["id"]), (3_000_000, &json!("CHK-00001")));
    }
}

#[tokio::test]
async fn stale_shows_one_revision_before() {
    let bench = Bench::new().await;
    let before = bench.get(PATH).await;
    bench.patch(PATH, &close()).await;
    bench.fault(json!({"match": {"method": "GET"}, "action": "stale"})).await;
    let stale = bench.get(PATH).await;
    assert_eq!((stale.json(), stale.etag()), (before.json(), before.etag()));
    let found = bench.get("/checklists?release=load-00001&reviewVersion=1").await.json();
    assert_eq!(found["items"][0]["state"], "Open");
    assert_eq!(bench.get("/reviews/RR-load-00001").await.status, 200);
    bench.sandbox().clear_faults();
    bench.patch_if(PATH, before.etag(), &close()).await.is_problem(412, "preconditionFailed");
}

#[tokio::test]
async fn edit_lands_before_the_caller_has_its_reply() {
    let bench = Bench::new().await;
    let own = json!({"match": {"method": "GET", "nth": 1}, "action": {"edit": {"patch": {"state": "Frozen"}}}});
    let other = json!({"match": {"method": "GET", "nth": 1},
        "action": {"edit": {"role": "governance", "record": "RR-load-00001", "patch": {"state": "Superseded"}}}});
    let gone = json!({"match": {"method": "GET", "nth": 1}, "action": {"edit": {"role": "queue", "record": "Q-00001", "delete": true}}});
    bench.admin("PUT", "/admin/faults", Some(&json!([own, other, gone]))).await;
    let read = bench.get(PATH).await;
    assert_eq!((&read.json()["state"], bench.checklist()), (&json!("Open"), json!("Frozen")));
    assert_eq!(bench.field(Role::Governance, "RR-load-00001", "/state"), "Superseded");
    assert!(bench.sandbox().record(Role::Queue, "Q-00001").is_none());
    bench.patch_if(PATH, read.etag(), &close()).await.is_problem(412, "preconditionFailed");
    assert_eq!(bench.get(PATH).await.json()["state"], "Frozen");
}

#[tokio::test]
async fn edits_go_together_with_another_fault() {
    let bench = Bench::new().await;
    bench.fault(rule(json!("dropAfter"))).await;
    bench.fault(rule(json!({"edit": {"patch": {"state": "Open"}}}))).await;
    assert_eq!(bench.close_raw().await.read_to_end().await.expect("an orderly close"), b"");
    assert_eq!((bench.checklist(), bench.last()), (json!("Open"), json!([null, true, "fault-1"])));
    assert_eq!(bench.field(Role::Checklist, "CHK-00001", "/closure"), marker());
}

#[tokio::test]
async fn redirect_points_elsewhere() {
    let bench = Bench::new().await;
    bench.fault(rule(json!({"redirect": {"location": "https://elsewhere.example.com/"}}))).await;
    let reply = bench.patch(PATH, &close()).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (307, Some("https://elsewhere.example.com/")));
    assert_eq!(bench.checklist(), "Open");
}

#[tokio::test]
async fn an_etag_may_be_lost_or_weakened() {
    let bench = Bench::new().await;
    let strong = bench.etag();
    bench.fault(json!({"action": {"etag": {"mode": "weak"}}})).await;
    assert_eq!(bench.get(PATH).await.etag(), format!("W/{strong}"));
    bench.admin("PUT", "/admin/faults", Some(&json!([{"action": {"etag": {"mode": "none"}}}]))).await;
    assert_eq!(bench.get(PATH).await.header("etag"), None);
}

#[tokio::test]
async fn hold_waits_before_the_request_is_served() {
    let bench = Bench::new().await;
    bench.fault(json!({"id": "gate", "match": {"method": "PATCH"}, "action": "hold"})).await;
    let mut raw = bench.close_raw().await;
    until(|| !bench.sandbox().held().is_empty()).await;
    let held = bench.admin("GET", "/admin/held", None).await.json();
    let seen = &held["held"][0];
    assert_eq!(
        (&seen["fault"], &seen["served"], &seen["record"]),
        (&json!("gate"), &json!(false), &json!("CHK-00001"))
    );
    assert_eq!(bench.checklist(), "Open");
    let released = bench.admin("POST", "/admin/faults/gate/release", None).await.json();
    assert_eq!(released, json!({"released": 1}));
    assert!(raw.read_head().await.0.starts_with("http/1.1 200"));
    assert_eq!((bench.checklist(), bench.sandbox().held().len()), (json!("Closed"), 0));
}

#[tokio::test]
async fn a_held_request_outlives_its_caller() {
    let bench = Bench::new().await;
    bench.fault(json!({"id": "gate", "match": {"method": "PATCH"}, "action": "hold"})).await;
    drop(bench.close_raw().await);
    until(|| !bench.sandbox().held().is_empty()).await;
    bench.admin("POST", "/admin/faults/gate/release", None).await;
    until(|| bench.checklist() == "Closed").await;
}

#[tokio::test]
async fn a_held_request_may_be_discarded() {
    let bench = Bench::new().await;
    bench.fault(json!({"id": "gate", "match": {"method": "PATCH"}, "action": "hold"})).await;
    for clear in ["POST /admin/faults/gate/release", "DELETE /admin/faults/gate"] {
        let mut raw = bench.close_raw().await;
        until(|| !bench.sandbox().held().is_empty()).await;
        let (method, path) = clear.split_once(' ').expect("two words");
        bench.admin(method, path, Some(&json!({"discard": true}))).await;
        assert_eq!(raw.read_to_end().await.expect("an orderly close"), b"", "{clear}");
        assert_eq!((bench.checklist(), bench.last()), (json!("Open"), json!([null, false, "gate"])));
    }
}

#[tokio::test]
async fn hold_after_waits_with_the_reply_alone() {
    let bench = Bench::new().await;
    bench.fault(json!({"id": "gate", "match": {"method": "PATCH"}, "action": "holdAfter"})).await;
    let mut first = bench.close_raw().await;
    until(|| bench.checklist() == "Closed").await;
    let held = bench.sandbox().held();
    assert_eq!((held.len(), held[0].served), (1, true));
    assert_eq!(bench.get(PATH).await.json()["state"], "Closed");
    bench.admin("POST", "/admin/faults/gate/release", None).await;
    assert!(first.read_head().await.0.starts_with("http/1.1 200"));
    let mut second = bench.close_raw().await;
    until(|| !bench.sandbox().held().is_empty()).await;
    bench.admin("DELETE", "/admin/faults", None).await;
    assert_eq!(second.read_to_end().await.expect("an orderly close"), b"");
}

#[tokio::test]
async fn rules_count_what_they_match() {
    let bench = Bench::new().await;
    let status = |code: u16| json!({"status": {"code": code}});
    bench.fault(json!({"id": "third", "match": {"record": "CHK-00001", "nth": 3}, "action": status(501)})).await;
    bench
        .fault(json!({"id": "twice", "match": {"role": "checklist", "from": 2, "times": 2}, "action": status(502)}))
        .await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(bench.get(PATH).await.status.as_u16());
    }
    // The third is the first rule's, so the second rule has one left for the fourth.
    assert_eq!(seen, [200, 502, 501, 502, 200, 200]);
    let rules = bench.admin("GET", "/admin/faults", None).await.json();
    let count = |rule: &Value| json!([rule["id"], rule["seen"], rule["fired"]]);
    assert_eq!((count(&rules[0]), count(&rules[1])), (json!(["third", 6, 1]), json!(["twice", 6, 2])));
    assert_eq!(rules[1]["match"], json!({"role": "checklist", "from": 2, "times": 2}));
    assert_eq!(bench.admin("DELETE", "/admin/faults/third", None).await.status, 204);
    bench.admin("DELETE", "/admin/faults/third", None).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn a_rule_can_tell_the_trackers_two_changes_apart() {
    let bench = Bench::new().await;
    bench.fault(json!({"match": {"role": "tracker", "field": "evidence"}, "action": {"status": {"code": 500}}})).await;
    assert_eq!(
        bench.patch("/releases/REL-00001", &json!({"state": "Approved", "closure": marker()})).await.status,
        200
    );
    assert_eq!(bench.patch("/releases/REL-00001", &json!({"evidence": [super::client::link()]})).await.status, 500);
}

#[tokio::test]
async fn a_handoff_is_matched_by_its_key() {
    let bench = Bench::new().await;
    let key = "load-00001@RR-load-00001@1";
    bench.fault(json!({"match": {"role": "intake", "record": key, "times": 1}, "action": "dropAfter"})).await;
    let headers = super::client::post_headers(key);
    assert!(bench.try_send("POST", "/handoffs", &headers, Some(&handoff())).await.is_err());
    assert_eq!(bench.post(key, &handoff()).await.status, 200);
    assert_eq!(bench.sandbox().deliveries().len(), 1);
}

#[tokio::test]
async fn a_rule_that_cannot_be_is_refused() {
    let bench = Bench::new().await;
    for rule in [
        json!({"action": "explode"}),
        json!({"action": {"delay": {}}}),
        json!({"action": {"status": {"code": 99}}}),
        json!({"action": {"status": {"code": 503, "retryAfter": "a\nb"}}}),
        json!({"action": {"tarpit": {"bytesPerSecond": 0}}}),
        json!({"action": {"edit": {}}}),
        json!({"action": {"edit": {"patch": {}, "delete": true}}}),
        json!({"action": {"edit": {"role": "queue", "patch": {}}}}),
        json!({"action": {"redirect": {"location": "\n"}}}),
        json!({"match": {"nth": 1, "from": 1}, "action": "lie"}),
        json!({"match": {"nth": 0}, "action": "lie"}),
        json!({"match": {"roles": "queue"}, "action": "lie"}),
        json!({"match": {"role": "nobody"}, "action": "lie"}),
        json!({}),
    ] {
        bench.admin("POST", "/admin/faults", Some(&rule)).await.is_problem(422, "notDocumented");
        bench.admin("PUT", "/admin/faults", Some(&json!([rule]))).await.is_problem(422, "notDocumented");
    }
    assert!(bench.sandbox().faults().is_empty());
}

#[tokio::test]
async fn one_of_two_writers_at_once_wins() {
    let bench = Arc::new(Bench::new().await);
    let etag = bench.etag();
    let writers = (0..8).map(|_| {
        let (bench, etag) = (bench.clone(), etag.clone());
        tokio::spawn(async move { bench.patch_if(PATH, &etag, &close()).await.status.as_u16() })
    });
    let mut statuses: Vec<_> =
        futures::future::join_all(writers).await.into_iter().map(|status| status.expect("no panic")).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}
