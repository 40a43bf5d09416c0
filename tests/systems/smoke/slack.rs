//! Slack: errors are in the body of a 200, a message id is kept and not compared.

use crate::systems::github::{BOT_TOKEN, READ_TOKEN, Slack};
use crate::systems::http::Http;
use serde_json::json;

#[tokio::test]
async fn a_message_is_posted_and_read_back() {
    let Some(slack) = Slack::start().await else { return };
    let channel = slack.channel("releases").await;
    let message = json!({"channel": channel, "text": "shop 1.4 is closed",
        "client_msg_id": "6f1bd3c2-7a54-4f0e-9c55-6d1f4f8a0001",
        "metadata": {"event_type": "releaseclosure", "event_payload": {"handoff": "1"}}});
    for _ in 0..2 {
        let posted = slack.bot.post("/api/chat.postMessage", &message).await.expect(200);
        assert_eq!(posted["ok"], true, "{posted}");
    }
    let messages = slack.messages(&channel).await;
    assert_eq!(messages.len(), 2, "an id twice is two messages: {messages:?}");
    assert_eq!(messages[0]["metadata"]["event_payload"]["handoff"], "1", "the marker can be read back");
    slack.server.tell();
}

#[tokio::test]
async fn a_refusal_is_a_200() {
    let Some(slack) = Slack::start().await else { return };
    let message = json!({"channel": slack.channel("releases").await, "text": "hello"});
    let said = async |authorization: &str, body: &serde_json::Value| {
        let client = slack.bot.with("authorization", authorization);
        let reply = client.post("/api/chat.postMessage", body).await.expect(200);
        (reply["ok"].clone(), reply["error"].clone())
    };
    let read_only = format!("Bearer {READ_TOKEN}");
    assert_eq!(said(&read_only, &message).await, (json!(false), json!("missing_scope")));
    let anonymous = Http::new(slack.server.url(0)).post("/api/chat.postMessage", &message).await.expect(200);
    assert_eq!((&anonymous["ok"], &anonymous["error"]), (&json!(false), &json!("not_authed")));
    let nowhere = json!({"channel": "C999999999", "text": "hello"});
    let bot = format!("Bearer {}", BOT_TOKEN);
    assert_eq!(said(&bot, &nowhere).await, (json!(false), json!("channel_not_found")));
}
