//! NATS: a message id counts once within the stream's window, and a last sequence can be demanded.

use crate::systems::nats::Nats;
use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use std::time::Duration;

#[tokio::test]
async fn a_message_id_counts_once() {
    let Some(nats) = Nats::start().await else { return };
    nats.stream("INTAKE", &["closure.>"], Duration::from_secs(120)).await;
    let writer = nats.as_user("writer", None).await.expect("a login");
    let mut acks = Vec::new();
    for _ in 0..2 {
        let message = PublishMessage::build().message_id("handoff-1").payload("ready".into());
        let sent = writer.send_publish("closure.shop", message).await.expect("sent");
        acks.push(sent.await.expect("acknowledged"));
    }
    assert_eq!((acks[0].sequence, acks[0].duplicate), (1, false));
    assert_eq!((acks[1].sequence, acks[1].duplicate), (1, true));
    assert_eq!(nats.messages("INTAKE").await, [("closure.shop".to_owned(), "ready".to_owned())]);
    nats.server.tell();
}

#[tokio::test]
async fn the_window_ends() {
    let Some(nats) = Nats::start().await else { return };
    nats.stream("INTAKE", &["closure.>"], Duration::from_millis(100)).await;
    let publish = async || {
        let message = PublishMessage::build().message_id("handoff-1").payload("ready".into());
        nats.admin.send_publish("closure.shop", message).await.expect("sent").await.expect("acknowledged")
    };
    let first = publish().await;
    // However slow the machine is: in the end, the id is forgotten.
    while publish().await.sequence == first.sequence {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(nats.messages("INTAKE").await.len(), 2);
}

#[tokio::test]
async fn a_last_sequence_of_the_subject_can_be_demanded() {
    let Some(nats) = Nats::start().await else { return };
    nats.stream("INTAKE", &["closure.>"], Duration::from_secs(120)).await;
    let publish = async |expected: u64| {
        let message = PublishMessage::build().expected_last_subject_sequence(expected).payload("ready".into());
        nats.admin.send_publish("closure.shop", message).await.expect("sent").await
    };
    assert_eq!(publish(0).await.expect("the first").sequence, 1);
    let refused = publish(0).await.expect_err("not the first any more");
    assert!(format!("{refused:?}").contains("WrongLastSequence"), "{refused:?}");
    assert_eq!(nats.messages("INTAKE").await.len(), 1);
}

#[tokio::test]
async fn who_may_not_publish_gets_no_acknowledgement() {
    let Some(nats) = Nats::start().await else { return };
    nats.stream("INTAKE", &["closure.>"], Duration::from_secs(120)).await;
    let reader = nats.as_user("reader", None).await.expect("a login");
    let client = reader.client();
    client.publish_with_headers("closure.shop", HeaderMap::new(), "ready".into()).await.expect("queued");
    client.flush().await.expect("flushed");
    // The server has read and refused it by the time it answers the ping of a flush.
    assert_eq!(nats.messages("INTAKE").await, []);
    let wrong = async_nats::ConnectOptions::with_user_and_password("writer".to_owned(), "wrong".to_owned());
    let refused = wrong.connect(nats.url()).await.expect_err("a wrong password");
    assert_eq!(refused.kind(), async_nats::ConnectErrorKind::AuthorizationViolation);
}
