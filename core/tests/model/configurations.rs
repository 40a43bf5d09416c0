//! The scopes that are explored: which intake, which faults, how often.

use super::records::Terms;
use super::state::Budget;
use super::world::Change;
use releaseclosure_core::accepted::Recheck;
use releaseclosure_core::decide::Delivery;
use releaseclosure_core::ids::Step;

/// One configuration.
#[derive(Clone, Debug)]
pub struct Scope {
    pub name: &'static str,
    pub terms: Terms,
    pub recheck: Recheck,
    /// The systems keep markers.
    pub markers: bool,
    /// Processes.
    pub replicas: u8,
    /// Only the leader begins passes and sends; else both do whenever they like.
    pub lease: bool,
    /// Systems that are looked at together answer one after another, in any order.
    pub one_by_one: bool,
    pub budget: Budget,
    /// What people and other programs do.
    pub changes: Vec<Change>,
    /// Fewest distinct states; what was counted when this was written, less a little.
    pub at_least: usize,
}

const KEYS: Terms = Terms { delivery: Delivery::IdempotencyKey, forgets: false };
const FORGETFUL: Terms = Terms { delivery: Delivery::IdempotencyKey, forgets: true };
const LOOKUP: Terms = Terms { delivery: Delivery::Lookup, forgets: false };
const NOTHING: Terms = Terms { delivery: Delivery::None, forgets: false };

const NONE: Budget = Budget {
    crashes: 0,
    faults: 0,
    lies: 0,
    refusals: 0,
    stale: 0,
    changes: 0,
    answers: 0,
    recreations: 0,
    touches: 0,
    takeovers: 0,
    windows: 0,
};

fn one(name: &'static str, terms: Terms, budget: Budget) -> Scope {
    Scope {
        name,
        terms,
        recheck: Recheck::EveryWrite,
        markers: true,
        replicas: 1,
        lease: true,
        one_by_one: false,
        budget,
        changes: Change::ALL.to_vec(),
        at_least: 0,
    }
}

fn two(name: &'static str, terms: Terms, budget: Budget) -> Scope {
    let changes = vec![Change::Reopen, Change::Reaccept, Change::Do(Step::ClearQueueEntry)];
    Scope { replicas: 2, changes, ..one(name, terms, budget) }
}

/// What `make test` explores.
pub fn everyday() -> Vec<Scope> {
    let usual = Budget { crashes: 1, faults: 1, changes: 1, answers: 1, ..NONE };
    vec![
        one("one replica, keys", KEYS, Budget { faults: 2, changes: 2, ..usual }),
        one("one replica, lookup", LOOKUP, Budget { faults: 2, changes: 2, ..usual }),
        one("one replica, neither", NOTHING, Budget { faults: 2, changes: 2, ..usual }),
        two("two replicas, lookup", LOOKUP, Budget { takeovers: 1, ..usual }),
    ]
}
