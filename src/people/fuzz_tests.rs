//! What people are shown of an object that somebody else wrote, and what an auditor is told of one that was changed.

use super::{page, verify};
use crate::api::conditions::{self, READY};
use crate::api::{FollowUpPacket, ReleaseClosure};
use crate::fuzz::{corpus, fuzz};
use serde_json::{Value, json};

/// Nothing but lines: no control character, and none that hides what stands beside it.
fn assert_lines(text: &str) {
    let hidden = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}')
    };
    assert!(!text.chars().any(hidden), "{text:?}");
}

fn packet(bytes: &[u8]) -> bool {
    let Ok(packet) = serde_json::from_slice::<FollowUpPacket>(bytes) else { return false };
    assert_lines(&page::page(&packet));
    true
}

/// What an auditor may rely on: everything that the chain and the alignment cover, and what follows from it. That is all but
/// times and words for people. A condition that is not there claims nothing.
fn claims(closure: &ReleaseClosure) -> Value {
    let (spec, status) = (&closure.spec, closure.status.clone().unwrap_or_default());
    let told = |kind: &str| conditions::find(&status.conditions, kind).map(|told| (&told.status, &told.reason));
    let denied = |kind: &&str| told(kind).is_some_and(|(status, _)| status != "True");
    let claimed = |kind: &&str| told(kind).is_some_and(|(status, _)| status == "True");
    let denied: Vec<&str> = [conditions::ALIGNED].into_iter().chain(conditions::STEPS).filter(denied).collect();
    let claimed: Vec<&str> = [conditions::RECONCILING, conditions::STALLED].into_iter().filter(claimed).collect();
    json!({
        "ready": told(READY), "denied": denied, "claimed": claimed,
        "finished": status.completion_time.is_some(), "progress": status.progress, "halt": status.halt,
        "release": spec.release, "review": spec.review, "milestone": spec.milestone, "evidence": spec.evidence,
        "uid": closure.metadata.uid, "playbook": status.playbook, "episode": status.episode, "halts": status.halts,
        "alignment": status.alignment.map(|all| json!([all.digest, all.decision, all.accepted_event, all.compared])),
        "steps": status.steps,
        "trace": status.trace,
    })
}

fn closed() -> (Vec<u8>, Value) {
    let (_, bytes) = corpus("verify").into_iter().find(|(name, _)| name == "closed").unwrap();
    let closure = serde_json::from_slice(&bytes).unwrap();
    let claims = claims(&closure);
    (bytes, claims)
}

/// An exported object as `verify --file` reads it: what holds claims what the closed one claimed, or is another that is
/// whole in itself, with another head.
fn exported(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(closure) = serde_saphyr::from_str::<ReleaseClosure>(text) else { return false };
    let head = closure.status.as_ref().and_then(|status| status.trace.clone()).map(|trace| trace.digest);
    match verify::check(closure.clone(), None) {
        Ok(report) => {
            assert_lines(&report);
            assert!(report.contains(&head.clone().unwrap()));
            let other = format!("{}0", head.unwrap());
            assert!(verify::check(closure, Some(&other)).is_err(), "it has one head");
            true
        }
        Err(error) => {
            assert_lines(&error.to_string());
            false
        }
    }
}

/// Every byte of a closed object, changed in two of its bits (in each of them with a `FUZZ_FACTOR`): `verify` says so, or
/// the object claims what it did.
#[test]
fn a_changed_byte_is_a_broken_trace_or_no_claim() {
    let (bytes, original) = closed();
    assert!(exported(&bytes), "as it was exported, it holds");
    let longer = crate::fuzz::setting("FUZZ_FACTOR", 1) > 1;
    let (mut told, mut unread, mut free) = (0, 0, 0);
    for at in 0..bytes.len() {
        for bit in (0..8).filter(|bit| longer || (at + bit) % 4 == 0) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let Ok(closure) = serde_json::from_slice::<ReleaseClosure>(&changed) else {
                unread += 1;
                continue;
            };
            let claims = claims(&closure);
            match verify::check(closure, None) {
                Ok(_) => {
                    assert_eq!(claims, original, "byte {at}, bit {bit}");
                    free += 1;
                }
                Err(_) => told += 1,
            }
        }
    }
    let length = bytes.len();
    crate::fuzz::figures::tell(&format!(
        "verify: {length} bytes; of their bits {told} break the trace, {unread} the object, {free} claim nothing"
    ));
    assert!(told > free, "most of an object is claims");
}

/// Steps swapped, dropped and put twice; a halt dropped; a number turned.
#[test]
fn a_chain_without_one_of_its_links_does_not_hold() {
    let (bytes, _) = closed();
    let object: Value = serde_json::from_slice(&bytes).unwrap();
    let breaks = |what: &str, change: &dyn Fn(&mut Value)| {
        let mut changed = object.clone();
        change(&mut changed);
        let closure: ReleaseClosure = serde_json::from_value(changed).unwrap();
        assert!(verify::check(closure, None).is_err(), "{what}");
    };
    breaks("two steps change places", &|object| object["status"]["steps"].as_array_mut().unwrap().swap(1, 2));
    breaks("a step is dropped", &|object| drop(object["status"]["steps"].as_array_mut().unwrap().remove(3)));
    breaks("a step's record before is dropped", &|object| {
        drop(object["status"]["steps"][0].as_object_mut().unwrap().remove("before"))
    });
    breaks("the alignment is dropped", &|object| drop(object["status"].as_object_mut().unwrap().remove("alignment")));
    breaks("the playbook is dropped", &|object| drop(object["status"].as_object_mut().unwrap().remove("playbook")));
    breaks("a past halt is dropped", &|object| drop(object["status"]["halts"].as_array_mut().unwrap().remove(0)));
    breaks("an episode more", &|object| object["status"]["episode"] = json!(7));
    breaks("another uid", &|object| object["metadata"]["uid"] = json!("another"));
    breaks("it is halted", &|object| {
        object["status"]["halt"] = json!({"id": "h-1", "cause": "MilestoneRenamed", "at": "2026-11-22T11:00:00Z",
            "packetRef": {"name": "h-1"}, "findings": []});
    });
    breaks("it was never finished", &|object| drop(object["status"].as_object_mut().unwrap().remove("completionTime")));
    breaks("it says nothing", &|object| object["status"]["conditions"] = json!([]));
    breaks("no head", &|object| drop(object["status"].as_object_mut().unwrap().remove("trace")));
}

fuzz!(packets, "packet", 1000, packet);
fuzz!(exports, "verify", 800, exported);
