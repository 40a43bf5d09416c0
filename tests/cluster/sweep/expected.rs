//! The end of a run, made comparable: everything that a closure left behind, less what no two runs share.

use crate::stage::Stage;
use releaseclosure::api::{ReleaseClosure, parse};
use releaseclosure::closure::trace;
use releaseclosure::sandbox::{Entry, Role};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The closure's status and its records at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    status: Value,
    records: Vec<Value>,
    /// The packet's spec, where there is one.
    packet: Value,
}

impl Whole {
    /// Every value that is another one here than there, or is not there: its path, here, there.
    pub fn against(&self, other: &Whole) -> Vec<String> {
        let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
        flat("status", &self.status, &mut here);
        flat("records", &json!(self.records), &mut here);
        flat("packet", &self.packet, &mut here);
        flat("packet", &other.packet, &mut there);
        flat("status", &other.status, &mut there);
        flat("records", &json!(other.records), &mut there);
        let paths: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differ = paths.into_iter().filter(|path| here.get(*path) != there.get(*path));
        differ.map(|path| format!("{path}: {:?} for {:?}", here.get(path), there.get(path))).collect()
    }
}

fn flat(path: &str, value: &Value, all: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| flat(&format!("{path}.{name}"), field, all)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| flat(&format!("{path}[{index}]"), item, all));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            all.insert(path.to_owned(), value.to_string());
        }
    }
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

/// What a closure left behind, without its packet. Its trace holds, and every marker is its own.
pub fn whole(stage: &Stage, release: usize, closure: &ReleaseClosure) -> Whole {
    let (_, ledger) = closure.status.clone().unwrap().split();
    let uid = closure.metadata.uid.clone().unwrap();
    trace::verify(&parse::accepted(&closure.spec).unwrap(), &uid, &ledger).expect("the trace holds");
    with_packet(stage, release, closure, Value::Null)
}

/// What a closure left behind, and this packet.
pub fn with_packet(stage: &Stage, release: usize, closure: &ReleaseClosure, packet: Value) -> Whole {
    let uid = closure.metadata.uid.clone().unwrap();
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
        packet: strip(packet),
        records: ids.iter().map(|(role, id)| strip(record(*role, id))).collect(),
    }
}

fn key(release: usize) -> String {
    format!("load-{release:05}@RR-load-{release:05}@1")
}

/// Drops what no two runs share: times, revisions, the digests over them, the ids of halts, and how often this machine was too
/// slow for a timeout.
fn forget(value: &mut Value) {
    const OWN: [&str; 14] = [
        "at",
        "verifiedAt",
        "completionTime",
        "lastTransitionTime",
        "resolvedAt",
        "receivedAt",
        "revision",
        "trace",
        "packetRef",
        "artifacts",
        "haltId",
        "haltedAt",
        "instructions",
        "outages",
    ];
    match value {
        Value::Object(fields) => {
            if let Some(alignment) = fields.get_mut("alignment").and_then(Value::as_object_mut) {
                alignment.remove("digest");
            }
            let drop_id = |halt: &mut Value| drop(halt.as_object_mut().map(|halt| halt.remove("id")));
            fields.get_mut("halt").into_iter().for_each(drop_id);
            fields.get_mut("halts").and_then(Value::as_array_mut).into_iter().flatten().for_each(drop_id);
            // A condition's message names the packet.
            if let Some(message) = fields.get_mut("message") {
                let text = message.as_str().unwrap_or_default().to_owned();
                let words = text.split(' ').map(|word| if word.starts_with("h-") { "PACKET" } else { word });
                *message = json!(words.collect::<Vec<_>>().join(" "));
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

#[test]
fn of_all_ids_those_of_halts_alone_are_forgotten() {
    let mut value =
        json!({"halt": {"id": "h-1", "cause": "c"}, "halts": [{"id": "h-0"}], "id": "CHK", "items": [{"id": "a"}]});
    forget(&mut value);
    assert_eq!(value, json!({"halt": {"cause": "c"}, "halts": [{}], "id": "CHK", "items": [{"id": "a"}]}));
}
