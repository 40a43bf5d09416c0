//! SQS: a deduplication id counts once within five minutes; a delete twice is well; a bogus handle is refused.

use crate::systems::sqs::Sqs;
use serde_json::json;

#[tokio::test]
async fn a_deduplication_id_counts_once() {
    let Some(sqs) = Sqs::start().await else { return };
    let queue = sqs.fifo("handoffs").await;
    let message = json!({"QueueUrl": queue, "MessageBody": "ready", "MessageGroupId": "shop-1.4",
        "MessageDeduplicationId": "handoff-1"});
    for _ in 0..2 {
        // Amazon's tells the first one's MessageId again; this one makes another one up, so nothing may rest on it.
        sqs.call("SendMessage", &message).await.expect(200);
    }
    let received = sqs.receive(&queue).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["Attributes"]["MessageDeduplicationId"], "handoff-1");

    let delete = json!({"QueueUrl": queue, "ReceiptHandle": received[0]["ReceiptHandle"]});
    sqs.call("DeleteMessage", &delete).await.expect(200);
    sqs.call("DeleteMessage", &delete).await.expect(200);
    assert_eq!(sqs.receive(&queue).await, Vec::<serde_json::Value>::new());
    let bogus = sqs.call("DeleteMessage", &json!({"QueueUrl": queue, "ReceiptHandle": "bogus"})).await;
    assert_eq!(bogus.status, 400, "{}", bogus.text);
    sqs.server.tell();
}

#[tokio::test]
async fn a_fifo_queue_asks_for_a_group_and_a_missing_queue_is_named() {
    let Some(sqs) = Sqs::start().await else { return };
    let queue = sqs.fifo("handoffs").await;
    let bare = json!({"QueueUrl": queue, "MessageBody": "ready"});
    assert_eq!(sqs.call("SendMessage", &bare).await.status, 400);
    let nowhere = queue.replace("handoffs", "elsewhere");
    let refused =
        sqs.call("SendMessage", &json!({"QueueUrl": nowhere, "MessageBody": "ready", "MessageGroupId": "g"})).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("QueueDoesNotExist") || refused.text.contains("NonExistentQueue"),
        "{}",
        refused.text
    );
}
