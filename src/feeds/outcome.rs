//! What became of an event: one closed set, the same in statuses, metrics and logs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is answered to whoever delivered an event. No answer has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 204: there is nothing left to do for the sender.
    Done,
    /// 403: whatever is wrong with it.
    Refused,
    /// 413.
    TooLarge,
    /// 503: it may be sent again.
    Later,
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $answer:ident;)+) => {
        /// What became of an event.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[schemars(inline)]
        pub enum Outcome { $($(#[$doc])* $name,)+ }

        impl Outcome {
            /// All of them.
            pub const ALL: &'static [Outcome] = &[$(Outcome::$name,)+];

            /// The word in metric labels.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Outcome::$name => $label,)+ }
            }

            /// What the sender is told.
            #[must_use]
            pub const fn answer(self) -> Answer {
                match self { $(Outcome::$name => Answer::$answer,)+ }
            }
        }
    };
}

outcomes! {
    /// A closure was made from the review's record.
    Created = "created", Done;
    /// There is a closure of that review already, and it is finished.
    Met = "met", Done;
    /// There is an unfinished closure of that review; it was looked at, at once.
    Woken = "woken", Done;
    /// The review's record does not show an accepted state.
    NotAccepted = "not_accepted", Done;
    /// The review's record lacks what a closure needs.
    Incomplete = "incomplete", Done;
    /// The playbook may not be used for the service.
    NotAllowed = "not_allowed", Done;
    /// It names no review: a ping, or an event of another kind.
    Ignored = "ignored", Done;
    /// This very delivery was taken before.
    Replayed = "replayed", Done;
    /// No secret of the feed signed it.
    WronglySigned = "wrongly_signed", Refused;
    /// It was signed more than five minutes ago, or as far in the future.
    Stale = "stale", Refused;
    /// It is not what its format says.
    Malformed = "malformed", Refused;
    /// The governance system has no such review, or there is no such feed.
    Unknown = "unknown", Refused;
    /// It has more than 1 MiB.
    TooLarge = "too_large", TooLarge;
    /// As many deliveries as there is room for were under way.
    Busy = "busy", Later;
    /// The governance system or the API server gave no answer.
    Unavailable = "unavailable", Later;
    /// Another replica leads the namespaces of that feed, or nobody does right now.
    Elsewhere = "elsewhere", Later;
    /// The feed cannot be used as it is; its condition Ready says why.
    Unready = "unready", Later;
}

impl Outcome {
    /// Whether a closure of the review is there now. Such a delivery is remembered; any other may be sent again.
    #[must_use]
    pub const fn is_remembered(self) -> bool {
        matches!(self, Outcome::Created | Outcome::Met | Outcome::Woken)
    }

    /// Whether the review's record is what kept a closure from being made, and may be put right.
    #[must_use]
    pub const fn may_come_right(self) -> bool {
        matches!(self, Outcome::NotAccepted | Outcome::Incomplete | Outcome::NotAllowed)
    }

    /// Whether it was turned away before anybody asked the governance system.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Outcome::Replayed
                | Outcome::WronglySigned
                | Outcome::Stale
                | Outcome::Malformed
                | Outcome::Unknown
                | Outcome::TooLarge
                | Outcome::Busy
        )
    }
}

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// They are posted.
    Webhook,
    /// They are asked for.
    Poll,
    /// They lie in a stream of NATS JetStream.
    Nats,
}

impl Source {
    /// All of them.
    pub const ALL: &'static [Source] = &[Source::Webhook, Source::Poll, Source::Nats];

    /// The word in metric labels.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Source::Webhook => "webhook",
            Source::Poll => "poll",
            Source::Nats => "nats",
        }
    }
}
