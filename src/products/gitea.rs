//! Gitea and Forgejo.

use super::issues::{Headings, Labels};
use super::{ENDPOINT_PATTERN, SecretKeyRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One repository of a Gitea or Forgejo, whose issues are the records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gitea {
    /// Where it is, without `/api/v1`, user information, query and fragment.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The repository: its owner, a slash, its name.
    #[schemars(length(min = 3, max = 140), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$"))]
    pub repository: String,
    /// An access token with the scopes read:repository and, for any role but governance, write:issue.
    pub token_secret_ref: SecretKeyRef,
    /// The headings in the issues' texts.
    #[serde(default)]
    pub headings: Headings,
    /// The labels by which records are found.
    #[serde(default)]
    pub labels: Labels,
}

impl Gitea {
    /// Owner and name; none where the repository is not such a pair, which the schema refuses.
    #[must_use]
    pub fn owner_and_name(&self) -> Option<(&str, &str)> {
        self.repository.split_once('/')
    }
}
