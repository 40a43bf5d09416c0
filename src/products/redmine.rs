//! Redmine.

use super::words::words;
use super::{ENDPOINT_PATTERN, SecretKeyRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One project of a Redmine, whose issues are the records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redmine {
    /// Where it is, without user information, query and fragment.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The project's identifier, as in its address. Its subprojects are not looked at.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-z0-9_-]+$"))]
    pub project: String,
    /// The API key of a user who may see the project's issues and, for any role but governance, edit them.
    pub token_secret_ref: SecretKeyRef,
    /// The trackers, which is Redmine's word for types of issues.
    #[serde(default)]
    pub trackers: Trackers,
    /// The custom fields, by id: the number in the address of the field's page.
    pub fields: Fields,
    /// The issue statuses, by name.
    #[serde(default)]
    pub statuses: Statuses,
}

words! {
    /// The trackers of the issues that are records.
    Trackers {
        /// Of reviews.
        review: "Release review",
        /// Of readiness checklists.
        checklist: "Readiness checklist",
        /// Of tracker records.
        release: "Release",
        /// Of entries of the review queue.
        queue: "Review queue",
    }
}

words! {
    /// The issue statuses that are set.
    Statuses {
        /// Of an approved tracker record: the playbook's approved state.
        approved: "Approved",
        /// Of a closed checklist; Redmine, too, must count it as closed.
        closed: "Closed",
        /// Of a cleared queue entry.
        cleared: "Closed",
    }
}

/// The custom fields of issues.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// The release id, on every record: a text, used as a filter.
    #[schemars(range(min = 1))]
    pub release: u32,
    /// The review version, on every record but a tracker record.
    #[schemars(range(min = 1))]
    pub review_version: u32,
    /// The service, on reviews and tracker records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub service: Option<u32>,
    /// The version of the service, on reviews and tracker records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub version: Option<u32>,
    /// The evidence bundle, on reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub bundle: Option<u32>,
    /// The bundle's digest, on reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub digest: Option<u32>,
    /// The event by which a review was accepted, on reviews; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub accepted_event: Option<u32>,
    /// The evidence links, on tracker records: a long text, one link a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub evidence: Option<u32>,
    /// Where our mark is left, on every record that is changed: a text. Without it nobody can tell from a record who
    /// changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub marker: Option<u32>,
}
