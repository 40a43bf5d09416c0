//! The allow-list for GitHub. What is changed is one issue at a time: whether it is closed, one label more, one comment more. No
//! row touches an issue's text, a milestone, a release, a deployment, a review or a workflow, and none takes anything away.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

#[rustfmt::skip]
table! {
    TOKEN: Governance Post "/app/installations/{installation}/access_tokens" r#"{"repositories":[<repository>]}"#,
        "as a GitHub App, get a token for this one repository";
    REPOSITORY: Governance Get "/repos/{owner}/{name}" "", "see that it is there, and what the token may do";
    ISSUES: Governance Get "/repos/{owner}/{name}/issues?state=all&per_page=1" "",
        "where an issue is not found, see that issues can be seen at all";
    LABELS: Governance Get "/repos/{owner}/{name}/labels?per_page=100&page={page}" "",
        "see that the labels are there by which records, and their states, are known";
    REVIEW: Governance Get "/repos/{owner}/{name}/issues/{id}" "", "read the decision";
    CHECKLIST: Checklist Get "/repos/{owner}/{name}/issues/{id}" "", "read it";
    CHECKLISTS: Checklist Get "/repos/{owner}/{name}/issues?state=all&labels={label}&per_page=30&page={page}" "", "find it";
    CLOSE_CHECKLIST: Checklist Patch "/repos/{owner}/{name}/issues/{id}" r#"{"state":"closed","state_reason":"completed"}"#,
        "close it";
    RELEASE: Tracker Get "/repos/{owner}/{name}/issues/{id}" "", "read it";
    RELEASES: Tracker Get "/repos/{owner}/{name}/issues?state=all&labels={label}&per_page=30&page={page}" "", "find it";
    COMMENTS: Tracker Get "/repos/{owner}/{name}/issues/{id}/comments?per_page=50&page={page}" "", "read the evidence links";
    USER: Tracker Get "/user" "", "see whose token it is, to tell our comments from others'";
    APPROVE: Tracker Post "/repos/{owner}/{name}/issues/{id}/labels" r#"{"labels":[<label>]}"#,
        "approve it, by one label more";
    ATTACH: Tracker Post "/repos/{owner}/{name}/issues/{id}/comments" r#"{"body":<body>}"#,
        "attach the evidence, by one comment more";
    QUEUE_ENTRY: Queue Get "/repos/{owner}/{name}/issues/{id}" "", "read it";
    QUEUE_ENTRIES: Queue Get "/repos/{owner}/{name}/issues?state=all&labels={label}&per_page=30&page={page}" "", "find it";
    CLEAR_QUEUE_ENTRY: Queue Patch "/repos/{owner}/{name}/issues/{id}" r#"{"state":"closed","state_reason":"completed"}"#,
        "close it";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}
