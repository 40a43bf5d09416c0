//! The allow-list for CloudEvents: one event, posted; and a question whether anybody is there.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

#[rustfmt::skip]
table! {
    RECEIVER: Intake Get "" "", "see that somebody answers";
    EVENT: Intake Post ""
        r#"{"specversion":"1.0","id":<closureKey>,"source":<source>,"type":<type>,"subject":<releaseId>,"datacontenttype":"application/json","data":{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"links":[<links>]}}"#,
        "announce the handoff, structured";
    EVENT_TO: Intake Post ""
        r#"{"specversion":"1.0","id":<closureKey>,"source":<source>,"type":<type>,"subject":<releaseId>,"datacontenttype":"application/json","data":{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"coordinator":<coordinator>,"links":[<links>]}}"#,
        "announce it to a coordinator, structured";
    DATA: Intake Post ""
        r#"{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"links":[<links>]}"#,
        "announce the handoff, binary";
    DATA_TO: Intake Post ""
        r#"{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"coordinator":<coordinator>,"links":[<links>]}"#,
        "announce it to a coordinator, binary";
    HALT_EVENT: Intake Post ""
        r#"{"specversion":"1.0","id":<haltId>,"source":<source>,"type":<type>,"subject":<closureKey>,"datacontenttype":"application/json","data":{"haltId":<haltId>,"closureKey":<closureKey>,"packet":<packet>,"namespace":<namespace>,"coordinator":<coordinator?>,"cause":<cause>,"link":<link?>}}"#,
        "tell of a halt, structured";
    HALT_DATA: Intake Post ""
        r#"{"haltId":<haltId>,"closureKey":<closureKey>,"packet":<packet>,"namespace":<namespace>,"coordinator":<coordinator?>,"cause":<cause>,"link":<link?>}"#,
        "tell of a halt, binary";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}
