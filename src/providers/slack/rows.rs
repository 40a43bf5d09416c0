//! The allow-list for Slack: one message to one channel, of a handoff or of a halt, and what is asked to see that it can be posted.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

#[rustfmt::skip]
table! {
    CHANNEL: Intake Get "/api/conversations.info?channel={channel}" "", "see that the channel is there, and open";
    MESSAGE: Intake Post "/api/chat.postMessage"
        r#"{"channel":<channel>,"text":<text>,"unfurl_links":false,"unfurl_media":false,"metadata":{"event_type":"releaseclosure_handoff","event_payload":{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>}}}"#,
        "announce the handoff";
    HALT: Intake Post "/api/chat.postMessage"
        r#"{"channel":<channel>,"text":<text>,"unfurl_links":false,"unfurl_media":false,"metadata":{"event_type":"releaseclosure_halt","event_payload":{"haltId":<haltId>,"closureKey":<closureKey>,"packet":<packet>,"namespace":<namespace>,"cause":<cause>}}}"#,
        "tell of a halt";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}
