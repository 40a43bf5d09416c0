//! `AcceptanceFeed`: where accepted-state events come from, and what a closure is made like.

use super::closure_playbook::{ConnectionRef, within};
use super::conditions::{self, Condition};
use super::parse::DURATION_PATTERN;
use super::release_closure::{Mode, PlaybookRef, coordinator_rules};
use super::{UNOBSERVED, rule, unobserved};
use crate::feeds::{Format, Outcome, seen};
use crate::products::SecretKeyRef;
use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Longest [`LastEvent::message`], in characters.
pub const LAST_MESSAGE_MAX: usize = 512;

/// A JSON pointer to a value below the top, none of its names empty.
const POINTER_PATTERN: &str = r"^(/[^\x00-\x1f\x7f/]+)+$";

/// Where events come from, and what a closure is made like. An event only says which review to read: what is made
/// mirrors the review's record in the governance system.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "releaseclosure.io",
    version = "v1alpha1",
    kind = "AcceptanceFeed",
    plural = "acceptancefeeds",
    singular = "acceptancefeed",
    shortname = "afeed",
    namespaced,
    status = "AcceptanceFeedStatus",
    derive = "PartialEq",
    doc = "Makes closures by itself when reviews are accepted: where the events come from, and what a closure is made like. \
           Owned by the cluster's administrators.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Last", type_ = "string", json_path = ".status.lastEvent.outcome"),
    printcolumn(name = "Closure", type_ = "string", json_path = ".status.lastEvent.closure"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Refused", type_ = "string", json_path = ".status.lastRefusal.outcome", priority = 1),
    printcolumn(name = "Path", type_ = "string", json_path = ".status.path", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = feed_rules()))]
pub struct AcceptanceFeedSpec {
    /// The rules that closures are made under. Its governance connection is read, its acceptedStates count.
    pub playbook_ref: PlaybookRef,
    /// Events that are posted to the operator. Exactly one source is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Reviews that the governance system is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
    /// Events that lie in a stream of NATS JetStream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Stream>,
    /// What a closure gets that no record holds.
    #[serde(default)]
    pub template: Template,
    /// While true, no event is taken and nothing is asked for.
    #[serde(default)]
    pub suspend: bool,
}

/// Events that are posted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Who sends them.
    pub format: Format,
    /// The secrets they are signed with, in the same namespace: one, or two while it is being rotated.
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "atomic"))]
    pub secret_refs: Vec<SecretKeyRef>,
    /// Where the review's id is, as a JSON pointer into the body. Left out: where the format has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 256), regex(pattern = POINTER_PATTERN))]
    pub review_id_pointer: Option<String>,
}

/// Reviews that are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Poll {
    /// From one look to the next: 10s to 24h.
    #[serde(default = "minute")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = DURATION_PATTERN),
        extend("x-kubernetes-validations" = within("10s", "24h"))
    )]
    pub interval: String,
    /// How far behind the last look each look begins, for a system whose clock or list is late: 0s to 24h.
    #[serde(default = "ten_minutes")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = DURATION_PATTERN),
        extend("x-kubernetes-validations" = within("0s", "24h"))
    )]
    pub overlap: String,
    /// Reviews accepted after this are looked for; left out: after the feed was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Events that lie in a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// A connection of the product nats with events; its allowedRoles must contain Governance. It is this feed's alone.
    pub connection_ref: ConnectionRef,
    /// Where the review's id is, as a JSON pointer into the message. Left out: /data/review/id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 256), regex(pattern = POINTER_PATTERN))]
    pub review_id_pointer: Option<String>,
}

/// What a closure gets that no record holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Template {
    /// Close carries the steps out; Plan says what would be done.
    #[serde(default)]
    pub mode: Mode,
    /// Whom the intake shall tell: an address known to the intake, never a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^[!-~]+$"),
        extend("x-kubernetes-validations" = coordinator_rules())
    )]
    pub coordinator: Option<String>,
}

/// What came in, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = json!({ "observedGeneration": UNOBSERVED })))]
pub struct AcceptanceFeedStatus {
    /// Generation of the spec that this status answers; -1 before the first answer.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// Ready: events can be taken, or asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
    /// Where webhooks are posted to, below the operator's address. It never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub path: Option<String>,
    /// The last event that was not refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<LastEvent>,
    /// The last delivery that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<LastRefusal>,
    /// Events so far, by what became of them. After a crash up to five seconds of refusals are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["outcome"])
    )]
    pub counts: Vec<Count>,
    /// The last 1024 deliveries from which a closure came, as a fingerprint each: they are taken once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = seen::TEXT_MAX), regex(pattern = "^[A-Za-z0-9+/]*$"))]
    pub seen: Option<String>,
    /// How far a feed that asks has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

impl Default for AcceptanceFeedStatus {
    fn default() -> Self {
        AcceptanceFeedStatus {
            observed_generation: UNOBSERVED,
            conditions: Vec::new(),
            path: None,
            last_event: None,
            last_refusal: None,
            counts: Vec::new(),
            seen: None,
            position: None,
        }
    }
}

/// An event, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastEvent {
    /// When it came.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// The sender's id of it, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub event: Option<String>,
    /// The review that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub review: Option<String>,
    /// The closure that was made, or was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub closure: Option<String>,
    /// Why no closure came of it, where the review's record is the reason: what the record lacks, or its state, or its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LAST_MESSAGE_MAX))]
    pub message: Option<String>,
}

/// A delivery that was refused. Who sent it is not known, so nothing that it says is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastRefusal {
    /// When it came.
    pub at: Timestamp,
    /// Why it was refused.
    pub outcome: Outcome,
}

/// How many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// What became of these events.
    pub outcome: Outcome,
    /// How many became that.
    #[schemars(range(min = 0))]
    pub count: i64,
}

/// How far a feed that asks has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Every review that was accepted before this has been seen.
    pub accepted_after: Timestamp,
    /// When the look began that goes on at the cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// The state whose list is being gone through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub state: Option<String>,
    /// Where in it: the system's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^[!-~]+$"))]
    pub cursor: Option<String>,
}

fn minute() -> String {
    "1m".to_owned()
}
fn ten_minutes() -> String {
    "10m".to_owned()
}

fn feed_rules() -> Value {
    let given = ["webhook", "poll", "nats"].map(|source| format!("(has(self.{source}) ? 1 : 0)")).join(" + ");
    json!([rule(&format!("{given} == 1"), "exactly one source must be given: webhook, poll or nats", None)])
}

impl AcceptanceFeedSpec {
    /// Where its webhooks are posted to.
    #[must_use]
    pub fn path(&self, namespace: &str, name: &str) -> Option<String> {
        self.webhook.is_some().then(|| format!("/feeds/{namespace}/{name}"))
    }
}
