//! The only place where conditions are made.
//!
//! `Ready` sums up. `Reconciling` and `Stalled` are there only while true, and never both: readers that know nothing of
//! this project (kstatus, and through it GitOps tools) take "in progress" and "failed" from them. The others say of one
//! fact each whether it was seen, and are never renamed.
//!
//! Everything here is pure: the generation and the time are arguments.

use crate::closure::ids::Step;
use crate::closure::reason::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{Schema, SchemaGenerator, json_schema};

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Sums up: the closure is closed, the connection or playbook can be used.
pub const READY: &str = "Ready";
/// Work goes on without anybody's help.
pub const RECONCILING: &str = "Reconciling";
/// Nothing goes on until somebody helps.
pub const STALLED: &str = "Stalled";
/// The governance record shows an accepted state.
pub const SOURCE_ACCEPTED: &str = "SourceAccepted";
/// The five authorities agree about release, review version, milestone and evidence.
pub const ALIGNED: &str = "Aligned";
/// One for each step, in their order: it is done. The last is the one that a gate before a next step waits for.
pub const STEPS: [&str; 5] =
    ["ChecklistClosed", "TrackerApproved", "EvidenceAttached", "QueueEntryCleared", "CoordinatorNotified"];
/// People were told of the halt of a packet, on the channel that the playbook names.
pub const ANNOUNCED: &str = "Announced";
/// The resolution of a packet was acted on.
pub const RESOLVED: &str = "Resolved";

/// Longest message, in characters, so that a status stays below 16 KiB.
const MESSAGE_MAX: usize = 1024;

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so, or not yet.
    False,
    /// It has not been seen.
    Unknown,
}

impl Truth {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(so: bool) -> Truth {
        if so { Truth::True } else { Truth::False }
    }
}

/// Which spec is answered, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Generation of the spec.
    pub generation: i64,
    /// The time that a condition whose status changes gets.
    pub now: Timestamp,
}

/// Where a closure stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Steps are being taken.
    Working,
    /// It waits for a system, a Secret, the playbook or an older duplicate, and goes on by itself.
    Waiting {
        /// For what.
        reason: Reason,
        /// The same for people: from closed sets, never a foreign text.
        message: String,
    },
    /// It halted. Goes on when the packet is resolved.
    Halted {
        /// The first finding's reason.
        reason: Reason,
        /// Name of the packet.
        packet: String,
    },
    /// A coordinator gave it up.
    Abandoned,
    /// All five steps are settled.
    Closed,
    /// In mode Plan: everything agrees.
    Planned,
    /// In mode Plan: something does not. There is no packet, and nothing is latched.
    PlannedDisagreeing {
        /// The first finding's reason.
        reason: Reason,
        /// What disagrees, for people.
        message: String,
    },
    /// Suspended before it was finished.
    Suspended,
    /// Suspended, or asked again, while halted or planned: nothing new is said, but it is said of the current generation.
    Unchanged,
}

/// What is known of the facts behind a closure. `None`: nothing was learned; what was seen before stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// The governance record shows an accepted state.
    pub source_accepted: Option<bool>,
    /// The authorities agree.
    pub aligned: Option<bool>,
    /// Each step is done, in the order of [`Step::ALL`].
    pub steps: [Option<bool>; 5],
}

/// Sets one condition; its `lastTransitionTime` moves only when its status does. Others are left alone.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    truth: Truth,
    reason: &'static str,
    message: &str,
    stamp: Stamp,
) {
    let made = make(conditions, kind, truth, reason, message, stamp);
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(condition) => *condition = made,
        None => conditions.push(made),
    }
}

/// The condition of this type, if it is there.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of this type is there and true.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == Truth::True.as_str())
}

/// Whether [`READY`] is true; none where it is neither true nor false, as before the first look.
#[must_use]
pub fn is_ready(conditions: &[Condition]) -> Option<bool> {
    let status = &find(conditions, READY)?.status;
    [(Truth::True, true), (Truth::False, false)]
        .into_iter()
        .find_map(|(truth, ready)| (status == truth.as_str()).then_some(ready))
}

/// All conditions of a closure, from those it had.
///
/// **Guarantees:** each carries the stamp's generation; a `lastTransitionTime` moves only when the condition's status
/// does; `Ready` is first, `Reconciling` or `Stalled` is second while it is true, and never are both there; the same
/// arguments give the same conditions, and conditions made from their own result are equal to it. Conditions of a type
/// that is not ours are dropped: the status is the operator's alone.
#[must_use]
pub fn of_closure(before: &[Condition], standing: &Standing, domain: &Domain, stamp: Stamp) -> Vec<Condition> {
    let mut conditions = summary(before, standing, stamp);
    let Domain { source_accepted, aligned, steps } = *domain;
    conditions.push(fact(before, SOURCE_ACCEPTED, source_accepted, &ACCEPTED_WORDS, stamp));
    conditions.push(fact(before, ALIGNED, aligned, &ALIGNED_WORDS, stamp));
    for (step, done) in Step::ALL.into_iter().zip(steps) {
        conditions.push(fact(before, STEPS[step.index()], done, &DONE_WORDS, stamp));
    }
    conditions
}

/// `Ready`, and `Reconciling` or `Stalled`.
fn summary(before: &[Condition], standing: &Standing, stamp: Stamp) -> Vec<Condition> {
    let one = |kind, truth, reason: Reason, message: &str| make(before, kind, truth, reason.as_str(), message, stamp);
    let ready = |truth, reason, message: &str| one(READY, truth, reason, message);
    let progressing = Reason::Progressing;
    match standing {
        Standing::Working => vec![
            ready(Truth::Unknown, progressing, progressing.sentence()),
            one(RECONCILING, Truth::True, progressing, progressing.sentence()),
        ],
        Standing::Waiting { reason, message } => vec![
            ready(Truth::False, Reason::ProgressingWithRetry, message),
            one(RECONCILING, Truth::True, *reason, message),
        ],
        Standing::Halted { reason, packet } => {
            let message = format!("{} Resolve followuppacket {packet} to release this halt.", reason.sentence());
            vec![ready(Truth::False, *reason, &message), one(STALLED, Truth::True, *reason, &message)]
        }
        Standing::PlannedDisagreeing { reason, message } => {
            vec![ready(Truth::False, *reason, message), one(STALLED, Truth::True, *reason, message)]
        }
        Standing::Abandoned => {
            let reason = Reason::Abandoned;
            vec![ready(Truth::False, reason, reason.sentence()), one(STALLED, Truth::True, reason, reason.sentence())]
        }
        Standing::Closed => vec![ready(Truth::True, Reason::Closed, Reason::Closed.sentence())],
        Standing::Planned => vec![ready(Truth::True, Reason::Planned, Reason::Planned.sentence())],
        Standing::Suspended => vec![ready(Truth::Unknown, Reason::Suspended, Reason::Suspended.sentence())],
        Standing::Unchanged => unchanged(before, stamp),
    }
}

/// The summary as it was, said of the current generation.
fn unchanged(before: &[Condition], stamp: Stamp) -> Vec<Condition> {
    if find(before, READY).is_none() {
        return summary(before, &Standing::Suspended, stamp);
    }
    [READY, RECONCILING, STALLED]
        .into_iter()
        .filter_map(|kind| find(before, kind))
        .map(|condition| Condition { observed_generation: Some(stamp.generation), ..condition.clone() })
        .collect()
}

/// Reason and message of a fact when it is so, when it is not, and before it was seen.
struct Words {
    so: (&'static str, &'static str),
    not_so: (&'static str, &'static str),
}

const ACCEPTED_WORDS: Words = Words {
    so: ("Accepted", "The governance record shows an accepted state."),
    not_so: ("NotAccepted", "The governance record does not show an accepted state."),
};
const ALIGNED_WORDS: Words = Words {
    so: ("Aligned", "The systems agree about release, review version, milestone and evidence."),
    not_so: ("NotAligned", "The systems do not agree."),
};
const DONE_WORDS: Words =
    Words { so: ("Done", "The step is done."), not_so: ("NotDone", "The step is not done, or not done yet.") };
const NOT_OBSERVED: (&str, &str) = ("NotObserved", "Not seen yet.");

fn fact(before: &[Condition], kind: &str, so: Option<bool>, words: &Words, stamp: Stamp) -> Condition {
    match (so, find(before, kind)) {
        (Some(true), _) => make(before, kind, Truth::True, words.so.0, words.so.1, stamp),
        (Some(false), _) => make(before, kind, Truth::False, words.not_so.0, words.not_so.1, stamp),
        (None, Some(seen)) => Condition { observed_generation: Some(stamp.generation), ..seen.clone() },
        (None, None) => make(before, kind, Truth::Unknown, NOT_OBSERVED.0, NOT_OBSERVED.1, stamp),
    }
}

fn make(before: &[Condition], kind: &str, truth: Truth, reason: &str, message: &str, stamp: Stamp) -> Condition {
    let since = find(before, kind)
        .filter(|condition| condition.status == truth.as_str())
        .map_or(Time(stamp.now), |condition| condition.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: truth.as_str().to_owned(),
        observed_generation: Some(stamp.generation),
        last_transition_time: since,
        reason: reason.to_owned(),
        message: message.chars().take(MESSAGE_MAX).collect(),
    }
}

/// The schema of a list of conditions, with the bounds that the derived one lacks.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "description": "One fact, and since when it is so.",
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "description": "What the condition is about.",
                    "type": "string",
                    "maxLength": 64,
                    "pattern": "^[A-Za-z][A-Za-z0-9]*$"
                },
                "status": {
                    "description": "Whether it is so; Unknown before it was seen.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"]
                },
                "observedGeneration": {
                    "description": "Generation of the spec that this condition answers.",
                    "type": "integer",
                    "format": "int64"
                },
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string",
                    "format": "date-time"
                },
                "reason": {
                    "description": "Why, in one word of a closed set.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 64,
                    "pattern": "^[A-Za-z][A-Za-z0-9]*$"
                },
                "message": {
                    "description": "The same for people.",
                    "type": "string",
                    "maxLength": MESSAGE_MAX
                }
            }
        }
    })
}

#[cfg(test)]
#[path = "conditions_tests.rs"]
mod tests;
