//! Which closures to look at, and when: each in a task of its own, never twice at a time.
//!
//! A closure that is woken while a pass over it is under way gets another one right after it; one that is woken while it
//! waits for its time, at once. What has nothing to do and nothing to wait for is not kept.
//!
//! Why not kube's own runner: it polls every pass under way, and every one that waits for room, at every wake of any of
//! them, which costs more than the passes themselves as soon as a few hundred closures are unfinished.

use super::pass::Next;
use futures::{Stream, StreamExt as _};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// "At once" is not before this, jittered: what has changed under a pass may go on changing.
const AT_ONCE_MAX: u8 = 40;

/// Makes a pass over everything that `woken` names, and again when its last pass says so. Ends when `woken` does; being
/// dropped ends every pass under way.
pub(super) async fn keep<K, P>(woken: impl Stream<Item = K>, pass: impl Fn(K) -> P)
where
    K: Clone + Eq + Hash + Send + 'static,
    P: Future<Output = Next> + Send + 'static,
{
    let mut woken = pin!(woken);
    let mut agenda: Agenda<K> = Agenda::default();
    let mut under_way = JoinSet::new();
    loop {
        while let Some(key) = agenda.take(Instant::now()) {
            let pass = pass(key.clone());
            under_way.spawn(async move { (key, pass.await) });
        }
        let timer = agenda.next_time();
        tokio::select! {
            key = woken.next() => match key {
                Some(key) => agenda.wake(key),
                None => return,
            },
            Some(ended) = under_way.join_next() => match ended {
                Ok((key, next)) => agenda.ended(key, time_of(next)),
                // A pass catches its own panics. What unwinds nevertheless must not go unseen.
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            },
            () = tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
        }
    }
}

fn time_of(next: Next) -> Option<Instant> {
    match next {
        Next::OnChange => None,
        Next::AtOnce => Some(Instant::now() + Duration::from_millis(u64::from(fastrand::u8(..AT_ONCE_MAX)))),
        Next::After(pause) => Some(Instant::now() + pause),
    }
}

/// What is due, what is under way and what waits for its time. Pure but for the clock that it is told.
#[derive(Debug)]
struct Agenda<K> {
    entries: HashMap<K, Entry>,
    /// Due, in the order in which they became so.
    due: VecDeque<K>,
    /// Waiting, by time; the number tells those of one moment apart.
    waiting: BTreeMap<(Instant, u64), K>,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Due,
    UnderWay { again: bool },
    Waiting(Instant, u64),
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Agenda { entries: HashMap::new(), due: VecDeque::new(), waiting: BTreeMap::new(), number: 0 }
    }
}

impl<K: Clone + Eq + Hash> Agenda<K> {
    /// Something has changed about it.
    fn wake(&mut self, key: K) {
        match self.entries.get_mut(&key) {
            Some(Entry::Due) => return,
            Some(Entry::UnderWay { again }) => {
                *again = true;
                return;
            }
            Some(Entry::Waiting(at, number)) => drop(self.waiting.remove(&(*at, *number))),
            None => {}
        }
        self.entries.insert(key.clone(), Entry::Due);
        self.due.push_back(key);
    }

    /// The next that is due, which is under way from now on.
    fn take(&mut self, now: Instant) -> Option<K> {
        while let Some(waiting) = self.waiting.first_entry().filter(|waiting| waiting.key().0 <= now) {
            let key = waiting.remove();
            self.entries.insert(key.clone(), Entry::Due);
            self.due.push_back(key);
        }
        let key = self.due.pop_front()?;
        self.entries.insert(key.clone(), Entry::UnderWay { again: false });
        Some(key)
    }

    /// A pass has ended, and says when the next one is to be.
    fn ended(&mut self, key: K, next: Option<Instant>) {
        let woken = self.entries.remove(&key) == Some(Entry::UnderWay { again: true });
        match next {
            _ if woken => self.wake(key),
            Some(at) => {
                self.number += 1;
                self.entries.insert(key.clone(), Entry::Waiting(at, self.number));
                self.waiting.insert((at, self.number), key);
            }
            None => {}
        }
    }

    /// When the next one that waits will be due.
    fn next_time(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests;
