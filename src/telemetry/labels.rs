//! Label values and label sets, all closed.

use crate::closure::ledger::Check;
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
    /// What a channel said to a halt that it was told of.
    Told {
        /// It has it.
        Announced = "announced",
        /// It does not take it.
        Refused = "refused",
        /// It gave no answer.
        Unavailable = "unavailable",
        /// There is no channel that can be used.
        Unusable = "unusable",
        /// Nothing goes through to it just now.
        HeldBack = "held_back",
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
pub(super) struct AfterLabels {
    pub(super) after: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndingLabels {
    pub(super) ending: Word,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ToldLabels {
    pub(super) outcome: Word,
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
