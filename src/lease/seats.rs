//! Sharing leases out: how many are due to this replica, and which it hands over when it has more.
//!
//! **The rule.** Of `n` leases and `m` members, sorted by name, each is due `n / m`, and the first `n % m` one more. A lease whose holder
//! let it lapse is taken by whoever sees it first. One that was given back is taken by who has less than is due to it; by
//! anybody where it is left lying. Who has more than is due to it gives the rest back, once per look at the members.
//!
//! **Why it comes to rest:** what is due adds up to `n`, so that somebody has too little exactly while somebody has too much or a
//! lease lies about; nobody gives back what it may keep, and nobody who has enough takes what another is due. Members that
//! see each other differently for a moment only ever move a lease once more: who leads says the lease itself.

use super::{Clock, Fence, Members};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Why a lease is there to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vacancy {
    /// Its record names this process.
    Ours,
    /// This holder did not renew it in time.
    Lapsed(String),
    /// It was given back, or never taken.
    Free {
        /// It was left lying for a while.
        due_to_anybody: bool,
    },
}

/// The leases that replicas share out among them, as one of them sees it.
pub struct Seats {
    count: usize,
    members: Arc<Members>,
    group: Fence,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Held, or about to be taken.
    held: usize,
    /// Led, each with how to ask for it back.
    led: BTreeMap<u16, oneshot::Sender<()>>,
}

/// One lease that this replica holds; it counts until this is dropped.
pub(super) struct Seat(Arc<Seats>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.state().held -= 1;
    }
}

/// How many of `count` are due to `me` among `all`, which are sorted; none where it is not among them.
fn due(count: usize, all: &[String], me: &str) -> usize {
    let Some(rank) = all.iter().position(|name| name == me) else { return 0 };
    count / all.len() + usize::from(rank < count % all.len())
}

impl Seats {
    /// `count` leases, shared out among the members of `group`.
    #[must_use]
    pub fn new(count: usize, members: Arc<Members>, group: Fence, clock: Clock) -> Arc<Seats> {
        Arc::new(Seats { count, members, group, clock, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> usize {
        due(self.count, &self.members.counted_on((self.clock)()), self.members.me())
    }

    /// Whether this replica has less than is due to it.
    pub(super) fn is_due(&self) -> bool {
        let due = self.due();
        self.state().held < due
    }

    /// Looks up who the members are.
    pub(super) async fn look(&self) {
        self.group.renewed().await;
    }

    /// A place for a lease that is there to be taken, where this replica is to take it.
    pub(super) fn take(self: &Arc<Seats>, vacancy: &Vacancy) -> Option<Seat> {
        let free = match vacancy {
            Vacancy::Ours => true,
            Vacancy::Lapsed(holder) => {
                self.members.is_dead(holder);
                true
            }
            Vacancy::Free { due_to_anybody } => *due_to_anybody,
        };
        let due = self.due();
        let mut state = self.state();
        (free || state.held < due).then(|| {
            state.held += 1;
            Seat(self.clone())
        })
    }

    /// This replica leads one of them. What it gives back resolves when it is to hand that over.
    pub fn leads(&self, index: u16) -> oneshot::Receiver<()> {
        let (ask, asked) = oneshot::channel();
        self.state().led.insert(index, ask);
        asked
    }

    /// It does not lead it any more.
    pub fn gives_back(&self, index: u16) {
        self.state().led.remove(&index);
    }

    /// Asks for what is more than is due to this replica, now and after each look at the members. Never ends.
    pub async fn balance(&self) {
        let mut looks = self.members.looks();
        loop {
            let due = self.due();
            {
                let mut state = self.state();
                while state.led.len() > due {
                    let Some((index, ask)) = state.led.pop_last() else { break };
                    tracing::info!(shard = index, due, "handing a shard over: another replica is due it");
                    // Whoever is not there to hear it has given it back.
                    let _ = ask.send(());
                }
            }
            if looks.changed().await.is_err() {
                return;
            }
        }
    }
}
