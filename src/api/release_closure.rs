//! `ReleaseClosure`: one accepted review to close, and what became of it.

use super::conditions::{self, Condition};
use super::{NAME_PATTERN, UNOBSERVED, never_changes, rule, unobserved};
use crate::closure::accepted::{Evidence, Milestone, Records, Release, Review};
use crate::closure::ledger::{
    Alignment, Halt, Ledger, PastHalt, PlannedStep, PlaybookVersion, Retry, StepRecord, TraceHead,
};
use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// The accepted review to close. Its identity never changes: only `mode` (from Plan to Close) and `suspend` may.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "releaseclosure.io",
    version = "v1alpha1",
    kind = "ReleaseClosure",
    plural = "releaseclosures",
    singular = "releaseclosure",
    shortname = "rclo",
    shortname = "relclose",
    category = "closures",
    namespaced,
    status = "ReleaseClosureStatus",
    derive = "PartialEq",
    doc = "Finishes the paperwork of one accepted release-readiness review: closes its checklist, approves its tracker \
           record, attaches its evidence, clears its queue entry and tells the coordinator. Halts where the systems \
           disagree. Wait for the condition CoordinatorNotified before a next step.",
    printcolumn(name = "Release", type_ = "string", json_path = ".spec.release.id"),
    printcolumn(name = "Review", type_ = "string", json_path = ".spec.review.id"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Event", type_ = "string", json_path = ".spec.review.acceptedEvent.id", priority = 1),
    printcolumn(name = "Halt", type_ = "string", json_path = ".status.halt.packetRef.name", priority = 1),
    selectable = ".spec.release.id",
    selectable = ".spec.review.id",
    selectable = ".status.completionTime",
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.completionTime) || self.spec == oldSelf.spec"
    ).message("this closure is finished and its spec is frozen: a new review version is a new object")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = identity_rules()))]
pub struct ReleaseClosureSpec {
    /// The rules to close it by.
    pub playbook_ref: PlaybookRef,
    /// The release whose review was accepted.
    pub release: Release,
    /// The accepted review.
    pub review: Review,
    /// The milestone the release is mapped to.
    pub milestone: Milestone,
    /// The archived evidence bundle.
    pub evidence: Evidence,
    /// Which records to close. One that is left out is looked up by release and review version; exactly one must be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Records>,
    /// Whom the intake shall tell: an address known to the intake, never a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^[!-~]+$"),
        extend("x-kubernetes-validations" = coordinator_rules())
    )]
    pub coordinator: Option<String>,
    /// Close carries the steps out; Plan says what would be done and does nothing. From Plan to Close, never back.
    #[serde(default)]
    pub mode: Mode,
    /// While true, nothing is read or written for this closure.
    #[serde(default)]
    pub suspend: bool,
}

/// The playbook of a closure: in the same namespace, or one for many namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct PlaybookRef {
    /// Kind of the object.
    #[serde(default)]
    pub kind: PlaybookKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub name: String,
}

/// The kinds a playbook can be of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PlaybookKind {
    /// A `ClosurePlaybook` of the same namespace.
    #[default]
    ClosurePlaybook,
    /// A `ClusterClosurePlaybook` that selects the namespace.
    ClusterClosurePlaybook,
}

impl fmt::Display for PlaybookRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = match self.kind {
            PlaybookKind::ClosurePlaybook => "Closureplaybook",
            PlaybookKind::ClusterClosurePlaybook => "Clusterclosureplaybook",
        };
        write!(f, "{noun} {}", self.name)
    }
}

/// Whether to act or to say what would be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Mode {
    /// Carry the steps out.
    #[default]
    Close,
    /// Only say what would be done.
    Plan,
}

/// What became of the closure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(
    extend("default" = json!({ "observedGeneration": UNOBSERVED })),
    extend("x-kubernetes-validations" = status_rules())
)]
pub struct ReleaseClosureStatus {
    /// Generation of the spec that this status answers; -1 before the first answer.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// The value of the annotation releaseclosure.io/requestedAt that was last acted on, at most 256 characters of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// When it was closed or abandoned; set once, and the spec is frozen from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// Settled steps of five, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub progress: Option<String>,
    /// Ready; Reconciling or Stalled while true; SourceAccepted, Aligned and one for each step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
    /// The rules it was verified under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<PlaybookVersion>,
    /// Proof that the systems agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alignment: Option<Alignment>,
    /// The trace: what became of each step, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 5),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub steps: Vec<StepRecord>,
    /// Halts released so far.
    #[serde(default)]
    pub episode: u32,
    /// The latched halt: only a coordinator's resolution of its packet releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<Halt>,
    /// Past halts, oldest first; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub halts: Vec<PastHalt>,
    /// What is waited for, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How often it waited for a system and went on by itself, and for how long.
    #[serde(default, skip_serializing_if = "Outages::is_none")]
    pub outages: Outages,
    /// Head of the hash chain over the trace, once finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceHead>,
    /// In mode Plan: what would be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub plan: Vec<PlannedStep>,
}

/// Waits for systems that a closure got over by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Outages {
    /// How many.
    #[serde(default)]
    pub count: u32,
    /// For how many seconds, all together.
    #[serde(default)]
    pub seconds: u32,
    /// Since when it waits now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Outages {
    /// Whether there was none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Outages::default()
    }

    /// What becomes of them with a status that waits, goes on, or does neither: who halts has not got over anything.
    #[must_use]
    pub fn then(mut self, waits_since: Option<Timestamp>, goes_on: bool, now: Timestamp) -> Outages {
        let began = self.since.take();
        if waits_since.is_some() {
            self.since = began.or(waits_since);
        } else if let Some(began) = began.filter(|_| goes_on) {
            self.count = self.count.saturating_add(1);
            self.seconds = self.seconds.saturating_add(u32::try_from(now.duration_since(began).as_secs()).unwrap_or(0));
        }
        self
    }
}

impl Default for ReleaseClosureStatus {
    fn default() -> Self {
        ReleaseClosureStatus::assemble(Envelope::default(), Ledger::default())
    }
}

/// The part of a status that is not the core's: how the answer is addressed and summed up.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// See [`ReleaseClosureStatus::observed_generation`].
    pub observed_generation: i64,
    /// See [`ReleaseClosureStatus::last_handled_reconcile_at`].
    pub last_handled_reconcile_at: Option<String>,
    /// See [`ReleaseClosureStatus::completion_time`].
    pub completion_time: Option<Timestamp>,
    /// See [`ReleaseClosureStatus::conditions`].
    pub conditions: Vec<Condition>,
    /// See [`ReleaseClosureStatus::outages`].
    pub outages: Outages,
}

impl Default for Envelope {
    fn default() -> Self {
        Envelope {
            observed_generation: UNOBSERVED,
            last_handled_reconcile_at: None,
            completion_time: None,
            conditions: Vec::new(),
            outages: Outages::default(),
        }
    }
}

impl ReleaseClosureStatus {
    /// Takes a status apart: what is the core's, and the rest. `progress` is in neither: it follows from the steps.
    ///
    /// The ledger is as it was stored; [`Ledger::checked`] is the caller's to call.
    #[must_use]
    pub fn split(self) -> (Envelope, Ledger) {
        let ReleaseClosureStatus {
            observed_generation,
            last_handled_reconcile_at,
            completion_time,
            progress: _,
            conditions,
            playbook,
            alignment,
            steps,
            episode,
            halt,
            halts,
            retry,
            outages,
            trace,
            plan,
        } = self;
        let envelope =
            Envelope { observed_generation, last_handled_reconcile_at, completion_time, conditions, outages };
        (envelope, Ledger { playbook, alignment, steps, episode, halt, halts, retry, trace, plan })
    }

    /// Puts a status together. The inverse of [`ReleaseClosureStatus::split`], but for a `progress` that was wrong.
    #[must_use]
    pub fn assemble(envelope: Envelope, ledger: Ledger) -> ReleaseClosureStatus {
        let progress = (!ledger.steps.is_empty()).then(|| format!("{}/{}", ledger.settled(), ledger.steps.len()));
        let Envelope { observed_generation, last_handled_reconcile_at, completion_time, conditions, outages } =
            envelope;
        let Ledger { playbook, alignment, steps, episode, halt, halts, retry, trace, plan } = ledger;
        ReleaseClosureStatus {
            observed_generation,
            last_handled_reconcile_at,
            completion_time,
            progress,
            conditions,
            playbook,
            alignment,
            steps,
            episode,
            halt,
            halts,
            retry,
            outages,
            trace,
            plan,
        }
    }
}

/// Which part of the spec may change, and how.
fn identity_rules() -> Value {
    let required = ["playbookRef", "release", "review", "milestone", "evidence"].map(|field| (field, false));
    let optional = ["records", "coordinator"].map(|field| (field, true));
    let mut rules: Vec<Value> = required
        .into_iter()
        .chain(optional)
        .map(|(field, optional)| {
            let message = format!(
                "spec.{field} is part of the closure's identity and never changes: a new review version is a new object"
            );
            never_changes(field, optional, &message)
        })
        .collect();
    rules.push(rule(
        "self.mode == oldSelf.mode || (oldSelf.mode == 'Plan' && self.mode == 'Close')",
        "spec.mode changes from Plan to Close only",
        Some(".mode"),
    ));
    Value::Array(rules)
}

pub(super) fn coordinator_rules() -> Value {
    json!([rule("!self.contains('://')", "must be an address known to the intake, not a URL", None)])
}

/// A second line behind the operator's own care: a finished closure stays finished.
fn status_rules() -> Value {
    json!([rule(
        "!has(oldSelf.completionTime) || (has(self.completionTime) && self.completionTime == oldSelf.completionTime)",
        "status.completionTime is set once",
        Some(".completionTime"),
    )])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closure::ids::Step;
    use crate::closure::ledger::Outcome;

    #[test]
    fn a_status_survives_being_taken_apart() {
        let ledger = Ledger { steps: Step::ALL.map(StepRecord::pending).to_vec(), ..Ledger::default() };
        let envelope = Envelope { observed_generation: 3, ..Envelope::default() };
        let mut status = ReleaseClosureStatus::assemble(envelope.clone(), ledger.clone());
        assert_eq!(status.progress.as_deref(), Some("0/5"));
        assert_eq!(status.clone().split(), (envelope, ledger));
        for step in &mut status.steps[..4] {
            step.outcome = Outcome::Changed;
        }
        let (envelope, ledger) = status.split();
        assert_eq!(ReleaseClosureStatus::assemble(envelope, ledger).progress.as_deref(), Some("4/5"));
    }

    #[test]
    fn a_status_that_nobody_wrote_says_so() {
        let status = ReleaseClosureStatus::default();
        assert_eq!(
            serde_json::to_value(&status).expect("serializes"),
            json!({ "observedGeneration": -1, "episode": 0 })
        );
        assert_eq!(serde_json::from_value::<ReleaseClosureStatus>(json!({})).expect("reads"), status);
    }
}
