//! Making one write: which role does it, and what its reply comes to.

use super::{Held, Systems};
use crate::closure::decide::{Verified, Wrote};
use crate::closure::ids::{Step, System};
use crate::closure::snapshot::{Observation, Revision, Sighting, Trouble, Unreachable};
use crate::roles::{AnnounceReply, WriteReply};

/// Makes the write. It uses the permission up, and the permit.
pub(super) async fn write(order: Verified, systems: &Systems<'_>, held: &mut Held) -> Wrote {
    let connected = systems[order.step().system() as usize];
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
pub(super) async fn permit(held: &mut Held, systems: &Systems<'_>, step: Step) -> Result<(), Unreachable> {
    let system: System = step.system();
    if held.system != Some(system) || held.permit.is_none() {
        held.permit = None;
        held.permit = Some(systems[system as usize].gate.permit().await?);
        held.system = Some(system);
    }
    Ok(())
}
