use super::*;
use futures::stream;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

fn agenda() -> (Agenda<&'static str>, Instant) {
    (Agenda::default(), Instant::now())
}

#[test]
fn what_is_woken_twice_is_looked_at_once() {
    let (mut agenda, now) = agenda();
    agenda.wake("a");
    agenda.wake("b");
    agenda.wake("a");
    assert_eq!((agenda.take(now), agenda.take(now), agenda.take(now)), (Some("a"), Some("b"), None));
}

#[test]
fn what_is_woken_under_way_is_looked_at_again_and_not_before_the_pass_has_ended() {
    let (mut agenda, now) = agenda();
    agenda.wake("a");
    assert_eq!(agenda.take(now), Some("a"));
    agenda.wake("a");
    agenda.wake("a");
    assert_eq!(agenda.take(now), None);
    // Sooner than the pass itself wished.
    agenda.ended("a", Some(now + Duration::from_secs(60)));
    assert_eq!(agenda.take(now), Some("a"));
    agenda.ended("a", None);
    assert_eq!(agenda.take(now), None);
}

#[test]
fn what_waits_is_due_at_its_time_or_when_it_is_woken_but_not_twice() {
    let (mut agenda, now) = agenda();
    let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
    for (key, at) in [("late", late), ("soon", soon)] {
        agenda.wake(key);
        assert_eq!(agenda.take(now), Some(key));
        agenda.ended(key, Some(at));
    }
    assert_eq!((agenda.take(now), agenda.next_time()), (None, Some(soon)));
    assert_eq!((agenda.take(soon), agenda.next_time()), (Some("soon"), Some(late)));
    agenda.wake("late");
    assert_eq!((agenda.take(soon), agenda.next_time()), (Some("late"), None));
    agenda.ended("late", None);
    assert_eq!(agenda.take(late), None);
}

#[test]
fn what_has_nothing_to_wait_for_is_not_kept() {
    let (mut agenda, now) = agenda();
    for key in ["a", "b", "c"] {
        agenda.wake(key);
        agenda.take(now);
        agenda.ended(key, Some(now));
        agenda.take(now);
        agenda.ended(key, None);
    }
    assert!(agenda.entries.is_empty() && agenda.due.is_empty() && agenda.waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn passes_go_on_side_by_side_and_come_back_when_they_said() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let start = Instant::now();
    let pass = move |key: u32| {
        let sender = sender.clone();
        async move {
            sender.send((key, start.elapsed().as_secs())).unwrap();
            if key == 1 {
                // This one hangs, and holds nobody up.
                std::future::pending::<()>().await;
            }
            if start.elapsed() < Duration::from_secs(10) {
                Next::After(Duration::from_secs(10))
            } else {
                Next::OnChange
            }
        }
    };
    tokio::spawn(keep(stream::iter([1, 2, 3]).chain(stream::pending()), pass));
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(seen.recv().await.unwrap());
    }
    all.sort_by_key(|(key, at)| (*at, *key));
    assert_eq!(all, [(1, 0), (2, 0), (3, 0), (2, 10), (3, 10)]);
}

#[tokio::test]
async fn dropping_it_breaks_off_what_is_under_way() {
    let alive = Arc::new(Mutex::new(()));
    let held = alive.clone();
    let pass = move |(): ()| {
        let held = held.clone();
        async move {
            let _held = held;
            std::future::pending::<Next>().await
        }
    };
    let keeping = tokio::spawn(keep(stream::iter([()]).chain(stream::pending()), pass));
    while Arc::strong_count(&alive) < 3 {
        tokio::task::yield_now().await;
    }
    keeping.abort();
    while Arc::strong_count(&alive) > 1 {
        tokio::task::yield_now().await;
    }
}
