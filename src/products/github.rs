//! GitHub, in the cloud or on a server of one's own.

use super::issues::{Headings, Labels};
use super::{ENDPOINT_PATTERN, SecretKeyRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What may be a label: the same as in [`Labels`].
const LABEL_PATTERN: &str = r"^[^\x00-\x20\x7f-\xa0,]([^\x00-\x1f\x7f-\x9f,]*[^\x00-\x20\x7f-\xa0,])?$";
/// What may be a state of a tracker record.
const STATE_PATTERN: &str = r"^[!-~]([ -~]*[!-~])?$";

/// One repository of GitHub, whose issues are the records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = one_credential()))]
pub struct GitHub {
    /// Where its REST API is, without user information, query and fragment: `https://HOST/api/v3` for a server of one's own.
    #[serde(default = "endpoint")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The repository: its owner, a slash, its name.
    #[schemars(length(min = 3, max = 140), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$"))]
    pub repository: String,
    /// A token with the permission Issues: read, and for any role but governance Issues: write. Either this or an App is
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
    /// A GitHub App that is installed at the repository's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// The headings in the issues' texts. That of the status is not looked for: a tracker record's state is a label.
    #[serde(default)]
    pub headings: Headings,
    /// The labels by which records are found.
    #[serde(default)]
    pub labels: Labels,
    /// The labels that say a tracker record's state. Where an issue has several, the first in this list counts; so what an
    /// approval takes the place of stands behind it.
    #[serde(default = "states")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub states: Vec<StateLabel>,
}

/// A GitHub App, as which requests are made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// The App's id: on its settings page.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64), extend("format" = "int64"))]
    pub app_id: u64,
    /// The installation's id: the number at the end of its settings page's address.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64), extend("format" = "int64"))]
    pub installation_id: u64,
    /// A private key of the App, in PEM, as GitHub made it.
    pub private_key_secret_ref: SecretKeyRef,
}

/// A label, and the state that it says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StateLabel {
    /// The label. Whoever approves puts it on the issue; GitHub makes it where it is missing.
    #[schemars(length(min = 1, max = 50), regex(pattern = LABEL_PATTERN))]
    pub label: String,
    /// The state, as playbooks name it.
    #[schemars(length(min = 1, max = 64), regex(pattern = STATE_PATTERN))]
    pub state: String,
}

impl GitHub {
    /// Owner and name; none where the repository is not such a pair, which the schema refuses.
    #[must_use]
    pub fn owner_and_name(&self) -> Option<(&str, &str)> {
        self.repository.split_once('/')
    }

    /// Where the token, or the App's private key, is.
    #[must_use]
    pub fn secret_ref(&self) -> Option<&SecretKeyRef> {
        self.app.as_ref().map(|app| &app.private_key_secret_ref).or(self.token_secret_ref.as_ref())
    }

    /// The label that says this state.
    #[must_use]
    pub fn label_of(&self, state: &str) -> Option<&str> {
        self.states.iter().find(|known| known.state == state).map(|known| known.label.as_str())
    }

    /// The state that an issue's labels say; none where none of them says any. GitHub takes labels that differ in case for one.
    #[must_use]
    pub fn state_of<'a>(&'a self, labels: &[String]) -> Option<&'a str> {
        let worn = |known: &&StateLabel| labels.iter().any(|label| label.eq_ignore_ascii_case(&known.label));
        self.states.iter().find(worn).map(|known| known.state.as_str())
    }
}

fn endpoint() -> String {
    "https://api.github.com".to_owned()
}

fn states() -> Vec<StateLabel> {
    [("rejected", "Rejected"), ("approved", "Approved"), ("in-review", "InReview")]
        .map(|(label, state)| StateLabel { label: label.to_owned(), state: state.to_owned() })
        .into()
}

fn one_credential() -> Value {
    json!([{
        "rule": "has(self.tokenSecretRef) != has(self.app)",
        "message": "either tokenSecretRef or app must be given",
    }])
}
