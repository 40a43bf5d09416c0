//! Label values and label sets, all closed.

use crate::closure::ledger::Check;
use crate::closure::snapshot::Trouble;
use crate::feeds;
use prometheus_client::encoding::EncodeLabelSet;

/// Declares a closed set of label values.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $value,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$value,)+];

            /// The word in the label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$value => $word,)+ }
            }
        }
    };
}

labels! {
    /// How a closure finished.
    Finish {
        /// All five steps are done.
        Closed = "closed",
        /// A coordinator gave it up.
        Abandoned = "abandoned",
    }
}

labels! {
    /// How a pass ended.
    Ending {
        /// The closure is closed.
        Closed = "closed",
        /// It is halted, or abandoned.
        Halted = "halted",
        /// It waits for something.
        Waiting = "waiting",
        /// The plan is made.
        Planned = "planned",
        /// There was nothing to do.
        Nothing = "nothing",
        /// The stored status was written by somebody else meanwhile; the pass starts over.
        Conflict = "conflict",
        /// The API server gave no answer, or refused.
        Error = "error",
        /// A defect of this program.
        Panic = "panic",
    }
}

labels! {
    /// What a closure got over by itself, or with a coordinator's word.
    After {
        /// A system that gave no answer for a while.
        Outage = "outage",
        /// A step that somebody had done already.
        AlreadyUpdated = "already_updated",
        /// A halt that a coordinator released.
        Halt = "halt",
    }
}

labels! {
    /// HTTP methods that adapters use.
    Method {
        /// A read.
        Get = "GET",
        /// A change.
        Patch = "PATCH",
        /// An announcement, or a change where the product wants it so.
        Post = "POST",
        /// A change that names all of the record.
        Put = "PUT",
        /// Removal of a queue's entry or label, where that is what clearing means.
        Delete = "DELETE",
    }
}

labels! {
    /// What became of one request to a system.
    Reply {
        /// It answered with the record.
        Answered = "answered",
        /// It says that there is no such record.
        Missing = "missing",
        /// The precondition failed.
        Conflict = "conflict",
        /// It refuses the change itself.
        Refused = "refused",
        /// No answer in time, or 5xx.
        Unavailable = "unavailable",
        /// 429.
        TooManyRequests = "too_many_requests",
        /// 401.
        Unauthorized = "unauthorized",
        /// 403.
        Forbidden = "forbidden",
        /// Not what the product is known to answer.
        NotUnderstood = "not_understood",
        /// Not sent: the connection's own limits, or its circuit breaker.
        HeldBack = "held_back",
    }
}

impl From<Trouble> for Reply {
    fn from(trouble: Trouble) -> Reply {
        match trouble {
            Trouble::Unavailable => Reply::Unavailable,
            Trouble::TooManyRequests => Reply::TooManyRequests,
            Trouble::Unauthorized => Reply::Unauthorized,
            Trouble::Forbidden => Reply::Forbidden,
            Trouble::NotUnderstood => Reply::NotUnderstood,
            Trouble::HeldBack => Reply::HeldBack,
            // The system did answer, with the record as it was before our own write.
            Trouble::Stale => Reply::Answered,
        }
    }
}

pub(super) const fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

pub(super) const fn check_word(check: Check) -> &'static str {
    match check {
        Check::C1 => "C1",
        Check::C2 => "C2",
        Check::C3 => "C3",
        Check::C4 => "C4",
        Check::C5 => "C5",
        Check::C6 => "C6",
        Check::C7 => "C7",
        Check::C8 => "C8",
        Check::C9 => "C9",
        Check::C10 => "C10",
        Check::C11 => "C11",
        Check::C12 => "C12",
        Check::C13 => "C13",
        Check::C14 => "C14",
        Check::C15 => "C15",
        Check::C16 => "C16",
        Check::Write => "Write",
        Check::Notification => "Notification",
    }
}

type Word = &'static str;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FinishLabels {
    pub(super) outcome: Word,
    pub(super) manual: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FindingLabels {
    pub(super) check: Word,
    pub(super) reason: Word,
    pub(super) before_write: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CauseLabels {
    pub(super) cause: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StepLabels {
    pub(super) system: Word,
    pub(super) outcome: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AfterLabels {
    pub(super) after: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndingLabels {
    pub(super) ending: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) system: Word,
    pub(super) method: Word,
    pub(super) outcome: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SystemLabels {
    pub(super) system: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FeedLabels {
    source: Word,
    outcome: Word,
}

impl FeedLabels {
    pub(super) fn new(source: feeds::Source, outcome: feeds::Outcome) -> FeedLabels {
        FeedLabels { source: source.label(), outcome: outcome.label() }
    }
}
