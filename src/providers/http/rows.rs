//! The allow-list of the contract, version 1: sixteen pairs of method and path; two of them with two body
//! templates, and the list of reviews with and without a cursor. No row writes to `/reviews` or `/bundles`, and none names a deployment.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

#[rustfmt::skip]
table! {
    REVIEW: Governance Get "/reviews/{id}" "", "read the decision";
    REVIEWS: Governance Get "/reviews?state={state}&acceptedAfter={time}" "", "for feeds: what was accepted";
    REVIEWS_FROM: Governance Get "/reviews?state={state}&acceptedAfter={time}&cursor={cursor}" "", "for feeds: the next page";
    BUNDLE: Archive Get "/bundles/{bundle}" "", "read what the archive holds";
    CHECKLIST: Checklist Get "/checklists/{id}" "", "read it";
    CHECKLISTS_OF: Checklist Get "/checklists?release={release}&reviewVersion={reviewVersion}" "", "find it";
    CLOSE_CHECKLIST: Checklist Patch "/checklists/{id}"
        r#"{"state":"Closed","closure":{"key":<key>,"uid":<uid>}}"#,
        "close it";
    RELEASE: Tracker Get "/releases/{id}" "", "read it";
    RELEASES_OF: Tracker Get "/releases?release={release}" "", "find it";
    APPROVE_RELEASE: Tracker Patch "/releases/{id}"
        r#"{"state":"Approved","closure":{"key":<key>,"uid":<uid>}}"#,
        "set it to approved";
    ATTACH_EVIDENCE: Tracker Patch "/releases/{id}"
        r#"{"evidence":[<others,>{"bundle":<bundle>,"digest":<digest>,"url":<url>,"closure":{"key":<key>,"uid":<uid>}}]}"#,
        "attach the evidence";
    QUEUE_ENTRY: Queue Get "/queue-entries/{id}" "", "read it";
    QUEUE_ENTRIES_OF: Queue Get "/queue-entries?release={release}&reviewVersion={reviewVersion}" "", "find it";
    CLEAR_QUEUE_ENTRY: Queue Patch "/queue-entries/{id}"
        r#"{"state":"Cleared","closure":{"key":<key>,"uid":<uid>}}"#,
        "clear it";
    ANNOUNCE: Intake Post "/handoffs"
        r#"{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"links":[<links>]}"#,
        "announce the handoff";
    ANNOUNCE_TO: Intake Post "/handoffs"
        r#"{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"coordinator":<coordinator>,"links":[<links>]}"#,
        "announce it to a coordinator";
    HANDOFF: Intake Get "/handoffs/{key}" "", "ask for it";
    FOLLOW_UP: Intake Post "/follow-ups"
        r#"{"haltId":<haltId>,"closureKey":<closureKey>,"packet":<packet>,"namespace":<namespace>,"coordinator":<coordinator?>,"cause":<cause>,"link":<link?>}"#,
        "tell of a halt";
    FOLLOW_UP_TOLD: Intake Get "/follow-ups/{haltId}" "", "see that there is a channel";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}

#[cfg(test)]
mod tests;
