//! Whatever a system replies: it becomes a record that keeps the rules and says what stood there, or nothing.

use super::super::DIALECT;
use super::super::wire::{self, ENTRIES_MAX, KEY_MAX, TEXT_MAX, URL_MAX};
use crate::closure::accepted::{
    Accepted, AcceptedEvent, Evidence, Milestone, OpenItems, Recheck, Records, Release, Review, Rules,
};
use crate::closure::decide::{Brief, Decision, Delivery, IntakeTerms, Memory, Pass};
use crate::closure::halt;
use crate::closure::ids::{BUNDLE_MAX, System, is_bundle, is_id};
use crate::closure::ledger::{Ledger, ObjectVersion, PlaybookVersion, VALUE_MAX};
use crate::closure::link;
use crate::closure::snapshot::{
    EvidenceLink, Marker, Marking, MilestoneRef, Observation, Progress, ReleaseRef, Revision, Sighting, Trouble,
};
use crate::fuzz::fuzz;
use crate::providers::rest::json::{self, NotTheContract};
use crate::providers::rest::reply::{self, Came, Fate, Media};
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

type Understood<T> = Result<T, NotTheContract>;

/// Everything that was understood stands in the body at its place.
fn assert_said(understood: &Value, said: &Value) {
    match (understood, said) {
        (Value::Object(members), Value::Object(_)) => {
            members.iter().for_each(|(name, member)| assert_said(member, &said[name]));
        }
        (Value::Array(items), Value::Array(others)) => {
            assert_eq!(items.len(), others.len());
            items.iter().zip(others).for_each(|(item, other)| assert_said(item, other));
        }
        _ => assert_eq!(understood, said),
    }
}

/// The same every time; the same again from what was understood; and nothing that was not said.
fn reads<R: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    read: fn(&[u8]) -> Understood<R>,
    told: fn(&R) -> Value,
) -> Option<R> {
    let once = read(bytes);
    assert_eq!(once, read(bytes));
    let record = once.ok()?;
    let told = told(&record);
    let again = read(told.to_string().as_bytes());
    assert_eq!(again.as_ref(), Ok(&record));
    // A number that no 64 bits hold is none to a `Value`; in a field that nobody reads it is no matter.
    if let Ok(said) = serde_json::from_slice::<Value>(bytes) {
        assert_said(&told, &said);
    }
    Some(record)
}

fn text(text: &str) -> bool {
    text.len() <= TEXT_MAX
}

fn release(release: &ReleaseRef) -> Value {
    let both = [&release.service, &release.version];
    assert!(is_id(&release.id) && both.iter().all(|told| told.as_deref().is_some_and(text)));
    json!({"id": release.id, "service": release.service, "version": release.version})
}

fn milestone(milestone: &MilestoneRef) -> Value {
    if milestone.is_none() {
        return Value::Null;
    }
    assert!(is_id(&milestone.id) && milestone.title.len() <= 4 * TEXT_MAX);
    json!({"id": milestone.id, "title": milestone.title})
}

fn mark(record: &mut Value, marking: &Marking) {
    match marking {
        Marking::NotCarried => {}
        Marking::Unmarked => record["closure"] = Value::Null,
        Marking::By(Marker { key, uid }) => {
            assert!(key.len() <= KEY_MAX && text(uid));
            record["closure"] = json!({"key": key, "uid": uid});
        }
    }
}

fn review(bytes: &[u8]) -> bool {
    let told = |record: &_| {
        let crate::closure::snapshot::ReviewRecord { id, version, state, .. } = record;
        let (bundle, digest) = record.evidence.clone().unwrap();
        assert!(is_id(id) && is_id(version) && text(state) && is_bundle(&bundle) && text(&digest));
        assert!(record.accepted_event.as_deref().is_none_or(is_id));
        let mut told = json!({
            "id": id, "version": version, "state": state, "release": release(&record.release),
            "milestone": milestone(record.milestone.as_ref().unwrap()),
            "evidence": {"bundle": bundle, "digest": digest},
        });
        if let Some(event) = &record.accepted_event {
            told["acceptedEvent"] = json!({"id": event});
        }
        told
    };
    reads(bytes, wire::review, told).is_some()
}

fn bundle(bytes: &[u8]) -> bool {
    let told = |record: &crate::closure::snapshot::BundleRecord| {
        assert!(is_bundle(&record.bundle) && text(&record.digest) && record.url.len() <= URL_MAX);
        assert!(is_id(&record.release_id) && is_id(&record.review_version) && record.artifacts.len() <= ENTRIES_MAX);
        let artifacts = record.artifacts.iter().map(|artifact| {
            assert!(text(&artifact.kind) && artifact.digest.as_deref().is_none_or(text));
            match &artifact.digest {
                Some(digest) => json!({"kind": artifact.kind, "digest": digest}),
                None => json!({"kind": artifact.kind}),
            }
        });
        json!({
            "bundle": record.bundle, "digest": record.digest, "release": {"id": record.release_id},
            "review": {"version": record.review_version}, "url": record.url,
            "artifacts": artifacts.collect::<Vec<_>>(),
        })
    };
    let record = reads(bytes, |bytes| wire::bundle(bytes, false), told);
    // What may be announced is plain, and what may not be is shown without what may be a secret.
    if let Some(record) = &record
        && link::is_fit(&record.url, false).is_ok()
    {
        let url = url::Url::parse(&record.url).unwrap();
        assert!(url.scheme() == "https" && url.has_host() && record.url.len() <= 512);
        assert!(!record.url.contains(['@', '?', '#', ' ', '\n']));
    }
    record.is_some()
}

fn told_checklist(record: &crate::closure::snapshot::ChecklistRecord) -> Value {
    assert!(is_id(&record.id) && is_id(&record.release_id) && is_id(&record.review_version));
    assert!(text(record.state.word()) && record.open_items.iter().all(|item| is_id(item)));
    let mut told = json!({
        "id": record.id, "release": {"id": record.release_id}, "review": {"version": record.review_version},
        "state": record.state.word(),
        "items": record.open_items.iter().map(|item| json!({"id": item, "done": false})).collect::<Vec<_>>(),
    });
    mark(&mut told, &record.marking);
    told
}

fn checklist(bytes: &[u8]) -> bool {
    let once = wire::checklist(bytes);
    assert_eq!(once, wire::checklist(bytes));
    let Ok(record) = once else { return false };
    let mut told = told_checklist(&record);
    assert_eq!(wire::checklist(told.to_string().as_bytes()).as_ref(), Ok(&record));
    if let Ok(said) = serde_json::from_slice::<Value>(bytes) {
        let items = said["items"].as_array().unwrap();
        let open: Vec<&Value> = items.iter().filter(|item| item["done"] == false).map(|item| &item["id"]).collect();
        assert!(items.len() <= ENTRIES_MAX && open == record.open_items.iter().collect::<Vec<_>>());
        told["items"].take();
        assert_said(&told, &{ said }.as_object_mut().map(without_items).unwrap());
    }
    word_of(&record.state, "Open", "Closed");
    true
}

fn without_items(said: &mut Map<String, Value>) -> Value {
    said.remove("items");
    Value::Object(std::mem::take(said))
}

fn word_of(progress: &Progress, to_do: &str, done: &str) {
    let expected: fn(String) -> Progress = match progress.word() {
        word if word == to_do => Progress::ToDo,
        word if word == done => Progress::Done,
        _ => Progress::Other,
    };
    assert_eq!(*progress, expected(progress.word().to_owned()), "a state is never guessed");
}

fn queue_entry(bytes: &[u8]) -> bool {
    let told = |record: &crate::closure::snapshot::QueueRecord| {
        assert!(is_id(&record.id) && is_id(&record.release_id) && is_id(&record.review_version));
        assert!(text(record.state.word()));
        let mut told = json!({
            "id": record.id, "release": {"id": record.release_id}, "review": {"version": record.review_version},
            "state": record.state.word(),
        });
        mark(&mut told, &record.marking);
        told
    };
    let record = reads(bytes, wire::queue_entry, told);
    if let Some(record) = &record {
        word_of(&record.state, "Pending", "Cleared");
    }
    record.is_some()
}

fn tracker(bytes: &[u8]) -> bool {
    let read = |bytes: &[u8]| -> Understood<_> {
        let mut record = wire::release(bytes)?;
        for link in &mut record.evidence {
            assert!(link.bundle.len() <= URL_MAX && text(&link.digest) && link.url.len() <= URL_MAX);
            // It is written back to the letter, so it is the piece of the reply that it was.
            assert!(bytes.windows(link.as_read.len()).any(|piece| piece == link.as_read.as_bytes()));
            link.as_read.clear();
        }
        Ok(record)
    };
    let told = |record: &crate::closure::snapshot::TrackerRecord| {
        assert!(is_id(&record.id) && text(&record.state) && record.evidence.len() <= ENTRIES_MAX);
        let evidence = record.evidence.iter().map(|link| {
            let EvidenceLink { bundle, digest, url, marking, as_read: _ } = link;
            let mut told = json!({"bundle": bundle, "digest": digest, "url": url});
            // Left out of the link and null on it are one, where the record itself carries the key.
            if *marking != Marking::Unmarked {
                mark(&mut told, marking);
            }
            told
        });
        let mut told = json!({
            "id": record.id, "release": release(&record.release), "state": record.state,
            "milestone": milestone(&record.milestone), "evidence": evidence.collect::<Vec<_>>(),
        });
        mark(&mut told, &record.marking);
        told
    };
    let once = read(bytes);
    assert_eq!(once, read(bytes));
    let Ok(record) = once else { return false };
    let told = told(&record);
    // Where no marker is on the record, an unmarked link cannot be told from one that carries none.
    let lone =
        record.marking == Marking::NotCarried && record.evidence.iter().any(|link| link.marking == Marking::Unmarked);
    if !lone {
        assert_eq!(read(told.to_string().as_bytes()).as_ref(), Ok(&record));
    }
    if let Ok(said) = serde_json::from_slice::<Value>(bytes) {
        assert_said(&told, &said);
    }
    true
}

fn listed(bytes: &[u8]) -> bool {
    let told = |ids: &Vec<String>| {
        assert!(ids.len() <= ENTRIES_MAX && ids.iter().all(|id| is_id(id)));
        json!({"items": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>()})
    };
    reads(bytes, wire::listed, told).is_some()
}

fn handoff(bytes: &[u8]) -> bool {
    let key = "payments-2026.11.3@RR-4711@3";
    let known = wire::handoff(bytes, key).is_ok();
    if let Ok(said) = serde_json::from_slice::<Value>(bytes) {
        assert!(!known || said["key"] == key);
    }
    assert!(!known || wire::handoff(bytes, "payments-2026.11.3@RR-4711@4").is_err(), "one key at most");
    known
}

fn problem(bytes: &[u8]) -> bool {
    match reply::problem::<()>(404, &DIALECT, bytes) {
        Came::Problem(status) => {
            assert_eq!(status, 404);
            assert!(bytes.trim_ascii_start().starts_with(b"{"));
            true
        }
        Came::Failure(failure) => {
            assert_eq!((failure.fate, failure.why.trouble), (Fate::Said(404, false), Trouble::NotUnderstood));
            let object = serde_json::from_slice::<Value>(bytes).is_ok_and(|said| said.is_object());
            let deep = bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > json::DEPTH_MAX;
            assert!(!object || deep);
            false
        }
        Came::Success(()) => panic!("a problem is no success"),
    }
}

/// What a header may say: its bytes as a `Retry-After`, as a media type, and the first two of them as a status.
fn header(bytes: &[u8]) -> bool {
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let wait = std::str::from_utf8(bytes).ok().and_then(|value| reply::retry_after(value, || now));
    assert!(wait.is_none_or(|wait| !wait.is_zero() && wait <= Duration::from_secs(3600)), "{wait:?}");
    let media = Media::of(Some(bytes));
    let bare = bytes.split(|byte| *byte == b';').next().unwrap().trim_ascii().to_ascii_lowercase();
    assert_eq!(media == Media::Json, bare == b"application/json");
    assert_eq!(media == Media::Problem, bare == b"application/problem+json");
    if let [high, low, ..] = bytes {
        let status = u16::from_be_bytes([*high, *low]) % 1000;
        let failure = reply::by_status(status, media, &DIALECT, wait);
        let read_on = matches!(status, 200..=299 | 400..=499) && !matches!(status, 401 | 403 | 408 | 423 | 425 | 429);
        assert_eq!(failure.is_none(), read_on, "{status}");
        let told = failure.and_then(|failure| failure.why.retry_after);
        assert_eq!(told, wait.filter(|_| matches!(status, 429 | 503)));
    }
    wait.is_some() || media != Media::Other
}

const UID: &str = "7f0c7a52-3d1e-4b8e-9a55-0d6ad5b5c0de";
const DIGEST: &str = "sha256:7c5e62e63a4685f4dfa3efeee5b65fc3eb882c2ab19574ebf7c163cf72ff6c6f";

/// What the kept bodies of `systems` agree with.
fn brief() -> Brief {
    let text = str::to_owned;
    let release = Release { id: text("payments-2026.11.3"), service: text("payments"), version: text("2026.11.3") };
    let accepted_event = AcceptedEvent { id: text("evt-4711-3"), source: None, time: None };
    let review = Review { id: text("RR-4711"), version: text("3"), accepted_event };
    let milestone = Milestone { id: text("12"), title: text("2026.11") };
    let evidence = Evidence { bundle: text("payments/2026.11.3/rv3"), digest: text(DIGEST) };
    let object = |name: &str| ObjectVersion { name: text(name), uid: text(name), generation: 1 };
    Brief {
        accepted: Accepted::new(release, review, milestone, evidence, Records::default(), None).unwrap(),
        rules: Rules {
            accepted_states: vec![text("Accepted")],
            required_artifacts: vec![text("rollback-notes"), text("sign-off")],
            open_items: OpenItems::Halt,
            approved_state: text("Approved"),
            approvable_states: vec![text("InReview")],
            recheck: Recheck::EveryWrite,
            missing_grace: Duration::ZERO,
        },
        uid: text(UID),
        plan: false,
        playbook: PlaybookVersion { name: text("p"), uid: text("p"), generation: 1, digest: text(DIGEST) },
        connections: System::ALL.map(|system| object(system.as_str())),
        intake: IntakeTerms {
            delivery: Delivery::IdempotencyKey,
            can_look_up: false,
            window: None,
            settling: Duration::from_secs(25),
        },
        memory: Memory::default(),
    }
}

/// Whether the bodies say what was accepted, read by nothing that the operator reads with.
fn agree(bodies: &Value) -> bool {
    let [review, bundle, checklist, tracker, queue] =
        ["governance", "archive", "checklist", "tracker", "queue"].map(|system| &bodies[system]);
    let release = json!({"id": "payments-2026.11.3", "service": "payments", "version": "2026.11.3"});
    let same = |record: &Value, field: &str, expected: &Value| {
        expected.as_object().unwrap().iter().all(|(name, member)| record[field][name] == *member)
    };
    let milestone = json!({"id": "12", "title": "2026.11"});
    let of_it = |record: &Value| record["release"]["id"] == release["id"] && record["review"]["version"] == "3";
    let artifacts = bundle["artifacts"].as_array();
    let has = |kind: &str| {
        artifacts.is_some_and(|all| {
            all.iter().any(|one| one["kind"] == kind && one["digest"].as_str().is_some_and(|digest| !digest.is_empty()))
        })
    };
    let in_state = |record: &Value, words: [&str; 2]| words.iter().any(|word| record["state"] == *word);
    review["state"] == "Accepted"
        && review["version"] == "3"
        && review["id"] == "RR-4711"
        && same(review, "release", &release)
        && same(review, "milestone", &milestone)
        && same(review, "evidence", &json!({"bundle": "payments/2026.11.3/rv3", "digest": DIGEST}))
        && (review["acceptedEvent"].is_null() || review["acceptedEvent"]["id"] == "evt-4711-3")
        && bundle["bundle"] == "payments/2026.11.3/rv3"
        && bundle["digest"] == DIGEST
        && of_it(bundle)
        && has("rollback-notes")
        && has("sign-off")
        && bundle["url"]
            .as_str()
            .is_some_and(|url| url.to_lowercase().starts_with("https://") && !url.contains(['@', '?', '#']))
        && of_it(checklist)
        && in_state(checklist, ["Open", "Closed"])
        && checklist["items"].as_array().is_some_and(|items| items.iter().all(|item| item["done"] == true))
        && same(tracker, "release", &release)
        && same(tracker, "milestone", &milestone)
        && in_state(tracker, ["InReview", "Approved"])
        && of_it(queue)
        && in_state(queue, ["Pending", "Cleared"])
}

fn seen<R>(bytes: &[u8], read: impl Fn(&[u8]) -> Understood<R>) -> Observation<R> {
    match read(bytes) {
        Ok(record) => Observation::Found(record, Revision("\"1\"".to_owned())),
        Err(NotTheContract) => Observation::Unreachable(Trouble::NotUnderstood.into()),
    }
}

/// Five bodies as the systems sent them, through to what the core does: nothing is written unless all five say what was
/// accepted, and a halt fits into its status.
fn systems(bytes: &[u8]) -> bool {
    let Ok(bodies) = serde_json::from_slice::<BTreeMap<&str, &RawValue>>(bytes) else { return false };
    let body = |system: System| bodies.get(system.as_str()).map_or(&b""[..], |raw| raw.get().as_bytes());
    let (brief, now) = (brief(), "2026-11-22T12:00:00Z".parse().unwrap());
    let mut pass = Pass::begin(Ledger::default().checked().unwrap());
    let decision = loop {
        match pass.next(&brief, now) {
            Decision::Observe(systems, _) => {
                for system in systems {
                    let (body, epoch) = (body(system), pass.epoch());
                    pass.observed(
                        match system {
                            System::Governance => Sighting::Governance(seen(body, wire::review)),
                            System::Archive => Sighting::Archive(seen(body, |body| wire::bundle(body, false))),
                            System::Checklist => Sighting::Checklist(seen(body, wire::checklist)),
                            System::Tracker => Sighting::Tracker(seen(body, wire::release)),
                            System::Queue | System::Intake => Sighting::Queue(seen(body, wire::queue_entry)),
                        },
                        epoch,
                    );
                }
            }
            Decision::Persist => pass.persisted(),
            end => break end,
        }
    };
    match decision {
        Decision::Write(_) | Decision::Done | Decision::Planned(_) | Decision::Persist => {
            let said: Value = serde_json::from_slice(bytes).unwrap_or_default();
            assert!(said.is_null() || agree(&said), "{decision:?}");
            true
        }
        Decision::Halt(findings) => {
            for finding in &findings {
                let texts = [&finding.expected, &finding.observed];
                assert!(
                    texts.iter().all(|text| text.chars().count() <= VALUE_MAX && !text.chars().any(char::is_control))
                );
                assert!(finding.record.as_ref().is_some_and(|record| record.chars().count() <= BUNDLE_MAX));
                assert!(finding.field != "url" || !finding.observed.contains("secret"), "{finding:?}");
            }
            let (mut ledger, _) = pass.into_parts();
            halt::latch(&mut ledger, UID, findings, now);
            let bytes =
                serde_json::to_vec(&ledger.halt).unwrap().len() + serde_json::to_vec(&ledger.steps).unwrap().len();
            assert!(bytes < 12 * 1024, "{bytes} bytes of halt and steps");
            false
        }
        Decision::Wait(_) | Decision::Ask | Decision::Probe | Decision::Observe(..) => false,
    }
}

fuzz!(reviews, "review", 1500, review);
fuzz!(bundles, "bundle", 1500, bundle);
fuzz!(checklists, "checklist", 1500, checklist);
fuzz!(releases, "release", 1500, tracker);
fuzz!(queue_entries, "queue-entry", 1500, queue_entry);
fuzz!(lists, "listed", 1500, listed);
fuzz!(handoffs, "handoff", 1500, handoff);
fuzz!(problems, "problem", 1500, problem);
fuzz!(headers, "header", 1500, header);
fuzz!(all_five_systems, "systems", 1500, systems);
