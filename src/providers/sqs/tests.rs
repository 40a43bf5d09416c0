//! The adapter against replies in SQS's own words.

use super::*;
use crate::closure::ids::Step;
use crate::closure::snapshot::Unreachable;
use crate::providers::http::tests::orders::order;
use crate::providers::http::tests::server::{Act, Server, page, reply};
use crate::providers::http::tests::{KEY, settings};
use crate::providers::{Secrets, connect};
use serde_json::{Value, json};

const MEDIA: &str = "application/x-amz-json-1.0";
const TAKEN: &str = r#"{"MessageId":"5fea7756","MD5OfMessageBody":"x","SequenceNumber":"1"}"#;

fn at(server: &Server, more: Value) -> Settings {
    let endpoint = format!("http://{}", server.address);
    let secret = json!({"name": "sqs", "key": "key"});
    let mut spec = json!({"queueUrl": format!("{endpoint}/123456789012/handoffs.fifo"), "region": "eu-central-1",
        "accessKeySecretRef": secret, "secretKeySecretRef": secret});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let sqs: Sqs = serde_json::from_value(spec).unwrap();
    let mut settings = settings(endpoint);
    settings.product = Product::Sqs(Box::new(sqs));
    settings.secrets = Secrets::default();
    settings.secrets.insert(ACCESS_KEY, "AKIDEXAMPLE".into());
    settings.secrets.insert(SECRET_KEY, "very-secret".into());
    settings.limits.timeout = Duration::from_secs(2);
    settings
}

async fn announce(server: &Server) -> AnnounceReply {
    let connected = connect(&at(server, json!({}))).unwrap();
    let permit = connected.gate.permit().await.unwrap();
    connected.intake.unwrap().announce(order(Step::NotifyCoordinator), permit).await
}

/// An error in SQS's own words, in either of its two ways to write one.
fn words(status: u16, word: &str) -> [Act; 2] {
    let json = json!({"__type": format!("com.amazonaws.sqs#{word}"), "message": "no"}).to_string();
    let xml = format!("<?xml version=\"1.0\"?>\n<ErrorResponse><Error><Code>{word}</Code></Error></ErrorResponse>");
    [reply(status, MEDIA, "", &json), reply(status, "text/xml", "", &xml)]
}

#[tokio::test]
async fn a_handoff_is_one_message_with_a_deduplication_id_of_its_key() {
    let server = Server::always(reply(200, MEDIA, "", TAKEN)).await;
    for _ in 0..2 {
        assert_eq!(announce(&server).await, AnnounceReply::Accepted);
    }
    let [first, second] = server.seen().try_into().unwrap();
    assert_eq!((first.method.as_str(), first.target.as_str()), ("POST", "/"));
    let head = first.head.to_ascii_lowercase();
    assert!(head.contains("x-amz-target: amazonsqs.sendmessage\r\n"), "{head}");
    assert!(head.contains("/eu-central-1/sqs/aws4_request, signedheaders=content-type;host;x-amz-date;x-amz-target, "));
    let body: Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(body["QueueUrl"], format!("http://{}/123456789012/handoffs.fifo", server.address));
    assert_eq!(body["MessageGroupId"], "r-1");
    assert_eq!(body["MessageDeduplicationId"], hex::encode(Sha256::digest(KEY)));
    let handoff: Value = serde_json::from_str(body["MessageBody"].as_str().unwrap()).unwrap();
    assert_eq!((&handoff["releaseId"], &handoff["closureKey"]), (&json!("r-1"), &json!(KEY)));
    assert_eq!(body.as_object().unwrap().len(), 4);
    assert_eq!(first.body, second.body, "the same handoff is the same message");
}

#[tokio::test]
async fn what_a_word_says_of_a_message() {
    let not_sent = |trouble: Trouble| AnnounceReply::NotSent(trouble.into());
    let unknown = |trouble: Trouble| AnnounceReply::Unknown(trouble.into());
    for (status, word, expected) in [
        (403, "InvalidClientTokenId", not_sent(Trouble::Unauthorized)),
        (400, "UnrecognizedClientException", not_sent(Trouble::Unauthorized)),
        (403, "SignatureDoesNotMatch", not_sent(Trouble::Unauthorized)),
        (400, "ExpiredTokenException", not_sent(Trouble::Unauthorized)),
        (403, "AccessDenied", not_sent(Trouble::Forbidden)),
        (400, "AccessDeniedException", not_sent(Trouble::Forbidden)),
        (400, "KmsAccessDenied", not_sent(Trouble::Forbidden)),
        (400, "QueueDoesNotExist", not_sent(Trouble::Forbidden)),
        (403, "RequestThrottled", not_sent(Trouble::TooManyRequests)),
        (400, "ThrottlingException", not_sent(Trouble::TooManyRequests)),
        (400, "InvalidMessageContents", AnnounceReply::Refused),
        (400, "InvalidParameterValue", AnnounceReply::Refused),
        (500, "InternalFailure", unknown(Trouble::Unavailable)),
        (503, "ServiceUnavailable", unknown(Trouble::Unavailable)),
    ] {
        for act in words(status, word) {
            let server = Server::always(act).await;
            assert_eq!(announce(&server).await, expected, "{status} {word}");
            assert_eq!(server.count(), 1, "{word}: a message is sent once");
        }
    }
    let asked = Unreachable { trouble: Trouble::TooManyRequests, retry_after: Some(Duration::from_secs(7)) };
    for (act, expected) in [
        (page(400), not_sent(Trouble::NotUnderstood)),
        (page(403), not_sent(Trouble::Forbidden)),
        (page(404), not_sent(Trouble::NotUnderstood)),
        (page(503), unknown(Trouble::Unavailable)),
        (page(301), unknown(Trouble::NotUnderstood)),
        (reply(429, "text/plain", "retry-after: 7\r\n", ""), AnnounceReply::NotSent(asked)),
        (reply(200, "text/html", "", "<p>"), unknown(Trouble::NotUnderstood)),
        (reply(200, MEDIA, "", "{}"), unknown(Trouble::NotUnderstood)),
        (reply(200, MEDIA, "", r#"{"MessageId":""}"#), unknown(Trouble::NotUnderstood)),
        (Act::Close, unknown(Trouble::Unavailable)),
        (Act::Hang, unknown(Trouble::Unavailable)),
    ] {
        let server = Server::always(act.clone()).await;
        assert_eq!(announce(&server).await, expected, "{act:?}");
    }
}

async fn probed(server: &Server, more: Value) -> Probe {
    connect(&at(server, more)).unwrap().prober.probe(System::Intake).await
}

#[tokio::test]
async fn a_probe_names_the_setting_that_does_not_fit() {
    let fifo = Server::always(reply(200, MEDIA, "", r#"{"Attributes":{"FifoQueue":"true"}}"#)).await;
    assert_eq!(probed(&fifo, json!({})).await, Probe::Ready);
    let seen = fifo.seen().remove(0);
    assert!(seen.head.to_ascii_lowercase().contains("x-amz-target: amazonsqs.getqueueattributes\r\n"), "{}", seen.head);
    for (act, setting) in [
        (vec![reply(200, MEDIA, "", "{}")], "sqs.queueUrl"),
        (vec![reply(200, MEDIA, "", r#"{"Attributes":{"FifoQueue":"false"}}"#)], "sqs.queueUrl"),
        (words(400, "QueueDoesNotExist").into(), "sqs.queueUrl"),
        (words(403, "InvalidClientTokenId").into(), "sqs.accessKeySecretRef"),
        (words(403, "SignatureDoesNotMatch").into(), "sqs.secretKeySecretRef"),
        (words(403, "AccessDenied").into(), "sqs.accessKeySecretRef"),
        (words(400, "ExpiredToken").into(), "sqs.sessionTokenSecretRef"),
    ] {
        for act in act {
            let found = probed(&Server::always(act.clone()).await, json!({})).await;
            assert!(matches!(found, Probe::Unfit { setting: named, .. } if named == setting), "{act:?}: {found:?}");
        }
    }
    for (act, trouble) in [
        (page(200), Trouble::NotUnderstood),
        (page(403), Trouble::Forbidden),
        (page(404), Trouble::NotUnderstood),
        (page(500), Trouble::Unavailable),
    ] {
        assert_eq!(
            probed(&Server::always(act.clone()).await, json!({})).await,
            Probe::Failed(trouble.into()),
            "{act:?}"
        );
    }
    // Nobody is asked in another queue's region.
    let elsewhere = json!({"queueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/handoffs.fifo"});
    let right = "us-east-1".to_owned();
    let what = "is not the queue's, which is";
    assert_eq!(probed(&fifo, elsewhere).await, Probe::Told { setting: "sqs.region", what, right });
}

#[tokio::test]
async fn what_is_relied_on_ends_after_five_minutes() {
    let server = Server::always(page(500)).await;
    let connected = connect(&at(&server, json!({}))).unwrap();
    let abilities = connected.prober.abilities(System::Intake).unwrap();
    assert_eq!(
        (abilities.delivery, abilities.window),
        (Some(Delivery::IdempotencyKey), Some(Duration::from_secs(300)))
    );
    assert!(!abilities.can_look_up && connected.prober.abilities(System::Queue).is_none());
    for queue in ["https://sqs.us-east-1.amazonaws.com/123456789012/handoffs", "https://a.example/handoffs.fifo"] {
        let refused = connect(&at(&server, json!({ "queueUrl": queue }))).err();
        assert!(matches!(refused, Some(Refused::Setting { setting: "sqs.queueUrl", .. })), "{queue}: {refused:?}");
    }
    let metadata = json!({"queueUrl": "http://169.254.169.254/123456789012/handoffs.fifo"});
    assert!(matches!(connect(&at(&server, metadata)).err(), Some(Refused::Endpoint(_))));
    let settings = at(&server, json!({}));
    assert!(!format!("{settings:?}").contains("very-secret"));
}
