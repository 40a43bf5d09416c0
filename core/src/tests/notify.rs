//! The announcement, beyond what its own stories tell: what is asked, what is remembered, what is said.

use super::fixture::*;
use super::play::*;
use crate::decide::{Decision, Delivery, Wrote};
use crate::ids::Step;
use crate::ledger::{Handoff, NameRef, Outcome, PastHalt};
use crate::reason::Reason;
use crate::snapshot::{Marking, Observation, Trouble};
use std::time::Duration;

const LOOKS: &str = "look governance archive checklist tracker queue";
const FRESH: &str = "look governance before NotifyCoordinator";
const ANNOUNCE: &str = "write NotifyCoordinator r1@RR-1@3 -";
const UNCERTAIN: &str = "halt Notification NotificationUncertain intake r1@RR-1@3 key: known whether it was announced -> cannot be found out";

/// Everything is done but the announcement.
fn world(delivery: Delivery, can_look_up: bool) -> World {
    let mut world = World::new().done_by_us(4);
    (world.brief.intake.delivery, world.brief.intake.can_look_up) = (delivery, can_look_up);
    world
}

/// An earlier pass stored the intent, this long ago.
fn intended(mut world: World, seconds: u64) -> World {
    let step = world.ledger.step_mut(Step::NotifyCoordinator);
    (step.outcome, step.at) = (Outcome::Intended, Some(ago(seconds)));
    step.connection = Some(object("intake"));
    world
}

fn log(world: World, change: impl FnOnce(&mut Play)) -> (Vec<String>, Play) {
    let mut play = play(world);
    change(&mut play);
    play.run();
    (play.log.clone(), play)
}

#[test]
fn an_intent_of_an_earlier_pass_is_asked_about_first_where_that_is_possible() {
    let outcome = |play: &Play| play.pass.ledger().step(Step::NotifyCoordinator).outcome;
    let (lines, play) = log(intended(world(Delivery::IdempotencyKey, true), 5), |play| play.answer = Ok(true));
    assert_eq!(lines[..2], ["ask", LOOKS]);
    assert_eq!((lines.last().unwrap().as_str(), outcome(&play)), ("done", Outcome::Unconfirmed));
    assert_eq!(play.pass.ledger().step(Step::NotifyCoordinator).record.as_deref(), Some(KEY));
    assert_eq!(play.pass.ledger().step(Step::NotifyCoordinator).at, Some(now()));
    let (lines, play) = log(intended(world(Delivery::IdempotencyKey, true), 5), |_| {});
    assert_eq!(lines, ["ask", LOOKS, ANNOUNCE, "done"], "the key makes a repetition harmless");
    assert_eq!(outcome(&play), Outcome::Changed);
    let (lines, _) = log(intended(world(Delivery::IdempotencyKey, false), 5), |_| {});
    assert_eq!(lines, [LOOKS, ANNOUNCE, "done"], "nobody to ask");
    let (lines, play) = log(intended(world(Delivery::IdempotencyKey, false), 5), |play| {
        play.replies.push_back(Wrote::Announced(false));
    });
    assert_eq!((lines.last().unwrap().as_str(), outcome(&play)), ("done", Outcome::Unconfirmed), "by which pass?");
    let (_, play) = log(world(Delivery::IdempotencyKey, false), |play| play.replies.push_back(Wrote::Announced(false)));
    assert_eq!(outcome(&play), Outcome::AlreadyDone, "this pass stored the intent, and another announced before");
}

#[test]
fn an_intake_that_only_answers_questions_is_asked_before_it_is_told() {
    let (lines, play) = log(world(Delivery::Lookup, true), |_| {});
    assert_eq!(lines, [LOOKS, "persist", "ask", FRESH, ANNOUNCE, "done"]);
    assert_eq!(play.announced.len(), 1);
    let (lines, play) = log(world(Delivery::Lookup, true), |play| play.answer = Ok(true));
    assert_eq!(lines, [LOOKS, "persist", "ask", "done"]);
    assert_eq!(play.pass.ledger().step(Step::NotifyCoordinator).outcome, Outcome::AlreadyDone);
    let silent = |play: &mut Play| play.answer = Err(Trouble::Forbidden.into());
    let (lines, play) = log(world(Delivery::Lookup, true), silent);
    assert_eq!(lines, [LOOKS, "persist", "ask", "wait IntakeForbidden for intake"]);
    assert_eq!(play.pass.ledger().step(Step::NotifyCoordinator).outcome, Outcome::Pending, "the intent is taken back");
    let (lines, play) = log(intended(world(Delivery::Lookup, true), 5), silent);
    assert_eq!(lines.last().unwrap(), "wait IntakeForbidden for intake");
    assert_eq!(play.pass.ledger().step(Step::NotifyCoordinator).outcome, Outcome::Intended, "it is another pass's");
}

#[test]
fn an_announcement_under_way_is_given_its_time_to_arrive() {
    let seen_for = |seconds: u64| {
        let mut world = intended(world(Delivery::Lookup, true), 100);
        world.brief.memory.intent_seen_for = Duration::from_secs(seconds);
        log(world, |_| {})
    };
    assert_eq!(seen_for(0).0.last().unwrap(), "wait NotificationSettling for intake 25s");
    assert_eq!(seen_for(24).0.last().unwrap(), "wait NotificationSettling for intake 1s");
    // The intent is renewed before anything goes out: of two processes that waited, one stores that.
    let (lines, play) = seen_for(25);
    assert_eq!(lines[lines.len() - 5..], ["persist", "ask", FRESH, ANNOUNCE, "done"]);
    assert_eq!(play.pass.ledger().step(Step::NotifyCoordinator).at, Some(now()));
    // An earlier object's left no intent here. A cleared entry is a sign of it, whoever cleared it.
    let mut found_cleared = world(Delivery::Lookup, true);
    found_cleared.entry().marking = Marking::Unmarked;
    assert_eq!(log(found_cleared, |_| {}).0.last().unwrap(), "wait NotificationSettling for intake 25s");
}

#[test]
fn a_mismatch_does_not_hide_that_nobody_knows_of_the_announcement() {
    let halt = |answer: Option<Result<bool, Trouble>>, foreign: bool| {
        let can_ask = answer.is_some();
        let mut world = world(Delivery::IdempotencyKey, can_ask);
        if foreign {
            world = intended(world, 5);
        }
        world.review().version = text("4");
        let (lines, _) = log(world, |play| {
            if let Some(answer) = answer {
                play.answer = answer.map_err(Into::into);
            }
        });
        lines.last().unwrap().contains("NotificationUncertain")
    };
    assert!(halt(None, true) && halt(Some(Err(Trouble::Unavailable)), true));
    assert!(!halt(Some(Ok(false)), true) && !halt(Some(Ok(true)), true) && !halt(None, false));
}

#[test]
fn another_intake_than_the_one_intended_knows_nothing() {
    let mut elsewhere = intended(world(Delivery::IdempotencyKey, true), 5);
    elsewhere.ledger.step_mut(Step::NotifyCoordinator).connection = Some(object("former"));
    assert_eq!(log(elsewhere.clone(), |_| {}).0, [LOOKS, UNCERTAIN], "and is not asked");
    elsewhere.ledger.step_mut(Step::NotifyCoordinator).connection = None;
    assert_eq!(log(elsewhere, |_| {}).0.last().unwrap(), "done");
}

#[test]
fn another_object_of_the_closure_may_have_announced() {
    let end = |change: fn(&mut World)| {
        let mut world = world(Delivery::None, false);
        change(&mut world);
        log(world, |_| {}).0.pop().unwrap()
    };
    assert_eq!(end(|_| {}), "done");
    assert_eq!(end(|w| w.list().marking = by(KEY, "another")), UNCERTAIN);
    assert_eq!(end(|w| w.track().marking = by(KEY, "another")), UNCERTAIN);
    assert_eq!(end(|w| w.entry().marking = by(KEY, "another")), UNCERTAIN);
    assert_eq!(end(|w| w.track().evidence[0].marking = by(KEY, "another")), UNCERTAIN);
    assert_eq!(end(|w| w.entry().marking = Marking::NotCarried), UNCERTAIN, "cleared, and nobody knows by whom");
    assert_eq!(end(|w| w.entry().marking = Marking::Unmarked), UNCERTAIN, "cleared by people, and perhaps told since");
    assert_eq!(end(|w| w.list().marking = Marking::NotCarried), "done");
    let no_marks_before: fn(&mut World) = |w| {
        w.list().marking = Marking::NotCarried;
        w.track().marking = Marking::NotCarried;
        w.track().evidence[0].marking = Marking::NotCarried;
    };
    assert_eq!(end(no_marks_before), UNCERTAIN, "somebody put the entry back, perhaps after it was told");
    // Not guaranteed: where people put the entry back and undid another step as well, nothing tells of an earlier object.
    let all_but_one: fn(&mut World) = |w| {
        w.list().marking = Marking::NotCarried;
        w.track().marking = Marking::NotCarried;
    };
    assert_eq!(end(all_but_one), "done", "the third step is this object's own work, and so is the queue's");
    let other_link: fn(&mut World) = |w| {
        let mut link = link(by(KEY, "another"));
        link.bundle = text("c");
        w.track().evidence.push(link);
    };
    assert_eq!(end(other_link), "done", "a link to another bundle is no sign");
}

#[test]
fn a_coordinator_s_word_that_nothing_arrived_is_good_for_one_announcement() {
    let past_of = |uid: &str, handoff: Option<Handoff>| PastHalt {
        id: crate::halt::id(uid, 0),
        cause: Reason::NotificationUncertain,
        at: now(),
        packet_ref: NameRef { name: text("h-1") },
        decision: crate::ledger::Decision::Resume,
        handoff,
        resolved_by: None,
        resolved_at: now(),
        superseded: None,
    };
    let own = world(Delivery::None, false).brief.uid;
    let past = |handoff| past_of(&own, handoff);
    let end = |halts: Vec<PastHalt>| {
        let mut world = world(Delivery::None, false);
        world.list().marking = by(KEY, "another");
        world.ledger.episode = 1;
        world.ledger.halts = halts;
        log(world, |_| {}).0.pop().unwrap()
    };
    assert_eq!(end(vec![past(Some(Handoff::NotDelivered))]), "done");
    let others = past_of("another", Some(Handoff::NotDelivered));
    assert_eq!(end(vec![others]), UNCERTAIN, "what was said of another object's halt");
    assert_eq!(end(vec![past(Some(Handoff::Delivered))]), UNCERTAIN);
    assert_eq!(end(vec![past(None)]), UNCERTAIN);
    assert_eq!(end(vec![past(Some(Handoff::NotDelivered)), past(None)]), UNCERTAIN, "the last word counts");
    // Where every mark is this object's own, the other one may have made use of its permission all the same.
    let own_marks = |halts: Vec<PastHalt>| {
        let mut world = world(Delivery::None, false);
        world.ledger.episode = 1;
        world.ledger.halts = halts;
        log(world, |_| {}).0.pop().unwrap()
    };
    assert_eq!(own_marks(vec![past_of("another", Some(Handoff::NotDelivered))]), UNCERTAIN);
    assert_eq!(own_marks(vec![past(Some(Handoff::NotDelivered))]), "done");
    assert_eq!(own_marks(vec![past_of("another", None)]), "done", "a halt over something else");
}

#[test]
fn a_key_that_expires_is_relied_on_for_half_its_time() {
    let end = |seconds: u64, can_look_up: bool, delivery: Delivery| {
        let mut world = intended(world(delivery, can_look_up), seconds);
        world.brief.intake.window = Some(Duration::from_secs(100));
        world.brief.memory.intent_seen_for = Duration::from_secs(25);
        log(world, |_| {}).0.pop().unwrap()
    };
    assert_eq!(end(50, false, Delivery::IdempotencyKey), "done");
    assert_eq!(end(51, false, Delivery::IdempotencyKey), UNCERTAIN);
    assert_eq!(end(51, true, Delivery::IdempotencyKey), "done");
    assert_eq!(end(5, false, Delivery::None), UNCERTAIN, "a window is one of keys");
    // An intent of this very pass is not old, whenever it was stored.
    let mut own = world(Delivery::IdempotencyKey, false);
    own.brief.intake.window = Some(Duration::ZERO);
    assert_eq!(log(own, |_| {}).0.pop().unwrap(), "done");
}

#[test]
fn an_intake_that_was_away_is_probed_before_an_intent_is_stored() {
    let mut absent = world(Delivery::IdempotencyKey, true);
    absent.brief.memory.intake_away = true;
    let (lines, play) = log(absent.clone(), |_| {});
    assert_eq!(lines, [LOOKS, "probe", "persist", FRESH, ANNOUNCE, "done"]);
    assert!(!play.pass.into_parts().1.intake_away);
    let (lines, play) = log(absent, |play| play.presence = Err(Trouble::Unavailable.into()));
    assert_eq!(lines, [LOOKS, "probe", "wait IntakeUnavailable for intake"]);
    assert!(play.pass.into_parts().1.intake_away);
}

#[test]
fn an_intent_is_taken_back_only_when_nothing_went_out() {
    let after = |wrote: Wrote| {
        let (_, play) = log(world(Delivery::IdempotencyKey, true), |play| play.replies.push_back(wrote));
        let away = play.pass.clone().into_parts().1.intake_away;
        (
            play.pass.ledger().step(Step::NotifyCoordinator).outcome,
            play.pass.ledger().step(Step::NotifyCoordinator).links.len(),
            away,
        )
    };
    assert_eq!(after(Wrote::NotApplied(Trouble::Unavailable.into())), (Outcome::Pending, 0, true));
    assert_eq!(after(Wrote::Unknown(Trouble::Unavailable.into())), (Outcome::Intended, 1, false));
    assert_eq!(after(Wrote::Refused), (Outcome::Pending, 0, false));
    // What becomes of another write says nothing of an announcement.
    let mut unknown = play(World::new());
    unknown.replies.push_back(Wrote::NotApplied(Trouble::Unavailable.into()));
    assert!(matches!(unknown.run(), Decision::Wait(_)));
    assert!(!unknown.pass.into_parts().1.intake_away);
}

#[test]
fn a_reopened_source_between_intent_and_announcement_takes_the_intent_back() {
    let mut play = play(world(Delivery::IdempotencyKey, true));
    while play.log.last().is_none_or(|line| line != "persist") {
        assert_eq!(play.step(), None, "it ends too soon");
    }
    assert_eq!((play.pass.epoch(), play.pass.has_written()), (1, false), "an intent is an effect, and no write");
    play.world.review().state = text("Reopened");
    assert!(matches!(play.run(), Decision::Halt(_)));
    assert_eq!(play.pass.ledger().step(Step::NotifyCoordinator).outcome, Outcome::Pending);
    assert!(play.announced.is_empty());
    play.world.queue = Observation::Missing;
}
