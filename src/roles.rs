//! The six roles a system can play, and where halts are told of, as traits.
//!
//! **Invariant:** [`Governance`] and [`Archive`] have no writing verb. Every writing verb takes a
//! [`Verified`] by value: it can be made by verification alone, and one write uses it up.
//!
//! **Guarantees of an implementation:** a returned record is understood as a whole, its identifiers keep the rule of
//! [`crate::closure::ids`], and everything else is [`Unreachable`] with [`Trouble::NotUnderstood`]. A read never changes
//! anything. A write sends at most one request. Every method returns within the connection's timeout (plus at most one
//! second of waiting for a permit).
//!
//! [`Trouble::NotUnderstood`]: crate::closure::snapshot::Trouble::NotUnderstood

use crate::closure::decide::{Delivery, Verified};
use crate::closure::ids::System;
use crate::closure::reason::Reason;
use crate::closure::snapshot::{
    BundleRecord, ChecklistRecord, Observation, QueueRecord, ReviewRecord, Revision, TrackerRecord, Trouble,
    Unreachable,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit};

/// Which record to read: by its id where one is known, else by release and review version.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The record's own id.
    pub record: Option<&'a str>,
    /// The release it must be of.
    pub release: &'a str,
    /// The review version it must be of.
    pub review_version: &'a str,
}

/// What became of a write to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteReply<R> {
    /// The system says yes; this is the record now. Whether it shows the change is for the core to see.
    Answered(R, Revision),
    /// The precondition failed: somebody else changed the record.
    Conflict,
    /// The system says that the record is gone (404, 410 in its own error format).
    Gone,
    /// The system refuses the change itself (400, 409 without precondition, 422 in its own error format).
    Refused,
    /// Nothing was applied, and that is certain: not sent, connection refused, 429, or a 4xx that says so.
    NotApplied(Unreachable),
    /// It may have been applied, or may still be.
    Unknown(Unreachable),
}

/// What became of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnnounceReply {
    /// 201: it is there, by this request.
    Accepted,
    /// 200: it was there already, with the same content.
    AlreadyThere,
    /// 409: there is one under this key with another content.
    Conflict,
    /// The intake refuses the announcement itself, in its own error format.
    Refused,
    /// It did not go out, and that is certain: nothing sent, connection refused, 429, any other 4xx.
    NotSent(Unreachable),
    /// It may have arrived, or may still.
    Unknown(Unreachable),
}

/// What an intake answers when it is asked for a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandoffSighting {
    /// It has it.
    There,
    /// It says, in its own words, that it has not.
    NotThere,
    /// Nothing was learned.
    Unreachable(Unreachable),
}

/// How a connection protects a record against somebody else's change between read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[schemars(inline)]
pub enum Concurrency {
    /// The system refuses a write to a record that has changed since it was read.
    CompareAndSwap,
    /// The write names the state it starts from.
    NaturalKey,
    /// The system takes one write at a time; a race window is left.
    Serialized,
    /// Read, write, read again; a race window is left.
    ReadVerifyWrite,
}

/// What may be relied on for one role of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// The protection of writes; none for the roles that are only read and for the intake.
    pub concurrency: Option<Concurrency>,
    /// The fields that this protection does not cover, as dotted paths: a change of one between the last look and the write
    /// goes unnoticed. Empty where it covers all that is compared, or where the whole record has a race window.
    pub unguarded: &'static [&'static str],
    /// Whether records carry a marker; none where nothing is ever written.
    pub marker: Option<bool>,
    /// The fields carried, as dotted paths in the contract's record.
    pub carries: &'static [&'static str],
    /// What the intake does with a repeated announcement; intakes only.
    pub delivery: Option<Delivery>,
    /// How long keys are kept; none means as long as handoffs are.
    pub window: Option<Duration>,
    /// Whether the intake can be asked for a handoff.
    pub can_look_up: bool,
}

impl Abilities {
    /// Nothing to rely on: an adapter names what there is beyond it.
    pub const NONE: Abilities = Abilities {
        concurrency: None,
        unguarded: &[],
        marker: None,
        carries: &[],
        delivery: None,
        window: None,
        can_look_up: false,
    };

    /// Every field of the contract's record of a system. What a product may lack comes last: of a review the accepted
    /// event, of a record that is written our mark.
    #[must_use]
    pub const fn all_fields(system: System) -> &'static [&'static str] {
        match system {
            System::Governance => &[
                "id",
                "version",
                "state",
                "release.id",
                "release.service",
                "release.version",
                "milestone.id",
                "milestone.title",
                "evidence.bundle",
                "evidence.digest",
                "acceptedEvent.id",
            ],
            System::Archive => &["bundle", "digest", "release.id", "review.version", "artifacts", "url"],
            System::Checklist => &["id", "release.id", "review.version", "state", "items.done", "closure"],
            System::Tracker => &[
                "id",
                "release.id",
                "release.service",
                "release.version",
                "state",
                "milestone.id",
                "milestone.title",
                "evidence",
                "closure",
            ],
            System::Queue => &["id", "release.id", "review.version", "state", "closure"],
            System::Intake => &[],
        }
    }

    /// All fields but the one that a product may lack.
    #[must_use]
    pub fn fields_but_the_last(system: System) -> &'static [&'static str] {
        Abilities::all_fields(system).split_last().map_or(&[], |(_, fields)| fields)
    }
}

/// A place in a connection's limits: one request may be under way.
///
/// Taken before the re-checks of a write, so that no waiting comes between re-check and write. Reads on the same
/// connection that are handed the permit use its place, one after the other.
#[derive(Debug)]
pub struct Permit {
    pub(crate) gate: usize,
    pub(crate) turn: Mutex<()>,
    pub(crate) _place: OwnedSemaphorePermit,
}

/// The limits of one connection, shared by everything that goes through it.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Waits at most one second for a place, a token of the rate limit and the circuit breaker.
    ///
    /// # Errors
    /// Held back, by whichever of the three it is.
    async fn permit(&self) -> Result<Permit, Unreachable>;

    /// The timeout of one request.
    fn timeout(&self) -> Duration;

    /// Whether nothing goes through just now, but a trial or a probe: the circuit breaker is open, or the system asked
    /// to be left alone.
    fn congested(&self) -> bool {
        false
    }
}

/// One review of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListedReview {
    /// Its own identifier.
    pub id: String,
    /// The version that was accepted.
    pub version: String,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewPage {
    /// In the order of their acceptance.
    pub reviews: Vec<ListedReview>,
    /// Where the next page begins; none on the last one.
    pub next: Option<String>,
}

/// What a system answers when it is asked for a list of reviews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// One page of it.
    Page(ReviewPage),
    /// It gives no such list: few products do.
    NotOffered,
    /// Nothing was learned.
    Unreachable(Unreachable),
}

/// What a source of events has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// One event, which comes again until it is settled.
    Event {
        /// Which one it is: the same however often it is handed out.
        name: String,
        /// What it says.
        body: Vec<u8>,
        /// What settles it.
        receipt: Receipt,
    },
    /// Nothing just now.
    Nothing,
    /// Nothing was learned.
    Unreachable(Unreachable),
}

/// Names one handing-out of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt(
    /// The source's own word for it.
    pub String,
);

/// Events of one source that are put off at once, at most: whoever keeps them must have room for more than these.
pub const PUT_OFF_MAX: usize = 200;

/// What is said of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// What it asks for is there: it is not to come again.
    Done,
    /// Nothing will come of it: likewise.
    Never,
    /// It is to come again after this time, and to hold up no other until then.
    Later(Duration),
}

/// Where a governance system's events are kept until somebody has taken them.
#[async_trait]
pub trait Events: Send + Sync {
    /// The next event; does not wait for one.
    async fn next(&self) -> Pulled;
    /// Says what is to become of an event. Where that does not arrive, it comes again in the source's own time.
    ///
    /// # Errors
    /// It is not known to have arrived.
    async fn settle(&self, receipt: &Receipt, word: Settled) -> Result<(), Unreachable>;
}

/// The system that holds the accepted decision. Read only.
#[async_trait]
pub trait Governance: Send + Sync {
    /// Reads the review.
    async fn review(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ReviewRecord>;

    /// Lists the reviews in a state that were accepted after a time, from a cursor of an earlier page on. For feeds alone,
    /// and only where a product has such a list.
    async fn accepted(&self, _state: &str, _after: Timestamp, _cursor: Option<&str>) -> Listed {
        Listed::NotOffered
    }
}

/// The evidence archive. Read only.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Reads what the archive says of the bundle.
    async fn bundle(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<BundleRecord>;
}

/// The checklist system.
#[async_trait]
pub trait Checklist: Send + Sync {
    /// Reads the checklist.
    async fn checklist(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ChecklistRecord>;
    /// Closes it.
    async fn close(&self, order: Verified, permit: Permit) -> WriteReply<ChecklistRecord>;
}

/// The release tracker.
#[async_trait]
pub trait Tracker: Send + Sync {
    /// Reads the tracker record.
    async fn release(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<TrackerRecord>;
    /// Approves it, or attaches evidence, whichever the order says.
    async fn update(&self, order: Verified, permit: Permit) -> WriteReply<TrackerRecord>;
}

/// The review queue.
#[async_trait]
pub trait ReviewQueue: Send + Sync {
    /// Reads the queue entry.
    async fn entry(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<QueueRecord>;
    /// Clears it.
    async fn clear(&self, order: Verified, permit: Permit) -> WriteReply<QueueRecord>;
}

/// Where the handoff is announced.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Asks whether a handoff with this key is there. An intake whose [`Abilities::can_look_up`] is false is never asked.
    async fn handoff(&self, _key: &str, _held: Option<&Permit>) -> HandoffSighting {
        HandoffSighting::Unreachable(Trouble::NotUnderstood.into())
    }
    /// Announces it.
    async fn announce(&self, order: Verified, permit: Permit) -> AnnounceReply;
}

/// What is told of a halt: identifiers, a word of a closed set, and one link for people's eyes. No free text.
///
/// All of it stands in the packet, so that a repeated telling is the same telling.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HaltNotice {
    /// The halt, which is what the telling is known by.
    pub halt_id: String,
    /// The closure that halted.
    pub closure_key: String,
    /// Name of the packet to resolve.
    pub packet: String,
    /// Its namespace.
    pub namespace: String,
    /// The address that the closure names.
    pub coordinator: Option<String>,
    /// The first finding's reason.
    pub cause: Reason,
    /// Where a person finds the record that disagrees; at most 512 bytes.
    pub link: Option<String>,
}

/// Where people are told of halts: a channel of its own, that no closure's step goes through.
///
/// It takes no [`Verified`], since nothing of a closure is changed by it; and nothing of a closure waits for it.
#[async_trait]
pub trait FollowUp: Send + Sync {
    /// Tells of a halt. Sends at most one request that changes something; may be repeated.
    async fn tell(&self, notice: &HaltNotice, permit: Permit) -> AnnounceReply;
    /// One read, as [`Prober::probe`], for this role.
    async fn probe(&self) -> Probe;
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It answers, and accepts the credentials.
    Ready,
    /// It does not.
    Failed(Unreachable),
    /// It answers, and a setting of the connection does not fit it.
    Unfit {
        /// The setting, as a dotted path below `spec`.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        what: &'static str,
    },
    /// Likewise, and the system itself says what would be right.
    Told {
        /// The setting, as a dotted path below `spec`.
        setting: &'static str,
        /// What is wrong with it; the sentence ends with what would be right.
        what: &'static str,
        /// That: a short name of small letters, digits and dashes, whatever the system sent.
        right: String,
    },
}

/// One connected system, by the roles its product can play; a role the product cannot play is `None`.
#[derive(Clone)]
pub struct Connected {
    /// Its limits.
    pub gate: Arc<dyn Gate>,
    /// As governance.
    pub governance: Option<Arc<dyn Governance>>,
    /// As archive.
    pub archive: Option<Arc<dyn Archive>>,
    /// As checklist system.
    pub checklist: Option<Arc<dyn Checklist>>,
    /// As tracker.
    pub tracker: Option<Arc<dyn Tracker>>,
    /// As review queue.
    pub queue: Option<Arc<dyn ReviewQueue>>,
    /// As intake.
    pub intake: Option<Arc<dyn Intake>>,
    /// As the place where the governance system's events are.
    pub events: Option<Arc<dyn Events>>,
    /// As the channel on which people are told of halts.
    pub follow_up: Option<Arc<dyn FollowUp>>,
    /// One of its own reads, for an id that no closure uses.
    pub prober: Arc<dyn Prober>,
}

impl Connected {
    /// One that plays no role yet.
    #[must_use]
    pub fn without_roles(gate: Arc<dyn Gate>, prober: Arc<dyn Prober>) -> Connected {
        Connected {
            gate,
            governance: None,
            archive: None,
            checklist: None,
            tracker: None,
            queue: None,
            intake: None,
            events: None,
            follow_up: None,
            prober,
        }
    }
}

/// Asks whether a system is there.
#[async_trait]
pub trait Prober: Send + Sync {
    /// One read in this role; needs no permit but counts for the breaker.
    async fn probe(&self, system: System) -> Probe;
    /// What may be relied on in this role.
    fn abilities(&self, system: System) -> Option<Abilities>;
}
