//! The circuit breaker of one connection: a system that fails for everybody is left alone for a while.
//!
//! **Guarantees:** it opens only on failures of [`RECORDS`] different records with no success between, so that one
//! record that always fails, or two, delay no other. One success closes it. While it is open, one request per pause is
//! let through.
//!
//! Pure: the time and the jitter are arguments.

use std::time::Duration;
use tokio::time::Instant;

/// Failures of this many different records, with no success between, open the breaker.
pub const RECORDS: usize = 3;
/// The first pause.
pub const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Closed or open.
#[derive(Debug)]
pub struct Breaker {
    /// Different records that failed since the last success; at most [`RECORDS`], kept while open, too.
    failing: Vec<u64>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// Before this, nothing is let through.
    next_trial: Instant,
    /// Length of the pause before jitter.
    pause: Duration,
    /// Whether a trial was let through and has not reported.
    trial: bool,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new() -> Breaker {
        Breaker { failing: Vec::with_capacity(RECORDS), open: None }
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether [`Breaker::admit`] would let a request through.
    #[must_use]
    pub fn would_admit(&self, now: Instant) -> bool {
        self.open.as_ref().is_none_or(|open| now >= open.next_trial)
    }

    /// Asks for one request to be let through. While open, a `true` is the trial: the next one comes after a pause or
    /// after `timeout`, whichever is longer, even if this trial never reports (its owner may have changed its mind).
    pub fn admit(&mut self, now: Instant, timeout: Duration) -> bool {
        let Some(open) = &mut self.open else { return true };
        if now < open.next_trial {
            return false;
        }
        open.trial = true;
        open.next_trial = now + open.pause.max(timeout);
        true
    }

    /// The system answered, in its own words. True when this closed the breaker.
    pub fn success(&mut self) -> bool {
        self.failing.clear();
        self.open.take().is_some()
    }

    /// A request about this record failed. `jitter` is between 0 and 1 and shortens pauses by up to a half. True when
    /// this opened the breaker.
    pub fn failure(&mut self, record: u64, now: Instant, jitter: f64) -> bool {
        let shortened = |pause: Duration| pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
        if let Some(open) = &mut self.open {
            // Requests that were under way when it opened report late; only the trial tells something new.
            if std::mem::take(&mut open.trial) {
                open.pause = (open.pause * 2).min(PAUSE_MAX);
                open.next_trial = now + shortened(open.pause);
            }
            return false;
        }
        if !self.failing.contains(&record) {
            self.failing.push(record);
        }
        if self.failing.len() < RECORDS {
            return false;
        }
        self.open = Some(Open { next_trial: now + shortened(PAUSE_FIRST), pause: PAUSE_FIRST, trial: false });
        true
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        assert!(!breaker.failure(1, now, 0.0) && !breaker.failure(2, now, 0.0) && breaker.failure(3, now, 0.0));
        breaker
    }

    #[test]
    fn two_records_may_fail_for_ever_without_opening_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..1000 {
            assert!(!breaker.failure(1, now, 0.5) && !breaker.failure(2, now, 0.5));
        }
        assert!(breaker.admit(now, TIMEOUT) && !breaker.is_open());
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for record in 0..100 {
            assert!(!breaker.failure(record, now, 0.5));
            assert!(!breaker.failure(record + 1000, now, 0.5));
            assert!(!breaker.success());
        }
    }

    #[test]
    fn three_records_open_it_and_one_success_closes_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.is_open() && !breaker.admit(now, TIMEOUT));
        assert!(breaker.success());
        assert!(breaker.admit(now, TIMEOUT) && !breaker.is_open());
    }

    #[test]
    fn pauses_double_up_to_half_a_minute_with_one_trial_each() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert!(!breaker.admit(now + Duration::from_millis(seconds * 1000 - 1), TIMEOUT), "{seconds}");
            now += Duration::from_secs(seconds);
            assert!(breaker.admit(now, TIMEOUT), "{seconds}");
            assert!(!breaker.admit(now, TIMEOUT), "one trial at a time");
            breaker.failure(9, now, 0.0);
        }
    }

    #[test]
    fn jitter_shortens_a_pause_by_half_at_most() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for record in 0..3 {
            breaker.failure(record, now, 1.0);
        }
        assert!(!breaker.would_admit(now + Duration::from_millis(499)));
        assert!(breaker.would_admit(now + Duration::from_millis(500)));
    }

    #[test]
    fn late_reports_and_lost_trials_neither_lengthen_nor_end_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        for record in 0..50 {
            breaker.failure(record, now, 0.0);
        }
        let then = now + PAUSE_FIRST;
        assert!(breaker.admit(then, TIMEOUT), "the trial");
        // Nobody reports what became of it.
        assert!(!breaker.admit(then + TIMEOUT - Duration::from_millis(1), TIMEOUT));
        assert!(breaker.admit(then + TIMEOUT, TIMEOUT));
    }
}
