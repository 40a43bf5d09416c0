//! What a process remembers of a closure between passes, and how long it pauses.

use crate::closure::decide::{Memory, Pass};
use crate::closure::ids::Step;
use crate::closure::ledger::{Ledger, Outcome};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// What the process remembers of a closure between passes, and a restart forgets.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// For the core.
    memory: Memory,
    /// Since when the time counts in which another announcement may still be under way, with the date of the intent that
    /// stood then: one that is renewed is another.
    unsettled: Option<(Option<Timestamp>, Instant)>,
    /// Passes in a row that ended waiting.
    attempts: u32,
    /// Whether the last pass ended waiting.
    waiting: bool,
}

impl Remembered {
    /// A pass begins from this ledger: gives what the core is to know.
    pub fn begin(&mut self, ledger: &Ledger) -> Memory {
        let step = ledger.step(Step::NotifyCoordinator);
        let counts = step.outcome == Outcome::Intended || self.memory.settling;
        let known = self.unsettled.filter(|(at, _)| *at == step.at);
        self.unsettled = counts.then(|| known.unwrap_or_else(|| (step.at, Instant::now())));
        let intent_seen_for = self.unsettled.map_or(Duration::ZERO, |(_, since)| since.elapsed());
        Memory { intent_seen_for, ..self.memory }
    }

    /// A pass ended waiting, having settled something or not.
    pub fn waits(&mut self, pass: Pass, progressed: bool) {
        if pass.may_have_announced() {
            self.unsettled = None;
        }
        let (ledger, memory) = pass.into_parts();
        self.memory = memory;
        if memory.settling {
            self.unsettled.get_or_insert_with(|| (ledger.step(Step::NotifyCoordinator).at, Instant::now()));
        }
        self.attempts = if progressed { 1 } else { self.attempts + 1 };
        self.waiting = true;
    }

    /// A pass could not begin: it waits.
    pub fn could_not_begin(&mut self) {
        self.failed();
        self.waiting = true;
    }

    /// A pass failed. Gives how many did so, or ended waiting, in a row.
    pub fn failed(&mut self) -> u32 {
        self.attempts += 1;
        self.attempts
    }

    /// Whether the last pass ended waiting.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// The pause before the next try: doubling from `initial` to `max`, with up to a quarter of jitter, and never
    /// shorter than a system asked for. `jitter` is between 0 and 1.
    #[must_use]
    pub fn pause(&self, initial: Duration, max: Duration, retry_after: Option<Duration>, jitter: f64) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(20);
        let plain = initial.saturating_mul(1 << doublings).min(max);
        let jittered = plain.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0));
        jittered.max(retry_after.unwrap_or_default())
    }
}

/// The pause after so many passes that failed: half a second, doubling to two minutes, with up to a quarter of jitter.
/// `jitter` is between 0 and 1.
#[must_use]
pub fn after_failures(failures: u32, jitter: f64) -> Duration {
    let plain = Duration::from_millis(250 << failures.min(10)).min(Duration::from_secs(120));
    plain.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}
