//! One pass over one closure, as prose: read the object, see what holds it, resolve what it needs, let the core decide,
//! record what came of it.

use super::cache::{Hold, Unfinished, seniority};
use super::context::Context;
use super::draft::{Draft, Stored};
use super::events::Happening;
use super::foreign::{self, Read};
use super::packets;
use super::playbooks::{Resolved, Unusable};
use super::record::{self, StoreError};
use crate::api::conditions::Standing;
use crate::api::parse;
use crate::api::release_closure::Mode;
use crate::api::{ReleaseClosure, TRACEPARENT};
use crate::closure::accepted::Accepted;
use crate::closure::decide::{Brief, IntakeTerms, Memory, Pass};
use crate::closure::ids::{Step, System};
use crate::closure::ledger::{Ledger, Retry};
use crate::closure::reason::Reason;
use crate::drive::{self, End, Fenced, Host, Remembered, Stopped, Unstored};
use crate::spans;
use crate::telemetry::Ending;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use std::sync::Arc;
use std::time::Duration;

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

/// One pass. The caller holds the lock of its closure key and a place.
///
/// # Errors
/// The API server did not do its part; nothing is lost, the next pass sees what this one did.
pub async fn run(context: &Arc<Context>, namespace: &str, name: &str) -> Result<Ended, PassError> {
    let read = if context.definitions.are_newer() {
        match foreign::read(context, namespace, name).await? {
            Read::Known(read) => read.map(|read| *read),
            Read::Foreign => return Ok((Ending::Waiting, Next::After(foreign::PATIENCE))),
        }
    } else {
        record::read(context, namespace, name).await.map_err(PassError::Read)?
    };
    let Some(mut object) = read else {
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
            let mut draft = Draft::of(status, subject.object.metadata.resource_version.clone());
            let message = format!("This object cannot be worked on: {invalid}.");
            draft.waits(Reason::SpecInvalid, message);
            record::store(context, &subject, draft).await?;
            return Ok((Ending::Waiting, Next::OnChange));
        }
    };
    let event = &accepted.review().accepted_event;
    let made_by = subject.object.annotations().get(TRACEPARENT);
    spans::accepted(accepted.key().as_str(), &event.id, event.source.as_deref(), made_by.map(String::as_str));
    let mut draft = Draft::of(status, subject.object.metadata.resource_version.clone());
    draft.ledger = match draft.ledger.clone().checked() {
        Ok(ledger) => ledger,
        Err(invalid) => {
            tracing::error!(closure = %accepted.key(), %invalid, "a status that this operator did not write");
            draft.waits(Reason::SpecInvalid, format!("Its status was written by somebody else: {invalid}."));
            record::store(context, &subject, draft).await?;
            return Ok((Ending::Waiting, Next::OnChange));
        }
    };
    if let Some(why) = context.definitions.outdated() {
        // A halt stays what it is; its packet might be stored without all it says.
        if draft.ledger.halt.is_none() {
            draft.waits(Reason::SchemaOutdated, why);
            record::store(context, &subject, draft).await?;
        }
        return Ok((Ending::Waiting, Next::OnChange));
    }
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
            draft.ledger.stand_aside();
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
    draft.ledger.stand_aside();
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
    let resolved = context.playbooks.resolve(&subject.namespace, &spec.playbook_ref, &context.connections).await;
    let resolved = resolved.and_then(|resolved| {
        if resolved.playbook.allows_service(&accepted.release().service) {
            return Ok(resolved);
        }
        let message = format!("{} may not be used for service {}.", spec.playbook_ref, accepted.release().service);
        Err(Unusable { reason: Reason::ServiceNotAllowed, message, system: None })
    });
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(unusable) => return unusable_now(context, subject, draft, unusable).await,
    };
    let mut remembered = context.recall(&subject.uid);
    let memory = remembered.begin(&draft.ledger);
    let brief = brief(subject, accepted, &resolved, memory);

    let ledger = std::mem::take(&mut draft.ledger);
    let systems = resolved.connections.each_ref().map(|usable| &*usable.connected);
    let mut host = Cluster { context, subject, brief: &brief, resolved: &resolved, draft: &mut draft };
    let (pass, end) = match drive::work(&mut host, &brief, systems, ledger).await {
        Ok(came) => came,
        Err(Stopped::Superseded) => return Ok((Ending::Conflict, Next::AtOnce)),
        // The watch wakes it when it has caught up; until then there is no use in asking the systems over and over.
        Err(Stopped::Changed | Stopped::LeaseTooShort) => {
            return Ok((Ending::Conflict, Next::After(Duration::from_secs(1))));
        }
        Err(Stopped::Failed(error)) => return Err(error.into()),
    };
    finish(context, subject, &brief, &resolved, draft, pass, end, remembered).await
}

/// What a pass has of its cluster while it works.
struct Cluster<'a> {
    context: &'a Context,
    subject: &'a Subject,
    brief: &'a Brief,
    resolved: &'a Resolved,
    draft: &'a mut Draft,
}

impl Host for Cluster<'_> {
    type Error = StoreError;

    fn now(&self) -> Timestamp {
        self.context.now()
    }

    async fn store_intent(&mut self, pass: &Pass) -> Result<(), Unstored<StoreError>> {
        let first = self.draft.is_first();
        self.draft.take(pass, self.brief, Standing::Working);
        record::store_intent(self.context, self.subject, self.draft).await.map_err(|error| match error {
            StoreError::Superseded => Unstored::Superseded,
            error => Unstored::Failed(error),
        })?;
        if first {
            record::tell_received(self.context, self.subject, &self.brief.accepted);
        }
        Ok(())
    }

    async fn fence(&mut self, step: Step) -> Result<(), Fenced> {
        let Cluster { context, subject, resolved, .. } = self;
        let namespace = &subject.namespace;
        let same = context.closures.get(&subject.object_ref()).is_some_and(|known| {
            let meta = &known.metadata;
            meta.uid.as_deref() == Some(&subject.uid)
                && meta.generation == Some(subject.generation)
                && meta.deletion_timestamp.is_none()
        });
        let playbook = context.playbooks.is_current(namespace, resolved);
        let connections = resolved.connections.iter().all(|usable| context.connections.is_current(namespace, usable));
        if !same || !playbook || !connections {
            tracing::debug!(object = same, playbook, connections, "no write: not everything is as it was");
            return Err(Fenced::Changed);
        }
        let timeout = resolved.connections[step.system() as usize].connected.gate.timeout();
        if context.fence.secure(timeout).await {
            return Ok(());
        }
        tracing::debug!(left = ?context.fence.valid_for(), "no write: the lease may end before it does");
        Err(Fenced::LeaseTooShort)
    }
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
    remembered.could_not_begin();
    context.remember(&subject.uid, remembered);
    record::store(context, subject, draft).await?;
    // A change of what is missing wakes it; the pause is for the case that the change was not seen.
    Ok((Ending::Waiting, Next::After(Duration::from_secs(60))))
}

fn brief(subject: &Subject, accepted: Accepted, resolved: &Resolved, memory: Memory) -> Brief {
    let intake = &resolved.connections[System::Intake as usize];
    let delivery = intake.abilities.delivery.unwrap_or(crate::closure::decide::Delivery::None);
    Brief {
        accepted,
        rules: resolved.playbook.rules.clone(),
        uid: subject.uid.clone(),
        plan: subject.object.spec.mode == Mode::Plan,
        playbook: resolved.version.clone(),
        connections: resolved.connections.each_ref().map(|usable| usable.version.clone()),
        intake: IntakeTerms {
            delivery,
            can_look_up: intake.abilities.can_look_up,
            window: intake.abilities.window,
            settling: drive::settling(intake.connected.gate.timeout()),
        },
        memory,
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
    end: End,
    mut remembered: Remembered,
) -> Result<Ended, PassError> {
    let first = draft.is_first();
    match end {
        End::Wait(wait) => {
            let progressed = draft.settled() < pass.ledger().settled();
            draft.take_wait(&pass, brief, &wait);
            remembered.waits(pass, progressed);
            let backoff = resolved.playbook.retry;
            let pause = remembered.pause(backoff.initial, backoff.max, wait.retry_after, fastrand::f64());
            context.remember(&subject.uid, remembered);
            for system in &wait.unauthorized {
                super::watches::probe_soon(
                    context,
                    &subject.namespace,
                    &resolved.connections[*system as usize].reference,
                );
            }
            let stored = record::store_fact(context, subject, draft).await? != Stored::Nothing;
            if stored && first {
                record::tell_received(context, subject, &brief.accepted);
            }
            if stored {
                let note = format!("{} It is tried again by itself.", wait.reason.sentence());
                context.events.tell(&subject.object, Happening::SystemUnavailable, wait.reason.as_str(), note);
            }
            Ok((Ending::Waiting, Next::After(pause)))
        }
        End::Halt(findings) => {
            context.forget(&subject.uid);
            let findings = packets::with_links(findings, resolved);
            draft.take(&pass, brief, Standing::Working);
            packets::latch(context, subject, &brief.accepted, draft, findings).await
        }
        End::Planned(findings) => {
            context.forget(&subject.uid);
            draft.take_plan(&pass, brief, &findings);
            record::store(context, subject, draft).await?;
            Ok((Ending::Planned, Next::OnChange))
        }
        End::Done => {
            context.forget(&subject.uid);
            draft.take_close(&mut pass, brief, context.now());
            match record::close(context, subject, brief, draft).await? {
                Stored::Steps => Ok((Ending::Conflict, Next::AtOnce)),
                Stored::Whole | Stored::Nothing => Ok((Ending::Closed, Next::OnChange)),
            }
        }
    }
}
