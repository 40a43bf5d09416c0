//! Why a pass ends without an end, and what is remembered of it.

use super::fixture::*;
use super::play::*;
use crate::decide::Decision;
use crate::ids::{Step, System};
use crate::ledger::{Retry, StateAt};
use crate::snapshot::{Observation, Trouble, Unreachable};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

fn away<R>(trouble: Trouble, seconds: Option<u64>) -> Observation<R> {
    Observation::Unreachable(Unreachable { trouble, retry_after: seconds.map(Duration::from_secs) })
}

fn ends(world: World) -> (String, Option<Retry>) {
    let mut play = play(world);
    play.run();
    (play.log.pop().unwrap(), play.pass.ledger().retry.clone())
}

#[test]
fn each_system_s_silence_has_its_reason() {
    use Trouble::{Forbidden, HeldBack, NotUnderstood, Stale, TooManyRequests, Unauthorized, Unavailable};
    for trouble in [Unavailable, TooManyRequests, NotUnderstood, HeldBack, Stale, Forbidden, Unauthorized] {
        for (system, name) in
            System::AUTHORITIES.into_iter().zip(["Governance", "Archive", "Checklist", "Tracker", "Queue"])
        {
            let mut world = World::new();
            match system {
                System::Governance => world.governance = away(trouble, None),
                System::Archive => world.archive = away(trouble, None),
                System::Checklist => world.checklist = away(trouble, None),
                System::Tracker => world.tracker = away(trouble, None),
                System::Queue | System::Intake => world.queue = away(trouble, None),
            }
            let expected = match trouble {
                Unauthorized => format!("wait ConnectionNotReady for {system} unauthorized {system}"),
                Forbidden => format!("wait {name}Forbidden for {system}"),
                _ => format!("wait {name}Unavailable for {system}"),
            };
            let (end, retry) = ends(world);
            assert_eq!(end, expected, "{trouble:?}");
            assert_eq!(
                retry.unwrap(),
                Retry { since: now(), waiting_for: vec![system], missing_since: BTreeMap::new() }
            );
        }
    }
}

#[test]
fn of_several_the_first_gives_the_reason_and_the_longest_wait_counts() {
    let mut world = World::new();
    world.archive = away(Trouble::TooManyRequests, Some(3));
    world.tracker = away(Trouble::Unauthorized, Some(9));
    world.queue = away(Trouble::Unavailable, None);
    assert_eq!(ends(world).0, "wait ArchiveUnavailable for archive tracker queue 9s unauthorized tracker");
}

#[test]
fn a_record_that_is_missing_within_its_grace_is_waited_for() {
    let mut world = World::new();
    world.brief.rules.missing_grace = Duration::from_secs(60);
    (world.queue, world.checklist) = (Observation::Missing, Observation::Missing);
    let (end, retry) = ends(world.clone());
    assert_eq!(end, "wait RecordMissing for checklist queue");
    let missing = |names: &[(&str, Timestamp)]| names.iter().map(|(name, since)| (text(name), *since)).collect();
    let retry = retry.unwrap();
    assert_eq!(retry.missing_since, missing(&[("checklist", now()), ("queue", now())]));
    // Since when, is told from the first pass that missed it; what is there again is forgotten.
    world.ledger.retry = Some(Retry {
        since: ago(30),
        waiting_for: retry.waiting_for,
        missing_since: missing(&[("queue", ago(30)), ("tracker", ago(30))]),
    });
    let (_, again) = ends(world.clone());
    let again = again.unwrap();
    assert_eq!((again.since, again.missing_since), (ago(30), missing(&[("checklist", now()), ("queue", ago(30))])));
    // Something else is waited for from now on; what is missing stays missing since then.
    world.tracker = away(Trouble::Unavailable, None);
    let (end, more) = ends(world);
    assert_eq!(end, "wait TrackerUnavailable for checklist tracker queue");
    let more = more.unwrap();
    assert_eq!((more.since, more.missing_since), (now(), missing(&[("checklist", now()), ("queue", ago(30))])));
}

#[test]
fn a_wait_is_over_when_a_step_is_settled_or_everything_is() {
    let mut world = World::new();
    world.ledger.retry = Some(super::words::retry(System::Queue));
    world.show_done(Step::CloseChecklist, by(KEY, UID));
    world.queue = away(Trouble::Unavailable, None);
    let (_, retry) = ends(world);
    assert_eq!(retry.unwrap().since, now(), "the wait began anew, since a step was settled");
}

#[test]
fn a_stale_read_settles_nothing_and_writes_nothing() {
    let mut world = World::new().settled(2);
    world.show_done(Step::CloseChecklist, by(KEY, UID));
    world.ledger.step_mut(Step::ApproveTracker).before = Some(StateAt { state: text("x"), revision: text("\"4\"") });
    world.show_done(Step::AttachEvidence, by(KEY, UID));
    let mut play = play(world);
    let end = play.run();
    assert_eq!(play.log.last().unwrap(), "wait TrackerUnavailable for tracker");
    assert!(matches!(end, Decision::Wait(_)));
    assert!(!play.pass.ledger().step(Step::AttachEvidence).outcome.is_settled());
    assert_eq!(play.pass.into_parts().1.ineffective, Some((Step::ApproveTracker, 1)));
}

#[test]
fn the_third_stale_pass_is_a_write_without_effect() {
    let mut world = World::new().settled(1);
    world.ledger.step_mut(Step::CloseChecklist).before = Some(StateAt { state: text("x"), revision: text("\"3\"") });
    world.brief.memory.ineffective = Some((Step::CloseChecklist, 2));
    let (end, retry) = ends(world);
    let expected = "halt Write WriteIneffective checklist CHK state: the change made -> the record as it was before";
    assert_eq!((end.as_str(), retry), (expected, None));
}
