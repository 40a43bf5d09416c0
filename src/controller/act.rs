//! Making one write, if nothing stands against it at the last moment.

use super::context::Context;
use super::pass::{Held, Subject};
use super::playbooks::Resolved;
use crate::closure::decide::{Verified, Wrote};
use crate::closure::ids::{Step, System};
use crate::closure::snapshot::{Observation, Revision, Sighting, Trouble};
use crate::roles::{AnnounceReply, WriteReply};

/// What stands against a write although everything agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// The object, its playbook or a connection is not what the pass began with.
    Changed,
    /// The lease may end before the write would.
    LeaseTooShort,
}

/// Whether a write may still go out: the object is there at its generation, its rules and systems are the same, and
/// the lease outlives the write's whole timeout.
///
/// # Errors
/// What stands against it.
pub async fn fence(context: &Context, subject: &Subject, resolved: &Resolved, step: Step) -> Result<(), Fenced> {
    let namespace = &subject.namespace;
    let same = context.closures.get(&subject.object_ref()).is_some_and(|known| {
        let meta = &known.metadata;
        meta.uid.as_deref() == Some(&subject.uid)
            && meta.generation == Some(subject.generation)
            && meta.deletion_timestamp.is_none()
    });
    let playbook = context.playbooks.is_current(namespace, &resolved.version);
    let connections =
        resolved.connections.iter().all(|usable| context.connections.is_current(namespace, &usable.version));
    if !same || !playbook || !connections {
        return Err(Fenced::Changed);
    }
    let timeout = resolved.connections[step.system() as usize].connected.gate.timeout();
    if context.fence.secure(timeout).await { Ok(()) } else { Err(Fenced::LeaseTooShort) }
}

/// Makes the write. It uses the permission up, and the permit.
pub async fn write(order: Verified, resolved: &Resolved, held: &mut Held) -> Wrote {
    let connected = &resolved.connections[order.step().system() as usize].connected;
    let Some(permit) = held.permit.take() else { return Wrote::NotApplied(Trouble::HeldBack.into()) };
    let cannot = Wrote::NotApplied(Trouble::NotUnderstood.into());
    match order.step() {
        Step::CloseChecklist => match &connected.checklist {
            Some(checklist) => wrote(checklist.close(order, permit).await, Sighting::Checklist),
            None => cannot,
        },
        Step::ApproveTracker | Step::AttachEvidence => match &connected.tracker {
            Some(tracker) => wrote(tracker.update(order, permit).await, Sighting::Tracker),
            None => cannot,
        },
        Step::ClearQueueEntry => match &connected.queue {
            Some(queue) => wrote(queue.clear(order, permit).await, Sighting::Queue),
            None => cannot,
        },
        Step::NotifyCoordinator => match &connected.intake {
            Some(intake) => match intake.announce(order, permit).await {
                AnnounceReply::Accepted => Wrote::Announced(true),
                AnnounceReply::AlreadyThere => Wrote::Announced(false),
                AnnounceReply::Conflict => Wrote::OtherHandoff,
                AnnounceReply::Refused => Wrote::Refused,
                AnnounceReply::NotSent(why) => Wrote::NotApplied(why),
                AnnounceReply::Unknown(why) => Wrote::Unknown(why),
            },
            None => cannot,
        },
    }
}

fn wrote<R>(reply: WriteReply<R>, sighting: fn(Observation<R>) -> Sighting) -> Wrote {
    match reply {
        WriteReply::Answered(record, revision) => Wrote::Answered(Box::new(sighting(found(record, revision)))),
        WriteReply::Conflict | WriteReply::Gone => Wrote::LookAgain,
        WriteReply::Refused => Wrote::Refused,
        WriteReply::NotApplied(why) => Wrote::NotApplied(why),
        WriteReply::Unknown(why) => Wrote::Unknown(why),
    }
}

fn found<R>(record: R, revision: Revision) -> Observation<R> {
    Observation::Found(record, revision)
}

/// Takes the permit of a step's write, unless it is held already.
///
/// # Errors
/// The connection's limits leave no room in time.
pub async fn permit(
    held: &mut Held,
    resolved: &Resolved,
    step: Step,
) -> Result<(), crate::closure::snapshot::Unreachable> {
    let system: System = step.system();
    if held.system != Some(system) || held.permit.is_none() {
        held.permit = None;
        held.permit = Some(resolved.connections[system as usize].connected.gate.permit().await?);
        held.system = Some(system);
    }
    Ok(())
}
