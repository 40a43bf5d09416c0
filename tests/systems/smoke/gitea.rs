//! Gitea: an issue's body has a version and is compared and swapped; its state and milestones are not.

use crate::systems::gitea::{ADMIN, Gitea};
use serde_json::json;

#[tokio::test]
async fn an_issue_body_is_compared_and_swapped() {
    let Some(mut gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    let number = repository.issue(&json!({"title": "Release 1.4", "body": "open"})).await;
    let path = format!("{}/issues/{number}", repository.path);
    let version = repository.get(&format!("issues/{number}")).await["content_version"].clone();

    let close = json!({"body": "closed", "content_version": version});
    let done = gitea.admin.patch(&path, &close).await.expect(201);
    assert_eq!((&done["body"], done["content_version"].as_i64()), (&json!("closed"), version.as_i64().map(|v| v + 1)));

    let stale = json!({"body": "again", "state": "closed", "content_version": version});
    assert_eq!(gitea.admin.patch(&path, &stale).await.status, 409);
    let after = gitea.admin.get(&path).await.expect(200);
    assert_eq!(
        (&after["body"], &after["state"]),
        (&json!("closed"), &json!("open")),
        "nothing of a stale request is applied"
    );

    gitea.server.tell();
    gitea.crash().await;
    assert_eq!(gitea.admin.get(&path).await.expect(200)["body"], "closed", "what it acknowledged outlives a kill");
}

#[tokio::test]
async fn state_is_written_without_a_precondition() {
    let Some(gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    let number = repository.issue(&json!({"title": "Release 1.4"})).await;
    let path = format!("{}/issues/{number}", repository.path);
    gitea.admin.patch(&path, &json!({"state": "closed"})).await.expect(201);
    gitea.admin.patch(&path, &json!({"state": "closed"})).await.expect(201);
    assert_eq!(
        gitea.admin.patch(&path, &json!({"state": "approved"})).await.status,
        412,
        "a state that it does not know"
    );
    let closes = repository.history(number).await;
    assert_eq!(closes.iter().filter(|event| event["type"] == "close").count(), 1, "its own history: {closes:?}");
}

#[tokio::test]
async fn an_open_dependency_forbids_to_close() {
    let Some(gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    let number = repository.issue(&json!({"title": "Release 1.4"})).await;
    let other = repository.issue(&json!({"title": "Not done yet"})).await;
    let dependency = json!({"owner": ADMIN, "repo": "shop", "index": other});
    let path = format!("{}/issues/{number}", repository.path);
    gitea.admin.post(&format!("{path}/dependencies"), &dependency).await.expect(201);
    assert_eq!(gitea.admin.patch(&path, &json!({"state": "closed"})).await.status, 412);
    repository.edit(&format!("issues/{other}"), &json!({"state": "closed"})).await;
    gitea.admin.patch(&path, &json!({"state": "closed"})).await.expect(201);
}

#[tokio::test]
async fn a_milestone_forgets_its_day_and_an_unknown_state_opens_it() {
    let Some(gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    let id = repository.milestone("1.4").await;
    let twin = repository.milestone("1.4").await;
    assert_ne!(id, twin, "titles are not unique");
    let below = format!("milestones/{id}");
    repository.edit(&below, &json!({"due_on": "2026-12-01T00:00:00Z"})).await;
    let closed = repository.edit(&below, &json!({"state": "closed"})).await;
    assert!(closed["due_on"].is_null(), "a change without due_on clears it: {closed}");
    let opened = repository.edit(&below, &json!({"state": "approved"})).await;
    assert_eq!(opened["state"], "open", "any other word opens a closed one");
}

#[tokio::test]
async fn scopes_and_memberships_are_checked() {
    let Some(gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    let number = repository.issue(&json!({"title": "Release 1.4"})).await;
    let path = format!("{}/issues/{number}", repository.path);
    let close = json!({"state": "closed"});
    let writer = gitea.person("wanda", &["write:issue", "read:repository"]).await;
    assert_eq!(gitea.with_token(&writer).patch(&path, &close).await.status, 403, "not a member");
    let reader = gitea.another_token("wanda", &["read:issue", "read:repository"]).await;
    repository.let_in("wanda", "write").await;
    assert_eq!(gitea.with_token(&reader).patch(&path, &close).await.status, 403, "a scope too few");
    assert_eq!(gitea.with_token("0123456789012345678901234567890123456789").patch(&path, &close).await.status, 401);
    gitea.with_token(&writer).patch(&path, &close).await.expect(201);
    let ghost = format!("{}/issues/99", repository.path);
    assert_eq!(gitea.admin.get(&ghost).await.status, 404);
}

#[tokio::test]
async fn a_renamed_repository_moves_and_labels_of_no_name_vanish() {
    let Some(gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    let number = repository.issue(&json!({"title": "Release 1.4"})).await;
    repository.label("review/approved", true).await;
    let labels = format!("{}/issues/{number}/labels", repository.path);
    gitea.admin.post(&labels, &json!({"labels": ["review/aproved"]})).await.expect(200);
    assert_eq!(repository.get(&format!("issues/{number}/labels")).await, json!([]), "an unknown label is ignored");
    gitea.admin.patch(&repository.path, &json!({"name": "store"})).await.expect(200);
    let moved = gitea.admin.patch(&format!("{}/issues/{number}", repository.path), &json!({"state": "closed"})).await;
    assert_eq!(moved.status / 100, 3, "{moved:?}");
    assert!(moved.header("location").is_some_and(|to| to.contains("/store/")), "{moved:?}");
}
