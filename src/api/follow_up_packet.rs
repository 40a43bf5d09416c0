//! `FollowUpPacket`: what a coordinator needs after a halt, and where the decision is put down.

use super::conditions::{self, Condition};
use super::{never_changes, rule};
use crate::closure::accepted::{Evidence, Milestone, Release, Review};
use crate::closure::ids::Step;
use crate::closure::ledger::{Decision, Finding, Handoff, Outcome};
use crate::closure::reason;
use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The facts of one halt, which never change, and its resolution, which is for people.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "releaseclosure.io",
    version = "v1alpha1",
    kind = "FollowUpPacket",
    plural = "followuppackets",
    singular = "followuppacket",
    shortname = "fup",
    category = "closures",
    namespaced,
    status = "FollowUpPacketStatus",
    derive = "PartialEq",
    doc = "What a release coordinator needs after a closure halted: what disagrees, how far the steps are, and what to do. \
           Only its resolution releases the halt.",
    printcolumn(name = "Closure", type_ = "string", json_path = ".spec.closureRef.name"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".spec.cause"),
    printcolumn(name = "Coordinator", type_ = "string", json_path = ".spec.coordinator"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.resolution.decision"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.resolution.resolvedBy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.closureKey",
    selectable = ".spec.cause",
    selectable = ".spec.coordinator",
    selectable = ".spec.resolution.decision"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = packet_rules()))]
pub struct FollowUpPacketSpec {
    /// The closure that halted. It may be gone by now.
    pub closure_ref: ClosureRef,
    /// Release, review and review version: what every object of the same closure has in common.
    #[schemars(length(min = 1, max = 386))]
    pub closure_key: String,
    /// The halt that a resolution releases.
    #[schemars(length(min = 22, max = 22), regex(pattern = "^h-[0-9a-f]{20}$"))]
    pub halt_id: String,
    /// When it was found.
    pub halted_at: Timestamp,
    /// The first finding's reason.
    pub cause: reason::Reason,
    /// The address that the closure names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub coordinator: Option<String>,
    /// The release.
    pub release: Release,
    /// The accepted review.
    pub review: Review,
    /// The milestone at the time of acceptance.
    pub milestone: Milestone,
    /// The evidence that was accepted.
    pub evidence: Evidence,
    /// What disagrees, in the order of the checks; at most 24.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24), extend("x-kubernetes-list-type" = "atomic"))]
    pub findings: Vec<Finding>,
    /// How many findings more there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings_omitted: Option<u32>,
    /// How far each step was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 5),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub steps: Vec<PacketStep>,
    /// What to do, in words; the last is the exact command to resume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub instructions: Vec<String>,
    /// The coordinator's decision. The only part that is for people; final once it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// The closure that halted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ClosureRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// How far one step was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct PacketStep {
    /// The step.
    pub name: Step,
    /// How far it was.
    pub outcome: Outcome,
    /// The record, where it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 386))]
    pub record: Option<String>,
    /// Where a person finds the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub link: Option<String>,
}

/// A coordinator's decision about exactly one halt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// Resume verifies everything from the start and goes on; Abandon gives the closure up.
    pub decision: Decision,
    /// The halt that is meant; must be the packet's.
    #[schemars(length(min = 22, max = 22), regex(pattern = "^h-[0-9a-f]{20}$"))]
    pub halt_id: String,
    /// What became of the announcement; required exactly when the cause is NotificationUncertain and the decision Resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Handoff>,
    /// Who decides: the requesting user. The shipped admission policy holds it to that.
    #[schemars(length(min = 1, max = 256))]
    pub resolved_by: String,
    /// Why, for those who read it later. Never leaves the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub note: Option<String>,
}

/// What the operator did with the packet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FollowUpPacketStatus {
    /// Announced: whether people were told of the halt, where the playbook says on which channel. Resolved: True once the
    /// resolution was acted on, False where it does nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

/// The facts never change; a resolution comes later, means this halt, is complete and is final.
fn packet_rules() -> Value {
    let facts = [
        ("closureRef", false),
        ("closureKey", false),
        ("haltId", false),
        ("haltedAt", false),
        ("cause", false),
        ("coordinator", true),
        ("release", false),
        ("review", false),
        ("milestone", false),
        ("evidence", false),
        ("findings", true),
        ("findingsOmitted", true),
        ("steps", true),
        ("instructions", true),
    ];
    let mut rules: Vec<Value> = facts
        .into_iter()
        .map(|(fact, optional)| {
            let message =
                format!("spec.{fact} is a fact of the halt and never changes; only spec.resolution may be set");
            never_changes(fact, optional, &message)
        })
        .collect();
    let mut at_creation = rule(
        "oldSelf.hasValue() || !has(self.resolution)",
        "a packet is created without a resolution",
        Some(".resolution"),
    );
    at_creation["optionalOldSelf"] = true.into();
    rules.push(at_creation);
    rules.push(rule(
        "!has(oldSelf.resolution) || (has(self.resolution) && self.resolution == oldSelf.resolution)",
        "a resolution is final",
        Some(".resolution"),
    ));
    rules.push(rule(
        "!has(self.resolution) || self.resolution.haltId == self.haltId",
        "resolution.haltId must be the packet's haltId",
        Some(".resolution.haltId"),
    ));
    rules.push(rule(
        "!has(self.resolution) || has(self.resolution.handoff) == \
         (self.cause == 'NotificationUncertain' && self.resolution.decision == 'Resume')",
        "resolution.handoff (Delivered or NotDelivered) is required exactly when the cause is NotificationUncertain and the \
         decision is Resume",
        Some(".resolution.handoff"),
    ));
    Value::Array(rules)
}
