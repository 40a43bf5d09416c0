//! A pass, decision by decision: what is looked at before which write, and what a reply leads to.

use super::fixture::*;
use super::play::*;
use crate::accepted::Recheck;
use crate::decide::{Decision, Pass, Wrote};
use crate::ids::{Step, System};
use crate::ledger::{Ledger, Outcome, PlannedAction, StateAt};
use crate::snapshot::{Marking, Observation, Progress, Trouble, Unreachable};
use std::time::Duration;

const ALL: &str = "look governance archive checklist tracker queue";

fn outcomes(ledger: &Ledger) -> [Outcome; 5] {
    Step::ALL.map(|step| ledger.step(step).outcome)
}

#[test]
fn a_clean_closure_looks_again_before_every_write() {
    let mut play = play(World::new());
    assert_eq!(play.pass.epoch(), 0);
    assert!(!play.pass.has_written());
    assert_eq!(play.run(), Decision::Done);
    assert_eq!(
        play.log,
        [
            ALL,
            "write CloseChecklist CHK \"3\"",
            "look governance before ApproveTracker",
            "write ApproveTracker REL \"4\"",
            "look governance before AttachEvidence",
            "write AttachEvidence REL \"41\"",
            "look governance archive before ClearQueueEntry",
            "write ClearQueueEntry Q \"5\"",
            "persist",
            "look governance before NotifyCoordinator",
            "write NotifyCoordinator r1@RR-1@3 -",
            "done",
        ]
    );
    assert_eq!(outcomes(play.pass.ledger()), [Outcome::Changed; 5]);
    assert_eq!(play.pass.epoch(), 6);
    assert!(play.pass.has_written());
    assert_eq!(play.pass.snapshot().record_id(System::Queue), Some("Q"));
    let ledger = play.pass.ledger();
    let at = |state: &str, revision: &str| Some(StateAt { state: text(state), revision: text(revision) });
    for (step, record, before, after, reference) in [
        (Step::CloseChecklist, "CHK", at("Open", "\"3\""), at("Closed", "\"31\""), None),
        (Step::ApproveTracker, "REL", at("InReview", "\"4\""), at("Approved", "\"41\""), None),
        (Step::AttachEvidence, "REL", at("no link to this bundle", "\"41\""), at("attached", "\"411\""), Some(URL)),
        (Step::ClearQueueEntry, "Q", at("Pending", "\"5\""), at("Cleared", "\"51\""), None),
        (Step::NotifyCoordinator, KEY, None, None, Some(KEY)),
    ] {
        let settled = ledger.step(step);
        assert_eq!((settled.record.as_deref(), settled.reference.as_deref()), (Some(record), reference), "{step}");
        assert_eq!((&settled.before, &settled.after), (&before, &after), "{step}");
        assert_eq!((settled.connection.clone(), settled.at), (Some(object(step.system().as_str())), Some(now())));
    }
    assert_eq!(ledger.step(Step::NotifyCoordinator).links, play.announced[0].links);
    assert_eq!((play.announced[0].links[0].rel.as_str(), play.announced[0].links[0].url.as_str()), ("evidence", URL));
    let (brief, mut pass) = (play.world.brief, play.pass);
    pass.conclude(&brief);
    let ledger = pass.into_parts().0;
    assert_eq!(crate::trace::verify(&brief.accepted, UID, &ledger), Ok(ledger.trace.unwrap().digest));
}

#[test]
fn with_close_and_clear_the_source_is_read_at_the_ends() {
    let mut world = World::new();
    world.brief.rules.recheck = Recheck::CloseAndClear;
    let mut play = play(world);
    assert_eq!(play.run(), Decision::Done);
    assert_eq!(
        play.log,
        [
            ALL,
            "write CloseChecklist CHK \"3\"",
            "write ApproveTracker REL \"4\"",
            "write AttachEvidence REL \"41\"",
            "look governance archive before ClearQueueEntry",
            "write ClearQueueEntry Q \"5\"",
            "persist",
            "look governance before NotifyCoordinator",
            "write NotifyCoordinator r1@RR-1@3 -",
            "done",
        ]
    );
}

/// Whatever is done already is not done again, and what stands on a record says by whom it was.
#[test]
fn a_pass_goes_on_where_the_records_stand() {
    for steps in 0..=4 {
        let mut play = play(World::new().done_by_us(steps));
        assert_eq!(play.run(), Decision::Done);
        let writes: Vec<&String> = play.log.iter().filter(|line| line.starts_with("write")).collect();
        assert_eq!(writes.len(), 5 - steps, "{writes:?}");
        assert!(writes[0].contains(Step::ALL[steps].as_str()));
        assert_eq!(outcomes(play.pass.ledger()), [Outcome::Changed; 5]);
        for step in &Step::ALL[..steps] {
            let settled = play.pass.ledger().step(*step);
            assert!(settled.before.is_none() && settled.after.is_some(), "what was there before, nobody saw");
        }
    }
    for (marking, outcome) in [
        (Marking::Unmarked, Outcome::AlreadyDone),
        (by(KEY, "another"), Outcome::AlreadyDone),
        (Marking::NotCarried, Outcome::Unconfirmed),
    ] {
        for step in &Step::ALL[..4] {
            let mut world = World::new();
            if *step == Step::AttachEvidence && marking == Marking::NotCarried {
                world.track().marking = Marking::NotCarried;
            }
            world.show_done(*step, marking.clone());
            let mut play = play(world);
            play.step();
            let _ = play.pass.next(&play.world.brief, now());
            assert_eq!(play.pass.ledger().step(*step).outcome, outcome, "{step} {marking:?}");
        }
    }
}

#[test]
fn a_finding_halts_even_while_something_else_is_away() {
    let mut world = World::new();
    world.track().milestone.title = text("renamed");
    world.queue = Observation::Unreachable(Trouble::Unavailable.into());
    let mut play = play(world);
    play.run();
    let halt = "halt C7 MilestoneRenamed tracker REL milestone.title: 2026.11 -> renamed";
    assert_eq!(play.log, [ALL, halt]);
    assert_eq!(play.pass.ledger().retry, None);
}

/// What is proven to be this closure's own is settled whatever disagrees; what was only found done is not, on a system
/// of which a check says otherwise.
#[test]
fn found_steps_of_a_system_that_disagrees_are_not_settled() {
    let settled = |marking: Marking, disagree: fn(&mut World)| {
        let mut world = World::new();
        world.show_done(Step::CloseChecklist, marking);
        disagree(&mut world);
        let mut play = play(world);
        assert!(matches!(play.run(), Decision::Halt(_)));
        play.pass.ledger().step(Step::CloseChecklist).outcome
    };
    let (here, elsewhere): (fn(&mut World), fn(&mut World)) =
        (|world| world.list().release_id = text("r2"), |world| world.entry().release_id = text("r2"));
    assert_eq!(settled(by(KEY, UID), here), Outcome::Changed);
    assert_eq!(settled(Marking::Unmarked, here), Outcome::Pending);
    assert_eq!(settled(Marking::Unmarked, elsewhere), Outcome::AlreadyDone);
}

#[test]
fn a_record_is_remembered_once_found_unless_it_is_not_the_one_named() {
    let mut found = play(World::new());
    found.step();
    let _ = found.pass.next(&found.world.brief, now());
    let records = Step::ALL.map(|step| found.pass.ledger().step(step).record.clone());
    assert_eq!(records.each_ref().map(Option::as_deref), [Some("CHK"), Some("REL"), Some("REL"), Some("Q"), None]);
    let mut world = World::new();
    world.brief.accepted = accepted_with(named(), None);
    world.list().id = text("CHK-2");
    let mut other = play(world);
    assert!(matches!(other.run(), Decision::Halt(_)));
    assert_eq!(other.pass.ledger().step(Step::CloseChecklist).record, None);
    assert_eq!(other.pass.ledger().step(Step::ClearQueueEntry).record.as_deref(), Some("Q"));
}

#[test]
fn a_reply_that_shows_no_change_waits_and_the_third_pass_halts() {
    let mut world = World::new();
    for number in 1..=3 {
        let mut play = play(world.clone());
        play.replies.push_back(Wrote::Answered(Box::new(world.sighting(System::Checklist))));
        play.run();
        let last = play.log.last().unwrap().clone();
        let (ledger, memory) = play.pass.into_parts();
        match number {
            1 | 2 => {
                assert_eq!(last, "wait WriteIneffective for checklist");
                assert_eq!(ledger.retry.unwrap().waiting_for, [System::Checklist]);
                assert_eq!(memory.ineffective, Some((Step::CloseChecklist, number)));
            }
            _ => assert_eq!(last, "halt Write WriteIneffective checklist CHK state: the change made -> unchanged"),
        }
        world.brief.memory = memory;
    }
    // Another step's count is another count.
    world.brief.memory.ineffective = Some((Step::ClearQueueEntry, 2));
    let mut play = play(world.clone());
    play.replies.push_back(Wrote::Answered(Box::new(world.sighting(System::Checklist))));
    assert!(matches!(play.run(), Decision::Wait(_)));
}

#[test]
fn a_failed_precondition_looks_again_and_the_third_waits() {
    let mut play = play(World::new());
    play.replies.extend([Wrote::LookAgain, Wrote::LookAgain, Wrote::LookAgain]);
    play.run();
    let again = "look governance archive tracker before CloseChecklist";
    assert_eq!(
        play.log,
        [
            ALL,
            "write CloseChecklist CHK \"3\"",
            "look checklist",
            again,
            "write CloseChecklist CHK \"3\"",
            "look checklist",
            again,
            "write CloseChecklist CHK \"3\"",
            "wait RecordContended for checklist",
        ]
    );
    assert_eq!(play.pass.ledger().retry.as_ref().unwrap().waiting_for, [System::Checklist]);
    let mut twice = super::play::play(World::new());
    twice.replies.extend([Wrote::LookAgain, Wrote::LookAgain]);
    assert_eq!(twice.run(), Decision::Done);
}

#[test]
fn what_a_reply_ends_a_pass_with() {
    let away = Unreachable { trouble: Trouble::TooManyRequests, retry_after: Some(Duration::from_secs(7)) };
    for (wrote, expected) in [
        (Wrote::Refused, "halt Write WriteRejected checklist CHK state: the change made -> refused"),
        (
            Wrote::OtherHandoff,
            "halt C13 ConflictingClosure checklist CHK state: this closure's handoff -> another handoff under this key",
        ),
        (Wrote::NotApplied(away), "wait ChecklistUnavailable for checklist 7s"),
        (Wrote::Unknown(Trouble::Unavailable.into()), "wait ChecklistUnavailable for checklist"),
        (Wrote::NotApplied(Trouble::Forbidden.into()), "wait ChecklistForbidden for checklist"),
        (
            Wrote::NotApplied(Trouble::Unauthorized.into()),
            "wait ConnectionNotReady for checklist unauthorized checklist",
        ),
    ] {
        let mut play = play(World::new());
        play.replies.push_back(wrote);
        play.run();
        assert_eq!(play.log.last().unwrap(), expected);
        assert_eq!(play.pass.epoch(), 1);
        assert!(play.pass.has_written());
    }
    // Of what was never ordered there is nothing to take in.
    let mut pass = Pass::begin(World::new().ledger);
    pass.wrote(&brief(), Wrote::Refused, now());
    assert_eq!(pass.epoch(), 0);
    assert!(matches!(pass.next(&brief(), now()), Decision::Observe(..)));
}

#[test]
fn a_write_that_found_no_room_in_time_waits() {
    let mut play = play(World::new());
    play.step();
    play.pass.held_back(Step::ClearQueueEntry, Trouble::HeldBack.into());
    play.run();
    assert_eq!(play.log, [ALL, "wait QueueUnavailable for queue"]);
}

/// The field that a step's own finding is about.
#[test]
fn a_refusal_names_the_field_that_was_to_change() {
    for (steps, expected) in [
        (0, "checklist CHK state"),
        (1, "tracker REL state"),
        (2, "tracker REL evidence"),
        (3, "queue Q state"),
        (4, "intake r1@RR-1@3 key"),
    ] {
        let mut play = play(World::new().done_by_us(steps));
        play.replies.push_back(Wrote::Refused);
        play.run();
        let halt = format!("halt Write WriteRejected {expected}: the change made -> refused");
        assert_eq!(play.log.last().unwrap(), &halt);
    }
}

#[test]
fn a_look_in_the_middle_that_disagrees_ends_it() {
    let mut play = play(World::new());
    while !play.log.iter().any(|line| line.starts_with("write ApproveTracker")) {
        assert_eq!(play.step(), None, "it ends too soon");
    }
    play.world.review().state = text("Reopened");
    play.run();
    let last: Vec<&str> = play.log.iter().skip(4).map(String::as_str).collect();
    let halt = "halt C1 SourceNotAccepted governance RR-1 state: Accepted or Signed -> Reopened";
    assert_eq!(last, ["look governance before AttachEvidence", halt]);
    assert_eq!(outcomes(play.pass.ledger())[..3], [Outcome::Changed, Outcome::Changed, Outcome::Pending]);
}

#[test]
fn a_finished_ledger_asks_nothing() {
    let mut world = World::new().done_by_us(4).settled(5);
    world.ledger.retry = Some(super::words::retry(System::Queue));
    let mut play = play(world);
    assert_eq!(play.run(), Decision::Done);
    assert_eq!((play.log.len(), &play.pass.ledger().retry), (1, &None));
}

#[test]
fn a_plan_looks_and_says_what_would_be_done() {
    let mut world = World::new().done_by_us(1);
    world.brief.plan = true;
    world.ledger.step_mut(Step::NotifyCoordinator).outcome = Outcome::Intended;
    let mut planned = play(world.clone());
    planned.run();
    assert_eq!(planned.log, [ALL, "planned "]);
    let plan: Vec<String> = planned
        .pass
        .ledger()
        .plan
        .iter()
        .map(|line| {
            let doing = if line.action == PlannedAction::Skip { "skip" } else { "write" };
            format!("{} {doing} {} {}: {}", line.step, line.system, line.record.as_deref().unwrap_or("-"), line.change)
        })
        .collect();
    assert_eq!(
        plan,
        [
            "CloseChecklist skip checklist CHK: none: Closed already".to_owned(),
            "ApproveTracker write tracker REL: state: InReview -> Approved".to_owned(),
            format!("AttachEvidence write tracker REL: attach b with {}", digest("a")),
            "ClearQueueEntry write queue Q: state: Pending -> Cleared".to_owned(),
            "NotifyCoordinator write intake r1@RR-1@3: announce r1@RR-1@3".to_owned(),
        ]
    );
    // With findings it is a plan that would halt.
    world.entry().state = Progress::Other(text("Lost"));
    let mut halting = play(world.clone());
    halting.run();
    let finding = "planned C12 QueueEntryStateUnexpected queue Q state: Pending or Cleared -> Lost";
    assert_eq!(halting.log.last().unwrap(), finding);
    assert_eq!(halting.pass.ledger().plan.len(), 5);
    // Where nothing was seen, the plan says so.
    world.queue = Observation::Ambiguous(2);
    let mut blind = play(world);
    blind.run();
    assert_eq!(blind.pass.ledger().plan[3].change, "state: not seen -> Cleared");
    let mut concluded = Pass::begin(blind.pass.ledger().clone());
    concluded.conclude(&brief());
    assert!(concluded.ledger().plan.is_empty() && concluded.ledger().trace.is_some());
}
