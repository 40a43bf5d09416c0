//! The only door from the wire into the core.
//!
//! An API server with the shipped schemas has refused most of what is refused here. This is for the one whose schemas are
//! older, and it is what the rest of the operator relies on.

use super::REQUESTED_AT;
use super::closure_playbook::{ClosurePlaybookSpec, ConnectionRef, Policy, RetryPolicy};
use super::release_closure::ReleaseClosureSpec;
use super::system_connection::Limits;
use crate::closure::accepted::{Accepted, Invalid, Rules};
use crate::closure::ids::{self, System};
use kube::ResourceExt;
use std::time::Duration;

/// A duration as Go writes it, without sign and without units below a millisecond.
pub const DURATION_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// Longest text of a duration, in characters.
pub const DURATION_MAX: usize = 16;
/// Longest token of [`REQUESTED_AT`] that is echoed, in characters; of a longer one, this much.
pub const REQUESTED_AT_MAX: usize = 256;

/// The rules of a playbook, and where its systems are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playbook {
    /// What the core needs.
    pub rules: Rules,
    /// Each system's connection, in the order of [`System::ALL`].
    connections: [ConnectionRef; 6],
    /// The connection on which people are told of halts.
    pub follow_up: Option<ConnectionRef>,
    /// The only services it may be used for; empty: all.
    services: Vec<String>,
    /// How a closure that waits tries again.
    pub retry: Backoff,
}

impl Playbook {
    /// The connection to this system.
    #[must_use]
    pub fn connection(&self, system: System) -> &ConnectionRef {
        let [governance, archive, checklist, tracker, queue, intake] = &self.connections;
        match system {
            System::Governance => governance,
            System::Archive => archive,
            System::Checklist => checklist,
            System::Tracker => tracker,
            System::Queue => queue,
            System::Intake => intake,
        }
    }

    /// Every connection that it names.
    pub fn connections(&self) -> impl Iterator<Item = &ConnectionRef> {
        self.connections.iter().chain(&self.follow_up)
    }

    /// Whether releases of this service may be closed with it.
    #[must_use]
    pub fn allows_service(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|allowed| allowed == service)
    }
}

/// How a closure that waits tries again. `initial` is at least 100 ms, `max` at most 1 h and at least `initial`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause, before jitter.
    pub initial: Duration,
    /// The longest pause.
    pub max: Duration,
}

/// The limits of a connection, all within their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedLimits {
    /// Requests in one second.
    pub requests_per_second: u32,
    /// Requests under way at once.
    pub concurrency: u32,
    /// How long one request may take.
    pub timeout: Duration,
}

/// What a closure asks for, checked.
///
/// # Errors
/// The first field that breaks its rule.
pub fn accepted(spec: &ReleaseClosureSpec) -> Result<Accepted, Invalid> {
    let ReleaseClosureSpec {
        playbook_ref: _,
        release,
        review,
        milestone,
        evidence,
        records,
        coordinator,
        mode: _,
        suspend: _,
    } = spec;
    Accepted::new(
        release.clone(),
        review.clone(),
        milestone.clone(),
        evidence.clone(),
        records.clone().unwrap_or_default(),
        coordinator.clone(),
    )
}

/// The rules of a playbook, checked.
///
/// # Errors
/// The first field that breaks its rule.
pub fn playbook(spec: &ClosurePlaybookSpec) -> Result<Playbook, Invalid> {
    let ClosurePlaybookSpec { governance, archive, checklist, tracker, queue, intake, follow_up, services, policy } =
        spec;
    // What is kept how long says nothing about how a release is closed.
    let Policy { recheck, missing_grace_period, retry, retention: _ } = policy;
    let lists = [
        ("governance.acceptedStates", &governance.accepted_states),
        ("archive.requiredArtifacts", &archive.required_artifacts),
        ("tracker.approvableStates", &tracker.approvable_states),
    ];
    for (field, list) in lists {
        if list.is_empty() || list.iter().any(String::is_empty) {
            return Err(Invalid { field, rule: "must have at least one entry, and none that is empty" });
        }
    }
    if tracker.approved_state.is_empty() {
        return Err(Invalid { field: "tracker.approvedState", rule: "must be given" });
    }
    if !services.iter().all(|service| ids::is_id(service)) {
        return Err(Invalid { field: "services", rule: "must each be an identifier of a service" });
    }
    let grace = duration("policy.missingGracePeriod", missing_grace_period)?;
    if grace > DAY {
        return Err(Invalid { field: "policy.missingGracePeriod", rule: "must be between 0s and 24h" });
    }
    Ok(Playbook {
        rules: Rules {
            accepted_states: governance.accepted_states.clone(),
            required_artifacts: archive.required_artifacts.clone(),
            open_items: checklist.open_items,
            approved_state: tracker.approved_state.clone(),
            approvable_states: tracker.approvable_states.clone(),
            recheck: *recheck,
            missing_grace: grace,
        },
        connections: [
            &governance.connection_ref,
            &archive.connection_ref,
            &checklist.connection_ref,
            &tracker.connection_ref,
            &queue.connection_ref,
            &intake.connection_ref,
        ]
        .map(Clone::clone),
        follow_up: follow_up.as_ref().map(|channel| channel.connection_ref.clone()),
        services: services.clone(),
        retry: backoff(retry)?,
    })
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn backoff(retry: &RetryPolicy) -> Result<Backoff, Invalid> {
    let RetryPolicy { initial, max } = retry;
    let initial = duration("policy.retry.initial", initial)?;
    let max = duration("policy.retry.max", max)?;
    if initial < Duration::from_millis(100) {
        return Err(Invalid { field: "policy.retry.initial", rule: "must be between 100ms and 1h" });
    }
    if max > HOUR {
        return Err(Invalid { field: "policy.retry.max", rule: "must be between 100ms and 1h" });
    }
    if initial > max {
        return Err(Invalid { field: "policy.retry.initial", rule: "must not be longer than policy.retry.max" });
    }
    Ok(Backoff { initial, max })
}

/// The limits of a connection, checked.
///
/// # Errors
/// The first field that breaks its rule.
pub fn limits(limits: &Limits) -> Result<ParsedLimits, Invalid> {
    let Limits { requests_per_second, concurrency, timeout } = limits;
    let timeout = duration("limits.timeout", timeout)?;
    let rules = [
        ((1..=1000).contains(requests_per_second), "limits.requestsPerSecond", "must be between 1 and 1000"),
        ((1..=64).contains(concurrency), "limits.concurrency", "must be between 1 and 64"),
        (
            (Duration::from_secs(1)..=Duration::from_secs(12)).contains(&timeout),
            "limits.timeout",
            "must be between 1s and 12s",
        ),
    ];
    if let Some((_, field, rule)) = rules.into_iter().find(|(holds, ..)| !holds) {
        return Err(Invalid { field, rule });
    }
    Ok(ParsedLimits { requests_per_second: *requests_per_second, concurrency: *concurrency, timeout })
}

/// The token of [`REQUESTED_AT`] as it is echoed, if the object carries one.
#[must_use]
pub fn requested_at(object: &impl ResourceExt) -> Option<String> {
    object.annotations().get(REQUESTED_AT).map(|token| token.chars().take(REQUESTED_AT_MAX).collect())
}

/// A duration such as `500ms`, `10s` or `1h30m`; what is below a nanosecond is cut off.
///
/// # Errors
/// `field` is not a duration, or one of more than 584 years.
pub fn duration(field: &'static str, text: &str) -> Result<Duration, Invalid> {
    nanoseconds(text)
        .map(Duration::from_nanos)
        .ok_or(Invalid { field, rule: "must be a duration such as 500ms, 10s, 5m or 1h30m, of at most 16 characters" })
}

fn nanoseconds(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > DURATION_MAX {
        return None;
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest)?;
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after)?,
            None => ("", after),
        };
        let (unit, after) = unit(after)?;
        // Sixteen characters cannot make any of these overflow: at most 15 digits, times 3.6e12.
        let value: u128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        total += value * unit / scale;
        rest = after;
    }
    u64::try_from(total).ok()
}

/// The leading digits, of which there must be one, and what follows.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The leading unit in nanoseconds, and what follows. `ms` before `m`: the longer one is meant.
fn unit(text: &str) -> Option<(u128, &str)> {
    [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)]
        .into_iter()
        .find_map(|(name, nanoseconds)| text.strip_prefix(name).map(|rest| (nanoseconds, rest)))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
