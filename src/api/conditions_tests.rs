//! Every row of the table in the documentation of `ReleaseClosure`, read as people and as GitOps tools read it.

use super::*;
use Truth::{False, True, Unknown};

fn stamp(generation: i64, second: i64) -> Stamp {
    Stamp { generation, now: Timestamp::from_second(second).expect("a small number of seconds") }
}

/// What a reader that knows nothing of this project makes of an object: the algorithm of kstatus.
fn kstatus(generation: i64, observed_generation: i64, conditions: &[Condition]) -> &'static str {
    if generation != observed_generation {
        return "InProgress";
    }
    for condition in conditions {
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("Reconciling", "True") => return "InProgress",
            ("Stalled", "True") => return "Failed",
            _ => {}
        }
    }
    match find(conditions, READY) {
        Some(ready) if ready.status == "True" => "Current",
        Some(_) => "InProgress",
        None => "Current",
    }
}

fn waiting() -> Standing {
    Standing::Waiting { reason: Reason::TrackerUnavailable, message: "The tracker gives no answer.".to_owned() }
}

fn halted() -> Standing {
    Standing::Halted { reason: Reason::MilestoneRenamed, packet: "h-0123456789abcdef0123".to_owned() }
}

fn planned_disagreeing() -> Standing {
    Standing::PlannedDisagreeing { reason: Reason::EvidenceMismatch, message: "1 finding.".to_owned() }
}

fn words<'a>(conditions: &'a [Condition], kind: &str) -> Option<(&'a str, &'a str)> {
    find(conditions, kind).map(|condition| (condition.status.as_str(), condition.reason.as_str()))
}

#[test]
fn each_standing_says_what_the_table_says() {
    type Row = (Standing, (Truth, &'static str), Option<&'static str>, Option<&'static str>, &'static str);
    let table: [Row; 8] = [
        (Standing::Working, (Unknown, "Progressing"), Some("Progressing"), None, "InProgress"),
        (waiting(), (False, "ProgressingWithRetry"), Some("TrackerUnavailable"), None, "InProgress"),
        (halted(), (False, "MilestoneRenamed"), None, Some("MilestoneRenamed"), "Failed"),
        (Standing::Abandoned, (False, "Abandoned"), None, Some("Abandoned"), "Failed"),
        (Standing::Closed, (True, "Closed"), None, None, "Current"),
        (Standing::Planned, (True, "Planned"), None, None, "Current"),
        (planned_disagreeing(), (False, "EvidenceMismatch"), None, Some("EvidenceMismatch"), "Failed"),
        (Standing::Suspended, (Unknown, "Suspended"), None, None, "InProgress"),
    ];
    let everything: Vec<Standing> = table.iter().map(|row| row.0.clone()).collect();
    for (standing, (truth, reason), reconciling, stalled, verdict) in table {
        // Whatever it was before, the row is the same.
        for earlier in &everything {
            let before = of_closure(&[], earlier, &Domain::default(), stamp(1, 10));
            let conditions = of_closure(&before, &standing, &Domain::default(), stamp(2, 20));
            assert_eq!(words(&conditions, READY), Some((truth.as_str(), reason)), "{standing:?}");
            assert_eq!(words(&conditions, RECONCILING), reconciling.map(|reason| ("True", reason)), "{standing:?}");
            assert_eq!(words(&conditions, STALLED), stalled.map(|reason| ("True", reason)), "{standing:?}");
            assert_eq!(kstatus(2, 2, &conditions), verdict, "{standing:?}");
            assert_eq!(kstatus(3, 2, &conditions), "InProgress", "{standing:?}: a new generation is not answered");
            assert!(conditions.iter().all(|condition| condition.observed_generation == Some(2)), "{standing:?}");
            assert!(conditions.iter().all(|condition| !condition.reason.is_empty()), "{standing:?}");
        }
    }
}

#[test]
fn a_halt_names_its_packet() {
    let conditions = of_closure(&[], &halted(), &Domain::default(), stamp(1, 1));
    for kind in [READY, STALLED] {
        let message = &find(&conditions, kind).expect("there while halted").message;
        assert!(message.contains("h-0123456789abcdef0123"), "{message}");
    }
}

#[test]
fn suspended_while_halted_or_planned_stays_as_it_was() {
    for standing in [halted(), Standing::Planned, planned_disagreeing(), Standing::Abandoned, Standing::Closed] {
        let domain = Domain { source_accepted: Some(true), aligned: Some(false), ..Domain::default() };
        let before = of_closure(&[], &standing, &domain, stamp(1, 10));
        let after = of_closure(&before, &Standing::Unchanged, &Domain::default(), stamp(2, 20));
        let expected: Vec<Condition> =
            before.iter().map(|condition| Condition { observed_generation: Some(2), ..condition.clone() }).collect();
        assert_eq!(after, expected, "{standing:?}");
    }
    let never_run = of_closure(&[], &Standing::Unchanged, &Domain::default(), stamp(1, 1));
    assert_eq!(words(&never_run, READY), Some(("Unknown", "Suspended")));
}

#[test]
fn facts_are_unknown_until_seen_and_then_stand() {
    let all = [SOURCE_ACCEPTED, ALIGNED].into_iter().chain(STEPS);
    let before = of_closure(&[], &Standing::Working, &Domain::default(), stamp(1, 1));
    for kind in all.clone() {
        assert_eq!(words(&before, kind), Some(("Unknown", "NotObserved")), "{kind}");
    }
    let seen = Domain {
        source_accepted: Some(true),
        aligned: Some(false),
        steps: [Some(true), Some(false), None, Some(true), Some(false)],
    };
    let after = of_closure(&before, &Standing::Working, &seen, stamp(1, 2));
    let expected = [
        ("True", "Accepted"),
        ("False", "NotAligned"),
        ("True", "Done"),
        ("False", "NotDone"),
        ("Unknown", "NotObserved"),
        ("True", "Done"),
        ("False", "NotDone"),
    ];
    for (kind, expected) in all.zip(expected) {
        assert_eq!(words(&after, kind), Some(expected), "{kind}");
    }
    assert_eq!(of_closure(&after, &Standing::Working, &Domain::default(), stamp(1, 3)), after);
}

#[test]
fn a_transition_time_moves_only_with_the_status() {
    let since = |conditions: &[Condition], kind| find(conditions, kind).map(|c| c.last_transition_time.0.as_second());
    let first = of_closure(&[], &waiting(), &Domain::default(), stamp(1, 10));
    let standing = Standing::Waiting { reason: Reason::QueueUnavailable, message: "Another.".to_owned() };
    let second = of_closure(&first, &standing, &Domain::default(), stamp(2, 20));
    assert_eq!((since(&second, READY), since(&second, RECONCILING)), (Some(10), Some(10)), "only the reason changed");
    let third = of_closure(&second, &halted(), &Domain::default(), stamp(2, 30));
    assert_eq!((since(&third, READY), since(&third, STALLED)), (Some(10), Some(30)), "False stays False");
    let fourth = of_closure(&third, &Standing::Working, &Domain::default(), stamp(2, 40));
    assert_eq!((since(&fourth, READY), since(&fourth, ALIGNED)), (Some(40), Some(10)));
}

#[test]
fn nothing_new_is_nothing_new() {
    for standing in [Standing::Working, waiting(), halted(), Standing::Closed, Standing::Suspended] {
        let once = of_closure(&[], &standing, &Domain::default(), stamp(1, 10));
        assert_eq!(of_closure(&once, &standing, &Domain::default(), stamp(1, 99)), once, "{standing:?}");
    }
}

#[test]
fn one_condition_is_set_and_the_others_left_alone() {
    let mut conditions = Vec::new();
    set(&mut conditions, READY, False, "SecretNotFound", "There is no such Secret.", stamp(1, 10));
    set(&mut conditions, RESOLVED, True, "Resumed", "Released.", stamp(1, 20));
    let other = conditions[1].clone();
    set(&mut conditions, READY, False, "Unauthorized", &"x".repeat(5000), stamp(2, 30));
    assert_eq!(conditions.len(), 2);
    assert_eq!(conditions[1], other);
    let ready = &conditions[0];
    assert_eq!((ready.last_transition_time.0.as_second(), ready.observed_generation), (10, Some(2)));
    assert_eq!(ready.message.len(), MESSAGE_MAX);
    set(&mut conditions, READY, True, "Ready", "It can be used.", stamp(2, 40));
    assert!(is_true(&conditions, READY) && !is_true(&conditions, STALLED));
    assert_eq!(conditions[0].last_transition_time.0.as_second(), 40);
}
