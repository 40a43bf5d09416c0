//! `ClosurePlaybook`: which approved systems, by what rules. Owned by the cluster's administrators.

use super::conditions::{self, Condition};
use super::parse::DURATION_PATTERN;
use super::{NAME_PATTERN, UNOBSERVED, WORD_PATTERN, rule, unobserved};
use crate::closure::accepted::{OpenItems, Recheck};
use crate::closure::ids;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// Which system plays each role, and by what rules a release is closed.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "releaseclosure.io",
    version = "v1alpha1",
    kind = "ClosurePlaybook",
    plural = "closureplaybooks",
    singular = "closureplaybook",
    shortname = "cpb",
    namespaced,
    status = "ClosurePlaybookStatus",
    derive = "PartialEq",
    doc = "The approved systems that a closure may touch, and the rules it is closed by. Owned by the cluster's \
           administrators.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClosurePlaybookSpec {
    /// The system that holds the accepted decision. Only read.
    pub governance: GovernanceRules,
    /// The evidence archive. Only read.
    pub archive: ArchiveRules,
    /// The readiness checklist.
    pub checklist: ChecklistRules,
    /// The release tracker or milestone board.
    pub tracker: TrackerRules,
    /// The review queue.
    pub queue: QueueRules,
    /// Coordinator notification, or the scheduler's intake.
    pub intake: IntakeRules,
    /// Where people are told of halts; left out: nowhere. No halt waits for it, nor depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<FollowUpRules>,
    /// The only services whose releases may be closed with this playbook; left out: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 128), regex(pattern = ids::ID_PATTERN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub services: Vec<String>,
    /// How carefully, and how patiently.
    #[serde(default)]
    pub policy: Policy,
}

/// A connection: in the same namespace, or one for many namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionRef {
    /// Kind of the object.
    #[serde(default)]
    pub kind: ConnectionKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub name: String,
}

/// The kinds a connection can be of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ConnectionKind {
    /// A `SystemConnection` of the same namespace.
    #[default]
    SystemConnection,
    /// A `ClusterSystemConnection` that selects the namespace.
    ClusterSystemConnection,
}

impl ConnectionKind {
    /// As people write it to kubectl, at the beginning of a sentence.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            ConnectionKind::SystemConnection => "Systemconnection",
            ConnectionKind::ClusterSystemConnection => "Clustersystemconnection",
        }
    }
}

impl fmt::Display for ConnectionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.noun(), self.name)
    }
}

/// The governance system, and what counts as accepted there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GovernanceRules {
    /// The connection; its allowedRoles must contain Governance.
    pub connection_ref: ConnectionRef,
    /// States that mean "accepted", in the product's words.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 128), regex(pattern = WORD_PATTERN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub accepted_states: Vec<String>,
}

/// The evidence archive, and what a bundle must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveRules {
    /// The connection; its allowedRoles must contain Archive.
    pub connection_ref: ConnectionRef,
    /// Kinds of artifact that the bundle must hold, each with a digest.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 128), regex(pattern = WORD_PATTERN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub required_artifacts: Vec<String>,
}

/// The checklist system, and what open items mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChecklistRules {
    /// The connection; its allowedRoles must contain Checklist.
    pub connection_ref: ConnectionRef,
    /// Halt where items are open, or Allow the checklist to be closed whatever its items say.
    #[serde(default)]
    pub open_items: OpenItems,
}

/// The tracker, and the states an approval leads from and to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackerRules {
    /// The connection; its allowedRoles must contain Tracker.
    pub connection_ref: ConnectionRef,
    /// The state that a closure sets. The connection must offer it; with `http` it is Approved.
    #[schemars(length(min = 1, max = 128), regex(pattern = WORD_PATTERN))]
    pub approved_state: String,
    /// States from which it may be set.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 128), regex(pattern = WORD_PATTERN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub approvable_states: Vec<String>,
}

/// The review queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueRules {
    /// The connection; its allowedRoles must contain Queue.
    pub connection_ref: ConnectionRef,
}

/// Where the handoff is announced.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntakeRules {
    /// The connection; its allowedRoles must contain Intake.
    pub connection_ref: ConnectionRef,
}

/// Where people are told of halts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FollowUpRules {
    /// The connection; its allowedRoles must be FollowUp alone.
    pub connection_ref: ConnectionRef,
}

/// How carefully, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// EveryWrite reads the governance record again right before each write; CloseAndClear only before the checklist is
    /// closed, the queue entry cleared and the coordinator told.
    #[serde(default)]
    pub recheck: Recheck,
    /// How long a record that was never found may stay missing before that is a finding: 0s to 24h.
    #[serde(default = "zero")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = DURATION_PATTERN),
        extend("x-kubernetes-validations" = within("0s", "24h"))
    )]
    pub missing_grace_period: String,
    /// How soon and how seldom a waiting closure tries again.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// How long what is finished is kept before `releaseclosure prune` may delete it; left out: for ever. The operator
    /// itself deletes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            recheck: Recheck::default(),
            missing_grace_period: zero(),
            retry: RetryPolicy::default(),
            retention: None,
        }
    }
}

/// How long what is finished is kept. Nothing unfinished or unresolved is ever deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Closures of this playbook that are closed or abandoned, from their completionTime on: 1h to 87600h; left out:
    /// for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = DURATION_PATTERN),
        extend("x-kubernetes-validations" = within("1h", "87600h"))
    )]
    pub closed: Option<String>,
    /// Packets whose halt was released by Resume, from then on: 1h to 87600h; left out: for ever. A packet names no
    /// playbook: the longest of all playbooks in the namespace counts, and of those for many that a closure there names. A packet with Abandon holds its closure, and is
    /// kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = DURATION_PATTERN),
        extend("x-kubernetes-validations" = within("1h", "87600h"))
    )]
    pub packets: Option<String>,
}

/// How soon and how seldom a waiting closure tries again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = retry_rules()))]
pub struct RetryPolicy {
    /// The first pause, before jitter: 100ms to 1h.
    #[serde(default = "initial")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = DURATION_PATTERN),
        extend("x-kubernetes-validations" = within("100ms", "1h"))
    )]
    pub initial: String,
    /// The longest pause: from initial to 1h.
    #[serde(default = "max")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = DURATION_PATTERN),
        extend("x-kubernetes-validations" = within("100ms", "1h"))
    )]
    pub max: String,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { initial: initial(), max: max() }
    }
}

/// Whether the playbook can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = json!({ "observedGeneration": UNOBSERVED })))]
pub struct ClosurePlaybookStatus {
    /// Generation of the spec that this status answers; -1 before the first answer.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// Ready: every connection exists, is allowed in its role, and offers what the rules name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

impl Default for ClosurePlaybookStatus {
    fn default() -> Self {
        ClosurePlaybookStatus { observed_generation: UNOBSERVED, conditions: Vec::new() }
    }
}

fn zero() -> String {
    "0s".to_owned()
}
fn initial() -> String {
    "1s".to_owned()
}
fn max() -> String {
    "5m".to_owned()
}

/// A duration between two others, both included.
pub(super) fn within(least: &str, most: &str) -> Value {
    json!([rule(
        &format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"),
        &format!("must be between {least} and {most}"),
        None,
    )])
}

fn retry_rules() -> Value {
    json!([rule(
        "duration(self.initial) <= duration(self.max)",
        "initial must not be longer than max",
        Some(".initial")
    )])
}
