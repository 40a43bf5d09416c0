//! The variants of the systems.

use releaseclosure::sandbox::Role;
use serde_json::json;

use super::client::{Bench, close, link, marker};

#[tokio::test]
async fn a_system_without_markers_ignores_them() {
    let bench =
        Bench::from_yaml("{generate: {count: 1}, settings: {checklist: {markers: false}, tracker: {markers: false}}}")
            .await;
    let closed = bench.patch("/checklists/CHK-00001", &close()).await.json();
    assert_eq!((&closed["state"], closed.get("closure")), (&json!("Closed"), None));
    assert_eq!(bench.field(Role::Checklist, "CHK-00001", "/closure"), json!(null));
    let attached = bench.patch("/releases/REL-00001", &json!({"evidence": [link()]})).await.json();
    assert_eq!(attached["evidence"][0].get("closure"), None);
    let found = bench.get("/releases?release=load-00001").await.json();
    assert_eq!((found["items"][0].get("closure"), found["items"][0]["evidence"][0].get("closure")), (None, None));
    // What was read is what has to be sent again: links without markers, then ours with one.
    let links = json!([attached["evidence"][0], link()]);
    assert_eq!(bench.patch("/releases/REL-00001", &json!({"evidence": links})).await.status, 200);
    let cleared = bench.patch("/queue-entries/Q-00001", &json!({"state": "Cleared", "closure": marker()})).await.json();
    assert_eq!(cleared["closure"], marker());
}

#[tokio::test]
async fn switches_are_turned_over_the_admin_api() {
    let bench = Bench::new().await;
    let settings = bench.admin("PATCH", "/admin/settings", Some(&json!({"queue": {"markers": false}}))).await.json();
    assert_eq!(settings["queue"], json!({"markers": false}));
    assert_eq!(settings["intake"], json!({"idempotency": true, "lookup": true}));
    assert_eq!(bench.get("/queue-entries/Q-00001").await.json().get("closure"), None);
    bench.admin("PUT", "/admin/settings", Some(&json!({}))).await;
    assert_eq!(bench.get("/queue-entries/Q-00001").await.json().get("closure"), Some(&json!(null)));
    bench
        .admin("PATCH", "/admin/settings", Some(&json!({"queue": {"makers": false}})))
        .await
        .is_problem(422, "notDocumented");
}
