//! One active replica, by a `coordination.k8s.io` Lease: in reading order [`candidate`](Lease::acquire) stands by and takes it,
//! `keeper` renews it, [`Fence`] is what writers ask. [`Members`] and [`Seats`] are for a lease that several replicas hold together,
//! and for sharing others out among them; [`crate::controller`] has the whole of that.
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

use k8s_openapi::api::coordination::v1::Lease as Record;
use kube::api::Api;
use kube::{Client, Config};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::warn;

mod candidate;
mod fence;
mod keeper;
mod members;
mod seats;
#[cfg(test)]
mod sharing_tests;
#[cfg(test)]
mod tests;

pub use fence::Fence;
use keeper::Keeper;
pub use members::Members;
use seats::Seat;
pub use seats::Seats;

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
/// fails fast. How long a call may take is seen to by whoever makes it: a watch is to be silent for as long as nothing happens.
///
/// # Errors
/// Where the configuration's certificates or credentials cannot be used.
pub fn client(config: &Config) -> Result<Client, kube::Error> {
    let timing = Timing::default();
    let mut config = config.clone();
    config.default_retry = false;
    config.connect_timeout = Some(timing.call_timeout);
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
    /// Where it is held by several together, under one identity.
    members: Option<Arc<Members>>,
    /// Where it is one of several that replicas share out.
    seats: Option<Arc<Seats>>,
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
            members: None,
            seats: None,
        }
    }

    /// The same, held together with everybody who has the same `identity`: each renews it, and it is given up when the last
    /// of them leaves. Whoever has another identity waits until none of them has renewed it for its duration.
    #[must_use]
    pub fn together(self, members: Arc<Members>) -> Lease {
        Lease { members: Some(members), ..self }
    }

    /// The same, taken when it is due to this replica.
    #[must_use]
    pub fn shared_out(self, seats: Arc<Seats>) -> Lease {
        Lease { seats: Some(seats), ..self }
    }

    /// The same with another clock and another timing.
    #[must_use]
    pub fn with(self, timing: Timing, clock: Clock) -> Lease {
        Lease { timing, clock, ..self }
    }
}

/// The lease, held. Dropping it stops the renewing; the term then lapses by itself.
pub struct Leadership {
    fence: Fence,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// Counted until the lease is given back.
    _seat: Option<Seat>,
}

impl Leadership {
    fn start(lease: Lease, record: Record, sent: Duration, seat: Option<Seat>) -> Leadership {
        let deadline = sent + lease.timing.duration;
        let (term, follow) = watch::channel(Term::Until(deadline));
        let (ask, asked) = watch::channel(Duration::ZERO);
        let (stop, stopped) = oneshot::channel();
        let fence = Fence::new(follow, Arc::new(ask), lease.timing, lease.clock.clone());
        let keeper = Keeper { lease, record, unsure: false, term, asked };
        let task = tokio::spawn(keeper.keep(sent, stopped));
        Leadership { fence, stop: Some(stop), task, _seat: seat }
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
