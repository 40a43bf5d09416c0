//! What the latest looks show: of each step, whether it is done and by whom; of each system, which fields were compared.

use super::checks::Facts;
use super::ids::{Step, System};
use super::ledger::Compared;
use super::snapshot::{Marking, Snapshot};

/// What the latest look says of one step.
#[derive(Clone, Debug)]
pub struct StepState<'a> {
    /// Whether the record shows the step as done.
    pub done: bool,
    /// The state's word as it is.
    pub word: &'a str,
    /// The state's word that means done.
    pub wanted: String,
    /// Whose change it carries.
    pub marking: &'a Marking,
}

/// Whether a step shows as done, and by whom. `None` where its record was not found in the latest look, and for the
/// notification, which is in no record.
#[must_use]
pub fn observed(facts: Facts<'_>, step: Step) -> Option<StepState<'_>> {
    let snapshot = facts.snapshot;
    match step {
        Step::CloseChecklist => snapshot.checklist().map(|record| StepState {
            done: record.state.is_done(),
            word: record.state.word(),
            wanted: "Closed".to_owned(),
            marking: &record.marking,
        }),
        Step::ApproveTracker => snapshot.tracker().map(|record| StepState {
            done: record.state == facts.rules.approved_state,
            word: &record.state,
            wanted: facts.rules.approved_state.clone(),
            marking: &record.marking,
        }),
        Step::AttachEvidence => snapshot.tracker().map(|record| {
            let evidence = facts.accepted.evidence();
            let place = snapshot.archive().map(|bundle| bundle.url.as_str());
            let link = record.evidence.iter().find(|link| {
                link.bundle == evidence.bundle
                    && link.digest == evidence.digest
                    && place.is_none_or(|url| link.url == url)
            });
            let unmarked =
                if record.marking == Marking::NotCarried { &Marking::NotCarried } else { &Marking::Unmarked };
            StepState {
                done: link.is_some(),
                word: if link.is_some() { "attached" } else { "no link to this bundle" },
                wanted: evidence.bundle.clone(),
                marking: link.map_or(unmarked, |link| &link.marking),
            }
        }),
        Step::ClearQueueEntry => snapshot.queue().map(|record| StepState {
            done: record.state.is_done(),
            word: record.state.word(),
            wanted: "Cleared".to_owned(),
            marking: &record.marking,
        }),
        Step::NotifyCoordinator => None,
    }
}

/// Which fields were compared where: what the alignment's digest covers.
#[must_use]
pub fn compared(snapshot: &Snapshot) -> Vec<Compared> {
    let mut all = Vec::with_capacity(5);
    let mut add = |system, fields: &[(&str, bool)]| {
        let fields = fields.iter().filter(|(_, carried)| *carried).map(|(field, _)| (*field).to_owned()).collect();
        all.push(Compared { system, fields });
    };
    if let Some(review) = snapshot.governance() {
        let (milestone, evidence) = (review.milestone.is_some(), review.evidence.is_some());
        add(
            System::Governance,
            &[
                ("state", true),
                ("version", true),
                ("release.id", true),
                ("release.service", review.release.service.is_some()),
                ("release.version", review.release.version.is_some()),
                ("milestone.id", milestone),
                ("milestone.title", milestone),
                ("evidence.bundle", evidence),
                ("evidence.digest", evidence),
                ("acceptedEvent.id", review.accepted_event.is_some()),
            ],
        );
    }
    if snapshot.archive().is_some() {
        let fields = ["bundle", "digest", "release.id", "review.version", "artifacts", "url"];
        add(System::Archive, &fields.map(|field| (field, true)));
    }
    if snapshot.checklist().is_some() {
        add(System::Checklist, &["release.id", "review.version", "state", "items.done"].map(|field| (field, true)));
    }
    if let Some(record) = snapshot.tracker() {
        add(
            System::Tracker,
            &[
                ("release.id", true),
                ("release.service", record.release.service.is_some()),
                ("release.version", record.release.version.is_some()),
                ("milestone.id", true),
                ("milestone.title", true),
                ("state", true),
                ("evidence", true),
            ],
        );
    }
    if snapshot.queue().is_some() {
        add(System::Queue, &["release.id", "review.version", "state"].map(|field| (field, true)));
    }
    all
}
