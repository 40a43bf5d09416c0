//! Counts of what went through one connection, cheap enough for every request and made for metrics: closed sets only.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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

/// The counts. They only grow.
#[derive(Debug, Default)]
pub struct Meter {
    requests: [[AtomicU64; Class::ALL.len()]; Verb::ALL.len()],
    held_back: AtomicU64,
    opened: AtomicU64,
    open: AtomicBool,
}

impl Meter {
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
        self.held_back.load(Ordering::Relaxed)
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

    pub(super) fn count(&self, verb: Verb, class: Class) {
        self.requests[verb as usize][class as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hold_back(&self) {
        self.held_back.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_breaker(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
        if open {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
    }
}
