//! The fault proxy in front of real servers: a write whose reply is lost was made nevertheless.

use crate::fault_proxy::tcp::{Line, Mode};
use crate::fault_proxy::{Cut, FaultProxy, Then, When};
use crate::systems::gitea::Gitea;
use crate::systems::nats::Nats;
use async_nats::jetstream::message::PublishMessage;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_lost_reply_is_found_by_the_version() {
    let Some(gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    let number = repository.issue(&json!({"title": "Release 1.4", "body": "open"})).await;
    let proxy = FaultProxy::before(&gitea.url()).await;
    proxy.on(When::method("PATCH").path(r"/issues/\d+$").nth(1), Then::DropAfter(Cut::Close));

    let client = gitea.admin.at(&proxy.url());
    let path = format!("{}/issues/{number}", repository.path);
    let version = client.get(&path).await.expect(200)["content_version"].clone();
    let close = json!({"body": "closed", "content_version": version}).to_string();
    let json = client.with("content-type", "application/json");
    assert!(json.try_send("PATCH", &path, close.clone()).await.is_err(), "no reply");
    assert_eq!(json.send("PATCH", &path, close).await.status, 409, "the first one was made");
    assert_eq!(repository.get(&format!("issues/{number}")).await["body"], "closed");
    let writes: Vec<_> = proxy.writes().iter().map(|seen| (seen.served, seen.told, seen.fault)).collect();
    assert_eq!(writes, [(Some(201), None, Some("dropAfter")), (Some(409), Some(409), None)]);
}

#[tokio::test]
async fn a_page_leads_to_the_proxy_not_round_it() {
    let Some(gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    for number in 0..3 {
        repository.issue(&json!({"title": format!("Issue {number}")})).await;
    }
    let proxy = FaultProxy::before(&gitea.url()).await;
    let page = gitea.admin.at(&proxy.url()).get(&format!("{}/issues?limit=2", repository.path)).await;
    let next = page.header("link").expect("more pages");
    assert!(next.contains(&proxy.url()) && !next.contains(&gitea.url()), "{next}");
}

#[tokio::test]
async fn a_person_edits_between_read_and_write() {
    let Some(gitea) = Gitea::start().await else { return };
    let repository = gitea.repository("shop").await;
    let number = repository.issue(&json!({"title": "Release 1.4", "body": "open"})).await;
    let path = format!("{}/issues/{number}", repository.path);
    let proxy = FaultProxy::before(&gitea.url()).await;
    let (person, edited) = (gitea.admin.clone(), path.clone());
    proxy.on(
        When::method("PATCH").nth(1),
        Then::meanwhile(move || {
            let (person, edited) = (person.clone(), edited.clone());
            async move {
                person.patch(&edited, &json!({"body": "wait"})).await.expect(201);
            }
        }),
    );
    let client = gitea.admin.at(&proxy.url());
    let version = client.get(&path).await.expect(200)["content_version"].clone();
    assert_eq!(client.patch(&path, &json!({"body": "closed", "content_version": version})).await.status, 409);
    assert_eq!(repository.get(&format!("issues/{number}")).await["body"], "wait");
}

#[tokio::test]
async fn an_acknowledgement_of_nats_is_lost_and_the_id_counts() {
    let Some(nats) = Nats::start().await else { return };
    nats.stream("INTAKE", &["closure.>"], Duration::from_secs(120)).await;
    let line = Line::to(nats.url().trim_start_matches("nats://")).await;
    let writer = nats.as_user("writer", Some(line.address())).await.expect("a login");
    let message = || PublishMessage::build().message_id("handoff-1").payload("ready".into());

    line.set(Mode::Mute);
    let waiting = writer.send_publish("closure.shop", message()).await.expect("sent");
    line.lost(1).await;
    drop(waiting);
    line.set(Mode::Pass);
    line.cut();
    let again = nats.as_user("writer", Some(line.address())).await.expect("a login");
    let ack = again.send_publish("closure.shop", message()).await.expect("sent").await.expect("acknowledged");
    assert!(ack.duplicate, "the first one was taken");
    assert_eq!(nats.messages("INTAKE").await.len(), 1);
}
