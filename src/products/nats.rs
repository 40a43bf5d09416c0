//! NATS JetStream.

use super::SecretKeyRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `tls` or `nats`, a host, perhaps a port.
pub const SERVER_PATTERN: &str = r"^(tls|nats)://[A-Za-z0-9._:\[\]-]+$";
const STREAM_PATTERN: &str = r"^[A-Za-z0-9_-]+$";
/// Tokens without wildcards. Subjects of the server itself are refused, but those of key-value buckets.
const SUBJECT_PATTERN: &str = r"^([A-Za-z0-9_-]+|\$KV\.[A-Za-z0-9_-]+)(\.[A-Za-z0-9_=-]+)*$";
/// A duration as Go writes it.
const DURATION_PATTERN: &str = r"^([0-9]+(ms|s|m|h))+$";

/// A NATS server with JetStream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nats {
    /// The server: tls://host or tls://host:port; nats:// where allowPlaintext is set.
    #[schemars(length(min = 1, max = 1024), regex(pattern = SERVER_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// As intake: where handoffs are announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intake: Option<Announcements>,
    /// As queue: where entries are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Entries>,
    /// For feeds: where the governance system's accepted-state events are. The connection needs the role Governance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Consumed>,
    /// The user, together with passwordSecretRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_secret_ref: Option<SecretKeyRef>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// A token, instead of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
    /// A .creds file, which holds a JWT and its seed, instead of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creds_secret_ref: Option<SecretKeyRef>,
}

/// A stream that takes handoffs: each on a subject of its own, below one prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Announcements {
    /// The stream.
    #[schemars(length(min = 1, max = 64), regex(pattern = STREAM_PATTERN))]
    pub stream: String,
    /// What the subjects begin with; a dot and the SHA-256 of the closure key follow.
    #[schemars(length(min = 1, max = 128), regex(pattern = SUBJECT_PATTERN))]
    pub subject_prefix: String,
    /// How long the stream is certain to keep a handoff, such as 720h. Left out: for ever, and its max_age must be 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = DURATION_PATTERN))]
    pub kept_for: Option<String>,
}

/// A stream that holds queue entries: each the last message of a subject, as in a key-value bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entries {
    /// The stream; of a key-value bucket, KV_ and its name.
    #[schemars(length(min = 1, max = 64), regex(pattern = STREAM_PATTERN))]
    pub stream: String,
    /// What the subjects begin with; of a key-value bucket, $KV., and its name. A dot and the entry's id follow.
    #[schemars(length(min = 1, max = 128), regex(pattern = SUBJECT_PATTERN))]
    pub subject_prefix: String,
}

/// A stream of events, and the consumer that hands them out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Consumed {
    /// The stream.
    #[schemars(length(min = 1, max = 64), regex(pattern = STREAM_PATTERN))]
    pub stream: String,
    /// A durable consumer that is pulled from, with explicit acknowledgements. One feed alone uses it.
    #[schemars(length(min = 1, max = 64), regex(pattern = STREAM_PATTERN))]
    pub consumer: String,
}

impl Nats {
    /// The Secrets that it names, by what each is for.
    #[must_use]
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let Nats { user_secret_ref, password_secret_ref, token_secret_ref, creds_secret_ref, .. } = self;
        [
            (USER, user_secret_ref),
            (PASSWORD, password_secret_ref),
            (SERVER_TOKEN, token_secret_ref),
            (CREDS, creds_secret_ref),
        ]
        .into_iter()
        .filter_map(|(what, named)| Some((what, named.as_ref()?)))
        .collect()
    }
}

impl Announcements {
    /// How long handoffs are kept; none means for ever.
    ///
    /// # Errors
    /// It is no duration.
    pub fn kept_for(&self) -> Result<Option<Duration>, jiff::Error> {
        let kept = self.kept_for.as_deref().map(str::parse::<jiff::SignedDuration>).transpose()?;
        kept.map(Duration::try_from).transpose()
    }
}

/// The secret that is a user's name.
pub const USER: &str = "user";
/// The secret that is a password.
pub const PASSWORD: &str = "password";
/// The secret that is a token.
pub const SERVER_TOKEN: &str = "serverToken";
/// The secret that is a .creds file.
pub const CREDS: &str = "creds";
