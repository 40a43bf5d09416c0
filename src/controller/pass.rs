//! One pass over one closure, as prose: read the object, see what holds it, resolve what it needs, let the core decide,
//! record what came of it.

use super::cache::{Hold, Unfinished, seniority};
use super::context::{Context, Remembered};
use super::events::Happening;
use super::packets;
use super::playbooks::{Resolved, Unusable};
use super::record::{self, Draft, StoreError};
use super::{act, observe};
use crate::api::ReleaseClosure;
use crate::api::conditions::Standing;
use crate::api::parse;
use crate::api::release_closure::Mode;
use crate::closure::accepted::Accepted;
use crate::closure::decide::{Brief, Decision, IntakeTerms, Memory, Pass, Wait, Wrote};
use crate::closure::ids::{Step, System};
use crate::closure::ledger::{Ledger, Outcome, Retry};
use crate::closure::reason::Reason;
use crate::closure::snapshot::Trouble;
use crate::roles::Permit;
use crate::telemetry::Ending;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::info;

/// The longest that an announcement of another process may stay under way is twice the timeout plus this, the lease's
/// duration.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);

/// What a pass could not do for reasons of the cluster's own. It is tried again with a growing pause.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The object could not be read.
    #[error("the closure could not be read")]
    Read(#[source] kube::Error),
    /// Its status could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its packet could not be read or made.
    #[error("the follow-up packet could not be read or made")]
    Packet(#[source] kube::Error),
}

/// When to look at a closure again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something wakes it.
    OnChange,
    /// Now: something has changed under the pass.
    AtOnce,
    /// After this long, or when something wakes it.
    After(Duration),
}

/// How a pass ended.
pub type Ended = (Ending, Next);

/// The object of a pass.
pub struct Subject {
    /// As it was read from the API server, less its status.
    pub object: ReleaseClosure,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

impl Subject {
    /// Where the watch keeps it.
    #[must_use]
    pub fn object_ref(&self) -> ObjectRef<Unfinished> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

/// The permit that is held for the next write, and of which system.
#[derive(Debug, Default)]
pub struct Held {
    /// The permit.
    pub permit: Option<Permit>,
    /// The system it was taken for.
    pub system: Option<System>,
}

/// One pass. The caller holds the lock of its closure key and a place.
///
/// # Errors
/// The API server did not do its part; nothing is lost, the next pass sees what this one did.
pub async fn run(context: &Arc<Context>, namespace: &str, name: &str) -> Result<Ended, PassError> {
    let Some(mut object) = record::read(context, namespace, name).await.map_err(PassError::Read)? else {
        return Ok((Ending::Nothing, Next::OnChange));
    };
    let uid = object.uid().unwrap_or_default();
    let status = object.status.take().unwrap_or_default();
    if status.completion_time.is_some() || object.metadata.deletion_timestamp.is_some() {
        context.forget(&uid);
        return Ok((Ending::Nothing, Next::OnChange));
    }
    let subject = Subject {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        generation: object.metadata.generation.unwrap_or_default(),
        uid,
        object,
    };
    let accepted = match parse::accepted(&subject.object.spec) {
        Ok(accepted) => accepted,
        Err(invalid) => {
            let mut draft = Draft::of(&subject, status);
            let message = format!("This object cannot be worked on: {invalid}.");
            draft.waits(Reason::SpecInvalid, message);
            record::store(context, &subject, draft).await?;
            return Ok((Ending::Waiting, Next::OnChange));
        }
    };
    let mut draft = Draft::of(&subject, status);
    draft.ledger = match draft.ledger.clone().checked() {
        Ok(ledger) => ledger,
        Err(invalid) => {
            tracing::error!(closure = %accepted.key(), %invalid, "a status that this operator did not write");
            draft.waits(Reason::SpecInvalid, format!("Its status was written by somebody else: {invalid}."));
            record::store(context, &subject, draft).await?;
            return Ok((Ending::Waiting, Next::OnChange));
        }
    };
    if draft.ledger.halt.is_some() {
        return packets::attend(context, &subject, &accepted, draft).await;
    }
    if subject.object.spec.suspend {
        return suspended(context, &subject, draft).await;
    }
    if subject.object.spec.mode == Mode::Close {
        if let Some(hold) = held_by(context, &subject, &accepted, &draft.ledger) {
            return packets::take_over(context, &subject, &accepted, draft, hold).await;
        }
        if let Some(older) = older_sibling(context, &subject, &accepted) {
            context.forget(&subject.uid);
            draft.waits(
                Reason::DuplicateClosure,
                format!("Releaseclosure {older} is of the same closure and is older."),
            );
            record::store(context, &subject, draft).await?;
            return Ok((Ending::Waiting, Next::OnChange));
        }
    }
    work(context, &subject, accepted, draft).await
}

async fn suspended(context: &Context, subject: &Subject, mut draft: Draft) -> Result<Ended, PassError> {
    context.forget(&subject.uid);
    let planned = !draft.ledger.plan.is_empty();
    draft.standing = if planned { Standing::Unchanged } else { Standing::Suspended };
    if record::store(context, subject, draft).await? {
        context.events.tell(&subject.object, Happening::Suspended, "Suspend", Reason::Suspended.sentence().to_owned());
    }
    Ok((Ending::Nothing, Next::OnChange))
}

/// The packet that holds every object of this closure, where there is one that this object has not got over itself.
fn held_by(context: &Context, subject: &Subject, accepted: &Accepted, ledger: &Ledger) -> Option<(String, Hold)> {
    let mut holds = context.holds.of_key(&subject.namespace, accepted.key().as_str());
    holds.retain(|(_, hold)| !ledger.halts.iter().any(|past| past.id == hold.halt_id));
    let unresolved = holds.iter().position(|(_, hold)| !hold.abandoned);
    unresolved.map(|position| holds.swap_remove(position)).or_else(|| holds.into_iter().next())
}

/// The name of the oldest object of this closure, where that is another one.
fn older_sibling(context: &Context, subject: &Subject, accepted: &Accepted) -> Option<String> {
    let own = seniority(&subject.object.metadata);
    let siblings = context.siblings.of_key(&subject.namespace, accepted.key().as_str());
    let older = siblings.into_iter().filter(|(_, sibling)| sibling.counts && sibling.seniority < own);
    older.min_by(|(_, one), (_, other)| one.seniority.cmp(&other.seniority)).map(|(name, _)| name)
}

/// The working part: what it needs, what the core says, what came of it.
async fn work(
    context: &Arc<Context>,
    subject: &Subject,
    accepted: Accepted,
    mut draft: Draft,
) -> Result<Ended, PassError> {
    let spec = &subject.object.spec;
    let resolved = context.playbooks.resolve(&subject.namespace, &spec.playbook_ref.name, &context.connections).await;
    let resolved = resolved.and_then(|resolved| {
        if resolved.playbook.allows_service(&accepted.release().service) {
            return Ok(resolved);
        }
        let message = format!(
            "Closureplaybook {} may not be used for service {}.",
            spec.playbook_ref.name,
            accepted.release().service
        );
        Err(Unusable { reason: Reason::ServiceNotAllowed, message, system: None })
    });
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(unusable) => return unusable_now(context, subject, draft, unusable).await,
    };
    let mut remembered = context.recall(&subject.uid);
    let intended = draft.ledger.step(Step::NotifyCoordinator).outcome == Outcome::Intended;
    remembered.intent_since =
        (intended || remembered.memory.settling).then(|| remembered.intent_since.unwrap_or_else(Instant::now));
    let brief = brief(subject, accepted, &resolved, &remembered);

    let mut pass = Pass::begin(std::mem::take(&mut draft.ledger));
    let mut held = Held::default();
    let decision = loop {
        let now = context.now();
        match pass.next(&brief, now) {
            Decision::Observe(systems, before) => {
                if let Some(step) = before
                    && let Err(why) = act::permit(&mut held, &resolved, step).await
                {
                    pass.held_back(step, why);
                    continue;
                }
                observe::observe(&mut pass, &brief, &resolved, &systems, &held, now).await;
            }
            Decision::Ask => observe::ask(&mut pass, &brief, &resolved).await,
            Decision::Probe => {
                let connected = &resolved.connections[System::Intake as usize].connected;
                pass.probed(match connected.prober.probe(System::Intake).await {
                    crate::roles::Probe::Ready => Ok(()),
                    crate::roles::Probe::Failed(why) => Err(why),
                });
            }
            Decision::Persist => {
                let first = draft.is_first();
                draft.take(&pass, &brief, Standing::Working);
                match record::store_intent(context, subject, &mut draft).await {
                    Ok(()) => pass.persisted(),
                    Err(StoreError::Superseded) => return Ok((Ending::Conflict, Next::AtOnce)),
                    Err(error) => return Err(error.into()),
                }
                if first {
                    record::tell_received(context, subject, &brief.accepted);
                }
            }
            Decision::Write(order) => {
                let step = order.step();
                let wrote = match act::permit(&mut held, &resolved, step).await {
                    Err(why) => Wrote::NotApplied(why),
                    Ok(()) => match act::fence(context, subject, &resolved, step).await {
                        Ok(()) => act::write(order, &resolved, &mut held).await,
                        // Nothing was done yet, so there is nothing to store: it begins again, with what holds now.
                        Err(act::Fenced::Changed) if pass.epoch() == 0 => return Ok((Ending::Conflict, Next::AtOnce)),
                        Err(act::Fenced::LeaseTooShort) if pass.epoch() == 0 => {
                            return Ok((Ending::Conflict, Next::After(Duration::from_secs(1))));
                        }
                        Err(fenced) => {
                            info!(closure = %brief.accepted.key(), %step, ?fenced, "a write was not made");
                            Wrote::NotApplied(Trouble::HeldBack.into())
                        }
                    },
                };
                pass.wrote(&brief, wrote, context.now());
            }
            end @ (Decision::Wait(_) | Decision::Halt(_) | Decision::Planned(_) | Decision::Done) => break end,
        }
    };
    drop(held);
    finish(context, subject, &brief, &resolved, draft, pass, decision, remembered).await
}

async fn unusable_now(
    context: &Context,
    subject: &Subject,
    mut draft: Draft,
    unusable: Unusable,
) -> Result<Ended, PassError> {
    let Unusable { reason, message, system } = unusable;
    let now = context.now();
    let waiting_for: Vec<System> = system.into_iter().collect();
    let since = draft.ledger.retry.as_ref().filter(|old| old.waiting_for == waiting_for).map_or(now, |old| old.since);
    draft.ledger.retry = Some(Retry { since, waiting_for, missing_since: Default::default() });
    draft.waits(reason, message);
    let mut remembered = context.recall(&subject.uid);
    remembered.waiting_since.get_or_insert_with(Instant::now);
    remembered.attempts += 1;
    context.remember(&subject.uid, remembered);
    record::store(context, subject, draft).await?;
    // A change of what is missing wakes it; the pause is for the case that the change was not seen.
    Ok((Ending::Waiting, Next::After(Duration::from_secs(60))))
}

fn brief(subject: &Subject, accepted: Accepted, resolved: &Resolved, remembered: &Remembered) -> Brief {
    let intake = &resolved.connections[System::Intake as usize];
    let delivery = intake.abilities.delivery.unwrap_or(crate::closure::decide::Delivery::None);
    let intent_seen_for = remembered.intent_since.map_or(Duration::ZERO, |since| since.elapsed());
    Brief {
        accepted,
        rules: resolved.playbook.rules.clone(),
        uid: subject.uid.clone(),
        plan: subject.object.spec.mode == Mode::Plan,
        playbook: resolved.version.clone(),
        connections: resolved.connections.each_ref().map(|usable| usable.version.clone()),
        intake: IntakeTerms {
            delivery,
            can_look_up: delivery != crate::closure::decide::Delivery::None,
            window: intake.abilities.window,
            settling: 2 * intake.connected.gate.timeout() + LEASE_DURATION,
        },
        memory: Memory { intent_seen_for, ..remembered.memory },
    }
}

#[allow(clippy::too_many_arguments, reason = "the last line of a pass takes everything the pass has made")]
async fn finish(
    context: &Arc<Context>,
    subject: &Subject,
    brief: &Brief,
    resolved: &Resolved,
    mut draft: Draft,
    mut pass: Pass,
    decision: Decision,
    mut remembered: Remembered,
) -> Result<Ended, PassError> {
    let first = draft.is_first();
    let written = pass.has_written();
    match decision {
        Decision::Wait(wait) => {
            let progressed = draft.settled() < pass.ledger().settled();
            draft.take(&pass, brief, standing_of(&wait));
            if pass.may_have_announced() {
                remembered.intent_since = None;
            }
            let (_, memory) = pass.into_parts();
            remembered.memory = memory;
            if memory.settling {
                remembered.intent_since.get_or_insert_with(Instant::now);
            }
            remembered.attempts = if progressed { 1 } else { remembered.attempts + 1 };
            remembered.waiting_since.get_or_insert_with(Instant::now);
            let pause = pause(resolved, remembered.attempts, wait.retry_after);
            context.remember(&subject.uid, remembered);
            for system in &wait.unauthorized {
                super::watches::probe_soon(
                    context,
                    &subject.namespace,
                    &resolved.connections[*system as usize].version.name,
                );
            }
            let stored = record::store_fact(context, subject, draft).await?;
            if stored && first {
                record::tell_received(context, subject, &brief.accepted);
            }
            if stored {
                let note = format!("{} It is tried again by itself.", wait.reason.sentence());
                context.events.tell(&subject.object, Happening::SystemUnavailable, wait.reason.as_str(), note);
            }
            Ok((Ending::Waiting, Next::After(pause)))
        }
        Decision::Halt(findings) => {
            context.forget(&subject.uid);
            let findings = packets::with_links(findings, resolved);
            record::count_findings(context, &findings, written);
            draft.take(&pass, brief, Standing::Working);
            packets::latch(context, subject, &brief.accepted, draft, findings).await
        }
        Decision::Planned(findings) => {
            context.forget(&subject.uid);
            let standing = findings.first().map_or(Standing::Planned, |first| Standing::PlannedDisagreeing {
                reason: first.reason,
                message: record::describe(&findings),
            });
            draft.take(&pass, brief, standing);
            draft.domain.aligned = Some(findings.is_empty());
            record::store(context, subject, draft).await?;
            Ok((Ending::Planned, Next::OnChange))
        }
        Decision::Done => {
            context.forget(&subject.uid);
            pass.conclude(brief);
            draft.take(&pass, brief, Standing::Closed);
            draft.envelope.completion_time = Some(context.now());
            let waited = remembered.waiting_since.map(|since| since.elapsed());
            record::close(context, subject, brief, draft, waited).await?;
            Ok((Ending::Closed, Next::OnChange))
        }
        Decision::Ask | Decision::Probe | Decision::Observe(..) | Decision::Persist | Decision::Write(_) => {
            // The loop ends with none of these.
            Ok((Ending::Nothing, Next::AtOnce))
        }
    }
}

fn standing_of(wait: &Wait) -> Standing {
    let systems = wait.systems.iter().map(|system| system.as_str()).collect::<Vec<_>>().join(", ");
    let message = format!("{} Waiting for: {systems}.", wait.reason.sentence());
    Standing::Waiting { reason: wait.reason, message }
}

/// The pause before the next try: doubling from the playbook's first to its longest, with up to a quarter of jitter, and
/// never shorter than a system asked for.
fn pause(resolved: &Resolved, attempts: u32, retry_after: Option<Duration>) -> Duration {
    let backoff = resolved.playbook.retry;
    let doublings = attempts.saturating_sub(1).min(20);
    let plain = backoff.initial.saturating_mul(1 << doublings).min(backoff.max);
    let jittered = plain.mul_f64(1.0 - 0.25 * fastrand::f64());
    jittered.max(retry_after.unwrap_or_default())
}
