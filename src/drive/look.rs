//! Looking at the systems: several at once, each look stamped with what lay behind the pass when it went out.

use super::{Held, Systems};
use crate::closure::checks::{self, Facts};
use crate::closure::decide::{Brief, Pass};
use crate::closure::ids::System;
use crate::closure::snapshot::{Observation, Sighting, Trouble};
use crate::roles::{HandoffSighting, Probe, Subject};
use futures::future::join_all;
use jiff::Timestamp;

/// Looks at these systems, all at once, and hands what was seen to the pass.
pub(super) async fn observe(
    pass: &mut Pass,
    brief: &Brief,
    found: &Systems<'_>,
    systems: &[System],
    held: &Held,
    now: Timestamp,
) {
    let epoch = pass.epoch();
    let sightings = {
        let facts = Facts {
            accepted: &brief.accepted,
            rules: &brief.rules,
            ledger: pass.ledger(),
            snapshot: pass.snapshot(),
            now,
        };
        let looks = systems.iter().map(|system| {
            let subject = Subject {
                record: checks::asked_for(facts, *system),
                release: &brief.accepted.release().id,
                review_version: &brief.accepted.review().version,
            };
            look(*system, subject, found, held)
        });
        join_all(looks).await
    };
    for sighting in sightings.into_iter().flatten() {
        pass.observed(sighting, epoch);
    }
}

/// One look. A connection whose product cannot play the role gives no answer.
async fn look(system: System, subject: Subject<'_>, found: &Systems<'_>, held: &Held) -> Option<Sighting> {
    let connected = found[system as usize];
    let held = held.permit.as_ref();
    match system {
        System::Governance => Some(Sighting::Governance(match &connected.governance {
            Some(governance) => governance.review(subject, held).await,
            None => no_answer(),
        })),
        System::Archive => Some(Sighting::Archive(match &connected.archive {
            Some(archive) => archive.bundle(subject, held).await,
            None => no_answer(),
        })),
        System::Checklist => Some(Sighting::Checklist(match &connected.checklist {
            Some(checklist) => checklist.checklist(subject, held).await,
            None => no_answer(),
        })),
        System::Tracker => Some(Sighting::Tracker(match &connected.tracker {
            Some(tracker) => tracker.release(subject, held).await,
            None => no_answer(),
        })),
        System::Queue => Some(Sighting::Queue(match &connected.queue {
            Some(queue) => queue.entry(subject, held).await,
            None => no_answer(),
        })),
        System::Intake => None,
    }
}

fn no_answer<R>() -> Observation<R> {
    Observation::Unreachable(Trouble::NotUnderstood.into())
}

/// Asks the intake for the handoff, and hands its answer to the pass.
pub(super) async fn ask(pass: &mut Pass, brief: &Brief, found: &Systems<'_>) {
    let answer = match &found[System::Intake as usize].intake {
        Some(intake) => intake.handoff(brief.accepted.key().as_str(), None).await,
        None => HandoffSighting::Unreachable(Trouble::NotUnderstood.into()),
    };
    pass.asked(match answer {
        HandoffSighting::There => Ok(true),
        HandoffSighting::NotThere => Ok(false),
        HandoffSighting::Unreachable(why) => Err(why),
    });
}

/// Sees whether the intake is there at all.
pub(super) async fn probe(pass: &mut Pass, found: &Systems<'_>) {
    pass.probed(match found[System::Intake as usize].prober.probe(System::Intake).await {
        Probe::Ready => Ok(()),
        Probe::Failed(why) => Err(why),
        Probe::Unfit { .. } | Probe::Told { .. } => Err(Trouble::NotUnderstood.into()),
    });
}
