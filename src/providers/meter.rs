//! Counts of what went through one connection, cheap enough for every request and made for metrics: closed sets only.

use crate::spans::Through;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The four methods that are ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Reads.
    Get,
    /// Asks for what is known of an object, without it.
    Head,
    /// Changes a record.
    Patch,
    /// Announces a handoff.
    Post,
}

impl Verb {
    /// All four.
    pub const ALL: [Verb; 4] = [Verb::Get, Verb::Head, Verb::Patch, Verb::Post];

    /// The method's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Head => "HEAD",
            Verb::Patch => "PATCH",
            Verb::Post => "POST",
        }
    }
}

/// How a request that was sent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 2xx, in the contract.
    Success,
    /// 4xx in the system's own format: no such record, conflict, refused.
    Answered,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 429.
    TooManyRequests,
    /// Timeout, reset, refused connection, 5xx, 408, 423, 425.
    Unavailable,
    /// Not the contract.
    NotUnderstood,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 7] = [
        Class::Success,
        Class::Answered,
        Class::Unauthorized,
        Class::Forbidden,
        Class::TooManyRequests,
        Class::Unavailable,
        Class::NotUnderstood,
    ];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Success => "success",
            Class::Answered => "answered",
            Class::Unauthorized => "unauthorized",
            Class::Forbidden => "forbidden",
            Class::TooManyRequests => "too_many_requests",
            Class::Unavailable => "unavailable",
            Class::NotUnderstood => "not_understood",
        }
    }
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holdup {
    /// No place among the requests under way.
    Concurrency,
    /// The rate of requests.
    Rate,
    /// The circuit breaker is open.
    Breaker,
    /// The system asked to be left alone for a while.
    RetryAfter,
    /// The system does not take the credentials.
    Unauthorized,
}

impl Holdup {
    /// All of them.
    pub const ALL: [Holdup; 5] =
        [Holdup::Concurrency, Holdup::Rate, Holdup::Breaker, Holdup::RetryAfter, Holdup::Unauthorized];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Holdup::Concurrency => "concurrency",
            Holdup::Rate => "rate",
            Holdup::Breaker => "breaker",
            Holdup::RetryAfter => "retry_after",
            Holdup::Unauthorized => "unauthorized",
        }
    }
}

/// Upper bounds of how long requests took, in milliseconds; behind the last, everything longer.
pub const TOOK_MAX: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// The counts. They only grow.
#[derive(Debug, Default)]
pub struct Meter {
    through: Through,
    requests: [[AtomicU64; Class::ALL.len()]; Verb::ALL.len()],
    took: [AtomicU64; TOOK_MAX.len() + 1],
    microseconds: AtomicU64,
    held_back: [AtomicU64; Holdup::ALL.len()],
    opened: AtomicU64,
    open: AtomicBool,
}

impl Meter {
    /// Counts of this connection, at zero.
    #[must_use]
    pub fn of(namespace: &str, connection: &str) -> Meter {
        let through = Through { namespace: namespace.to_owned(), connection: connection.to_owned() };
        Meter { through, ..Meter::default() }
    }

    /// The connection, as administrators named it.
    #[must_use]
    pub fn through(&self) -> &Through {
        &self.through
    }

    /// Requests sent, by method and how they ended.
    #[must_use]
    pub fn requests(&self, verb: Verb, class: Class) -> u64 {
        self.requests[verb as usize][class as usize].load(Ordering::Relaxed)
    }

    /// Requests sent, all together.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.requests.iter().flatten().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Requests that were not sent because of the connection's limits, a `Retry-After`, a 401 or the breaker.
    #[must_use]
    pub fn held_back(&self) -> u64 {
        self.held_back.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The same, for one reason.
    #[must_use]
    pub fn held_back_by(&self, why: Holdup) -> u64 {
        self.held_back[why as usize].load(Ordering::Relaxed)
    }

    /// How many requests took how long: one count for each bound of [`TOOK_MAX`], and one for what took longer; and how long
    /// they took all together, in seconds.
    #[must_use]
    pub fn took(&self) -> ([u64; TOOK_MAX.len() + 1], f64) {
        let counts = self.took.each_ref().map(|count| count.load(Ordering::Relaxed));
        (counts, Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).as_secs_f64())
    }

    /// How many times the breaker opened.
    #[must_use]
    pub fn breaker_opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Whether the breaker is open.
    #[must_use]
    pub fn breaker_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, verb: Verb, class: Class, took: Duration) {
        self.requests[verb as usize][class as usize].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = TOOK_MAX.iter().position(|most| micros <= most * 1_000).unwrap_or(TOOK_MAX.len());
        self.took[bucket].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn hold_back(&self, why: Holdup) {
        self.held_back[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_breaker(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
        if open {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
    }
}
