//! What is remembered of a closure between passes: the stored status, less its conditions.
//!
//! These types are on the wire as they stand; the API embeds them. Every text and list is bounded here.

use super::accepted::Invalid;
use super::ids::{self, Step, System};
use super::reason::Reason;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most findings a status or packet holds; of the rest there is a count.
pub const FINDINGS_MAX: usize = 24;
/// Most bytes that the findings of a status take as JSON. Conditions, steps, alignment and past halts take up to nine
/// kilobytes, and a status is to stay below 16 KiB.
pub const FINDINGS_BYTES_MAX: usize = 7 * 1024;
/// Longest `expected` and `observed`, in characters.
pub const VALUE_MAX: usize = 128;
/// Most past halts a status holds; the oldest leave first.
pub const HALTS_MAX: usize = 8;
/// Most links that are announced.
pub const LINKS_MAX: usize = 4;
/// Longest announced link, in bytes.
pub const LINK_MAX: usize = 512;

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Outcome {
    /// Not done.
    #[default]
    Pending,
    /// About to be announced: stored before the announcement, so that a crash cannot repeat it unseen.
    Intended,
    /// Done by this closure: its marker, or the reply to its own write together with the record, prove it.
    Changed,
    /// Found done on a system that carries markers, and this closure's is not there.
    AlreadyDone,
    /// Found done on a system that carries no markers: by whom cannot be told.
    Unconfirmed,
}

impl Outcome {
    /// Whether the step is done. A settled step never goes back.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Outcome::Changed | Outcome::AlreadyDone | Outcome::Unconfirmed)
    }

    /// The word in statuses and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Pending => "Pending",
            Outcome::Intended => "Intended",
            Outcome::Changed => "Changed",
            Outcome::AlreadyDone => "AlreadyDone",
            Outcome::Unconfirmed => "Unconfirmed",
        }
    }
}

/// Which object, in which version of its spec.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ObjectVersion {
    /// Name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Generation of its spec.
    pub generation: i64,
}

/// The rules a closure was verified under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct PlaybookVersion {
    /// Name of the playbook.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Generation of its spec.
    pub generation: i64,
    /// SHA-256 of its spec as canonical JSON.
    #[schemars(length(max = 71))]
    pub digest: String,
}

/// State and revision of a record on one side of a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StateAt {
    /// The state, in the product's words.
    #[schemars(length(max = 128))]
    pub state: String,
    /// The system's own revision of the record.
    #[schemars(length(max = 128))]
    pub revision: String,
}

/// An announced link.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// What it points to.
    #[schemars(length(max = 32))]
    pub rel: String,
    /// The link, at most 512 bytes.
    #[schemars(length(max = 512))]
    pub url: String,
}

/// One step of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// Which step.
    pub name: Step,
    /// How far it is.
    pub outcome: Outcome,
    /// The system it concerns.
    pub system: System,
    /// The connection it was settled through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ObjectVersion>,
    /// The record, once found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 386))]
    pub record: Option<String>,
    /// The record before this closure's own change; left out where a crash took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<StateAt>,
    /// The record when the step was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<StateAt>,
    /// The attached archive reference; the handoff's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub reference: Option<String>,
    /// What is announced, fixed with the intent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub links: Vec<Link>,
    /// When the intent was stored, or the step settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl StepRecord {
    /// A step of which nothing is known.
    #[must_use]
    pub fn pending(name: Step) -> StepRecord {
        StepRecord {
            name,
            outcome: Outcome::Pending,
            system: name.system(),
            connection: None,
            record: None,
            before: None,
            after: None,
            reference: None,
            links: Vec::new(),
            at: None,
        }
    }
}

/// Which fields of a system's record were compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// The system.
    pub system: System,
    /// Dotted paths in the contract's record.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"), inner(length(max = 64)))]
    pub fields: Vec<String>,
}

/// The decision that alignment rests on. There is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Verdict {
    /// The governance record shows an accepted state.
    #[default]
    Accepted,
}

/// Proof that the five authorities agreed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alignment {
    /// SHA-256 over release, review, milestone, evidence, decision and what was compared.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// When they agreed.
    pub verified_at: Timestamp,
    /// The decision.
    pub decision: Verdict,
    /// The accepted event that the governance record names, or the spec's where it names none.
    #[schemars(length(max = 128))]
    pub accepted_event: String,
    /// What was compared where; a field that a product does not carry is not in it.
    #[schemars(length(max = 6), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["system"]))]
    pub compared: Vec<Compared>,
}

/// Identifier of a check; they are stable and give the order of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(missing_docs, reason = "each is told in checks.rs, beside what it does")]
pub enum Check {
    C1,
    C2,
    C3,
    C4,
    C5,
    C6,
    C7,
    C8,
    C9,
    C10,
    C11,
    C12,
    C13,
    C14,
    C15,
    C16,
    /// What came back from a write.
    Write,
    /// Whether the announcement went out.
    Notification,
}

/// One disagreement: which check, in which system and record, which field, what was expected and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The check that found it.
    pub check: Check,
    /// Its reason.
    pub reason: Reason,
    /// The system it was found in.
    pub system: System,
    /// The record it was found on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub record: Option<String>,
    /// Dotted path in the contract's record, whatever the product calls it.
    #[schemars(length(max = 64))]
    pub field: String,
    /// What was expected.
    #[schemars(length(max = 128))]
    pub expected: String,
    /// What was seen.
    #[schemars(length(max = 128))]
    pub observed: String,
    /// Where a person finds the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub link: Option<String>,
}

/// The name of an object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct NameRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A latched halt. Only a coordinator's resolution of this very halt releases it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Halt {
    /// `h-` and 20 hexadecimal digits.
    #[schemars(length(max = 22))]
    pub id: String,
    /// The first finding's reason.
    pub cause: Reason,
    /// When it was found.
    pub at: Timestamp,
    /// The packet that a coordinator resolves.
    pub packet_ref: NameRef,
    /// What was found, in the order of the checks; at most 24.
    #[schemars(length(max = 24), extend("x-kubernetes-list-type" = "atomic"))]
    pub findings: Vec<Finding>,
    /// How many findings more there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings_omitted: Option<u32>,
}

/// What a coordinator decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Decision {
    /// Verify everything from the start and go on.
    Resume,
    /// Give the closure up.
    Abandon,
}

/// What a coordinator says became of an announcement of which the operator cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Handoff {
    /// It arrived.
    Delivered,
    /// It did not arrive; it may be sent once.
    NotDelivered,
}

/// A halt that a coordinator resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastHalt {
    /// Its id.
    #[schemars(length(max = 22))]
    pub id: String,
    /// Its cause.
    pub cause: Reason,
    /// When it was found.
    pub at: Timestamp,
    /// Its packet.
    pub packet_ref: NameRef,
    /// What was decided.
    pub decision: Decision,
    /// What was said of the announcement, where that was the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Handoff>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub resolved_by: Option<String>,
    /// When the operator acted on it.
    pub resolved_at: Timestamp,
    /// True where another object of the closure may have had its turn since, so that what was said of the announcement is
    /// asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<bool>,
}

/// What is waited for, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// When the waiting began.
    pub since: Timestamp,
    /// The systems that are waited for.
    #[schemars(length(max = 6), extend("x-kubernetes-list-type" = "atomic"))]
    pub waiting_for: Vec<System>,
    /// Since when each record that was never found has been missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 6))]
    pub missing_since: BTreeMap<String, Timestamp>,
}

/// The head of the hash chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TraceHead {
    /// SHA-256 over the whole trace.
    #[schemars(length(max = 71))]
    pub digest: String,
}

/// What a plan would do about one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PlannedAction {
    /// Change the record.
    Write,
    /// Leave it: it is done.
    Skip,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// What would be done.
    pub action: PlannedAction,
    /// In which system.
    pub system: System,
    /// To which record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 386))]
    pub record: Option<String>,
    /// The change, in words.
    #[schemars(length(max = 256))]
    pub change: String,
}

/// The core's part of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// The rules it was verified under.
    pub playbook: Option<PlaybookVersion>,
    /// That the systems agreed.
    pub alignment: Option<Alignment>,
    /// The steps: none before the first pass that has something to say, then all five in order.
    pub steps: Vec<StepRecord>,
    /// Halts released so far.
    pub episode: u32,
    /// The latched halt.
    pub halt: Option<Halt>,
    /// Past halts, oldest first.
    pub halts: Vec<PastHalt>,
    /// What is waited for.
    pub retry: Option<Retry>,
    /// Head of the chain, once finished.
    pub trace: Option<TraceHead>,
    /// The plan, in mode Plan.
    pub plan: Vec<PlannedStep>,
}

impl Ledger {
    /// A ledger as it was stored.
    ///
    /// # Errors
    /// Where the steps are not the five in order: somebody else wrote this status.
    pub fn checked(mut self) -> Result<Ledger, Invalid> {
        if self.steps.is_empty() {
            self.steps = Step::ALL.map(StepRecord::pending).to_vec();
        }
        let in_order = self.steps.len() == Step::ALL.len()
            && self
                .steps
                .iter()
                .zip(Step::ALL)
                .all(|(record, step)| record.name == step && record.system == step.system());
        if !in_order {
            return Err(Invalid { field: "status.steps", rule: "must be the five steps in their order" });
        }
        let ids_hold = self.steps[..4].iter().all(|step| step.record.as_deref().is_none_or(ids::is_id));
        if !ids_hold {
            return Err(Invalid { field: "status.steps.record", rule: "must be an identifier" });
        }
        Ok(self)
    }

    /// The closure does not act for now: an older object of it does, or it is suspended. What a coordinator said of the
    /// announcement until now is no permission any more: another object may be asked about it, and announce, meanwhile.
    pub fn stand_aside(&mut self) {
        if let Some(last) = self.halts.last_mut().filter(|last| last.handoff == Some(Handoff::NotDelivered)) {
            last.superseded = Some(true);
        }
    }

    /// One halt more is past. Of those the latest [`HALTS_MAX`] are kept, which is what a status may hold.
    pub fn put_by(&mut self, past: PastHalt) {
        self.halts.push(past);
        let surplus = self.halts.len().saturating_sub(HALTS_MAX);
        self.halts.drain(..surplus);
        self.episode += 1;
    }

    /// The record of a step. Present for every ledger that went through [`Ledger::checked`].
    #[must_use]
    pub fn step(&self, step: Step) -> &StepRecord {
        &self.steps[step.index()]
    }

    /// The same, to change it.
    pub fn step_mut(&mut self, step: Step) -> &mut StepRecord {
        &mut self.steps[step.index()]
    }

    /// The record that an earlier look found in this system.
    #[must_use]
    pub fn found_record(&self, system: System) -> Option<&str> {
        self.steps
            .iter()
            .find(|step| step.system == system && system != System::Intake)
            .and_then(|step| step.record.as_deref())
    }

    /// Whether a coordinator gave the closure up: that is the last thing that happens to one.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.halts.last().is_some_and(|last| last.decision == Decision::Abandon)
    }

    /// How many steps are settled.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.steps.iter().filter(|step| step.outcome.is_settled()).count()
    }
}

/// The first `max` characters of a foreign text, with everything that is not printable replaced: what a person reads
/// in a packet cannot move their cursor, reorder their line or hide what follows.
#[must_use]
pub fn printable(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c }).collect()
}

/// Zero-width and direction-changing characters (Unicode's bidirectional controls and default-ignorable marks).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}
