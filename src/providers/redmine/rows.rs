//! The allow-list for Redmine. What is changed is one issue: its status, the custom field of evidence links, the custom field
//! of our mark. No row touches a subject, a description, a note, a version, a relation, a subtask, a time entry or a project.
//!
//! Filters are spelled out (`f[]`, `op[]`, `v[]`, percent-encoded): in Redmine's short form a value that begins with `!` or
//! `~`, or holds a `|`, means something else. Issues of subprojects are left out, closed issues are not.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

/// The project's issues of which one filter is true.
macro_rules! issues {
    ($filters:literal) => {
        concat!(
            "/projects/{project}/issues.json?limit=100&offset={offset}&sort=id&f%5B%5D=subproject_id&op%5Bsubproject_id%5D=%21%2A&",
            $filters
        )
    };
}
const BY_ID: &str =
    issues!("f%5B%5D=status_id&op%5Bstatus_id%5D=%2A&f%5B%5D=issue_id&op%5Bissue_id%5D=%3D&v%5Bissue_id%5D%5B%5D={id}");
const BY_FIELD: &str = issues!(
    "f%5B%5D=status_id&op%5Bstatus_id%5D=%2A&f%5B%5D=cf_{field}&op%5Bcf_{field}%5D=%3D&v%5Bcf_{field}%5D%5B%5D={value}"
);
const BY_TRACKER: &str = issues!(
    "f%5B%5D=status_id&op%5Bstatus_id%5D=%2A&f%5B%5D=tracker_id&op%5Btracker_id%5D=%3D&v%5Btracker_id%5D%5B%5D={tracker}"
);
const OPEN_CHILDREN: &str = issues!(
    "f%5B%5D=status_id&op%5Bstatus_id%5D=o&f%5B%5D=parent_id&op%5Bparent_id%5D=%3D&v%5Bparent_id%5D%5B%5D={id}"
);

#[rustfmt::skip]
table! {
    USER: Governance Get "/users/current.json?include=memberships" "", "see that the key is taken, and whose it is";
    ROLE: Governance Get "/roles/{role}.json" "", "see what its user may do";
    PROJECT: Governance Get "/projects/{project}.json?include=trackers" "", "see that it is there and open, and what trackers it has";
    STATUSES: Governance Get "/issue_statuses.json" "", "see what statuses there are";
    SAMPLE: Governance Get BY_TRACKER "",
        "see what fields issues of a tracker show";
    FILTERED: Governance Get BY_FIELD "", "see that a field can be searched by";
    REVIEW: Governance Get BY_ID "", "read the decision";
    REVIEW_THERE: Governance Get "/issues/{id}.json" "", "see whether one that was not found may not be seen";
    CHECKLIST: Checklist Get BY_ID "", "read it";
    CHECKLIST_NOW: Checklist Get "/issues/{id}.json?include=allowed_statuses" "", "look at it right before and after its change";
    CHECKLISTS: Checklist Get BY_FIELD "", "find it";
    SUBTASKS: Checklist Get OPEN_CHILDREN "",
        "read its open subtasks";
    CLOSE_CHECKLIST: Checklist Patch "/issues/{id}.json"
        r#"{"issue":{"status_id":<status>,"custom_fields":[{"id":<field>,"value":<mark>}]}}"#, "close it, and leave our mark";
    CLOSE_CHECKLIST_UNMARKED: Checklist Patch "/issues/{id}.json" r#"{"issue":{"status_id":<status>}}"#, "close it";
    RELEASE: Tracker Get BY_ID "", "read it";
    RELEASE_NOW: Tracker Get "/issues/{id}.json?include=allowed_statuses" "", "look at it right before and after its change";
    RELEASES: Tracker Get BY_FIELD "", "find it";
    APPROVE_RELEASE: Tracker Patch "/issues/{id}.json"
        r#"{"issue":{"status_id":<status>,"custom_fields":[{"id":<field>,"value":<mark>}]}}"#, "set it to approved, and leave our mark";
    APPROVE_RELEASE_UNMARKED: Tracker Patch "/issues/{id}.json" r#"{"issue":{"status_id":<status>}}"#, "set it to approved";
    ATTACH_EVIDENCE: Tracker Patch "/issues/{id}.json"
        r#"{"issue":{"custom_fields":[{"id":<field>,"value":<links>}]}}"#, "add the evidence link, with our mark, below the others; once more below what somebody wrote in that moment";
    EVIDENCE_NOW: Tracker Get "/issues/{id}.json?include=journals" "",
        "look at it right before and after a link is added, and see in its history what that replaced";
    QUEUE_ENTRY: Queue Get BY_ID "", "read it";
    QUEUE_ENTRY_NOW: Queue Get "/issues/{id}.json?include=allowed_statuses" "", "look at it right before and after its change";
    QUEUE_ENTRIES: Queue Get BY_FIELD "", "find it";
    CLEAR_QUEUE_ENTRY: Queue Patch "/issues/{id}.json"
        r#"{"issue":{"status_id":<status>,"custom_fields":[{"id":<field>,"value":<mark>}]}}"#, "clear it, and leave our mark";
    CLEAR_QUEUE_ENTRY_UNMARKED: Queue Patch "/issues/{id}.json" r#"{"issue":{"status_id":<status>}}"#, "clear it";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}

/// The rows of one role's records: by id, by the release, right before and after a change.
pub(super) struct Rows {
    pub(super) by_id: &'static Row,
    pub(super) by_field: &'static Row,
    pub(super) now: &'static Row,
}

pub(super) static OF_REVIEWS: Rows = Rows { by_id: &REVIEW, by_field: &FILTERED, now: &REVIEW_THERE };
pub(super) static OF_CHECKLISTS: Rows = Rows { by_id: &CHECKLIST, by_field: &CHECKLISTS, now: &CHECKLIST_NOW };
pub(super) static OF_RELEASES: Rows = Rows { by_id: &RELEASE, by_field: &RELEASES, now: &RELEASE_NOW };
/// Of the evidence links alone: the history of an issue is long.
pub(super) static OF_EVIDENCE: Rows = Rows { by_id: &RELEASE, by_field: &RELEASES, now: &EVIDENCE_NOW };
pub(super) static OF_QUEUE: Rows = Rows { by_id: &QUEUE_ENTRY, by_field: &QUEUE_ENTRIES, now: &QUEUE_ENTRY_NOW };
