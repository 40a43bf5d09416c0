//! Words, bounds and lists: what is closed, and what may stand in it.

use super::fixture::*;
use crate::accepted::{Accepted, Invalid, Records};
use crate::checks::elapsed;
use crate::ids::{Step, System, is_address, is_bundle, is_digest, is_id, is_title};
use crate::ledger::{Alignment, Ledger, Outcome, Retry, StepRecord, Verdict, printable};
use crate::link::is_fit;
use crate::reason::Reason;
use crate::snapshot::{MilestoneRef, Progress, Trouble, Unreachable};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) fn alignment() -> Alignment {
    Alignment {
        digest: digest("e"),
        verified_at: now(),
        decision: Verdict::Accepted,
        accepted_event: text("e1"),
        compared: Vec::new(),
    }
}

pub(super) fn retry(system: System) -> Retry {
    Retry { since: ago(30), waiting_for: vec![system], missing_since: BTreeMap::new() }
}

#[test]
fn names_are_what_statuses_say() {
    let systems = System::ALL.map(|system| system.to_string());
    assert_eq!(systems, ["governance", "archive", "checklist", "tracker", "queue", "intake"]);
    let steps = Step::ALL.map(|step| step.to_string());
    let names = ["CloseChecklist", "ApproveTracker", "AttachEvidence", "ClearQueueEntry", "NotifyCoordinator"];
    assert_eq!(steps, names);
    for (number, step) in Step::ALL.into_iter().enumerate() {
        assert_eq!((step.index(), step.as_str()), (number, names[number]));
        assert_eq!(serde_json::to_value(step).unwrap(), names[number]);
    }
    let written = Step::ALL.map(|step| step.system());
    assert_eq!(written, [System::Checklist, System::Tracker, System::Tracker, System::Queue, System::Intake]);
    for (outcome, name, settled) in [
        (Outcome::Pending, "Pending", false),
        (Outcome::Intended, "Intended", false),
        (Outcome::Changed, "Changed", true),
        (Outcome::AlreadyDone, "AlreadyDone", true),
        (Outcome::Unconfirmed, "Unconfirmed", true),
    ] {
        assert_eq!((outcome.as_str(), outcome.is_settled()), (name, settled));
    }
    let key = accepted_with(Records::default(), None).key().clone();
    assert_eq!((key.to_string().as_str(), key.as_str()), (KEY, KEY));
}

#[test]
fn every_reason_has_a_name_and_a_sentence_of_its_own() {
    let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let sentences: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.sentence()).collect();
    assert_eq!((names.len(), sentences.len()), (Reason::ALL.len(), Reason::ALL.len()));
    for reason in Reason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.to_string());
        assert!(reason.sentence().ends_with('.') && !reason.as_str().is_empty());
    }
    for (system, name) in
        System::ALL.into_iter().zip(["Governance", "Archive", "Checklist", "Tracker", "Queue", "Intake"])
    {
        assert_eq!(Reason::unavailable(system).as_str(), format!("{name}Unavailable"));
        assert_eq!(Reason::forbidden(system).as_str(), format!("{name}Forbidden"));
    }
}

#[test]
fn what_may_be_an_identifier() {
    assert!(is_bundle(&"x".repeat(512)) && !is_bundle(&"x".repeat(513)) && !is_bundle("") && !is_bundle("a@b"));
    assert!(is_bundle(&format!("{}/b", "x".repeat(300))), "a segment of a bundle may be longer than an identifier");
    assert!(is_digest(&digest("a")) && is_digest(&digest("0")) && is_digest(&digest("f")) && is_digest(&digest("9")));
    for bad in [digest("g"), digest("A"), digest("a")[..70].to_owned(), digest("a") + "a", "a".repeat(71), digest("`")]
    {
        assert!(!is_digest(&bad), "{bad}");
    }
    assert!(is_title("é") && is_title(&"é".repeat(256)) && !is_title(&"é".repeat(257)));
    assert!(!is_title("") && !is_title("a\u{7f}") && !is_title("a\u{85}"));
    assert!(is_address("#team@x") && is_address(&"x".repeat(128)) && !is_address(&"x".repeat(129)));
    for bad in ["", "https://a", "a b", "é", "x://y"] {
        assert!(!is_address(bad), "{bad}");
    }
    assert!(!is_id("a\u{7f}") && is_id("~") && is_id("!"));
}

#[test]
fn every_field_of_a_spec_has_its_rule() {
    let accept = |change: fn(&mut Accepted2)| {
        let base = accepted_with(named(), Some("team"));
        let mut all = Accepted2 {
            release: base.release().clone(),
            review: base.review().clone(),
            milestone: base.milestone().clone(),
            evidence: base.evidence().clone(),
            records: named(),
            coordinator: Some(text("team")),
        };
        change(&mut all);
        let Accepted2 { release, review, milestone, evidence, records, coordinator } = all;
        Accepted::new(release, review, milestone, evidence, records, coordinator)
    };
    let accepted = accept(|_| {}).unwrap();
    assert_eq!((accepted.coordinator(), accepted.key().as_str()), (Some("team"), KEY));
    let records = System::ALL.map(|system| accepted.record(system));
    assert_eq!(records, [Some("RR-1"), Some("b"), Some("CHK"), Some("REL"), Some("Q"), Some(KEY)]);
    let unnamed = accepted_with(Records::default(), None);
    assert_eq!((unnamed.coordinator(), unnamed.record(System::Tracker)), (None, None));
    let refused: [(&str, fn(&mut Accepted2)); 14] = [
        ("release.id", |a| a.release.id = text("a/b")),
        ("release.service", |a| a.release.service = text("")),
        ("release.version", |a| a.release.version = text("a@b")),
        ("review.id", |a| a.review.id = text("..")),
        ("review.version", |a| a.review.version = text("a b")),
        ("review.acceptedEvent.id", |a| a.review.accepted_event.id = text("é")),
        ("milestone.id", |a| a.milestone.id = text(".")),
        ("records.tracker", |a| a.records.tracker = Some(text("a/b"))),
        ("records.checklist", |a| a.records.checklist = Some(text("a/b"))),
        ("records.queueEntry", |a| a.records.queue_entry = Some(text("a/b"))),
        ("milestone.title", |a| a.milestone.title = text("a\n")),
        ("evidence.bundle", |a| a.evidence.bundle = text("a//b")),
        ("evidence.digest", |a| a.evidence.digest = text("sha256:0")),
        ("coordinator", |a| a.coordinator = Some(text("https://a"))),
    ];
    for (field, change) in refused {
        let Invalid { field: told, rule } = accept(change).unwrap_err();
        assert!(told == field && rule.starts_with("must be "), "{field}: {told} {rule}");
    }
}

struct Accepted2 {
    release: crate::accepted::Release,
    review: crate::accepted::Review,
    milestone: crate::accepted::Milestone,
    evidence: crate::accepted::Evidence,
    records: Records,
    coordinator: Option<String>,
}

#[test]
fn a_ledger_is_five_steps_in_order_on_records_that_are_identifiers() {
    let ledger = |steps: Vec<StepRecord>| Ledger { steps, ..Ledger::default() }.checked();
    let all = || Step::ALL.map(StepRecord::pending).to_vec();
    assert_eq!(ledger(Vec::new()).unwrap().steps, all());
    assert_eq!(ledger(all()).unwrap().settled(), 0);
    assert!(ledger(all()[..4].to_vec()).is_err() && ledger([all(), all()].concat()).is_err());
    let changed = |change: fn(&mut Vec<StepRecord>)| {
        let mut steps = all();
        change(&mut steps);
        ledger(steps).err().map(|invalid| invalid.field)
    };
    assert_eq!(changed(|steps| steps.swap(0, 1)), Some("status.steps"));
    assert_eq!(changed(|steps| steps[0].system = System::Queue), Some("status.steps"));
    assert_eq!(changed(|steps| steps[3].record = Some(text("a/b"))), Some("status.steps.record"));
    assert_eq!(changed(|steps| steps[3].record = Some(text("Q"))), None);
    assert_eq!(changed(|steps| steps[4].record = Some(text(KEY))), None, "the intake's is the closure key");
    let mut world = World::new().settled(3);
    assert_eq!(world.ledger.settled(), 3);
    let found = System::ALL.map(|system| world.ledger.found_record(system).map(str::to_owned));
    let named = |name: &str| Some(text(name));
    assert_eq!(found, [None, None, named("CHK"), named("REL"), None, None]);
    world.ledger.step_mut(Step::NotifyCoordinator).record = Some(text(KEY));
    assert_eq!(world.ledger.found_record(System::Intake), None);
}

#[test]
fn a_foreign_text_is_cut_and_made_printable() {
    assert_eq!(printable("abc", 3), "abc");
    assert_eq!(printable("abcd", 3), "abc");
    assert_eq!(printable("é\n\u{202e}\u{200b}x", 9), "é\u{fffd}\u{fffd}\u{fffd}x");
    for hidden in ['\0', '\u{7f}', '\u{ad}', '\u{61c}', '\u{200f}', '\u{2028}', '\u{2066}', '\u{feff}', '\u{e0041}'] {
        assert_eq!(printable(&hidden.to_string(), 1), "\u{fffd}", "{hidden:?}");
    }
    assert_eq!(printable("日本 ü😀", 9), "日本 ü😀");
}

#[test]
fn a_link_is_fit_up_to_its_last_byte() {
    let long = |length: usize| format!("https://a.example/{}", "x".repeat(length - 18));
    assert_eq!((long(512).len(), is_fit(&long(512), false)), (512, Ok(())));
    assert_eq!(is_fit(&long(513), false), Err("at most 512 printable ASCII characters"));
    assert_eq!(is_fit("https://a.example/é", false), Err("at most 512 printable ASCII characters"));
    assert_eq!(is_fit("a b", false), Err("at most 512 printable ASCII characters"));
    assert_eq!(is_fit("nowhere", false), Err("a URL"));
    assert_eq!(is_fit("http://a.example", false), Err("an https link"));
    assert_eq!(is_fit("ftp://a.example", true), Err("an https link"));
    let plain = Err("a link without user info, query or fragment");
    for link in [
        "https://u@a.example/",
        "https://:p@a.example/",
        "https://a.example/?q",
        "https://a.example/#f",
        "https://a.example/x@y",
        "https://@a.example/",
    ] {
        assert_eq!(is_fit(link, false), plain, "{link}");
    }
}

#[test]
fn small_things() {
    assert_eq!(elapsed(ago(5), now()), Duration::from_secs(5));
    assert_eq!(elapsed(now(), ago(5)), Duration::ZERO, "a clock that went backwards");
    assert!(MilestoneRef::none().is_none() && !MilestoneRef { id: text("1"), title: String::new() }.is_none());
    for (progress, word, done) in [
        (Progress::ToDo(text("Open")), "Open", false),
        (Progress::Done(text("Closed")), "Closed", true),
        (Progress::Other(text("Lost")), "Lost", false),
    ] {
        assert_eq!((progress.word(), progress.is_done()), (word, done));
    }
    assert_eq!(Unreachable::from(Trouble::Stale), Unreachable { trouble: Trouble::Stale, retry_after: None });
    let rules = crate::accepted::Recheck::default();
    assert_eq!((rules, Verdict::default()), (crate::accepted::Recheck::EveryWrite, Verdict::Accepted));
}
