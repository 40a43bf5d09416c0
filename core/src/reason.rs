//! Every reason there is. The same value feeds condition, event, metric and packet.

use super::ids::System;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares the enum once: each reason with the sentence that people read.
macro_rules! reasons {
    ($($(#[$group:meta])* $name:ident: $sentence:literal,)+) => {
        /// Why a closure is where it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[schemars(inline)]
        pub enum Reason {
            $(#[doc = $sentence] $name,)+
        }

        impl Reason {
            /// All of them, in the order they are declared in.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The word in conditions, events, packets and metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$name => $sentence,)+ }
            }
        }
    };
}

reasons! {
    // --- how far it is
    Progressing: "The closure is being worked on.",
    ProgressingWithRetry: "The closure waits for something and tries again by itself.",
    Closed: "All five steps are done and the coordinator has been told.",
    Planned: "Everything agrees; in mode Close, this plan would be carried out.",
    Suspended: "The closure is suspended; nothing is read or written for it.",
    Abandoned: "A coordinator gave this closure up.",

    // --- findings: the systems disagree, or a prior closure left something that cannot be reconciled
    SourceNotAccepted: "The governance record no longer shows an accepted state.",
    ReviewVersionConflict: "The governance record is at another review version.",
    ReleaseMismatch: "The governance record is of another release.",
    MilestoneMismatch: "The milestone is another one.",
    MilestoneRenamed: "The milestone was renamed after the review was accepted.",
    EvidenceMismatch: "The evidence is not the bundle that was accepted.",
    EvidenceMissing: "The evidence bundle is not in the archive.",
    EvidenceLinkUnfit: "The evidence link may not be announced.",
    ArtifactMissing: "A required artifact is not in the bundle, or has no digest.",
    TrackerReleaseMismatch: "The tracker record is of another release.",
    TrackerStateUnexpected: "The tracker record is in a state from which it is not approved.",
    ChecklistMismatch: "The checklist is of another release or review version.",
    ChecklistStateUnexpected: "The checklist is neither open nor closed.",
    ChecklistItemsOpen: "Items of the checklist are not done.",
    QueueEntryMismatch: "The queue entry is of another release or review version.",
    QueueEntryStateUnexpected: "The queue entry is neither pending nor cleared.",
    ConflictingClosure: "A record carries the mark of another closure.",
    RecordMissing: "A record was not found.",
    RecordAmbiguous: "More than one record was found.",
    RecordMismatch: "The system answered with another record than the one asked for.",
    PartialStateConflict: "A step that was done is done no more.",
    AcceptanceStale: "The governance record names another accepted event.",
    ServiceNotAllowed: "The playbook may not be used for this service.",

    // --- other halts
    WriteRejected: "A system refused the change itself.",
    WriteIneffective: "A system says yes and nothing changes.",
    NotificationUncertain: "Whether the coordinator was told cannot be found out.",

    // --- waits
    SpecInvalid: "The object cannot be worked on as it is.",
    DuplicateClosure: "An older object of the same closure acts; this one waits.",
    SchemaOutdated: "The cluster's definitions are older than the operator.",
    SchemaNewer: "The object has a field that only a newer operator knows.",
    PlaybookNotFound: "The playbook does not exist.",
    PlaybookInvalid: "The playbook cannot be used as it is.",
    ConnectionNotFound: "A connection does not exist.",
    ConnectionNotReady: "A connection is not ready.",
    RoleNotAllowed: "A connection is not allowed in this role.",
    NamespaceNotAllowed: "A playbook or a connection is not given to this namespace.",
    GovernanceUnavailable: "The governance system gives no answer.",
    ArchiveUnavailable: "The evidence archive gives no answer.",
    ChecklistUnavailable: "The checklist system gives no answer.",
    TrackerUnavailable: "The tracker gives no answer.",
    QueueUnavailable: "The review queue gives no answer.",
    IntakeUnavailable: "The intake gives no answer.",
    GovernanceForbidden: "The governance system does not let the operator at this record.",
    ArchiveForbidden: "The evidence archive does not let the operator at this bundle.",
    ChecklistForbidden: "The checklist system does not let the operator at this record.",
    TrackerForbidden: "The tracker does not let the operator at this record.",
    QueueForbidden: "The review queue does not let the operator at this entry.",
    IntakeForbidden: "The intake does not let the operator announce.",
    RecordContended: "Somebody else keeps changing the record.",
    NotificationSettling: "An announcement of an earlier pass may still arrive.",

    // --- connections and playbooks
    Ready: "It can be used.",
    EndpointRefused: "The endpoint is one the operator has no business with.",
    EndpointUnreachable: "The endpoint gives no answer.",
    Unauthorized: "The system does not accept the credentials.",
    Forbidden: "The system does not let the operator in.",
    NotTheContract: "The answer is not what the product is known to answer.",
    SecretNotFound: "The Secret, or the key in it, does not exist.",
    SecretForbidden: "The operator may not read this Secret.",
    ConnectionInvalid: "The connection cannot be used as it is.",
    ProviderNotSupported: "This build has no adapter for the product.",

    // --- feeds
    FeedHindered: "The feed cannot be used where it is.",
    SecretUnfit: "A secret is not what the feed's format needs.",

    // --- resolutions
    Resumed: "The halt was released.",
    Rejected: "The resolution does nothing.",
}

impl Reason {
    /// A system gives no answer.
    #[must_use]
    pub const fn unavailable(system: System) -> Reason {
        match system {
            System::Governance => Reason::GovernanceUnavailable,
            System::Archive => Reason::ArchiveUnavailable,
            System::Checklist => Reason::ChecklistUnavailable,
            System::Tracker => Reason::TrackerUnavailable,
            System::Queue => Reason::QueueUnavailable,
            System::Intake => Reason::IntakeUnavailable,
        }
    }

    /// A system refuses access to one record.
    #[must_use]
    pub const fn forbidden(system: System) -> Reason {
        match system {
            System::Governance => Reason::GovernanceForbidden,
            System::Archive => Reason::ArchiveForbidden,
            System::Checklist => Reason::ChecklistForbidden,
            System::Tracker => Reason::TrackerForbidden,
            System::Queue => Reason::QueueForbidden,
            System::Intake => Reason::IntakeForbidden,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
