//! A status in the making: what a pass's ending makes of what is stored, and how a fact finds its way onto an object that
//! others change. It asks nobody anything itself: where statuses are kept is behind [`Objects`].

use crate::api::conditions::{self, Domain, Stamp, Standing};
use crate::api::release_closure::Envelope;
use crate::api::{ReleaseClosure, ReleaseClosureStatus};
use crate::closure::accepted::Accepted;
use crate::closure::decide::{Brief, Pass, Wait};
use crate::closure::ids::Step;
use crate::closure::ledger::{Finding, Halt, Ledger, TraceHead};
use crate::closure::reason::Reason;
use crate::closure::{checks, halt, observed, trace};
use crate::drive::Unstored;
use jiff::Timestamp;
use std::future::Future;

/// Tries to store a fact on an object that others keep changing.
const FACT_TRIES: usize = 5;

/// A status in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    /// How it is addressed.
    pub envelope: Envelope,
    /// The core's part.
    pub ledger: Ledger,
    /// Where the closure stands.
    pub standing: Standing,
    /// What is known of the facts.
    pub domain: Domain,
    /// What is stored, and at which version of the object.
    base: ReleaseClosureStatus,
    resource_version: Option<String>,
    /// What was sent, where nobody knows whether it was taken.
    sent: Option<ReleaseClosureStatus>,
}

impl Draft {
    /// Begins from what is stored.
    #[must_use]
    pub fn of(status: ReleaseClosureStatus, resource_version: Option<String>) -> Draft {
        let (envelope, ledger) = status.clone().split();
        Draft {
            envelope,
            ledger,
            standing: Standing::Unchanged,
            domain: Domain::default(),
            base: status,
            resource_version,
            sent: None,
        }
    }

    /// Whether nothing was ever stored.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.base.conditions.is_empty()
    }

    /// How many steps are settled in what is stored.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.base.steps.iter().filter(|step| step.outcome.is_settled()).count()
    }

    /// It waits.
    pub fn waits(&mut self, reason: Reason, message: String) {
        self.standing = Standing::Waiting { reason, message };
    }

    /// Takes over what a pass has learned and settled.
    pub fn take(&mut self, pass: &Pass, brief: &Brief, standing: Standing) {
        let snapshot = pass.snapshot();
        self.ledger = pass.ledger().clone();
        self.standing = standing;
        self.domain.source_accepted =
            snapshot.governance().map(|review| brief.rules.accepted_states.contains(&review.state));
        self.domain.aligned = match &self.standing {
            Standing::Working | Standing::Closed | Standing::Planned => Some(true),
            _ => None,
        };
        let facts = checks::Facts {
            accepted: &brief.accepted,
            rules: &brief.rules,
            ledger: &self.ledger,
            snapshot,
            now: Timestamp::UNIX_EPOCH,
        };
        self.domain.steps = Step::ALL.map(|step| match step {
            _ if self.ledger.step(step).outcome.is_settled() => Some(true),
            Step::NotifyCoordinator => Some(false),
            _ => observed::observed(facts, step).map(|state| state.done),
        });
    }

    /// It waits for this.
    pub fn take_wait(&mut self, pass: &Pass, brief: &Brief, wait: &Wait) {
        let systems = wait.systems.iter().map(|system| system.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!("{} Waiting for: {systems}.", wait.reason.sentence());
        self.take(pass, brief, Standing::Waiting { reason: wait.reason, message });
    }

    /// It would halt, or be closed, in mode Close.
    pub fn take_plan(&mut self, pass: &Pass, brief: &Brief, findings: &[Finding]) {
        let standing = findings.first().map_or(Standing::Planned, |first| Standing::PlannedDisagreeing {
            reason: first.reason,
            message: describe(findings),
        });
        self.take(pass, brief, standing);
        self.domain.aligned = Some(findings.is_empty());
    }

    /// It is closed.
    pub fn take_close(&mut self, pass: &mut Pass, brief: &Brief, now: Timestamp) {
        pass.conclude(brief);
        self.take(pass, brief, Standing::Closed);
        self.envelope.completion_time = Some(now);
    }

    /// It halts, over what was taken from the pass. Gives the halt.
    pub fn latch(&mut self, uid: &str, findings: Vec<Finding>, now: Timestamp) -> Option<Halt> {
        halt::latch(&mut self.ledger, uid, findings, now);
        let halt = self.ledger.halt.clone()?;
        self.halted(&halt);
        Some(halt)
    }

    /// It is halted by this.
    pub fn halted(&mut self, halt: &Halt) {
        self.standing = Standing::Halted { reason: halt.cause, packet: halt.packet_ref.name.clone() };
        self.domain.aligned = Some(false);
    }

    /// It is given up.
    pub fn abandon(&mut self, accepted: &Accepted, uid: &str, now: Timestamp) {
        self.ledger.retry = None;
        self.standing = Standing::Abandoned;
        self.envelope.completion_time = Some(now);
        self.ledger.trace = Some(TraceHead { digest: trace::head(accepted, uid, &self.ledger) });
    }

    /// The status as it would be stored, said of this generation; None where it says nothing new.
    #[must_use]
    pub fn status(
        &self,
        generation: i64,
        requested_at: Option<String>,
        now: Timestamp,
    ) -> Option<ReleaseClosureStatus> {
        let mut envelope = self.envelope.clone();
        envelope.observed_generation = generation;
        envelope.last_handled_reconcile_at = requested_at.or(envelope.last_handled_reconcile_at);
        // Who gives an announcement its time to arrive waits for no system that is away.
        let away =
            matches!(&self.standing, Standing::Waiting { reason, .. } if *reason != Reason::NotificationSettling);
        let counts = away || self.base.outages.since.is_some();
        let waits_since = self.ledger.retry.as_ref().filter(|_| counts).map(|retry| retry.since);
        let goes_on = matches!(self.standing, Standing::Working | Standing::Closed);
        // From what is stored to what will be: a status that is not stored counts nothing.
        envelope.outages = self.base.outages.then(waits_since, goes_on, now);
        let stamp = Stamp { generation, now };
        envelope.conditions = conditions::of_closure(&self.base.conditions, &self.standing, &self.domain, stamp);
        let status = ReleaseClosureStatus::assemble(envelope, self.ledger.clone());
        // Where the wait is told already and only its beginning is not, the API server does not know the field.
        let mut known = status.clone();
        known.outages.since = self.base.outages.since;
        (known != self.base).then_some(status)
    }

    /// The status that it is based on: what is stored, as far as is known.
    #[must_use]
    pub fn base(&self) -> &ReleaseClosureStatus {
        &self.base
    }

    /// The version of the object that it is based on.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }

    /// What was sent, where nobody knows whether it was taken.
    #[must_use]
    pub fn sent(&self) -> Option<&ReleaseClosureStatus> {
        self.sent.as_ref()
    }

    /// This was sent, and nobody knows whether it was taken.
    pub fn is_sent(&mut self, status: ReleaseClosureStatus) {
        self.sent = Some(status);
    }

    /// Takes over what is stored now, where that is what was sent.
    pub fn was_taken(&mut self, uid: &str, fresh: Option<Fresh>) -> bool {
        let (Some(fresh), Some(sent)) = (fresh, self.sent.take()) else { return false };
        let taken = fresh.uid.as_deref() == Some(uid) && fresh.status == sent;
        if taken {
            self.stored(sent, fresh.resource_version);
        }
        taken
    }

    /// It is stored as this, at this version of the object.
    pub fn stored(&mut self, status: ReleaseClosureStatus, resource_version: Option<String>) {
        self.resource_version = resource_version;
        self.envelope.conditions.clone_from(&status.conditions);
        self.base = status;
        self.sent = None;
    }
}

impl Draft {
    /// Puts the settled steps of this draft on a status that somebody else wrote since. A halt that was latched there
    /// stays latched, what was settled there stays as it is; anything but a settled step is dropped. Tells whether nothing
    /// had to be.
    fn lay_over<E>(&mut self, status: ReleaseClosureStatus) -> Result<bool, Unstored<E>> {
        let (envelope, theirs) = status.clone().split();
        let mut theirs = theirs.checked().map_err(|_| Unstored::Superseded)?;
        // Of one step two processes may know different things: who was told of a change by its reply, and who saw only that it
        // was made. The first word stands; an end that says otherwise is decided anew, with it.
        let mut steps = theirs.steps.iter().zip(&self.ledger.steps);
        let agrees = steps.all(|(their, own)| !their.outcome.is_settled() || their == own);
        for (their, own) in theirs.steps.iter_mut().zip(&self.ledger.steps) {
            if own.outcome.is_settled() && !their.outcome.is_settled() {
                *their = own.clone();
            }
        }
        let whole = self.standing == Standing::Closed && theirs.halt.is_none() && agrees;
        if !whole {
            self.standing = Standing::Unchanged;
            self.envelope = envelope;
            self.ledger = theirs;
        }
        self.base = status;
        Ok(whole)
    }
}

/// The findings in a sentence each, without any foreign text.
fn describe(findings: &[Finding]) -> String {
    let sentences =
        findings.iter().map(|finding| format!("{} ({} {})", finding.reason.sentence(), finding.system, finding.field));
    sentences.collect::<Vec<_>>().join(" ")
}

/// An object as it is now.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// Its uid.
    pub uid: Option<String>,
    /// Its version.
    pub resource_version: Option<String>,
    /// Its status.
    pub status: ReleaseClosureStatus,
}

impl From<ReleaseClosure> for Fresh {
    fn from(ReleaseClosure { metadata, spec: _, status }: ReleaseClosure) -> Fresh {
        let (uid, resource_version) = (metadata.uid, metadata.resource_version);
        Fresh { uid, resource_version, status: status.unwrap_or_default() }
    }
}

/// Where the status of a pass's object is kept.
pub trait Objects: Sync {
    /// How it fails.
    type Error: Send;

    /// Stores a draft where it says something new, on the version it is based on. Tells whether it did.
    ///
    /// # Errors
    /// Superseded where the object has changed since, or is gone.
    fn write(&self, draft: &mut Draft) -> impl Future<Output = Result<bool, Unstored<Self::Error>>> + Send;

    /// Reads the object again.
    ///
    /// # Errors
    /// No answer.
    fn read(&self) -> impl Future<Output = Result<Option<Fresh>, Self::Error>> + Send;
}

/// What of a draft is stored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It said nothing new.
    Nothing,
    /// Everything that it says.
    Whole,
    /// The steps that are settled in it. What else it says was decided on a status that was not the last one: a halt is
    /// not latched, and the next pass decides anew.
    Steps,
}

/// Stores what is a fact and not a plan: where the object has changed in the meantime it is read again and, while it is
/// the same object, the fact is stored on it.
///
/// # Errors
/// Superseded where it is another object, or finished.
pub async fn store_fact<O: Objects>(objects: &O, uid: &str, mut draft: Draft) -> Result<Stored, Unstored<O::Error>> {
    let mut whole = true;
    for _ in 0..FACT_TRIES {
        match objects.write(&mut draft).await {
            Err(Unstored::Superseded) => {}
            Err(failed) => return Err(failed),
            Ok(_) if !whole => return Ok(Stored::Steps),
            Ok(true) => return Ok(Stored::Whole),
            Ok(false) => return Ok(Stored::Nothing),
        }
        let fresh = objects.read().await.map_err(Unstored::Failed)?;
        let Some(fresh) = fresh.filter(|fresh| fresh.uid.as_deref() == Some(uid)) else {
            return Err(Unstored::Superseded);
        };
        if fresh.status.completion_time.is_some() {
            return Err(Unstored::Superseded);
        }
        if fresh.status != draft.base {
            whole &= draft.lay_over(fresh.status)?;
        }
        draft.resource_version = fresh.resource_version;
    }
    Err(Unstored::Superseded)
}

#[cfg(test)]
mod tests;
