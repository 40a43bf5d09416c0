//! A state of the model and what can happen in it.

use super::engine::{Answer, Order, Stand, Standing, Stored};
use super::properties::Rule;
use super::world::{Change, Records, Sent, Uid};
use releaseclosure_core::ids::{Step, System};
use releaseclosure_core::reason::Reason;

/// Most objects of the closure there ever are.
pub const OBJECTS: usize = 2;

/// The closure object as the API server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    pub uid: Uid,
    pub stored: Stored,
    pub standing: Standing,
    /// It has a completion time.
    pub finished: bool,
}

/// The follow-up packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    pub halt: u32,
    pub cause: Reason,
    pub answer: Option<Answer>,
}

/// Where a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    Idle,
    /// In a pass.
    Working(Working),
    /// The pass has ended and its status is to be stored.
    Storing(Storing),
    /// A halt is stored; its packet is to be made.
    Packing(u32, Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Working {
    pub stand: Stand,
    pub uid: Uid,
    /// The status that the next one is based on.
    pub base: (u32, Standing),
    /// The object has not changed since that status was read or written.
    pub is_current: bool,
    /// The pass began with an intent, known for the settling time or not.
    pub intent: Option<bool>,
    /// The lease was seen to outlive the next write.
    pub fenced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Storing {
    pub draft: Stored,
    pub standing: Standing,
    pub halt: Option<(u32, Reason)>,
    pub uid: Uid,
    pub base: (u32, Standing),
    pub is_current: bool,
}

/// What a process remembers of the closure between passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Remembered {
    /// It has seen a stored intent; true: for the settling time.
    pub intent: Option<bool>,
    /// It waited for an announcement to settle, whatever is stored.
    pub settling: bool,
    pub ineffective: Option<(Step, u8)>,
    pub intake_away: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub at: At,
    pub remembered: Remembered,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Processes that are lost.
    pub crashes: u8,
    /// Requests and replies that are lost or late, refusals to speak.
    pub faults: u8,
    /// Systems that say yes and do nothing.
    pub lies: u8,
    /// Changes that a system refuses.
    pub refusals: u8,
    /// Looks that show a record as it was before its latest change.
    pub stale: u8,
    /// What people and other programs do to the records.
    pub changes: u8,
    /// Packets that a coordinator answers.
    pub answers: u8,
    /// Objects that are deleted and created again.
    pub recreations: u8,
    /// Edits of the object's metadata.
    pub touches: u8,
    /// Changes of the leader.
    pub takeovers: u8,
    /// The window of keys passes.
    pub windows: u8,
}

/// What has happened, as far as a property asks for it. Counts saturate at three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    pub broken: u32,
    /// Somebody made the systems disagree.
    pub disagreed: bool,
    /// A process or a reply was lost, or an object: an announcement may have gone out of which nothing is known.
    pub in_doubt: bool,
    /// A system refused a change.
    pub refused: bool,
    /// Steps of which a system said that they are done and they were not, or the other way round.
    pub lied: u8,
    /// A look went back behind a change whose revision before it nobody has taken down.
    pub went_back: bool,
    /// Looks that showed the mapping as it was before it changed.
    pub hidden: u8,
    /// The halt that is stored was stored by a process that led no more.
    pub late_halt: bool,
    /// A coordinator said that the handoff arrived, or that it did not, and it was otherwise.
    pub wrongly_delivered: bool,
    pub wrongly_not_delivered: u8,
    /// Steps whose write was answered to a process that still remembers it.
    pub answered: u8,
    /// Writes of each object that took effect.
    pub landed: [u8; OBJECTS],
    /// Steps that were ever done.
    pub ever_done: u8,
    /// Writes sent since the source, the bundle, the milestone mapping changed.
    pub late: [u8; 3],
}

impl History {
    pub fn breaks(&mut self, rule: Rule, broken: bool) {
        if broken {
            self.broken |= rule.bit();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub records: Records,
    /// Each record before its latest change.
    pub before: Records,
    /// Announcements that the intake took as new ones.
    pub announced: u8,
    /// The intake still knows the key.
    pub knows_key: bool,
    /// The window of keys has passed.
    pub late: bool,
    /// A write whose sender has given up and that may still land.
    pub flight: Option<Sent>,
    pub object: Object,
    pub packet: Option<Packet>,
    pub replicas: [Replica; 2],
    pub leader: u8,
    pub left: Budget,
    pub history: History,
}

/// How a look goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Fine,
    Away(System),
    Stale(System),
    HeldBack(Step),
}

/// How a question to the intake goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Fine,
    Away,
}

/// How a request to the API server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Fine,
    RequestLost,
    ReplyLost,
}

/// How a write to a system goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    Fine,
    /// Nothing went out.
    NotSent,
    RequestLost,
    ReplyLost,
    /// The sender gives up; it lands later, or never.
    Late,
    Refused,
    /// The intake has another handoff under the key.
    Conflict,
    /// Yes, with the record as it would be; and nothing is done.
    LieShown,
    /// Yes, with the record as it was; and nothing is done.
    LieUnchanged,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Begin(u8),
    /// The systems of the set are looked at in one moment.
    Look(u8, u8, Look),
    Ask(u8, Question),
    Probe(u8, Question),
    Persist(u8, Write),
    Fence(u8),
    Send(u8, Sending),
    Store(u8, Write),
    Pack(u8, Write),
    Crash(u8),
    Land,
    Vanish,
    Change(Change),
    Answer(Answer),
    Settle(u8),
    Window,
    Recreate,
    Touch,
    Takeover,
}

impl State {
    /// Whether a replica is in a pass.
    pub fn is_busy(&self, replica: u8) -> bool {
        self.replicas[usize::from(replica)].at != At::Idle
    }

    /// The working pass of a replica.
    pub fn working(&self, replica: u8) -> Option<Working> {
        match self.replicas[usize::from(replica)].at {
            At::Working(working) => Some(working),
            At::Idle | At::Storing(_) | At::Packing(..) => None,
        }
    }

    /// The write that a replica's pass wants made.
    pub fn wanted(&self, replica: u8) -> Option<Sent> {
        match self.working(replica)?.stand.order {
            Order::Send(sent) => Some(sent),
            Order::Look(..) | Order::Ask | Order::Probe | Order::Persist | Order::End => None,
        }
    }

    /// Whether an announcement is on its way.
    pub fn is_announcement_in_flight(&self) -> bool {
        self.flight.is_some_and(|sent| sent.step == Step::NotifyCoordinator)
    }
}
