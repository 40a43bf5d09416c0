//! One active replica, by a `coordination.k8s.io` Lease.
//!
//! **Guarantees.** While [`Fence::valid_for`] says more than zero, no other replica that keeps these rules leads:
//! 1. every write of the record carries the resourceVersion it is based on, so nobody overwrites a record unseen;
//! 2. the holder counts its term from *before* the renewal was sent, and lets it lapse by itself when renewals fail;
//! 3. another replica takes over only after it has itself seen the record unchanged for the record's whole duration,
//!    measured on its own clock; clocks of different machines are never compared;
//! 4. both count on a clock that runs on while the machine is suspended ([`boottime`]).
//!
//! **Assumes** that the two machines' clocks run at nearly the same *rate*, and that nobody deletes the record: a
//! replica that starts after a deletion leads at once, and the old leader learns of it at its next renewal, up to
//! [`Timing::renew_every`] later (replicas that had seen the record wait its duration out).
//!
//! **Caveat.** A lease is no substitute for preconditions: a request that was sent in time may land late. That is why a
//! write needs a term that outlives its whole timeout ([`Fence::secure`]), and why every write to a system carries the
//! strongest precondition that the system has.

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Record, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::{Client, Config};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

mod keeper;
#[cfg(test)]
mod tests;

use keeper::Keeper;

/// Time since some fixed moment; never goes back. An argument, so that tests bring their own.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Time since the machine started, suspended time included.
#[must_use]
pub fn boottime() -> Clock {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    // Where there is no such clock the operator is being developed, not run.
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    Arc::new(|| {
        let now = rustix::time::clock_gettime(CLOCK);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    })
}

/// A client for leases alone. The ordinary one retries by itself, for minutes, which would outlive the term; this one
/// fails fast.
///
/// # Errors
/// Where the configuration's certificates or credentials cannot be used.
pub fn client(config: &Config) -> Result<Client, kube::Error> {
    let timing = Timing::default();
    let mut config = config.clone();
    config.default_retry = false;
    config.connect_timeout = Some(timing.call_timeout);
    config.read_timeout = Some(timing.call_timeout);
    config.write_timeout = Some(timing.call_timeout);
    Client::try_from(config)
}

/// A name that no other process has, ever: that the record names us is proof that we wrote it, whatever became of the
/// reply. `pod` is the pod's name and uid; without one, the machine's name and the process id stand in.
#[must_use]
pub fn identity(pod: Option<(&str, &str)>) -> String {
    let nonce = fastrand::u64(..);
    match pod {
        Some((name, uid)) => format!("{name}_{uid}_{nonce:016x}"),
        None => {
            let uname = rustix::system::uname();
            let host = uname.nodename().to_string_lossy();
            format!("{host}_{}_{nonce:016x}", std::process::id())
        }
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a renewal is good for; whole seconds.
    pub duration: Duration,
    /// From sending one renewal to sending the next.
    pub renew_every: Duration,
    /// From one failed renewal to the next try.
    pub retry_every: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How often a replica that stands by looks at the record, where it may not watch it.
    pub poll_every: Duration,
}

impl Default for Timing {
    /// One write every ten seconds; an API server may be away for nearly five before the leader gives up.
    fn default() -> Self {
        Timing {
            duration: Duration::from_secs(15),
            renew_every: Duration::from_secs(10),
            retry_every: Duration::from_millis(500),
            call_timeout: Duration::from_secs(2),
            poll_every: Duration::from_secs(2),
        }
    }
}

/// A replica that wants to lead.
pub struct Lease {
    api: Api<Record>,
    name: String,
    identity: String,
    timing: Timing,
    clock: Clock,
}

/// What a standing-by replica has seen: the record at this version (none: no record) since this moment.
struct Seen {
    version: Option<String>,
    since: Duration,
    duration: Duration,
}

/// Why a term ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Renewals failed until the term was over, or the machine was suspended.
    #[error("the lease could not be renewed in time")]
    Lapsed,
    /// The record names somebody else.
    #[error("the lease is held by {0:?}")]
    Taken(String),
    /// The record is gone.
    #[error("the lease was deleted")]
    Deleted,
    /// This replica gave it back.
    #[error("the lease was released")]
    Released,
}

/// A term, as the renewing task tells it to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Until(Duration),
    Ended(Lost),
}

impl Lease {
    /// A candidate for the lease `name` in `namespace`. `client` should be one from [`client`].
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> Lease {
        Lease {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            timing: Timing::default(),
            clock: boottime(),
        }
    }

    /// The same with another clock and another timing.
    #[must_use]
    pub fn with(self, timing: Timing, clock: Clock) -> Lease {
        Lease { timing, clock, ..self }
    }

    /// Stands by until this replica leads, then keeps renewing in the background. `standing_by` is called with the
    /// holder whenever that is another one than before. Dropping the future gives the candidacy up.
    ///
    /// **Errors** are logged and tried again: an API server that is away, or a missing right, is waited for.
    pub async fn acquire(self, mut standing_by: impl FnMut(&str)) -> Leadership {
        let mut seen: Option<Seen> = None;
        let mut holder: Option<String> = None;
        loop {
            match timeout(self.timing.call_timeout * 2, self.take(&mut seen)).await {
                Ok(Ok(Attempt::Taken(record, sent))) => {
                    info!(lease = self.name, identity = self.identity, "leading");
                    return Leadership::start(self, *record, sent);
                }
                Ok(Ok(Attempt::HeldBy(other))) if holder.as_ref() != Some(&other) => {
                    info!(lease = self.name, holder = other, "standing by");
                    standing_by(&other);
                    holder = Some(other);
                }
                Ok(Ok(Attempt::HeldBy(_) | Attempt::Raced)) => {}
                Ok(Err(error)) => warn!(lease = self.name, %error, "cannot take the lease; trying again"),
                Err(_) => warn!(lease = self.name, "the API server does not answer; trying again"),
            }
            // Not at once, in case the API server says no again and again.
            sleep(self.timing.retry_every / 4).await;
            self.rest(seen.as_ref()).await;
        }
    }

    /// Until the next look: until the record changes, which is how a hand-over is seen at once, or has no time left. Where
    /// changes cannot be watched, the usual time, jittered.
    async fn rest(&self, seen: Option<&Seen>) {
        let left = |seen: &Seen| (seen.since + seen.duration).saturating_sub((self.clock)());
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
        let free = match (&current, &holder, &*seen) {
            (None, _, None) => true,
            (Some(_), None, _) => true,
            // A reply of ours was lost; the record is ours all the same.
            (Some(_), Some(holder), _) if *holder == self.identity => true,
            // Unchanged from the end of the first look to the beginning of this one.
            (_, _, Some(seen)) => seen.version == version && asked >= seen.since + seen.duration,
            (Some(_), Some(_), None) => false,
        };
        if !free {
            if seen.as_ref().is_none_or(|seen| seen.version != version) {
                let duration = match &current {
                    Some(record) => duration_of(record).unwrap_or(self.timing.duration),
                    None => seen.as_ref().map_or(self.timing.duration, |seen| seen.duration),
                };
                *seen = Some(Seen { version, since: answered, duration });
            }
            return Ok(Attempt::HeldBy(holder.unwrap_or_default()));
        }
        let wanted = self.claim(current.as_ref());
        let sent = (self.clock)();
        let written = match current {
            Some(_) => self.api.replace(&self.name, &PostParams::default(), &wanted).await,
            None => self.api.create(&PostParams::default(), &wanted).await,
        };
        match written {
            Ok(record) => Ok(Attempt::Taken(Box::new(record), sent)),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(Attempt::Raced),
            Err(error) => Err(error),
        }
    }

    /// The record as it shall be: ours from now on, everything else as it was read.
    fn claim(&self, current: Option<&Record>) -> Record {
        let now = MicroTime(Timestamp::now());
        let mut record = current.cloned().unwrap_or_else(|| Record {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
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

enum Attempt {
    Taken(Box<Record>, Duration),
    HeldBy(String),
    Raced,
}

fn holder(record: &Record) -> Option<String> {
    record.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}

/// What the holder promised, which may be another version of this program. At least a second, at most an hour: a record
/// that promises nonsense shall not hold everybody up for ever.
fn duration_of(record: &Record) -> Option<Duration> {
    let seconds = record.spec.as_ref()?.lease_duration_seconds?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(1).clamp(1, 3600)))
}

/// The lease, held. Dropping it stops the renewing; the term then lapses by itself.
pub struct Leadership {
    fence: Fence,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Leadership {
    fn start(lease: Lease, record: Record, sent: Duration) -> Leadership {
        let deadline = sent + lease.timing.duration;
        let (term, follow) = watch::channel(Term::Until(deadline));
        let (ask, asked) = watch::channel(Duration::ZERO);
        let (stop, stopped) = oneshot::channel();
        let fence = Fence { term: follow, ask: Arc::new(ask), timing: lease.timing, clock: lease.clock.clone() };
        let keeper = Keeper { lease, record, unsure: false, term, asked };
        let task = tokio::spawn(keeper.keep(sent, stopped));
        Leadership { fence, stop: Some(stop), task }
    }

    /// The fence for everything that writes.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Resolves when the term is over, by whatever cause. Nothing may be written from then on; the process should end.
    pub async fn lost(&self) -> Lost {
        self.fence.ended().await
    }

    /// Ends the term and gives the lease back, so that the next replica need not wait it out. To be called when
    /// everything that writes has stopped. Takes at most two calls' time; an API server that is away is not waited for.
    pub async fn release(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the task has ended already.
            let _ = stop.send(());
        }
        if let Err(error) = (&mut self.task).await {
            warn!(%error, "the renewing task ended badly");
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a writer asks before each write. Cheap to clone and to ask.
#[derive(Clone)]
pub struct Fence {
    term: watch::Receiver<Term>,
    ask: Arc<watch::Sender<Duration>>,
    timing: Timing,
    clock: Clock,
}

impl Fence {
    /// How long this replica leads for certain, without another renewal. Zero: not any more.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        match &*self.term.borrow() {
            Term::Until(deadline) => deadline.saturating_sub((self.clock)()),
            Term::Ended(_) => Duration::ZERO,
        }
    }

    /// Whether the term outlives a write that may take as long as `needed`.
    #[must_use]
    pub fn outlasts(&self, needed: Duration) -> bool {
        self.valid_for() > needed
    }

    /// The same, but has the lease renewed out of turn where the term is too short, and waits for that: with a term of
    /// 15 s renewed every 10 s, a write that may take 10 s would otherwise be held up half of the time.
    ///
    /// False at once where `needed` is no shorter than a whole term; false after one call's time where the API server
    /// does not answer. Many callers at once make one renewal.
    pub async fn secure(&self, needed: Duration) -> bool {
        if self.outlasts(needed) || needed >= self.timing.duration {
            return self.outlasts(needed);
        }
        let wanted = (self.clock)() + needed;
        self.ask.send_if_modified(|asked| {
            let more = wanted > *asked;
            *asked = wanted.max(*asked);
            more
        });
        let mut term = self.term.clone();
        let enough = term.wait_for(|term| match term {
            Term::Until(deadline) => *deadline > wanted,
            Term::Ended(_) => true,
        });
        // Whatever came of it, the term itself has the last word.
        let _ = timeout(self.timing.call_timeout, enough).await;
        self.outlasts(needed)
    }

    /// Resolves when the term is over.
    pub async fn ended(&self) -> Lost {
        let mut term = self.term.clone();
        match term.wait_for(|term| matches!(term, Term::Ended(_))).await.as_deref() {
            Ok(Term::Ended(lost)) => lost.clone(),
            // The renewing task is gone, and with it the only one who could go on.
            Ok(Term::Until(_)) | Err(_) => Lost::Lapsed,
        }
    }

    /// A fence that holds for so long, for the unit tests of this crate alone.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the tests of other modules")]
    pub(crate) fn for_tests(valid_for: Duration) -> Fence {
        let clock = boottime();
        let (_, term) = watch::channel(Term::Until(clock() + valid_for));
        Fence { term, ask: Arc::new(watch::channel(Duration::ZERO).0), timing: Timing::default(), clock }
    }
}
