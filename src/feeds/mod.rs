//! Accepted-state events as they come in from outside: who may have sent one, and which review it is about.
//!
//! In reading order: [`signature`] says whether a delivery is what its sender signed, and when; [`event`] finds the review
//! in it; [`seen`] remembers deliveries, and [`again`] what is to be looked at once more; [`server`] takes them in over HTTP.
//!
//! **Invariant:** an event is a hint and never a fact. All that leaves this part of it is the id of a review and a
//! fingerprint of the delivery; what the review says is read from the governance system.

pub mod again;
pub mod event;
#[cfg(test)]
mod fuzz_tests;
mod outcome;
pub mod seen;
pub mod server;
pub mod signature;

pub use outcome::{Answer, Outcome, Source};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who sends webhooks, and so how they are signed and where the review's id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Format {
    /// Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature, with a secret whsec_….
    StandardWebhooks,
    /// GitHub: X-Hub-Signature-256.
    GitHub,
    /// Gitea and Forgejo: X-Gitea-Signature.
    Gitea,
    /// GitLab: a signing token whsec_… as Standard Webhooks has it, or else the secret token X-Gitlab-Token.
    GitLab,
    /// Jira: X-Hub-Signature.
    Jira,
    /// A CloudEvent in structured mode, signed as Standard Webhooks has it.
    CloudEvents,
}

impl Format {
    /// Where the review's id is where a feed does not say otherwise, as a JSON pointer (RFC 6901) into the body.
    #[must_use]
    pub const fn review_id_pointer(self) -> &'static str {
        match self {
            Format::StandardWebhooks => "/data/review/id",
            Format::GitHub | Format::Gitea => "/issue/number",
            Format::GitLab => "/object_attributes/iid",
            Format::Jira => "/issue/key",
            Format::CloudEvents => "/subject",
        }
    }
}
