//! CloudEvents over HTTP.

use super::{ENDPOINT_PATTERN, SecretKeyRef};
use crate::closure::decide::Delivery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What may be the source of an event: a URI reference of which nothing has to be escaped in a header, since not every
/// receiver undoes that.
const SOURCE_PATTERN: &str = r"^[!#$&-~]+$";
/// What may be the type of an event: a name in reverse domain notation.
const TYPE_PATTERN: &str = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$";
/// A duration as Go writes it.
const WINDOW_PATTERN: &str = r"^([0-9]+(ms|s|m|h))+$";

/// A receiver of CloudEvents 1.0 over HTTP: a broker, an event mesh, somebody's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudEvents {
    /// Where events are posted to, without user information, query and fragment; a slash at its end is not sent.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The bearer token, where the receiver wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
    /// How an event is put into a request.
    #[serde(default)]
    pub mode: Mode,
    /// The events' source. With the id, which is the closure key, it says which event it is.
    #[serde(default = "source")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SOURCE_PATTERN))]
    pub source: String,
    /// The events' type. Left out: io.releaseclosure.handoff.v1 of an intake, io.releaseclosure.halt.v1 of a follow-up channel.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = TYPE_PATTERN))]
    pub event_type: Option<String>,
    /// What the receiver does with an event whose source and id it knows.
    #[serde(default)]
    pub duplicates: Duplicates,
    /// How long it knows them, such as 10m or 24h; left out: for as long as it keeps events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = WINDOW_PATTERN))]
    pub window: Option<String>,
}

/// The content mode of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Mode {
    /// The whole event is the body: `application/cloudevents+json`.
    #[default]
    Structured,
    /// Its attributes are headers (`ce-id` and so on), the body is its data.
    Binary,
}

/// What a receiver does with an event that it knows. The standard lets it take two of the same source and id for one, and
/// does not demand it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Duplicates {
    /// It is an event like any other: where a reply was lost, a person is asked.
    #[default]
    Delivered,
    /// Nobody gets it again: where a reply was lost, it is sent again.
    Dropped,
}

impl CloudEvents {
    /// The type of a handoff's event.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.event_type.as_deref().unwrap_or("io.releaseclosure.handoff.v1")
    }

    /// The type of a halt's event.
    #[must_use]
    pub fn halt_type(&self) -> &str {
        self.event_type.as_deref().unwrap_or("io.releaseclosure.halt.v1")
    }

    /// What may be relied on.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self.duplicates {
            Duplicates::Delivered => Delivery::None,
            Duplicates::Dropped => Delivery::IdempotencyKey,
        }
    }

    /// How long it is relied on.
    ///
    /// # Errors
    /// It is no duration.
    pub fn window(&self) -> Result<Option<Duration>, jiff::Error> {
        let window = self.window.as_deref().map(str::parse::<jiff::SignedDuration>).transpose()?;
        window.map(Duration::try_from).transpose()
    }
}

fn source() -> String {
    "releaseclosure".to_owned()
}
