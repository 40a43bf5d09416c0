//! Many worlds on all threads: each is played, checked and counted; one that fails is made smaller and told.

use super::checker::{self, Verdict};
use super::people::{self, Ran};
use super::plan::Plan;
use super::story;
use releaseclosure::closure::ledger::Decision;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// One world in so many is played twice.
const TWICE: u64 = 500;

#[derive(Default)]
pub struct Figures {
    pub worlds: u64,
    pub closures: u64,
    pub objects: u64,
    pub requests: u64,
    pub passes: u64,
    pub twice: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub ends: BTreeMap<String, u64>,
}

impl Figures {
    fn add(&mut self, other: Figures) {
        self.worlds += other.worlds;
        self.closures += other.closures;
        self.objects += other.objects;
        self.requests += other.requests;
        self.passes += other.passes;
        self.twice += other.twice;
        other.faults.into_iter().for_each(|(kind, count)| *self.faults.entry(kind).or_default() += count);
        other.ends.into_iter().for_each(|(end, count)| *self.ends.entry(end).or_default() += count);
    }

    fn count(&mut self, ran: &Ran) {
        let world = ran.shared.lock();
        self.worlds += 1;
        self.closures += world.truths.len() as u64;
        self.requests += world.log.asked.len() as u64;
        self.passes += world.log.passes.len() as u64;
        for kind in &world.log.fired {
            *self.faults.entry(kind).or_default() += 1;
        }
        if world.plan.closures.iter().any(|closure| closure.twin.is_some()) {
            *self.faults.entry("F14 two objects").or_default() += 1;
        }
        let mut end = |name: String| *self.ends.entry(name).or_default() += 1;
        for (_, object) in world.cluster.living() {
            self.objects += 1;
            let status = &object.status;
            let given_up = status.halts.last().is_some_and(|halt| halt.decision == Decision::Abandon);
            end(if given_up { "Abandoned".to_owned() } else { "Closed".to_owned() });
            for step in &status.steps {
                end(format!("step {}", step.outcome.as_str()));
            }
            for halt in &status.halts {
                end(format!("Halted {}", halt.cause));
            }
        }
    }
}

/// Plays and checks one world.
pub fn play(plan: &Plan) -> (Ran, Verdict) {
    let ran = people::play(plan);
    let verdict = checker::check(&ran.shared.lock(), ran.rested);
    (ran, verdict)
}

pub fn story(ran: &Ran) -> String {
    story::tell(&ran.shared.lock())
}

fn hash(ran: &Ran) -> u64 {
    let mut hasher = DefaultHasher::new();
    story(ran).hash(&mut hasher);
    hasher.finish()
}

/// A world that fails, as small as it gets: whatever can be left out is.
pub fn shrink(plan: &Plan, verdict: &Verdict) -> (Plan, Verdict) {
    let property = verdict[0].property;
    let (mut smallest, mut found) = (plan.clone(), verdict.clone());
    loop {
        let mut candidates: Vec<Plan> = Vec::new();
        for index in 0..smallest.faults.len() {
            let mut smaller = smallest.clone();
            smaller.faults.remove(index);
            candidates.push(smaller);
        }
        if smallest.closures.len() > 1 {
            let mut smaller = smallest.clone();
            smaller.closures.pop();
            let left = smaller.closures.len();
            smaller.faults.retain(|fault| match fault.what {
                super::plan::What::Does { closure, .. } | super::plan::What::Recreate { closure } => closure < left,
                _ => true,
            });
            candidates.push(smaller);
        }
        for index in 0..smallest.closures.len() {
            let closure = &smallest.closures[index];
            if closure.twin.is_some() || closure.other_link || closure.done != [false; 4] {
                let mut smaller = smallest.clone();
                smaller.closures[index].twin = None;
                smaller.closures[index].other_link = false;
                smaller.closures[index].done = [false; 4];
                candidates.push(smaller);
            }
        }
        if smallest.tight {
            candidates.push(Plan { tight: false, ..smallest.clone() });
        }
        let next = candidates.into_iter().find_map(|candidate| {
            let (_, verdict) = play(&candidate);
            verdict.iter().any(|broken| broken.property == property).then_some((candidate, verdict))
        });
        match next {
            Some((plan, verdict)) => (smallest, found) = (plan, verdict),
            None => return (smallest, found),
        }
    }
}

/// What came of many worlds.
pub struct Outcome {
    pub figures: Figures,
    /// The worlds that failed, by their seeds.
    pub failed: Vec<(u64, Verdict)>,
    pub seconds: f64,
}

/// Plays the worlds of these seeds on all threads, until so many failed.
pub fn run(first: u64, count: u64, failures: usize) -> Outcome {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let (figures, failed) = (Mutex::new(Figures::default()), Mutex::new(Vec::<(u64, Verdict)>::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Figures::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let plan = Plan::of(seed);
                    let (ran, mut verdict) = play(&plan);
                    if seed % TWICE == 0 {
                        own.twice += 1;
                        let again = people::play(&plan);
                        if hash(&ran) != hash(&again) {
                            let (property, what) = ("replay", "the same seed gave another world".to_owned());
                            verdict.push(checker::Broken { property, what });
                        }
                    }
                    own.count(&ran);
                    if !verdict.is_empty() {
                        let mut failed = failed.lock().expect("no thread panics with it");
                        failed.push((seed, verdict));
                        stop.store(failed.len() >= failures, Ordering::Relaxed);
                    }
                }
                figures.lock().expect("no thread panics with it").add(own);
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (figures, mut failed) = (figures.into_inner().expect("whole"), failed.into_inner().expect("whole"));
    failed.sort_unstable_by_key(|(seed, _)| *seed);
    Outcome { figures, failed, seconds }
}
