//! Where a closure stands, by its object alone.

use super::clean;
use crate::api::ReleaseClosure;
use crate::api::conditions::{self, READY};
use crate::closure::ledger::Halt;
use crate::closure::reason::Reason;

/// Where a closure stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// All five steps are settled, and the coordinator has been told.
    Closed,
    /// Latched; only a resolution of its packet goes on.
    Halted(Box<Halt>),
    /// Given up.
    Abandoned,
    /// Anything else, in a line for people.
    Unfinished(String),
}

/// Reads the stage. A closure is closed only when `CoordinatorNotified` is true *for the generation of its spec*: `Ready`
/// alone is true of a plan as well, and a condition of an older generation answers an older question.
pub(super) fn stage(closure: &ReleaseClosure) -> Stage {
    let generation = closure.metadata.generation.unwrap_or_default();
    let Some(status) = &closure.status else { return Stage::Unfinished("not looked at yet".to_owned()) };
    let ready = conditions::find(&status.conditions, READY);
    let notified = conditions::find(&status.conditions, conditions::STEPS[4]);
    let told = notified.is_some_and(|told| told.status == "True" && told.observed_generation == Some(generation));
    if status.completion_time.is_some() && ready.is_some_and(|ready| ready.reason == Reason::Abandoned.as_str()) {
        return Stage::Abandoned;
    }
    if status.completion_time.is_some() && status.observed_generation == generation && told {
        return Stage::Closed;
    }
    if let Some(halt) = &status.halt {
        return Stage::Halted(Box::new(halt.clone()));
    }
    let progress = status.progress.as_deref().unwrap_or("0/5");
    let stale = if status.observed_generation == generation { "" } else { " (of an older generation)" };
    let words = match (conditions::find(&status.conditions, conditions::RECONCILING), ready) {
        // What is waited for stands there; Ready only says that it is waited.
        (Some(why), _) | (None, Some(why)) => format!("{}: {}", clean(&why.reason), clean(&why.message)),
        (None, None) => "not looked at yet".to_owned(),
    };
    Stage::Unfinished(format!("{progress} {words}{stale}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn closure(generation: i64, status: Value) -> ReleaseClosure {
        serde_json::from_value(json!({
            "apiVersion": "releaseclosure.io/v1alpha1", "kind": "ReleaseClosure",
            "metadata": {"name": "c", "namespace": "n", "generation": generation},
            "spec": {
                "playbookRef": {"name": "p"},
                "release": {"id": "r", "service": "s", "version": "1"},
                "review": {"id": "RR", "version": "3", "acceptedEvent": {"id": "e"}},
                "milestone": {"id": "12", "title": "t"},
                "evidence": {"bundle": "b", "digest": format!("sha256:{:064}", 0)},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str, generation: i64) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "m\u{1b}[2J", "observedGeneration": generation,
            "lastTransitionTime": "2026-11-20T10:00:00Z"})
    }

    fn done(generation: i64) -> Value {
        json!({"observedGeneration": generation, "completionTime": "2026-11-20T10:00:00Z", "conditions": [
            condition("Ready", "True", "Closed", generation), condition("CoordinatorNotified", "True", "Closed", generation)]})
    }

    #[test]
    fn closed_is_closed_for_this_generation_only() {
        assert_eq!(stage(&closure(1, done(1))), Stage::Closed);
        assert!(matches!(stage(&closure(2, done(1))), Stage::Unfinished(_)));
    }

    #[test]
    fn a_plan_that_is_ready_is_not_closed() {
        let planned = json!({"observedGeneration": 1, "conditions": [condition("Ready", "True", "Planned", 1)]});
        assert!(matches!(stage(&closure(1, planned)), Stage::Unfinished(line) if line.contains("Planned")));
    }

    #[test]
    fn what_is_waited_for_is_told_without_control_characters() {
        let waiting = json!({"observedGeneration": 1, "progress": "2/5", "conditions": [
            condition("Ready", "False", "ProgressingWithRetry", 1), condition("Reconciling", "True", "TrackerUnavailable", 1)]});
        match stage(&closure(1, waiting)) {
            Stage::Unfinished(line) => {
                assert!(line.starts_with("2/5 TrackerUnavailable: m") && !line.contains('\u{1b}'), "{line}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn halted_and_abandoned_are_told_apart() {
        let halt = json!({"id": "h-00000000000000000000", "cause": "MilestoneRenamed", "at": "2026-11-20T10:00:00Z",
            "packetRef": {"name": "h-00000000000000000000"}, "findings": []});
        assert!(matches!(stage(&closure(1, json!({"observedGeneration": 1, "halt": halt}))), Stage::Halted(_)));
        let abandoned = json!({"observedGeneration": 1, "completionTime": "2026-11-20T10:00:00Z",
            "conditions": [condition("Ready", "False", "Abandoned", 1)]});
        assert_eq!(stage(&closure(1, abandoned)), Stage::Abandoned);
        assert!(matches!(stage(&closure(1, Value::Null)), Stage::Unfinished(_)));
    }
}
