//! The closure HTTP contract.

use super::{ENDPOINT_PATTERN, SecretKeyRef};
use crate::closure::decide::Delivery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A system that speaks the closure HTTP contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// Where the contract's paths begin, without user information, query and fragment.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The bearer token.
    pub token_secret_ref: SecretKeyRef,
    /// As intake: what it does with the same announcement sent twice.
    #[serde(default = "idempotency_key")]
    pub delivery: Delivery,
}

const fn idempotency_key() -> Delivery {
    Delivery::IdempotencyKey
}
