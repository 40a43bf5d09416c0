//! Redmine: a 2xx proves nothing; a stale `lock_version` is refused, but is never told.

use crate::systems::redmine::{REPORTER, Redmine, ids};
use serde_json::json;

#[tokio::test]
async fn a_stale_lock_version_is_refused() {
    let Some(redmine) = Redmine::start().await else { return };
    let project = redmine.project("shop").await;
    let issue = redmine.issue(project, json!({"subject": "Release 1.4"})).await;
    assert!(redmine.read_issue(issue).await["lock_version"].is_null(), "it is never told");
    // It is 1 for an issue that was made over REST: made with 0, and then put in its place in the tree.
    assert_eq!(redmine.edit_issue(issue, &json!({"status_id": ids::IN_PROGRESS, "lock_version": 1})).await.status, 204);
    let stale = redmine.edit_issue(issue, &json!({"status_id": ids::CLOSED, "lock_version": 1})).await;
    assert_eq!((stale.status, stale.json()), (422, json!({"errors": []})));
    assert_eq!(redmine.read_issue(issue).await["status"]["id"], ids::IN_PROGRESS);
    assert_eq!(redmine.edit_issue(issue, &json!({"status_id": ids::CLOSED, "lock_version": 2})).await.status, 204);
    assert_eq!(redmine.read_issue(issue).await["status"]["id"], ids::CLOSED);
    redmine.server.tell();
}

#[tokio::test]
async fn a_2xx_proves_nothing() {
    let Some(redmine) = Redmine::start().await else { return };
    let project = redmine.project("shop").await;
    let parent = redmine.issue(project, json!({"subject": "Release 1.4"})).await;
    redmine.issue(project, json!({"subject": "Sign off", "parent_issue_id": parent})).await;
    let closed = redmine.edit_issue(parent, &json!({"status_id": ids::CLOSED, "notes": "closure"})).await;
    assert_eq!(closed.status, 204, "with an open subtask");
    let after = redmine.read_issue(parent).await;
    assert_eq!(after["status"]["id"], ids::NEW, "and nothing changed");
    let notes = after["journals"].as_array().into_iter().flatten().filter(|journal| journal["notes"] == "closure");
    assert_eq!(notes.count(), 1, "but the note is there: {after}");

    redmine.let_reporter_in(project).await;
    let reporter = redmine.with_key(REPORTER);
    let path = format!("/issues/{parent}.json");
    assert_eq!(reporter.put(&path, &json!({"issue": {"status_id": ids::CLOSED}})).await.status, 204, "no permission");
    assert_eq!(redmine.read_issue(parent).await["status"]["id"], ids::NEW);
    assert_eq!(redmine.with_key("wrong").get("/users/current.json").await.status, 401);
}

#[tokio::test]
async fn fields_are_addressed_by_id_and_unknown_ones_vanish() {
    let Some(redmine) = Redmine::start().await else { return };
    let project = redmine.project("shop").await;
    let version = redmine.version(project, "1.4").await;
    let issue = redmine
        .issue(
            project,
            json!({"subject": "Release 1.4", "fixed_version_id": version,
            "custom_fields": [{"id": ids::RELEASE_ID, "value": "shop-1.4"}, {"id": 99, "value": "?"}]}),
        )
        .await;
    let fields = redmine.read_issue(issue).await["custom_fields"].clone();
    let value = |id: i64| fields.as_array().into_iter().flatten().find(|field| field["id"] == id).cloned();
    assert_eq!(value(ids::RELEASE_ID).map(|field| field["value"].clone()), Some(json!("shop-1.4")));
    assert!(value(99).is_none());
    let found =
        redmine.admin.get(&format!("/issues.json?cf_{}=shop-1.4&status_id=*", ids::RELEASE_ID)).await.expect(200);
    assert_eq!(found["total_count"], 1);
    let path = format!("/versions/{version}.json");
    assert_eq!(redmine.admin.put(&path, &json!({"version": {"status": "approved"}})).await.status, 422);
    assert_eq!(redmine.admin.put(&path, &json!({"version": {"status": "closed"}})).await.status, 204);
    let names = redmine.admin.get("/custom_fields.json").await.expect(200);
    let named = |id: i64| names["custom_fields"].as_array().into_iter().flatten().any(|field| field["id"] == id);
    assert!(
        [ids::REVIEW_VERSION, ids::EVIDENCE_BUNDLE, ids::REVIEW_DECISION, ids::EVIDENCE_LINK].into_iter().all(named)
    );
}
