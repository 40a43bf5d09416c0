//! The settings of each product, as a connection's spec has them.
//!
//! One type per product, read by the API server's schema, by the object's reader and by the adapter alike, so that what an
//! admin may write and what the adapter understands cannot differ.

pub mod cloud_events;
pub mod gitea;
pub mod github;
pub mod http;
pub mod issues;
pub mod jira;
pub mod nats;
pub mod object_store;
pub mod oci;
pub mod redmine;
pub mod slack;
pub mod smtp;
pub mod sqs;
mod words;

pub use cloud_events::CloudEvents;
pub use gitea::Gitea;
pub use github::GitHub;
pub use http::Http;
pub use jira::Jira;
pub use nats::Nats;
pub use object_store::ObjectStore;
pub use oci::Oci;
pub use redmine::Redmine;
pub use slack::Slack;
pub use smtp::Smtp;
pub use sqs::Sqs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `http` or `https`, printable ASCII, and neither user information nor query nor fragment: credentials have their own
/// place, and the adapter appends paths.
pub const ENDPOINT_PATTERN: &str = r#"^https?://[A-Za-z0-9._:\[\]-]+(/[!"$->@-\[\]-~]*)?$"#;
/// What a name of an object, or of a Secret, looks like.
pub const NAME_PATTERN: &str = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}
