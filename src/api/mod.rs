//! The kinds as they appear on the wire.
//!
//! In reading order: [`release_closure`] is what is asked for and what became of it; [`closure_playbook`] and
//! [`system_connection`] are the admin's rules and systems; [`follow_up_packet`] is what a coordinator gets after a halt;
//! [`acceptance_feed`] is where accepted reviews come from by themselves; [`cluster_scoped`] are rules and systems for many
//! namespaces.
//! [`parse`] is the only door from here into the core, [`conditions`] the only place where conditions are made, and
//! [`crds`] turns the types into the files below `crds/`.
//!
//! **Invariant:** whatever an API server with the shipped schemas lets in can be read by these types. One object that
//! cannot be would stop the watch of all the others.

#![allow(
    clippy::duplicated_attributes,
    reason = "the lint takes the columns of one kind for repetitions of each other"
)]

pub mod acceptance_feed;
pub mod closure_playbook;
pub mod cluster_scoped;
pub mod conditions;
pub mod crds;
pub mod follow_up_packet;
#[cfg(test)]
mod fuzz_tests;
pub mod parse;
pub mod release_closure;
pub mod schema;
pub mod system_connection;

pub use acceptance_feed::{AcceptanceFeed, AcceptanceFeedSpec, AcceptanceFeedStatus};
pub use closure_playbook::{ClosurePlaybook, ClosurePlaybookSpec, ClosurePlaybookStatus};
pub use cluster_scoped::{ClusterClosurePlaybook, ClusterSystemConnection};
pub use crds::{crds, print_crds, write_crds};
pub use follow_up_packet::{FollowUpPacket, FollowUpPacketSpec, FollowUpPacketStatus};
pub use release_closure::{ReleaseClosure, ReleaseClosureSpec, ReleaseClosureStatus};
pub use system_connection::{SystemConnection, SystemConnectionSpec, SystemConnectionStatus};

/// The group of all kinds.
pub const GROUP: &str = "releaseclosure.io";
/// Their version.
pub const VERSION: &str = "v1alpha1";
/// The annotation that says: run now. Its value is any token; it is echoed in `status.lastHandledReconcileAt`.
pub const REQUESTED_AT: &str = "releaseclosure.io/requestedAt";

/// The annotation that names the feed that made a closure. For people: nothing depends on it.
pub const FEED: &str = "releaseclosure.io/feed";

/// The annotation that names the span that made a closure, in the form of W3C Trace Context. Traces of passes are linked to it; nothing
/// else depends on it, and what is not well-formed is ignored.
pub const TRACEPARENT: &str = "releaseclosure.io/traceparent";

pub(crate) use crate::products::NAME_PATTERN;
/// What a word chosen by people looks like (a state, a kind of artifact): printable, and no space at either end.
pub(crate) const WORD_PATTERN: &str = r"^[^\x00-\x20\x7f-\xa0]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0])?$";

/// What a label's key looks like: a name, which may stand behind a domain and a slash.
const LABEL_PATTERN: &str = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
/// What a label's value looks like; it may be empty.
const LABEL_VALUE_PATTERN: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$";

/// The generation of a status that nobody has written yet, so that no reader takes it for an answer.
const UNOBSERVED: i64 = -1;

const fn unobserved() -> i64 {
    UNOBSERVED
}

/// One rule of a schema that the API server evaluates. `path` is the field that the refusal points at.
pub(crate) fn rule(expression: &str, message: &str, path: Option<&str>) -> serde_json::Value {
    let mut rule = serde_json::json!({ "rule": expression, "message": message });
    if let Some(path) = path {
        rule["fieldPath"] = path.into();
    }
    rule
}

/// The rule that a field never changes; `optional` ones are neither added nor removed either.
pub(crate) fn never_changes(field: &str, optional: bool, message: &str) -> serde_json::Value {
    let expression = if optional {
        format!("has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})")
    } else {
        format!("self.{field} == oldSelf.{field}")
    };
    rule(&expression, message, Some(&format!(".{field}")))
}
