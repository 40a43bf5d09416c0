//! What the six systems are able to do: the switches of their variants.

use serde::{Deserialize, Serialize};

use super::records::Role;

/// The variants that the sandbox plays. Everything is as the contract has it, unless switched off here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The reviews' list.
    pub governance: Listing,
    /// The checklist's records.
    pub checklist: Marking,
    /// The tracker's records and their evidence links.
    pub tracker: Marking,
    /// The queue's records.
    pub queue: Marking,
    /// The intake.
    pub intake: Intake,
}

impl Settings {
    /// Whether records of this role keep and show markers.
    pub fn markers(&self, role: Role) -> bool {
        match role {
            Role::Checklist => self.checklist.markers,
            Role::Tracker => self.tracker.markers,
            Role::Queue => self.queue.markers,
            Role::Governance | Role::Archive | Role::Intake | Role::FollowUp => true,
        }
    }
}

/// How lists are paged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Listing {
    /// The most items on one page of `GET /reviews`; at least 1.
    pub page_size: usize,
}

impl Default for Listing {
    fn default() -> Self {
        Listing { page_size: 100 }
    }
}

/// Whether a system has a place for markers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Marking {
    /// False: the marker in a change is ignored, and records come without the field `closure`.
    pub markers: bool,
}

impl Default for Marking {
    fn default() -> Self {
        Marking { markers: true }
    }
}

/// What the intake promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Intake {
    /// False: every handoff is a new one, whatever its key.
    pub idempotency: bool,
    /// False: `GET /handoffs/{K}` is not allowed.
    pub lookup: bool,
}

impl Default for Intake {
    fn default() -> Self {
        Intake { idempotency: true, lookup: true }
    }
}
