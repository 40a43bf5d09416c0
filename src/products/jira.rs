//! Jira, in the cloud or in a data center of one's own.

use super::words::words;
use super::{ENDPOINT_PATTERN, SecretKeyRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a value stands in an issue, see [`Source`].
const SOURCE_PATTERN: &str =
    r"^(customfield_[1-9][0-9]{0,9}|label:[!-~]{1,64}|property:[A-Za-z0-9][A-Za-z0-9._-]{0,127})$";
/// The id of a custom field.
const FIELD_PATTERN: &str = r"^customfield_[1-9][0-9]{0,9}$";

/// One project of a Jira, whose issues are the records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jira {
    /// Where it is, without user information, query and fragment: `https://SITE.atlassian.net`, or the base URL of a Data Center.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// Which of the two APIs it has.
    #[serde(default)]
    pub deployment: Deployment,
    /// The project's key, as its issues' keys begin.
    #[schemars(length(min = 2, max = 64), regex(pattern = r"^[A-Z][A-Z0-9_]+$"))]
    pub project: String,
    /// Whose token it is: in the cloud the e-mail address of its user. Without it the token is shown as a bearer token, which is
    /// what a Data Center's personal access tokens are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254), regex(pattern = r"^[!-9;-~]+$"))]
    pub user: Option<String>,
    /// The token of a user with the project permissions Browse Projects and, for any role but governance, Transition Issues; for the
    /// tracker Link Issues as well.
    pub token_secret_ref: SecretKeyRef,
    /// The issue types.
    #[serde(default)]
    pub issue_types: IssueTypes,
    /// Where the values stand.
    pub fields: Fields,
    /// The statuses that are set, by name. What leads to them is looked up.
    #[serde(default)]
    pub statuses: Statuses,
}

/// The two APIs of Jira.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Deployment {
    /// Jira Cloud, version 3.
    #[default]
    Cloud,
    /// Jira Data Center, version 2.
    DataCenter,
}

words! {
    /// The types of the issues that are records.
    IssueTypes {
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
    /// The statuses that are set.
    Statuses {
        /// Of an approved tracker record: the playbook's approved state.
        approved: "Approved",
        /// Of a closed checklist.
        closed: "Closed",
        /// Of a cleared queue entry.
        cleared: "Cleared",
    }
}

/// Where each value stands: `customfield_10101`, a custom field by its id; `label:release=`, the label that begins so, with
/// what follows as the value; `property:releaseclosure.release`, an issue property (in the cloud only).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// The release id, on every record.
    #[schemars(length(min = 7, max = 160), regex(pattern = SOURCE_PATTERN))]
    pub release: String,
    /// The review version, on every record but a tracker record.
    #[schemars(length(min = 7, max = 160), regex(pattern = SOURCE_PATTERN))]
    pub review_version: String,
    /// The service, on reviews and tracker records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 160), regex(pattern = SOURCE_PATTERN))]
    pub service: Option<String>,
    /// The version of the service, on reviews and tracker records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 160), regex(pattern = SOURCE_PATTERN))]
    pub version: Option<String>,
    /// The evidence bundle, on reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 160), regex(pattern = SOURCE_PATTERN))]
    pub bundle: Option<String>,
    /// The bundle's digest, on reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 160), regex(pattern = SOURCE_PATTERN))]
    pub digest: Option<String>,
    /// The event by which a review was accepted, on reviews; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 160), regex(pattern = SOURCE_PATTERN))]
    pub accepted_event: Option<String>,
    /// The custom field where our mark is left, on every record that gets another status: a short text that is on the screen of
    /// the transition. Without it nobody can tell from a record who changed its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 13, max = 32), regex(pattern = FIELD_PATTERN))]
    pub marker: Option<String>,
}

/// Where a value stands in an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// In the custom field of this id.
    Field(&'a str),
    /// In the label that begins so.
    Label(&'a str),
    /// In the issue property of this key.
    Property(&'a str),
}

impl<'a> Source<'a> {
    /// Reads a setting; none where it is not one of the three, which the schema refuses.
    #[must_use]
    pub fn of(setting: &'a str) -> Option<Source<'a>> {
        if let Some(label) = setting.strip_prefix("label:") {
            Some(Source::Label(label))
        } else if let Some(property) = setting.strip_prefix("property:") {
            Some(Source::Property(property))
        } else {
            Source::number(setting).map(|_| Source::Field(setting))
        }
    }

    /// The number of a custom field.
    #[must_use]
    pub fn number(field: &str) -> Option<u64> {
        field.strip_prefix("customfield_")?.parse().ok()
    }
}

impl Fields {
    /// Every setting that is given, by its name.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Fields { release, review_version, service, version, bundle, digest, accepted_event, marker } = self;
        [
            ("jira.fields.release", Some(release)),
            ("jira.fields.reviewVersion", Some(review_version)),
            ("jira.fields.service", service.as_ref()),
            ("jira.fields.version", version.as_ref()),
            ("jira.fields.bundle", bundle.as_ref()),
            ("jira.fields.digest", digest.as_ref()),
            ("jira.fields.acceptedEvent", accepted_event.as_ref()),
            ("jira.fields.marker", marker.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, setting)| Some((name, setting?.as_str())))
    }
}
