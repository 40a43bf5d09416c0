//! GitHub: its own description refuses what GitHub would not know; behind it, an emulation keeps state.

use crate::systems::github::{APP, GitHub, OWNER_TOKEN, VISITOR_TOKEN};
use crate::systems::http::Http;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_milestone_and_an_issue_are_closed() {
    let Some(github) = GitHub::start().await else { return };
    let client = github.client(OWNER_TOKEN);
    let path = github.milestone("shop", "1.4").await;
    assert_eq!(client.patch(&path, &json!({"state": "closed"})).await.expect(200)["state"], "closed");
    assert_eq!(github.admin.get(&path).await.expect(200)["state"], "closed", "the truth behind");

    let issue = github.issue(&json!({"title": "Release 1.4"})).await;
    let close = json!({"state": "closed", "state_reason": "completed"});
    assert_eq!(client.patch(&issue, &close).await.expect(200)["state"], "closed");
    github.behind.tell();
    github.front.tell();
}

#[tokio::test]
async fn what_the_description_does_not_know_is_refused_before_it_gets_there() {
    let Some(github) = GitHub::start().await else { return };
    let client = github.client(OWNER_TOKEN);
    let path = github.milestone("shop", "1.4").await;
    for bad in [json!({"state": "approved"}), json!({"stat": "closed"})] {
        assert_eq!(client.patch(&path, &bad).await.status, 422, "{bad}");
    }
    assert_eq!(github.admin.get(&path).await.expect(200)["state"], "open");
    let deployment = client.post("/repos/acme-bot/shop/deployments", &json!({"ref": "main"})).await;
    assert_eq!(deployment.status, 404, "nothing here deploys");
}

#[tokio::test]
async fn who_has_no_token_or_may_not_see_is_refused() {
    let Some(github) = GitHub::start().await else { return };
    let close = json!({"state": "closed"});
    let open = github.milestone("shop", "1.4").await;
    let anonymous = Http::new(github.url()).with("user-agent", "test").patch(&open, &close).await;
    assert_eq!(anonymous.status, 401, "{}", anonymous.text);
    let private = github.milestone("vault", "1.4").await;
    let stranger = github.client(VISITOR_TOKEN).patch(&private, &close).await;
    assert!(stranger.status == 403, "{}: {}", stranger.status, stranger.text);
    for path in [open, private] {
        assert_eq!(github.admin.get(&path).await.expect(200)["state"], "open");
    }
}

#[tokio::test]
async fn an_app_gets_a_token_for_its_installation() {
    let Some(github) = GitHub::start().await else { return };
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iat": now - 60, "exp": now + 300, "iss": APP.0.to_string()});
    let jwt = signed(&github, &claims).await;
    let app = Http::new(github.url()).with("user-agent", "test").with("authorization", &format!("Bearer {jwt}"));
    let token = app.post(&format!("/app/installations/{}/access_tokens", APP.1), &json!({})).await.expect(201);
    let token = token["token"].as_str().expect("a token").to_owned();
    let path = github.milestone("shop", "1.4").await;
    github.client(&token).patch(&path, &json!({"state": "closed"})).await.expect(200);
}

/// A JSON web token, RS256, by openssl: the tests have no other use for RSA.
async fn signed(github: &GitHub, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT"})), part(claims));
    let mut openssl = tokio::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-binary", "-sign"])
        .arg(&github.app_key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    openssl.stdin.take().expect("a pipe").write_all(head.as_bytes()).await.expect("written");
    let signature = openssl.wait_with_output().await.expect("it ends");
    assert!(signature.status.success());
    format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature.stdout))
}
