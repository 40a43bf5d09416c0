//! The allow-list for Gitea and Forgejo: seven pairs of method and path template. What is changed is one issue: its text, and
//! whether it is closed. No row touches a milestone, a label, a release or a repository.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

#[rustfmt::skip]
table! {
    REPOSITORY: Governance Get "/api/v1/repos/{owner}/{name}" "", "see that it is there, and what the token may do";
    ISSUES: Governance Get "/api/v1/repos/{owner}/{name}/issues?state=all&type=issues&limit=1" "", "see that an issue's text has a version";
    LABELS: Governance Get "/api/v1/repos/{owner}/{name}/labels?limit=50&page={page}" "", "see that the labels are there by which records are found";
    REVIEW: Governance Get "/api/v1/repos/{owner}/{name}/issues/{id}" "", "read the decision";
    CHECKLIST: Checklist Get "/api/v1/repos/{owner}/{name}/issues/{id}" "", "read it";
    CHECKLISTS: Checklist Get "/api/v1/repos/{owner}/{name}/issues?state=all&type=issues&labels={label}&limit=50&page={page}" "", "find it";
    DEPENDENCIES: Checklist Get "/api/v1/repos/{owner}/{name}/issues/{id}/dependencies?limit=50" "", "see that no open issue forbids to close it";
    CLOSE_CHECKLIST: Checklist Patch "/api/v1/repos/{owner}/{name}/issues/{id}"
        r#"{"state":"closed","body":<body>,"content_version":<version>}"#, "close it, and leave our mark in its text";
    RELEASE: Tracker Get "/api/v1/repos/{owner}/{name}/issues/{id}" "", "read it";
    RELEASES: Tracker Get "/api/v1/repos/{owner}/{name}/issues?state=all&type=issues&labels={label}&limit=50&page={page}" "", "find it";
    CHANGE_RELEASE: Tracker Patch "/api/v1/repos/{owner}/{name}/issues/{id}"
        r#"{"body":<body>,"content_version":<version>}"#, "set its status, or attach the evidence, in its text";
    QUEUE_ENTRY: Queue Get "/api/v1/repos/{owner}/{name}/issues/{id}" "", "read it";
    QUEUE_ENTRIES: Queue Get "/api/v1/repos/{owner}/{name}/issues?state=all&type=issues&labels={label}&limit=50&page={page}" "", "find it";
    CLEAR_QUEUE_ENTRY: Queue Patch "/api/v1/repos/{owner}/{name}/issues/{id}"
        r#"{"state":"closed","body":<body>,"content_version":<version>}"#, "close it, and leave our mark in its text";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}
