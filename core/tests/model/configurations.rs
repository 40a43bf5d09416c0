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
}

/// Fewest distinct states of a scope: nine tenths of what was counted when it was written. A scope that has become
/// smaller than that no longer says what it said.
pub const AT_LEAST: &[(&str, usize)] = &[
    ("one, keys", 150_000),
    ("one, lookup", 170_000),
    ("one, neither", 190_000),
    ("again, keys", 285_000),
    ("again, lookup", 325_000),
    ("again, neither", 430_000),
    ("lies, keys", 12_000),
    ("lies, lookup", 14_000),
    ("lies, neither", 12_000),
    ("stale, keys", 480_000),
    ("stale, lookup", 550_000),
    ("stale, neither", 630_000),
    ("two, keys", 710_000),
    ("two, lookup", 749_000),
    ("two, neither", 918_000),
    ("split brain, keys", 620_000),
    ("split brain, neither", 1_474_000),
    ("keys expire", 18_000),
    ("contended", 31_000),
    ("no markers, keys", 295_000),
    ("no markers, neither", 473_000),
    ("fewer looks", 740_000),
    ("look by look", 315_000),
    ("large, keys", 24_760_000),
    ("large, lookup", 25_360_000),
    ("large, neither", 18_860_000),
    ("large split brain, keys", 8_690_000),
    ("large split brain, neither", 12_730_000),
];

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
    }
}

fn two(name: &'static str, terms: Terms, budget: Budget) -> Scope {
    let changes = vec![Change::Reopen, Change::Reaccept, Change::Do(Step::ClearQueueEntry)];
    Scope { replicas: 2, changes, ..one(name, terms, budget) }
}

/// Two processes that both believe to lead. An intake that only looks up is not among them: it tells one announcement from
/// two only by time, which the lease gives it.
fn split_brain(name: &'static str, terms: Terms, budget: Budget) -> Scope {
    Scope { lease: false, ..two(name, terms, budget) }
}

fn kinds(names: [&'static str; 3], make: fn(&'static str, Terms, Budget) -> Scope, budget: Budget) -> [Scope; 3] {
    let [keys, lookup, neither] = names;
    [make(keys, KEYS, budget), make(lookup, LOOKUP, budget), make(neither, NOTHING, budget)]
}

const USUAL: Budget = Budget { crashes: 1, faults: 1, changes: 1, answers: 1, ..NONE };

/// What is always explored.
pub fn everyday() -> Vec<Scope> {
    let mut all = Vec::new();
    all.extend(kinds(["one, keys", "one, lookup", "one, neither"], one, Budget { touches: 1, ..USUAL }));
    let again = Budget { recreations: 1, answers: 2, ..USUAL };
    all.extend(kinds(["again, keys", "again, lookup", "again, neither"], one, again));
    let lies = Budget { lies: 3, refusals: 1, crashes: 1, ..NONE };
    all.extend(kinds(["lies, keys", "lies, lookup", "lies, neither"], one, lies));
    let stale = Budget { stale: 2, ..USUAL };
    all.extend(kinds(["stale, keys", "stale, lookup", "stale, neither"], one, stale));
    let turns = Budget { takeovers: 1, ..USUAL };
    all.extend(kinds(["two, keys", "two, lookup", "two, neither"], two, turns));
    let split = Budget { changes: 0, ..USUAL };
    all.extend([split_brain("split brain, keys", KEYS, split), split_brain("split brain, neither", NOTHING, split)]);
    let expiring = Budget { windows: 1, recreations: 1, crashes: 1, faults: 1, ..NONE };
    all.push(one("keys expire", FORGETFUL, expiring));
    let changes = [
        Change::AddLink,
        Change::RemoveLink,
        Change::Reopen,
        Change::Reaccept,
        Change::Rename,
        Change::RenameBack,
        Change::Do(Step::CloseChecklist),
        Change::Undo(Step::CloseChecklist),
    ];
    let contended = Budget { changes: 5, ..NONE };
    all.push(Scope { changes: changes.to_vec(), ..one("contended", KEYS, contended) });
    all.push(Scope { markers: false, ..one("no markers, keys", KEYS, again) });
    all.push(Scope { markers: false, ..one("no markers, neither", NOTHING, again) });
    all.push(Scope { recheck: Recheck::CloseAndClear, ..one("fewer looks", KEYS, Budget { changes: 2, ..USUAL }) });
    all.push(Scope { one_by_one: true, ..one("look by look", LOOKUP, USUAL) });
    all
}

/// What is explored where there is time: two replicas with two crashes, two faults and two changes. What follows a halt
/// that is resolved is in the everyday scopes.
pub fn large() -> Vec<Scope> {
    let twice = Budget { crashes: 2, faults: 2, changes: 2, takeovers: 1, ..NONE };
    let mut all = Vec::new();
    all.extend(kinds(["large, keys", "large, lookup", "large, neither"], two, twice));
    let split = |name, terms| split_brain(name, terms, USUAL);
    all.extend([split("large split brain, keys", KEYS), split("large split brain, neither", NOTHING)]);
    all
}
