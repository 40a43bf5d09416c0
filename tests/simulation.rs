//! The simulation: the production loop, requests and parsers in worlds of their own, with a clock of their own, thousands a
//! second. Each world is drawn from one number and goes wrong in its own way; a checker that knows nothing of the engine reads
//! what was asked of the systems, and the objects.
//!
//! `SEED=123` plays one world and tells its story; `WORLDS=1000000` plays so many; `FROM=5000` begins there;
//! `FAILURES=20` goes on until so many have failed.

mod simulation {
    pub mod checker;
    pub mod claims;
    pub mod cluster;
    pub mod course;
    pub mod host;
    pub mod log;
    pub mod network;
    pub mod people;
    pub mod plan;
    pub mod records;
    pub mod runner;
    pub mod story;
    pub mod world;
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use simulation::plan::Plan;
use simulation::runner::{self, Figures};

/// Worlds in a run, unless said otherwise: as many as take about a minute.
const WORLDS: u64 = if cfg!(debug_assertions) { 12_000 } else { 100_000 };

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Every fault and every ending that a run must have met: a simulation that meets none of them proves nothing.
const FAULTS: [&str; 26] = [
    "F1 crash",
    "F2 lost reply",
    "F3 lost request",
    "F4 late effect",
    "F5 stale reply",
    "F6 cut watch",
    "F6 held watch",
    "F7 re-created",
    "F8 API server fails",
    "F8 status conflict",
    "F9 two replicas",
    "F10 accepted anew",
    "F10 reopened",
    "F11 changed by people",
    "F11 done by people",
    "F11 record gone or double",
    "F11 touched by people",
    "F11 undone by people",
    "F12 outage",
    "F13 lie",
    "F13 no effect",
    "F14 two objects",
    "F15 clock jump",
    "F15 token revoked",
    "garbage",
    "status",
];
const ENDS: [&str; 25] = [
    "Closed",
    "Abandoned",
    "step Changed",
    "step AlreadyDone",
    "step Unconfirmed",
    "Halted SourceNotAccepted",
    "Halted ReviewVersionConflict",
    "Halted AcceptanceStale",
    "Halted MilestoneMismatch",
    "Halted MilestoneRenamed",
    "Halted EvidenceMismatch",
    "Halted EvidenceMissing",
    "Halted ArtifactMissing",
    "Halted TrackerReleaseMismatch",
    "Halted TrackerStateUnexpected",
    "Halted ChecklistItemsOpen",
    "Halted ChecklistStateUnexpected",
    "Halted QueueEntryStateUnexpected",
    "Halted ConflictingClosure",
    "Halted RecordMissing",
    "Halted RecordAmbiguous",
    "Halted PartialStateConflict",
    "Halted WriteRejected",
    "Halted WriteIneffective",
    "Halted NotificationUncertain",
];

fn print(figures: &Figures, seconds: f64) {
    let Figures { worlds, closures, objects, requests, passes, twice, faults, ends } = figures;
    println!("{worlds} worlds, {closures} closures, {objects} objects, {passes} passes, {requests} requests");
    println!("{:.0} worlds a second; {twice} worlds were played twice, and were the same", *worlds as f64 / seconds);
    let list = |title: &str, counts: Vec<String>| println!("{title}: {}", counts.join(" · "));
    list("faults that acted", faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect());
    list("ends", ends.iter().map(|(end, count)| format!("{end} {count}")).collect());
}

fn tell(seed: u64) {
    let plan = Plan::of(seed);
    let (ran, verdict) = runner::play(&plan);
    println!("{}", runner::story(&ran));
    assert!(verdict.is_empty(), "seed {seed}: {verdict:#?}");
}

#[test]
fn every_world_keeps_every_property() {
    if let Some(seed) = number("SEED") {
        return tell(seed);
    }
    let count = number("WORLDS").unwrap_or(WORLDS);
    let failures = number("FAILURES").map_or(1, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let outcome = runner::run(number("FROM").unwrap_or(0), count, failures);
    print(&outcome.figures, outcome.seconds);
    for (seed, verdict) in &outcome.failed {
        let properties: std::collections::BTreeSet<_> = verdict.iter().map(|broken| broken.property).collect();
        println!("SEED={seed} breaks {properties:?}");
    }
    if let Some((seed, verdict)) = outcome.failed.into_iter().next() {
        let (smallest, found) = runner::shrink(&Plan::of(seed), &verdict);
        let (ran, _) = runner::play(&smallest);
        println!("{}", runner::story(&ran));
        panic!("SEED={seed} breaks {verdict:#?}\nAbove is its shortest story, which breaks {found:#?}");
    }
    if count >= WORLDS {
        let lacking: Vec<&str> = FAULTS.into_iter().filter(|kind| !outcome.figures.faults.contains_key(kind)).collect();
        let missed: Vec<&str> = ENDS.into_iter().filter(|end| !outcome.figures.ends.contains_key(*end)).collect();
        assert!(lacking.is_empty() && missed.is_empty(), "never met: {lacking:?} {missed:?}");
    }
}

#[test]
fn a_seed_replays_to_the_byte() {
    for seed in 0..50 {
        let plan = Plan::of(seed);
        let [one, other] = [(); 2].map(|()| runner::story(&runner::play(&plan).0));
        assert!(one == other, "SEED={seed} told two stories");
    }
}
