//! The permission for one write: when there is one, and what it says.

use super::fixture::*;
use super::play::*;
use crate::ids::{Step, System};
use crate::ledger::{Link, Outcome, StateAt};
use crate::order::{Change, HandoffBody, Unverified, verify};
use crate::snapshot::{Look, Marker, Marking, Observation, Sighting, Snapshot, Trouble};

#[test]
fn an_order_names_what_was_verified() {
    for (step, record, revision) in [
        (Step::CloseChecklist, "CHK", Some("\"3\"")),
        (Step::ApproveTracker, "REL", Some("\"4\"")),
        (Step::AttachEvidence, "REL", Some("\"41\"")),
        (Step::ClearQueueEntry, "Q", Some("\"5\"")),
        (Step::NotifyCoordinator, KEY, None),
    ] {
        let mut world = World::new();
        world.brief.accepted = accepted_with(crate::accepted::Records::default(), Some("team"));
        let mut theirs = link(by("r0@RR-0@1", "x"));
        theirs.bundle = text("theirs");
        world.track().evidence.push(theirs.clone());
        let order = play(world).until(step);
        assert_eq!((order.step(), order.record(), order.key().as_str()), (step, record, KEY));
        assert_eq!(order.revision().map(|revision| revision.0.as_str()), revision);
        assert_eq!(order.marker(), Marker { key: text(KEY), uid: text(UID) });
        let expected = match step {
            Step::CloseChecklist => Change::Close,
            Step::ApproveTracker => Change::Approve { state: text("Approved") },
            Step::AttachEvidence => {
                Change::Attach { others: vec![theirs], bundle: text("b"), digest: digest("a"), url: text(URL) }
            }
            Step::ClearQueueEntry => Change::Clear,
            Step::NotifyCoordinator => Change::Announce(HandoffBody {
                release_id: text("r1"),
                review_version: text("3"),
                service: text("pay"),
                closure_key: text(KEY),
                coordinator: Some(text("team")),
                links: vec![Link { rel: text("evidence"), url: text(URL) }],
            }),
        };
        assert_eq!(order.change(), &expected);
    }
}

#[test]
fn there_is_no_permission_where_anything_is_open() {
    let verified = |world: &World, step: Step| world.with_facts(|facts| verify(facts, UID, step).map(drop));
    let world = World::new();
    assert_eq!(verified(&world, Step::CloseChecklist), Ok(()));
    for step in &Step::ALL[1..] {
        assert_eq!(verified(&world, *step), Err(Unverified::Unseen), "{step} is not the first");
    }
    for steps in 0..5 {
        let world = World::new().done_by_us(steps).settled(steps);
        for step in Step::ALL {
            let expected = if step.index() <= steps { Ok(()) } else { Err(Unverified::Unseen) };
            assert_eq!(verified(&world, step), expected, "{step} after {steps}");
        }
    }
    let mut intended = World::new().done_by_us(4).settled(4);
    intended.ledger.step_mut(Step::ClearQueueEntry).outcome = Outcome::Intended;
    assert_eq!(verified(&intended, Step::NotifyCoordinator), Err(Unverified::Unseen));
    let refused = |change: fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        verified(&world, Step::CloseChecklist)
    };
    assert_eq!(refused(|w| w.review().version = text("4")), Err(Unverified::Disagreement));
    assert_eq!(refused(|w| w.queue = Observation::Missing), Err(Unverified::Disagreement));
    let away: fn(&mut World) = |w| w.archive = Observation::Unreachable(Trouble::Unavailable.into());
    assert_eq!(refused(away), Err(Unverified::Unseen));
    let mut stale = World::new().done_by_us(1).settled(1);
    stale.ledger.step_mut(Step::CloseChecklist).before = Some(StateAt { state: text("x"), revision: text("\"3\"") });
    assert_eq!(verified(&stale, Step::ApproveTracker), Err(Unverified::Unseen));
}

#[test]
fn a_snapshot_holds_the_latest_look_at_each_system() {
    let world = World::new();
    let mut snapshot = Snapshot::default();
    for (number, system) in System::AUTHORITIES.into_iter().enumerate() {
        assert_eq!((snapshot.look(system), snapshot.epoch(system)), (Look::Unseen, None));
        assert!(snapshot.revision(system).is_none() && snapshot.record_id(system).is_none());
        let epoch = u32::try_from(number).unwrap() + 3;
        snapshot.take(world.sighting(system), epoch);
        assert_eq!((snapshot.look(system), snapshot.epoch(system)), (Look::Found, Some(epoch)));
        let revision = format!("\"{}\"", number + 1);
        assert_eq!(snapshot.revision(system).map(|revision| revision.0.as_str()), Some(revision.as_str()));
        assert_eq!(snapshot.record_id(system), Some(["RR-1", "b", "CHK", "REL", "Q"][number]));
    }
    let records = |snapshot: &Snapshot| {
        [
            snapshot.governance().is_some(),
            snapshot.archive().is_some(),
            snapshot.checklist().is_some(),
            snapshot.tracker().is_some(),
            snapshot.queue().is_some(),
        ]
    };
    assert_eq!(records(&snapshot), [true; 5]);
    assert_eq!((snapshot.look(System::Intake), snapshot.epoch(System::Intake)), (Look::Unseen, None));
    assert_eq!((snapshot.revision(System::Intake), snapshot.record_id(System::Intake)), (None, None));
    snapshot.forget(System::Intake);
    let mut left = [true; 5];
    for (number, system) in System::AUTHORITIES.into_iter().enumerate() {
        snapshot.forget(system);
        left[number] = false;
        assert_eq!((records(&snapshot), snapshot.look(system)), (left, Look::Unseen));
    }
    snapshot.take(Sighting::Queue(Observation::Ambiguous(2)), 0);
    assert_eq!(snapshot.look(System::Queue), Look::Ambiguous(2));
    snapshot.take(Sighting::Queue(Observation::Missing), 0);
    assert_eq!((snapshot.look(System::Queue), snapshot.queue()), (Look::Missing, None));
}

/// A link is ours where bundle, digest and place are the accepted ones; its mark is its own.
#[test]
fn a_link_elsewhere_does_not_attach_the_evidence() {
    let attached = |change: fn(&mut World)| {
        let mut world = World::new();
        world.track().evidence.push(link(by("k", "u")));
        change(&mut world);
        world.with_facts(|facts| {
            let state = crate::observed::observed(facts, Step::AttachEvidence).unwrap();
            (state.done, state.word.to_owned(), state.wanted.clone(), state.marking.clone())
        })
    };
    let no = |marking: Marking| (false, text("no link to this bundle"), text("b"), marking);
    assert_eq!(attached(|_| {}), (true, text("attached"), text("b"), by("k", "u")));
    assert_eq!(attached(|w| w.track().evidence[0].bundle = text("c")), no(Marking::Unmarked));
    assert_eq!(attached(|w| w.track().evidence[0].digest = text("c")), no(Marking::Unmarked));
    assert_eq!(attached(|w| w.track().evidence[0].url = text("c")), no(Marking::Unmarked));
    let unkept: fn(&mut World) = |w| {
        w.track().evidence.clear();
        w.track().marking = Marking::NotCarried;
    };
    assert_eq!(attached(unkept), no(Marking::NotCarried));
    let unseen: fn(&mut World) = |w| {
        w.track().evidence[0].url = text("c");
        w.archive = Observation::Missing;
    };
    assert!(attached(unseen).0, "where the archive was not seen, its place is not compared");
    let world = World::new();
    assert!(world.with_facts(|facts| crate::observed::observed(facts, Step::NotifyCoordinator).is_none()));
}
