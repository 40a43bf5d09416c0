//! The loop of a pass: the core is asked what to do, it is done, and what came of it is handed back.
//!
//! It knows the core and the roles, and of its [`Host`] only what a pass needs of one: the time, a place to store an intent,
//! and whether a write may still go out. So the operator in its cluster and the simulation in its made-up world run the very
//! same loop.
//!
//! **Invariant:** nothing here decides. What stands against a write (a changed object, a lease that may end, a limit) only
//! ever makes a pass stop early.

mod look;
mod memory;
mod write;

pub use memory::{Remembered, after_failures};

use crate::closure::decide::{Brief, Decision, Pass, Wait, Wrote};
use crate::closure::ids::{Step, System};
use crate::closure::ledger::{Finding, Ledger};
use crate::closure::snapshot::Trouble;
use crate::roles::{Connected, Permit};
use jiff::Timestamp;
use std::future::Future;
use std::time::Duration;
use tracing::info;

/// The longest that an announcement of another process may stay under way is twice the timeout plus this, the lease's
/// duration.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);

/// How long an announcement of another pass may still be under way at an intake with this timeout.
#[must_use]
pub fn settling(timeout: Duration) -> Duration {
    2 * timeout + LEASE_DURATION
}

/// The six systems of a pass, by [`System::ALL`].
pub type Systems<'a> = [&'a Connected; 6];

/// What stands against a write although everything agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// The object, its playbook or a connection is not what the pass began with.
    Changed,
    /// The lease may end before the write would.
    LeaseTooShort,
}

/// Why a status was not stored.
#[derive(Debug)]
pub enum Unstored<E> {
    /// The object has changed, or is gone: what was decided is not based on it as it is now.
    Superseded,
    /// The store did not do its part.
    Failed(E),
}

/// What a pass needs of whoever runs it.
pub trait Host: Send {
    /// How its store fails.
    type Error: Send;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Stores the pass's ledger, which holds the intent to announce, on the very version of the object that the pass
    /// is based on.
    ///
    /// # Errors
    /// Nothing may be announced then.
    fn store_intent(&mut self, pass: &Pass) -> impl Future<Output = Result<(), Unstored<Self::Error>>> + Send;

    /// Whether this step's write may still go out: the object is there at its generation, its rules and systems are the
    /// same, and the lease outlives the write's whole timeout.
    ///
    /// # Errors
    /// What stands against it.
    fn fence(&mut self, step: Step) -> impl Future<Output = Result<(), Fenced>> + Send;
}

/// What a pass came to.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Store the ledger and try again later.
    Wait(Wait),
    /// Store a halt with these findings. Never empty.
    Halt(Vec<Finding>),
    /// Mode Plan: store the plan; where there are findings, it is one that would halt.
    Planned(Vec<Finding>),
    /// All five steps are settled.
    Done,
}

/// Why a pass came to nothing: there is nothing to store, and it begins again.
#[derive(Debug)]
pub enum Stopped<E> {
    /// The object, its playbook or a connection is not what the watch shows. One of the two is behind; the watch will tell.
    Changed,
    /// Somebody else wrote the object.
    Superseded,
    /// The lease may end before a write would.
    LeaseTooShort,
    /// The intent could not be stored.
    Failed(E),
}

/// The permit that is held for the next write, and of which system.
#[derive(Debug, Default)]
struct Held {
    permit: Option<Permit>,
    system: Option<System>,
}

/// Works a closure through its systems until the core says wait, halt or done.
///
/// # Errors
/// Something stood against going on, and nothing was settled.
pub async fn work<H: Host>(
    host: &mut H,
    brief: &Brief,
    systems: Systems<'_>,
    ledger: Ledger,
) -> Result<(Pass, End), Stopped<H::Error>> {
    let mut pass = Pass::begin(ledger);
    let mut held = Held::default();
    loop {
        let now = host.now();
        match pass.next(brief, now) {
            Decision::Observe(wanted, before) => {
                if let Some(step) = before
                    && let Err(why) = write::permit(&mut held, &systems, step).await
                {
                    pass.held_back(step, why);
                    continue;
                }
                look::observe(&mut pass, brief, &systems, &wanted, &held, now).await;
            }
            Decision::Ask => look::ask(&mut pass, brief, &systems).await,
            Decision::Probe => look::probe(&mut pass, &systems).await,
            Decision::Persist => match host.store_intent(&pass).await {
                Ok(()) => pass.persisted(),
                Err(Unstored::Superseded) => return Err(Stopped::Superseded),
                Err(Unstored::Failed(error)) => return Err(Stopped::Failed(error)),
            },
            Decision::Write(order) => {
                let step = order.step();
                let wrote = match write::permit(&mut held, &systems, step).await {
                    Err(why) => Wrote::NotApplied(why),
                    Ok(()) => match host.fence(step).await {
                        Ok(()) => write::write(order, &systems, &mut held).await,
                        // Nothing was done yet, so there is nothing to store: it begins again, with what holds now.
                        Err(Fenced::Changed) if pass.epoch() == 0 => return Err(Stopped::Changed),
                        Err(Fenced::LeaseTooShort) if pass.epoch() == 0 => return Err(Stopped::LeaseTooShort),
                        Err(fenced) => {
                            info!(closure = %brief.accepted.key(), %step, ?fenced, "a write was not made");
                            Wrote::NotApplied(Trouble::HeldBack.into())
                        }
                    },
                };
                pass.wrote(brief, wrote, host.now());
            }
            Decision::Wait(wait) => return Ok((pass, End::Wait(wait))),
            Decision::Halt(findings) => return Ok((pass, End::Halt(findings))),
            Decision::Planned(findings) => return Ok((pass, End::Planned(findings))),
            Decision::Done => return Ok((pass, End::Done)),
        }
    }
}
