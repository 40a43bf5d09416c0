//! The end of a run, made comparable: everything that a closure left behind, less what no two runs share.

use crate::stage::Stage;
use releaseclosure::api::{ReleaseClosure, parse};
use releaseclosure::closure::trace;
use releaseclosure::sandbox::{Entry, Role};
use serde_json::{Value, json};
use std::sync::Arc;

/// The closure's status and its records at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    status: Value,
    records: Vec<Value>,
}

/// What differs from the end of an undisturbed run.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The steps of which nobody knows what the record was before.
    pub lost: [bool; 4],
    /// The intake is given time before it is told again.
    pub settles: bool,
    /// Whose announcement it was cannot be told.
    pub unconfirmed: bool,
    /// Nobody can know, and a person is asked.
    pub uncertain: bool,
    /// How many announcements take effect.
    pub deliveries: usize,
}

impl Ending {
    /// The end of an undisturbed run, with what differs.
    pub fn of(&self, undisturbed: &Whole, handoff: &str) -> Whole {
        let mut whole = undisturbed.clone();
        for (step, _) in self.lost.iter().enumerate().filter(|(_, lost)| **lost) {
            whole.status["steps"][step].as_object_mut().unwrap().remove("before");
        }
        if self.unconfirmed {
            whole.status["steps"][4]["outcome"] = json!("Unconfirmed");
        }
        if self.uncertain {
            whole.status["episode"] = json!(1);
            whole.status["halts"] = json!([{"cause": "NotificationUncertain", "decision": "Resume", "handoff": handoff,
                "resolvedBy": "admin"}]);
        }
        if self.deliveries == 0 {
            *whole.records.last_mut().unwrap() = Value::Null;
        }
        whole
    }
}

/// What a closure left behind. Its trace holds, and every marker is its own.
pub fn whole(stage: &Stage, release: usize, closure: &ReleaseClosure) -> Whole {
    let uid = closure.metadata.uid.clone().unwrap();
    let (_, ledger) = closure.status.clone().unwrap().split();
    trace::verify(&parse::accepted(&closure.spec).unwrap(), &uid, &ledger).expect("the trace holds");
    let ids = [
        (Role::Governance, format!("RR-load-{release:05}")),
        (Role::Archive, format!("load/{release:05}/rv1")),
        (Role::Checklist, format!("CHK-{release:05}")),
        (Role::Tracker, format!("REL-{release:05}")),
        (Role::Queue, format!("Q-{release:05}")),
        (Role::Intake, key(release)),
    ];
    let bundle = stage.record(Role::Archive, &format!("load/{release:05}/rv1"));
    let strip = |mut value: Value| {
        forget(&mut value);
        let text = value.to_string().replace(&format!("{release:05}"), "NNNNN").replace(&uid, "UID");
        let text = text.replace(&format!("1.0.{release}\""), "1.0.N\"");
        serde_json::from_str(&text.replace(bundle["digest"].as_str().unwrap(), "DIGEST")).unwrap()
    };
    let record = |role, id: &str| stage.sandbox().record(role, id).map_or(Value::Null, |found| (*found.value).clone());
    Whole {
        status: strip(json!(closure.status)),
        records: ids.iter().map(|(role, id)| strip(record(*role, id))).collect(),
    }
}

fn key(release: usize) -> String {
    format!("load-{release:05}@RR-load-{release:05}@1")
}

/// Drops what no two runs share: times, revisions, the digests over them, and the ids of halts.
fn forget(value: &mut Value) {
    const OWN: [&str; 11] = [
        "at",
        "verifiedAt",
        "completionTime",
        "lastTransitionTime",
        "resolvedAt",
        "receivedAt",
        "revision",
        "trace",
        "id",
        "packetRef",
        "artifacts",
    ];
    match value {
        Value::Object(fields) => {
            if let Some(alignment) = fields.get_mut("alignment").and_then(Value::as_object_mut) {
                alignment.remove("digest");
            }
            fields.retain(|name, _| !OWN.contains(&name.as_str()));
            fields.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The changes for a release that took effect, in their order, by what they changed.
pub fn changes(stage: &Stage, release: usize) -> Vec<&'static str> {
    let own = |entry: &Arc<Entry>| {
        let ids = [format!("CHK-{release:05}"), format!("REL-{release:05}"), format!("Q-{release:05}"), key(release)];
        entry.applied && entry.record.as_ref().is_some_and(|record| ids.contains(record))
    };
    let state = |entry: &Entry| serde_json::from_slice::<Value>(&entry.body).unwrap_or_default()["state"].is_string();
    let applied = stage.sandbox().requests(0).into_iter().filter(own);
    applied
        .map(|entry| match entry.role {
            Some(Role::Checklist) => "CloseChecklist",
            Some(Role::Tracker) if state(&entry) => "ApproveTracker",
            Some(Role::Tracker) => "AttachEvidence",
            Some(Role::Queue) => "ClearQueueEntry",
            Some(Role::Intake) => "NotifyCoordinator",
            _ => "a change that must never be",
        })
        .collect()
}
