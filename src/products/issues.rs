//! What settings of issue trackers have in common: where, in an issue, the things stand that a record has.
//!
//! An issue has no field for a release id. Teams let people fill in an issue form, and what a form leaves behind is a text of
//! headings with a value below each. The defaults are the headings of the forms that the documentation ships.

use crate::closure::ids::System;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may be a heading: one line, no space at either end.
const HEADING_PATTERN: &str = r"^[^\x00-\x20\x7f-\xa0#]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0])?$";
/// What may be a label.
const LABEL_PATTERN: &str = r"^[^\x00-\x20\x7f-\xa0,]([^\x00-\x1f\x7f-\x9f,]*[^\x00-\x20\x7f-\xa0,])?$";

macro_rules! headings {
    ($($(#[$doc:meta])* $field:ident: $default:literal,)*) => {
        /// The headings below which an issue's text has its values.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Headings {
            $($(#[$doc])* #[schemars(length(min = 1, max = 64), regex(pattern = HEADING_PATTERN))] pub $field: String,)*
        }

        impl Default for Headings {
            fn default() -> Self {
                Headings { $($field: $default.to_owned(),)* }
            }
        }
    };
}

headings! {
    /// The release id.
    release: "Release",
    /// The service.
    service: "Service",
    /// The version of the service.
    version: "Version",
    /// The review version.
    review_version: "Review version",
    /// On a review: the evidence bundle.
    bundle: "Evidence bundle",
    /// On a review: the bundle's digest.
    digest: "Evidence digest",
    /// On a review: the event by which it was accepted. An issue without this heading names none.
    accepted_event: "Accepted event",
    /// On a review: the decision.
    decision: "Decision",
    /// On a tracker record: its state.
    status: "Status",
    /// On a tracker record: the list of evidence links.
    evidence: "Evidence",
}

/// The labels that make an issue a record of a role, whether the closure names it by number or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Labels {
    /// On readiness checklists.
    #[schemars(length(min = 1, max = 50), regex(pattern = LABEL_PATTERN))]
    pub checklist: String,
    /// On tracker records.
    #[schemars(length(min = 1, max = 50), regex(pattern = LABEL_PATTERN))]
    pub tracker: String,
    /// On entries of the review queue.
    #[schemars(length(min = 1, max = 50), regex(pattern = LABEL_PATTERN))]
    pub queue: String,
}

impl Labels {
    /// The label of a role's records; none of a review's, which is always named.
    #[must_use]
    pub fn of(&self, system: System) -> Option<&str> {
        match system {
            System::Checklist => Some(&self.checklist),
            System::Tracker => Some(&self.tracker),
            System::Queue => Some(&self.queue),
            System::Governance | System::Archive | System::Intake => None,
        }
    }
}

impl Default for Labels {
    fn default() -> Self {
        let [checklist, tracker, queue] = ["readiness-checklist", "release", "review-queue"].map(str::to_owned);
        Labels { checklist, tracker, queue }
    }
}
