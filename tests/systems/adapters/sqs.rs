//! A queue of moto, which looks who asks.

use super::settings::{product, settings};
use crate::fault_proxy::FaultProxy;
use crate::systems::sqs::Sqs;
use crate::systems::sqs_people::{Admin, Keys, REGION};
use releaseclosure::closure::ids::System;
use releaseclosure::providers::{Settings, connect};
use releaseclosure::roles::Probe;
use serde_json::json;

fn at(queue: &str, region: &str, keys: &Keys) -> Settings {
    let secret = json!({"name": "sqs", "key": "key"});
    let sqs = json!({"queueUrl": queue, "region": region, "accessKeySecretRef": secret, "secretKeySecretRef": secret});
    settings(product(json!({ "sqs": sqs })), &[("accessKey", &keys.id), ("secretKey", &keys.secret)])
}

async fn probed(queue: &str, region: &str, keys: &Keys) -> String {
    match connect(&at(queue, region, keys)).expect("settings").prober.probe(System::Intake).await {
        Probe::Unfit { setting, .. } => setting.to_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    let Some(sqs) = Sqs::start().await else { return };
    let queue = sqs.fifo("handoffs").await;
    let admin = Admin::of(&sqs).await;
    let keys = admin.user("releaseclosure", &["sqs:SendMessage", "sqs:GetQueueAttributes"]).await;
    assert_eq!(probed(&queue, REGION, &keys).await, "Ready");
    assert_eq!(probed(&queue.replace("handoffs", "elsewhere"), REGION, &keys).await, "sqs.queueUrl");
    // Its regions share a host, and each has queues of its own.
    assert_eq!(probed(&queue, "eu-central-1", &keys).await, "sqs.queueUrl");
    let unknown = Keys { id: "AKIAUNKNOWN".to_owned(), ..keys.clone() };
    assert_eq!(probed(&queue, REGION, &unknown).await, "sqs.accessKeySecretRef");
    let wrong = Keys { secret: "wrong".to_owned(), ..keys.clone() };
    assert_eq!(probed(&queue, REGION, &wrong).await, "sqs.secretKeySecretRef");
    admin.permit("releaseclosure", &["sqs:ReceiveMessage"]).await;
    assert_eq!(probed(&queue, REGION, &keys).await, "sqs.accessKeySecretRef");
}

#[tokio::test]
async fn no_secret_is_sent() {
    let Some(sqs) = Sqs::start().await else { return };
    let queue = sqs.fifo("handoffs").await;
    let admin = Admin::of(&sqs).await;
    let keys = admin.user("releaseclosure", &["sqs:GetQueueAttributes"]).await;
    let proxy = FaultProxy::before(&sqs.url()).await;
    assert_eq!(probed(&queue.replace(&sqs.url(), &proxy.url()), REGION, &keys).await, "Ready");
    let log = proxy.log();
    assert_eq!(log.len(), 1);
    assert!(!format!("{log:?}").contains(&keys.secret));
    assert!(format!("{log:?}").contains(&keys.id), "whose signature it is, is told");
}
