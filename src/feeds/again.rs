//! Events of which no closure came, though one may yet: when each is looked at again, and when it is given up.
//!
//! A record may lag behind the event that tells of it; and a person who reads that something is missing from it puts it there.
//! Pure: the time is an argument, and waiting is for whoever holds it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The first pause. Each is twice as long as the one before: what lags, lags by seconds.
pub const FIRST: Duration = Duration::from_secs(10);
/// The longest pause: who has put a record right waits no longer to see it taken, and a record is read eleven times in all.
pub const LONGEST: Duration = Duration::from_secs(600);
/// When an event is given up, counted from its first look. By then no record lags; and whoever puts one right later can bring the
/// event again, or make the closure.
pub const GIVEN_UP: Duration = Duration::from_secs(3600);

/// What is to become of an event of which no closure came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This was the first look at it; the next one is after this pause.
    First(Duration),
    /// It was looked at before; likewise.
    Again(Duration),
    /// It is looked at no more: it had its time, or there is no room for it.
    Over,
}

/// Events that are put off. An event that does not come again, though it was put off, is forgotten [`GIVEN_UP`] after it was due.
#[derive(Debug)]
pub struct Again<K> {
    most: usize,
    held: HashMap<K, Held>,
}

#[derive(Debug)]
struct Held {
    since: Instant,
    due: Instant,
    looks: u32,
}

impl<K: Clone + Eq + Hash> Again<K> {
    /// None yet, with room for `most`.
    #[must_use]
    pub fn with_room(most: usize) -> Again<K> {
        Again { most, held: HashMap::new() }
    }

    /// No closure came of an event.
    pub fn put_off(&mut self, event: K, now: Instant) -> Turn {
        self.held.retain(|_, held| now.saturating_duration_since(held.due) < GIVEN_UP);
        let is_full = self.held.len() >= self.most;
        match self.held.entry(event) {
            Entry::Vacant(_) if is_full => Turn::Over,
            Entry::Vacant(place) => {
                place.insert(Held { since: now, due: now + FIRST, looks: 1 });
                Turn::First(FIRST)
            }
            Entry::Occupied(known) if now.saturating_duration_since(known.get().since) >= GIVEN_UP => {
                known.remove();
                Turn::Over
            }
            Entry::Occupied(mut known) => {
                let held = known.get_mut();
                let pause = FIRST.saturating_mul(1 << held.looks.min(20)).min(LONGEST);
                held.looks += 1;
                held.due = now + pause;
                Turn::Again(pause)
            }
        }
    }

    /// Something else came of it.
    pub fn settle(&mut self, event: &K) {
        self.held.remove(event);
    }

    /// Whether an event is put off.
    #[must_use]
    pub fn holds(&self, event: &K) -> bool {
        self.held.contains_key(event)
    }

    /// Those whose pause is over.
    #[must_use]
    pub fn due(&self, now: Instant) -> Vec<K> {
        self.held.iter().filter(|(_, held)| held.due <= now).map(|(event, _)| event.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_and_after_an_hour_it_is_given_up() {
        let mut again = Again::with_room(2);
        let began = Instant::now();
        let (mut now, mut pauses) = (began, Vec::new());
        loop {
            match again.put_off("a", now) {
                Turn::First(pause) => assert_eq!((pause, pauses.len()), (FIRST, 0)),
                Turn::Again(pause) => pauses.push(pause.as_secs()),
                Turn::Over => break,
            }
            let pause = pauses.last().map_or(FIRST, |pause| Duration::from_secs(*pause));
            assert_eq!((again.due(now + pause - Duration::from_secs(1)), again.due(now + pause)), (vec![], vec!["a"]));
            now += pause;
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 600, 600, 600, 600, 600]);
        assert!(now - began >= GIVEN_UP && now - began < GIVEN_UP + LONGEST);
        assert!(!again.holds(&"a"), "it has no place any more");
        assert_eq!(again.put_off("a", now), Turn::First(FIRST), "somebody has brought it again");
    }

    #[test]
    fn there_is_room_for_so_many_and_a_place_is_free_when_something_came_of_it_or_it_came_no_more() {
        let mut again = Again::with_room(2);
        let now = Instant::now();
        assert_eq!(again.put_off("a", now), Turn::First(FIRST));
        assert_eq!(again.put_off("b", now), Turn::First(FIRST));
        assert_eq!(again.put_off("c", now), Turn::Over, "no room");
        assert!(again.holds(&"a") && !again.holds(&"c"));
        assert!(matches!(again.put_off("b", now + FIRST), Turn::Again(_)), "who has a place keeps it");
        again.settle(&"a");
        assert_eq!(again.put_off("c", now + FIRST), Turn::First(FIRST));
        let late = now + FIRST * 4 + GIVEN_UP;
        assert_eq!(again.put_off("d", late), Turn::First(FIRST));
        assert!(!again.holds(&"b") && !again.holds(&"c"), "they were due an hour ago");
    }
}
