//! The conditions of every standing, written to the server, read back, and read as GitOps tools read them.

use crate::cluster::{Objects, closure, cluster, namespace};
use jiff::Timestamp;
use releaseclosure::api::conditions::{Domain, Stamp, Standing, of_closure};
use releaseclosure::api::release_closure::{Envelope, Outages};
use releaseclosure::api::{ReleaseClosure, ReleaseClosureStatus};
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::ledger::{
    Check, Finding, Halt, Ledger, NameRef, ObjectVersion, Outcome, PastHalt, Retry, StateAt, StepRecord,
};
use releaseclosure::closure::ledger::{Decision, Handoff, Link};
use releaseclosure::closure::reason::Reason;
use serde_json::Value;

fn at() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// The verdict of kstatus, which GitOps tools share, on an object as the server shows it.
fn kstatus(object: &Value) -> &'static str {
    if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        return "InProgress";
    }
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for condition in conditions.iter().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Reconciling") => return "InProgress",
            Some("Stalled") => return "Failed",
            _ => {}
        }
    }
    match conditions.iter().find(|condition| condition["type"] == "Ready") {
        Some(ready) if ready["status"] != "True" => "InProgress",
        Some(_) | None => "Current",
    }
}

#[tokio::test]
async fn readers_that_know_nothing_of_us_understand_every_standing() {
    let namespace = namespace("standings");
    let closures = Objects::of("ReleaseClosure", namespace).await;
    let reason = Reason::EvidenceMissing;
    let standings = [
        ("working", Standing::Working, "InProgress"),
        ("waiting", Standing::Waiting { reason: Reason::TrackerUnavailable, message: "Waits.".into() }, "InProgress"),
        ("halted", Standing::Halted { reason, packet: "h-0123456789abcdef0123".into() }, "Failed"),
        ("abandoned", Standing::Abandoned, "Failed"),
        ("closed", Standing::Closed, "Current"),
        ("planned", Standing::Planned, "Current"),
        ("disagreeing", Standing::PlannedDisagreeing { reason, message: "1 finding.".into() }, "Failed"),
        ("suspended", Standing::Suspended, "InProgress"),
    ];
    for (name, standing, verdict) in standings {
        let created = closures.create(&closure(name)).await.unwrap();
        assert_eq!(kstatus(&created), "InProgress", "{name}: a status that nobody wrote is no answer");
        let stamp = Stamp { generation: 1, now: at() };
        let conditions = of_closure(&[], &standing, &Domain::default(), stamp);
        let envelope = Envelope { observed_generation: 1, conditions: conditions.clone(), ..Envelope::default() };
        let status = ReleaseClosureStatus::assemble(envelope, Ledger::default());
        let status = serde_json::to_value(status).unwrap();
        closures.write_status(name, status.clone()).await.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let stored = closures.get(name).await;
        assert_eq!(stored["status"], status, "{name} is stored as it was written");
        assert_eq!(kstatus(&stored), verdict, "{name}");
        let typed: ReleaseClosure = serde_json::from_value(stored).unwrap();
        let (envelope, _) = typed.status.unwrap().split();
        assert_eq!(envelope.conditions, conditions, "{name} is read as it was written");

        let moved = closures.change(name, |object| object["spec"]["suspend"] = true.into()).await.unwrap();
        assert_eq!(kstatus(&moved), "InProgress", "{name}: the answer was to an older question");
    }
    let wait = |condition, name, seconds: u32| {
        let (condition, timeout) = (format!("--for=condition={condition}"), format!("--timeout={seconds}s"));
        cluster().try_kubectl(&["-n", namespace, "wait", "releaseclosure", name, &condition, &timeout]).ok
    };
    closures.create(&closure("gate")).await.unwrap();
    assert!(!wait("CoordinatorNotified", "gate", 1));
    let told = Domain { steps: [Some(true); 5], ..Domain::default() };
    let conditions = of_closure(&[], &Standing::Closed, &told, Stamp { generation: 1, now: at() });
    let envelope = Envelope { observed_generation: 1, conditions, ..Envelope::default() };
    let status = ReleaseClosureStatus::assemble(envelope, Ledger::default());
    closures.write_status("gate", serde_json::to_value(status).unwrap()).await.unwrap();
    assert!(wait("CoordinatorNotified", "gate", 60) && wait("Ready", "gate", 60) && !wait("Stalled", "gate", 1));
}

/// The fullest status there can be, so that no bound of the schema is one that the operator runs into.
#[tokio::test]
async fn the_fullest_status_is_stored_as_it_was_written() {
    let closures = Objects::of("ReleaseClosure", namespace("fullest")).await;
    closures.create(&closure("full")).await.unwrap();
    let text = |length: usize| "x".repeat(length);
    let connection = ObjectVersion { name: "tracker".into(), uid: text(36), generation: 7 };
    let state = StateAt { state: text(128), revision: text(128) };
    let step = |name: Step| StepRecord {
        outcome: Outcome::Unconfirmed,
        connection: Some(connection.clone()),
        record: Some(text(128)),
        before: Some(state.clone()),
        after: Some(state.clone()),
        reference: Some(text(386)),
        links: vec![
            Link { rel: "evidence".into(), url: text(512) };
            if name == Step::NotifyCoordinator { 4 } else { 0 }
        ],
        at: Some(at()),
        ..StepRecord::pending(name)
    };
    let finding = |check| Finding {
        check,
        reason: Reason::MilestoneRenamed,
        system: System::Tracker,
        record: Some(text(128)),
        field: "milestone.title".into(),
        expected: "é".repeat(128),
        observed: "é".repeat(128),
        link: Some(text(512)),
    };
    let packet_ref = NameRef { name: "h-0123456789abcdef0123".into() };
    let past = |number: usize| PastHalt {
        id: format!("h-{number:020}"),
        cause: Reason::NotificationUncertain,
        at: at(),
        packet_ref: packet_ref.clone(),
        decision: Decision::Resume,
        handoff: Some(Handoff::NotDelivered),
        resolved_by: Some(text(256)),
        resolved_at: at(),
        superseded: Some(true),
    };
    let ledger = Ledger {
        steps: Step::ALL.map(step).to_vec(),
        episode: 9,
        halt: Some(Halt {
            id: "h-0123456789abcdef0123".into(),
            cause: Reason::MilestoneRenamed,
            at: at(),
            packet_ref: packet_ref.clone(),
            findings: vec![finding(Check::C7); 24],
            findings_omitted: Some(3),
        }),
        halts: (0..8).map(past).collect(),
        retry: Some(Retry {
            since: at(),
            waiting_for: System::ALL.to_vec(),
            missing_since: System::AUTHORITIES.iter().map(|system| (system.to_string(), at())).collect(),
        }),
        ..Ledger::default()
    };
    let standing = Standing::Halted { reason: Reason::MilestoneRenamed, packet: packet_ref.name.clone() };
    let conditions = of_closure(&[], &standing, &Domain::default(), Stamp { generation: 1, now: at() });
    let envelope = Envelope {
        observed_generation: 1,
        last_handled_reconcile_at: Some(text(256)),
        completion_time: Some(at()),
        conditions,
        outages: Outages { count: u32::MAX, seconds: u32::MAX, since: Some(at()) },
    };
    let status = ReleaseClosureStatus::assemble(envelope.clone(), ledger.clone());
    closures.write_status("full", serde_json::to_value(&status).unwrap()).await.expect("within every bound");
    let stored: ReleaseClosure = serde_json::from_value(closures.get("full").await).unwrap();
    assert_eq!(stored.status.unwrap().split(), (envelope, ledger));
}
