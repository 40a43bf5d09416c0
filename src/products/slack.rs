//! Slack.

use super::{ENDPOINT_PATTERN, SecretKeyRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A channel's id: of a public or private channel, or of a conversation with one person.
const CHANNEL_PATTERN: &str = r"^[CGD][A-Z0-9]{2,30}$";

/// One channel of a Slack workspace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slack {
    /// Where it is, without `/api`, user information, query and fragment.
    #[serde(default = "endpoint")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The channel's id, such as C024BE91L: at the end of its "About" page. A name can be given to another channel, an id
    /// cannot.
    #[schemars(length(min = 3, max = 31), regex(pattern = CHANNEL_PATTERN))]
    pub channel: String,
    /// The token of a bot that is a member of the channel, with the scopes chat:write and, for a public channel, channels:read
    /// (groups:read for a private one).
    pub token_secret_ref: SecretKeyRef,
}

fn endpoint() -> String {
    "https://slack.com".to_owned()
}
