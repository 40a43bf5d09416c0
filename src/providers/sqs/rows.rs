//! The allow-list for SQS: messages to one queue, and a question about that queue. Both are POSTs to the same place, told apart
//! by the header `X-Amz-Target`; SQS has no other way to be asked.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

#[rustfmt::skip]
table! {
    QUEUE: Intake Post "/" r#"{"QueueUrl":<queue>,"AttributeNames":["FifoQueue"]}"#, "GetQueueAttributes: see that the queue is there, and what it is", asks;
    MESSAGE: Intake Post "/" r#"{"QueueUrl":<queue>,"MessageBody":<handoff>,"MessageGroupId":<release>,"MessageDeduplicationId":<key>}"#, "SendMessage: announce the handoff";
    HALT: Intake Post "/" r#"{"QueueUrl":<queue>,"MessageBody":<notice>,"MessageGroupId":<halt>,"MessageDeduplicationId":<key>}"#, "SendMessage: tell people of a halt";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}
