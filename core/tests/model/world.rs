//! The world in small: six systems whose records are a few values each, what people do to them, and how a write lands.
//!
//! Each cell says only what the checks can tell apart; `records.rs` turns it into the record that an adapter would give.

use releaseclosure_core::ids::{Step, System};

/// Which object of the closure: the first is 0, one that was created again after it 1, and so on.
pub type Uid = u8;

/// The governance record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Accepted, at the version of the spec.
    Accepted,
    /// Reopened: in another state.
    Reopened,
    /// Accepted, at another version.
    NewVersion,
}

/// The evidence bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bundle {
    /// As accepted.
    Here,
    /// Not in the archive.
    Gone,
    /// With another digest.
    OtherDigest,
}

/// Checklist or queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TwoState {
    /// Closed; cleared.
    pub done: bool,
    /// The closure object whose marker it carries.
    pub by: Option<Uid>,
    /// Its revision: how often it was changed.
    pub revision: u8,
}

/// The link to the accepted bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attached {
    /// There is none.
    No,
    /// Somebody attached it without a marker.
    ByPeople,
    /// With a closure object's marker.
    By(Uid),
}

/// The tracker record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tracker {
    /// Approved.
    pub approved: bool,
    /// The closure object whose marker its state carries.
    pub by: Option<Uid>,
    /// The link to the accepted bundle.
    pub link: Attached,
    /// Somebody else's link to something else.
    pub foreign_link: bool,
    /// Its milestone has another title.
    pub renamed: bool,
    /// Its revision.
    pub revision: u8,
}

/// The five records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Records {
    pub source: Source,
    pub bundle: Bundle,
    pub checklist: TwoState,
    pub tracker: Tracker,
    pub queue: TwoState,
}

/// A write as it was sent, with everything that decides whether and how it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    /// The step.
    pub step: Step,
    /// Whose.
    pub uid: Uid,
    /// The precondition.
    pub revision: Option<u8>,
    /// The attached links include somebody else's.
    pub keeps_foreign_link: bool,
}

/// What somebody does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    Reopen,
    Reaccept,
    NewVersion,
    LoseBundle,
    ReplaceBundle,
    RestoreBundle,
    Rename,
    RenameBack,
    /// Do a step by hand.
    Do(Step),
    /// Undo a step; a marker stays where it was.
    Undo(Step),
    /// Add a link to something else.
    AddLink,
    /// Remove it.
    RemoveLink,
}

impl Change {
    /// All of them.
    pub const ALL: [Change; 18] = [
        Change::Reopen,
        Change::Reaccept,
        Change::NewVersion,
        Change::LoseBundle,
        Change::ReplaceBundle,
        Change::RestoreBundle,
        Change::Rename,
        Change::RenameBack,
        Change::Do(Step::CloseChecklist),
        Change::Do(Step::ApproveTracker),
        Change::Do(Step::AttachEvidence),
        Change::Do(Step::ClearQueueEntry),
        Change::Undo(Step::CloseChecklist),
        Change::Undo(Step::ApproveTracker),
        Change::Undo(Step::AttachEvidence),
        Change::Undo(Step::ClearQueueEntry),
        Change::AddLink,
        Change::RemoveLink,
    ];

    /// Whether the systems may disagree after it.
    pub fn disagrees(self) -> bool {
        match self {
            Change::Reopen | Change::NewVersion | Change::LoseBundle | Change::ReplaceBundle | Change::Rename => true,
            Change::Undo(_) => true,
            Change::Reaccept | Change::RestoreBundle | Change::RenameBack => false,
            Change::Do(_) | Change::AddLink | Change::RemoveLink => false,
        }
    }
}

/// The bit of a step in a set of steps.
pub const fn bit(step: Step) -> u8 {
    1 << step.index()
}

/// The bit of a system in a set of systems.
pub const fn flag(system: System) -> u8 {
    1 << system as u8
}

/// The five authorities as a set.
pub const FIVE: u8 = 0b1_1111;

impl Records {
    /// Everything agrees and nothing is done.
    pub fn fresh() -> Records {
        let open = TwoState { done: false, by: None, revision: 0 };
        let tracker =
            Tracker { approved: false, by: None, link: Attached::No, foreign_link: false, renamed: false, revision: 0 };
        Records { source: Source::Accepted, bundle: Bundle::Here, checklist: open, tracker, queue: open }
    }

    /// The records of some systems only, so that looks which show the same are the same.
    pub fn only(self, systems: u8) -> Records {
        let has = |system| systems & flag(system) != 0;
        let none = Records::fresh();
        Records {
            source: if has(System::Governance) { self.source } else { none.source },
            bundle: if has(System::Archive) { self.bundle } else { none.bundle },
            checklist: if has(System::Checklist) { self.checklist } else { none.checklist },
            tracker: if has(System::Tracker) { self.tracker } else { none.tracker },
            queue: if has(System::Queue) { self.queue } else { none.queue },
        }
    }

    /// These records, with that of one system as another has it.
    pub fn with(mut self, other: Records, system: System) -> Records {
        match system {
            System::Governance => self.source = other.source,
            System::Archive => self.bundle = other.bundle,
            System::Checklist => self.checklist = other.checklist,
            System::Tracker => self.tracker = other.tracker,
            System::Queue => self.queue = other.queue,
            System::Intake => {}
        }
        self
    }

    /// The steps that show as done.
    pub fn done(self) -> u8 {
        let shown = [
            (Step::CloseChecklist, self.checklist.done),
            (Step::ApproveTracker, self.tracker.approved),
            (Step::AttachEvidence, self.tracker.link != Attached::No),
            (Step::ClearQueueEntry, self.queue.done),
        ];
        shown.into_iter().filter(|(_, done)| *done).map(|(step, _)| bit(step)).sum()
    }

    /// The steps that carry this closure object's marker.
    pub fn marked_by(self, uid: Uid) -> u8 {
        let shown = [
            (Step::CloseChecklist, self.checklist.by == Some(uid)),
            (Step::ApproveTracker, self.tracker.by == Some(uid)),
            (Step::AttachEvidence, self.tracker.link == Attached::By(uid)),
            (Step::ClearQueueEntry, self.queue.by == Some(uid)),
        ];
        shown.into_iter().filter(|(_, by)| *by).map(|(step, _)| bit(step)).sum()
    }

    /// The systems of which the accepted release, review, milestone and evidence are what the record says: an opinion of
    /// the model's own, against which the production checks are held.
    pub fn agreeing(self) -> u8 {
        let says = [
            (System::Governance, self.source == Source::Accepted),
            (System::Archive, self.bundle == Bundle::Here),
            (System::Checklist, true),
            (System::Tracker, !self.tracker.renamed),
            (System::Queue, true),
        ];
        says.into_iter().filter(|(_, agrees)| *agrees).map(|(system, _)| flag(system)).sum()
    }

    /// The revision of the record a step writes to.
    pub fn revision(self, step: Step) -> Option<u8> {
        match step {
            Step::CloseChecklist => Some(self.checklist.revision),
            Step::ApproveTracker | Step::AttachEvidence => Some(self.tracker.revision),
            Step::ClearQueueEntry => Some(self.queue.revision),
            Step::NotifyCoordinator => None,
        }
    }

    /// What somebody makes of these records; none where there is nothing to change.
    pub fn changed(mut self, change: Change) -> Option<Records> {
        let before = self;
        match change {
            Change::Reopen if self.source == Source::Accepted => self.source = Source::Reopened,
            Change::Reaccept if self.source == Source::Reopened => self.source = Source::Accepted,
            Change::NewVersion => self.source = Source::NewVersion,
            Change::LoseBundle if self.bundle == Bundle::Here => self.bundle = Bundle::Gone,
            Change::ReplaceBundle if self.bundle == Bundle::Here => self.bundle = Bundle::OtherDigest,
            Change::RestoreBundle => self.bundle = Bundle::Here,
            Change::Rename => self.tracker.renamed = true,
            Change::RenameBack => self.tracker.renamed = false,
            Change::Do(Step::CloseChecklist) => self.checklist.done = true,
            Change::Do(Step::ApproveTracker) => self.tracker.approved = true,
            Change::Do(Step::AttachEvidence) if self.tracker.link == Attached::No => {
                self.tracker.link = Attached::ByPeople;
            }
            Change::Do(Step::ClearQueueEntry) => self.queue.done = true,
            Change::Undo(Step::CloseChecklist) => self.checklist.done = false,
            Change::Undo(Step::ApproveTracker) => self.tracker.approved = false,
            Change::Undo(Step::AttachEvidence) => self.tracker.link = Attached::No,
            Change::Undo(Step::ClearQueueEntry) => self.queue.done = false,
            Change::AddLink => self.tracker.foreign_link = true,
            Change::RemoveLink => self.tracker.foreign_link = false,
            Change::Reopen | Change::Reaccept | Change::LoseBundle | Change::ReplaceBundle => {}
            Change::Do(_) | Change::Undo(_) => {}
        }
        (self != before).then(|| self.counted(before))
    }

    /// What a write makes of these records; none where its precondition fails. The intake is not among them.
    pub fn written(mut self, sent: Sent) -> Option<Records> {
        let before = self;
        if sent.revision.is_some() && sent.revision != self.revision(sent.step) {
            return None;
        }
        match sent.step {
            Step::CloseChecklist => (self.checklist.done, self.checklist.by) = (true, Some(sent.uid)),
            Step::ApproveTracker => (self.tracker.approved, self.tracker.by) = (true, Some(sent.uid)),
            Step::AttachEvidence => {
                self.tracker.link = Attached::By(sent.uid);
                self.tracker.foreign_link = sent.keeps_foreign_link;
            }
            Step::ClearQueueEntry => (self.queue.done, self.queue.by) = (true, Some(sent.uid)),
            Step::NotifyCoordinator => {}
        }
        Some(self.counted(before))
    }

    /// Counts the revisions of what has changed.
    fn counted(mut self, before: Records) -> Records {
        self.checklist.revision += u8::from(self.checklist != before.checklist);
        self.tracker.revision += u8::from(self.tracker != before.tracker);
        self.queue.revision += u8::from(self.queue != before.queue);
        self
    }
}
