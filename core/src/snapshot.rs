//! What the systems say now, in the core's own terms. Adapters fill this in; nothing here knows any product.
//!
//! An `Option` in a record means that the product does not carry the field; it is then not compared.

use super::ids::System;
use std::time::Duration;

/// An opaque version of one record, as its system tells it (an entity tag, a counter).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision(pub String);

/// Whose change it was: left on what was changed, in whatever the system offers for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marker {
    /// The closure key.
    pub key: String,
    /// The uid of the closure object.
    pub uid: String,
}

/// What a record says of markers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Marking {
    /// The system keeps none, so nothing can be told from its absence.
    NotCarried,
    /// The system keeps them; here is none.
    Unmarked,
    /// Somebody's marker.
    By(Marker),
}

/// A release as a record refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseRef {
    /// Identifier of the release.
    pub id: String,
    /// The service.
    pub service: Option<String>,
    /// The version.
    pub version: Option<String>,
}

/// A milestone as a record refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MilestoneRef {
    /// Identifier of the milestone.
    pub id: String,
    /// Its title now.
    pub title: String,
}

impl MilestoneRef {
    /// The record is on no milestone at all.
    #[must_use]
    pub fn none() -> MilestoneRef {
        MilestoneRef { id: String::new(), title: String::new() }
    }

    /// Whether the record is on none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.id.is_empty()
    }
}

/// The governance record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReviewRecord {
    /// Its own identifier.
    pub id: String,
    /// The review version that the decision is for.
    pub version: String,
    /// The decision, in the product's words.
    pub state: String,
    /// The release.
    pub release: ReleaseRef,
    /// The milestone.
    pub milestone: Option<MilestoneRef>,
    /// The evidence: bundle and digest.
    pub evidence: Option<(String, String)>,
    /// Identifier of the event by which the state was reached, where the record names one.
    pub accepted_event: Option<String>,
}

/// The evidence bundle in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BundleRecord {
    /// Its own name.
    pub bundle: String,
    /// Its digest now.
    pub digest: String,
    /// The release it is of.
    pub release_id: String,
    /// The review version it is of.
    pub review_version: String,
    /// What is in it.
    pub artifacts: Vec<Artifact>,
    /// Where a person finds it.
    pub url: String,
    /// Whether the connection may announce a plain `http` link.
    pub plaintext_allowed: bool,
}

/// One artifact of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Artifact {
    /// Its kind, as playbooks name it.
    pub kind: String,
    /// Its digest, if it has one.
    pub digest: Option<String>,
}

/// The readiness checklist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChecklistRecord {
    /// Its own identifier.
    pub id: String,
    /// The release it is of.
    pub release_id: String,
    /// The review version it is of.
    pub review_version: String,
    /// Open, closed, or a word that means neither.
    pub state: Progress,
    /// Identifiers of the items that are not done.
    pub open_items: Vec<String>,
    /// Whose change it carries.
    pub marking: Marking,
}

/// The review-queue entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueRecord {
    /// Its own identifier.
    pub id: String,
    /// The release it is of.
    pub release_id: String,
    /// The review version it is of.
    pub review_version: String,
    /// Pending, cleared, or a word that means neither.
    pub state: Progress,
    /// Whose change it carries.
    pub marking: Marking,
}

/// Whether a two-state record is still to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Open; pending. Holds the product's word.
    ToDo(String),
    /// Closed; cleared. Holds the product's word.
    Done(String),
    /// Anything else is unexpected, never guessed.
    Other(String),
}

impl Progress {
    /// The product's word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Progress::ToDo(word) | Progress::Done(word) | Progress::Other(word) => word,
        }
    }
    /// Whether it is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Progress::Done(_))
    }
}

/// The tracker record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrackerRecord {
    /// Its own identifier.
    pub id: String,
    /// The release it tracks.
    pub release: ReleaseRef,
    /// Its state, in the product's words.
    pub state: String,
    /// The milestone it is on now.
    pub milestone: MilestoneRef,
    /// The evidence links it holds.
    pub evidence: Vec<EvidenceLink>,
    /// Whose change of state it carries.
    pub marking: Marking,
}

/// One evidence link on a tracker record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EvidenceLink {
    /// The bundle it points to.
    pub bundle: String,
    /// The digest it promises.
    pub digest: String,
    /// Where it points.
    pub url: String,
    /// Whose link it is.
    pub marking: Marking,
    /// The link exactly as it was read (JSON text, or empty where the product adds links without rewriting the
    /// others): what is not ours is written back to the letter.
    pub as_read: String,
}

/// Why nothing can be said about a record, or about the fate of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Timeout, reset, refused connection, 5xx, 408, 425, 423.
    Unavailable,
    /// 429.
    TooManyRequests,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// Not the system's own format, not the contract, too large, cut off, a redirect.
    NotUnderstood,
    /// The circuit breaker is open, or the connection's own limits leave no room in time.
    HeldBack,
    /// The record is at a revision that it had before our own write: a stale read.
    Stale,
}

/// A failure to learn something, and how long the system asks to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unreachable {
    /// What kind of failure.
    pub trouble: Trouble,
    /// From a `Retry-After`, capped at one hour.
    pub retry_after: Option<Duration>,
}

impl From<Trouble> for Unreachable {
    fn from(trouble: Trouble) -> Self {
        Unreachable { trouble, retry_after: None }
    }
}

/// What one look at one record gave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observation<R> {
    /// The record and the revision it was read at.
    Found(R, Revision),
    /// The system says, in its own words, that there is none.
    Missing,
    /// A look-up gave this many.
    Ambiguous(usize),
    /// Nothing was learned.
    Unreachable(Unreachable),
}

/// One look at one of the five authorities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sighting {
    /// Of the governance record.
    Governance(Observation<ReviewRecord>),
    /// Of the evidence bundle.
    Archive(Observation<BundleRecord>),
    /// Of the checklist.
    Checklist(Observation<ChecklistRecord>),
    /// Of the tracker record.
    Tracker(Observation<TrackerRecord>),
    /// Of the queue entry.
    Queue(Observation<QueueRecord>),
}

/// A look, and when it was taken: the number of effects (writes sent, intent stored) that the pass had behind it when
/// the request for it went out. Comparing these numbers is how the core tells an old look from a fresh one without a
/// clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen<R> {
    /// What it gave.
    pub observation: Observation<R>,
    /// Effects before it.
    pub epoch: u32,
}

impl<R> Seen<R> {
    fn record(&self) -> Option<(&R, &Revision)> {
        match &self.observation {
            Observation::Found(record, revision) => Some((record, revision)),
            Observation::Missing | Observation::Ambiguous(_) | Observation::Unreachable(_) => None,
        }
    }
}

/// The latest look at each of the five authorities, of one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    governance: Option<Seen<ReviewRecord>>,
    archive: Option<Seen<BundleRecord>>,
    checklist: Option<Seen<ChecklistRecord>>,
    tracker: Option<Seen<TrackerRecord>>,
    queue: Option<Seen<QueueRecord>>,
}

/// What a look gave, less the record: the same for every system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// Not looked yet, or the look is void.
    Unseen,
    /// There is a record.
    Found,
    /// There is none.
    Missing,
    /// There are this many.
    Ambiguous(usize),
    /// Nothing was learned.
    Unreachable(Unreachable),
}

/// Applies one expression to whichever look the system has.
macro_rules! each {
    ($self:ident, $system:expr, $seen:ident => $value:expr, $otherwise:expr) => {
        match $system {
            System::Governance => $self.governance.as_ref().map_or($otherwise, |$seen| $value),
            System::Archive => $self.archive.as_ref().map_or($otherwise, |$seen| $value),
            System::Checklist => $self.checklist.as_ref().map_or($otherwise, |$seen| $value),
            System::Tracker => $self.tracker.as_ref().map_or($otherwise, |$seen| $value),
            System::Queue => $self.queue.as_ref().map_or($otherwise, |$seen| $value),
            System::Intake => $otherwise,
        }
    };
}

impl Snapshot {
    /// Takes a look in, in place of the one before.
    pub fn take(&mut self, sighting: Sighting, epoch: u32) {
        match sighting {
            Sighting::Governance(observation) => self.governance = Some(Seen { observation, epoch }),
            Sighting::Archive(observation) => self.archive = Some(Seen { observation, epoch }),
            Sighting::Checklist(observation) => self.checklist = Some(Seen { observation, epoch }),
            Sighting::Tracker(observation) => self.tracker = Some(Seen { observation, epoch }),
            Sighting::Queue(observation) => self.queue = Some(Seen { observation, epoch }),
        }
    }

    /// Drops a look that is known to be out of date.
    pub fn forget(&mut self, system: System) {
        match system {
            System::Governance => self.governance = None,
            System::Archive => self.archive = None,
            System::Checklist => self.checklist = None,
            System::Tracker => self.tracker = None,
            System::Queue => self.queue = None,
            System::Intake => {}
        }
    }

    /// The governance record, if the latest look found one.
    #[must_use]
    pub fn governance(&self) -> Option<&ReviewRecord> {
        self.governance.as_ref()?.record().map(|(record, _)| record)
    }
    /// The bundle.
    #[must_use]
    pub fn archive(&self) -> Option<&BundleRecord> {
        self.archive.as_ref()?.record().map(|(record, _)| record)
    }
    /// The checklist.
    #[must_use]
    pub fn checklist(&self) -> Option<&ChecklistRecord> {
        self.checklist.as_ref()?.record().map(|(record, _)| record)
    }
    /// The tracker record.
    #[must_use]
    pub fn tracker(&self) -> Option<&TrackerRecord> {
        self.tracker.as_ref()?.record().map(|(record, _)| record)
    }
    /// The queue entry.
    #[must_use]
    pub fn queue(&self) -> Option<&QueueRecord> {
        self.queue.as_ref()?.record().map(|(record, _)| record)
    }

    /// What the latest look at a system gave.
    #[must_use]
    pub fn look(&self, system: System) -> Look {
        each!(self, system, seen => match &seen.observation {
            Observation::Found(..) => Look::Found,
            Observation::Missing => Look::Missing,
            Observation::Ambiguous(count) => Look::Ambiguous(*count),
            Observation::Unreachable(why) => Look::Unreachable(*why),
        }, Look::Unseen)
    }

    /// How many effects lay behind the pass when the latest look at a system went out.
    #[must_use]
    pub fn epoch(&self, system: System) -> Option<u32> {
        each!(self, system, seen => Some(seen.epoch), None)
    }

    /// The revision of the record that the latest look found.
    #[must_use]
    pub fn revision(&self, system: System) -> Option<&Revision> {
        each!(self, system, seen => seen.record().map(|(_, revision)| revision), None)
    }

    /// The own id of the record that the latest look found.
    #[must_use]
    pub fn record_id(&self, system: System) -> Option<&str> {
        match system {
            System::Governance => self.governance().map(|record| record.id.as_str()),
            System::Archive => self.archive().map(|record| record.bundle.as_str()),
            System::Checklist => self.checklist().map(|record| record.id.as_str()),
            System::Tracker => self.tracker().map(|record| record.id.as_str()),
            System::Queue => self.queue().map(|record| record.id.as_str()),
            System::Intake => None,
        }
    }
}
