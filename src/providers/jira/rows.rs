//! The allow-list for Jira. What is changed is one issue: a transition of its workflow, with the custom field of our mark where
//! there is one; or one remote link of our own. No row edits a field, a comment, a label, a version, a worklog or a project, moves
//! an unfixed issue, or takes anything away.
//!
//! `{api}` is 3 in the cloud and 2 in a Data Center.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

const ISSUE: &str = "/rest/api/{api}/issue/{id}?fields={fields}&properties={properties}";
/// The cloud's search; what is behind the first page is named by a token.
const FIRST: &str = "/rest/api/3/search/jql?jql={jql}&maxResults=50&fields={fields}&properties={properties}";
const NEXT: &str =
    "/rest/api/3/search/jql?jql={jql}&maxResults=50&fields={fields}&properties={properties}&nextPageToken={page}";
/// A Data Center's search; it tells no properties.
const PAGE: &str = "/rest/api/2/search?jql={jql}&maxResults=50&fields={fields}&startAt={offset}";
const TRANSITIONS: &str = "/rest/api/{api}/issue/{id}/transitions?expand=transitions.fields";
const TRANSITION: &str = "/rest/api/{api}/issue/{id}/transitions";
const LINKS: &str = "/rest/api/{api}/issue/{id}/remotelink";
const PERMISSIONS: &str =
    "/rest/api/{api}/mypermissions?projectKey={project}&permissions=BROWSE_PROJECTS,TRANSITION_ISSUES,LINK_ISSUES";
const MARKED: &str = r#"{"transition":{"id":<transition>},"fields":{<field>:<mark>}}"#;
const UNMARKED: &str = r#"{"transition":{"id":<transition>}}"#;
const LINK: &str = r#"{"globalId":<globalId>,"relationship":"release evidence","object":{"url":<url>,"title":<bundle>,"summary":<summary>}}"#;

#[rustfmt::skip]
table! {
    MYSELF: Governance Get "/rest/api/{api}/myself" "", "see that the token is taken: whoever is nobody sees less, and is not told";
    SERVER: Governance Get "/rest/api/{api}/serverInfo" "", "see which of the two Jiras it is";
    PROJECT: Governance Get "/rest/api/{api}/project/{project}" "", "see that it is there under this key, and not archived";
    PERMITTED: Governance Get PERMISSIONS "", "see what the token's user may do there";
    STATUSES: Governance Get "/rest/api/{api}/project/{project}/statuses" "", "see what issue types it has, and what statuses their workflows";
    FIELDS: Governance Get "/rest/api/{api}/field" "", "see what custom fields there are";
    REVIEW: Governance Get ISSUE "", "read the decision";
    CHECKLIST: Checklist Get ISSUE "", "read it, and look at it right before and after its change";
    CHECKLISTS: Checklist Get FIRST "", "find it in the cloud";
    CHECKLISTS_NEXT: Checklist Get NEXT "", "find it further on";
    CHECKLISTS_PAGE: Checklist Get PAGE "", "find it in a Data Center";
    CHECKLIST_WAYS: Checklist Get TRANSITIONS "", "see what closes it, right before its change";
    CLOSE_CHECKLIST: Checklist Post TRANSITION MARKED, "close it, and leave our mark";
    CLOSE_CHECKLIST_UNMARKED: Checklist Post TRANSITION UNMARKED, "close it";
    RELEASE: Tracker Get ISSUE "", "read it, and look at it right before and after its change";
    RELEASES: Tracker Get FIRST "", "find it in the cloud";
    RELEASES_NEXT: Tracker Get NEXT "", "find it further on";
    RELEASES_PAGE: Tracker Get PAGE "", "find it in a Data Center";
    RELEASE_LINKS: Tracker Get LINKS "", "read its evidence links";
    RELEASE_WAYS: Tracker Get TRANSITIONS "", "see what approves it, right before its change";
    APPROVE_RELEASE: Tracker Post TRANSITION MARKED, "set it to approved, and leave our mark";
    APPROVE_RELEASE_UNMARKED: Tracker Post TRANSITION UNMARKED, "set it to approved";
    ATTACH_EVIDENCE: Tracker Post LINKS LINK, "add the evidence link under the closure's key, with our mark";
    QUEUE_ENTRY: Queue Get ISSUE "", "read it, and look at it right before and after its change";
    QUEUE_ENTRIES: Queue Get FIRST "", "find it in the cloud";
    QUEUE_ENTRIES_NEXT: Queue Get NEXT "", "find it further on";
    QUEUE_ENTRIES_PAGE: Queue Get PAGE "", "find it in a Data Center";
    QUEUE_ENTRY_WAYS: Queue Get TRANSITIONS "", "see what clears it, right before its change";
    CLEAR_QUEUE_ENTRY: Queue Post TRANSITION MARKED, "clear it, and leave our mark";
    CLEAR_QUEUE_ENTRY_UNMARKED: Queue Post TRANSITION UNMARKED, "clear it";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}

/// The rows by which one role's records are read.
pub(super) struct Rows {
    pub(super) by_id: &'static Row,
    /// The remote links, where they are a part of the record.
    pub(super) links: Option<&'static Row>,
    /// Of records that are looked for: the cloud's first page and all others, and a Data Center's.
    pub(super) pages: Option<[&'static Row; 3]>,
}

/// The rows by which a record gets another status: what ways there are, and one of them with our mark and without.
pub(super) struct Ways {
    pub(super) all: &'static Row,
    pub(super) marked: &'static Row,
    pub(super) unmarked: &'static Row,
}

pub(super) static OF_REVIEWS: Rows = Rows { by_id: &REVIEW, links: None, pages: None };
pub(super) static OF_CHECKLISTS: Rows =
    Rows { by_id: &CHECKLIST, links: None, pages: Some([&CHECKLISTS, &CHECKLISTS_NEXT, &CHECKLISTS_PAGE]) };
pub(super) static OF_RELEASES: Rows =
    Rows { by_id: &RELEASE, links: Some(&RELEASE_LINKS), pages: Some([&RELEASES, &RELEASES_NEXT, &RELEASES_PAGE]) };
pub(super) static OF_QUEUE: Rows =
    Rows { by_id: &QUEUE_ENTRY, links: None, pages: Some([&QUEUE_ENTRIES, &QUEUE_ENTRIES_NEXT, &QUEUE_ENTRIES_PAGE]) };

pub(super) static CLOSE: Ways =
    Ways { all: &CHECKLIST_WAYS, marked: &CLOSE_CHECKLIST, unmarked: &CLOSE_CHECKLIST_UNMARKED };
pub(super) static APPROVE: Ways =
    Ways { all: &RELEASE_WAYS, marked: &APPROVE_RELEASE, unmarked: &APPROVE_RELEASE_UNMARKED };
pub(super) static CLEAR: Ways =
    Ways { all: &QUEUE_ENTRY_WAYS, marked: &CLEAR_QUEUE_ENTRY, unmarked: &CLEAR_QUEUE_ENTRY_UNMARKED };
