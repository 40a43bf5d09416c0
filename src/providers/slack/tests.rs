//! What Slack's words come to, and what is sent. The emulation that keeps state is in the conformance suite.

use super::*;
use crate::closure::ids::Step;
use crate::closure::ledger::Link;
use crate::providers::connect;
use crate::providers::http::tests::orders::order;
use crate::providers::http::tests::server::{Server, json as json_reply, page, reply};
use crate::providers::http::tests::{KEY, TOKEN, settings};
use serde_json::{Value, json};

fn connected(server: &Server) -> Connected {
    let endpoint = format!("http://{}", server.address);
    let slack =
        json!({"endpoint": endpoint, "channel": "C024BE91L", "tokenSecretRef": {"name": "slack", "key": "token"}});
    let mut settings = settings(endpoint);
    settings.product = Product::Slack(Box::new(serde_json::from_value(slack).unwrap()));
    settings.limits.timeout = std::time::Duration::from_secs(2);
    connect(&settings).unwrap()
}

async fn announce(connected: &Connected) -> AnnounceReply {
    let permit = connected.gate.permit().await.unwrap();
    connected.intake.as_ref().unwrap().announce(order(Step::NotifyCoordinator), permit).await
}

#[tokio::test]
async fn a_message_goes_to_the_channel_and_carries_what_machines_look_for() {
    let server = Server::always(json_reply(r#"{"ok":true,"channel":"C024BE91L","ts":"1405895017.000506"}"#)).await;
    assert_eq!(announce(&connected(&server)).await, AnnounceReply::Accepted);
    let [seen] = server.seen().try_into().unwrap();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/api/chat.postMessage"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(seen.header("content-type"), Some("application/json; charset=utf-8"));
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(body["channel"], "C024BE91L");
    assert_eq!(body["metadata"]["event_payload"]["closureKey"], KEY);
    assert_eq!(body["unfurl_links"], false);
}

#[test]
fn what_others_wrote_addresses_nobody() {
    let text = text(&HandoffBody {
        release_id: "<!channel>".to_owned(),
        review_version: "3".to_owned(),
        service: "<@U1> & <https://evil.example|shop>".to_owned(),
        closure_key: KEY.to_owned(),
        coordinator: Some("<!here>".to_owned()),
        links: vec![Link { rel: "evidence".to_owned(), url: "https://archive.example/?a=1&b=<2>".to_owned() }],
    });
    assert!(!text.contains('<') && !text.contains('>'), "{text}");
    assert!(text.contains("&lt;!channel&gt;") && text.contains("?a=1&amp;b=&lt;2&gt;"), "{text}");
}

#[tokio::test]
async fn what_slack_says_of_a_message() {
    let not_sent = |trouble: Trouble| AnnounceReply::NotSent(trouble.into());
    let unknown = |trouble: Trouble| AnnounceReply::Unknown(trouble.into());
    for (error, expected) in [
        ("invalid_auth", not_sent(Trouble::Unauthorized)),
        ("token_revoked", not_sent(Trouble::Unauthorized)),
        ("not_in_channel", not_sent(Trouble::Forbidden)),
        ("missing_scope", not_sent(Trouble::Forbidden)),
        ("channel_not_found", not_sent(Trouble::Forbidden)),
        ("is_archived", not_sent(Trouble::Forbidden)),
        ("ratelimited", not_sent(Trouble::TooManyRequests)),
        ("msg_too_long", AnnounceReply::Refused),
        ("a_word_that_came_later", AnnounceReply::Refused),
        ("fatal_error", unknown(Trouble::Unavailable)),
        ("internal_error", unknown(Trouble::Unavailable)),
    ] {
        let server = Server::always(json_reply(&json!({"ok": false, "error": error}).to_string())).await;
        assert_eq!(announce(&connected(&server)).await, expected, "{error}");
    }
    for (act, expected) in [
        (json_reply("{}"), unknown(Trouble::NotUnderstood)),
        (json_reply(r#"{"ok":false}"#), unknown(Trouble::NotUnderstood)),
        (page(200), unknown(Trouble::NotUnderstood)),
        (page(503), unknown(Trouble::Unavailable)),
        (page(404), not_sent(Trouble::NotUnderstood)),
        (reply(401, "application/json", "", "{}"), not_sent(Trouble::Unauthorized)),
    ] {
        let server = Server::always(act.clone()).await;
        assert_eq!(announce(&connected(&server)).await, expected, "{act:?}");
    }
}

#[tokio::test]
async fn a_probe_names_the_setting_that_does_not_fit() {
    let found = async |body: Value| {
        let server = Server::always(json_reply(&body.to_string())).await;
        let found = connected(&server).prober.probe(System::Intake).await;
        assert_eq!(server.seen()[0].target, "/api/conversations.info?channel=C024BE91L");
        found
    };
    let error = |error: &str| json!({"ok": false, "error": error});
    assert_eq!(found(json!({"ok": true, "channel": {"is_archived": false}})).await, Probe::Ready);
    for (body, expected) in [
        (json!({"ok": true, "channel": {"is_archived": true}}), "slack.channel"),
        (error("channel_not_found"), "slack.channel"),
        (error("missing_scope"), "slack.tokenSecretRef"),
    ] {
        let found = found(body.clone()).await;
        assert!(matches!(found, Probe::Unfit { setting, .. } if setting == expected), "{body}: {found:?}");
    }
    assert_eq!(found(error("token_revoked")).await, Probe::Failed(Trouble::Unauthorized.into()));
}
