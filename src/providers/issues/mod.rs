//! Issues as records: what an issue tracker's adapter makes of an issue in each of four roles.
//!
//! An adapter reads its product's issue into an [`Issue`]; here that becomes a review, a checklist, a tracker record or an entry
//! of the review queue, by the headings that the connection names. What a write changes in the text is made here, too, so that it is
//! the same in every product.

pub(super) mod form;
#[cfg(test)]
pub(super) mod fuzz_tests;

use crate::closure::decide::{Change, Verified};
use crate::closure::ids::Step;
use crate::closure::snapshot::{
    ChecklistRecord, MilestoneRef, Progress, QueueRecord, ReleaseRef, ReviewRecord, TrackerRecord,
};
use crate::products::issues::Headings;
use form::{Form, Link};

/// One issue, whatever the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issue {
    /// Its number, or key.
    pub(super) id: String,
    /// Whether it is closed, and the product's word for where it stands.
    pub(super) closed: bool,
    /// The milestone it is on.
    pub(super) milestone: Option<MilestoneRef>,
    /// Its text.
    pub(super) form: Form,
}

impl Issue {
    /// As the accepted review.
    pub(super) fn review(&self, headings: &Headings) -> ReviewRecord {
        let value = |heading: &str| self.form.value(heading);
        let event = Some(&headings.accepted_event).filter(|heading| self.form.has(heading));
        ReviewRecord {
            id: self.id.clone(),
            version: value(&headings.review_version),
            state: value(&headings.decision),
            release: self.release(headings),
            milestone: Some(self.milestone()),
            evidence: Some((value(&headings.bundle), value(&headings.digest))),
            accepted_event: event.map(|heading| value(heading)),
        }
    }

    /// As the readiness checklist: its task list's items, done when it is closed.
    pub(super) fn checklist(&self, headings: &Headings) -> ChecklistRecord {
        ChecklistRecord {
            id: self.id.clone(),
            release_id: self.form.value(&headings.release),
            review_version: self.form.value(&headings.review_version),
            state: self.progress(),
            open_items: self.form.open_items(),
            marking: self.form.marking(Step::CloseChecklist),
        }
    }

    /// As the tracker record.
    pub(super) fn tracker(&self, headings: &Headings) -> TrackerRecord {
        TrackerRecord {
            id: self.id.clone(),
            release: self.release(headings),
            state: self.form.value(&headings.status),
            milestone: self.milestone(),
            evidence: self.form.links(&headings.evidence),
            marking: self.form.marking(Step::ApproveTracker),
        }
    }

    /// As an entry of the review queue, cleared when it is closed.
    pub(super) fn entry(&self, headings: &Headings) -> QueueRecord {
        QueueRecord {
            id: self.id.clone(),
            release_id: self.form.value(&headings.release),
            review_version: self.form.value(&headings.review_version),
            state: self.progress(),
            marking: self.form.marking(Step::ClearQueueEntry),
        }
    }

    /// Makes an order's change in the text, mark included. None where there is no place for it.
    pub(super) fn apply(&mut self, headings: &Headings, order: &Verified) -> Option<()> {
        let marker = order.marker();
        match order.change() {
            Change::Close | Change::Clear => {}
            Change::Approve { state } => self.form.set(&headings.status, state)?,
            Change::Attach { others: _, bundle, digest, url } => {
                self.form.add_link(&headings.evidence, &Link { bundle, digest, url, marker: &marker });
                return Some(());
            }
            Change::Announce(_) => return None,
        }
        self.form.mark(order.step(), &marker);
        Some(())
    }

    fn release(&self, headings: &Headings) -> ReleaseRef {
        ReleaseRef {
            id: self.form.value(&headings.release),
            service: Some(self.form.value(&headings.service)),
            version: Some(self.form.value(&headings.version)),
        }
    }

    fn milestone(&self) -> MilestoneRef {
        self.milestone.clone().unwrap_or_else(MilestoneRef::none)
    }

    fn progress(&self) -> Progress {
        if self.closed { Progress::Done("closed".to_owned()) } else { Progress::ToDo("open".to_owned()) }
    }
}
