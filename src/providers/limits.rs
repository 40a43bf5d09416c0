//! The limits of one connection, shared by every closure that goes through it.
//!
//! **Guarantees:** at most `concurrency` requests at a time and `requests_per_second` on average; nobody waits longer
//! than [`PATIENCE`] for a permit. A `Retry-After` holds the whole connection back, at most an hour. After a 401 only
//! probes go through, at most [`PROBES_AFTER_401`] a minute, until one succeeds.
//!
//! **Assumes:** whoever sends asks [`Entered::may_send`] right before and reports with [`Limits::settle`] right after.
//! A request whose future is dropped is not reported; the breaker copes with that.

use super::LimitSettings;
use super::breaker::Breaker;
use super::meter::{Holdup, Meter, Verb};
use super::rest::reply::{Came, Failure, Fate};
use crate::closure::ids::System;
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::roles::{Gate, Permit};
use crate::spans::{Protocol, Request};
use async_trait::async_trait;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::Instant;

/// The longest wait for a permit, all waits together.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is honoured.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Probes that go through within any [`PROBE_PERIOD`] after a 401.
pub const PROBES_AFTER_401: usize = 3;
/// The period in which probes after a 401 are counted.
pub const PROBE_PERIOD: Duration = Duration::from_secs(60);

/// What a request taught about the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lesson {
    /// It answers in its own words, whatever it says.
    Answers,
    /// It gave no usable answer about this record.
    Fails,
    /// It does not take the credentials.
    LockedOut,
}

/// The limits of one connection.
#[derive(Debug)]
pub struct Limits {
    id: usize,
    settings: LimitSettings,
    places: Arc<Semaphore>,
    state: Mutex<State>,
    meter: Arc<Meter>,
    provider: &'static str,
}

#[derive(Debug)]
struct State {
    /// Requests that may be sent now; negative where requests that could not wait went ahead.
    tokens: f64,
    /// When `tokens` was right.
    counted: Instant,
    held_until: Option<Instant>,
    locked_out: Option<LockedOut>,
    breaker: Breaker,
}

/// A 401 came; when the last probes were let through.
#[derive(Debug, Default)]
struct LockedOut {
    probes: [Option<Instant>; PROBES_AFTER_401],
}

impl Limits {
    /// Limits with a full bucket and a closed breaker. The settings are taken as checked.
    #[must_use]
    pub fn new(settings: LimitSettings, meter: Arc<Meter>) -> Limits {
        /// Tells permits of one connection from those of another.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let now = Instant::now();
        meter.set_breaker(false);
        Limits {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            settings,
            places: Arc::new(Semaphore::new(settings.concurrency)),
            state: Mutex::new(State {
                tokens: burst(settings.requests_per_second),
                counted: now,
                held_until: None,
                locked_out: None,
                breaker: Breaker::new(),
            }),
            meter,
            provider: "",
        }
    }

    /// The same, of a connection to this product.
    #[must_use]
    pub fn of(self, provider: &'static str) -> Limits {
        Limits { provider, ..self }
    }

    /// A request goes out through this connection: its span. `system`: whose records it is about.
    pub(super) fn request(&self, system: System, protocol: Protocol) -> Request {
        Request::begin(self.meter.through(), self.provider, system.as_str(), protocol)
    }

    /// Where its requests are counted.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// A place for the requests of one call: that of `held` where it is of this connection, else one of its own.
    pub(super) async fn enter<'a>(&'a self, held: Option<&'a Permit>) -> Result<Entered<'a>, Unreachable> {
        let Some(held) = held.filter(|permit| permit.gate == self.id) else {
            let own = self.permit().await?;
            return Ok(self.entered(Some(own), None));
        };
        // Whoever has the turn has at most the timeout for it. Giving up sooner would starve a closure whose two
        // re-checks share a slow connection.
        let turn = tokio::time::timeout(self.settings.timeout, held.turn.lock());
        let turn = turn.await.map_err(|_| self.held_back(Holdup::Concurrency, None))?;
        Ok(self.entered(None, Some(turn)))
    }

    /// The place of a write, which takes its permit with it.
    pub(super) fn enter_with(&self, permit: Permit) -> Result<Entered<'_>, Unreachable> {
        if permit.gate != self.id {
            return Err(self.held_back(Holdup::Concurrency, None));
        }
        Ok(self.entered(Some(permit), None))
    }

    fn entered<'a>(&'a self, own: Option<Permit>, turn: Option<tokio::sync::MutexGuard<'a, ()>>) -> Entered<'a> {
        let deadline = Instant::now() + self.settings.timeout;
        Entered { limits: self, prepaid: own.is_some(), _own: own, _turn: turn, deadline }
    }

    /// Asks whether a probe may be sent. Probes wait for nothing and need no permit.
    pub(super) fn may_probe(&self) -> Result<(), Unreachable> {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(left) = state.held(now) {
            return Err(self.held_back(Holdup::RetryAfter, Some(left)));
        }
        let Some(locked_out) = &mut state.locked_out else { return Ok(()) };
        let recent = |at: &Option<Instant>| at.is_some_and(|at| now.duration_since(at) < PROBE_PERIOD);
        let Some(slot) = locked_out.probes.iter_mut().find(|at| !recent(at)) else {
            return Err(self.held_back(Holdup::Unauthorized, None));
        };
        *slot = Some(now);
        Ok(())
    }

    /// Learns from a request about a record. A `retry_after` holds everything back.
    pub(super) fn settle(&self, record: u64, lesson: Lesson, retry_after: Option<Duration>, probe: bool) {
        let now = Instant::now();
        let mut state = self.lock();
        match lesson {
            Lesson::Answers => {
                if state.breaker.success() {
                    self.meter.set_breaker(false);
                }
                if probe {
                    state.locked_out = None;
                }
            }
            Lesson::Fails => {
                if state.breaker.failure(record, now, fastrand::f64()) {
                    self.meter.set_breaker(true);
                }
            }
            Lesson::LockedOut => {
                state.locked_out.get_or_insert_default();
            }
        }
        if let Some(wait) = retry_after {
            let until = now + wait.min(RETRY_AFTER_MAX);
            state.held_until = Some(state.held_until.map_or(until, |held| held.max(until)));
        }
    }

    /// Counts a request, which began then, and learns from what came of it.
    pub(super) fn learn<T>(&self, (verb, record): (Verb, u64), probe: bool, began: Instant, came: &Came<T>) {
        let (lesson, retry_after) = match came {
            Came::Success(_) | Came::Problem(_) => (Lesson::Answers, None),
            Came::Failure(Failure { why: Unreachable { trouble, retry_after }, fate }) => {
                let lesson = match trouble {
                    Trouble::Unauthorized => Lesson::LockedOut,
                    // The system's own refusal of one record says that the system is well.
                    Trouble::Forbidden if *fate == Fate::Said(403, true) => Lesson::Answers,
                    _ => Lesson::Fails,
                };
                (lesson, *retry_after)
            }
        };
        // What a probe was refused is no success of a probe.
        let probe = probe && !matches!(came, Came::Failure(_));
        self.meter.count(verb, came.class(), began.elapsed());
        self.settle(record, lesson, retry_after, probe);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_back(&self, why: Holdup, retry_after: Option<Duration>) -> Unreachable {
        self.meter.hold_back(why);
        Unreachable { trouble: Trouble::HeldBack, retry_after }
    }

    /// Why nothing goes through just now, if so.
    fn shut(&self, state: &mut State, now: Instant) -> Result<(), Unreachable> {
        if let Some(left) = state.held(now) {
            return Err(self.held_back(Holdup::RetryAfter, Some(left)));
        }
        if state.locked_out.is_some() {
            return Err(self.held_back(Holdup::Unauthorized, None));
        }
        Ok(())
    }

    /// Takes a token, to be used after the returned wait; the breaker is asked last, so that a trial is not wasted.
    fn reserve(&self, patience: Duration) -> Result<Duration, Unreachable> {
        let now = Instant::now();
        let mut state = self.lock();
        self.shut(&mut state, now)?;
        state.refill(now, self.settings.requests_per_second);
        let wait = Duration::from_secs_f64(((1.0 - state.tokens) / self.settings.requests_per_second).max(0.0));
        if wait > patience {
            return Err(self.held_back(Holdup::Rate, None));
        }
        if !state.breaker.admit(now, self.settings.timeout) {
            return Err(self.held_back(Holdup::Breaker, None));
        }
        state.tokens -= 1.0;
        Ok(wait)
    }
}

/// Tokens in a full bucket: a second's worth, and never less than the one that a request needs.
fn burst(requests_per_second: f64) -> f64 {
    requests_per_second.max(1.0)
}

impl State {
    fn refill(&mut self, now: Instant, requests_per_second: f64) {
        let gained = now.duration_since(self.counted).as_secs_f64() * requests_per_second;
        self.tokens = (self.tokens + gained).min(burst(requests_per_second));
        self.counted = now;
    }

    /// How long a `Retry-After` still holds.
    fn held(&mut self, now: Instant) -> Option<Duration> {
        let left = self.held_until?.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            self.held_until = None;
        }
        left
    }
}

#[async_trait]
impl Gate for Limits {
    async fn permit(&self) -> Result<Permit, Unreachable> {
        let start = Instant::now();
        {
            // Nobody queues for a place behind a closed door.
            let mut state = self.lock();
            self.shut(&mut state, start)?;
            if !state.breaker.would_admit(start) {
                return Err(self.held_back(Holdup::Breaker, None));
            }
        }
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::Closed) => return Err(self.held_back(Holdup::Concurrency, None)),
            Err(TryAcquireError::NoPermits) => {
                match tokio::time::timeout(PATIENCE, self.places.clone().acquire_owned()).await {
                    Ok(Ok(place)) => place,
                    Ok(Err(_)) | Err(_) => return Err(self.held_back(Holdup::Concurrency, None)),
                }
            }
        };
        let wait = self.reserve(PATIENCE.saturating_sub(start.elapsed()))?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(Permit { gate: self.id, turn: tokio::sync::Mutex::new(()), _place: place })
    }

    fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    fn congested(&self) -> bool {
        let mut state = self.lock();
        state.breaker.is_open() || state.locked_out.is_some() || state.held(Instant::now()).is_some()
    }
}

/// A place in the limits for as long as it lives, for one request after the other.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    limits: &'a Limits,
    _turn: Option<tokio::sync::MutexGuard<'a, ()>>,
    _own: Option<Permit>,
    /// Whether the next request's token came with the permit.
    prepaid: bool,
    deadline: Instant,
}

impl Entered<'_> {
    /// When the call that entered must have ended: its requests share one timeout.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Asked right before each request. A request without a token of its own goes ahead on credit, and later ones wait
    /// the longer: between a re-check and its write there must be no waiting.
    ///
    /// # Errors
    /// Held back, by a 401 or a `Retry-After` that came since the permit was given.
    pub(super) fn may_send(&mut self) -> Result<(), Unreachable> {
        let now = Instant::now();
        let mut state = self.limits.lock();
        self.limits.shut(&mut state, now)?;
        if !std::mem::take(&mut self.prepaid) {
            state.refill(now, self.limits.settings.requests_per_second);
            state.tokens -= 1.0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
