//! Jira's own description: what it would refuse is refused. There is no state behind it.

use crate::systems::github::Jira;
use serde_json::json;

#[tokio::test]
async fn requests_are_held_against_the_description() {
    let Some(jira) = Jira::start().await else { return };
    let version = "/rest/api/3/version/10000";
    let client = &jira.client;
    assert_eq!(client.put(version, &json!({"released": true})).await.status, 200);
    let misspelt = client.put(version, &json!({"releasd": true})).await.status;
    assert!(matches!(misspelt, 400 | 422), "{misspelt}");
    let link = json!({"globalId": "closure=1", "object": {"url": "https://archive.example/1", "title": "Evidence"}});
    let remote = "/rest/api/3/issue/SHOP-1/remotelink";
    assert!(matches!(client.post(remote, &link).await.status, 200 | 201));
    let transition = "/rest/api/3/issue/SHOP-1/transitions";
    assert_eq!(client.post(transition, &json!({"transition": {"id": "5"}})).await.status, 204);
    assert_eq!(client.post(transition, &json!({"transitoin": {"id": "5"}})).await.status, 422);
    let untitled = json!({"object": {"url": "https://archive.example/1"}});
    let refused = client.post(remote, &untitled).await.status;
    // The description says nothing of a body of such a 400, which makes prism answer 500 instead.
    assert!(refused >= 400, "{refused}");
    assert_eq!(client.post("/rest/api/3/issue/SHOP-1/votes", &json!({})).await.status, 404, "not in the allow-list");
    jira.front.tell();
}
