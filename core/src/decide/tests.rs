//! The announcement, case by case: what no connected product can show, since none of them forgets its keys.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test fails on what it does not expect")]

use super::*;
use crate::accepted::{AcceptedEvent, Evidence, Milestone, OpenItems, Records, Release, Review};
use crate::ledger::{Decision as Resolved, NameRef, PastHalt};
use crate::snapshot::{
    Artifact, BundleRecord, ChecklistRecord, EvidenceLink, Marker, MilestoneRef, Observation, Progress, QueueRecord,
    ReleaseRef, ReviewRecord, Revision, TrackerRecord,
};

const KEY: &str = "r1@RR-1@3";
const OWN: &str = "own-uid";
const URL: &str = "https://archive.example.com/b";
const MINUTE: Duration = Duration::from_secs(60);

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn object(name: &str) -> ObjectVersion {
    ObjectVersion { name: name.to_owned(), uid: format!("{name}-uid"), generation: 1 }
}

/// A brief with an intake that promises this.
fn brief(delivery: Delivery, can_look_up: bool, window: Option<Duration>) -> Brief {
    let text = str::to_owned;
    let release = Release { id: text("r1"), service: text("s"), version: text("1.0") };
    let accepted_event = AcceptedEvent { id: text("e1"), source: None, time: None };
    let review = Review { id: text("RR-1"), version: text("3"), accepted_event };
    let milestone = Milestone { id: text("12"), title: text("2026.11") };
    let evidence = Evidence { bundle: text("b"), digest: digest() };
    Brief {
        accepted: Accepted::new(release, review, milestone, evidence, Records::default(), None).unwrap(),
        rules: Rules {
            accepted_states: vec![text("Accepted")],
            required_artifacts: vec![text("sign-off")],
            open_items: OpenItems::Halt,
            approved_state: text("Approved"),
            approvable_states: vec![text("InReview")],
            recheck: Recheck::EveryWrite,
            missing_grace: Duration::ZERO,
        },
        uid: text(OWN),
        plan: false,
        playbook: PlaybookVersion { name: text("p"), uid: text("p-uid"), generation: 1, digest: digest() },
        connections: System::ALL.map(|system| object(system.as_str())),
        intake: IntakeTerms { delivery, can_look_up, window, settling: Duration::from_secs(25) },
        memory: Memory::default(),
    }
}

/// Five records that agree and on which everything is done, by the closure with this uid.
fn sightings(uid: &str) -> [Sighting; 5] {
    let text = str::to_owned;
    let by = || Marking::By(Marker { key: text(KEY), uid: text(uid) });
    let release = || ReleaseRef { id: text("r1"), service: Some(text("s")), version: Some(text("1.0")) };
    let milestone = || MilestoneRef { id: text("12"), title: text("2026.11") };
    let at = |number: u8| Revision(format!("\"{number}\""));
    let link =
        EvidenceLink { bundle: text("b"), digest: digest(), url: text(URL), marking: by(), as_read: String::new() };
    let review = ReviewRecord {
        id: text("RR-1"),
        version: text("3"),
        state: text("Accepted"),
        release: release(),
        milestone: Some(milestone()),
        evidence: Some((text("b"), digest())),
        accepted_event: Some(text("e1")),
    };
    let bundle = BundleRecord {
        bundle: text("b"),
        digest: digest(),
        release_id: text("r1"),
        review_version: text("3"),
        artifacts: vec![Artifact { kind: text("sign-off"), digest: Some(digest()) }],
        url: text(URL),
        plaintext_allowed: false,
    };
    let checklist = ChecklistRecord {
        id: text("CHK"),
        release_id: text("r1"),
        review_version: text("3"),
        state: Progress::Done(text("Closed")),
        open_items: Vec::new(),
        marking: by(),
    };
    let tracker = TrackerRecord {
        id: text("REL"),
        release: release(),
        state: text("Approved"),
        milestone: milestone(),
        evidence: vec![link],
        marking: by(),
    };
    let queue = QueueRecord {
        id: text("Q"),
        release_id: text("r1"),
        review_version: text("3"),
        state: Progress::Done(text("Cleared")),
        marking: by(),
    };
    [
        Sighting::Governance(Observation::Found(review, at(1))),
        Sighting::Archive(Observation::Found(bundle, at(2))),
        Sighting::Checklist(Observation::Found(checklist, at(3))),
        Sighting::Tracker(Observation::Found(tracker, at(4))),
        Sighting::Queue(Observation::Found(queue, at(5))),
    ]
}

fn ledger() -> Ledger {
    Ledger::default().checked().unwrap()
}

/// A ledger with an intent that was stored this long ago, by an earlier pass.
fn intended(ago: Duration) -> Ledger {
    let mut ledger = ledger();
    let step = ledger.step_mut(Step::NotifyCoordinator);
    step.outcome = Outcome::Intended;
    step.connection = Some(object("intake"));
    step.at = Some(now() - ago);
    ledger
}

/// Plays a pass up to its first word on the announcement: everything is seen and done; the intake, asked, says this.
fn announce(brief: &Brief, ledger: Ledger, uid: &str, has_it: bool) -> (Pass, Decision) {
    let mut pass = Pass::begin(ledger);
    for _ in 0..60 {
        match pass.next(brief, now()) {
            Decision::Observe(..) => {
                let epoch = pass.epoch();
                sightings(uid).into_iter().for_each(|sighting| pass.observed(sighting, epoch));
            }
            Decision::Ask => pass.asked(Ok(has_it)),
            Decision::Persist => pass.persisted(),
            end => return (pass, end),
        }
    }
    panic!("it does not end")
}

fn is_announcement(decision: &Decision) -> bool {
    matches!(decision, Decision::Write(order) if order.step() == Step::NotifyCoordinator)
}

fn is_uncertain(decision: &Decision) -> bool {
    matches!(decision, Decision::Halt(findings) if findings.iter().all(|found| found.reason == Reason::NotificationUncertain))
}

#[test]
fn a_key_is_relied_on_for_half_of_its_window_and_no_longer() {
    let window = Some(60 * MINUTE);
    let (asks, cannot) =
        (brief(Delivery::IdempotencyKey, true, window), brief(Delivery::IdempotencyKey, false, window));
    for brief in [&asks, &cannot] {
        assert!(is_announcement(&announce(brief, intended(29 * MINUTE), OWN, false).1));
    }
    assert!(is_uncertain(&announce(&cannot, intended(31 * MINUTE), OWN, false).1));
    let (_, waits) = announce(&asks, intended(31 * MINUTE), OWN, false);
    assert!(
        matches!(waits, Decision::Wait(wait) if wait.reason == Reason::NotificationSettling),
        "it may be under way"
    );
    let mut settled = asks.clone();
    settled.memory.intent_seen_for = Duration::from_secs(25);
    assert!(is_announcement(&announce(&settled, intended(31 * MINUTE), OWN, false).1));
}

#[test]
fn where_keys_expire_another_object_of_the_closure_makes_them_worthless() {
    let window = Some(60 * MINUTE);
    assert!(is_uncertain(&announce(&brief(Delivery::IdempotencyKey, false, window), ledger(), "another", false).1));
    let mut asks = brief(Delivery::IdempotencyKey, true, window);
    let (waited, waits) = announce(&asks, ledger(), "another", false);
    assert!(matches!(waits, Decision::Wait(wait) if wait.reason == Reason::NotificationSettling));
    assert_eq!(waited.ledger().step(Step::NotifyCoordinator).outcome, Outcome::Pending, "and nothing is stored for it");
    asks.memory = waited.into_parts().1;
    assert!(asks.memory.settling);
    asks.memory.intent_seen_for = asks.intake.settling;
    assert!(is_announcement(&announce(&asks, ledger(), "another", false).1));
    let (pass, end) = announce(&brief(Delivery::IdempotencyKey, true, window), ledger(), "another", true);
    assert_eq!((end, pass.ledger().step(Step::NotifyCoordinator).outcome), (Decision::Done, Outcome::AlreadyDone));
    assert!(is_announcement(&announce(&brief(Delivery::IdempotencyKey, false, None), ledger(), "another", false).1));
}

#[test]
fn an_intake_that_can_be_asked_nothing_is_told_once() {
    let brief = brief(Delivery::None, false, None);
    assert!(is_announcement(&announce(&brief, ledger(), OWN, false).1));
    assert!(is_uncertain(&announce(&brief, intended(MINUTE), OWN, false).1));
    assert!(is_uncertain(&announce(&brief, ledger(), "another", false).1));
    let mut permitted = ledger();
    permitted.episode = 1;
    permitted.halts.push(PastHalt {
        id: crate::halt::id(OWN, 0),
        cause: Reason::NotificationUncertain,
        at: now(),
        packet_ref: NameRef { name: "h-1".to_owned() },
        decision: Resolved::Resume,
        handoff: Some(Handoff::NotDelivered),
        resolved_by: None,
        resolved_at: now(),
        superseded: None,
    });
    assert!(is_announcement(&announce(&brief, permitted.clone(), "another", false).1));
    let mut aside = permitted.clone();
    aside.stand_aside();
    assert!(is_uncertain(&announce(&brief, aside.clone(), "another", false).1), "another had its turn since");
    // Where every mark is its own, too: who announced left none.
    assert!(is_uncertain(&announce(&brief, aside, OWN, false).1));
    permitted.halts[0].id = crate::halt::id("another", 0);
    assert!(is_uncertain(&announce(&brief, permitted, "another", false).1), "what was said to another object");
}

#[test]
fn an_intent_for_another_intake_says_nothing_of_this_one() {
    let mut elsewhere = intended(MINUTE);
    elsewhere.step_mut(Step::NotifyCoordinator).connection = Some(object("former-intake"));
    assert!(is_uncertain(&announce(&brief(Delivery::IdempotencyKey, true, None), elsewhere, OWN, true).1));
}

#[test]
fn an_intent_of_which_nothing_went_out_is_taken_back_and_the_next_pass_looks_first() {
    let mut brief = brief(Delivery::IdempotencyKey, true, None);
    let (mut pass, order) = announce(&brief, ledger(), OWN, false);
    assert!(is_announcement(&order));
    pass.wrote(&brief, Wrote::NotApplied(Trouble::Unavailable.into()), now());
    assert!(!pass.may_have_announced(), "it is known that nothing went out");
    assert!(matches!(pass.next(&brief, now()), Decision::Wait(wait) if wait.reason == Reason::IntakeUnavailable));
    let (ledger, memory) = pass.into_parts();
    assert_eq!(ledger.step(Step::NotifyCoordinator).outcome, Outcome::Pending);
    brief.memory = memory;
    let (mut pass, probe) = announce(&brief, ledger, OWN, false);
    assert_eq!(probe, Decision::Probe);
    pass.probed(Err(Trouble::Unavailable.into()));
    assert!(matches!(pass.next(&brief, now()), Decision::Wait(_)));
    assert_eq!(pass.ledger().step(Step::NotifyCoordinator).outcome, Outcome::Pending);
}

#[test]
fn an_announcement_of_unknown_fate_keeps_its_intent() {
    let brief = brief(Delivery::None, false, None);
    let (mut pass, _) = announce(&brief, ledger(), OWN, false);
    pass.wrote(&brief, Wrote::Unknown(Trouble::Unavailable.into()), now());
    assert!(pass.may_have_announced(), "so that the settling time counts anew");
    assert!(matches!(pass.next(&brief, now()), Decision::Wait(_)));
    assert_eq!(pass.ledger().step(Step::NotifyCoordinator).outcome, Outcome::Intended);
}

#[test]
fn a_stale_read_waits_and_the_third_in_a_row_is_a_write_without_effect() {
    let mut brief = brief(Delivery::IdempotencyKey, true, None);
    let mut settled = ledger();
    let step = settled.step_mut(Step::CloseChecklist);
    (step.outcome, step.record) = (Outcome::Changed, Some("CHK".to_owned()));
    step.before = Some(StateAt { state: "Open".to_owned(), revision: "\"3\"".to_owned() });
    for pass in 1..=3 {
        let (ended, decision) = announce(&brief, settled.clone(), OWN, false);
        brief.memory = ended.into_parts().1;
        match decision {
            Decision::Wait(wait) => assert_eq!((wait.reason, pass < 3), (Reason::ChecklistUnavailable, true)),
            Decision::Halt(findings) => assert_eq!((findings[0].reason, pass), (Reason::WriteIneffective, 3)),
            other => panic!("{other:?}"),
        }
    }
}
