//! What the sandbox shows of itself: log, counts, records, the page.

use releaseclosure::sandbox::{Role, generate};
use serde_json::{Value, json};

use super::client::{Bench, close, handoff};

#[tokio::test]
async fn every_request_is_written_down() {
    let bench = Bench::new().await;
    bench.get("/bundles/load%2F00001%2Frv1").await;
    bench.get("/releases?release=load-00001").await;
    bench.patch("/checklists/CHK-00001", &close()).await;
    bench.post("load-00001@RR-load-00001@1", &handoff()).await;
    bench.get("/nowhere").await;
    let log = bench.admin("GET", "/admin/requests?since=0", None).await.json();
    let entries = log["requests"].as_array().expect("requests");
    assert_eq!((entries.len(), &log["last"]), (6, &json!(6)));
    let shape = |entry: &Value| {
        json!([
            entry["sequence"],
            entry["method"],
            entry["path"],
            entry["query"],
            entry["role"],
            entry["record"],
            entry["status"],
            entry["applied"]
        ])
    };
    let key = "load-00001@RR-load-00001@1";
    for (entry, expected) in entries.iter().zip([
        json!([1, "GET", "/closure/v1/bundles/load/00001/rv1", null, "archive", "load/00001/rv1", 200, false]),
        json!([2, "GET", "/closure/v1/releases", "release=load-00001", "tracker", null, 200, false]),
        json!([3, "GET", "/closure/v1/checklists/CHK-00001", null, "checklist", "CHK-00001", 200, false]),
        json!([4, "PATCH", "/closure/v1/checklists/CHK-00001", null, "checklist", "CHK-00001", 200, true]),
        json!([5, "POST", "/closure/v1/handoffs", null, "intake", key, 201, true]),
        json!([6, "GET", "/closure/v1/nowhere", null, null, null, 400, false]),
    ]) {
        assert_eq!(shape(entry), expected);
    }
    assert_eq!(entries[0]["rawPath"], "/closure/v1/bundles/load%2F00001%2Frv1");
    assert_eq!((&entries[3]["body"], &entries[2]["body"]), (&close(), &Value::Null));
    assert_eq!(entries[3]["headers"]["content-type"], "application/merge-patch+json");
    assert!(entries[3]["headers"]["if-match"].is_string());
    assert_eq!(entries[4]["headers"]["idempotency-key"], key);
    let later = bench.admin("GET", "/admin/requests?since=3&limit=2", None).await.json();
    assert_eq!((&later["requests"][0]["sequence"], later["requests"].as_array().map(Vec::len)), (&json!(4), Some(2)));

    let counts = bench.admin("GET", "/admin/counts", None).await.json();
    assert_eq!(
        counts["roles"]["checklist"],
        json!({"reads": 1, "lookUps": 0, "writes": 1, "applied": 1, "methods": {"GET": 1, "PATCH": 1}})
    );
    assert_eq!((&counts["roles"]["tracker"]["lookUps"], &counts["roles"]["unknown"]["reads"]), (&json!(1), &json!(1)));
    assert_eq!(counts["deliveries"]["byKey"], json!({key: 1}));
    assert_eq!(bench.sandbox().counts().requests(), 6);

    assert_eq!(bench.admin("DELETE", "/admin/requests", None).await.status, 204);
    bench.get("/reviews/none").await;
    let log = bench.admin("GET", "/admin/requests", None).await.json();
    assert_eq!((log["requests"].as_array().map(Vec::len), &log["requests"][0]["sequence"]), (Some(1), &json!(7)));
    assert_eq!(bench.sandbox().counts().requests(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_written_down_as_text() {
    let bench = Bench::new().await;
    let body = Value::String("close it".to_owned());
    bench.send("POST", "/handoffs", &[], Some(&body)).await;
    assert_eq!(bench.log()[0]["body"], "close it");
}

#[tokio::test]
async fn a_person_edits_records() {
    let bench = Bench::new().await;
    let path = "/admin/records/governance/RR-load-00001";
    let before = bench.get("/reviews/RR-load-00001").await;
    assert_eq!(bench.admin("GET", path, None).await.etag(), before.etag());
    let edited =
        bench.admin("PATCH", path, Some(&json!({"milestone": {"title": "renamed"}, "acceptedEvent": null}))).await;
    let after = bench.get("/reviews/RR-load-00001").await;
    assert_eq!(
        (after.etag(), &after.json()["milestone"]),
        (edited.etag(), &json!({"id": "m-00001", "title": "renamed"}))
    );
    assert_ne!(after.etag(), before.etag());
    assert_eq!(bench.admin("PUT", "/admin/records/archive/a%2Fb", Some(&json!({"bundle": 3}))).await.status, 200);
    assert_eq!(bench.admin("GET", "/admin/records/archive/a%2Fb", None).await.json(), json!({"bundle": 3}));
    assert_eq!(bench.admin("DELETE", path, None).await.status, 204);
    bench.get("/reviews/RR-load-00001").await.is_problem(404, "notFound");
    for (method, path) in [("PATCH", path), ("DELETE", path), ("GET", path), ("GET", "/admin/records/nobody/x")] {
        bench.admin(method, path, Some(&json!({}))).await.is_problem(404, "notFound");
    }
}

#[tokio::test]
async fn records_are_added_in_bulk() {
    let bench = Bench::new().await;
    let many = generate(500);
    for role in Role::ALL {
        let reply = bench.admin("POST", &format!("/admin/records/{role}"), Some(&json!(many.records(role)))).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["added"].as_u64()),
            (201, Some(many.records(role).len() as u64))
        );
    }
    assert_eq!(bench.sandbox().len(Role::Queue), 500);
    assert_eq!(bench.get("/releases?release=load-00500").await.json()["items"][0]["id"], "REL-00500");
    let bad = json!([many.records(Role::Queue)[0], {"id": "Q"}]);
    let reply = bench.admin("POST", "/admin/records/queue", Some(&bad)).await;
    reply.is_problem(422, "notDocumented");
    assert_eq!(reply.json()["detail"], "the seed's queueEntries, Q: release.id is missing");
    let made = bench.admin("POST", "/admin/generate", Some(&json!({"count": 2, "prefix": "more", "first": 900}))).await;
    assert_eq!(made.status, 201);
    assert_eq!(bench.get("/reviews/RR-more-00901").await.status, 200);
}

#[tokio::test]
async fn the_whole_state_is_read_and_put_back() {
    let bench = Bench::new().await;
    bench.patch("/checklists/CHK-00001", &close()).await;
    bench.post("load-00001@RR-load-00001@1", &handoff()).await;
    let state = bench.admin("GET", "/admin/state", None).await.json();
    assert_eq!(state["checklists"][0]["state"], "Closed");
    assert_eq!(state["handoffs"][0]["handoff"], handoff());
    assert_eq!(bench.admin("PUT", "/admin/state", Some(&json!({"reviews": []}))).await.status, 204);
    assert_eq!((bench.sandbox().len(Role::Checklist), bench.sandbox().deliveries().len()), (0, 0));
    assert_eq!(bench.admin("PUT", "/admin/state", Some(&state)).await.status, 204);
    assert_eq!(bench.admin("GET", "/admin/state", None).await.json(), state);
    assert_eq!(bench.post("load-00001@RR-load-00001@1", &handoff()).await.status, 200);
    let reply = bench.admin("PUT", "/admin/state", Some(&json!({"reviews": [{"id": "R", "version": 1}]}))).await;
    reply.is_problem(422, "notDocumented");
    assert_eq!(reply.json()["detail"], "the seed's reviews, R: version must be a text: put it in quotes");
}

#[tokio::test]
async fn the_page_brings_everything_along() {
    let bench = Bench::new().await;
    let page = bench.admin("GET", "/", None).await;
    assert_eq!(page.status, 200);
    let html = String::from_utf8(page.bytes.clone()).expect("UTF-8");
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    bench.patch("/checklists/CHK-00001", &close()).await;
    bench.post("load-00001@RR-load-00001@1", &handoff()).await;
    let view = bench.admin("GET", "/admin/view", None).await.json();
    let checklist = &view["systems"][2];
    assert_eq!(
        (&checklist["role"], &checklist["records"][0]["state"], &checklist["total"]),
        (&json!("checklist"), &json!("Closed"), &json!(3))
    );
    assert_eq!((&view["delivered"], &view["requests"][0]["method"]), (&json!(1), &json!("POST")));
}
