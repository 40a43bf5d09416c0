//! The side of a replica that stands by: seeing who leads, and taking the lease when nobody does.

use super::seats::{Seat, Vacancy};
use super::{Leadership, Lease};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Record, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams, WatchEvent, WatchParams};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// How long a lease that was given back is left to those who are due to take it, before anybody takes it.
const COURTESY: Duration = Duration::from_secs(5);

/// What a standing-by replica has seen: the record at this version (none: no record) since this moment.
pub(super) struct Seen {
    version: Option<String>,
    since: Duration,
    duration: Duration,
    /// Whether it named no holder, and was left to others.
    vacant: bool,
}

impl Seen {
    /// How long it is left alone.
    fn wait(&self) -> Duration {
        if self.vacant { COURTESY } else { self.duration }
    }
}

enum Attempt {
    Taken(Box<Record>, Duration, Option<Seat>),
    HeldBy(String),
    /// It is free, and another replica is due to take it.
    Left,
    Raced,
}

impl Lease {
    /// Stands by until this replica leads, then keeps renewing in the background. `standing_by` is called with the
    /// holder whenever that is another one than before. Dropping the future gives the candidacy up.
    ///
    /// **Errors** are logged and tried again: an API server that is away, or a missing right, is waited for.
    pub async fn acquire(self, mut standing_by: impl FnMut(&str)) -> Leadership {
        let mut seen: Option<Seen> = None;
        let mut holder: Option<String> = None;
        loop {
            let mut again = false;
            match timeout(self.timing.call_timeout * 2, self.take(&mut seen)).await {
                Ok(Ok(Attempt::Taken(record, sent, seat))) => {
                    info!(lease = self.name, identity = self.identity, "leading");
                    return Leadership::start(self, *record, sent, seat);
                }
                Ok(Ok(Attempt::HeldBy(other))) if holder.as_ref() != Some(&other) => {
                    info!(lease = self.name, holder = other, "standing by");
                    standing_by(&other);
                    holder = Some(other);
                }
                Ok(Ok(Attempt::HeldBy(_) | Attempt::Raced)) => {}
                // Whoever gave it back may have left: that is looked up at once.
                Ok(Ok(Attempt::Left)) => again = self.due_after_a_look().await,
                Ok(Err(error)) => warn!(lease = self.name, %error, "cannot take the lease; trying again"),
                Err(_) => warn!(lease = self.name, "the API server does not answer; trying again"),
            }
            // Not at once, in case the API server says no again and again.
            sleep(self.timing.retry_every / 4).await;
            if !again {
                self.rest(seen.as_ref()).await;
            }
        }
    }

    async fn due_after_a_look(&self) -> bool {
        match &self.seats {
            Some(seats) => {
                seats.look().await;
                seats.is_due()
            }
            None => true,
        }
    }

    /// Until the next look: until the record changes, which is how a hand-over is seen at once, or has no time left. Where
    /// changes cannot be watched, the usual time, jittered.
    async fn rest(&self, seen: Option<&Seen>) {
        let left = |seen: &Seen| (seen.since + seen.wait()).saturating_sub((self.clock)());
        let usual = self.timing.poll_every.mul_f64(0.75 + fastrand::f64() / 2.0);
        let begun = (self.clock)();
        if let Some((seen, version)) = seen.and_then(|seen| Some((seen, seen.version.as_ref()?)))
            && let Ok(true) | Err(_) = timeout(left(seen), self.changes_after(version)).await
        {
            return;
        }
        let rested = (self.clock)().saturating_sub(begun);
        sleep(usual.saturating_sub(rested).min(seen.map_or(usual, left))).await;
    }

    /// Resolves when the record is another one than this; with false where that cannot be watched.
    async fn changes_after(&self, version: &str) -> bool {
        let only = WatchParams::default().fields(&format!("metadata.name={}", self.name));
        let Ok(events) = self.api.watch(&only.disable_bookmarks(), version).await else { return false };
        let first = pin!(events).next().await;
        matches!(first, Some(Ok(WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Deleted(_))))
    }

    /// One try, at most two calls.
    async fn take(&self, seen: &mut Option<Seen>) -> Result<Attempt, kube::Error> {
        let asked = (self.clock)();
        let current = self.api.get_opt(&self.name).await?;
        let answered = (self.clock)();
        let version = current.as_ref().and_then(|record| record.metadata.resource_version.clone());
        let holder = current.as_ref().and_then(holder);
        let same = seen.as_ref().filter(|seen| seen.version == version);
        // Unchanged from the end of the first look to the beginning of this one.
        let unchanged = same.is_some_and(|seen| !seen.vacant && asked >= seen.since + seen.duration);
        let left_for = || match same {
            Some(seen) if seen.vacant => asked.saturating_sub(seen.since),
            _ => Duration::ZERO,
        };
        let vacancy = match (&current, &holder, &*seen) {
            // A reply of ours was lost; the record is ours all the same.
            (_, Some(holder), _) if *holder == self.identity => Some(Vacancy::Ours),
            (_, Some(holder), _) => unchanged.then(|| Vacancy::Lapsed(holder.clone())),
            // Somebody deleted it, and its holder may not know.
            (None, None, Some(seen)) if !seen.vacant => unchanged.then(|| Vacancy::Lapsed(String::new())),
            (_, None, _) => Some(Vacancy::Free { due_to_anybody: left_for() >= COURTESY }),
        };
        let Some(vacancy) = vacancy else {
            if same.is_none_or(|seen| seen.vacant) {
                let duration = match &current {
                    Some(record) => duration_of(record).unwrap_or(self.timing.duration),
                    None => seen.as_ref().map_or(self.timing.duration, |seen| seen.duration),
                };
                *seen = Some(Seen { version, since: answered, duration, vacant: false });
            }
            return Ok(Attempt::HeldBy(holder.unwrap_or_default()));
        };
        let seat = match &self.seats {
            None => None,
            Some(seats) => match seats.take(&vacancy) {
                Some(seat) => Some(seat),
                None => {
                    if same.is_none_or(|seen| !seen.vacant) {
                        let duration = self.timing.duration;
                        *seen = Some(Seen { version, since: answered, duration, vacant: true });
                    }
                    return Ok(Attempt::Left);
                }
            },
        };
        let wanted = self.claim(current.as_ref());
        let sent = (self.clock)();
        let written = match current {
            Some(_) => self.api.replace(&self.name, &PostParams::default(), &wanted).await,
            None => self.api.create(&PostParams::default(), &wanted).await,
        };
        match written {
            Ok(record) => Ok(Attempt::Taken(Box::new(record), sent, seat)),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(Attempt::Raced),
            Err(error) => Err(error),
        }
    }

    /// The record as it shall be: ours from now on, everything else as it was read.
    pub(super) fn claim(&self, current: Option<&Record>) -> Record {
        let now = MicroTime(Timestamp::now());
        let mut record = current.cloned().unwrap_or_else(|| Record {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        if let Some(members) = &self.members {
            let of_us = current.and_then(holder).as_ref() == Some(&self.identity);
            members.sign(&mut record, of_us, (self.clock)());
        }
        let spec = record.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.timing.duration.as_secs()).ok();
        spec.renew_time = Some(now);
        record
    }
}

/// Whom a record names as its holder.
pub(super) fn holder(record: &Record) -> Option<String> {
    record.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}

/// What the holder promised, which may be another version of this program. At least a second, at most an hour: a record
/// that promises nonsense shall not hold everybody up for ever.
fn duration_of(record: &Record) -> Option<Duration> {
    let seconds = record.spec.as_ref()?.lease_duration_seconds?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(1).clamp(1, 3600)))
}
